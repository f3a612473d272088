//! A closed-loop load that writes down what it saw.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::log::{Event, write};
use crate::load::{LoadError, Question, send};

/// Events that wait to be written.
const QUEUE_MAX: usize = 4096;

/// The one clock of a log.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since its start.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Where events are written down; clones write to the same file.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// What times are taken from.
    pub clock: Clock,
    events: mpsc::Sender<Event>,
}

/// The file being written.
#[derive(Debug)]
pub struct Recording(JoinHandle<io::Result<()>>);

impl Recorder {
    /// Begins a log in the file at `path`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be made.
    pub fn start(path: &Path) -> io::Result<(Self, Recording)> {
        let mut out = BufWriter::new(File::create(path)?);
        let (events, mut queue) = mpsc::channel(QUEUE_MAX);
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(event) = queue.blocking_recv() {
                write(&mut out, &event)?;
            }
            out.flush()
        });
        Ok((Self { clock: Clock::start(), events }, Recording(writing)))
    }

    /// Writes an event down. What cannot be written is found at the end, by [`Recording::finish`].
    pub async fn record(&self, event: Event) {
        let _ = self.events.send(event).await;
    }
}

impl Recording {
    /// Waits until everything is in the file; every recorder must be dropped.
    ///
    /// # Errors
    /// [`io::Error`] if the file could not be written.
    pub async fn finish(self) -> io::Result<()> {
        self.0.await.map_err(io::Error::other)?
    }
}

/// Asks with `clients` at once until `stop` changes, and writes each answer down, also that there was none.
///
/// # Errors
/// [`LoadError`] if no request can be made at all.
pub async fn ask(
    question: &Question,
    clients: usize,
    recorder: &Recorder,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Result<(), LoadError> {
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        tasks.spawn(one(question.clone(), client, recorder.clone(), stop.clone()));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn one(
    question: Question,
    client: usize,
    recorder: Recorder,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Result<(), LoadError> {
    let http = reqwest::Client::builder().build()?;
    for body in question.bodies.iter().cycle().skip(client) {
        if *stop.borrow() {
            break;
        }
        let start_us = recorder.clock.now_us();
        let answer = send(&http, &question.url, body).await;
        let end_us = recorder.clock.now_us();
        recorder.record(event(answer, start_us, end_us).0).await;
    }
    Ok(())
}

/// What a log says of an answer, and why it holds no certificate if it does not. A disagreement is answered with an error
/// status, and a certificate all the same.
pub(crate) fn event(answer: Result<(u16, Bytes), LoadError>, start_us: u64, end_us: u64) -> (Event, Option<LoadError>) {
    let error = match answer {
        Ok((status, body)) => match certificate(&body) {
            Some(certificate) => {
                let certificate = Some(certificate);
                return (Event::Request { start_us, end_us, certificate, id: None, error: None }, None);
            }
            None => LoadError::of(status, &body),
        },
        Err(error) => error,
    };
    let why = Some(error.to_string());
    (Event::Request { start_us, end_us, certificate: None, id: None, error: why }, Some(error))
}

fn certificate(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let places = [&body["parameters"]["certificate.0"], &body["certificate"]];
    places.into_iter().find_map(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disagreement_is_an_answer_and_a_refusal_is_none() {
        let of = |status, body: &'static str| match event(Ok((status, Bytes::from_static(body.as_bytes()))), 1, 2).0 {
            Event::Request { certificate, error, .. } => (certificate, error),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(200, r#"{"parameters":{"certificate.0":"YQ"}}"#), (Some("YQ".into()), None));
        assert_eq!(of(409, r#"{"error":"no-agreement","certificate":"Yg"}"#), (Some("Yg".into()), None));
        let (certificate, error) = of(503, r#"{"error":"insufficient"}"#);
        assert!(certificate.is_none() && error.unwrap().contains("503"));
    }
}
