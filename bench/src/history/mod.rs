//! The history checker: whether a market kept its promises, from what clients saw and what the ledger holds.
//!
//! It takes a *log* of requests and owners' entries with their start, end and result in one clock ([`log`]) and an export
//! of the *ledger* ([`ledger`]), trusts neither, and verifies
//!
//! * that the headers chain, each attested by a quorum, and that every leaf stands for its entry;
//! * that owners' entries follow DESIGN.md's rules, and charters change exactly when they say so;
//! * that each record names the charter and the model versions that are in force at its place, counts the current ballots
//!   and no others, and has the outcome that follows from them;
//! * that each request id has one outcome;
//! * that each certificate verifies and is in the ledger;
//! * that ledger order agrees with real time: strict serialisability of certified requests and activations.
//!
//! What is in force where is read out of the owners' entries by this module alone, never by the ledger's code: a mistake
//! there shows here as a [`Violation`].

mod block;
pub mod export;
pub mod ledger;
pub mod load;
pub mod log;
mod order;
mod record;
mod report;
mod statement;
mod world;

use data_encoding::BASE64URL_NOPAD;
use dropbear_certificates::{Certificate, Digest, Effort, Genesis, KeyTables, SeenQuorums, TrustRoot, merkle};

pub use report::{Found, Report, Violation};

use ledger::Block;
use log::Event;
use order::{Observed, Operation};

/// Quorums that are remembered while certificates are verified.
const QUORUMS_MAX: usize = 4096;

/// Checks a history: first every block of the ledger, in order, then every event of the log, in any order.
#[derive(Debug)]
pub struct Checker {
    ledger: block::Ledger,
    report: Report,
}

/// A checker that has read the whole ledger.
#[derive(Debug)]
pub struct LogChecker {
    ledger: block::Ledger,
    report: Report,
    trust: TrustRoot,
    tables: KeyTables,
    seen: SeenQuorums,
    observed: Observed,
    attempts: Vec<(Digest, u64)>,
}

impl Checker {
    /// A checker of the market with this genesis.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        Self { ledger: block::Ledger::new(genesis), report: Report::default() }
    }

    /// Takes the next block in.
    pub fn block(&mut self, block: &Block) {
        self.ledger.block(block, &mut self.report);
    }

    /// Goes on to the log.
    #[must_use]
    pub fn into_log(mut self) -> LogChecker {
        let genesis = TrustRoot::new(self.ledger.genesis().clone());
        let trust = genesis.extended(&self.ledger.governance).unwrap_or_else(|refusal| {
            let what = format!("the charters of the ledger form no governance chain: {refusal}");
            self.report.add(Violation::UnlawfulCharter, || what);
            genesis
        });
        LogChecker {
            tables: KeyTables::of(&self.ledger.genesis().committee),
            ledger: self.ledger,
            report: self.report,
            trust,
            seen: SeenQuorums::new(QUORUMS_MAX),
            observed: Observed::default(),
            attempts: Vec::new(),
        }
    }
}

impl LogChecker {
    /// Takes one event in.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Request { start_us, end_us, certificate: Some(certificate), .. } => {
                self.certificate(certificate, (*start_us, *end_us));
            }
            Event::Request { start_us, id, error, .. } => {
                self.report.fail(error.as_deref().unwrap_or("no reason given"));
                self.attempts.extend(id.as_deref().and_then(Digest::from_hex).map(|id| (id, *start_us)));
            }
            Event::Entry { start_us, end_us, name, seq, leaf } => {
                if self.ledger.statements.get(&(*seq, *leaf)).is_none_or(|known| known != name) {
                    self.report.add(Violation::LostEntry, || format!("{name} is not in block {seq} at leaf {leaf}"));
                }
                self.observed.entry(Operation { start_us: *start_us, end_us: *end_us, at: (*seq, *leaf) });
            }
            Event::Final { at_us, seq } => self.observed.known_final(*at_us, *seq),
        }
    }

    fn certificate(&mut self, text: &str, (start_us, end_us): (u64, u64)) {
        self.report.certificates += 1;
        let mut effort = Effort { tables: Some(&self.tables), seen: Some(&mut self.seen), ..Effort::default() };
        let decoded = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|error| error.to_string());
        let verified = decoded.and_then(|bytes| {
            let certificate = Certificate::from_bytes(&bytes).map_err(|refusal| refusal.to_string())?;
            certificate.into_verified(&self.trust, &mut effort).map_err(|refusal| refusal.to_string())
        });
        let verified = match verified {
            Ok(verified) => verified,
            Err(why) => return self.report.add(Violation::BadCertificate, || format!("asked at {start_us} µs: {why}")),
        };
        let record = verified.record();
        let at = (record.seq, record.leaf_index);
        let header = record.seq.checked_sub(1).and_then(|place| self.ledger.headers.get(usize::try_from(place).ok()?));
        let known = self.ledger.decided.get(&record.request);
        let hash = merkle::leaf_hash(&record.to_bytes());
        let same = known.is_some_and(|known| (known.seq, known.leaf, known.record) == (at.0, at.1, hash));
        if header != Some(&verified.header().leaf()) || !same {
            let (id, (seq, leaf)) = (record.request, at);
            return self.report.add(Violation::NotInLedger, || {
                format!("request {id}: its certificate says block {seq} leaf {leaf}, which the ledger does not")
            });
        }
        self.observed.request(record.request, Operation { start_us, end_us, at });
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for (id, start_us) in &self.attempts {
            self.observed.attempt(id, *start_us);
        }
        for (id, reversal) in self.observed.reversals() {
            let ((seq, leaf), after) = (reversal.operation.at, reversal.after.0);
            let start_us = reversal.operation.start_us;
            self.report.add(Violation::RealTime, || {
                format!("begun at {start_us} µs, when block {after} was known, but in block {seq} at leaf {leaf}")
            });
            let Some(id) = id else { continue };
            let Some(decided) = self.ledger.decided.get(&id) else { continue };
            if let Some(change) = self.ledger.world.changes(&decided.group, seq, after).first() {
                self.report.add(Violation::OldVersions, || {
                    format!(
                        "request {id}: answered in block {seq}, though the versions from block {change} were in force"
                    )
                });
            }
        }
        self.report
    }
}
