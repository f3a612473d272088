//! Final blocks on their way to the replica: in order, one at a time, acknowledged when durable.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::marshal::Update;
use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::Height;
use commonware_consensus::{Heightable as _, Reporter};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_utils::Acknowledgement as _;
use commonware_utils::acknowledgement::Exact;
use tokio::sync::{Notify, mpsc};
use tracing::error;

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
    pub(crate) async fn run(mut self, finals: Mailbox<Scheme, Standard<Block>>) {
        while let Some((block, acknowledgement)) = self.blocks.recv().await {
            let height = block.height().get();
            if height > 0 {
                self.fill(height, &finals).await;
                self.replica.finalized(block.inner().ordered(block.digest())).await;
            }
            self.counters.delivered(height);
            self.delivered.notify_waiters();
            acknowledgement.acknowledge();
        }
    }

    /// Delivers again what a replica acknowledged and has lost since, from what is stored here.
    async fn fill(&self, below: u64, finals: &Mailbox<Scheme, Standard<Block>>) {
        for height in self.replica.height() + 1..below {
            let Some(block) = finals.get_block(Height::new(height)).await else {
                error!(height, "a final block that the replica lost is not stored here either");
                return;
            };
            let digest = block.digest();
            self.replica.finalized(block.inner().ordered(digest)).await;
        }
    }
}
