//! What certification costs: certified answers beside uncertified ones of the same market and, where models are real,
//! beside the bare models without any market; interleaved in one run.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::load::{LoadError, Question, Run, run};
use crate::pace::pace;
use crate::process::Process;
use crate::scrape::Sample;
use crate::spread::Spread;

/// A service that is watched while it works.
#[derive(Clone, Debug)]
pub struct Watched {
    /// It.
    pub process: Process,
    /// Where its metrics are.
    pub metrics: String,
    /// The histogram family of its stages.
    pub stages: &'static str,
}

/// Runs the bare models for so long; gives answers per second. Called on a thread that may block.
pub type Bare = Arc<dyn Fn(Duration) -> Result<f64, String> + Send + Sync>;

/// One kind of input.
#[derive(Clone)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// The question whose answers are certified.
    pub certified: Question,
    /// The same question without ordering and certificate.
    pub uncertified: Question,
    /// The same work without a market.
    pub bare: Option<Bare>,
}

/// What to measure.
#[derive(Clone)]
pub struct Plan {
    /// Kinds of input.
    pub rows: Vec<Row>,
    /// Rounds: in each, every row is measured once in every way.
    pub rounds: usize,
    /// Length of one run.
    pub duration: Duration,
    /// Clients at once.
    pub clients: usize,
    /// Who is watched.
    pub services: Vec<Watched>,
}

/// One row's figures of one round.
#[derive(Clone, Debug, Default)]
struct Round {
    certified: Run,
    uncertified: Run,
    /// Answers per second.
    bare: Option<f64>,
    alone_certified: Run,
    alone_uncertified: Run,
}

/// One service's use while certified answers were given, and while uncertified ones were, under full load.
#[derive(Clone, Debug)]
struct Use {
    service: Watched,
    certified_cpu_s: f64,
    uncertified_cpu_s: f64,
    certified: Sample,
    resident_bytes: u64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    clients: usize,
    rows: Vec<(String, Vec<Round>)>,
    services: Vec<Use>,
    certified_answers: usize,
    uncertified_answers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Certified,
    Uncertified,
    Bare,
    AloneCertified,
    AloneUncertified,
}

const WAYS: [Way; 5] = [Way::Certified, Way::Uncertified, Way::Bare, Way::AloneCertified, Way::AloneUncertified];

/// Runs the plan: all ways in turn, the first of each round changing, so that drift hits all of them.
///
/// # Errors
/// [`LoadError`] if any answer is not a success.
pub async fn measure(plan: &Plan) -> Result<Report, LoadError> {
    let mut measuring = Measuring { plan, http: reqwest::Client::new(), report: Report::of(plan) };
    let warm_up = plan.duration.min(Duration::from_secs(2));
    for row in &plan.rows {
        run(&row.certified, plan.clients, warm_up).await?;
    }
    for round in 0..plan.rounds {
        for (place, row) in plan.rows.iter().enumerate() {
            let mut figures = Round::default();
            for step in 0..WAYS.len() {
                measuring.one(row, WAYS[(round + step) % WAYS.len()], &mut figures).await?;
            }
            measuring.report.rows[place].1.push(figures);
        }
    }
    let mut report = measuring.report;
    for line in &mut report.services {
        line.resident_bytes = line.service.process.resident_bytes().unwrap_or(0);
    }
    Ok(report)
}

struct Measuring<'a> {
    plan: &'a Plan,
    http: reqwest::Client,
    report: Report,
}

