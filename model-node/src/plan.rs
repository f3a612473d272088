//! Which versions a node loads and unloads. Pure: the ledger's orders and what is in memory in, commands out.
//!
//! Wanted are, in this order: the version in force; those that will come into force, the next one first; and as spares
//! the version that was published last and the one that was in force before (so that an activation and a rollback find
//! their version loaded). A version comes to memory beside the one in force only where there is room for both, and goes
//! when nobody wants it. The version in force is loaded whatever it takes.

use std::collections::BTreeMap;

use dropbear_certificates::Digest;

/// So many versions are loaded at the same time.
pub const LOADS_MAX: usize = 2;
/// At most this many versions are in memory because they will come into force.
pub const PENDING_MAX: usize = 4;

/// What the ledger says about the versions of one owner in one group, for the next block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// The version in force.
    pub current: Option<Digest>,
    /// Versions that will come into force, the next one first.
    pub pending: Vec<Digest>,
    /// The version that was published last and may be activated.
    pub newest: Option<Digest>,
    /// The version that was in force before the current one and may be activated.
    pub previous: Option<Digest>,
}

/// A version in the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It is being loaded.
    Loading,
    /// It can be served.
    Loaded,
    /// It could not be loaded.
    Failed(String),
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Versions that are, or were to be, in memory.
    pub slots: BTreeMap<Digest, Slot>,
    /// Versions whose files are here, with the bytes of memory that each takes when loaded.
    pub at_hand: BTreeMap<Digest, u64>,
    /// Bytes of versions that were unloaded while some batch still needed them.
    pub leaving_bytes: u64,
    /// Bytes that versions may take together.
    pub memory_bytes_max: u64,
}

/// How many spares to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spares(pub usize);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Load the version in the background.
    Load(Digest),
    /// Let go of the version as soon as no batch needs it; or forget that it could not be loaded.
    Unload(Digest),
    /// Tell the ledger that the version does not load.
    Withdraw(Digest, String),
    /// Tell the operator that a version cannot be loaded beside those that are more urgent.
    NoRoom(Digest, u64),
    /// Tell the operator, or ask a sibling for it: the version's files are not here.
    Missing(Digest),
}

impl Orders {
    /// The versions to have in memory, the most urgent first.
    #[must_use]
    pub fn wanted(&self, spares: Spares) -> Vec<Digest> {
        let mut wanted: Vec<Digest> = Vec::new();
        for version in self.current.iter().chain(self.pending.iter().take(PENDING_MAX)) {
            if !wanted.contains(version) {
                wanted.push(*version);
            }
        }
        let full = wanted.len() + spares.0;
        for version in self.newest.iter().chain(&self.previous) {
            if wanted.len() < full && !wanted.contains(version) {
                wanted.push(*version);
            }
        }
        wanted
    }

    fn is_urgent(&self, version: &Digest) -> bool {
        self.current == Some(*version) || self.pending.contains(version)
    }
}

/// What to do now; the same again until something changes.
#[must_use]
pub fn plan(orders: &Orders, stock: &Stock, spares: Spares) -> Vec<Command> {
    let wanted = orders.wanted(spares);
    let kept = stock.kept(orders, &wanted);
    let idle = stock.slots.iter().filter(|(_, slot)| **slot != Slot::Loading);
    let is_failed = |version: &Digest| matches!(stock.slots.get(version), Some(Slot::Failed(_)));
    let gone = idle.map(|(version, _)| *version).filter(|version| {
        let is_kept = kept.contains(version) || (wanted.contains(version) && is_failed(version));
        !is_kept
    });
    let mut commands: Vec<_> = gone.map(Command::Unload).collect();
    let mut loads_left = LOADS_MAX.saturating_sub(stock.slots.values().filter(|slot| **slot == Slot::Loading).count());
    let mut taken = stock.taken_bytes();
    for version in &wanted {
        match (stock.slots.get(version), stock.at_hand.get(version)) {
            (Some(Slot::Loading | Slot::Loaded), _) => {}
            (Some(Slot::Failed(reason)), _) => commands.push(Command::Withdraw(*version, reason.clone())),
            (None, None) if orders.is_urgent(version) => commands.push(Command::Missing(*version)),
            (None, None) => {}
            (None, Some(bytes)) if !kept.contains(version) => commands.push(Command::NoRoom(*version, *bytes)),
            (None, Some(bytes)) => {
                let fits = taken.saturating_add(*bytes) <= stock.memory_bytes_max;
                // What is being unloaded makes room first, but the version in force waits for nothing.
                if loads_left > 0 && (fits || orders.current == Some(*version)) {
                    (loads_left, taken) = (loads_left - 1, taken.saturating_add(*bytes));
                    commands.push(Command::Load(*version));
                }
            }
        }
    }
    commands
}

impl Stock {
    fn size(&self, version: &Digest) -> u64 {
        self.at_hand.get(version).copied().unwrap_or(0)
    }

    /// Bytes that versions take now.
    fn taken_bytes(&self) -> u64 {
        let in_memory = self.slots.iter().filter(|(_, slot)| !matches!(slot, Slot::Failed(_)));
        self.leaving_bytes + in_memory.map(|(version, _)| self.size(version)).sum::<u64>()
    }

    /// The wanted versions for which there is room, beside those that cannot be stopped from being loaded.
    fn kept(&self, orders: &Orders, wanted: &[Digest]) -> Vec<Digest> {
        let loading = self.slots.iter().filter(|(_, slot)| **slot == Slot::Loading).map(|(version, _)| version);
        let awaited: u64 = loading.filter(|version| !wanted.contains(version)).map(|version| self.size(version)).sum();
        let mut bytes = self.leaving_bytes + awaited;
        let mut fits = |version: &&Digest| {
            let with = bytes.saturating_add(self.size(version));
            let fits = with <= self.memory_bytes_max || orders.current == Some(**version);
            if fits {
                bytes = with;
            }
            fits
        };
        wanted.iter().filter(|version| fits(version)).copied().collect()
    }
}

#[cfg(test)]
mod tests;
