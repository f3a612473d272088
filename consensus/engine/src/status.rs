//! What an engine tells about itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

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
    /// A peer, by its place in the committee, whose messages were refused for their version, and that version.
    pub refused_version: Option<(usize, u8)>,
}

/// [`Status`], counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    view: AtomicU64,
    views_finalized: AtomicU64,
    views_nullified: AtomicU64,
    height_delivered: AtomicU64,
    refused_version: Mutex<Option<(usize, u8)>>,
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

    /// Whether this is news.
    pub(crate) fn refused(&self, peer: usize, version: u8) -> bool {
        let mut refused = self.refused_version.lock().unwrap_or_else(PoisonError::into_inner);
        refused.replace((peer, version)) != Some((peer, version))
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            view: self.view.load(Relaxed),
            views_finalized: self.views_finalized.load(Relaxed),
            views_nullified: self.views_nullified.load(Relaxed),
            height_delivered: self.height_delivered.load(Relaxed),
            refused_version: *self.refused_version.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
