//! What the checker found.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// So many violations of one kind are described; all are counted.
const DESCRIBED_MAX: usize = 10;

/// What a history can do wrong. Each has a stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Violation {
    /// A header does not follow from the blocks before it, or does not belong to its block.
    BrokenChain,
    /// Fewer than q members attested a block.
    NoQuorum,
    /// A leaf stands for no entry, or an entry has no leaf.
    BrokenLeaves,
    /// An owner's entry is in the ledger against the rules.
    UnlawfulEntry,
    /// A charter changed without the entries that it needs, or did not change with them.
    UnlawfulCharter,
    /// A record names a charter that is not in force at its place.
    WrongCharter,
    /// A record names other model versions than those in force at its place.
    WrongVersions,
    /// A ballot of a version that is not in force at its place was counted.
    StaleBallot,
    /// A record's votes are not those of its ballots.
    Unbacked,
    /// A record's outcome does not follow from its votes.
    WrongOutcome,
    /// A request was decided after its expiry.
    Expired,
    /// A request id has two outcomes.
    SecondOutcome,
    /// A certificate does not verify.
    BadCertificate,
    /// A certificate's record is not in the ledger.
    NotInLedger,
    /// An entry is not where its sender was told.
    LostEntry,
    /// An operation that began after another had ended stands before it.
    RealTime,
    /// A request was answered under versions older than those that were known to be in force when it began.
    OldVersions,
}

impl Violation {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BrokenChain => "broken-chain",
            Self::NoQuorum => "no-quorum",
            Self::BrokenLeaves => "broken-leaves",
            Self::UnlawfulEntry => "unlawful-entry",
            Self::UnlawfulCharter => "unlawful-charter",
            Self::WrongCharter => "wrong-charter",
            Self::WrongVersions => "wrong-versions",
            Self::StaleBallot => "stale-ballot",
            Self::Unbacked => "unbacked",
            Self::WrongOutcome => "wrong-outcome",
            Self::Expired => "expired",
            Self::SecondOutcome => "second-outcome",
            Self::BadCertificate => "bad-certificate",
            Self::NotInLedger => "not-in-ledger",
            Self::LostEntry => "lost-entry",
            Self::RealTime => "real-time",
            Self::OldVersions => "old-versions",
        }
    }
}

/// Violations of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// How many.
    pub count: u64,
    /// The first of them, described.
    pub first: Vec<String>,
}

/// What was checked, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Blocks of the ledger.
    pub blocks: u64,
    /// Owners' entries in it.
    pub entries: u64,
    /// Activations among them.
    pub activations: u64,
    /// Charters that changed.
    pub charters: u64,
    /// Records in it.
    pub records: u64,
    /// Certificates of the log.
    pub certificates: u64,
    /// Requests of the log that were not answered.
    pub failed: u64,
    /// Why, for the first of them.
    pub failures: Vec<String>,
    /// By kind.
    pub violations: BTreeMap<Violation, Found>,
}

impl Report {
    /// Whether nothing is wrong. Requests that failed are counted, but break no promise about answers.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether this kind was found.
    #[must_use]
    pub fn found(&self, violation: Violation) -> bool {
        self.violations.contains_key(&violation)
    }

    pub(super) fn add(&mut self, violation: Violation, description: impl FnOnce() -> String) {
        let found = self.violations.entry(violation).or_default();
        found.count += 1;
        if found.first.len() < DESCRIBED_MAX {
            found.first.push(description());
        }
    }

    pub(super) fn fail(&mut self, error: &str) {
        self.failed += 1;
        if self.failures.len() < DESCRIBED_MAX {
            self.failures.push(error.to_owned());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "ledger  {} blocks, {} records, {} owners' entries ({} activations), {} changes of charter",
            self.blocks, self.records, self.entries, self.activations, self.charters
        )?;
        writeln!(f, "log     {} certificates, {} requests that failed", self.certificates, self.failed)?;
        for failure in &self.failures {
            writeln!(f, "  failed: {failure}")?;
        }
        if self.is_green() {
            return write!(
                f,
                "GREEN   strictly serialisable; every certificate under the versions in force at its place; one outcome per id"
            );
        }
        write!(f, "RED")?;
        for (violation, found) in &self.violations {
            write!(f, "\n  {} ({})", violation.name(), found.count)?;
            for description in &found.first {
                write!(f, "\n    {description}")?;
            }
        }
        Ok(())
    }
}
