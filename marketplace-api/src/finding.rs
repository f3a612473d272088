//! What a group found: the seam between agreement policies and what clients are shown.

use std::sync::Arc;

use dropbear_certificates::bitmap::Bitmap;
use dropbear_certificates::policy::{Agreement, Points, Support, points};
use dropbear_certificates::request::vote_commitment;
use dropbear_certificates::{Assurance, Ballot, Charter, Digest, Outcome, Policy, Record, Vote, VotesAttachment};

/// How a request stands, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The demanded assurance holds for this result.
    Agreed(Vote),
    /// No completion of the missing ballots could reach it.
    NoAgreement,
    /// Missing ballots could still decide.
    Insufficient,
}

/// A tally that people can read: owners by their place on the roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Under which charter it was found; places are those of its roster.
    pub(crate) charter: Arc<Charter>,
    /// What it comes to.
    pub(crate) standing: Standing,
    /// The strongest assurance that the tally supports.
    pub(crate) assurance: Assurance,
    /// Votes with the owners that gave them; the winner of a plurality first.
    pub(crate) votes: Vec<(Vote, Vec<usize>)>,
    /// Owners whose model could not answer.
    pub(crate) abstained: Vec<usize>,
    /// Owners without a counted ballot.
    pub(crate) missing: Vec<usize>,
    /// Classes by the points of all rankings, most first; only under `borda`.
    pub(crate) points: Vec<(u32, Points)>,
    /// Owners whose vote lies near the result; only under `within`.
    pub(crate) cluster: Option<Vec<usize>>,
}

impl Finding {
    /// What these votes come to; `None` where no ballot is counted.
    pub(crate) fn of_votes(votes: &[Option<Vote>], charter: &Arc<Charter>, demand: Assurance) -> Self {
        let agreement = charter.combine(votes);
        let standing = match (agreement.outcome(demand), &agreement.result) {
            (Some(Outcome::Agreed), Some(result)) => Standing::Agreed(result.clone()),
            (None, _) => Standing::Insufficient,
            _ => Standing::NoAgreement,
        };
        let by = |(vote, owners): &(Vote, Bitmap)| (vote.clone(), owners.iter().collect());
        Self {
            charter: Arc::clone(charter),
            standing,
            assurance: agreement.levels.now,
            votes: agreement.groups.votes.iter().map(by).collect(),
            abstained: agreement.groups.abstained.iter().collect(),
            missing: (0..votes.len()).filter(|owner| votes[*owner].is_none()).collect(),
            points: points_of(&agreement, charter),
            cluster: cluster_of(&agreement),
        }
    }

    /// What a record says, its votes opened.
    pub(crate) fn of_record(record: &Record, opened: &VotesAttachment, charter: &Arc<Charter>) -> Self {
        let (cast, abstained): (Vec<_>, Vec<_>) = record.votes.iter().partition(|group| group.commitment.is_some());
        let by = |(group, vote): (&dropbear_certificates::record::VoteGroup, &Vote)| {
            (vote.clone(), group.owners.iter().collect::<Vec<_>>())
        };
        let votes: Vec<_> = cast.into_iter().zip(&opened.votes).map(by).collect();
        let mut counted = vec![None; record.owners];
        abstained.iter().flat_map(|group| group.owners.iter()).for_each(|owner| counted[owner] = Some(Vote::Abstain));
        for (vote, owners) in &votes {
            owners.iter().for_each(|owner| counted[*owner] = Some(vote.clone()));
        }
        Self { votes, assurance: record.assurance, ..Self::of_votes(&counted, charter, record.demand) }
    }

    /// Whether every owner that answered said that its model cannot read the input.
    #[must_use]
    pub(crate) fn is_unreadable(&self) -> bool {
        self.standing == Standing::NoAgreement && self.votes.is_empty() && !self.abstained.is_empty()
    }

    /// Whether the demanded assurance holds.
    pub(crate) const fn is_agreed(&self) -> bool {
        matches!(self.standing, Standing::Agreed(_))
    }

    /// What is agreed on.
    pub(crate) const fn result(&self) -> Option<&Vote> {
        match &self.standing {
            Standing::Agreed(result) => Some(result),
            _ => None,
        }
    }

    /// The agreed class, under policies that agree on one.
    pub(crate) const fn class(&self) -> Option<u32> {
        match self.standing {
            Standing::Agreed(Vote::Class(class)) => Some(class),
            _ => None,
        }
    }
}

fn points_of(agreement: &Agreement, charter: &Charter) -> Vec<(u32, Points)> {
    match charter.policy {
        Policy::Borda { ranks } => points(&agreement.groups, ranks),
        _ => Vec::new(),
    }
}

fn cluster_of(agreement: &Agreement) -> Option<Vec<usize>> {
    match &agreement.support {
        Support::Cluster { members, .. } => Some(members.iter().collect()),
        _ => None,
    }
}

/// A ballot's vote on the request at `place`, as the ledger counts it: what the charter does not admit is an abstention.
pub(crate) fn counted_vote(ballot: &Ballot, place: usize, charter: &Charter) -> Option<Vote> {
    let vote = &ballot.answers.get(place)?.vote;
    Some(if charter.admits(vote) { vote.clone() } else { Vote::Abstain })
}

/// Opens a record's votes: those of `known` first, then whatever class the charter allows. `None` if one stays closed.
pub(crate) fn open_votes(record: &Record, salt: Digest, known: &[Vote], charter: &Charter) -> Option<VotesAttachment> {
    let classes = if charter.policy == Policy::Plurality { charter.classes.min(CLASSES_TRIED_MAX) } else { 0 };
    let open = |commitment: &Digest| {
        let mut candidates = known.iter().cloned().chain((0..classes).map(Vote::Class));
        candidates.find(|vote| vote_commitment(&salt, vote).as_ref() == Some(commitment))
    };
    let commitments = record.votes.iter().filter_map(|group| group.commitment.as_ref());
    let votes = commitments.map(open).collect::<Option<Vec<_>>>()?;
    Some(VotesAttachment { salt, votes })
}

/// At most this many classes are tried against a commitment (about 1 µs each).
const CLASSES_TRIED_MAX: u32 = 65_536;
