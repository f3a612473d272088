//! Owners in charge: what they enter through the gateway, and how its groups follow.

mod market;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dropbear_certificates::{Certificate, Charter, Digest, GovernanceChain, Policy};
use dropbear_consensus::{Activate, Approve, Endpoints, Entry, Leave, Propose, Publish, Register, Withdraw};
use market::committee::{Conduct, Ledger};
use market::node::{self, Manner};
use market::{Cast, Market, owner, picture, version};
use serde_json::json;

const FIFTH: usize = 4;
/// Charters of four owners, each with its proof: more than a certificate carries.
const CHANGES: usize = 20;

/// Entries of one market's owners, in one group.
struct Pen<'a> {
    ledger: &'a Ledger,
    group: &'static str,
}

impl Pen<'_> {
    fn propose(&self, place: usize, previous: Option<Digest>, charter: &Charter) -> Entry {
        let (genesis, owner_key, serial) = (self.ledger.genesis(), owner(place).public(), self.ledger.serial());
        Propose { genesis, owner: owner_key, serial, previous, charter: charter.clone() }.sign(&owner(place))
    }

    fn approve(&self, place: usize, previous: Option<&Digest>, charter: &Charter) -> Entry {
        let proposal = dropbear_consensus::entry::proposal_digest(previous, &charter.digest());
        let (genesis, owner_key, serial) = (self.ledger.genesis(), owner(place).public(), self.ledger.serial());
        Approve { genesis, owner: owner_key, serial, group: self.group.into(), proposal }.sign(&owner(place))
    }

    fn register(&self, place: usize) -> Entry {
        Register {
            genesis: self.ledger.genesis(),
            owner: owner(place).public(),
            serial: self.ledger.serial(),
            group: self.group.into(),
            model: "newcomer".into(),
            licence: "Apache-2.0".into(),
            lineage: String::new(),
        }
        .sign(&owner(place))
    }

    fn publish(&self, place: usize, of: u8) -> Entry {
        Publish {
            genesis: self.ledger.genesis(),
            owner: owner(place).public(),
            serial: self.ledger.serial(),
            group: self.group.into(),
            model: "newcomer".into(),
            label: format!("v{of}"),
            version: version(place, of),
        }
        .sign(&owner(place))
    }

    fn activate(&self, place: usize, of: u8) -> Entry {
        let (genesis, owner_key, serial) = (self.ledger.genesis(), owner(place).public(), self.ledger.serial());
        let (group, version) = (self.group.into(), version(place, of));
        Activate { genesis, owner: owner_key, serial, group, version, from_seq: 0 }.sign(&owner(place))
    }

    fn endpoints(&self, place: usize, endpoint: String) -> Entry {
        let (genesis, owner_key, serial) = (self.ledger.genesis(), owner(place).public(), self.ledger.serial());
        let (group, endpoints) = (self.group.into(), vec![endpoint]);
        Endpoints { genesis, owner: owner_key, serial, group, endpoints }.sign(&owner(place))
    }

    fn leave(&self, place: usize) -> Entry {
        let (genesis, owner_key, serial) = (self.ledger.genesis(), owner(place).public(), self.ledger.serial());
        Leave { genesis, owner: owner_key, serial, group: self.group.into() }.sign(&owner(place))
    }
}

/// Everything that brings a fifth owner with one node into a group.
async fn joining(ledger: &Arc<Ledger>, group: &'static str, manner: Manner) -> [Entry; 8] {
    let pen = Pen { ledger, group };
    let before = ledger.charter(group);
    let mut charter = before.clone();
    charter.roster.push(market::seat(FIFTH));
    let address = node::serve(Arc::clone(ledger), FIFTH, manner).await;
    let previous = before.digest();
    [
        pen.propose(FIFTH, Some(previous), &charter),
        pen.register(FIFTH),
        pen.publish(FIFTH, 0),
        pen.activate(FIFTH, 0),
        pen.endpoints(FIFTH, address.to_string()),
        pen.approve(0, Some(&previous), &charter),
        pen.approve(1, Some(&previous), &charter),
        pen.approve(2, Some(&previous), &charter),
    ]
}

