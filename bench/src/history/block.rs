//! One block against the blocks before it: headers chain, leaves stand for entries, entries follow the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::merkle::{self, Frontier};
use dropbear_certificates::{ChainLink, Committee, Digest, Genesis, GovernanceChain, GovernanceEntry, Record};

use super::ledger::Block;
use super::record::{self, Ground};
use super::report::{Report, Violation};
use super::statement::{Asked, Entry, Statement, Submission, entries};
use super::world::{Enacted, World};

/// Where a request found its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) group: Arc<str>,
    pub(super) seq: u64,
    pub(super) leaf: u64,
    pub(super) record: Digest,
}

/// The ledger so far.
#[derive(Debug)]
pub(super) struct Ledger {
    genesis: Genesis,
    digest: Digest,
    config: Digest,
    pub(super) world: World,
    pub(super) decided: BTreeMap<Digest, Decided>,
    /// Every header's leaf in the ledger tree, by seq - 1.
    pub(super) headers: Vec<Digest>,
    /// Names of owners' entries, by place.
    pub(super) statements: BTreeMap<(u64, u64), &'static str>,
    pub(super) governance: GovernanceChain,
    /// Names of groups, each once.
    names: BTreeMap<String, Arc<str>>,
    tree: Frontier,
    parent: Digest,
    agreed_ms: u64,
    governance_seq: u64,
}

/// What is in force for one group in one block.
type Grounds = BTreeMap<String, Option<Ground>>;

impl Ledger {
    pub(super) fn new(genesis: Genesis) -> Self {
        Self {
            digest: genesis.digest(),
            config: genesis.committee.digest(),
            world: World::new(&genesis),
            decided: BTreeMap::new(),
            headers: Vec::new(),
            statements: BTreeMap::new(),
            governance: GovernanceChain(Vec::new()),
            names: BTreeMap::new(),
            tree: Frontier::default(),
            parent: genesis.digest(),
            agreed_ms: 0,
            governance_seq: 0,
            genesis,
        }
    }

    pub(super) const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    pub(super) fn block(&mut self, block: &Block, report: &mut Report) {
        report.blocks += 1;
        let seq = self.headers.len() as u64 + 1;
        self.attested(block, seq, report);
        let hashes: Vec<_> = block.leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
        self.header(block, seq, &hashes, report);
        match entries(&block.payload, &self.digest) {
            Ok((agreed_ms, entries)) => {
                if agreed_ms != block.header.agreed_ms {
                    report.add(Violation::BrokenChain, || format!("block {seq}: header and payload differ in time"));
                }
                self.info(block, seq, entries.len(), report);
                Leaves { ledger: self, block, hashes: &hashes, seq, next: 1, grounds: Grounds::new(), report }
                    .run(&entries);
            }
            Err(error) => report.add(Violation::BrokenLeaves, || format!("block {seq}: its payload: {error}")),
        }
        self.parent = Digest::of(&block.header.to_bytes());
        self.agreed_ms = block.header.agreed_ms;
        self.headers.push(block.header.leaf());
        self.tree.push(block.header.leaf());
    }

    fn attested(&self, block: &Block, seq: u64, report: &mut Report) {
        let committee = &self.genesis.committee;
        let attests = |(place, signature): &&(usize, [u8; 64])| {
            let member = committee.members.get(*place);
            member.is_some_and(|member| block.header.is_attested(&member.attestation, signature))
        };
        let ascending = block.attestations.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let count = block.attestations.iter().filter(attests).count();
        if !ascending || count < committee.quorum() {
            let quorum = committee.quorum();
            report.add(Violation::NoQuorum, || format!("block {seq}: {count} valid attestations, {quorum} are needed"));
        }
    }

