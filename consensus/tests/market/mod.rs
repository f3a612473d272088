//! A market of four owners with one gateway, and what they send.

use std::sync::Arc;

use dropbear_certificates::ballot::{batch_root, votes_root};
use dropbear_certificates::charter::Seat;
use dropbear_certificates::genesis::{GatewayIdentity, Member, Rules};
use dropbear_certificates::request::{Field, input_digest, output_commitment};
use dropbear_certificates::{
    Answer, Assurance, Ballot, BallotStatement, Charter, Committee, Digest, Genesis, Origin, Policy, Request,
    RequestOpening, SecretKey, Seed, StatementType, Vote,
};
use dropbear_consensus::{
    Activate, BlockRefused, Chain, Checked, CheckedProposal, Entry, Executed, Market, Proposal, Publish, Refused,
    Register, Submission, SubmittedRequest,
};

pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const GENESIS_BLOCK: [u8; 32] = [0xff; 32];

pub(crate) fn key(role: u8, place: u8) -> SecretKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&[role, place]);
    SecretKey::from_seed(&seed)
}

pub(crate) fn owner(place: u8) -> SecretKey {
    key(1, place)
}

pub(crate) fn gateway() -> SecretKey {
    key(4, 0)
}

pub(crate) fn genesis() -> Genesis {
    let seat = |place: u8| Seat {
        owner: format!("owner-{place}"),
        key: owner(place).public(),
        party: String::new(),
        lineage: String::new(),
    };
    let member = |place: u8| Member {
        name: format!("coordinator-{place}"),
        attestation: key(2, place).public(),
        engine: key(3, place).public(),
    };
    let charter = Charter {
        group: "imagenet".into(),
        task: "image-classification".into(),
        classes: 1000,
        labels: None,
        roster: (0..4).map(seat).collect(),
        policy: Policy::Plurality,
        faults: 1,
        assurance: Assurance::Robust,
        notice_blocks: 1,
        approvals: 3,
        fee: 1,
    };
    Genesis {
        market: "test".into(),
        created_ms: START_MS,
        rules: Rules { request_lifetime_ms_max: 60_000, clock_skew_ms_max: 5_000 },
        committee: Committee { epoch: 0, members: (0..4).map(member).collect() },
        gateways: vec![GatewayIdentity { name: "gateway".into(), key: gateway().public() }],
        charters: vec![charter],
    }
}

