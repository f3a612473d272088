//! What a group found: the seam between agreement policies and what clients are shown.
//!
//! Everything here that knows of classes serves the plurality policy; other policies add their own reading of a vote.

use dropbear_certificates::ballot::Answer;
use dropbear_certificates::request::vote_commitment;
use dropbear_certificates::{
    Assurance, Ballot, Charter, Decision, Digest, Outcome, Record, Tally, Vote, VotesAttachment,
};

/// How a request stands, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The demanded assurance holds for this class.
    Agreed(u32),
    /// No completion of the missing ballots could reach it.
    NoAgreement,
    /// Missing ballots could still decide.
    Insufficient,
}

/// A tally that people can read: owners by their place on the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What it comes to.
    pub(crate) standing: Standing,
    /// The strongest assurance that the tally supports.
    pub(crate) assurance: Assurance,
    /// Classes with the owners that named them, winner first.
    pub(crate) votes: Vec<(u32, Vec<usize>)>,
    /// Owners whose model could not answer.
    pub(crate) abstained: Vec<usize>,
    /// Owners without a counted ballot.
    pub(crate) missing: Vec<usize>,
}

impl Finding {
    /// What these votes come to; `None` where no ballot is counted.
    pub(crate) fn of_votes(votes: &[Option<Vote>], charter: &Charter, demand: Assurance) -> Self {
        let tally = Tally::count(votes, charter.fault_bound());
        let standing = match tally.decide(demand) {
            Decision::Agreed(class) => Standing::Agreed(class),
            Decision::NoAgreement => Standing::NoAgreement,
            Decision::Insufficient => Standing::Insufficient,
        };
        let votes = tally.candidates().iter().map(|(class, owners)| (*class, owners.iter().collect())).collect();
        let abstained = tally.abstained().iter().collect();
        Self::new(standing, tally.counts().assurance(), votes, abstained, charter.roster.len())
    }

    /// What a record says, its votes opened; `None` if `opened` does not name an agreed class.
    pub(crate) fn of_record(record: &Record, opened: &VotesAttachment) -> Option<Self> {
        let (cast, abstained): (Vec<_>, Vec<_>) = record.votes.iter().partition(|group| group.commitment.is_some());
        let mut votes = Vec::new();
        for (group, vote) in cast.into_iter().zip(&opened.votes) {
            votes.push((class_of(*vote)?, group.owners.iter().collect()));
        }
        let standing = match record.outcome {
            Outcome::Agreed => Standing::Agreed(votes.first()?.0),
            Outcome::NoAgreement => Standing::NoAgreement,
        };
        let abstained = abstained.into_iter().flat_map(|group| group.owners.iter()).collect();
        Some(Self::new(standing, record.assurance, votes, abstained, record.owners))
    }

    fn new(
        standing: Standing,
        assurance: Assurance,
        votes: Vec<(u32, Vec<usize>)>,
        abstained: Vec<usize>,
        owners: usize,
    ) -> Self {
        let heard = |owner: &usize| votes.iter().any(|(_, by)| by.contains(owner)) || abstained.contains(owner);
        let missing = (0..owners).filter(|owner| !heard(owner)).collect();
        Self { standing, assurance, votes, abstained, missing }
    }

    /// Whether there is an answer.
    pub(crate) const fn is_agreed(&self) -> bool {
        matches!(self.standing, Standing::Agreed(_))
    }

    /// Whether every owner that answered said that its model cannot read the input.
    #[must_use]
    pub(crate) fn is_unreadable(&self) -> bool {
        self.standing == Standing::NoAgreement && self.votes.is_empty() && !self.abstained.is_empty()
    }
}

/// The class that a vote names.
pub(crate) const fn class_of(vote: Vote) -> Option<u32> {
    match vote {
        Vote::Class(class) => Some(class),
        Vote::Abstain => None,
    }
}

/// A ballot's vote on the request at `place`, as the ledger counts it: a class outside the charter's is an abstention.
pub(crate) fn counted_vote(ballot: &Ballot, place: usize, charter: &Charter) -> Option<Vote> {
    let Answer { vote, .. } = ballot.answers.get(place)?;
    Some(match vote {
        Vote::Class(class) if *class < charter.classes => *vote,
        _ => Vote::Abstain,
    })
}

/// Opens a record's votes: those of `known` first, then whatever the charter allows. `None` if one stays closed.
pub(crate) fn open_votes(record: &Record, salt: Digest, known: &[Vote], charter: &Charter) -> Option<VotesAttachment> {
    let allowed = (0..charter.classes.min(CLASSES_TRIED_MAX)).map(Vote::Class);
    let open = |commitment: &Digest| {
        let mut candidates = known.iter().copied().chain(allowed.clone());
        candidates.find(|vote| vote_commitment(&salt, *vote).as_ref() == Some(commitment))
    };
    let commitments = record.votes.iter().filter_map(|group| group.commitment.as_ref());
    let votes = commitments.map(open).collect::<Option<Vec<_>>>()?;
    Some(VotesAttachment { salt, votes })
}

/// At most this many classes are tried against a commitment (about 1 µs each).
const CLASSES_TRIED_MAX: u32 = 65_536;
