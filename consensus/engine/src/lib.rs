//! The ordering engine: commonware simplex behind our own narrow trait.
//!
//! An engine orders opaque payloads for one [`Replica`] and knows nothing of what they mean. The replica says
//! what to propose and what to accept; the engine agrees with its peers on one chain of blocks and hands the
//! final ones back, in height order, each at least once. [`start`] runs it over TCP; `sim` (feature `sim`) runs
//! the same code on a simulated clock, network and disk. Nothing outside of this crate names a type of the
//! library below, and its generic code is compiled here only: [`start`] puts the replica behind a pointer.
//!
//! # How the protocol maps
//!
//! Simplex (Chan and Pass, 2023) goes through *views*. Each has one leader, in rotation, who sends a block.
//! A peer whose replica accepts it votes to *notarize* it; a quorum of n − ⌊(n−1)/3⌋ such votes lets everybody
//! enter the next view and vote to *finalize*; a quorum of those makes the block and its ancestors final. A
//! peer that waits in vain votes to *nullify* the view instead, and never both finalizes and nullifies one.
//!
//! | Moment | What the replica sees |
//! |---|---|
//! | we lead a view | [`Replica::propose`], on the newest notarized block; it may stay pending |
//! | a leader's block is here | [`Replica::verify`]; `true` is our vote to notarize |
//! | a block is final, stored, and so are all below it | [`Replica::finalized`]; resolving it acknowledges |
//! | the chain has blocks that the replica never judged | they come as `ancestors` with the two calls above |
//!
//! **What is durable when.** A vote is in the journal on disk before it leaves, so a process killed at any moment
//! restarts without contradicting itself. A block is on disk before it is delivered. After a restart, delivery
//! resumes behind the last acknowledged block; a crash can repeat up to sixteen. A lost or
//! restored storage directory is amnesia: before it signs anything, a starting engine asks its peers for the newest
//! votes of its own that they heard, and for what their replicas have to show ([`Replica::testify`]). If a quorum
//! knows of nothing that is missing here, it votes; if somebody does, it only follows ([`Role`]).
//!
//! # Turns, and what idleness costs
//!
//! An idle leader keeps its turn for 0.9 leader timeouts and then gives it up, which
//! all others follow at once: so an idle committee exchanges one round of small votes per turn. A payload that
//! becomes available during the turn is proposed at that moment. The margin to the full timeout keeps a block
//! proposed at the last moment from meeting peers whose clocks have already given the view up. A replica that
//! declines waits for the end of the turn too, so no answer makes the committee spin. A replica whose block
//! all others *refuse* is a defect that turns views quickly; each costs the network a round.
//!
//! Votes to finalize are sent once. If too few arrive, the block is final only when a later one is, which an idle
//! committee would not make: a leader whose parent is not final after a quarter of the timeout therefore proposes
//! a block with an **empty payload**. There are no other empty blocks.
//!
//! A leader that has been silent for three timeouts is passed over as soon as its view begins, however long the
//! committee has been idle. Before that its views cost a timeout each. Idle peers are not silent: they vote.
//!
//! Only the leader of a view can propose. An entry that only some replicas hold waits until one of them leads,
//! a turn for each idle leader in between: so whoever receives an entry should [`Ordering::relay`] it to all.
//!
//! # Keys
//!
//! One Ed25519 key per peer authenticates its connections and signs its votes: the library's Ed25519 scheme
//! identifies a voter by the key of the connection. The two uses are kept apart by namespaces (`…/votes`,
//! `…/transport`). Attestation keys are not this crate's. Votes are verified by ZIP-215 rules, which accept more
//! encodings than strict Ed25519: engine certificates never leave the committee, only [`EngineFault`] does.
//!
//! # Faults
//!
//! Two votes of one peer that contradict each other are reported as an [`EngineFault`], whose evidence anybody
//! can check with [`check_evidence`]; the peer is disconnected for an hour. Votes are kept for 256 views below the
//! last final one. Invalid blocks and silence are not evidence.
//!
//! # Deviations
//!
//! - The library votes to finalize only after the block is durable (its *certification*), which the paper lacks.
//! - A change of committee is a new engine with another namespace and directory: one engine, one epoch.
//! - Final blocks are kept for good, to serve peers that fell behind; they are not pruned.

mod application;
mod block;
mod config;
mod delivery;
mod evidence;
mod handle;
mod memory;
mod note;
mod replica;
#[cfg(feature = "sim")]
pub mod sim;
mod stack;
mod status;

pub use block::OrderedBlock;
pub use config::{
    BLOCK_SIZE_BYTES_MAX, EngineConfig, LEADER_TIMEOUT_MS, Peer, RELAY_MESSAGES_PER_S_MAX, RELAY_SIZE_BYTES_MAX,
    WORKER_THREADS, public_key,
};
pub use evidence::check_evidence;
pub use handle::{Error, Handle, Ordering, start};
pub use replica::{EngineFault, FaultKind, Memory, Replica, Role};
pub use status::Status;
