//! A market whose blocks the ledger's own code executes, with a clock, a log and an export; and ways to make it lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_bench::history::ledger::Block;
use dropbear_bench::history::log::Event;
use dropbear_bench::history::{Checker, Report};
use dropbear_certificates::ballot::{batch_root, votes_root};
use dropbear_certificates::charter::Seat;
use dropbear_certificates::genesis::{GatewayIdentity, Member, Rules};
use dropbear_certificates::request::{Field, input_digest, output_commitment};
use dropbear_certificates::{
    Answer, Assurance, Attachments, Ballot, BallotStatement, Certificate, Charter, Committee, Digest, Genesis, Header,
    Origin, Policy, Record, Request, RequestOpening, SecretKey, Seed, StatementType, Vote, merkle,
};
use dropbear_consensus::ids::Answered;
use dropbear_consensus::state::{Decisions, Execution, Market, State};
use dropbear_consensus::{
    Activate, Approve, Entry, Leave, Place, Proposal, Propose, Publish, Register, Registry, Rekey, Submission,
    SubmittedRequest, Withdraw,
};

pub(crate) const GROUP: &str = "imagenet";
const START_MS: u64 = 1_700_000_000_000;

fn key(role: u8, place: u8) -> SecretKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&[role, place]);
    SecretKey::from_seed(&seed)
}

pub(crate) fn owner(place: u8) -> SecretKey {
    key(1, place)
}

pub(crate) fn seat(place: u8) -> Seat {
    Seat { owner: format!("owner-{place}"), key: owner(place).public(), party: String::new(), lineage: String::new() }
}

pub(crate) fn version(place: u8, version: u8) -> Digest {
    Digest::of(&[place, version])
}

fn genesis() -> Genesis {
    let member = |place: u8| Member {
        name: format!("coordinator-{place}"),
        attestation: key(2, place).public(),
        engine: key(3, place).public(),
    };
    let charter = Charter {
        group: GROUP.into(),
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
        rules: Rules { request_lifetime_ms_max: 600_000, clock_skew_ms_max: 5_000 },
        committee: Committee { epoch: 0, members: (0..4).map(member).collect() },
        gateways: vec![GatewayIdentity { name: "gateway".into(), key: key(4, 0).public() }],
        charters: vec![charter],
    }
}

/// What the ledger remembers of decided requests, unless it is made to forget.
#[derive(Default)]
struct Memory {
    decided: BTreeMap<Digest, (Place, Answered)>,
    forgets: bool,
}

impl Decisions for Memory {
    fn decided(&self, id: &Digest, _expiry_ms: u64) -> Option<(Place, Answered)> {
        if self.forgets { None } else { self.decided.get(id).copied() }
    }
}

/// A market and what was seen of it.
pub(crate) struct History {
    market: Market,
    state: State,
    memory: Memory,
    pub(crate) blocks: Vec<Block>,
    pub(crate) log: Vec<Event>,
    /// The registry in which the last activation has not happened.
    previous: Arc<Registry>,
    serial: u64,
    now_us: u64,
}

impl History {
    /// Four owners have published versions 0 and 1; version 0 is current.
    pub(crate) fn new() -> Self {
        let market = Market::new(genesis());
        let state = State::new(&market);
        let previous = Arc::clone(&state.registry);
        let (memory, serial) = (Memory::default(), 0);
        let mut history =
            Self { market, state, memory, blocks: Vec::new(), log: Vec::new(), previous, serial, now_us: 0 };
        for place in 0..4 {
            history.offer(place);
            let activate = history.activate(place, 0);
            history.block(&[activate]);
        }
        history
    }

    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn genesis(&self) -> Digest {
        self.market.digest
    }

    /// Registers a model of this owner and publishes versions 0 and 1.
    pub(crate) fn offer(&mut self, place: u8) {
        let (genesis, owner_key) = (self.genesis(), owner(place).public());
        let (group, model) = (GROUP.to_owned(), "lite".to_owned());
        let (licence, lineage, serial) = ("MIT".into(), String::new(), self.serial());
        let register = Register { genesis, owner: owner_key, serial, group, model, licence, lineage };
        let mut entries = vec![register.sign(&owner(place))];
        for number in 0..2 {
            let (group, model, label, serial) = (GROUP.into(), "lite".into(), number.to_string(), self.serial());
            let publish =
                Publish { genesis, owner: owner_key, serial, group, model, label, version: version(place, number) };
            entries.push(publish.sign(&owner(place)));
        }
        self.block(&entries);
    }

    pub(crate) fn activate(&mut self, place: u8, number: u8) -> Entry {
        let (genesis, key, serial) = (self.genesis(), owner(place).public(), self.serial());
        let version = version(place, number);
        Activate { genesis, owner: key, serial, group: GROUP.into(), version, from_seq: 0 }.sign(&owner(place))
    }

