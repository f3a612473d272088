//! What unit tests share.

use dropbear_certificates::charter::Seat;
use dropbear_certificates::{Assurance, Charter, Policy, SecretKey};

pub(crate) fn owner() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

/// A group of one owner.
pub(crate) fn charter(task: &str, classes: u32) -> Charter {
    let seat = Seat { owner: "acme".into(), key: owner().public(), party: String::new(), lineage: String::new() };
    Charter {
        group: "group".into(),
        task: task.into(),
        classes,
        labels: None,
        roster: vec![seat],
        policy: if task == "identity" { Policy::Exact { quorum: 1 } } else { Policy::Plurality },
        faults: 0,
        assurance: Assurance::Supported,
        notice_blocks: 1,
        approvals: 1,
        fee: 0,
    }
}
