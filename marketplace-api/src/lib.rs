//! The gateway: admits requests, fans them out, collects ballots and assembles certificates.

mod ask;
mod assemble;
mod batch;
mod collect;
mod config;
mod coordinators;
mod core;
mod finding;
mod lane;
mod market;
mod mint;
mod nodes;
mod picture;
mod quorum;
mod round;
mod schema;
mod settle;
