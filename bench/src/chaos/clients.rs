//! Clients that go on whatever they are told, and what they saw.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::timeline::{back_us, rate};
use crate::history::load::{Clock, Recorder, event};
use crate::load::{LoadError, Question, send};

/// Far beyond the gateway's own deadline: the gateway, and not the client, must end every wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that was told no leaves the gateway alone for this long.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// A request without a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// When it was asked, in microseconds of the run's clock.
    pub start_us: u64,
    /// When its client knew.
    pub end_us: u64,
    /// The status and what the gateway calls the error; or what became of the connection.
    pub kind: String,
    /// Whether the gateway said so. Everything else is a broken promise.
    pub is_explicit: bool,
}

/// What clients saw; clones share it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What times are taken from.
    pub clock: Clock,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Ascending.
    answers_us: Vec<u64>,
    problems: Vec<Problem>,
}

impl Observed {
    /// Nothing yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) {
        let mut seen = self.seen();
        // Within the lock, so that the times ascend.
        seen.answers_us.push(self.clock.now_us());
    }

    /// Certified answers so far.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.seen().answers_us.len() as u64
    }

    /// Answers per second in this time.
    #[must_use]
    pub fn rate(&self, from_us: u64, to_us: u64) -> f64 {
        rate(&self.seen().answers_us, from_us, to_us)
    }

    /// How long after `healed_us` throughput was back at `level`; `None` as long as that cannot be told.
    #[must_use]
    pub fn back_us(&self, healed_us: u64, level: f64) -> Option<u64> {
        back_us(&self.seen().answers_us, healed_us, level, self.clock.now_us())
    }

    /// Takes out the problems of requests that were open at some time from `from_us` on.
    #[must_use]
    pub fn take_problems(&self, from_us: u64) -> Vec<Problem> {
        self.seen().problems.extract_if(.., |problem| problem.end_us >= from_us).collect()
    }
}

impl Problem {
    fn of(start_us: u64, end_us: u64, error: &LoadError) -> Self {
        let (kind, is_explicit) = match error {
            LoadError::Status(status, body) => (format!("{status} {}", clause(body)), true),
            LoadError::Http(error) if error.is_timeout() => (format!("no answer within {ANSWER_TIMEOUT:?}"), false),
            LoadError::Http(error) if error.is_connect() => ("not reachable".into(), false),
            _ => ("the connection broke".into(), false),
        };
        Self { start_us, end_us, kind, is_explicit }
    }

    /// How many of each kind.
    #[must_use]
    pub fn count(problems: &[Self]) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for problem in problems {
            *counts.entry(problem.kind.clone()).or_default() += 1;
        }
        counts
    }
}

/// The first clause of an error message: what comes after it differs from request to request.
fn clause(body: &str) -> String {
    let message = serde_json::from_str::<Value>(body).ok().and_then(|body| body["error"].as_str().map(str::to_owned));
    let message = message.unwrap_or_else(|| body.to_owned());
    let end = message.find([':', ';', '(', '{', ',']).unwrap_or(message.len());
    message[..end].trim().to_owned()
}

/// Steady load: so many clients, each of which asks at regular times and leaves out those at which it still waits.
///
/// Below what the market can do, throughput is what is asked, whatever else its machine does; what is left out was missing.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is asked.
    pub question: Question,
    /// Clients at once.
    pub clients: usize,
    /// From one request of a client to its next; at 0, each asks again as soon as it is answered.
    pub every: Duration,
}

/// Asks until `stop` changes; writes every answer down, and goes on after errors.
///
/// # Errors
/// [`LoadError`] if no request can be made at all.
pub async fn ask(
    load: &Load,
    recorder: &Recorder,
    observed: &Observed,
    stop: watch::Receiver<bool>,
) -> Result<(), LoadError> {
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for client in 0..load.clients {
        tasks.spawn(one(load.clone(), (client, begin), recorder.clone(), observed.clone(), stop.clone()));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn one(
    load: Load,
    (client, begin): (usize, Instant),
    recorder: Recorder,
    observed: Observed,
    stop: watch::Receiver<bool>,
) -> Result<(), LoadError> {
    let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build()?;
    // Clients begin one after the other, so that requests come as evenly as they can.
    let first = begin + load.every * client as u32 / load.clients as u32;
    let mut times = (!load.every.is_zero()).then(|| interval_at(first, load.every));
    times.iter_mut().for_each(|times| times.set_missed_tick_behavior(MissedTickBehavior::Skip));
    for body in load.question.bodies.iter().cycle().skip(client) {
        if let Some(times) = &mut times {
            times.tick().await;
        }
        if *stop.borrow() {
            break;
        }
        let start_us = observed.clock.now_us();
        let answer = send(&http, &load.question.url, body).await;
        let end_us = observed.clock.now_us();
        let (event, error) = event(answer, start_us, end_us);
        recorder.record(event).await;
        let Some(error) = error else {
            observed.answered();
            continue;
        };
        observed.seen().problems.push(Problem::of(start_us, end_us, &error));
        tokio::time::sleep(REFUSED_PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_what_the_gateway_calls_them() {
        let of = |status, body: &str| Problem::of(1, 2, &LoadError::Status(status, body.into())).kind;
        let (one, other) = (r#"{"error":"insufficient: 2 of 4, said alder"}"#, r#"{"error":"insufficient: 3 of 4"}"#);
        assert_eq!((of(504, one), of(504, other)), ("504 insufficient".into(), "504 insufficient".into()));
        assert_eq!(of(502, "no JSON"), "502 no JSON");
    }

    #[test]
    fn problems_are_taken_once() {
        let observed = Observed::new(Clock::start());
        let problem = |end_us| Problem { start_us: 0, end_us, kind: "504 late".into(), is_explicit: true };
        observed.seen().problems.extend([problem(5), problem(10)]);
        assert_eq!(observed.take_problems(7), [problem(10)]);
        assert_eq!(observed.take_problems(0), [problem(5)]);
    }
}