    pub(crate) fn withdraw(&mut self, place: u8, number: u8, permanent: bool) -> Entry {
        let (genesis, key, serial) = (self.genesis(), owner(place).public(), self.serial());
        let (version, reason) = (version(place, number), "test".into());
        Withdraw { genesis, owner: key, serial, group: GROUP.into(), version, permanent, reason }.sign(&owner(place))
    }

    pub(crate) fn charter(&self) -> Charter {
        let group = self.state.registry.group(GROUP).unwrap();
        Charter::clone(&group.term(self.state.seq + 1).unwrap().charter)
    }

    /// Lets a new owner in: its proposal, its models, and the approvals.
    pub(crate) fn join(&mut self, place: u8) {
        let previous = self.charter();
        let mut charter = previous.clone();
        charter.roster.push(seat(place));
        let (genesis, key, serial) = (self.genesis(), owner(place).public(), self.serial());
        let propose = Propose { genesis, owner: key, serial, previous: Some(previous.digest()), charter };
        let proposal = propose.proposal();
        self.block(&[propose.sign(&owner(place))]);
        self.offer(place);
        let activate = self.activate(place, 0);
        self.block(&[activate]);
        for approver in 0..3 {
            let (key, serial) = (owner(approver).public(), self.serial());
            let approve = Approve { genesis, owner: key, serial, group: GROUP.into(), proposal };
            self.block(&[approve.sign(&owner(approver))]);
        }
    }

    pub(crate) fn leave(&mut self, place: u8) -> Entry {
        let (genesis, key, serial) = (self.genesis(), owner(place).public(), self.serial());
        Leave { genesis, owner: key, serial, group: GROUP.into() }.sign(&owner(place))
    }

    /// The owner's key becomes that of `to`.
    pub(crate) fn rekey(&mut self, place: u8, to: u8) -> Entry {
        let (genesis, serial) = (self.genesis(), self.serial());
        Rekey::to(genesis, owner(place).public(), serial, &owner(to)).sign(&owner(place))
    }

    pub(crate) fn request(&self, nonce: u8) -> SubmittedRequest {
        let seed = Seed([nonce; 32]);
        let opening = RequestOpening::new(&seed, input_digest("image", "BYTES", &[], &[nonce]));
        let request = Request {
            genesis: self.genesis(),
            group: GROUP.into(),
            key: key(4, 0).public(),
            origin: Origin::GatewayMinted,
            nonce: [nonce; 16],
            commitment: opening.commitment(),
            expiry_ms: START_MS + 500_000,
            demand: Assurance::Supported,
        };
        SubmittedRequest { request, signature: None, vote_salt: seed.salt(Field::Vote) }
    }

    /// A submission of one request; a ballot is (owner, whose version, version, class).
    pub(crate) fn ask(&self, nonce: u8, ballots: &[(u8, u8, u8, u32)]) -> Entry {
        let request = self.request(nonce);
        let charter = self.charter().digest();
        let ballot = |(place, of, number, class): &(u8, u8, u8, u32)| {
            let answers =
                vec![Answer { vote: Vote::Class(*class), output: output_commitment(&Digest::of(b"salt"), b"logits") }];
            let statement = BallotStatement {
                genesis: self.genesis(),
                group: GROUP.into(),
                charter,
                batch: batch_root(&[request.request.id()]),
                count: 1,
                version: version(*of, *number),
                owner: owner(*place).public(),
                expiry_ms: START_MS + 500_000,
                votes: votes_root([(&request.request.id(), &request.vote_salt)].into_iter(), &answers),
            };
            Ballot::sign(statement, answers, &owner(*place))
        };
        let ballots = ballots.iter().map(ballot).collect();
        let (genesis, gateway) = (self.genesis(), key(4, 0));
        Entry::Submission(Box::new(Submission::sign(
            StatementType::Submission,
            genesis,
            &gateway,
            GROUP.into(),
            charter,
            vec![request],
            ballots,
        )))
    }

    /// Executes a block of these entries, each of which must apply, and logs what their senders saw.
    pub(crate) fn block(&mut self, entries: &[Entry]) {
        let activates = entries.iter().any(|entry| matches!(entry, Entry::Activate(..)));
        let before = Arc::clone(&self.state.registry);
        self.execute(entries, |_| {});
        if activates {
            self.previous = before;
        }
    }

