//! Why a well-signed entry is not applied, and what its sender can do about it.

use dropbear_certificates::Digest;

/// Where a request id found its terminal outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block.
    pub seq: u64,
    /// The record's leaf in it.
    pub leaf_index: u64,
}

/// Why an entry, or one request of a submission, is not applied at its place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The gateway is not registered.
    #[error("the gateway is not registered in this market")]
    UnknownGateway,
    /// There is no such group.
    #[error("there is no such group; look at the list of groups for its name")]
    UnknownGroup,
    /// The ballots were given under another charter: fetch the one in force and ask again.
    #[error("the charter is not the one in force")]
    StaleCharter,
    /// A ballot's owner has no place on the roster.
    #[error("the owner is not on the group's roster")]
    NotOnRoster,
    /// The request id has its outcome already: fetch that certificate.
    #[error("the request already has its outcome, in block {} at leaf {}", .0.seq, .0.leaf_index)]
    AlreadyDecided(Place),
    /// The request expired before it was decided: ask under a new nonce.
    #[error("the request has expired")]
    Expired,
    /// The request's expiry lies too far in the future.
    #[error("the request expires later than the market allows")]
    ExpiryTooFar,
    /// The group's policy can never give the demanded assurance: ask for less.
    #[error("the group's policy never gives the assurance that the request demands; ask for less")]
    DemandTooStrong,
    /// The ballots do not reach the demanded assurance yet: ask the missing owners.
    #[error("the ballots do not suffice: {counted} counted, {stale} stale, {missing} missing")]
    Insufficient {
        /// Ballots that count for this request.
        counted: usize,
        /// Ballots dropped because they name a version that is not current, or have expired.
        stale: usize,
        /// Owners without a counted ballot.
        missing: usize,
    },
    /// No request of the submission is new: nothing to record.
    #[error("no request of the submission can be decided")]
    Nothing,
    /// No ballot is late: each is over undecided or forgotten requests, or is counted already.
    #[error("no ballot counts as late: its requests are undecided or long decided, or it was counted before")]
    NothingLate,
    /// The serial is not above the owner's last one.
    #[error("the serial is not above the owner's last: this entry is a replay, or was overtaken; sign it anew")]
    Replayed,
    /// The serial lies in the future: it would shut its owner out until then.
    #[error("the serial lies ahead of the ledger's time: use Unix milliseconds, and check this machine's clock")]
    SerialAhead,
    /// The key was replaced.
    #[error("this key was replaced by another and signs nothing any more; use the new one")]
    DeadKey,
    /// The new key is or was in use.
    #[error("the new key is or was in use in this market: make a fresh one")]
    KeyInUse,
    /// Too many keys were replaced.
    #[error("this market holds no more replaced keys")]
    TooManyKeys,
    /// The key has nothing to do with the group.
    #[error("no charter or open proposal of the group names this key: propose to join it first")]
    NotNamed,
    /// The owner registered a model of this name.
    #[error("this owner registered a model of this name in this group already")]
    AlreadyRegistered,
    /// The owner has too many models.
    #[error("the owner has too many registered models in this group")]
    TooManyModels,
    /// The model is not the owner's.
    #[error("this owner registered no model of this name in this group: register it first")]
    NotRegistered,
    /// The version is known already.
    #[error("this version is published already")]
    AlreadyPublished,
    /// The owner has too many versions.
    #[error("the owner has too many published versions in this group")]
    TooManyVersions,
    /// The version was never published.
    #[error("this owner published no such version in this group: publish it first")]
    NotPublished,
    /// The version was withdrawn for good.
    #[error("this version was retired for good: publish and activate another")]
    Retired,
    /// The version was withdrawn already.
    #[error("this version is withdrawn already")]
    AlreadyWithdrawn,
    /// A later activation is pending.
    #[error("another activation takes effect at the same or a later block")]
    OutOfOrder,
    /// Too many activations wait for their block.
    #[error("too many activations of this owner wait for their block; activate again once some took effect")]
    TooManyActivations,
    /// The charter that the proposal replaces is not the group's.
    #[error(
        "the proposal replaces a charter that is not the group's charter in force: fetch that one and propose anew"
    )]
    StaleProposal,
    /// The proposal changes nothing.
    #[error("the proposed charter is the one in force")]
    NothingChanges,
    /// Another charter waits for its block.
    #[error("another charter of the group takes effect at block {0}; try again after it")]
    CharterPending(u64),
    /// The proposer has no say.
    #[error("only an owner of the group, or one that the new charter adds, may propose it")]
    MayNotPropose,
    /// The approver has no say.
    #[error("only an owner of the group, or one that the new charter adds, may approve it")]
    MayNotApprove,
    /// There is no such proposal.
    #[error("no such proposal is open: it took effect, another charter took its place, or it was never made")]
    UnknownProposal,
    /// It was proposed already.
    #[error("this proposal is open already: approve it instead")]
    AlreadyProposed,
    /// It was approved by this key already.
    #[error("this key approved the proposal already")]
    AlreadyApproved,
    /// Too many proposals are open.
    #[error("too many proposals for this group are open: ask its owners to approve some, or wait for another charter")]
    TooManyProposals,
    /// Too many groups.
    #[error("the market has as many groups as it can hold")]
    TooManyGroups,
    /// The group cannot do without this owner.
    #[error("the last owner cannot leave a group")]
    LastOwner,
    /// Only owners and gateways report.
    #[error("only gateways and owners on a roster may report evidence")]
    UnknownReporter,
    /// The accused is nobody that the ledger knows.
    #[error("the accused has no seat in the group")]
    UnknownAccused,
    /// The same guilt is on record.
    #[error("this key's equivocation is on record for this epoch")]
    AlreadyConvicted,
    /// The block is full: try again in the next.
    #[error("the block is full")]
    BlockFull,
}

