//! Four real coordinators over loopback TCP.

#[path = "../../../consensus/tests/market/mod.rs"]
mod market;
mod memory;
mod ordering;
mod owners;
mod running;
