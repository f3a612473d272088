//! The replica as the library sees it: proposing, judging, and the blocks between.

use std::sync::Arc;

use bytes::Bytes;
use commonware_consensus::marshal::Identifier;
use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Context;
use commonware_consensus::types::Height;
use commonware_consensus::{Application, Heightable as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digested, Digestible as _};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock, Metrics, Spawner};
use futures::future::{Either, pending, select};
use futures::{StreamExt as _, pin_mut};
use tokio::sync::Notify;
use tracing::error;

use crate::OrderedBlock;
use crate::block::Block;
use crate::config::Timing;
use crate::replica::DynReplica;

/// Blocks that a replica replays at most before it proposes or judges. A replica that lacks more first waits
/// for final blocks to be delivered.
const ANCESTORS_MAX: usize = 64;

/// A leader that has not got what it extends after this part of its turn will not have it in time.
const MOMENTS_OF_TURN: u32 = 8;

/// Turns the library's calls into the replica's.
#[derive(Clone)]
pub(crate) struct Adapter {
    pub(crate) replica: Arc<dyn DynReplica>,
    pub(crate) block_size_bytes_max: usize,
    pub(crate) timing: Timing,
    /// Knows which blocks are final.
    pub(crate) finals: Mailbox<Scheme, Standard<Block>>,
    /// Notified whenever the replica made a final block durable.
    pub(crate) delivered: Arc<Notify>,
}

impl Adapter {
    /// Our block on `ancestry`; `None` when the replica declines.
    async fn extend(&self, clock: &impl Clock, ancestry: impl Ancestry<Block>) -> Option<Digested<Block>> {
        let parent = ancestry.peek()?.clone();
        let ancestors = self.unknown(ancestry).await?;
        let proposal = self.replica.propose(parent.digest().0, ancestors);
        let settling = Box::pin(self.settle(clock, parent.height()));
        let payload = match select(proposal, settling).await {
            Either::Left((payload, _)) => payload.filter(|payload| !payload.is_empty())?,
            Either::Right(((), _)) => Bytes::new(),
        };
        if payload.len() > self.block_size_bytes_max {
            error!(
                size = payload.len(),
                max = self.block_size_bytes_max,
                "the replica proposed an oversized block: not proposed"
            );
            return None;
        }
        let block = Block { parent: parent.digest(), height: Height::new(parent.height().get() + 1), payload };
        Some(Digested::compute(block, &Sequential).await)
    }

    /// Whether the replica lacks what it would extend, and does not get it in a moment: after a pause, a restart or a
    /// partition. It then gives up its turns at once, or the committee would wait for it in vain once a round until it has
    /// caught up. Nobody spins through views: the other leaders are not behind.
    async fn is_behind(&self, clock: &impl Clock, ancestry: impl Ancestry<Block>) -> bool {
        let known = self.unknown(ancestry);
        let moment = clock.sleep(self.timing.turn / MOMENTS_OF_TURN);
        pin_mut!(known, moment);
        matches!(select(known, moment).await, Either::Right(_))
    }

    /// Resolves if the block at `height`, our parent, is overdue to be final.
    ///
    /// Votes to finalize are sent once. Where too few arrive, a block stays notarized until a block above it is
    /// final, and an idle committee would never make one.
    async fn settle(&self, clock: &impl Clock, height: Height) {
        clock.sleep(self.timing.settle).await;
        let latest = self.finals.get_info(Identifier::Latest).await;
        if height.is_zero() || latest.is_some_and(|(latest, _)| latest >= height) {
            pending().await
        }
    }

    /// The blocks of `ancestry` above the newest one that the replica knows, oldest first; `None` if the chain
    /// ends before.
    async fn unknown(&self, ancestry: impl Ancestry<Block>) -> Option<Vec<OrderedBlock>> {
        loop {
            let delivered = self.delivered.notified();
            pin_mut!(delivered);
            // Notifications from here on count, those during the walk included.
            delivered.as_mut().enable();
            let mut chain = ancestry.clone();
            let mut blocks = Vec::new();
            while blocks.len() <= ANCESTORS_MAX {
                let block = chain.next().await?;
                if self.replica.knows(&block.digest().0) {
                    blocks.reverse();
                    return Some(blocks);
                }
                blocks.push(block.inner().ordered(block.digest()));
            }
            drop(blocks);
            delivered.await;
        }
    }
}

impl<E: Clock + Spawner + Metrics> Application<E> for Adapter {
    type SigningScheme = Scheme;
    type Context = Context<Digest, PublicKey>;
    type Block = Block;
    type Input = ();

    /// Proposes as soon as the replica has something, or a block is overdue to be final, until our turn ends.
    ///
    /// A leader with nothing to order gives up its turn shortly before the others would give it up: so idle
    /// views end by one decision of the leader and not by a race of four clocks, in which a block proposed at
    /// the last moment would find half of the committee gone. A declining replica waits for the same end:
    /// giving up at once would have the committee spin through views.
    async fn propose(
        &mut self,
        (clock, _): (E, Self::Context),
        ancestry: impl Ancestry<Block>,
        _: (),
    ) -> Option<Digested<Block>> {
        if self.is_behind(&clock, ancestry.clone()).await {
            return None;
        }
        let turn = clock.sleep(self.timing.turn);
        let block = async {
            match self.extend(&clock, ancestry).await {
                Some(block) => block,
                None => pending().await,
            }
        };
        pin_mut!(turn, block);
        match select(block, turn).await {
            Either::Left((block, _)) => Some(block),
            Either::Right(_) => None,
        }
    }

    /// Judges by the replica; a chain that cannot be replayed is no verdict.
    async fn verify(&mut self, _: (E, Self::Context), mut ancestry: impl Ancestry<Block>) -> bool {
        let Some(block) = ancestry.next().await else {
            return pending().await;
        };
        let Some(ancestors) = self.unknown(ancestry).await else {
            return pending().await;
        };
        self.replica.verify(ancestors, block.inner().ordered(block.digest())).await
    }
}
