//! Which coordinators answer: a gateway that reaches no quorum can certify nothing and is not ready.

use std::sync::Arc;

use dropbear_wire::v1::StatusRequest;
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};

use super::Coordinators;

const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A coordinator that takes longer to say how it stands is not counted on.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Who answers, kept up to date until it is dropped.
#[derive(Debug)]
pub(crate) struct Reach(watch::Receiver<Vec<bool>>);

impl Reach {
    /// Begins to probe every coordinator; must be called within a tokio runtime.
    pub(crate) fn start(coordinators: Arc<Coordinators>) -> Self {
        let count = coordinators.members.len();
        let (answering, receiver) = watch::channel(vec![false; count]);
        let answering = Arc::new(answering);
        for place in 0..count {
            tokio::spawn(probe(Arc::clone(&coordinators), place, Arc::clone(&answering)));
        }
        Self(receiver)
    }

    /// How many coordinators answer.
    pub(crate) fn count(&self) -> usize {
        self.0.borrow().iter().filter(|answers| **answers).count()
    }

    /// Tells when that changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Vec<bool>> {
        self.0.clone()
    }
}

async fn probe(coordinators: Arc<Coordinators>, place: usize, answering: Arc<watch::Sender<Vec<bool>>>) {
    let mut client = coordinators.client(place);
    loop {
        let answers = timeout(PROBE_TIMEOUT, client.status(StatusRequest {})).await.is_ok_and(|reply| reply.is_ok());
        answering.send_if_modified(|all| std::mem::replace(&mut all[place], answers) != answers);
        tokio::select! {
            () = answering.closed() => return,
            () = sleep(PROBE_INTERVAL) => {}
        }
    }
}
