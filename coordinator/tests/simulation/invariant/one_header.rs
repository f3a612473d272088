//! An honest coordinator attests at most one header per seq, across crashes and restores.

use std::collections::BTreeMap;

use crate::history::Seen;

pub(super) fn check(seen: &Seen) {
    let mut attested = BTreeMap::new();
    let stored = seen.ledgers.iter().flat_map(|(member, ledger)| {
        let signed = ledger.iter().filter(|block| block.attestation.is_some());
        signed.map(|block| (*member, &block.header))
    });
    let told = seen.sightings.iter().map(|sighting| (sighting.member, &sighting.header));
    for (member, header) in told.chain(stored) {
        let bytes = header.to_bytes();
        let first = attested.entry((member, header.seq)).or_insert_with(|| bytes.clone());
        assert_eq!(*first, bytes, "member {member} attested two headers at seq {}", header.seq);
    }
}
