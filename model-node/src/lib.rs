//! One owner's worker: batches, infers, and signs ballots that it never contradicts.

pub mod zoo;