    fn header(&mut self, block: &Block, seq: u64, hashes: &[Digest], report: &mut Report) {
        let header = &block.header;
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                report.add(Violation::BrokenChain, || format!("block {seq}: {what}"));
            }
        };
        expect(header.seq == seq, "it has another seq: blocks are missing, or out of order");
        expect(header.genesis == self.digest, "it belongs to another market");
        expect(header.epoch == 0 && header.config == self.config, "it is of another committee than genesis names");
        expect(header.ledger_root == self.tree.root(), "it does not extend the headers before it");
        expect(header.agreed_ms >= self.agreed_ms, "its time runs backwards");
        expect(header.tree_size == hashes.len() as u64, "it has another number of leaves");
        expect(header.record_root == merkle::root(hashes), "its leaves are not those that were attested");
        let governs = block.leaves.iter().skip(1).any(|leaf| GovernanceEntry::from_bytes(leaf).is_ok());
        if governs {
            self.governance_seq = seq;
        }
        expect(header.governance_seq == self.governance_seq, "it names another last change of charter");
    }

    /// Leaf 0: `["block", 1, seq, parent, agreed_ms, entries, state]`. The state's digest is the ledger's own affair.
    fn info(&self, block: &Block, seq: u64, entries: usize, report: &mut Report) {
        let read = |leaf: &Vec<u8>| -> Result<bool, CborError> {
            let mut input = Decoder::new(leaf);
            input.array_of(7)?;
            let named = input.text(16)? == "block";
            input.key(1)?;
            let place = (input.uint()?, input.digest()?) == (seq, self.parent);
            let rest = (input.uint()?, input.uint()?) == (block.header.agreed_ms, entries as u64);
            input.digest()?;
            input.finish()?;
            Ok(named && place && rest)
        };
        if !block.leaves.first().is_some_and(|leaf| read(leaf) == Ok(true)) {
            report.add(Violation::BrokenChain, || format!("block {seq}: leaf 0 does not describe it"));
        }
    }

    /// Remembers a change of charter with its proof.
    fn govern(&mut self, block: &Block, hashes: &[Digest], leaf: usize, entry: &GovernanceEntry) {
        let committee: &Committee = &self.genesis.committee;
        if hashes.len() as u64 == block.header.tree_size {
            let (index, path) = (leaf as u64, merkle::path(hashes, leaf));
            let link = ChainLink::new(&block.header, entry, index, path, committee, &block.attestations);
            self.governance.0.push(link);
        }
    }
}

/// Walks through a block's leaves, entry by entry.
struct Leaves<'a> {
    ledger: &'a mut Ledger,
    block: &'a Block,
    hashes: &'a [Digest],
    seq: u64,
    next: usize,
    grounds: Grounds,
    report: &'a mut Report,
}

