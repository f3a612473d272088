//! What a model node makes of its backend: its throughput at saturation, asked as gateways ask it, beside sessions of the
//! same model without a node; interleaved in one run.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dropbear_certificates::{Ballot, Vote};
use dropbear_wire::infer::InferClient;

use crate::batches::Batches;
use crate::load::LoadError;
use crate::pace::pace;
use crate::spread::Spread;

/// A node that takes longer for a batch is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs sessions without a node for so long; gives when each batch was done. Called on a thread that may block.
pub type Sessions = Arc<dyn Fn(Duration) -> Result<Vec<Instant>, String> + Send + Sync>;

/// Who infers.
#[derive(Clone)]
pub enum Who {
    /// Sessions without a node.
    Sessions(Sessions),
    /// An owner's nodes.
    Nodes {
        /// Where they are.
        addresses: Vec<SocketAddr>,
        /// Batches that each of them has at once.
        in_flight: usize,
    },
}

/// One that is measured.
#[derive(Clone)]
pub struct Subject {
    /// What it is.
    pub name: String,
    /// Who infers.
    pub who: Who,
    /// The place of the subject that it is compared with.
    pub beside: Option<usize>,
}

/// What to measure.
#[derive(Clone)]
pub struct Plan {
    /// Everything that is measured once in each round.
    pub subjects: Vec<Subject>,
    /// What nodes are asked.
    pub batches: Arc<Batches>,
    /// Requests in one batch, of nodes and sessions alike.
    pub batch_size: usize,
    /// Rounds.
    pub rounds: usize,
    /// Length of one run.
    pub duration: Duration,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    batch_size: usize,
    /// Name, and place of what it is compared with.
    subjects: Vec<(String, Option<usize>)>,
    /// Answers per second, by round and subject.
    rounds: Vec<Vec<f64>>,
}

/// Runs the plan: all subjects in turn, the first of each round changing, so that drift hits all of them.
///
/// # Errors
/// [`LoadError`] if a node gives no ballot, abstains or a run is too short to say anything.
pub async fn measure(plan: &Plan) -> Result<Report, LoadError> {
    let subjects: Vec<_> = plan.subjects.iter().map(|subject| (subject.name.clone(), subject.beside)).collect();
    let mut report = Report { batch_size: plan.batch_size, subjects, rounds: Vec::new() };
    let subjects = plan.subjects.len();
    for round in 0..plan.rounds {
        let mut figures = vec![0.0; subjects];
        for step in 0..subjects {
            let place = (round + step) % subjects;
            figures[place] = one(plan, &plan.subjects[place]).await?;
        }
        report.rounds.push(figures);
    }
    Ok(report)
}

/// Answers per second.
async fn one(plan: &Plan, subject: &Subject) -> Result<f64, LoadError> {
    let (duration, started) = (plan.duration, Instant::now());
    let mut done = match &subject.who {
        Who::Sessions(sessions) => {
            let sessions = Arc::clone(sessions);
            tokio::task::spawn_blocking(move || sessions(duration)).await?.map_err(LoadError::Bare)?
        }
        Who::Nodes { addresses, in_flight } => ask(plan, addresses, *in_flight, started + duration).await?,
    };
    // What is finished later was not made under full load.
    done.retain(|moment| *moment <= started + duration);
    done.sort_unstable();
    let moments: Vec<_> = done.iter().map(|moment| moment.duration_since(started).as_secs_f64()).collect();
    let batches_per_s = pace(&moments).ok_or_else(|| LoadError::Short(subject.name.clone()))?;
    Ok(batches_per_s * plan.batch_size as f64)
}

/// Keeps `in_flight` batches at each node; gives when each ballot came.
async fn ask(plan: &Plan, nodes: &[SocketAddr], in_flight: usize, until: Instant) -> Result<Vec<Instant>, LoadError> {
    let askers = nodes.iter().flat_map(|node| std::iter::repeat_n(*node, in_flight));
    let tasks: Vec<_> =
        askers.map(|node| tokio::spawn(ask_one(Arc::clone(&plan.batches), plan.batch_size, node, until))).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.extend(task.await??);
    }
    Ok(done)
}

async fn ask_one(
    batches: Arc<Batches>,
    size: usize,
    node: SocketAddr,
    until: Instant,
) -> Result<Vec<Instant>, LoadError> {
    let client = InferClient::new(node);
    let mut done = Vec::new();
    while Instant::now() < until {
        let failed = |problem: String| LoadError::Node(node, problem);
        let reply = client
            .infer(&batches.next(size), ANSWER_TIMEOUT)
            .await
            .map_err(|status| failed(status.message().into()))?;
        done.push(Instant::now());
        let ballot = Ballot::from_bytes(&reply.ballot).map_err(|error| failed(error.to_string()))?;
        let votes = ballot.answers.iter().filter(|answer| answer.vote != Vote::Abstain).count();
        if votes != size {
            return Err(failed(format!("{votes} votes for {size} requests")));
        }
    }
    Ok(done)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "answers/s at saturation, in batches of {}", self.batch_size)?;
        writeln!(f, "{:<6} {:<36} {:>10} {:>8}", "ROUND", "WHO", "PER S", "RATIO")?;
        for (round, figures) in self.rounds.iter().enumerate() {
            for ((name, beside), figure) in self.subjects.iter().zip(figures) {
                let ratio = beside.map_or_else(String::new, |place| format!("{:.3}", figure / figures[place]));
                writeln!(f, "{:<6} {name:<36} {figure:>10.1} {ratio:>8}", round + 1)?;
            }
        }
        writeln!(f)?;
        for (place, (name, beside)) in self.subjects.iter().enumerate() {
            let Some(beside) = *beside else { continue };
            if let Some(ratio) = Spread::of(self.rounds.iter().map(|figures| figures[place] / figures[beside])) {
                writeln!(f, "{name} / {}: {ratio}", self.subjects[beside].0)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_put_beside_its_own() {
        let subjects = vec![("one session".into(), None), ("one worker".into(), Some(0))];
        let report = Report { batch_size: 8, subjects, rounds: vec![vec![50.0, 49.0], vec![40.0, 40.0]] }.to_string();
        assert!(report.contains("one worker / one session: median 1.000 (least 0.980, most 1.000)"), "{report}");
    }
}
