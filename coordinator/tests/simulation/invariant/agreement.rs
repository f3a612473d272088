//! All honest ledgers are beginnings of one.

use super::longest;
use crate::history::Seen;

pub(super) fn check(seen: &Seen) {
    let longest = longest(seen);
    for (member, ledger) in &seen.ledgers {
        for (ours, theirs) in ledger.iter().zip(longest) {
            let seq = theirs.header.seq;
            assert_eq!(ours.header, theirs.header, "member {member} has another header at seq {seq}");
            assert_eq!(ours.payload, theirs.payload, "member {member} has other entries at seq {seq}");
            assert_eq!(ours.leaves, theirs.leaves, "member {member} has other leaves at seq {seq}");
        }
    }
}
