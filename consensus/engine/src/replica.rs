//! What the engine asks of its replica, and what it hands over.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::OrderedBlock;

/// What a replica remembers of what it signed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It never signed anything, as far as its disk knows.
    Fresh,
    /// It signed, and has the record of it. The engine must find its votes too.
    Kept,
    /// It is known to have forgotten what it signed: it only follows.
    Lost,
}

/// What an engine may do, decided once at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It votes and proposes: nobody remembers anything that it has forgotten.
    Voter,
    /// It follows without a vote, for this reason: a signature could contradict one that it has forgotten.
    Follower(String),
}

/// The replica that the engine orders for: it proposes, judges and receives blocks.
///
/// The engine calls these methods from its own threads and runtime, so an implementation must not rely on
/// the caller's tokio runtime being entered; bridge with channels. Methods that are not `async` must return at
/// once.
pub trait Replica: Clone + Send + Sync + 'static {
    /// What it remembers of what it signed before this start.
    fn memory(&self) -> Memory;

    /// What it can show that the peer with this place signed: for a peer that starts and may have forgotten it.
    fn testify(&self, peer: usize) -> Bytes;

    /// Whether a peer's testimony proves that we signed something that we do not know of. It must convince by
    /// itself, our own signature: a peer that lies could silence us otherwise.
    fn has_forgotten(&self, testimony: Bytes) -> bool;

    /// The engine's role is decided. Called once, before the first block comes. A follower's replica must make
    /// durable that it is one.
    fn begin(&self, role: Role) -> impl Future<Output = ()> + Send;

    /// The height of the last final block that is durable here; 0 before the first.
    fn height(&self) -> u64;

    /// Whether the replica holds the state after this block: the final tip, or a verified block above it.
    fn knows(&self, digest: &[u8; 32]) -> bool;

    /// A payload that extends `parent`.
    ///
    /// `ancestors` are the blocks between the last known one (exclusive) and `parent` (inclusive), oldest
    /// first, for replaying. The future may stay pending while there is nothing to order: the engine drops it
    /// when its turn ends. `None` or an empty payload declines, which costs the committee the rest of the turn.
    fn propose(&self, parent: [u8; 32], ancestors: Vec<OrderedBlock>) -> impl Future<Output = Option<Bytes>> + Send;

    /// Whether an honest replica votes for `block`; `ancestors` as in [`Replica::propose`], ending with the
    /// block's parent.
    ///
    /// All honest replicas must give the same answer, so the verdict may depend on the chain alone. While the
    /// verdict could still change, stay pending. A block with an empty payload is always acceptable: engines
    /// propose it by themselves when a block below is overdue to be final.
    fn verify(&self, ancestors: Vec<OrderedBlock>, block: OrderedBlock) -> impl Future<Output = bool> + Send;

    /// A final block: in height order, each at least once.
    ///
    /// When the future resolves the block must be durable: the engine then never delivers it again, except
    /// after a crash that lost the engine's own note of it.
    fn finalized(&self, block: OrderedBlock) -> impl Future<Output = ()> + Send;

    /// A message that the peer with this place in the committee relayed; not ordered, may be lost.
    fn relayed(&self, from: usize, message: Bytes);

    /// Evidence that a peer contradicted itself.
    fn fault(&self, fault: EngineFault);
}

/// Two signed votes of one peer that no honest peer casts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFault {
    /// The culprit's place in the committee.
    pub culprit: usize,
    /// What the two votes contradict.
    pub kind: FaultKind,
    /// The engine's view in which both votes were cast.
    pub view: u64,
    /// Both votes with their signatures, in the engine's encoding.
    pub evidence: Bytes,
}

/// How two votes of one peer in one view contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Notarised two blocks.
    ConflictingNotarize,
    /// Finalised two blocks.
    ConflictingFinalize,
    /// Nullified the view and finalised a block in it.
    NullifyFinalize,
}

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Replica`] behind a pointer, so that the engine's generic code is compiled here once and not again in
/// every crate that implements the trait.
pub(crate) trait DynReplica: Send + Sync + 'static {
    fn memory(&self) -> Memory;
    fn testify(&self, peer: usize) -> Bytes;
    fn has_forgotten(&self, testimony: Bytes) -> bool;
    fn begin(&self, role: Role) -> BoxFuture<'_, ()>;
    fn height(&self) -> u64;
    fn knows(&self, digest: &[u8; 32]) -> bool;
    fn propose(&self, parent: [u8; 32], ancestors: Vec<OrderedBlock>) -> BoxFuture<'_, Option<Bytes>>;
    fn verify(&self, ancestors: Vec<OrderedBlock>, block: OrderedBlock) -> BoxFuture<'_, bool>;
    fn finalized(&self, block: OrderedBlock) -> BoxFuture<'_, ()>;
    fn relayed(&self, from: usize, message: Bytes);
    fn fault(&self, fault: EngineFault);
}

impl<R: Replica> DynReplica for R {
    fn memory(&self) -> Memory {
        Replica::memory(self)
    }

    fn testify(&self, peer: usize) -> Bytes {
        Replica::testify(self, peer)
    }

    fn has_forgotten(&self, testimony: Bytes) -> bool {
        Replica::has_forgotten(self, testimony)
    }

    fn begin(&self, role: Role) -> BoxFuture<'_, ()> {
        Box::pin(Replica::begin(self, role))
    }

    fn height(&self) -> u64 {
        Replica::height(self)
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        Replica::knows(self, digest)
    }

    fn propose(&self, parent: [u8; 32], ancestors: Vec<OrderedBlock>) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(Replica::propose(self, parent, ancestors))
    }

    fn verify(&self, ancestors: Vec<OrderedBlock>, block: OrderedBlock) -> BoxFuture<'_, bool> {
        Box::pin(Replica::verify(self, ancestors, block))
    }

    fn finalized(&self, block: OrderedBlock) -> BoxFuture<'_, ()> {
        Box::pin(Replica::finalized(self, block))
    }

    fn relayed(&self, from: usize, message: Bytes) {
        Replica::relayed(self, from, message);
    }

    fn fault(&self, fault: EngineFault) {
        Replica::fault(self, fault);
    }
}
