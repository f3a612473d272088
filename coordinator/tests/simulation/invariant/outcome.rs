//! A record's outcome is the plurality of its own tally, as robust as was demanded: counted here by hand.

use super::{longest, records};
use crate::history::Seen;
use crate::offers::OWNERS;

pub(super) fn check(seen: &Seen) {
    for block in longest(seen) {
        for record in records(block) {
            let count = |group: &dropbear_certificates::record::VoteGroup| {
                (0..usize::from(OWNERS)).filter(|owner| group.owners.contains(*owner)).count()
            };
            let mut counts: Vec<_> = record.votes.iter().map(count).collect();
            let missing = usize::from(OWNERS) - counts.iter().sum::<usize>();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            let lead = counts[0] - counts.get(1).copied().unwrap_or(0);
            // One faulty owner may have voted both ways, and those who are missing may all have voted against.
            assert!(lead > 1 + missing, "seq {} records an outcome that {counts:?} do not support", record.seq);
        }
    }
}
