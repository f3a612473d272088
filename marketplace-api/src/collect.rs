//! Collecting: takes ballots as they arrive and says how each request of a batch stands, and when to submit.
//!
//! Pure: time and the ledger's view are arguments. A ballot counts if it is its owner's, over this batch, and names the
//! version current at the next seq. A ballot of another version is *held*: the owner may be ahead of this gateway's
//! view, or behind the ledger and to be asked again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dropbear_certificates::ballot::{BallotError, batch_root};
use dropbear_certificates::{Assurance, Ballot, Digest, Vote};
use dropbear_wire::convert::GroupView;

use crate::finding::{Finding, Standing, counted_vote};

/// What the collector needs to know of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) id: Digest,
    pub(crate) vote_salt: Digest,
    pub(crate) demand: Assurance,
}

/// What is wrong with a ballot; always its sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BallotFault {
    #[error("the ballot is another owner's")]
    OtherOwner,
    #[error("the ballot is over another market, group, charter or batch")]
    OtherBatch,
    #[error("{0}")]
    Invalid(#[from] BallotError),
    /// Two ballots under one version with different votes on one request.
    #[error("the owner equivocated: two ballots of one version with different votes on request {0} of the batch")]
    Equivocation(usize),
}

/// Two ballots of one owner and version that contradict each other on one request: its guilt, for all to see.
#[derive(Clone, Debug)]
pub(crate) struct Equivocation {
    /// The request's place in the batch.
    pub(crate) item: usize,
    pub(crate) ballots: Box<[Ballot; 2]>,
}

/// What became of a ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Counted,
    /// Not of the version that is current as far as this gateway knows: ask again, and look again as the ledger goes on.
    Held,
}

#[derive(Debug)]
enum Seat {
    Awaited,
    Held(Ballot),
    Counted(Ballot),
    Refused,
}

/// The ballots of one request batch.
#[derive(Debug)]
pub(crate) struct Collector {
    genesis: Digest,
    group: Arc<GroupView>,
    seq_next: u64,
    batch: Digest,
    wanted: Vec<Wanted>,
    open: Vec<bool>,
    seats: Vec<Seat>,
    /// How each request stands, until a seat changes.
    findings: Vec<Option<Finding>>,
    equivocations: Vec<Equivocation>,
    decided_since: Option<Instant>,
    /// Whether anything changed since the last submission was refused.
    fresh: bool,
}

impl Collector {
    /// Begins to collect; the ledger stands at `seq`.
    pub(crate) fn new(genesis: Digest, group: Arc<GroupView>, seq: u64, wanted: Vec<Wanted>) -> Self {
        let ids: Vec<_> = wanted.iter().map(|wanted| wanted.id).collect();
        Self {
            genesis,
            seq_next: seq + 1,
            batch: batch_root(&ids),
            open: vec![true; wanted.len()],
            findings: vec![None; wanted.len()],
            equivocations: Vec::new(),
            seats: group.charter.roster.iter().map(|_| Seat::Awaited).collect(),
            group,
            wanted,
            decided_since: None,
            fresh: true,
        }
    }

    /// Takes the ballot that the owner at `place` sent.
    ///
    /// # Errors
    /// [`BallotFault`]: the owner then counts as missing and is not asked again.
    pub(crate) fn ballot(&mut self, place: usize, ballot: Ballot) -> Result<Taken, BallotFault> {
        let checked = self.check(place, &ballot).and_then(|()| self.check_against_earlier(place, &ballot));
        if let Err(fault) = checked {
            self.give_up(place);
            return Err(fault);
        }
        let same = matches!(&self.seats[place], Seat::Counted(earlier) if *earlier == ballot);
        let current = self.is_current(place, &ballot);
        self.fresh |= current && !same;
        self.sit(place, if current { Seat::Counted(ballot) } else { Seat::Held(ballot) });
        Ok(if current { Taken::Counted } else { Taken::Held })
    }

    fn sit(&mut self, place: usize, seat: Seat) {
        self.seats[place] = seat;
        self.findings.fill(None);
    }

    fn check(&self, place: usize, ballot: &Ballot) -> Result<(), BallotFault> {
        let statement = &ballot.statement;
        if statement.owner != self.group.charter.roster[place].key {
            return Err(BallotFault::OtherOwner);
        }
        let of_this_batch = statement.genesis == self.genesis
            && statement.group == self.group.charter.group
            && statement.charter == self.group.digest
            && statement.batch == self.batch;
        if !of_this_batch {
            return Err(BallotFault::OtherBatch);
        }
        Ok(ballot.check(self.wanted.iter().map(|wanted| (&wanted.id, &wanted.vote_salt)))?)
    }

    fn check_against_earlier(&mut self, place: usize, ballot: &Ballot) -> Result<(), BallotFault> {
        let earlier = match &self.seats[place] {
            Seat::Held(earlier) | Seat::Counted(earlier) => earlier,
            Seat::Awaited | Seat::Refused => return Ok(()),
        };
        if earlier.statement.version != ballot.statement.version {
            return Ok(());
        }
        let mut votes = earlier.answers.iter().zip(&ballot.answers);
        let Some(item) = votes.position(|(one, other)| one.vote != other.vote) else { return Ok(()) };
        let ballots = Box::new([earlier.clone(), ballot.clone()]);
        self.equivocations.push(Equivocation { item, ballots });
        Err(BallotFault::Equivocation(item))
    }

