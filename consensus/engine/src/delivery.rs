//! Final blocks on their way to the replica: in order, one at a time, acknowledged when durable.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::marshal::Update;
use commonware_consensus::{Heightable as _, Reporter};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_utils::Acknowledgement as _;
use commonware_utils::acknowledgement::Exact;
use tokio::sync::{mpsc, watch};

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
    delivered: watch::Sender<u64>,
    replica: Arc<dyn DynReplica>,
    counters: Arc<Counters>,
}

impl Delivery {
    /// Also returns where blocks come in, and the height of the last delivered block.
    pub(crate) fn new(replica: Arc<dyn DynReplica>, counters: Arc<Counters>) -> (Inbox, watch::Receiver<u64>, Self) {
        let (sender, blocks) = mpsc::unbounded_channel();
        let (delivered, height) = watch::channel(0);
        let delivery = Self { blocks, delivered, replica, counters };
        (Inbox(sender), height, delivery)
    }

    /// Delivers until the engine ends.
    pub(crate) async fn run(mut self) {
        while let Some((block, acknowledgement)) = self.blocks.recv().await {
            let height = block.height().get();
            if height > 0 {
                self.replica.finalized(block.inner().ordered(block.digest())).await;
            }
            self.counters.delivered(height);
            self.delivered.send_replace(height);
            acknowledgement.acknowledge();
        }
    }
}
