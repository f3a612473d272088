//! What one coordinator does for each certified result, step by step, on one core: `cargo bench -p dropbear-consensus`.
//!
//! Submissions of 256 requests with four ballots, as busy gateways make them; blocks as large as they may be. Each figure is
//! the median of many rounds, in microseconds per result.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use dropbear_certificates::ballot::{batch_root, votes_root};
use dropbear_certificates::charter::Seat;
use dropbear_certificates::genesis::{GatewayIdentity, Member, Rules};
use dropbear_certificates::request::{Field, input_digest, output_commitment};
use dropbear_certificates::{
    Answer, Assurance, Ballot, BallotStatement, Charter, Committee, Digest, Genesis, Origin, Policy, Request,
    RequestOpening, SecretKey, Seed, StatementType, Vote,
};
use dropbear_consensus::entry::entry_digest;
use dropbear_consensus::{
    Activate, Chain, Checked, CheckedProposal, Entry, Market, Pool, Publish, Register, StoredBlock, Submission,
    SubmittedRequest,
};

const ROUNDS: usize = 30;
const BATCH: usize = 256;
/// Submissions in a block: four megabytes hold no more.
const SUBMISSIONS: usize = 40;
const OWNERS: u8 = 4;
const GROUP: &str = "synthetic";
const START_MS: u64 = 1_700_000_000_000;
const GENESIS_BLOCK: [u8; 32] = [0xff; 32];

fn key(role: u8, place: u8) -> SecretKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&[role, place]);
    SecretKey::from_seed(&seed)
}

fn genesis() -> Genesis {
    let seat = |place| Seat {
        owner: format!("owner-{place}"),
        key: key(1, place).public(),
        party: String::new(),
        lineage: String::new(),
    };
    let member = |place| Member {
        name: format!("coordinator-{place}"),
        attestation: key(2, place).public(),
        engine: key(3, place).public(),
    };
    let charter = Charter {
        group: GROUP.into(),
        task: "image-classification".into(),
        classes: 1000,
        labels: None,
        roster: (0..OWNERS).map(seat).collect(),
        policy: Policy::Plurality,
        faults: 1,
        assurance: Assurance::Robust,
        notice_blocks: 1,
        approvals: 3,
        fee: 1,
    };
    Genesis {
        market: "bench".into(),
        created_ms: START_MS,
        rules: Rules { request_lifetime_ms_max: 600_000, clock_skew_ms_max: 5_000 },
        committee: Committee { epoch: 0, members: (0..4).map(member).collect() },
        gateways: vec![GatewayIdentity { name: "gateway".into(), key: key(4, 0).public() }],
        charters: vec![charter],
    }
}

fn version(place: u8) -> Digest {
    Digest::of(&[place])
}

/// One chain, and what its gateway submits.
struct Bench {
    chain: Chain,
    market: Arc<Market>,
    charter: Digest,
    blocks: u64,
    requests: u64,
}

impl Bench {
    fn new() -> Self {
        let market = Arc::new(Market::new(genesis()));
        let charter = market.genesis.charters[0].digest();
        let chain = Chain::new(Arc::clone(&market), GENESIS_BLOCK);
        let mut bench = Self { chain, market, charter, blocks: 0, requests: 0 };
        let (genesis, group) = (bench.market.digest, String::from(GROUP));
        for place in 0..OWNERS {
            let (owner, version) = (key(1, place).public(), version(place));
            let (model, licence, lineage) = (String::from("m"), String::from("Apache-2.0"), String::from("none"));
            let register =
                Register { genesis, owner, serial: 1, group: group.clone(), model: model.clone(), licence, lineage };
            let publish =
                Publish { genesis, owner, serial: 2, group: group.clone(), model, label: "1".into(), version };
            let activate = Activate { genesis, owner, serial: 3, group: group.clone(), version, from_seq: 0 };
            let signer = key(1, place);
            for entry in [register.sign(&signer), publish.sign(&signer), activate.sign(&signer)] {
                bench.block(&[Arc::new(entry.check(&genesis).expect("an honest entry"))]);
            }
        }
        bench
    }

    fn submission(&mut self) -> Vec<u8> {
        let (genesis, gateway) = (self.market.digest, key(4, 0));
        let first = self.requests;
        self.requests += BATCH as u64;
        let expiry_ms = START_MS + 500_000;
        let request = |number: u64| {
            let seed = Seed(Digest::of(&number.to_be_bytes()).0);
            let opening = RequestOpening::new(&seed, input_digest("image", "BYTES", &[], &number.to_be_bytes()));
            let mut nonce = [0; 16];
            nonce[8..].copy_from_slice(&number.to_be_bytes());
            let request = Request {
                genesis,
                group: GROUP.into(),
                key: gateway.public(),
                origin: Origin::GatewayMinted,
                nonce,
                commitment: opening.commitment(),
                expiry_ms,
                demand: Assurance::Robust,
            };
            SubmittedRequest { request, signature: None, vote_salt: seed.salt(Field::Vote) }
        };
        let requests: Vec<_> = (first..self.requests).map(request).collect();
        let ids: Vec<_> = requests.iter().map(|submitted| submitted.request.id()).collect();
        let ballot = |place: u8| {
            let answer = |number: u64| Answer {
                // One request of four finds one owner of another opinion.
                vote: Vote::Class(
                    (number % 999) as u32 + u32::from(number.is_multiple_of(4) && number / 4 % 4 == u64::from(place)),
                ),
                output: output_commitment(&Digest::of(b"salt"), &[place]),
            };
            let answers: Vec<_> = (first..self.requests).map(answer).collect();
            let salts = requests.iter().map(|submitted| &submitted.vote_salt);
            let statement = BallotStatement {
                genesis,
                group: GROUP.into(),
                charter: self.charter,
                batch: batch_root(&ids),
                count: BATCH as u64,
                version: version(place),
                owner: key(1, place).public(),
                expiry_ms,
                votes: votes_root(ids.iter().zip(salts), &answers),
            };
            Ballot::sign(statement, answers, &key(1, place))
        };
        let ballots = (0..OWNERS).map(ballot).collect();
        let (group, charter) = (GROUP.into(), self.charter);
        let submission =
            Submission::sign(StatementType::Submission, genesis, &gateway, group, charter, requests, ballots);
        Entry::Submission(Box::new(submission)).to_bytes()
    }

