//! Real processes killed without notice, under load: no wrong answer, no hang, no contradiction.

use std::net::SocketAddr;

use dropbear_certificates::{Ballot, Header};
use dropbear_wire::{client, v1};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::asker::{Answer, Asked, Asker, Load};
use crate::harness::{Folder, Service, Up, classify, dropbear, photo, said, until};

const COORDINATORS: [&str; 4] = ["coordinator-0", "coordinator-1", "coordinator-2", "coordinator-3"];
const OWNERS: [&str; 4] = ["alder", "birch", "cedar", "dogwood"];
/// Answers between two faults.
const ANSWERS: u64 = 20;

/// What `dropbear status` says, and whether it is content.
fn status(folder: &Folder) -> (bool, String) {
    let output = dropbear(&["status", folder.dir().to_str().unwrap()]);
    (output.status.success(), said(&output))
}

fn status_json(folder: &Folder) -> serde_json::Value {
    let output = dropbear(&["status", "--json", folder.dir().to_str().unwrap()]);
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn seq(folder: &Folder, coordinator: usize) -> Option<u64> {
    let address = SocketAddr::from(([127, 0, 0, 1], folder.port_base + 10 + coordinator as u16));
    let status = client::coordinator(address).status(v1::StatusRequest {}).await.ok()?;
    Some(status.into_inner().seq)
}

/// Waits until every coordinator has every block that one of them has now.
async fn caught_up(folder: &Folder) {
    let mut target = 0;
    for coordinator in 0..4 {
        target = target.max(seq(folder, coordinator).await.unwrap_or(0));
    }
    for coordinator in 0..4 {
        until(async || seq(folder, coordinator).await >= Some(target)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_one_coordinator_may_die_under_load() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let mut load = Load::start(&Asker::of(&folder), 4);
    load.answers(ANSWERS).await;
    for name in COORDINATORS {
        folder.signal(name, Signal::SIGKILL).await;
        load.answers(ANSWERS).await;
        let (content, said) = status(&folder);
        assert!(!content && said.contains("3 of 4 coordinators are up: certification goes on, but no other"), "{said}");
        assert!(said.contains(&format!("{name} is down; if it does not run: dropbear coordinator --config")), "{said}");
        let returned = Service::start(&folder, name, "coordinator").await;
        caught_up(&folder).await;
        load.answers(ANSWERS).await;
        up.adopt(returned);
    }
    load.end().await;
    let (content, said) = status(&folder);
    assert!(content, "{said}");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_may_die_under_load_and_are_missed_when_too_many_do() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let asker = Asker::of(&folder);
    let mut load = Load::start(&asker, 4);
    load.answers(ANSWERS).await;
    for name in OWNERS {
        folder.signal(name, Signal::SIGKILL).await;
        load.answers(ANSWERS).await;
        let (content, said) = status(&folder);
        assert!(!content && said.contains(&format!("`identity` answers without {name} (3 of 4 owners)")), "{said}");
        up.adopt(Service::start(&folder, name, "model-node").await);
        load.answers(ANSWERS).await;
    }
    load.end().await;

    // Two owners gone: no quorum of votes, and nobody pretends that there is.
    let gone = ["birch", "cedar"];
    for name in gone {
        folder.signal(name, Signal::SIGKILL).await;
    }
    let Answer::Failed(status_code, error) = asker.impatient(1500).ask(&asker.request(1)).await else {
        panic!("answered with two ballots of four")
    };
    assert_eq!(status_code, 504, "{error}");
    assert!(error.starts_with("insufficient") && gone.iter().all(|name| error.contains(name)), "{error}");
    let findings = status_json(&folder)["findings"].to_string();
    assert!(findings.contains("too few for most answers"), "{findings}");
    for name in gone {
        up.adopt(Service::start(&folder, name, "model-node").await);
    }
    // The same request, which was never decided, is answered now.
    let request = asker.request(1);
    until(async || matches!(asker.ask(&request).await, Answer::Certified(_))).await;
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_one_owner_a_dispute_stays_open() {
    let folder = Folder::init("imagenet");
    let up = Up::start(&folder).await;
    folder.signal("dogwood", Signal::SIGKILL).await;
    let (status, body) = classify(&folder, "", std::fs::read(photo("imagenet_04_949.jpg")).unwrap()).await;
    assert_eq!((status, &body["results"][0]["class"]), (200, &json!(949)), "{body}");
    // Of three ballots two say one thing: the missing fourth could turn it.
    let rocket = std::fs::read(photo("rocket.jpg")).unwrap();
    let (status, body) = classify(&folder, "?timeout_ms=3000", rocket).await;
    let error = body["error"].as_str().unwrap();
    assert!([409, 504].contains(&status), "{body}");
    assert!(error.starts_with("insufficient") || error.starts_with("no-agreement"), "{error}");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_may_die_at_once() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let asker = Asker::of(&folder);
    let requests: Vec<_> = (1..=ANSWERS).map(|number| asker.request(number)).collect();
    let mut first = Vec::new();
    for request in &requests {
        first.push(asker.ask(request).await.certified());
    }
    let votes = votes(&folder, &requests).await;
    let before = seq(&folder, 0).await.unwrap();
    // Some are on their way when the lights go out; whatever becomes of them, it must be one thing.
    let open: Vec<_> = (100..108).map(|number| asker.request(number)).collect();
    let asking: Vec<_> = open.iter().map(|request| tokio::spawn(ask(asker.clone(), request.clone()))).collect();
    up.kill(&folder).await;
    for asked in asking {
        asked.await.unwrap();
    }

    let up = Up::start(&folder).await;
    for (request, first) in requests.iter().zip(&first) {
        let again = asker.fetch(request).await.expect("a recorded outcome stays recorded");
        assert_eq!(again.record(), first.record());
    }
    assert_eq!(self::votes(&folder, &requests).await, votes, "an owner votes as it voted");
    for request in &open {
        asker.ask(request).await.certified();
    }
    caught_up(&folder).await;
    assert!(seq(&folder, 0).await.unwrap() > before, "the ledger goes on where it was");
    for request in requests.iter().chain(&open) {
        one_header_each(&folder, &asker, request).await;
    }
    up.stop().await;
}

async fn ask(asker: Asker, request: Asked) {
    // Answered or cut off: both may happen.
    drop(asker.ask(&request).await);
}

/// Every owner's answers to the requests, asked of its node directly.
async fn votes(folder: &Folder, requests: &[Asked]) -> Vec<Vec<dropbear_certificates::Answer>> {
    let (genesis, _) = dropbear_wire::files::read_genesis(&folder.genesis()).unwrap();
    let call = v1::InferRequest {
        group: "identity".into(),
        charter: bytes::Bytes::copy_from_slice(genesis.charters[0].digest().as_bytes()),
        items: requests.iter().map(Asked::item).collect(),
        want_outputs: false,
    };
    let mut votes = Vec::new();
    for place in 0..4 {
        let address = SocketAddr::from(([127, 0, 0, 1], folder.port_base + 300 + place));
        let reply = client::model_node(address).infer(call.clone()).await.unwrap().into_inner();
        votes.push(Ballot::from_bytes(&reply.ballot).unwrap().answers);
    }
    votes
}

/// Every coordinator shows the header that the certificates show.
async fn one_header_each(folder: &Folder, asker: &Asker, request: &Asked) {
    for place in 0..4 {
        let address = SocketAddr::from(([127, 0, 0, 1], folder.port_base + 10 + place));
        let request_id = bytes::Bytes::copy_from_slice(request.signed.request.id().as_bytes());
        let found = client::coordinator(address).lookup(v1::LookupRequest { request_id }).await.unwrap().into_inner();
        let header = found.attested.expect("recorded").header;
        asker.saw(Header::from_bytes(&header).unwrap().seq, header.into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_after_submitting_takes_no_answer_with_it() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let asker = Asker::of(&folder);
    asker.ask(&asker.request(1)).await.certified();
    // Without a third coordinator nothing becomes final: the gateway has submitted and waits.
    let held = ["coordinator-2", "coordinator-3"];
    for name in held {
        folder.signal(name, Signal::SIGSTOP).await;
    }
    let request = asker.request(2);
    let asking = tokio::spawn(ask(asker.clone(), request.clone()));
    until(async || waiting_entries(&folder).await > 0).await;
    folder.signal("gateway", Signal::SIGKILL).await;
    asking.await.unwrap();
    for name in held {
        folder.signal(name, Signal::SIGCONT).await;
    }
    let decided = async || {
        let address = SocketAddr::from(([127, 0, 0, 1], folder.port_base + 10));
        let request_id = bytes::Bytes::copy_from_slice(request.signed.request.id().as_bytes());
        let found = client::coordinator(address).lookup(v1::LookupRequest { request_id }).await.unwrap();
        found.into_inner().attested
    };
    until(async || decided().await.is_some()).await;
    let first = Header::from_bytes(&decided().await.unwrap().header).unwrap();
    up.adopt(Service::start(&folder, "gateway", "gateway").await);
    until(async || matches!(asker.ask(&request).await, Answer::Certified(_))).await;
    let again = asker.ask(&request).await.certified();
    assert_eq!(again.record().seq, first.seq, "the certificate of the first outcome, not a second outcome");
    up.stop().await;
}

async fn waiting_entries(folder: &Folder) -> u64 {
    let mut waiting = 0;
    for coordinator in 0..2 {
        let address = SocketAddr::from(([127, 0, 0, 1], folder.port_base + 10 + coordinator));
        let status = client::coordinator(address).status(v1::StatusRequest {}).await.unwrap();
        waiting += status.into_inner().waiting_entries;
    }
    waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_of_coordinators_clients_are_told() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let asker = Asker::of(&folder);
    asker.ask(&asker.request(1)).await.certified();
    for name in &COORDINATORS[..2] {
        folder.signal(name, Signal::SIGKILL).await;
    }
    let (content, said) = status(&folder);
    assert!(!content && said.contains("2 of 4 coordinators are up and 3 must agree: nothing is certified"), "{said}");
    // The gateway notices by itself, and load balancers learn it.
    let ready = async || {
        let response = reqwest::get(format!("{}/v2/health/ready", folder.url())).await.unwrap();
        (response.status().is_success(), response.text().await.unwrap())
    };
    until(async || !ready().await.0).await;
    let (_, reason) = ready().await;
    assert!(reason.contains("coordinator"), "{reason}");
    let request = asker.request(2);
    let Answer::Failed(status, error) = asker.impatient(1500).ask(&request).await else { panic!("no quorum") };
    assert!([503, 504].contains(&status), "{status}: {error}");
    for name in &COORDINATORS[..2] {
        up.adopt(Service::start(&folder, name, "coordinator").await);
    }
    until(async || ready().await.0).await;
    asker.ask(&request).await.certified();
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_requests_finish() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let asker = Asker::of(&folder);
    let held = ["coordinator-2", "coordinator-3"];
    for name in held {
        folder.signal(name, Signal::SIGSTOP).await;
    }
    let request = asker.request(1);
    let asking = tokio::spawn({
        let (asker, request) = (asker.clone(), request.clone());
        async move { asker.ask(&request).await }
    });
    until(async || waiting_entries(&folder).await > 0).await;
    let stopping = tokio::spawn(up.stop());
    until(async || tokio::net::TcpStream::connect(("127.0.0.1", folder.port_base)).await.is_err()).await;
    for name in held {
        folder.signal(name, Signal::SIGCONT).await;
    }
    // The gateway stops first, and what it uses only when it is done.
    asking.await.unwrap().certified();
    stopping.await.unwrap();
}
