//! Four real coordinators over loopback TCP: what is ordered is attested by all, and outlives a restart.

#[path = "../../consensus/tests/market/mod.rs"]
mod market;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use dropbear_certificates::genesis_json::{LabelTables, to_json};
use dropbear_certificates::{Assurance, Certificate, Record, TrustRoot};
use dropbear_consensus::Checked;
use dropbear_coordinator::{CoordinatorConfig, CoordinatorError, serve};
use dropbear_wire::convert::{Attested, path};
use dropbear_wire::files::write_seed;
use dropbear_wire::{client, v1};
use market::{Ledger, genesis};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

fn seed(role: u8, place: u8) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&[role, place]);
    seed
}

fn free_addresses() -> Vec<SocketAddr> {
    let listeners: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// Files of all four coordinators in `folder`.
fn configs(folder: &Path) -> Vec<CoordinatorConfig> {
    let genesis_path = folder.join("genesis.json");
    std::fs::write(&genesis_path, to_json(&genesis(), &LabelTables::new())).unwrap();
    let engine_addresses = free_addresses();
    let config = |place: u8| {
        let data_dir = folder.join(format!("coordinator-{place}"));
        std::fs::create_dir(&data_dir).unwrap();
        let (attestation_key, engine_key) = (data_dir.join("attestation.key"), data_dir.join("engine.key"));
        write_seed(&attestation_key, &seed(2, place)).unwrap();
        write_seed(&engine_key, &seed(3, place)).unwrap();
        CoordinatorConfig {
            name: format!("coordinator-{place}"),
            genesis: genesis_path.clone(),
            attestation_key,
            engine_key,
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics_listen: Some("127.0.0.1:0".parse().unwrap()),
            engine_addresses: engine_addresses.clone(),
            data_dir,
            leader_timeout_ms: 500,
            patience_ms_max: 250,
            pool_bytes_max: 1 << 20,
        }
    };
    (0..4).map(config).collect()
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), CoordinatorError>>,
}

async fn start(config: CoordinatorConfig) -> Running {
    let (stop, stopped) = oneshot::channel();
    let (ready, address) = oneshot::channel();
    let shutdown = async move { drop(stopped.await) };
    let task = tokio::spawn(serve(config, shutdown, move |address| ready.send(address).unwrap()));
    match address.await {
        Ok(address) => Running { address, stop, task },
        Err(_) => panic!("the coordinator did not start: {:?}", task.await),
    }
}

async fn submit(address: SocketAddr, what: v1::submit_request::What) -> v1::SubmitReply {
    let request = v1::SubmitRequest { what: Some(what), timeout_ms: 30_000, want_leaves: true, patience_ms: 0 };
    client::coordinator(address).submit(request).await.unwrap().into_inner()
}

/// Submits to the first two, waits at all, and checks that all attest one header.
async fn order(committee: &[Running], entry: &Checked) -> Vec<v1::SubmitReply> {
    let bytes = || v1::submit_request::What::Entry(entry.bytes().to_vec().into());
    let digest = || v1::submit_request::What::Digest(entry.digest().0.to_vec().into());
    let (a, b, c, d) = tokio::join!(
        submit(committee[0].address, bytes()),
        submit(committee[1].address, bytes()),
        submit(committee[2].address, digest()),
        submit(committee[3].address, digest()),
    );
    let replies = vec![a, b, c, d];
    let header = |reply: &v1::SubmitReply| reply.attested.as_ref().unwrap().header.clone();
    assert!(replies.iter().all(|reply| header(reply) == header(&replies[0])));
    replies
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_attests_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let configs = configs(folder.path());
    let mut committee = Vec::new();
    for config in &configs {
        committee.push(start(config.clone()).await);
    }
    // The same rules run here, to know the registry's state.
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let mut ledger = Ledger::asking_at(now_ms);
    for place in 0..4 {
        for entry in [ledger.register(place), ledger.publish(place, 0), ledger.activate(place, 0, 0)] {
            order(&committee, &entry).await;
        }
    }
    let entry = ledger.one(1, Assurance::Robust, &[(0, 285), (1, 285), (2, 285), (3, 285)]);
    let replies = order(&committee, &entry).await;

    let attestations: Vec<_> = replies.iter().map(|reply| reply.attested.as_ref().unwrap()).collect();
    let attested: Vec<_> = attestations.iter().map(|attested| Attested::try_from(*attested).unwrap()).collect();
    let signatures: Vec<_> = attested.iter().map(|attested| (attested.member, attested.signature.unwrap())).collect();
    let leaf = &replies[2].leaves[0];
    let (record, committee_of) = (Record::from_bytes(&leaf.data).unwrap(), genesis().committee);
    let header = attested[0].header.clone();
    let certificate =
        Certificate::new(header, record, path(leaf).unwrap(), &committee_of, &signatures[1..], Default::default());
    certificate.verify(&TrustRoot::new(genesis())).unwrap();

    // A second set of ballots for the same request is pointed to the first outcome, before and after a restart.
    let again = ledger.one(1, Assurance::Robust, &[(0, 285), (1, 285), (2, 285)]);
    let Running { stop, task, .. } = committee.remove(3);
    stop.send(()).unwrap();
    task.await.unwrap().unwrap();
    committee.push(start(configs[3].clone()).await);
    for running in [&committee[0], &committee[3]] {
        let reply = submit(running.address, v1::submit_request::What::Entry(again.bytes().to_vec().into())).await;
        assert_eq!(reply.refusal.unwrap().code, "already-decided");
    }
    let request_id = entry.request_ids()[0].0.to_vec().into();
    let looked_up = client::coordinator(committee[3].address).lookup(v1::LookupRequest { request_id }).await.unwrap();
    assert_eq!(looked_up.into_inner().leaf.unwrap().data, leaf.data);
    let next = ledger.one(2, Assurance::Robust, &[(0, 7), (1, 7), (2, 7)]);
    order(&committee, &next).await;

    for running in committee {
        running.stop.send(()).unwrap();
        running.task.await.unwrap().unwrap();
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
    running.stop.send(()).unwrap();
    running.task.await.unwrap().unwrap();
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
