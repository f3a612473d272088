//! What happened, fault by fault, and whether every promise was kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Fault;
use crate::history;

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// When it began, in microseconds from the beginning of the load.
    pub begun_us: u64,
    /// What it was.
    pub fault: Fault,
    /// The coordinators that it hit.
    pub victims: Vec<String>,
    /// How long it lasted, in microseconds.
    pub lasted_us: u64,
    /// Answers per second before it.
    pub before: f64,
    /// Answers per second while it lasted.
    pub during: f64,
    /// Answers per second once all was well again, or had been given up.
    pub after: f64,
    /// From its end until throughput was back, in microseconds; `None` if it was not.
    pub back_us: Option<u64>,
    /// From its end until the victims had caught up, in microseconds; `None` if they did not.
    pub caught_up_us: Option<u64>,
    /// Errors that clients were told for requests that were open meanwhile, by kind.
    pub errors: BTreeMap<String, u64>,
    /// What the victims did that should be known.
    pub notes: Vec<String>,
    /// What must never happen.
    pub wrongs: Vec<String>,
}

/// The whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What the faults were drawn with.
    pub seed: u64,
    /// How soon throughput must be back after a fault, in microseconds; `None` if that is not judged.
    pub back_us_max: Option<u64>,
    /// How long the load lasted, in microseconds.
    pub lasted_us: u64,
    /// Faults that cannot be had here, and why.
    pub skipped: Vec<String>,
    /// In order.
    pub rows: Vec<Row>,
    /// Errors of requests that no fault explains, by kind.
    pub errors_elsewhere: BTreeMap<String, u64>,
    /// Requests that ended without an answer of any kind.
    pub unanswered: u64,
    /// Certificates that clients got.
    pub certificates: u64,
    /// Blocks that were compared across all coordinators.
    pub blocks: u64,
    /// Blocks or certificates of one seq with different headers.
    pub conflicting: u64,
    /// Blocks with one header but different contents.
    pub differing: u64,
    /// Certificates whose record is not in the ledger that all coordinators share.
    pub lost: u64,
    /// Certificates that every coordinator was asked about by request id.
    pub looked_up: u64,
    /// Times that one did not know it.
    pub unknown: u64,
    /// What the history checker says.
    pub history: history::Report,
    /// What is wrong with the run as a whole, for the first of many.
    pub wrongs: Vec<String>,
}

impl Row {
    /// Whether throughput was back after so many microseconds at most, if that is asked for, and nothing happened that must
    /// not.
    #[must_use]
    pub fn is_good(&self, back_us_max: Option<u64>) -> bool {
        let is_late = back_us_max.is_some_and(|max| self.back_us.is_none_or(|back_us| back_us > max));
        !is_late && self.caught_up_us.is_some() && self.wrongs.is_empty()
    }

    /// The head of the table.
    #[must_use]
    pub fn head() -> String {
        format!(
            "{:>6} {:<9} {:<16} {:>5} {:>8} {:>8} {:>8} {:>6} {:>9}  ERRORS",
            "AT S", "FAULT", "COORDINATOR", "FOR S", "BEFORE/S", "DURING/S", "AFTER/S", "BACK S", "CAUGHT UP"
        )
    }
}

fn s(us: u64) -> f64 {
    us as f64 / 1e6
}

fn or_never(us: Option<u64>) -> String {
    us.map_or_else(|| "never".into(), |us| format!("{:.2}", s(us)))
}

fn kinds(errors: &BTreeMap<String, u64>) -> String {
    if errors.is_empty() {
        return "none".into();
    }
    errors.iter().map(|(kind, count)| format!("{count} × {kind}")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let victims: Vec<_> = self.victims.iter().map(|name| name.trim_start_matches("coordinator-")).collect();
        write!(
            f,
            "{:>6.1} {:<9} {:<16} {:>5.1} {:>8.0} {:>8.0} {:>8.0} {:>6} {:>9}  {}",
            s(self.begun_us),
            self.fault,
            format!("coordinator-{}", victims.join("+")),
            s(self.lasted_us),
            self.before,
            self.during,
            self.after,
            or_never(self.back_us),
            or_never(self.caught_up_us),
            kinds(&self.errors)
        )?;
        for note in &self.notes {
            write!(f, "\n         {}", note.replace('\n', "\n         "))?;
        }
        for wrong in &self.wrongs {
            write!(f, "\n       ! {wrong}")?;
        }
        Ok(())
    }
}