impl Measuring<'_> {
    async fn one(&mut self, row: &Row, way: Way, figures: &mut Round) -> Result<(), LoadError> {
        let duration = self.plan.duration;
        match way {
            Way::Certified => figures.certified = self.charged(&row.certified, true).await?,
            Way::Uncertified => figures.uncertified = self.charged(&row.uncertified, false).await?,
            Way::AloneCertified => figures.alone_certified = run(&row.certified, 1, duration / 2).await?,
            Way::AloneUncertified => figures.alone_uncertified = run(&row.uncertified, 1, duration / 2).await?,
            Way::Bare => {
                let Some(bare) = row.bare.clone() else { return Ok(()) };
                let measured = tokio::task::spawn_blocking(move || bare(duration)).await?;
                figures.bare = Some(measured.map_err(LoadError::Bare)?);
            }
        }
        Ok(())
    }

    /// One run at full load, its use charged to the services.
    async fn charged(&mut self, question: &Question, certified: bool) -> Result<Run, LoadError> {
        let before = self.observe().await?;
        let measured = run(question, self.plan.clients, self.plan.duration).await?;
        let after = self.observe().await?;
        for ((line, before), after) in self.report.services.iter_mut().zip(before).zip(after) {
            let cpu_s = after.0 - before.0;
            if certified {
                line.certified_cpu_s += cpu_s;
                line.certified.add(&after.1.since(&before.1));
            } else {
                line.uncertified_cpu_s += cpu_s;
            }
        }
        let answers = if certified { &mut self.report.certified_answers } else { &mut self.report.uncertified_answers };
        *answers += measured.answers_all;
        Ok(measured)
    }

    /// CPU seconds and metrics of every service.
    async fn observe(&self) -> Result<Vec<(f64, Sample)>, LoadError> {
        let mut observed = Vec::new();
        for service in &self.plan.services {
            let cpu_s = service.process.cpu_s();
            observed.push((cpu_s, Sample::take(&self.http, &service.metrics).await?));
        }
        Ok(observed)
    }
}

/// Runs `answer` on as many threads as there are cores until `duration` is over; each call gives how many answers it
/// made. Gives answers per second, for [`Bare`].
///
/// # Errors
/// The first failure of any call, or that there were too few to tell.
pub fn on_every_core<W: Send>(
    workers: &mut [W],
    duration: Duration,
    answer: impl Fn(&mut W, usize) -> Result<usize, String> + Sync,
) -> Result<f64, String> {
    let started = Instant::now();
    // When each answer was there.
    let work = |worker: &mut W| -> Result<Vec<f64>, String> {
        let mut moments = Vec::new();
        for turn in 0.. {
            let answers = answer(worker, turn)?;
            let moment = started.elapsed();
            // What is finished later was not made under full load.
            if moment >= duration {
                break;
            }
            moments.extend(std::iter::repeat_n(moment.as_secs_f64(), answers));
        }
        Ok(moments)
    };
    let moments: Result<Vec<Vec<f64>>, String> = std::thread::scope(|scope| {
        let threads: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(|| work(worker))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a worker panicked".to_owned())?).collect()
    });
    let mut moments = moments?.concat();
    moments.sort_unstable_by(f64::total_cmp);
    pace(&moments).ok_or_else(|| "too few answers to tell how many there are: measure for longer".to_owned())
}

impl Report {
    fn of(plan: &Plan) -> Self {
        let unused = |service: &Watched| Use {
            service: service.clone(),
            certified_cpu_s: 0.0,
            uncertified_cpu_s: 0.0,
            certified: Sample::default(),
            resident_bytes: 0,
        };
        Self {
            clients: plan.clients,
            rows: plan.rows.iter().map(|row| (row.name.clone(), Vec::new())).collect(),
            services: plan.services.iter().map(unused).collect(),
            certified_answers: 0,
            uncertified_answers: 0,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "throughput in answers/s; latency in ms")?;
        for (name, rounds) in &self.rows {
            writeln!(f, "\n{name}, {} clients at once", self.clients)?;
            rows(f, rounds)?;
            ratios(f, rounds)?;
        }
        self.stages(f)?;
        self.resources(f)
    }
}

fn rows(f: &mut fmt::Formatter<'_>, rounds: &[Round]) -> fmt::Result {
    writeln!(f, "{:<6} {:<12} {:>10} {:>8} {:>8} {:>8}", "ROUND", "KIND", "PER S", "P50", "P95", "P99")?;
    for (round, figures) in rounds.iter().enumerate() {
        for (kind, run) in [("certified", &figures.certified), ("uncertified", &figures.uncertified)] {
            let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| run.quantile_ms(share));
            writeln!(f, "{:<6} {kind:<12} {:>10.1} {p50:>8.1} {p95:>8.1} {p99:>8.1}", round + 1, run.throughput)?;
        }
        if let Some(bare) = figures.bare {
            writeln!(f, "{:<6} {:<12} {bare:>10.1}", round + 1, "bare models")?;
        }
    }
    Ok(())
}

