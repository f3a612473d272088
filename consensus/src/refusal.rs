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
    #[error("there is no such group")]
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
    /// The serial is not above the owner's last one.
    #[error("the serial is not above the owner's last: replayed or out of date")]
    Replayed,
    /// The version is known already.
    #[error("this version is published already")]
    AlreadyPublished,
    /// The owner has too many versions.
    #[error("the owner has too many published versions in this group")]
    TooManyVersions,
    /// The version was never published.
    #[error("this version was not published")]
    NotPublished,
    /// A later activation is pending.
    #[error("another activation takes effect at the same or a later block")]
    OutOfOrder,
    /// The block is full: try again in the next.
    #[error("the block is full")]
    BlockFull,
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
