//! Final blocks on their way to the replica: in order, one at a time, acknowledged when durable.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::marshal::Update;
use commonware_consensus::{Heightable as _, Reporter};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_utils::Acknowledgement as _;
use commonware_utils::acknowledgement::Exact;
use tokio::sync::{Notify, mpsc};

use crate::block::Block;
use crate::replica::DynReplica;
use crate::status::Counters;

/// Takes final blocks from the library. The queue behind it is bounded by the library's own bound on blocks
/// that wait for acknowledgement.
#[derive(Clone)]
pub(crate) struct Inbox(mpsc::UnboundedSender<(Digested<Block>, Exact)>);

impl Reporter for Inbox {
    type Activity = Update<Block, Exact>;

    fn report(&mut self, update: Self::Activity) -> Feedback {
        if let Update::Block(block, acknowledgement) = update
            && self.0.send((block, acknowledgement)).is_err()
        {
            return Feedback::Closed;
        }
        Feedback::Ok
    }
}

/// Hands final blocks to the replica.
pub(crate) struct Delivery {
    blocks: mpsc::UnboundedReceiver<(Digested<Block>, Exact)>,
    delivered: Arc<Notify>,
    replica: Arc<dyn DynReplica>,
    counters: Arc<Counters>,
}

impl Delivery {
    /// Also returns where blocks come in, and what tells of each delivered one.
    pub(crate) fn new(replica: Arc<dyn DynReplica>, counters: Arc<Counters>) -> (Inbox, Arc<Notify>, Self) {
        let (sender, blocks) = mpsc::unbounded_channel();
        let delivered = Arc::new(Notify::new());
        let delivery = Self { blocks, delivered: delivered.clone(), replica, counters };
        (Inbox(sender), delivered, delivery)
    }

    /// Delivers until the engine ends.
    pub(crate) async fn run(mut self) {
        while let Some((block, acknowledgement)) = self.blocks.recv().await {
            let height = block.height().get();
            if height > 0 {
                self.replica.finalized(block.inner().ordered(block.digest())).await;
            }
            self.counters.delivered(height);
            self.delivered.notify_waiters();
            acknowledgement.acknowledge();
        }
    }
}