/// The same, at once, whatever the gateway does.
async fn joined(ledger: &Arc<Ledger>, group: &'static str, manner: Manner) {
    for entry in joining(ledger, group, manner).await {
        ledger.apply(&entry.check(&ledger.genesis()).unwrap()).unwrap();
    }
}

/// The same, through the gateway.
async fn join(market: &Market, group: &'static str, manner: Manner) {
    for entry in joining(&market.ledger, group, manner).await {
        let (status, body) = market.enter(entry).await;
        assert_eq!((status, &body["outcome"]), (200, &json!("applied")), "{body}");
        let seq = body["seq"].as_u64().unwrap();
        assert!(body["leaf"].as_u64().is_some_and(|leaf| leaf > 0), "{body}");
        // The last of the approvals brings the charter about.
        assert!(body["charter_from_seq"].as_u64().is_none_or(|from| from > seq), "{body}");
        let (_, groups) = market.get("/api/v1/groups").await;
        assert!(groups["seq"].as_u64().unwrap() >= seq, "what was entered is shown at once: {groups}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_owner_joins_and_leaves_under_load_and_no_request_fails() {
    let mut cast = Cast::default();
    cast.limits.await_all_ballots = true;
    let market = Arc::new(Market::start(cast).await);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = || {
        let (market, stop, asked) = (Arc::clone(&market), Arc::clone(&stop), Arc::clone(&asked));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (status, body) = market.classify(picture([7; 4]), "").await;
                assert_eq!((status, &body["results"][0]["class"]), (200, &json!(7)), "{body}");
                market.verify(&body["results"][0]["certificate"]);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let clients: Vec<_> = (0..3).map(|_| client()).collect();
    let (_, before) = market.classify(picture([7; 4]), "").await;
    join(&market, "imagenet", Manner::Honest).await;
    market.ledger.has_answered(FIFTH).await;
    // Its votes count, and whoever knows the genesis alone sees by which charter.
    let (status, body) = market.classify(picture([7; 4]), "").await;
    assert_eq!(status, 200, "{body}");
    let owners = &body["results"][0]["tally"]["votes"][0]["owners"];
    assert!(owners.as_array().unwrap().contains(&json!("owner-4")), "{body}");
    let verified = market.verify(&body["results"][0]["certificate"]);
    assert_eq!((verified.record().owners, verified.charter().roster.len()), (5, 5));
    assert!(verified.attachments().chain.is_some());
    assert!(market.verify(&before["results"][0]["certificate"]).attachments().chain.is_none());

    let pen = Pen { ledger: &market.ledger, group: "imagenet" };
    assert_eq!(market.enter(pen.leave(FIFTH)).await.0, 200);
    let until = asked.load(Ordering::Relaxed) + 10;
    while asked.load(Ordering::Relaxed) < until {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (_, body) = market.classify(picture([7; 4]), "").await;
    assert_eq!(market.verify(&body["results"][0]["certificate"]).record().owners, 4);
}

#[tokio::test]
async fn a_round_goes_on_under_a_new_charter() {
    let market = Market::start(Cast { owners: [Manner::Slow(1_500); 4], ..Cast::default() }).await;
    let asking = {
        let (http, url) = (market.http.clone(), format!("{}/api/v1/groups/imagenet/classify", market.url));
        tokio::spawn(async move { http.post(url).body(picture([7; 4])).send().await.unwrap() })
    };
    market.ledger.has_been_asked(1).await;
    joined(&market.ledger, "imagenet", Manner::Honest).await;
    let answer = asking.await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(market.verify(&body["results"][0]["certificate"]).record().owners, 5, "{body}");
}

#[tokio::test]
async fn a_round_that_is_answered_asks_nobody_again_when_the_charter_changes() {
    let cast = Cast { coordinators: [Conduct::Slow(400); 4], ..Cast::default() };
    let market = Market::start(cast).await;
    let asking = {
        let (http, url) = (market.http.clone(), format!("{}/api/v1/groups/imagenet/classify", market.url));
        tokio::spawn(async move { http.post(url).body(picture([7; 4])).send().await.unwrap() })
    };
    // Decided under four owners; the gateway learns it when there are five.
    let decided = |state: &dropbear_consensus::State| state.accounts.get("imagenet", &owner(1).public()).counted == 1;
    market.ledger.comes_to(decided).await;
    joined(&market.ledger, "imagenet", Manner::Honest).await;
    let body: serde_json::Value = asking.await.unwrap().json().await.unwrap();
    assert_eq!(market.verify(&body["results"][0]["certificate"]).record().owners, 4, "{body}");
    let (_, body) = market.classify(picture([7; 4]), "").await;
    assert_eq!(market.verify(&body["results"][0]["certificate"]).record().owners, 5, "{body}");
    let metrics = market.metrics().await;
    for result in ["refused", "unavailable"] {
        assert!(!metrics.contains(&format!("result=\"{result}\"")), "somebody was asked for nothing: {metrics}");
    }
}

#[tokio::test]
async fn a_new_group_is_served_as_soon_as_all_its_owners_agree() {
    let market = Market::honest().await;
    let pen = Pen { ledger: &market.ledger, group: "fresh" };
    let mut charter = market::charter("fresh", "identity", Policy::Exact { quorum: 3 });
    charter.notice_blocks = 1;
    assert_eq!(market.enter(pen.propose(0, None, &charter)).await.0, 200);
    let (_, shown) = market.get("/api/v1/groups/fresh").await;
    assert_eq!(
        (&shown["ready"], &shown["proposals"][0]["proposer"]),
        (&json!(false), &json!(owner(0).public().to_string()))
    );
    assert_eq!(market.infer("fresh", &[[1.0; 4]], &[]).await.0, 404);
    for place in 0..4 {
        let address = node::serve(Arc::clone(&market.ledger), place, Manner::Honest).await;
        for entry in [
            pen.register(place),
            pen.publish(place, 0),
            pen.activate(place, 0),
            pen.endpoints(place, address.to_string()),
        ] {
            let (status, body) = market.enter(entry).await;
            assert_eq!(status, 200, "{body}");
        }
    }
    for place in 1..4 {
        let (status, body) = market.enter(pen.approve(place, None, &charter)).await;
        assert_eq!((status, body["charter_from_seq"].is_u64()), (200, place == 3), "{body}");
    }
    market.ledger.pass_to(market.ledger.seq() + 2);
    let (status, body) = market.infer("fresh", &[[1.0; 4]], &[]).await;
    assert_eq!(status, 200, "{body}");
    let verified = market.verify(&body["parameters"]["certificate.0"]);
    assert_eq!(verified.charter().digest(), charter.digest());
    let (_, groups) = market.get("/api/v1/groups").await;
    assert_eq!(groups["genesis"], market.ledger.genesis().to_string());
    let shown = groups["groups"].as_array().unwrap().iter().find(|group| group["group"] == "fresh").unwrap();
    let encoded = data_encoding::BASE64URL_NOPAD.decode(shown["encoded"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(
        (Charter::from_bytes(&encoded), &shown["charter"]),
        (Ok(charter.clone()), &json!(charter.digest().to_string()))
    );
    assert_eq!(shown["holdings"].as_array().unwrap().len(), 4);
}

/// More changes than a certificate carries proof of: it verifies with the chain that the gateway shows, and not without.
#[tokio::test]
async fn a_long_chain_is_fetched_by_itself() {
    let market = Market::honest().await;
    let pen = Pen { ledger: &market.ledger, group: "imagenet" };
    let chain = async |query: &str| {
        let answer = market.http.get(format!("{}/api/v1/chain{query}", market.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        GovernanceChain::from_bytes(&answer.bytes().await.unwrap()).unwrap()
    };
    assert_eq!(chain("").await.0.len(), 0);
    for change in 1..=CHANGES {
        let before = market.ledger.charter("imagenet");
        let (previous, after) = (before.digest(), Charter { fee: before.fee + 1, ..before });
        for entry in [
            pen.propose(0, Some(previous), &after),
            pen.approve(1, Some(&previous), &after),
            pen.approve(2, Some(&previous), &after),
        ] {
            market.ledger.apply(&entry.check(&market.ledger.genesis()).unwrap()).unwrap();
        }
        market.ledger.pass_to(market.ledger.seq() + 1);
        assert_eq!(market.ledger.charter("imagenet").fee, after.fee, "change {change}");
    }
    let (status, body) = market.classify(picture([7; 4]), "").await;
    assert_eq!(status, 200, "{body}");
    let encoded = body["results"][0]["certificate"].as_str().unwrap();
    let certificate = Certificate::from_bytes(&data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes()).unwrap());
    let (certificate, genesis) = (certificate.unwrap(), market.trust());
    assert_eq!(certificate.verify(&genesis).unwrap_err().code(), "unknown-charter");
    for query in ["", "?group=imagenet"] {
        let chain = chain(query).await;
        assert_eq!(chain.0.len(), CHANGES);
        certificate.verify(&genesis.extended(&chain).unwrap()).unwrap();
    }
    assert_eq!(chain("?group=echo").await.0.len(), 0);
    assert_eq!(market.get("/api/v1/chain?group=nobody").await.0, 404);
}

#[tokio::test]
async fn one_mute_coordinator_does_not_keep_a_charter_from_being_proven() {
    let mut cast = Cast::default();
    cast.coordinators[1] = Conduct::Mute;
    let market = Market::start(cast).await;
    join(&market, "imagenet", Manner::Honest).await;
    let (status, body) = market.classify(picture([7; 4]), "").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(market.verify(&body["results"][0]["certificate"]).record().owners, 5);
}

#[tokio::test]
async fn leaves_that_are_not_the_entrys_are_not_believed() {
    let mut cast = Cast::default();
    cast.coordinators[0] = Conduct::LeafForger;
    let market = Market::start(cast).await;
    let pen = Pen { ledger: &market.ledger, group: "imagenet" };
    for _ in 0..4 {
        // Whoever is asked first for them.
        let (status, body) = market.enter(pen.endpoints(0, "127.0.0.1:1".into())).await;
        assert_eq!((status, &body["leaf"]), (200, &json!(1)), "{body}");
    }
}

#[tokio::test]
async fn entries_that_the_ledger_does_not_take_are_refused_with_the_reason() {
    let market = Market::honest().await;
    let pen = Pen { ledger: &market.ledger, group: "imagenet" };
    let register = pen.register(0);
    assert_eq!(market.enter(register.clone()).await.0, 200);
    let stranger = pen.register(FIFTH);
    let unpublished = pen.activate(0, 9);
    let mut forged = pen.publish(1, 3);
    if let Entry::Publish(_, signature) = &mut forged {
        signature[0] ^= 1;
    }
    let other = Withdraw {
        genesis: market.ledger.genesis(),
        owner: owner(1).public(),
        serial: market.ledger.serial(),
        group: "imagenet".into(),
        version: version(0, 0),
        permanent: true,
        reason: String::new(),
    };
    let Entry::Register(replayed, signature) = register else { panic!("a registration") };
    let resigned = Entry::Register(Register { licence: "MIT".into(), ..replayed.clone() }, signature);
    let replayed = Register { model: "again".into(), ..replayed }.sign(&owner(0));
    for (entry, status, code) in [
        (stranger, 409, "not-named"),
        (unpublished, 409, "not-published"),
        (forged, 400, "invalid"),
        (other.sign(&owner(1)), 409, "not-published"),
        (replayed, 409, "replayed"),
        (resigned, 400, "invalid"),
    ] {
        let (found, body) = market.enter(entry).await;
        assert_eq!((found, &body["code"], &body["outcome"]), (status, &json!(code), &json!("refused")), "{body}");
    }
    assert_eq!(market.post("/api/v1/entries", b"nonsense".to_vec(), &[]).await.0, 400);
    let (_, shown) = market.get("/api/v1/groups/imagenet").await;
    let models: Vec<_> =
        shown["holdings"].as_array().unwrap().iter().flat_map(|held| held["models"].as_array()).flatten().collect();
    assert!(models.iter().any(|model| model["model"] == "newcomer"), "{shown}");
}

#[tokio::test]
async fn late_ballots_stand_in_their_owners_account() {
    let mut cast = Cast::default();
    cast.owners[2] = Manner::Slow(3_000);
    let market = Market::start(cast).await;
    // The first rounds ask owners 1, 2 and 3, then 2, 3 and 0: owner 2 is too late for both.
    for _ in 0..2 {
        assert_eq!(market.classify(picture([7; 4]), "").await.0, 200);
    }
    let late = |state: &dropbear_consensus::State| state.accounts.get("imagenet", &owner(2).public()).late >= 2;
    tokio::time::timeout(std::time::Duration::from_secs(30), market.ledger.comes_to(late)).await.unwrap();
    let (_, accounts) = market.get("/api/v1/groups/imagenet/accounts").await;
    let account =
        accounts["accounts"].as_array().unwrap().iter().find(|account| account["owner"] == "owner-2").unwrap();
    assert_eq!(
        (&account["late"], &account["counted"], &account["paid"]),
        (&json!(2), &json!(0), &json!(2)),
        "{accounts}"
    );
    assert_eq!(market.ledger.account("imagenet", 3).counted, 2);
}

#[tokio::test]
async fn an_owner_that_contradicts_itself_is_reported_to_the_ledger() {
    let mut cast = Cast::default();
    cast.owners[3] = Manner::Equivocator;
    cast.limits.await_all_ballots = true;
    let market = Market::start(cast).await;
    let expiry_ms = market::now_ms() + 30_000;
    let query = format!("nonce=000102030405060708090a0b0c0d0e0f&expiry_ms={expiry_ms}");
    // The same request twice, as through two gateways: the second time owner 3 says something else.
    for _ in 0..2 {
        let (status, body) = market.classify(picture([7; 4]), &query).await;
        assert_eq!((status, &body["results"][0]["class"]), (200, &json!(7)), "{body}");
    }
    let convicted =
        |state: &dropbear_consensus::State| state.registry.convictions().any(|(key, ..)| *key == owner(3).public());
    tokio::time::timeout(std::time::Duration::from_secs(10), market.ledger.comes_to(convicted)).await.unwrap();
    assert_eq!(market.classify(picture([7; 4]), "").await.0, 200, "and the group goes on");
}

#[tokio::test]
async fn a_contradiction_within_one_batch_is_reported_too() {
    let mut cast = Cast::default();
    cast.owners[3] = Manner::Equivocator;
    let market = Market::start(cast).await;
    // Owner 3 serves a version that is not in force: its ballot is held, it is asked again, and says something else.
    market.ledger.serve_version(3, 1);
    let (status, _) = market.classify(picture([7, 7, 8, 7]), "timeout_ms=1000").await;
    assert_eq!(status, 504);
    let convicted =
        |state: &dropbear_consensus::State| state.registry.convictions().any(|(key, ..)| *key == owner(3).public());
    tokio::time::timeout(std::time::Duration::from_secs(10), market.ledger.comes_to(convicted)).await.unwrap();
}
