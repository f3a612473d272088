//! Gateways and owners: what is asked of the committee, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use dropbear_certificates::{Certificate, Digest, Header, Record, Signature, TrustRoot};
use dropbear_consensus::{Entry, LeafTree, Refused, RequestResult};
use dropbear_coordinator::sim::{Answer, Attested, Coordinator};
use dropbear_engine::sim::Machine;
use futures_util::future::join_all;

use crate::committee::Live;
use crate::history::{Certified, End, History, Sighting};
use crate::market;
use crate::offers::{OWNERS, Offers};
use crate::plan::{Plan, Treason};
use crate::random::Random;

/// How long a gateway waits for an answer before it asks again.
const ANSWER_MS_MAX: u64 = 1_500;
/// From an answer that ends nothing to the next try.
const ASK_AGAIN_MS: u64 = 100;
/// From the request to its expiry.
const LIFETIME_MS: u64 = 45_000;
/// Requests of one batch at most.
const BATCH_MAX: u64 = 4;

/// What all gateways and owners of a run share.
pub(crate) struct Shared {
    pub(crate) live: Live,
    pub(crate) history: History,
    pub(crate) offers: Offers,
    pub(crate) plan: Plan,
    /// Versions that owners believe to be theirs.
    versions: [AtomicU64; OWNERS as usize],
    pub(crate) nonces: Arc<AtomicU64>,
    /// Turns true when no new work should begin.
    pub(crate) stopping: AtomicBool,
    /// Tasks that are not done.
    pub(crate) working: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(live: Live, history: History, plan: &Plan, nonces: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            live,
            offers: Offers { market: Arc::clone(&history.market) },
            history,
            plan: plan.clone(),
            versions: Default::default(),
            nonces,
            stopping: AtomicBool::new(false),
            working: AtomicUsize::new(0),
        })
    }

    fn nonce(&self) -> u64 {
        self.nonces.fetch_add(1, Ordering::Relaxed)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// A gateway or an owner, on its own machine.
pub(crate) struct Client {
    shared: Arc<Shared>,
    machine: Machine,
    random: Random,
}

/// A block, and the members whose signatures over its header are at hand.
type Supported = (Attested, Vec<(usize, Signature)>);

/// What became of an entry.
pub(crate) enum Outcome {
    /// A quorum attests the same header over it.
    Certified(Box<Attested>),
    Refused(Refused),
    /// Nothing that can be told yet.
    Unknown,
}

impl Client {
    pub(crate) fn new(shared: &Arc<Shared>, machine: Machine, random: Random) -> Self {
        Self { shared: Arc::clone(shared), machine, random }
    }

    fn committee(&self) -> Vec<(usize, Coordinator)> {
        (0..self.shared.plan.members).filter_map(|member| Some((member, self.shared.live.get(member)?))).collect()
    }

    fn now_ms(&self) -> u64 {
        self.shared.history.market.genesis.created_ms + self.machine.now_ms()
    }

    /// Owners register, publish and activate, and go on activating.
    pub(crate) async fn owner(mut self, owner: u8) {
        let mut serial = self.shared.nonce();
        if self.shared.versions[usize::from(owner)].load(Ordering::Relaxed) == 0 {
            let offers = self.shared.offers.clone();
            let mut entries = vec![offers.register(owner, serial)];
            entries.extend((1..=3).map(|version| offers.publish(owner, version, serial + u64::from(version))));
            serial += 10;
            for entry in &entries {
                self.settle(entry).await;
            }
            self.activate(owner, 1, serial).await;
        }
        while !self.shared.is_stopping() {
            self.machine.sleep_ms(200 + self.random.below(3_000)).await;
            serial += 1;
            let version = 1 + self.random.below(3);
            self.activate(owner, version, serial).await;
        }
        self.done();
    }

    async fn activate(&mut self, owner: u8, version: u64, serial: u64) {
        let serial = (self.now_ms() + serial).min(self.now_ms() + 20_000);
        let entry = self.shared.offers.activate(owner, version as u8, serial);
        if self.settle(&entry).await {
            self.shared.versions[usize::from(owner)].store(version, Ordering::Relaxed);
        }
    }

    /// Submits until the entry stands in the ledger; false if it does not apply.
    async fn settle(&mut self, entry: &Entry) -> bool {
        loop {
            match self.ask(entry).await {
                Outcome::Certified(_) => return true,
                Outcome::Refused(_) => return false,
                Outcome::Unknown => {}
            }
        }
    }

    /// A gateway asks request after request.
    pub(crate) async fn gateway(mut self, gateway: u8) {
        while !self.shared.is_stopping() {
            self.machine.sleep_ms(self.random.below(300)).await;
            self.batch(gateway).await;
        }
        self.done();
    }

    fn done(&self) {
        self.shared.working.fetch_sub(1, Ordering::Relaxed);
    }

    /// One batch, until every request of it has ended.
    async fn batch(&mut self, gateway: u8) {
        let (expiry_ms, count) = (self.now_ms() + LIFETIME_MS, 1 + self.random.below(BATCH_MAX));
        let offers = self.shared.offers.clone();
        let requests: Vec<_> = (0..count).map(|_| offers.request(gateway, self.shared.nonce(), expiry_ms)).collect();
        let ids: Vec<_> = requests.iter().map(|submitted| submitted.request.id()).collect();
        self.shared.history.seen().requests.extend(ids.iter().map(|id| (*id, None)));
        let mut open = requests.clone();
        // A gateway that cheats sends two sets of ballots for one batch.
        let cheats = self.random.percent(10);
        while !open.is_empty() {
            let entry = self.submission(gateway, &open, 7);
            let other = cheats.then(|| self.submission(gateway, &open, 8));
            let (outcome, _) = match &other {
                Some(other) => {
                    let mut second = Self::new(&self.shared, self.machine.clone(), self.random.fork());
                    let (first, second) = futures_util::future::join(self.ask(&entry), second.ask(other)).await;
                    (first, Some(second))
                }
                None => (self.ask(&entry).await, None),
            };
            match outcome {
                Outcome::Certified(block) => self.certify(&mut open, &block),
                Outcome::Refused(refused) => self.refused(&mut open, refused),
                Outcome::Unknown => {}
            }
        }
    }

    /// Ballots for these requests: three or four owners vote for `class`, some under a version that may be old.
    fn submission(&mut self, gateway: u8, open: &[dropbear_consensus::SubmittedRequest], class: u32) -> Entry {
        let absent = self.random.below(2 * u64::from(OWNERS)) as u8;
        let offers = &self.shared.offers;
        let ballots = (0..OWNERS).filter(|owner| *owner != absent).map(|owner| {
            let believed = self.shared.versions[usize::from(owner)].load(Ordering::Relaxed).max(1);
            let version = if self.random.percent(5) { 1 + self.random.below(3) } else { believed };
            offers.ballot(owner, version as u8, open, class)
        });
        let ballots = ballots.collect();
        offers.submission(gateway, open.to_vec(), ballots)
    }

    fn end(&self, id: Digest, end: End) {
        self.shared.history.seen().requests.insert(id, Some(end));
    }

    /// Requests that the block records are done; the others go on.
    fn certify(&self, open: &mut Vec<dropbear_consensus::SubmittedRequest>, block: &Attested) {
        let records: BTreeMap<_, _> =
            block.leaves.iter().filter_map(|leaf| Some((Record::from_bytes(leaf).ok()?.request, leaf))).collect();
        let mut results = block.requests.iter();
        open.retain(|submitted| {
            let (id, result) = (submitted.request.id(), results.next());
            if let Some(leaf) = records.get(&id) {
                let (header, leaf) = (block.header.clone(), (*leaf).clone());
                self.shared.history.seen().certified.push(Certified { request: id, header, leaf });
                self.end(id, End::Certified);
                return false;
            }
            match result {
                Some(RequestResult::Refused(refused)) => !self.is_final(id, refused),
                Some(RequestResult::Recorded(_)) | None => true,
            }
        });
    }

    fn refused(&self, open: &mut Vec<dropbear_consensus::SubmittedRequest>, refused: Refused) {
        match refused {
            // Not for the batch: each of them is asked again.
            Refused::Nothing => {
                let now_ms = self.now_ms();
                open.retain(|submitted| {
                    let is_open = submitted.request.expiry_ms > now_ms;
                    if !is_open {
                        self.end(submitted.request.id(), End::Refused);
                    }
                    is_open
                });
                if open.len() > 1 {
                    // One at a time, so that each has its own answer.
                    open.rotate_left(1);
                }
            }
            refused => open.retain(|submitted| !self.is_final(submitted.request.id(), &refused)),
        }
    }

    /// Whether this refusal ends the request.
    fn is_final(&self, id: Digest, refused: &Refused) -> bool {
        let ends = matches!(refused, Refused::AlreadyDecided(_) | Refused::Expired | Refused::ExpiryTooFar);
        if ends {
            self.end(id, End::Refused);
        }
        ends
    }

    /// Submits an entry to f + 1 members, waits at all, and puts the answers together.
    async fn ask(&mut self, entry: &Entry) -> Outcome {
        let bytes = Bytes::from(entry.to_bytes());
        let digest = dropbear_consensus::entry::entry_digest(&bytes);
        let mut committee = self.committee();
        if committee.is_empty() {
            self.machine.sleep_ms(ANSWER_MS_MAX).await;
            return Outcome::Unknown;
        }
        self.random.shuffle(&mut committee);
        let enough = self.shared.history.market.genesis.committee.faults() + 1;
        let asked = committee.iter().enumerate().map(|(order, (member, coordinator))| {
            let (bytes, patience_ms) = (bytes.clone(), 20);
            async move {
                let answer = match order < enough {
                    true => coordinator.submit(bytes, patience_ms, ANSWER_MS_MAX).await,
                    false => coordinator.watch(digest, ANSWER_MS_MAX).await,
                };
                // Whoever was restarted has it in the ledger alone.
                let answer = match answer {
                    Answer::TimedOut | Answer::Refused(_) => match coordinator.find(&digest) {
                        Some(block) => Answer::Applied(Box::new(block)),
                        None => answer,
                    },
                    answer => answer,
                };
                (*member, answer)
            }
        });
        let answers = join_all(asked).await;
        let outcome = self.judge(answers);
        if !matches!(outcome, Outcome::Certified(_)) {
            // Refusals come at once; asking again at once would stop simulated time.
            self.machine.sleep_ms(ASK_AGAIN_MS).await;
        }
        outcome
    }

    fn judge(&mut self, answers: Vec<(usize, Answer)>) -> Outcome {
        let market = Arc::clone(&self.shared.history.market);
        let committee = &market.genesis.committee;
        let mut headers: BTreeMap<Vec<u8>, Supported> = BTreeMap::new();
        let mut refusals: BTreeMap<String, (Refused, usize)> = BTreeMap::new();
        for (member, answer) in answers {
            match answer {
                Answer::Applied(block) => {
                    let block = self.seen_of(member, *block);
                    let Some(signature) = block.signature else { continue };
                    assert!(block.header.is_attested(&committee.members[member].attestation, &signature));
                    if self.shared.history.honest.contains(&member) {
                        let (header, leaves) = (block.header.clone(), block.leaves.clone());
                        self.shared.history.seen().sightings.push(Sighting { member, header, leaves });
                    }
                    headers
                        .entry(block.header.to_bytes())
                        .or_insert_with(|| (block, Vec::new()))
                        .1
                        .push((member, signature));
                }
                Answer::Refused(refused) => {
                    refusals.entry(refused.to_string()).or_insert((refused, 0)).1 += 1;
                }
                Answer::Invalid(why) => panic!("member {member} calls a valid entry invalid: {why}"),
                Answer::TimedOut => {}
            }
        }
        let certain = headers.into_values().find(|(_, signatures)| signatures.len() >= committee.quorum());
        if let Some((block, mut signatures)) = certain {
            signatures.sort_unstable_by_key(|(member, _)| *member);
            signatures.truncate(committee.quorum());
            verify(&market.genesis, &block, &signatures);
            return Outcome::Certified(Box::new(block));
        }
        let refused = refusals.into_values().find(|(_, members)| *members > committee.faults());
        refused.map_or(Outcome::Unknown, |(refused, _)| Outcome::Refused(refused))
    }

    /// A member that attests twice shows some of its clients another header, and tells its peers.
    fn seen_of(&mut self, member: usize, block: Attested) -> Attested {
        if self.shared.plan.treasons[member] != Some(Treason::AttestTwice) || self.random.percent(50) {
            return block;
        }
        let key = market::key(2, member as u8);
        let header = Header { agreed_ms: block.header.agreed_ms + 1, ..block.header.clone() };
        let signature = Some(header.attest(&key));
        if let Some(coordinator) = self.shared.live.get(member) {
            coordinator.relay(Coordinator::attestation(header.clone(), &key));
        }
        Attested { header, signature, ..block }
    }
}

/// A certificate of the block's first record, if it has one, verifies.
fn verify(genesis: &dropbear_certificates::Genesis, block: &Attested, signatures: &[(usize, Signature)]) {
    let record =
        block.leaves.iter().enumerate().find_map(|(index, leaf)| Some((index, Record::from_bytes(leaf).ok()?)));
    let Some((index, record)) = record else { return };
    let path = LeafTree::new(&block.leaves).path(index as u64).expect("the leaf is in the tree");
    let (header, committee) = (block.header.clone(), &genesis.committee);
    let certificate = Certificate::new(header, record, path, committee, signatures, Default::default());
    if let Err(refusal) = certificate.verify(&TrustRoot::new(genesis.clone())) {
        panic!("a certificate of the committee does not verify: {refusal}");
    }
}