impl Leaves<'_> {
    fn run(mut self, entries: &[Entry]) {
        // Nothing in a block changes what is in force in it.
        let groups = entries.iter().filter_map(|entry| match entry {
            Entry::Submission(submission) => Some(submission.group.clone()),
            _ => None,
        });
        for group in groups {
            let (world, seq) = (&self.ledger.world, self.seq);
            self.grounds.entry(group).or_insert_with_key(|group| Ground::of(world, group, seq));
        }
        for entry in entries {
            match entry {
                Entry::Submission(submission) => self.submission(submission),
                Entry::Statement(statement) => self.statement(statement),
                Entry::Late(digest) => self.late(digest),
            }
        }
        if self.next != self.block.leaves.len() {
            let (seq, next) = (self.seq, self.next);
            self.report
                .add(Violation::BrokenLeaves, || format!("block {seq}: leaf {next} stands for none of its entries"));
        }
    }

    fn leaf(&self) -> Option<&[u8]> {
        self.block.leaves.get(self.next).map(Vec::as_slice)
    }

    fn submission(&mut self, submission: &Submission) {
        let ids: Vec<_> = submission.requests.iter().map(|asked| asked.id).collect();
        let mut checked = None;
        for (place, asked) in submission.requests.iter().enumerate() {
            // A request that was refused has no leaf.
            let Some(record) = self.leaf().and_then(|leaf| Record::from_bytes(leaf).ok()) else { continue };
            if record.request != asked.id {
                continue;
            }
            let valid = checked.get_or_insert_with(|| record::valid_ballots(submission, &ids));
            self.record(&record, submission, place, asked, valid);
            self.next += 1;
        }
    }

    fn record(&mut self, record: &Record, submission: &Submission, place: usize, asked: &Asked, valid: &[bool]) {
        self.report.records += 1;
        let (seq, leaf) = (self.seq, self.next as u64);
        let name =
            self.ledger.names.entry(submission.group.clone()).or_insert_with(|| submission.group.as_str().into());
        let decided = Decided { group: Arc::clone(name), seq, leaf, record: self.hashes[self.next] };
        match self.ledger.decided.get(&asked.id) {
            Some(first) => self.report.add(Violation::SecondOutcome, || {
                format!("request {}: block {} leaf {}, again block {seq} leaf {leaf}", asked.id, first.seq, first.leaf)
            }),
            None => drop(self.ledger.decided.insert(asked.id, decided)),
        }
        let case =
            record::Case { record, submission, place, asked, valid, at: (seq, leaf), header: &self.block.header };
        match self.grounds.get(&submission.group) {
            Some(Some(ground)) => case.check(ground, self.report),
            _ => self.report.add(Violation::WrongCharter, || {
                format!("block {seq} leaf {leaf}: group {} has no charter there", submission.group)
            }),
        }
    }

    fn late(&mut self, digest: &Digest) {
        let mut head = Encoder::new();
        head.array(6).text("late").uint(1).uint(self.seq).uint(self.next as u64).digest(digest);
        let is_its_own = self.leaf().is_some_and(|leaf| leaf.starts_with(&head.finish()));
        self.stands(is_its_own, "late");
    }

    /// Whether the next leaf is the entry's, which then is passed.
    fn stands(&mut self, is_its_own: bool, name: &str) {
        if is_its_own {
            self.next += 1;
        } else {
            let (seq, next) = (self.seq, self.next);
            self.report
                .add(Violation::BrokenLeaves, || format!("block {seq}: leaf {next} is not that of its {name} entry"));
        }
    }

    fn statement(&mut self, statement: &Statement) {
        self.report.entries += 1;
        self.report.activations += u64::from(statement.name == "activate");
        let (seq, leaf) = (self.seq, self.next as u64);
        let mut expected = Encoder::new();
        expected.array(6).text(statement.name).uint(1).uint(seq).uint(leaf);
        expected.bytes(&statement.body).bytes(&statement.signature);
        let is_its_own = self.leaf() == Some(&expected.finish());
        self.stands(is_its_own, statement.name);
        self.ledger.statements.insert((seq, leaf), statement.name);
        let judged =
            if statement.is_signed() { self.ledger.world.apply(statement, seq) } else { Err("its signature is wrong") };
        match judged {
            Ok(enacted) => enacted.into_iter().for_each(|enacted| self.charter(&enacted)),
            Err(problem) => self.report.add(Violation::UnlawfulEntry, || {
                format!("block {seq} leaf {leaf}: {} by {}: {problem}", statement.name, hex(statement.owner.as_bytes()))
            }),
        }
        self.unexpected_charters();
    }

    /// The next leaf must be that of this change of charter.
    fn charter(&mut self, enacted: &Enacted) {
        let entry = self.leaf().and_then(|leaf| GovernanceEntry::from_bytes(leaf).ok());
        if let Some(entry) = entry {
            let GovernanceEntry::Charter(stated) = &entry else { return };
            let is_it = stated.genesis == self.ledger.digest
                && stated.previous == enacted.previous
                && stated.from_seq == enacted.from_seq
                && stated.charter == *enacted.charter;
            if is_it {
                self.report.charters += 1;
                self.ledger.govern(self.block, self.hashes, self.next, &entry);
                self.next += 1;
                return;
            }
        }
        let (seq, next, group) = (self.seq, self.next, &enacted.charter.group);
        self.report.add(Violation::UnlawfulCharter, || {
            format!("block {seq} leaf {next}: group {group} should get a charter from block {}", enacted.from_seq)
        });
    }

    fn unexpected_charters(&mut self) {
        while self.leaf().is_some_and(|leaf| GovernanceEntry::from_bytes(leaf).is_ok()) {
            let (seq, next) = (self.seq, self.next);
            let what = "nobody approved this change of charter or committee";
            self.report.add(Violation::UnlawfulCharter, || format!("block {seq} leaf {next}: {what}"));
            self.next += 1;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&bytes[..8])
}
