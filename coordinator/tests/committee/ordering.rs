//! What is ordered is attested by all, and outlives a restart.

use dropbear_certificates::{Assurance, TrustRoot};
use dropbear_consensus::Checked;
use dropbear_coordinator::{CoordinatorConfig, serve};
use dropbear_wire::{client, v1};
use futures_util::future::join_all;

use crate::market::{Ledger, genesis};
use crate::running::{certificate, configs, now_ms, order, start, start_all, submit};

#[tokio::test(flavor = "multi_thread")]
async fn orders_attests_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let configs = configs(folder.path());
    let mut committee = start_all(&configs).await;
    // The same rules run here, to know the registry's state.
    let mut ledger = Ledger::asking_at(now_ms());
    for place in 0..4 {
        for entry in [ledger.register(place), ledger.publish(place, 0), ledger.activate(place, 0, 0)] {
            order(&committee, &entry).await;
        }
    }
    let entry = ledger.one(1, Assurance::Robust, &[(0, 285), (1, 285), (2, 285), (3, 285)]);
    let replies = order(&committee, &entry).await;

    certificate(&replies).verify(&TrustRoot::new(genesis())).unwrap();

    // A second set of ballots for the same request is pointed to the first outcome, before and after a restart.
    let again = ledger.one(1, Assurance::Robust, &[(0, 285), (1, 285), (2, 285)]);
    committee.remove(3).stop().await;
    committee.push(start(configs[3].clone()).await);
    for running in [&committee[0], &committee[3]] {
        let reply = submit(running.address, v1::submit_request::What::Entry(again.bytes().to_vec().into())).await;
        assert_eq!(reply.refusal.unwrap().code, "already-decided");
    }
    let request_id = entry.request_ids()[0].0.to_vec().into();
    let looked_up = client::coordinator(committee[3].address).lookup(v1::LookupRequest { request_id }).await.unwrap();
    assert_eq!(looked_up.into_inner().leaf.unwrap().data, replies[2].leaves[0].data);
    let next = ledger.one(2, Assurance::Robust, &[(0, 7), (1, 7), (2, 7)]);
    order(&committee, &next).await;

    for running in committee {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_coordinator_refuses_what_no_longer_applies_though_no_block_follows() {
    let folder = tempfile::tempdir().unwrap();
    let committee = start_all(&configs(folder.path())).await;
    let mut ledger = Ledger::asking_at(now_ms());
    for place in 0..4 {
        for entry in [ledger.register(place), ledger.publish(place, 0), ledger.activate(place, 0, 0)] {
            order(&committee, &entry).await;
        }
    }
    // Two sets of ballots for one request wait everywhere before either is decided.
    let four = ledger.one(1, Assurance::Robust, &[(0, 285), (1, 285), (2, 285), (3, 285)]);
    let three = ledger.one(1, Assurance::Robust, &[(0, 285), (1, 285), (2, 285)]);
    let to_all = |entry: &Checked| {
        let bytes = entry.bytes().to_vec();
        let what = move || v1::submit_request::What::Entry(bytes.clone().into());
        join_all(committee.iter().map(|running| submit(running.address, what())).collect::<Vec<_>>())
    };
    let (four, three) = tokio::join!(to_all(&four), to_all(&three));
    let refusals = |replies: &[v1::SubmitReply]| -> Vec<String> {
        replies.iter().filter_map(|reply| Some(reply.refusal.as_ref()?.code.clone())).collect()
    };
    let (mut first, mut second) = (refusals(&four), refusals(&three));
    if first.len() > second.len() {
        std::mem::swap(&mut first, &mut second);
    }
    assert_eq!((first, second), (vec![], vec!["already-decided".to_owned(); 4]));
    for running in committee {
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_valid_is_the_senders_fault() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(configs(folder.path()).remove(0)).await;
    let mut entry = Ledger::with_models().one(1, Assurance::Robust, &[(0, 7), (1, 7), (2, 7)]).bytes().to_vec();
    *entry.last_mut().unwrap() ^= 1;
    let what = Some(v1::submit_request::What::Entry(entry.into()));
    // The test's market has the genesis of the committee's.
    let request = v1::SubmitRequest { what, timeout_ms: 1, want_leaves: false, patience_ms: 0 };
    let status = client::coordinator(running.address).submit(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("gateway's signature"), "{status}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_the_configuration_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = configs(folder.path()).remove(0);
    let fails =
        async |config: CoordinatorConfig| serve(config, std::future::pending(), |_| ()).await.unwrap_err().to_string();
    let other = CoordinatorConfig { name: "stranger".into(), ..config.clone() };
    assert!(fails(other).await.contains("genesis has no member for `stranger`"));
    let swapped = CoordinatorConfig { attestation_key: config.engine_key.clone(), ..config.clone() };
    assert!(fails(swapped).await.contains("not the ones that genesis names"));
    let public = CoordinatorConfig { listen: "0.0.0.0:0".parse().unwrap(), ..config.clone() };
    assert!(fails(public).await.contains("loopback only"));
    let missing = CoordinatorConfig { genesis: "/nowhere/genesis.json".into(), ..config };
    assert!(fails(missing).await.contains("cannot read /nowhere/genesis.json"));
}
