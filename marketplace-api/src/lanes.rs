//! Every group's lanes: each begins with the first request that is asked of its group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dropbear_wire::follow::Follower;
use tokio::sync::{Semaphore, mpsc};

use crate::ask::Failure;
use crate::config::Limits;
use crate::coordinators::Coordinators;
use crate::directory::Directory;
use crate::evidence::Reported;
use crate::lane::{Item, Lane};
use crate::market::Market;
use crate::metrics::Metrics;

/// Where a lane's items go in.
type Entrance = mpsc::UnboundedSender<Vec<Item>>;

/// One lane for each group that was asked, and each way of asking: groups are as many as the ledger holds.
#[derive(Debug)]
pub(crate) struct Lanes {
    makings: Makings,
    begun: Mutex<BTreeMap<(String, bool), Entrance>>,
}

impl Lanes {
    pub(crate) fn new(makings: Makings) -> Self {
        Self { makings, begun: Mutex::default() }
    }

    /// Gives items to their lane. The group is one that the ledger knows.
    pub(crate) fn enqueue(&self, group: &str, certified: bool, items: Vec<Item>) -> Result<(), Failure> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = begun.entry((group.to_owned(), certified));
        let lane = lane.or_insert_with(|| self.makings.lane(group, certified).start());
        lane.send(items).map_err(|_| Failure::Internal("a lane has ended"))
    }
}

/// What every lane is made of.
#[derive(Debug)]
pub(crate) struct Makings {
    pub(crate) market: Arc<Market>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) coordinators: Arc<Coordinators>,
    pub(crate) follower: Follower,
    pub(crate) directory: Arc<Directory>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) late_room: Arc<Semaphore>,
    pub(crate) late_turns: Arc<Semaphore>,
    pub(crate) reported: Arc<Reported>,
    pub(crate) metrics: Metrics,
}

impl Makings {
    fn lane(&self, group: &str, certified: bool) -> Lane {
        Lane {
            group: group.into(),
            certified,
            market: Arc::clone(&self.market),
            coordinators: Arc::clone(&self.coordinators),
            directory: Arc::clone(&self.directory),
            experience: Mutex::default(),
            follower: self.follower.clone(),
            limits: Arc::clone(&self.limits),
            permits: Arc::clone(&self.permits),
            late_room: Arc::clone(&self.late_room),
            late_turns: Arc::clone(&self.late_turns),
            reported: Arc::clone(&self.reported),
            metrics: self.metrics.clone(),
        }
    }
}
