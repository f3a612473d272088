//! Nobody who is honest is blamed by anybody who is, and nobody who kept their disk is taken for one who lost it.

use crate::history::{History, Seen};

pub(super) fn check(history: &History, seen: &Seen) {
    for (member, blamed, fault) in &seen.blames {
        assert!(!history.honest.contains(blamed), "member {member} blames an honest one: {fault}");
    }
    assert!(seen.demoted.is_empty(), "members kept their disks and yet follow without a vote: {:?}", seen.demoted);
}
