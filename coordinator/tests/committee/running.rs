//! Four coordinators over loopback TCP, and what they are sent.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use dropbear_certificates::genesis_json::{LabelTables, to_json};
use dropbear_certificates::{Certificate, Record};
use dropbear_consensus::Checked;
use dropbear_coordinator::{CoordinatorConfig, CoordinatorError, serve};
use dropbear_wire::convert::{Attested, path};
use dropbear_wire::files::write_seed;
use dropbear_wire::{client, v1};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::market::genesis;

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
pub(crate) fn configs(folder: &Path) -> Vec<CoordinatorConfig> {
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

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<Result<(), CoordinatorError>>,
}

pub(crate) async fn start(config: CoordinatorConfig) -> Running {
    let (stop, stopped) = oneshot::channel();
    let (ready, address) = oneshot::channel();
    let shutdown = async move { drop(stopped.await) };
    let task = tokio::spawn(serve(config, shutdown, move |address| ready.send(address).unwrap()));
    match address.await {
        Ok(address) => Running { address, stop, task },
        Err(_) => panic!("the coordinator did not start: {:?}", task.await),
    }
}

pub(crate) async fn submit(address: SocketAddr, what: v1::submit_request::What) -> v1::SubmitReply {
    let request = v1::SubmitRequest { what: Some(what), timeout_ms: 30_000, want_leaves: true, patience_ms: 0 };
    client::coordinator(address).submit(request).await.unwrap().into_inner()
}

/// Submits to the first two, waits at all, and checks that all attest one header.
pub(crate) async fn order(committee: &[Running], entry: &Checked) -> Vec<v1::SubmitReply> {
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

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// All four, running.
pub(crate) async fn start_all(configs: &[CoordinatorConfig]) -> Vec<Running> {
    let mut committee = Vec::new();
    for config in configs {
        committee.push(start(config.clone()).await);
    }
    committee
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

/// The certificate of the record at the first leaf of the replies' entry, by a quorum of them.
pub(crate) fn certificate(replies: &[v1::SubmitReply]) -> Certificate {
    let attested: Vec<_> = replies.iter().map(|reply| reply.attested.as_ref().unwrap()).collect();
    let attested: Vec<_> = attested.into_iter().map(|attested| Attested::try_from(attested).unwrap()).collect();
    let signatures: Vec<_> = attested.iter().map(|attested| (attested.member, attested.signature.unwrap())).collect();
    let leaf = &replies[2].leaves[0];
    let (record, header) = (Record::from_bytes(&leaf.data).unwrap(), attested[0].header.clone());
    let committee = genesis().committee;
    Certificate::new(header, record, path(leaf).unwrap(), &committee, &signatures[1..], Default::default())
}