/// A chain that grows one final block at a time.
pub(crate) struct Ledger {
    pub(crate) chain: Chain,
    blocks: u8,
    serial: u64,
    /// Requests and ballots expire 50 s after this.
    asked_ms: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self::asking_at(START_MS)
    }

    /// As [`Ledger::new`], with requests of this time.
    pub(crate) fn asking_at(asked_ms: u64) -> Self {
        Self { chain: Chain::new(Arc::new(Market::new(genesis())), GENESIS_BLOCK), blocks: 0, serial: 0, asked_ms }
    }

    /// Every owner has published and activated version 0, and it is current.
    pub(crate) fn with_models() -> Self {
        let mut ledger = Self::new();
        let published: Vec<_> = (0..4).flat_map(|place| [ledger.register(place), ledger.publish(place, 0)]).collect();
        ledger.block(&published).unwrap();
        let activated: Vec<_> = (0..4).map(|place| ledger.activate(place, 0, 0)).collect();
        ledger.block(&activated).unwrap();
        ledger
    }

    pub(crate) fn genesis(&self) -> Digest {
        self.chain.market().digest
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.chain.state().agreed_ms + 10
    }

    /// The charter in force in the next block, and its digest.
    pub(crate) fn charter(&self) -> (Charter, Digest) {
        let state = self.chain.state();
        let term = state.registry.group("imagenet").unwrap().term(state.seq + 1).unwrap();
        (Charter::clone(&term.charter), term.digest)
    }

    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn register(&mut self, place: u8) -> Checked {
        let register = Register {
            genesis: self.genesis(),
            owner: owner(place).public(),
            serial: self.next_serial(),
            group: "imagenet".into(),
            model: "lite".into(),
            licence: "Apache-2.0".into(),
            lineage: "EfficientNet".into(),
        };
        register.sign(&owner(place)).check(&self.genesis()).unwrap()
    }

    pub(crate) fn publish(&mut self, place: u8, version: u8) -> Checked {
        let publish = Publish {
            genesis: self.genesis(),
            owner: owner(place).public(),
            serial: self.next_serial(),
            group: "imagenet".into(),
            model: "lite".into(),
            label: format!("{version}"),
            version: version_digest(place, version),
        };
        publish.sign(&owner(place)).check(&self.genesis()).unwrap()
    }

    pub(crate) fn activate(&mut self, place: u8, version: u8, from_seq: u64) -> Checked {
        let activate = Activate {
            genesis: self.genesis(),
            owner: owner(place).public(),
            serial: self.next_serial(),
            group: "imagenet".into(),
            version: version_digest(place, version),
            from_seq,
        };
        activate.sign(&owner(place)).check(&self.genesis()).unwrap()
    }

    pub(crate) fn try_build(&mut self, entries: &[Checked]) -> (Option<Proposal>, Vec<(Digest, Refused)>) {
        self.chain.build(&self.chain.tip(), self.now_ms(), entries.iter())
    }

    /// Builds, executes and finalises one block of these entries.
    pub(crate) fn block(&mut self, entries: &[Checked]) -> Result<Arc<Executed>, Refused> {
        let (proposal, refused) = self.try_build(entries);
        if let Some((_, reason)) = refused.first() {
            return Err(*reason);
        }
        let block = self.execute(&proposal.expect("nothing was refused")).unwrap();
        Ok(self.chain.finalize(block).unwrap().expect("the block has entries"))
    }

    pub(crate) fn execute(&mut self, proposal: &Proposal) -> Result<[u8; 32], BlockRefused> {
        self.blocks += 1;
        let (block, now_ms, genesis) = ([self.blocks; 32], self.now_ms(), self.genesis());
        let check = |bytes: &[u8]| Ok(Arc::new(Entry::from_bytes(bytes)?.check(&genesis)?));
        let proposal = CheckedProposal::from_payload(&proposal.to_bytes(), check)?;
        self.chain.execute(self.chain.tip(), block, &proposal, Some(now_ms))?;
        Ok(block)
    }

    /// The request with this nonce.
    pub(crate) fn request(&self, nonce: u8, demand: Assurance) -> SubmittedRequest {
        let seed = Seed([nonce; 32]);
        let opening = RequestOpening::new(&seed, input_digest("image", "BYTES", &[], &[nonce]));
        let request = Request {
            genesis: self.genesis(),
            group: "imagenet".into(),
            key: gateway().public(),
            origin: Origin::GatewayMinted,
            nonce: [nonce; 16],
            commitment: opening.commitment(),
            expiry_ms: self.asked_ms + 50_000,
            demand,
        };
        SubmittedRequest { request, signature: None, vote_salt: seed.salt(Field::Vote) }
    }

    /// The owner's ballot: one class per request.
    pub(crate) fn ballot(&self, place: u8, version: u8, requests: &[SubmittedRequest], classes: &[u32]) -> Ballot {
        let answer = |class: &u32| Answer {
            vote: Vote::Class(*class),
            output: output_commitment(&Digest::of(b"salt"), b"logits"),
        };
        let answers: Vec<_> = classes.iter().map(answer).collect();
        let ids: Vec<_> = requests.iter().map(|submitted| submitted.request.id()).collect();
        let salts = requests.iter().map(|submitted| &submitted.vote_salt);
        let statement = BallotStatement {
            genesis: self.genesis(),
            group: "imagenet".into(),
            charter: self.charter().1,
            batch: batch_root(&ids),
            count: ids.len() as u64,
            version: version_digest(place, version),
            owner: owner(place).public(),
            expiry_ms: self.asked_ms + 50_000,
            votes: votes_root(ids.iter().zip(salts), &answers),
        };
        Ballot::sign(statement, answers, &owner(place))
    }

    pub(crate) fn submit(&self, requests: Vec<SubmittedRequest>, ballots: Vec<Ballot>) -> Entry {
        let (genesis, charter) = (self.genesis(), self.charter().1);
        Entry::Submission(Box::new(Submission::sign(
            StatementType::Submission,
            genesis,
            &gateway(),
            "imagenet".into(),
            charter,
            requests,
            ballots,
        )))
    }

    /// A checked submission of one request; `votes` are (owner, class) under version 0.
    pub(crate) fn one(&self, nonce: u8, demand: Assurance, votes: &[(u8, u32)]) -> Checked {
        let requests = vec![self.request(nonce, demand)];
        let ballots = votes.iter().map(|(place, class)| self.ballot(*place, 0, &requests, &[*class])).collect();
        self.submit(requests, ballots).check(&self.genesis()).unwrap()
    }
}

pub(crate) fn version_digest(place: u8, version: u8) -> Digest {
    Digest::of(&[place, version])
}
