//! What certification costs: certified answers beside uncertified ones of the same market, interleaved.

use std::fmt;
use std::time::Duration;

use crate::load::{LoadError, Question, Run, run};
use crate::process::{cpu_seconds, resident_bytes};

/// A service whose CPU time is charged.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The question whose answers are certified.
    pub certified: Question,
    /// The same question without ordering and certificate.
    pub uncertified: Question,
    /// Pairs of runs.
    pub rounds: usize,
    /// Length of one run.
    pub duration: Duration,
    /// Clients at once.
    pub clients: usize,
    /// Whose CPU time is charged.
    pub services: Vec<Watched>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    clients: usize,
    /// (certified, uncertified), one pair a round.
    rounds: Vec<(Run, Run)>,
    /// (name, CPU seconds in certified runs, in uncertified runs, resident bytes at the end).
    services: Vec<(String, f64, f64, u64)>,
}

/// Runs the plan: certified and uncertified in turn, the first of each round changing, so that drift hits both.
///
/// # Errors
/// [`LoadError`] if any answer is not a success.
pub async fn measure(plan: &Plan) -> Result<Report, LoadError> {
    let warm_up = plan.duration.min(Duration::from_secs(2));
    run(&plan.certified, plan.clients, warm_up).await?;
    let mut report = Report {
        clients: plan.clients,
        rounds: Vec::new(),
        services: plan.services.iter().map(|service| (service.name.clone(), 0.0, 0.0, 0)).collect(),
    };
    for round in 0..plan.rounds {
        let (certified, uncertified);
        if round % 2 == 0 {
            certified = report.charged(plan, true).await?;
            uncertified = report.charged(plan, false).await?;
        } else {
            uncertified = report.charged(plan, false).await?;
            certified = report.charged(plan, true).await?;
        }
        report.rounds.push((certified, uncertified));
    }
    for (service, line) in plan.services.iter().zip(&mut report.services) {
        line.3 = resident_bytes(service.pid).unwrap_or(0);
    }
    Ok(report)
}

impl Report {
    /// One run, its CPU time charged to the services.
    async fn charged(&mut self, plan: &Plan, certified: bool) -> Result<Run, LoadError> {
        let cpu = || plan.services.iter().map(|service| cpu_seconds(service.pid).unwrap_or(0.0)).collect::<Vec<_>>();
        let before = cpu();
        let question = if certified { &plan.certified } else { &plan.uncertified };
        let measured = run(question, plan.clients, plan.duration).await?;
        for ((line, after), before) in self.services.iter_mut().zip(cpu()).zip(before) {
            *if certified { &mut line.1 } else { &mut line.2 } += after - before;
        }
        Ok(measured)
    }

    /// Certified over uncertified throughput, one ratio a round, ascending.
    #[must_use]
    pub fn ratios(&self) -> Vec<f64> {
        let mut ratios: Vec<_> = self
            .rounds
            .iter()
            .map(|(certified, uncertified)| certified.throughput() / uncertified.throughput())
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} clients at once; throughput in answers/s, latency in ms", self.clients)?;
        writeln!(f, "{:<6} {:<12} {:>10} {:>8} {:>8} {:>8}", "ROUND", "KIND", "PER S", "P50", "P95", "P99")?;
        for (round, (certified, uncertified)) in self.rounds.iter().enumerate() {
            for (kind, run) in [("certified", certified), ("uncertified", uncertified)] {
                let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| run.quantile_ms(share));
                let per_s = run.throughput();
                writeln!(f, "{:<6} {kind:<12} {per_s:>10.1} {p50:>8.1} {p95:>8.1} {p99:>8.1}", round + 1)?;
            }
        }
        let ratios = self.ratios();
        if let (Some(least), Some(middle), Some(most)) = (ratios.first(), ratios.get(ratios.len() / 2), ratios.last()) {
            writeln!(f, "certified / uncertified throughput: median {middle:.3} (least {least:.3}, most {most:.3})")?;
        }
        writeln!(f, "\n{:<18} {:>14} {:>16} {:>8}", "CPU SECONDS", "CERTIFIED", "UNCERTIFIED", "RSS MB")?;
        for (name, certified, uncertified, resident) in &self.services {
            let megabytes = *resident as f64 / 1e6;
            writeln!(f, "{name:<18} {certified:>14.2} {uncertified:>16.2} {megabytes:>8.0}")?;
        }
        Ok(())
    }
}
