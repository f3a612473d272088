//! Members that break the rules above the engine.

use bytes::Bytes;
use dropbear_engine::{EngineFault, Memory, OrderedBlock, Replica, Role};

/// Never proposes anything, whatever waits.
#[derive(Clone)]
pub(crate) struct Censor<R>(pub(crate) R);

impl<R: Replica> Replica for Censor<R> {
    fn memory(&self) -> Memory {
        self.0.memory()
    }

    fn testify(&self, _: usize) -> Bytes {
        // Nor does it tell what it heard.
        Bytes::new()
    }

    fn has_forgotten(&self, testimony: Bytes) -> bool {
        self.0.has_forgotten(testimony)
    }

    async fn begin(&self, role: Role) {
        self.0.begin(role).await;
    }

    fn height(&self) -> u64 {
        self.0.height()
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        self.0.knows(digest)
    }

    async fn propose(&self, _: [u8; 32], _: Vec<OrderedBlock>) -> Option<Bytes> {
        std::future::pending().await
    }

    async fn verify(&self, ancestors: Vec<OrderedBlock>, block: OrderedBlock) -> bool {
        self.0.verify(ancestors, block).await
    }

    async fn finalized(&self, block: OrderedBlock) {
        self.0.finalized(block).await;
    }

    fn relayed(&self, from: usize, message: Bytes) {
        self.0.relayed(from, message);
    }

    fn fault(&self, fault: EngineFault) {
        self.0.fault(fault);
    }
}
