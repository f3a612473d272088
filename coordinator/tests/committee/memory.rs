//! A coordinator that has forgotten what it signed, or may have, signs nothing.

use std::fs;
use std::path::Path;

use dropbear_certificates::Assurance;
use dropbear_wire::{client, v1};

use crate::market::Ledger;
use crate::running::{Running, configs, now_ms, order, start, start_all};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

async fn status(running: &Running) -> v1::StatusReply {
    client::coordinator(running.address).status(v1::StatusRequest {}).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_from_an_old_copy_only_follows_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let configs = configs(folder.path());
    let mut committee = start_all(&configs).await;
    let mut ledger = Ledger::asking_at(now_ms());
    for place in 0..4 {
        for entry in [ledger.register(place), ledger.publish(place, 0), ledger.activate(place, 0, 0)] {
            order(&committee, &entry).await;
        }
    }
    let (data, old) = (&configs[3].data_dir, folder.path().join("old"));
    committee.remove(3).stop().await;
    copy(data, &old);
    committee.push(start(configs[3].clone()).await);
    let votes = |place: u8| [(0, 285 + u32::from(place)), (1, 285 + u32::from(place)), (2, 285 + u32::from(place))];
    for nonce in 1..4 {
        let replies = order(&committee, &ledger.one(nonce, Assurance::Robust, &votes(nonce))).await;
        assert!(!replies[3].attested.as_ref().unwrap().signature.is_empty(), "with its own disk it attests");
    }
    assert_eq!(status(&committee[3]).await.role(), v1::Role::Voter);

    committee.remove(3).stop().await;
    fs::remove_dir_all(data).unwrap();
    copy(&old, data);
    // What it finds out it remembers.
    for nonce in 4..6 {
        committee.push(start(configs[3].clone()).await);
        let replies = order(&committee, &ledger.one(nonce, Assurance::Robust, &votes(nonce))).await;
        let signed: Vec<_> =
            replies.iter().map(|reply| !reply.attested.as_ref().unwrap().signature.is_empty()).collect();
        assert_eq!(signed, [true, true, true, false]);
        let status = status(&committee[3]).await;
        assert_eq!(status.role(), v1::Role::Follower);
        assert!(status.follows_because.contains("signature"), "{}", status.follows_because);
        committee.remove(3).stop().await;
    }
    for running in committee {
        running.stop().await;
    }
}