    /// As [`History::block`], with what is wrong in it put into the leaves before they are sealed.
    pub(crate) fn execute(&mut self, entries: &[Entry], plant: impl Fn(&mut Vec<Vec<u8>>)) {
        let genesis = self.genesis();
        let agreed_ms = self.state.agreed_ms + 10;
        let start_us = self.now_us + 1;
        let mut execution = Execution::new(&self.market, &self.state, &self.memory, agreed_ms);
        for entry in entries {
            execution.apply(&entry.check(&genesis).unwrap()).unwrap();
        }
        let executed = execution.finish();
        let mut leaves = executed.leaves.clone();
        plant(&mut leaves);
        let hashes: Vec<_> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
        let header = Header { record_root: merkle::root(&hashes), ..executed.header.clone() };
        let (ledger, decided) = (self.state.ledger.clone(), executed.decided);
        self.state = executed.state;
        self.state.ledger = ledger;
        self.state.ledger.push(header.leaf());
        self.state.parent = Digest::of(&header.to_bytes());
        let placed = decided.iter().map(|decided| (decided.id, (decided.place, decided.answered)));
        self.memory.decided.extend(placed);
        let attestations: Vec<_> = (0..3).map(|place| (usize::from(place), header.attest(&key(2, place)))).collect();
        let payload = Proposal { agreed_ms, entries: entries.iter().map(Entry::to_bytes).collect() }.to_bytes();
        self.now_us += 10;
        let end_us = self.now_us;
        for (leaf, data) in leaves.iter().enumerate() {
            let Ok(record) = Record::from_bytes(data) else { continue };
            let path = merkle::path(&hashes, leaf);
            let committee = &self.market.genesis.committee;
            let certificate =
                Certificate::new(header.clone(), record, path, committee, &attestations, Attachments::default());
            self.log.push(Event::answered(start_us, end_us, &certificate.to_bytes()));
        }
        for (entry, result) in entries.iter().zip(&executed.results) {
            let Some((statement, _)) = entry.statement() else { continue };
            let (name, leaf) = (statement.name().to_owned(), result.leaves.0);
            self.log.push(Event::Entry { start_us, end_us, name, seq: header.seq, leaf });
        }
        self.log.push(Event::Final { at_us: end_us, seq: header.seq });
        self.blocks.push(Block { header, attestations, payload, leaves });
    }

    /// As coordinators that accept the versions before the last activation: such ballots count, and the record names the
    /// versions that are current.
    pub(crate) fn accept_previous_version(&mut self, entry: &Entry) {
        let current = Arc::clone(&self.state.registry);
        let set = current.group(GROUP).unwrap().model_set(self.state.seq + 1).digest();
        self.state.registry = Arc::clone(&self.previous);
        self.execute(std::slice::from_ref(entry), |leaves| {
            let mut record = Record::from_bytes(&leaves[1]).unwrap();
            record.model_set = set;
            leaves[1] = record.to_bytes();
        });
        self.state.registry = current;
    }

    /// As coordinators that allow a second outcome.
    pub(crate) fn allow_second_outcome(&mut self, entry: &Entry) {
        self.memory.forgets = true;
        self.execute(std::slice::from_ref(entry), |_| {});
        self.memory.forgets = false;
    }

    /// Puts another entry and leaf in place of those of the last block, and seals it again.
    pub(crate) fn reseal(&mut self, entries: &[Entry], leaf: Vec<u8>) {
        let block = self.blocks.last_mut().unwrap();
        block.leaves[1] = leaf;
        let hashes: Vec<_> = block.leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
        block.header.record_root = merkle::root(&hashes);
        block.attestations = (0..3).map(|place| (usize::from(place), block.header.attest(&key(2, place)))).collect();
        let entries = entries.iter().map(Entry::to_bytes).collect();
        block.payload = Proposal { agreed_ms: block.header.agreed_ms, entries }.to_bytes();
    }

    /// An activation with a serial that its owner used before.
    pub(crate) fn replayed(&mut self) -> Entry {
        let serial = std::mem::replace(&mut self.serial, 0);
        let replayed = self.activate(0, 1);
        self.serial = serial;
        replayed
    }

    /// An activation of owner 0 that the owner at `place` signed.
    pub(crate) fn signed_by_another(&mut self, place: u8) -> Entry {
        let (genesis, key, serial, version) = (self.genesis(), owner(0).public(), self.serial(), version(0, 1));
        let group = GROUP.into();
        Activate { genesis, owner: key, serial, group, version, from_seq: 0 }.sign(&owner(place))
    }

    /// What the checker says.
    pub(crate) fn check(&self) -> Report {
        let mut checker = Checker::new(self.market.genesis.clone());
        self.blocks.iter().for_each(|block| checker.block(block));
        let mut checker = checker.into_log();
        self.log.iter().for_each(|event| checker.event(event));
        checker.finish()
    }
}