    /// Takes out the contradictions that were found since.
    pub(crate) fn equivocations(&mut self) -> Vec<Equivocation> {
        std::mem::take(&mut self.equivocations)
    }

    fn is_current(&self, place: usize, ballot: &Ballot) -> bool {
        self.group.current(place, self.seq_next).is_some_and(|version| version.digest == ballot.statement.version)
    }

    /// The ledger went on: gives the owners whose ballots are stale now and who should be asked again.
    pub(crate) fn follow(&mut self, group: Arc<GroupView>, seq: u64) -> Vec<usize> {
        debug_assert_eq!(group.digest, self.group.digest, "a batch ends with its charter");
        (self.group, self.seq_next) = (group, seq + 1);
        let mut ask_again = Vec::new();
        for place in 0..self.seats.len() {
            let seat = std::mem::replace(&mut self.seats[place], Seat::Awaited);
            self.seats[place] = match seat {
                Seat::Held(ballot) if self.is_current(place, &ballot) => {
                    self.changed();
                    Seat::Counted(ballot)
                }
                Seat::Counted(ballot) if !self.is_current(place, &ballot) => {
                    ask_again.push(place);
                    self.changed();
                    Seat::Held(ballot)
                }
                other => other,
            };
        }
        ask_again
    }

    fn changed(&mut self) {
        self.fresh = true;
        self.findings.fill(None);
    }

    /// How the request at `item` stands.
    pub(crate) fn finding(&mut self, item: usize) -> &Finding {
        let (charter, seats, demand) = (&self.group.charter, &self.seats, self.wanted[item].demand);
        self.findings[item].get_or_insert_with(|| {
            let vote = |seat: &Seat| match seat {
                Seat::Counted(ballot) => counted_vote(ballot, item, charter),
                _ => None,
            };
            let votes: Vec<Option<Vote>> = seats.iter().map(vote).collect();
            Finding::of_votes(&votes, charter, demand)
        })
    }

    /// Whether an outcome is certain for the request at `item`.
    pub(crate) fn is_decided(&mut self, item: usize) -> bool {
        self.finding(item).standing != Standing::Insufficient
    }

    /// Whether an outcome is certain for every open request.
    pub(crate) fn is_all_decided(&mut self) -> bool {
        (0..self.open.len()).all(|item| !self.open[item] || self.is_decided(item))
    }

    /// The requests that are not closed.
    pub(crate) fn open(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.open.len()).filter(|item| self.open[*item])
    }

    /// The request has its answer.
    pub(crate) fn close(&mut self, item: usize) {
        self.open[item] = false;
    }

    /// The owner's ballot will not come.
    pub(crate) fn give_up(&mut self, place: usize) {
        self.sit(place, Seat::Refused);
    }

    /// The charter under which is collected.
    pub(crate) fn charter(&self) -> Digest {
        self.group.digest
    }

    /// What is asked.
    pub(crate) fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// The counted ballots, with their owners' places.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (usize, &Ballot)> {
        self.seats.iter().enumerate().filter_map(|(place, seat)| match seat {
            Seat::Counted(ballot) => Some((place, ballot)),
            _ => None,
        })
    }

    /// The owner's vote may still come: it has neither a counted ballot nor a refused one.
    pub(crate) fn awaits(&self, place: usize) -> bool {
        matches!(self.seats[place], Seat::Awaited | Seat::Held(_))
    }

    fn awaits_any(&self) -> bool {
        (0..self.seats.len()).any(|place| self.awaits(place))
    }

    /// A submission was refused for want of ballots: nothing is due until something changes.
    pub(crate) fn exhausted(&mut self) {
        self.fresh = false;
        self.decided_since = None;
    }

    /// Whether the open requests that are decided should be settled now; if not, when to look again.
    ///
    /// At once when every open request is decided (and, with `all_ballots`, nobody is awaited); else once `patience` has
    /// passed since the first was decided, so that one slow owner delays nobody whose answer does not need it.
    pub(crate) fn due(&mut self, now: Instant, patience: Duration, all_ballots: bool) -> Due {
        if !self.fresh {
            return Due::OnChange;
        }
        let open: Vec<_> = self.open().collect();
        let decided: Vec<bool> = open.into_iter().map(|item| self.is_decided(item)).collect();
        if !decided.contains(&true) {
            return Due::OnChange;
        }
        let since = *self.decided_since.get_or_insert(now);
        let complete = !(decided.contains(&false) || all_ballots && self.awaits_any());
        if complete || !self.awaits_any() || now >= since + patience { Due::Now } else { Due::At(since + patience) }
    }
}

/// When to settle what is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    At(Instant),
    /// Not before a ballot arrives or the ledger goes on.
    OnChange,
}

#[cfg(test)]
mod tests;
