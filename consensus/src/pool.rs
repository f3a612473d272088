//! The pool of checked entries that wait for their block: bounded, first come first served.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dropbear_certificates::Digest;

use crate::entry::Checked;

/// How an entry's bytes end: with its signature, which no two entries share but by its signer's doing.
type End = [u8; 16];

fn end(bytes: &[u8]) -> End {
    bytes.last_chunk().copied().unwrap_or_default()
}

/// Entries that wait.
#[derive(Debug)]
pub struct Pool {
    waiting: BTreeMap<Digest, Arc<Checked>>,
    by_end: BTreeMap<End, Digest>,
    order: VecDeque<Digest>,
    bytes: usize,
    bytes_max: usize,
}

/// The pool is full: the sender tries again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator's pool of waiting entries is full; try again later")]
pub struct PoolFull;

impl Pool {
    /// An empty pool that holds at most `bytes_max` bytes of entries.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { waiting: BTreeMap::new(), by_end: BTreeMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds an entry; one that waits already is left as it is.
    ///
    /// # Errors
    /// [`PoolFull`] if there is no room.
    pub fn push(&mut self, entry: Arc<Checked>) -> Result<(), PoolFull> {
        if self.waiting.contains_key(&entry.digest()) {
            return Ok(());
        }
        let length = entry.bytes().len();
        if self.bytes + length > self.bytes_max {
            return Err(PoolFull);
        }
        self.bytes += length;
        self.order.push_back(entry.digest());
        self.by_end.insert(end(entry.bytes()), entry.digest());
        self.waiting.insert(entry.digest(), entry);
        Ok(())
    }

    /// Takes an entry out.
    pub fn remove(&mut self, entry: &Digest) -> Option<Arc<Checked>> {
        let removed = self.waiting.remove(entry)?;
        let end = end(removed.bytes());
        if self.by_end.get(&end) == Some(entry) {
            self.by_end.remove(&end);
        }
        self.bytes -= removed.bytes().len();
        // The order keeps tombstones; drop those at the front, and all of them once they outnumber the entries.
        while self.order.front().is_some_and(|front| !self.waiting.contains_key(front)) {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.waiting.len() + 64 {
            self.order.retain(|entry| self.waiting.contains_key(entry));
        }
        Some(removed)
    }

    /// A waiting entry.
    #[must_use]
    pub fn get(&self, entry: &Digest) -> Option<&Arc<Checked>> {
        self.waiting.get(entry)
    }

    /// The waiting entry with these bytes: found without hashing them, compared byte by byte.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Option<&Arc<Checked>> {
        let entry = self.waiting.get(self.by_end.get(&end(bytes))?)?;
        (entry.bytes() == bytes).then_some(entry)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many entries wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The entries in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Checked>> {
        self.order.iter().filter_map(|entry| self.waiting.get(entry))
    }
}