impl Refused {
    /// A stable code, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownGateway => "unknown-gateway",
            Self::UnknownGroup => "unknown-group",
            Self::StaleCharter => "stale-charter",
            Self::NotOnRoster => "not-on-roster",
            Self::AlreadyDecided(_) => "already-decided",
            Self::Expired => "expired",
            Self::ExpiryTooFar => "expiry-too-far",
            Self::DemandTooStrong => "demand-too-strong",
            Self::Insufficient { .. } => "insufficient",
            Self::Nothing => "nothing",
            Self::NothingLate => "nothing-late",
            Self::Replayed => "replayed",
            Self::SerialAhead => "serial-ahead",
            Self::DeadKey => "dead-key",
            Self::KeyInUse => "key-in-use",
            Self::TooManyKeys => "too-many-keys",
            Self::NotNamed => "not-named",
            Self::AlreadyRegistered => "already-registered",
            Self::TooManyModels => "too-many-models",
            Self::NotRegistered => "not-registered",
            Self::AlreadyPublished => "already-published",
            Self::TooManyVersions => "too-many-versions",
            Self::NotPublished => "not-published",
            Self::Retired => "retired",
            Self::AlreadyWithdrawn => "already-withdrawn",
            Self::OutOfOrder => "out-of-order",
            Self::TooManyActivations => "too-many-activations",
            Self::StaleProposal => "stale-proposal",
            Self::NothingChanges => "nothing-changes",
            Self::CharterPending(_) => "charter-pending",
            Self::MayNotPropose => "may-not-propose",
            Self::MayNotApprove => "may-not-approve",
            Self::UnknownProposal => "unknown-proposal",
            Self::AlreadyProposed => "already-proposed",
            Self::AlreadyApproved => "already-approved",
            Self::TooManyProposals => "too-many-proposals",
            Self::TooManyGroups => "too-many-groups",
            Self::LastOwner => "last-owner",
            Self::UnknownReporter => "unknown-reporter",
            Self::UnknownAccused => "unknown-accused",
            Self::AlreadyConvicted => "already-convicted",
            Self::BlockFull => "block-full",
        }
    }
}

/// Why a proposed block gets no vote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockRefused {
    /// Its parent is not known here.
    #[error("the parent {0} is not known")]
    UnknownParent(Digest),
    /// Not the encoding of a block.
    #[error("malformed block: {0}")]
    Malformed(#[from] dropbear_certificates::cbor::CborError),
    /// A block without entries.
    #[error("a block holds at least one entry")]
    Empty,
    /// Agreed time runs backwards.
    #[error("agreed time runs backwards")]
    TimeBackwards,
    /// Agreed time lies too far ahead of this replica's clock.
    #[error("agreed time lies too far ahead")]
    TimeAhead,
    /// An entry that can never be valid.
    #[error("entry {0}: {1}")]
    Invalid(usize, crate::entry::Invalid),
    /// An entry that does not apply here; an honest proposer leaves it out.
    #[error("entry {0}: {1}")]
    Refused(usize, Refused),
    /// The same entry twice.
    #[error("entry {0} stands twice")]
    Twice(usize),
}
