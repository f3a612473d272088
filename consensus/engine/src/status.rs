//! What an engine tells about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An engine's progress since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The highest view that ended.
    pub view: u64,
    /// Views that ended with a final block, as far as this engine saw their certificate.
    pub views_finalized: u64,
    /// Views that ended without a block: idle turns, dead leaders, lost messages.
    pub views_nullified: u64,
    /// The height of the last block that the replica made durable; 0 before the first since the start.
    pub height_delivered: u64,
}

/// [`Status`], counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    view: AtomicU64,
    views_finalized: AtomicU64,
    views_nullified: AtomicU64,
    height_delivered: AtomicU64,
}

impl Counters {
    pub(crate) fn finalized(&self, view: u64) {
        self.view.fetch_max(view, Relaxed);
        self.views_finalized.fetch_add(1, Relaxed);
    }

    pub(crate) fn nullified(&self, view: u64) {
        self.view.fetch_max(view, Relaxed);
        self.views_nullified.fetch_add(1, Relaxed);
    }

    pub(crate) fn delivered(&self, height: u64) {
        self.height_delivered.fetch_max(height, Relaxed);
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            view: self.view.load(Relaxed),
            views_finalized: self.views_finalized.load(Relaxed),
            views_nullified: self.views_nullified.load(Relaxed),
            height_delivered: self.height_delivered.load(Relaxed),
        }
    }
}