fn ratios(f: &mut fmt::Formatter<'_>, rounds: &[Round]) -> fmt::Result {
    let over = |base: fn(&Round) -> Option<f64>| {
        Spread::of(rounds.iter().filter_map(|round| Some(round.certified.throughput / base(round)?)))
    };
    let against =
        [("uncertified", over(|round| Some(round.uncertified.throughput))), ("bare models", over(|round| round.bare))];
    for (base, ratio) in against {
        if let Some(ratio) = ratio {
            writeln!(f, "certified / {base} throughput: {ratio}")?;
        }
    }
    let p50 = |run: &Run| run.quantile_ms(0.5);
    let alone = Spread::of(rounds.iter().map(|round| p50(&round.alone_certified)))
        .zip(Spread::of(rounds.iter().map(|round| p50(&round.alone_uncertified))));
    let added = Spread::of(rounds.iter().map(|round| p50(&round.alone_certified) - p50(&round.alone_uncertified)));
    if let (Some((certified, uncertified)), Some(Spread { least, median, most })) = (alone, added) {
        writeln!(
            f,
            "one client, p50: certified {:.1} ms, uncertified {:.1} ms, added {median:.1} ms (least {least:.1}, most {most:.1})",
            certified.median, uncertified.median
        )?;
    }
    Ok(())
}

impl Report {
    fn stages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<18} {:<10} {:>10} {:>10}", "STAGES, CERTIFIED", "STAGE", "COUNT", "MEAN MS")?;
        for line in &self.services {
            for (stage, count, mean_ms) in line.certified.stages(line.service.stages) {
                writeln!(f, "{:<18} {stage:<10} {count:>10.0} {mean_ms:>10.2}", line.service.process.name)?;
            }
        }
        Ok(())
    }

    fn resources(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["CERTIFIED", "MS/ANSWER", "UNCERTIFIED", "MS/ANSWER", "RSS MB"];
        writeln!(
            f,
            "\n{:<18} {:>10} {:>10} {:>12} {:>10} {:>8}",
            "CPU SECONDS", head[0], head[1], head[2], head[3], head[4]
        )?;
        let per = |seconds: f64, answers: usize| seconds * 1e3 / answers.max(1) as f64;
        for line in &self.services {
            let (certified, uncertified) = (line.certified_cpu_s, line.uncertified_cpu_s);
            writeln!(
                f,
                "{:<18} {certified:>10.2} {:>10.3} {uncertified:>12.2} {:>10.3} {:>8.0}",
                line.service.process.name,
                per(certified, self.certified_answers),
                per(uncertified, self.uncertified_answers),
                line.resident_bytes as f64 / 1e6,
            )?;
        }
        let ledgers = self.services.iter().map(|line| &line.certified);
        let most = |name: &str| ledgers.clone().map(|sample| sample.value(name)).fold(0.0, f64::max);
        let results = most("dropbear_coordinator_requests_total{result=\"recorded\"}");
        let (blocks, bytes) =
            (most("dropbear_coordinator_blocks_total"), most("dropbear_coordinator_ledger_bytes_total"));
        if results > 0.0 && blocks > 0.0 {
            writeln!(
                f,
                "\nledger: {:.0} bytes per certified result; {:.1} results per block",
                bytes / results,
                results / blocks
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_counts_its_answers_and_the_first_failure_ends_it() {
        let mut workers = [0usize; 2];
        let per_s = on_every_core(&mut workers, Duration::from_millis(200), |made, _| {
            *made += 1;
            std::thread::sleep(Duration::from_millis(1));
            Ok(1)
        });
        assert!(workers.iter().all(|made| *made > 0) && per_s.is_ok_and(|per_s| per_s > 0.0 && per_s < 4e3));
        let failed = on_every_core(&mut workers, Duration::from_secs(60), |_, _| Err("no model".into()));
        assert_eq!(failed, Err("no model".into()));
    }
}
