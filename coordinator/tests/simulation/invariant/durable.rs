//! What a client holds a certificate for, and what an honest coordinator attested, every honest ledger keeps. Nobody is
//! left without an answer.

use std::collections::BTreeMap;

use crate::history::Seen;

pub(super) fn check(seen: &Seen) {
    // The last ledger of every member is the one at the end.
    let last: BTreeMap<_, _> = seen.ledgers.iter().map(|(member, ledger)| (*member, ledger)).collect();
    for (member, ledger) in &last {
        let at = |seq: u64| ledger.get(seq as usize - 1);
        for certified in &seen.certified {
            let seq = certified.header.seq;
            let block = at(seq).unwrap_or_else(|| panic!("member {member} lacks seq {seq}, which a client has"));
            assert_eq!(block.header, certified.header, "member {member} has another header than a client at {seq}");
            let request = certified.request;
            assert!(block.leaves.contains(&certified.leaf), "member {member} lacks the record of {request}");
        }
        for sighting in &seen.sightings {
            let seq = sighting.header.seq;
            let block = at(seq).unwrap_or_else(|| panic!("member {member} lacks seq {seq}, which was attested"));
            assert_eq!(block.leaves, sighting.leaves, "member {member} has other leaves than were attested at {seq}");
        }
    }
    // A ledger that was there is there later.
    let mut length = BTreeMap::new();
    for (member, ledger) in &seen.ledgers {
        let before = length.insert(*member, ledger.len()).unwrap_or(0);
        assert!(ledger.len() >= before, "member {member} lost {} blocks", before - ledger.len());
    }
    for (request, end) in &seen.requests {
        assert!(end.is_some(), "request {request} was never answered");
    }
}