impl Report {
    /// Whether every promise was kept, and throughput was always back soon.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.rows.is_empty()
            && self.rows.iter().all(|row| row.is_good(self.back_us_max))
            && self.errors_elsewhere.is_empty()
            && (self.unanswered, self.conflicting, self.differing, self.lost, self.unknown) == (0, 0, 0, 0, 0)
            && self.history.is_green()
            && self.wrongs.is_empty()
    }
}

/// Everything below the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:.0} s under load", self.seed, s(self.lasted_us))?;
        let mut by_kind = BTreeMap::<Fault, Vec<&Row>>::new();
        for row in &self.rows {
            by_kind.entry(row.fault).or_default().push(row);
        }
        for (fault, rows) in &by_kind {
            let backs: Option<Vec<_>> = rows.iter().map(|row| row.back_us).collect();
            let caught: Option<Vec<_>> = rows.iter().map(|row| row.caught_up_us).collect();
            let worst = |times: Option<Vec<u64>>| or_never(times.and_then(|times| times.into_iter().max()));
            writeln!(
                f,
                "{fault:<9} × {:<3} worst: back {} s, caught up {} s",
                rows.len(),
                worst(backs),
                worst(caught)
            )?;
        }
        for skipped in &self.skipped {
            writeln!(f, "skipped   {skipped}")?;
        }
        let judged = self.back_us_max.map_or_else(|| "not judged".into(), |max| format!("{:.0} s are allowed", s(max)));
        writeln!(
            f,
            "back      when a second reaches 90 % of the level before, and the three seconds from its beginning do as well: \
             {judged}"
        )?;
        writeln!(f, "errors    that no fault explains: {}", kinds(&self.errors_elsewhere))?;
        writeln!(
            f,
            "promises  {} certificates: {} lost, {} unanswered requests; {} blocks alike on all coordinators: {} with two \
             headers, {} with two contents; {} certificates looked up on each: {} unknown",
            self.certificates,
            self.lost,
            self.unanswered,
            self.blocks,
            self.conflicting,
            self.differing,
            self.looked_up,
            self.unknown
        )?;
        for wrong in &self.wrongs {
            writeln!(f, "!         {wrong}")?;
        }
        writeln!(f, "{}", self.history)?;
        write!(f, "{}", if self.is_good() { "GOOD" } else { "BAD" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            begun_us: 5_000_000,
            fault: Fault::Halves,
            victims: vec!["coordinator-1".into(), "coordinator-3".into()],
            lasted_us: 2_000_000,
            before: 100.0,
            during: 0.0,
            after: 101.0,
            back_us: Some(1_250_000),
            caught_up_us: Some(300_000),
            errors: BTreeMap::from([("504 insufficient".into(), 3)]),
            notes: Vec::new(),
            wrongs: Vec::new(),
        }
    }

    #[test]
    fn a_row_says_what_happened() {
        let text = row().to_string();
        assert!(text.contains("halves    coordinator-1+3") && text.contains("3 × 504 insufficient"), "{text}");
        assert!(text.contains("1.25") && text.contains("0.30"), "{text}");
    }

    #[test]
    fn late_is_bad_and_so_is_never() {
        let max = Some(5_000_000);
        assert!(row().is_good(max));
        assert!(!Row { back_us: Some(5_250_000), ..row() }.is_good(max));
        assert!(!Row { back_us: None, ..row() }.is_good(max));
        assert!(Row { back_us: None, ..row() }.is_good(None));
        assert!(!Row { caught_up_us: None, ..row() }.is_good(None));
        assert!(!Row { wrongs: vec!["a minority ordered".into()], ..row() }.is_good(None));
    }
}
