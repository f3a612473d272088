//! A lane: one group's way through the gateway, certified or not, from admitted items to running rounds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dropbear_certificates::Digest;
use dropbear_wire::convert::GroupView;
use dropbear_wire::follow::{Follower, LedgerView};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};

use crate::ask::{Answered, Failure, Unanswered};
use crate::batch::{BatchRules, Batchable, Batcher};
use crate::config::Limits;
use crate::coordinators::Coordinators;
use crate::directory::{Directory, Owners};
use crate::evidence::Reported;
use crate::experience::Experience;
use crate::market::Market;
use crate::metrics::Metrics;
use crate::mint::Minted;
use crate::needed::requests_fit;
use crate::round;

/// An admitted request on its way; the reply handle rides with it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) minted: Arc<Minted>,
    pub(crate) admitted: Instant,
    pub(crate) deadline: Instant,
    pub(crate) reply: Option<oneshot::Sender<Answered>>,
    /// The item's place among those in flight, until it is answered.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

impl Item {
    /// Answers the item; nobody minds if the client has left.
    pub(crate) fn answer(&mut self, answered: Answered) {
        self.permit = None;
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(answered);
        }
    }

    /// Answers the item with a failure.
    pub(crate) fn fail(&mut self, failure: Failure) {
        let request_id = self.minted.naming.request_id;
        match failure {
            // The client's own doing, and as frequent as it likes.
            Failure::BadInput(_) | Failure::Unreadable(_) => tracing::debug!(%request_id, %failure, "no answer"),
            _ => tracing::info!(%request_id, %failure, "no answer"),
        }
        let naming = self.minted.naming;
        self.answer(Err(Box::new(Unanswered { naming, failure })));
    }

    /// Whether the client has left.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

impl Batchable for Item {
    fn id(&self) -> Digest {
        self.minted.naming.request_id
    }

    fn bytes(&self) -> usize {
        const AROUND_THE_INPUT: usize = 1024;
        self.minted.input.data.len() + AROUND_THE_INPUT
    }
}

/// What a lane's rounds work with.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) group: String,
    pub(crate) certified: bool,
    pub(crate) market: Arc<Market>,
    pub(crate) coordinators: Arc<Coordinators>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) experience: Mutex<Experience>,
    pub(crate) follower: Follower,
    pub(crate) limits: Arc<Limits>,
    /// What admission takes permits from.
    pub(crate) permits: Arc<Semaphore>,
    /// Bytes that may be kept for late ballots, in all lanes.
    pub(crate) late_room: Arc<Semaphore>,
    /// Entries with late ballots that may be submitted at once, in all lanes.
    pub(crate) late_turns: Arc<Semaphore>,
    /// Owners that this gateway reported.
    pub(crate) reported: Arc<Reported>,
    pub(crate) metrics: Metrics,
}

impl Lane {
    /// The group's owners as this gateway reaches them.
    pub(crate) fn owners(&self, group: &Arc<GroupView>) -> Arc<Owners> {
        self.directory.owners(group)
    }

    /// What was learned of them.
    pub(crate) fn experience(&self) -> MutexGuard<'_, Experience> {
        self.experience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group as the ledger stands, if the view can be believed so far: its charter is proven.
    pub(crate) fn group_view(&self, view: &LedgerView) -> Option<Arc<GroupView>> {
        let group = view.groups.get(&self.group)?;
        self.market.believes(group).then(|| Arc::clone(group))
    }

    /// The group as the ledger stands, as soon as it can be believed. `None` if that takes until `until`, or if nobody
    /// tells how the ledger stands.
    pub(crate) async fn standing(
        &self,
        view: &mut watch::Receiver<LedgerView>,
        until: Instant,
    ) -> Option<(Arc<GroupView>, u64)> {
        let mut trusted = self.market.trust_changes();
        loop {
            trusted.borrow_and_update();
            {
                let view = view.borrow_and_update();
                if let Some(group) = self.group_view(&view) {
                    return Some((group, view.seq));
                }
                if !view.registry.groups.contains_key(&self.group) {
                    return None;
                }
            }
            tokio::select! {
                changed = view.changed() => changed.ok()?,
                changed = trusted.changed() => changed.ok()?,
                () = sleep_until(until) => return None,
            }
        }
    }

    pub(crate) fn view(&self) -> watch::Receiver<LedgerView> {
        self.follower.view()
    }

    /// Requests in flight in all lanes of the gateway.
    pub(crate) fn in_flight(&self) -> usize {
        self.limits.items_in_flight_max - self.permits.available_permits()
    }

    fn batch_rules(&self) -> BatchRules {
        let fitting = self.follower.view().borrow().groups.get(&self.group).map(|group| requests_fit(&group.charter));
        BatchRules {
            size_max: self.limits.batch_size_max.min(fitting.unwrap_or(usize::MAX)),
            bytes_max: self.limits.batch_bytes_max,
            in_flight_max: self.limits.batches_in_flight_max,
            delay: Duration::from_micros(self.limits.batch_delay_us),
        }
    }

    /// Starts the lane; it ends, after its last round, when the sender is dropped.
    pub(crate) fn start(self) -> mpsc::UnboundedSender<Vec<Item>> {
        // Unbounded in form only: every item in it holds one of the permits of admission.
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(Arc::new(self), receiver));
        sender
    }
}

async fn run(lane: Arc<Lane>, mut admitted: mpsc::UnboundedReceiver<Vec<Item>>) {
    let mut batcher: Batcher<Item> = Batcher::new(lane.batch_rules());
    let mut rounds = JoinSet::new();
    // Unbounded in form only: one message a batch.
    let (free, mut freed) = mpsc::unbounded_channel();
    loop {
        // A changed charter may have longer votes, or more of them.
        batcher.set_rules(lane.batch_rules());
        while let Some(batch) = batcher.take(std::time::Instant::now()) {
            rounds.spawn(round::run(Arc::clone(&lane), batch, Slot(free.clone())));
        }
        let due = batcher.due().map(Instant::from_std);
        tokio::select! {
            items = admitted.recv() => match items {
                Some(items) => push(&mut batcher, items, &mut admitted),
                None => break,
            },
            Some(ended) = rounds.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, group = lane.group, "a round failed");
                }
            }
            Some(()) = freed.recv() => batcher.done(),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
    while rounds.join_next().await.is_some() {}
}

/// A batch's place among those that owners work on; dropping it makes room for the next.
#[derive(Debug)]
pub(crate) struct Slot(mpsc::UnboundedSender<()>);

impl Drop for Slot {
    fn drop(&mut self) {
        // A lane that has ended needs no room.
        let _ = self.0.send(());
    }
}

/// Queues items, and all others that are there already: they share a batch if they fit.
fn push(batcher: &mut Batcher<Item>, first: Vec<Item>, admitted: &mut mpsc::UnboundedReceiver<Vec<Item>>) {
    let now = std::time::Instant::now();
    let mut next = Some(first);
    while let Some(items) = next {
        items.into_iter().for_each(|item| batcher.push(item, now));
        next = admitted.try_recv().ok();
    }
}
