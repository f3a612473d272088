//! Every decoder on raw bytes: no panic, and what parses is exactly what would be written.
#![no_main]

use dropbear_certificates::{
    Ballot, BallotStatement, Certificate, Charter, Committee, Genesis, GovernanceChain, GovernanceEntry, Header,
    LedgerOpening, ModelSet, Record, Request, genesis_json,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let same = |written: Vec<u8>| assert_eq!(written, bytes);
    let _ = Certificate::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = Record::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = Header::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = GovernanceChain::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = GovernanceEntry::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = LedgerOpening::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = Charter::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = Committee::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = Genesis::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = ModelSet::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = Ballot::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = BallotStatement::from_bytes(bytes).map(|read| same(read.to_bytes()));
    let _ = Request::from_statement(bytes).map(|read| same(read.statement()));
    let _ = genesis_json::from_json(bytes);
});
