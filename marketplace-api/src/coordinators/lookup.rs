//! Looking a request up: any gateway can rebuild a certificate by id from q coordinators.

use dropbear_certificates::{Digest, ModelSet};
use dropbear_wire::convert::digest_bytes;
use dropbear_wire::v1;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout_at};
use tonic::Status;

use super::{Coordinators, timed};
use crate::quorum::{Gathering, ProvenRecord, Quorum, ReplyFault, proven_record};

/// Some coordinators are a block behind others: look again after this long.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Where a request was decided, proven.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) quorum: Quorum,
    pub(crate) proven: ProvenRecord,
    pub(crate) models: Option<ModelSet>,
}

impl Coordinators {
    /// Finds a decided request; `None` if the coordinators say that it is not decided.
    ///
    /// # Errors
    /// What went wrong, if they say nothing sure before the deadline.
    pub(crate) async fn lookup(&self, id: &Digest, deadline: Instant) -> Result<Option<Found>, Vec<String>> {
        loop {
            let mut round = LookupRound::new(self, *id);
            let known = timeout_at(deadline, round.run(deadline)).await;
            match known {
                Ok(Known::Found(found)) => return Ok(Some(*found)),
                Ok(Known::Undecided) => return Ok(None),
                Ok(Known::Unsure) if Instant::now() + AGAIN_AFTER < deadline => sleep(AGAIN_AFTER).await,
                Ok(Known::Unsure) | Err(_) => return Err(round.problems),
            }
        }
    }
}

enum Known {
    Found(Box<Found>),
    Undecided,
    Unsure,
}

struct LookupRound<'a> {
    of: &'a Coordinators,
    id: Digest,
    gathering: Gathering<'a>,
    proven: Vec<(Digest, ProvenRecord, Option<ModelSet>)>,
    absent: usize,
    problems: Vec<String>,
}

impl<'a> LookupRound<'a> {
    fn new(of: &'a Coordinators, id: Digest) -> Self {
        let gathering = Gathering::new(&of.market.trust);
        Self { of, id, gathering, proven: Vec::new(), absent: 0, problems: Vec::new() }
    }

    async fn run(&mut self, deadline: Instant) -> Known {
        let mut calls = JoinSet::new();
        for place in 0..self.of.members.len() {
            let mut client = self.of.client(place);
            let request = timed(v1::LookupRequest { request_id: digest_bytes(&self.id) }, deadline);
            calls.spawn(async move { (place, client.lookup(request).await.map(tonic::Response::into_inner)) });
        }
        while let Some(reply) = calls.join_next().await {
            let Ok((place, reply)) = reply else { continue };
            self.take(place, reply);
            if let Some(found) = self.found() {
                return Known::Found(Box::new(found));
            }
        }
        let faults = self.of.market.committee().faults();
        if self.proven.is_empty() && self.absent > faults { Known::Undecided } else { Known::Unsure }
    }

    fn take(&mut self, place: usize, reply: Result<v1::LookupReply, Status>) {
        self.problems.extend(self.of.note(place, reply.as_ref().err()));
        let Ok(reply) = reply else { return };
        if reply.attested.is_none() {
            self.absent += 1;
            return;
        }
        if let Err(fault) = self.take_part(place, &reply) {
            let problem = self.of.blame(place, &fault);
            self.problems.push(problem);
        }
    }

    fn take_part(&mut self, place: usize, reply: &v1::LookupReply) -> Result<(), ReplyFault> {
        let attested = reply.attested.as_ref().ok_or(ReplyFault::Malformed("attested"))?;
        let header = self.gathering.take(place, attested)?;
        let leaf = reply.leaf.as_ref().ok_or(ReplyFault::Malformed("leaf"))?;
        let proven = proven_record(leaf, &header)?;
        if proven.record.request != self.id {
            return Err(ReplyFault::Malformed("leaf"));
        }
        let models = ModelSet::from_bytes(&reply.model_set).ok();
        self.proven.push((Digest::of(&header.to_bytes()), proven, models));
        Ok(())
    }

    fn found(&self) -> Option<Found> {
        let quorum = self.gathering.quorum()?;
        let name = Digest::of(&quorum.header.to_bytes());
        let of_header = || self.proven.iter().filter(|(header, ..)| *header == name);
        let (_, proven, _) = of_header().next()?;
        let right = |models: &&ModelSet| models.digest() == proven.record.model_set;
        let models = of_header().filter_map(|(.., models)| models.as_ref()).find(right).cloned();
        Some(Found { proven: proven.clone(), quorum, models })
    }
}
