//! The figures of an ordering run, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::usage::{MemberUsage, Usage};
use super::{Certified, Plan};
use crate::spread::Spread;

/// What one round measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Round {
    seconds: f64,
    results_per_s: f64,
    submissions_per_s: f64,
    blocks_per_s: f64,
    entries_per_block: f64,
    results_per_block: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    /// All coordinators together, user and system time.
    cpu_us_per_result: f64,
    /// The same, of each coordinator.
    member_cpu_us_per_result: Vec<f64>,
    /// Of one coordinator, mean of all: entries and leaves, as the ledger counts them.
    ledger_bytes_per_result: f64,
    /// Of one coordinator, mean of all: growth of its ledger's file.
    ledger_disk_bytes_per_result: f64,
    /// Of one coordinator, mean of all: growth of its engine's journals and archives.
    engine_disk_bytes_per_result: f64,
    /// All that this machine sent to itself, the generator's share included.
    loopback_bytes_per_result: Option<f64>,
    /// The generator's, while it submitted and verified.
    generator_cpu_us_per_result: f64,
    /// The generator's, before: minting, voting and signing.
    signing_cpu_us_per_result: f64,
    /// Coordinators' stages: (name, mean in milliseconds over all members).
    stages: Vec<(String, f64)>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    members: usize,
    quorum: usize,
    batch: usize,
    gateways: usize,
    in_flight: usize,
    patience_ms: u128,
    cores: usize,
    rounds: Vec<Round>,
}

/// One figure of a round.
type Figure = fn(&Round) -> f64;

impl Round {
    /// `None` if too little was certified between the two moments.
    pub(super) fn of(certified: &[Certified], before: &Usage, after: &Usage, signing_cpu_s: f64) -> Option<Self> {
        let counted: Vec<_> = certified.iter().filter(|one| before.at < one.at && one.at <= after.at).collect();
        let results = counted.iter().map(|one| one.results).sum::<usize>() as f64;
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let mut latencies: Vec<Duration> = counted.iter().map(|one| one.latency).collect();
        latencies.sort_unstable();
        let quantile_ms = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            Some(latencies.get(place.min(latencies.len().checked_sub(1)?))?.as_secs_f64() * 1e3)
        };
        let members: Vec<_> =
            after.members.iter().zip(&before.members).map(|(after, before)| since(after, before)).collect();
        let mean =
            |figure: &dyn Fn(&MemberUsage) -> f64| members.iter().map(figure).sum::<f64>() / members.len() as f64;
        let metric = |name: &str| mean(&|member| member.metrics.value(name));
        // Blocks and entries as the coordinators count them: final ones, whoever waits for them.
        let recorded = metric("dropbear_coordinator_requests_total{result=\"recorded\"}");
        let blocks = metric("dropbear_coordinator_blocks_total");
        if results == 0.0 || blocks == 0.0 || recorded == 0.0 {
            return None;
        }
        let results_each = results / counted.len() as f64;
        let cpu_us = |member: &MemberUsage| member.cpu_s * 1e6 / results;
        let loopback = after.loopback_bytes.zip(before.loopback_bytes).map(|(after, before)| (after - before) as f64);
        Some(Self {
            seconds,
            results_per_s: results / seconds,
            submissions_per_s: counted.len() as f64 / seconds,
            blocks_per_s: blocks / seconds,
            entries_per_block: recorded / blocks / results_each,
            results_per_block: recorded / blocks,
            p50_ms: quantile_ms(0.5)?,
            p95_ms: quantile_ms(0.95)?,
            p99_ms: quantile_ms(0.99)?,
            cpu_us_per_result: members.iter().map(cpu_us).sum(),
            member_cpu_us_per_result: members.iter().map(cpu_us).collect(),
            ledger_bytes_per_result: metric("dropbear_coordinator_ledger_bytes_total") / recorded,
            ledger_disk_bytes_per_result: mean(&|member| member.ledger_bytes as f64) / recorded,
            engine_disk_bytes_per_result: mean(&|member| member.engine_bytes as f64) / recorded,
            loopback_bytes_per_result: loopback.map(|bytes| bytes / results),
            generator_cpu_us_per_result: (after.generator_cpu_s - before.generator_cpu_s) * 1e6 / results,
            signing_cpu_us_per_result: signing_cpu_s * 1e6,
            stages: stages(&members),
        })
    }
}

