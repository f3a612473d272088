//! One gateway's way with a submission: to f + 1 coordinators, and the wait for q attestations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dropbear_certificates::{Attachments, Certificate, Record, Signature, TrustRoot};
use dropbear_wire::convert::{Attested, digest_bytes, path};
use dropbear_wire::v1::coordinator_client::CoordinatorClient;
use dropbear_wire::v1::request_outcome::Outcome;
use dropbear_wire::v1::submit_request::What;
use dropbear_wire::{client, v1};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{OrderingError, Plan, Prepared};

/// Nothing that is measured takes longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A gateway's connections to all coordinators.
pub(super) struct Gateway {
    trust: TrustRoot,
    members: Vec<(String, CoordinatorClient<Channel>)>,
    patience_ms: u64,
    turn: AtomicUsize,
}

/// Attestations of one header.
type Attestations = BTreeMap<usize, Signature>;

impl Gateway {
    pub(super) fn new(plan: &Plan) -> Self {
        let member = |member: &super::Member| (member.process.name.clone(), client::coordinator(member.address));
        Self {
            trust: plan.trust.clone(),
            members: plan.members.iter().map(member).collect(),
            patience_ms: u64::try_from(plan.patience.as_millis()).unwrap_or(u64::MAX),
            turn: AtomicUsize::new(0),
        }
    }

    /// Submits, waits for q attestations of one header over all its records, and verifies one of their certificates.
    /// Gives how many results are certified.
    pub(super) async fn certify(&self, prepared: &Prepared) -> Result<usize, OrderingError> {
        let committee = &self.trust.genesis().committee;
        let (turn, count) = (self.turn.fetch_add(1, Ordering::Relaxed), self.members.len());
        let mut calls = JoinSet::new();
        for rank in 0..count {
            let place = (turn + rank) % count;
            let holds = rank <= committee.faults();
            let what =
                if holds { What::Entry(prepared.entry.clone()) } else { What::Digest(digest_bytes(&prepared.digest)) };
            calls.spawn(self.call(place, what, rank == 0));
        }
        let mut attestations: BTreeMap<Bytes, Attestations> = BTreeMap::new();
        let mut recorded: Option<v1::SubmitReply> = None;
        let mut refusals = 0;
        while let Some(call) = calls.join_next().await {
            let (place, reply) = call?;
            let reply = reply.map_err(|status| self.failed(place, status.message()))?;
            if let Some(refusal) = &reply.refusal {
                // A copy that comes late finds its requests decided already: f + 1 refusals are a verdict, one is not.
                refusals += 1;
                if refusals > committee.faults() {
                    return Err(OrderingError::Uncertified(refusal.message.clone()));
                }
                continue;
            }
            let (header, signature) = self.attestation(place, &reply)?;
            attestations.entry(header).or_default().insert(place, signature);
            if !reply.leaves.is_empty() {
                recorded = Some(reply);
            }
            let Some(reply) = &recorded else { continue };
            let header = reply.attested.as_ref().map(|attested| &attested.header);
            let quorum = header.and_then(|header| attestations.get(header));
            if let Some(quorum) = quorum.filter(|quorum| quorum.len() >= committee.quorum()) {
                self.check_sample(prepared, turn, reply, quorum)?;
                return all_recorded(prepared, reply);
            }
        }
        Err(OrderingError::Uncertified("the coordinators attest different headers".into()))
    }

    fn call(
        &self,
        place: usize,
        what: What,
        want_leaves: bool,
    ) -> impl Future<Output = (usize, Result<v1::SubmitReply, tonic::Status>)> + Send + 'static {
        let (mut client, patience_ms) = (self.members[place].1.clone(), self.patience_ms);
        let timeout_ms = TIMEOUT.as_millis() as u64;
        let mut request =
            tonic::Request::new(v1::SubmitRequest { what: Some(what), timeout_ms, want_leaves, patience_ms });
        request.set_timeout(TIMEOUT);
        async move { (place, client.submit(request).await.map(tonic::Response::into_inner)) }
    }

    fn failed(&self, place: usize, problem: &str) -> OrderingError {
        OrderingError::Coordinator(self.members[place].0.clone(), problem.to_owned())
    }

    /// The header that a coordinator attests, and its signature, which holds.
    fn attestation(&self, place: usize, reply: &v1::SubmitReply) -> Result<(Bytes, Signature), OrderingError> {
        let message = reply.attested.as_ref().ok_or_else(|| self.failed(place, "its reply is empty"))?;
        let attested = Attested::try_from(message).map_err(|malformed| self.failed(place, &malformed.to_string()))?;
        let key = &self.trust.genesis().committee.members[place].attestation;
        match attested.signature {
            Some(signature) if attested.member == place && attested.header.is_attested(key, &signature) => {
                Ok((message.header.clone(), signature))
            }
            _ => Err(self.failed(place, "its attestation does not verify")),
        }
    }

    /// Puts one record's certificate together, another place's each time, and verifies it.
    fn check_sample(
        &self,
        prepared: &Prepared,
        turn: usize,
        reply: &v1::SubmitReply,
        quorum: &Attestations,
    ) -> Result<(), OrderingError> {
        let place = turn % prepared.requests.len();
        let uncertified = |problem: &str| OrderingError::Uncertified(problem.to_owned());
        let leaf = reply.leaves.get(place).ok_or_else(|| uncertified("a leaf is missing"))?;
        let record = Record::from_bytes(&leaf.data).map_err(|error| uncertified(&error.to_string()))?;
        if record.request != prepared.requests[place] {
            return Err(uncertified("a leaf is of another request"));
        }
        let attested = reply.attested.as_ref().ok_or_else(|| uncertified("a reply without a header"))?;
        let header = Attested::try_from(attested).map_err(|malformed| uncertified(&malformed.to_string()))?.header;
        let path = path(leaf).map_err(|malformed| uncertified(&malformed.to_string()))?;
        let committee = &self.trust.genesis().committee;
        let signatures: Vec<_> = quorum.iter().take(committee.quorum()).map(|(place, of)| (*place, *of)).collect();
        let certificate = Certificate::new(header, record, path, committee, &signatures, Attachments::default());
        certificate.verify(&self.trust)?;
        Ok(())
    }
}

/// How many results the reply holds: all of them.
fn all_recorded(prepared: &Prepared, reply: &v1::SubmitReply) -> Result<usize, OrderingError> {
    let is_recorded = |of: &v1::RequestOutcome| matches!(of.outcome, Some(Outcome::LeafIndex(_)));
    let count = prepared.requests.len();
    let all = reply.leaves.len() == count && reply.outcomes.len() == count && reply.outcomes.iter().all(is_recorded);
    if all { Ok(count) } else { Err(OrderingError::Uncertified("some of its requests are not recorded".into())) }
}
