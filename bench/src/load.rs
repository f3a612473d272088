//! A closed-loop load generator: so many clients, each asking again as soon as it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::pace::pace;

/// The ramp is this part of the run that counts.
const RAMP: u32 = 3;

/// Why a load run is worthless.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The service cannot be asked.
    #[error("the gateway does not answer: {0}")]
    Http(#[from] reqwest::Error),
    /// It answered with an error.
    #[error("the gateway answered {0}: {1}")]
    Status(u16, String),
    /// A client task panicked.
    #[error("a client of the load generator failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// A model node gave no ballot, or not a vote on everything.
    #[error("the model node {0} gave no full ballot: {1}")]
    Node(SocketAddr, String),
    /// A run with hardly an answer.
    #[error("too few answers of {0} to tell how many there are: measure for longer")]
    Short(String),
    /// The baseline that needs no market failed.
    #[error("the bare models failed: {0}")]
    Bare(String),
}

/// The body of one Open Inference Protocol request.
#[derive(Clone, Debug)]
pub struct Body {
    /// What is posted.
    pub bytes: Bytes,
    /// Bytes of its JSON part, where raw tensor data follows.
    pub json_length: Option<usize>,
}

/// One question, asked again and again.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where to post it.
    pub url: String,
    /// What to post; taken in turn.
    pub bodies: Arc<Vec<Body>>,
}

/// What a load run measured, between its ramp and its end.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The time that counts.
    pub elapsed: Duration,
    /// The latency of each answer that came in that time, ascending.
    pub latencies: Vec<Duration>,
    /// All answers, those before and after that time included.
    pub answers_all: usize,
    /// Answers per second.
    pub throughput: f64,
}

impl Run {
    /// The latency that this share of the answers does not exceed, in milliseconds; 0 for no answers.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        self.latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Asks with `clients` at once, for the ramp and then for `duration`. Answers count that come within `duration`: neither
/// the first ones, when all clients have asked at once, nor the last ones, when they leave one by one.
///
/// # Errors
/// [`LoadError`] at the first answer that is not a success: a benchmark of failures is none.
pub async fn run(question: &Question, clients: usize, duration: Duration) -> Result<Run, LoadError> {
    let begin = Instant::now() + duration / RAMP;
    let end = begin + duration;
    let tasks: Vec<_> = (0..clients).map(|client| tokio::spawn(ask(question.clone(), client, end))).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await??);
    }
    let answers_all = answers.len();
    answers.retain(|(at, _)| (begin..end).contains(at));
    answers.sort_unstable();
    let moments: Vec<_> = answers.iter().map(|(at, _)| at.duration_since(begin).as_secs_f64()).collect();
    // Answers come in batches: how many of those fall into the time is chance, where they are few.
    let throughput = pace(&moments).unwrap_or(moments.len() as f64 / duration.as_secs_f64());
    let mut latencies: Vec<_> = answers.into_iter().map(|(_, latency)| latency).collect();
    latencies.sort_unstable();
    Ok(Run { elapsed: duration, latencies, answers_all, throughput })
}

/// Each answer: when it came, and how long it took.
async fn ask(question: Question, client: usize, until: Instant) -> Result<Vec<(Instant, Duration)>, LoadError> {
    let http = reqwest::Client::builder().build()?;
    let mut answers = Vec::new();
    for body in question.bodies.iter().cycle().skip(client) {
        let asked = Instant::now();
        if asked >= until {
            break;
        }
        post(&http, &question.url, body).await?;
        answers.push((Instant::now(), asked.elapsed()));
    }
    Ok(answers)
}

/// Asks once and reads the whole answer.
///
/// # Errors
/// [`LoadError`] if the answer is not a success.
pub async fn post(http: &reqwest::Client, url: &str, body: &Body) -> Result<Bytes, LoadError> {
    match send(http, url, body).await? {
        (200, answer) => Ok(answer),
        (status, answer) => Err(LoadError::of(status, &answer)),
    }
}

/// Asks once and reads the whole answer, whatever its status.
///
/// # Errors
/// [`LoadError::Http`] if there is none.
pub async fn send(http: &reqwest::Client, url: &str, body: &Body) -> Result<(u16, Bytes), LoadError> {
    let request = http.post(url).body(body.bytes.clone());
    let request = match body.json_length {
        Some(length) => request
            .header("content-type", "application/octet-stream")
            .header("inference-header-content-length", length.to_string()),
        None => request.header("content-type", "application/json"),
    };
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.bytes().await?))
}

impl LoadError {
    /// That the answer was no success.
    pub(crate) fn of(status: u16, answer: &[u8]) -> Self {
        Self::Status(status, String::from_utf8_lossy(answer).chars().take(300).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_known_run() {
        let latencies = (1..=101).map(Duration::from_millis).collect();
        let run = Run { latencies, ..Run::default() };
        assert!((run.quantile_ms(0.5) - 51.0).abs() < 1e-9);
        assert!((run.quantile_ms(1.0) - 101.0).abs() < 1e-9);
        assert!(Run::default().quantile_ms(0.5).abs() < 1e-9);
    }
}