fn since(after: &MemberUsage, before: &MemberUsage) -> MemberUsage {
    MemberUsage {
        cpu_s: after.cpu_s - before.cpu_s,
        metrics: after.metrics.since(&before.metrics),
        ledger_bytes: after.ledger_bytes.saturating_sub(before.ledger_bytes),
        engine_bytes: after.engine_bytes.saturating_sub(before.engine_bytes),
    }
}

fn stages(members: &[MemberUsage]) -> Vec<(String, f64)> {
    let mut all = crate::scrape::Sample::default();
    members.iter().for_each(|member| all.add(&member.metrics));
    all.stages("dropbear_coordinator_stage").into_iter().map(|(stage, _, mean_ms)| (stage, mean_ms)).collect()
}

impl Report {
    pub(super) fn of(plan: &Plan, rounds: Vec<Round>) -> Self {
        let committee = &plan.trust.genesis().committee;
        Self {
            members: plan.members.len(),
            quorum: committee.quorum(),
            batch: plan.batch,
            gateways: plan.gateways,
            in_flight: plan.in_flight,
            patience_ms: plan.patience.as_millis(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            rounds,
        }
    }

    fn spread(&self, figure: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(figure))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, quorum, batch, gateways, in_flight, cores, .. } = self;
        writeln!(
            f,
            "{members} coordinators on {cores} cores, {quorum} attestations; submissions of {batch} requests and four \
             ballots, {gateways} gateways with {in_flight} under way each, patience {} ms",
            self.patience_ms
        )?;
        writeln!(
            f,
            "{:<6} {:>10} {:>8} {:>9} {:>14} {:>14} {:>8} {:>8} {:>8} {:>14}",
            "ROUND",
            "RESULTS/S",
            "SUBM/S",
            "BLOCKS/S",
            "ENTRIES/BLOCK",
            "RESULTS/BLOCK",
            "P50 MS",
            "P95 MS",
            "P99 MS",
            "CPU US/RESULT"
        )?;
        for (place, round) in self.rounds.iter().enumerate() {
            writeln!(
                f,
                "{:<6} {:>10.0} {:>8.1} {:>9.1} {:>14.1} {:>14.0} {:>8.0} {:>8.0} {:>8.0} {:>14.2}",
                place + 1,
                round.results_per_s,
                round.submissions_per_s,
                round.blocks_per_s,
                round.entries_per_block,
                round.results_per_block,
                round.p50_ms,
                round.p95_ms,
                round.p99_ms,
                round.cpu_us_per_result,
            )?;
        }
        self.details(f)
    }
}

impl Report {
    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: [(&str, Figure); 8] = [
            ("certified results/s", |round| round.results_per_s),
            ("CPU us/result, all coordinators", |round| round.cpu_us_per_result),
            ("ledger bytes/result, entries and leaves", |round| round.ledger_bytes_per_result),
            ("ledger file bytes/result, one coordinator", |round| round.ledger_disk_bytes_per_result),
            ("engine file bytes/result, one coordinator", |round| round.engine_disk_bytes_per_result),
            ("loopback bytes/result, generator included", |round| round.loopback_bytes_per_result.unwrap_or(f64::NAN)),
            ("generator us/result, not charged", |round| round.generator_cpu_us_per_result),
            ("minting and signing us/result, before", |round| round.signing_cpu_us_per_result),
        ];
        writeln!(f, "\n{:<44} {:>10} {:>10} {:>10}", "OVER ALL ROUNDS", "LEAST", "MEDIAN", "MOST")?;
        for (name, figure) in lines {
            if let Some(Spread { least, median, most }) = self.spread(figure) {
                writeln!(f, "{name:<44} {least:>10.1} {median:>10.1} {most:>10.1}")?;
            }
        }
        let Some(last) = self.rounds.last() else { return Ok(()) };
        let each: Vec<_> = last.member_cpu_us_per_result.iter().map(|us| format!("{us:.2}")).collect();
        let stages: Vec<_> = last.stages.iter().map(|(stage, ms)| format!("{stage} {ms:.1} ms")).collect();
        writeln!(f, "last round: CPU us/result of each coordinator {}; stages {}", each.join(", "), stages.join(", "))
    }
}
