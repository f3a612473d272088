//! What a troublesome owner costs the others: one group, asked while all is well and while one of its owners makes trouble,
//! interleaved in one run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::load::{LoadError, Question, Run, run};
use crate::spread::Spread;

/// What it is called when nobody makes trouble.
const WELL: &str = "all well";

/// One owner's trouble, which can be switched on and off.
#[derive(Clone)]
pub struct Trouble {
    /// What it is.
    pub name: String,
    /// Switches it. It may take effect a little later, but within [`Plan::settle`].
    pub switch: Arc<dyn Fn(bool) + Send + Sync>,
}

/// What to measure.
#[derive(Clone)]
pub struct Plan {
    /// Asked again and again.
    pub question: Question,
    /// Clients at once.
    pub clients: usize,
    /// What is switched on, one after the other.
    pub troubles: Vec<Trouble>,
    /// Rounds: in each, every trouble is measured once, and its absence.
    pub rounds: usize,
    /// Load before each run, so that the group gets used to what has changed.
    pub settle: Duration,
    /// Length of one run.
    pub duration: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    clients: usize,
    /// What each place of a round is about.
    names: Vec<String>,
    /// By round, then by place; all is well in the first.
    rounds: Vec<Vec<Run>>,
}

/// Runs the plan: all ways in turn, the first of each round changing, so that drift hits all of them.
///
/// # Errors
/// [`LoadError`] if any answer is not a success: no owner may cost its group an answer.
pub async fn measure(plan: &Plan) -> Result<Report, LoadError> {
    let names = std::iter::once(WELL.to_owned()).chain(plan.troubles.iter().map(|trouble| trouble.name.clone()));
    let mut report = Report { clients: plan.clients, names: names.collect(), rounds: Vec::new() };
    let ways = report.names.len();
    for round in 0..plan.rounds {
        let mut runs = vec![Run::default(); ways];
        for step in 0..ways {
            let way = (round + step) % ways;
            runs[way] = one(plan, way.checked_sub(1).map(|place| &plan.troubles[place])).await?;
        }
        report.rounds.push(runs);
    }
    Ok(report)
}

async fn one(plan: &Plan, trouble: Option<&Trouble>) -> Result<Run, LoadError> {
    let switch = |on| trouble.iter().for_each(|trouble| (trouble.switch)(on));
    switch(true);
    let measured = settled(plan).await;
    switch(false);
    measured
}

async fn settled(plan: &Plan) -> Result<Run, LoadError> {
    run(&plan.question, plan.clients, plan.settle).await?;
    run(&plan.question, plan.clients, plan.duration).await
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "certified answers/s; latency in ms; {} clients at once", self.clients)?;
        writeln!(f, "{:<6} {:<36} {:>10} {:>8} {:>8}", "ROUND", "WAY", "PER S", "P50", "P95")?;
        for (round, runs) in self.rounds.iter().enumerate() {
            for (name, run) in self.names.iter().zip(runs) {
                let [p50, p95] = [0.5, 0.95].map(|share| run.quantile_ms(share));
                writeln!(f, "{:<6} {name:<36} {:>10.1} {p50:>8.1} {p95:>8.1}", round + 1, run.throughput)?;
            }
        }
        (1..self.names.len()).try_for_each(|way| self.ratios(f, way))
    }
}

/// One figure of a run.
type Figure = fn(&Run) -> f64;

impl Report {
    /// A trouble beside its absence in the same round.
    fn ratios(&self, f: &mut fmt::Formatter<'_>, way: usize) -> fmt::Result {
        writeln!(f, "\n{}, over {WELL}", self.names[way])?;
        let figures: [(_, Figure); 3] = [
            ("throughput", |run| run.throughput),
            ("p50", |run| run.quantile_ms(0.5)),
            ("p95", |run| run.quantile_ms(0.95)),
        ];
        for (name, figure) in figures {
            let ratios = self.rounds.iter().map(|runs| figure(&runs[way]) / figure(&runs[0]));
            if let Some(ratio) = Spread::of(ratios) {
                writeln!(f, "  {name:<11} {ratio}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(latency_ms: u64, answers: usize) -> Run {
        Run {
            elapsed: Duration::from_secs(1),
            latencies: vec![Duration::from_millis(latency_ms); answers],
            answers_all: answers,
            throughput: answers as f64,
        }
    }

    #[test]
    fn each_trouble_is_put_beside_its_absence_in_the_same_round() {
        let rounds = vec![vec![run_of(10, 100), run_of(12, 90)], vec![run_of(20, 50), run_of(22, 50)]];
        let report = Report { clients: 4, names: vec![WELL.into(), "late".into()], rounds }.to_string();
        assert!(report.contains("late, over all well"), "{report}");
        assert!(report.contains("throughput  median 1.000 (least 0.900, most 1.000)"), "{report}");
        assert!(report.contains("p50         median 1.200 (least 1.100, most 1.200)"), "{report}");
    }

    #[tokio::test]
    async fn trouble_ends_with_its_run_even_where_that_fails() {
        let (told, said) = std::sync::mpsc::channel();
        let switch = Arc::new(move |on| told.send(on).unwrap());
        // Nobody listens there.
        let body = crate::load::Body { bytes: "{}".into(), json_length: None };
        let plan = Plan {
            question: Question { url: "http://127.0.0.1:1/".into(), bodies: Arc::new(vec![body]) },
            clients: 1,
            troubles: vec![Trouble { name: "late".into(), switch }],
            rounds: 1,
            settle: Duration::from_secs(60),
            duration: Duration::from_secs(60),
        };
        assert!(matches!(one(&plan, plan.troubles.first()).await, Err(LoadError::Http(_))));
        assert_eq!(said.try_iter().collect::<Vec<_>>(), [true, false]);
    }
}