    fn block(&mut self, entries: &[Arc<Checked>]) {
        let now_ms = self.chain.state().agreed_ms + 1;
        let (proposal, refused) = self.chain.build(&self.chain.tip(), now_ms, entries.iter().map(|entry| &**entry));
        assert!(refused.is_empty(), "{refused:?}");
        let proposal =
            CheckedProposal { agreed_ms: proposal.expect("nothing was refused").agreed_ms, entries: entries.to_vec() };
        let block = self.next_block();
        self.chain.execute(self.chain.tip(), block, &proposal, Some(now_ms)).expect("what was built");
        self.chain.finalize(block).expect("a child of the tip");
    }

    fn next_block(&mut self) -> [u8; 32] {
        self.blocks += 1;
        Digest::of(&self.blocks.to_be_bytes()).0
    }
}

/// Times of one step over all rounds.
struct Step(&'static str, Vec<f64>);

struct Steps(Vec<Step>);

impl Steps {
    fn time<T>(&mut self, name: &'static str, step: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = black_box(step());
        let us = begun.elapsed().as_secs_f64() * 1e6 / (SUBMISSIONS * BATCH) as f64;
        match self.0.iter_mut().find(|known| known.0 == name) {
            Some(known) => known.1.push(us),
            None => self.0.push(Step(name, vec![us])),
        }
        done
    }
}

fn main() {
    let mut bench = Bench::new();
    let mut steps = Steps(Vec::new());
    for _ in 0..ROUNDS {
        round(&mut bench, &mut steps);
    }
    println!("us per result, one coordinator: median (least)");
    for Step(name, us) in &mut steps.0 {
        us.sort_unstable_by(f64::total_cmp);
        println!("{name:<40} {:>7.3} ({:.3})", us[us.len() / 2], us[0]);
    }
}

fn round(bench: &mut Bench, steps: &mut Steps) {
    let genesis = bench.market.digest;
    let bytes: Vec<_> = (0..SUBMISSIONS).map(|_| bench.submission()).collect();
    let now_ms = bench.chain.state().agreed_ms + 100;

    steps.time("entry digest", || bytes.iter().map(|bytes| entry_digest(bytes)).collect::<Vec<_>>());
    steps.time("parse", || bytes.iter().map(|bytes| Entry::from_bytes(bytes).is_ok()).collect::<Vec<_>>());
    let checked: Vec<_> = steps.time("check (parse and digest included)", || {
        let check = |bytes: &Vec<u8>| Arc::new(Checked::from_bytes(bytes.clone(), &genesis).expect("an honest entry"));
        bytes.iter().map(check).collect()
    });
    let mut pool = Pool::new(usize::MAX);
    steps.time("push", || {
        for entry in &checked {
            bench.chain.would_apply(entry, now_ms).expect("a new entry");
            pool.push(Arc::clone(entry)).expect("room");
        }
    });
    let (proposal, _) = steps
        .time("build (proposer)", || bench.chain.build(&bench.chain.tip(), now_ms, pool.iter().map(|entry| &**entry)));
    let proposal = proposal.expect("entries that apply");
    assert_eq!(proposal.entries.len(), SUBMISSIONS);
    let payload = steps.time("proposal to bytes", || proposal.to_bytes());
    let proposal = steps.time("proposal from bytes (pool known)", || {
        let known = |bytes: &[u8]| Ok(Arc::clone(pool.find(bytes).expect("it waits")));
        CheckedProposal::from_payload(&payload, known).expect("what was built")
    });
    let (tip, block) = (bench.chain.tip(), bench.next_block());
    let executed = steps.time("execute", || bench.chain.execute(tip, block, &proposal, Some(now_ms)));
    drop(executed);
    let executed = steps.time("finalize", || bench.chain.finalize(block)).expect("a child").expect("entries");
    let stored = steps.time("copies for store and readers", || {
        let stored = StoredBlock {
            block,
            payload: payload.clone(),
            header: executed.header.clone(),
            leaves: executed.leaves.clone(),
            attestation: Some([0; 64]),
        };
        (stored, executed.tree.clone(), executed.results.clone())
    });
    steps.time("stored block to bytes", || stored.0.to_bytes());
}
