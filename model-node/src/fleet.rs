//! The versions that are in memory. Loads in the background, and lets go of a version when no batch needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Instant;

use dropbear_certificates::Digest;
use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use crate::library::{Engine, Library};
use crate::metrics::Metrics;
use crate::model::{ModelCard, ModelError};
use crate::plan;
use crate::standing::Absence;

/// A loaded version, held: it stays in memory until the last holder lets go.
#[derive(Clone)]
pub struct Lease(Arc<Held>);

impl Deref for Lease {
    type Target = dyn Engine;

    fn deref(&self) -> &Self::Target {
        self.0.engine.as_deref().expect("only dropping takes it")
    }
}

/// An engine that is buried by the grave-digger's thread, for stopping its threads may take a while.
struct Held {
    /// There until it is dropped.
    engine: Option<Box<dyn Engine>>,
    bytes: u64,
    grave: Grave,
}

type Grave = mpsc::Sender<Burial>;

/// What the grave-digger is given.
enum Burial {
    /// An engine that nobody needs any more, and its bytes.
    Engine(Box<dyn Engine>, u64),
    /// Whoever waits for those before.
    Mourner(oneshot::Sender<()>),
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            // Without a grave-digger the engine is dropped here.
            let _ = self.grave.send(Burial::Engine(engine, self.bytes));
        }
    }
}

enum Slot {
    Loading,
    Loaded(Lease),
    Failed(String),
}

/// Every version of a node.
pub struct Fleet {
    library: Arc<dyn Library>,
    metrics: Metrics,
    slots: Mutex<BTreeMap<Digest, Slot>>,
    /// Versions that are wanted and whose files are not here.
    missing: Mutex<BTreeSet<Digest>>,
    leaving_bytes: Arc<AtomicU64>,
    changes: Arc<watch::Sender<u64>>,
    grave: Grave,
}

impl Fleet {
    /// An empty fleet.
    ///
    /// # Errors
    /// [`ModelError`] if no thread can be started.
    pub fn new(library: Arc<dyn Library>, metrics: Metrics) -> Result<Arc<Self>, ModelError> {
        let (grave, buried) = mpsc::channel::<Burial>();
        let (changes, leaving_bytes) = (Arc::new(watch::Sender::new(0)), Arc::new(AtomicU64::new(0)));
        let (changed, leaving) = (Arc::clone(&changes), Arc::clone(&leaving_bytes));
        let digger = move || {
            for burial in buried {
                match burial {
                    Burial::Engine(engine, bytes) => {
                        drop(engine);
                        leaving.fetch_sub(bytes, Ordering::SeqCst);
                        changed.send_modify(|changes| *changes += 1);
                    }
                    // Whoever waited may be gone.
                    Burial::Mourner(mourner) => drop(mourner.send(())),
                }
            }
        };
        std::thread::Builder::new().name("unload".into()).spawn(digger).map_err(ModelError::new)?;
        let (slots, missing) = (Mutex::new(BTreeMap::new()), Mutex::default());
        Ok(Arc::new(Self { library, metrics, slots, missing, leaving_bytes, changes, grave }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Slot>> {
        // No invariant of the slots spans a call that could panic.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loaded version, if it is loaded.
    #[must_use]
    pub fn lease(&self, version: &Digest) -> Option<Lease> {
        match self.lock().get(version) {
            Some(Slot::Loaded(lease)) => Some(lease.clone()),
            _ => None,
        }
    }

    /// Why a version is not loaded.
    #[must_use]
    pub fn absence(&self, version: &Digest) -> Absence {
        match self.lock().get(version) {
            Some(Slot::Failed(reason)) => return Absence::Failed(reason.clone()),
            Some(Slot::Loading | Slot::Loaded(_)) => return Absence::Coming,
            None => {}
        }
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.contains(version) { Absence::Missing } else { Absence::Coming }
    }

    /// Says which wanted versions have no files here.
    pub fn miss(&self, versions: BTreeSet<Digest>) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if *missing != versions {
            *missing = versions;
            drop(missing);
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// What every loaded version is.
    #[must_use]
    pub fn cards(&self) -> Vec<ModelCard> {
        let slots = self.lock();
        let loaded = slots.values().filter_map(|slot| if let Slot::Loaded(lease) = slot { Some(lease) } else { None });
        loaded.map(|lease| lease.card().clone()).collect()
    }

    /// What every version is doing.
    #[must_use]
    pub fn slots(&self) -> BTreeMap<Digest, plan::Slot> {
        let of = |slot: &Slot| match slot {
            Slot::Loading => plan::Slot::Loading,
            Slot::Loaded(_) => plan::Slot::Loaded,
            Slot::Failed(reason) => plan::Slot::Failed(reason.clone()),
        };
        self.lock().iter().map(|(version, slot)| (*version, of(slot))).collect()
    }

    /// Bytes of versions that were unloaded and are still needed.
    #[must_use]
    pub fn leaving_bytes(&self) -> u64 {
        self.leaving_bytes.load(Ordering::SeqCst)
    }

    /// Changes whenever a version was loaded, failed to, or is gone.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Loads a version in the background, unless it is there already.
    pub fn load(self: &Arc<Self>, version: Digest) {
        if !self.begin(version) {
            return;
        }
        let fleet = Arc::clone(self);
        let load = move || {
            // What went wrong is in the slot.
            let _ = fleet.finish(version);
        };
        if let Err(error) = std::thread::Builder::new().name("load".into()).spawn(load) {
            self.settle(version, Slot::Failed(error.to_string()));
        }
    }

    /// Loads a version now. Blocks.
    ///
    /// # Errors
    /// [`ModelError`] if it cannot be loaded.
    pub fn load_now(&self, version: Digest) -> Result<(), ModelError> {
        if self.begin(version) { self.finish(version) } else { Ok(()) }
    }

    fn begin(&self, version: Digest) -> bool {
        let mut slots = self.lock();
        let is_new = !slots.contains_key(&version);
        slots.entry(version).or_insert(Slot::Loading);
        is_new
    }

    fn finish(&self, version: Digest) -> Result<(), ModelError> {
        let (begun, bytes) = (Instant::now(), self.library.size(&version).unwrap_or(0));
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.library.open(&version)));
        match opened.unwrap_or_else(|_| Err(ModelError("the model panicked while it was loaded".into()))) {
            Ok(engine) => {
                info!(version = %version.short(), took = ?begun.elapsed(), "a version is loaded");
                self.metrics.load("loaded");
                let held = Held { engine: Some(engine), bytes, grave: self.grave.clone() };
                self.settle(version, Slot::Loaded(Lease(Arc::new(held))));
                Ok(())
            }
            Err(error) => {
                error!(version = %version.short(), %error, "a version CANNOT BE LOADED");
                self.metrics.load("failed");
                self.settle(version, Slot::Failed(error.to_string()));
                Err(error)
            }
        }
    }

    fn settle(&self, version: Digest, slot: Slot) {
        let mut slots = self.lock();
        slots.insert(version, slot);
        self.count(&slots);
        drop(slots);
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn count(&self, slots: &BTreeMap<Digest, Slot>) {
        self.metrics.versions(slots.values().filter(|slot| matches!(slot, Slot::Loaded(_))).count());
    }

    /// Lets go of every version, and waits until all that nobody holds are out of memory: a process must not end while
    /// one of its threads is in a GPU's driver.
    pub async fn close(&self) {
        let versions: Vec<Digest> = self.lock().keys().copied().collect();
        versions.iter().for_each(|version| self.unload(version));
        let (mourner, buried) = oneshot::channel();
        if self.grave.send(Burial::Mourner(mourner)).is_ok() {
            // Without a grave-digger there is nobody to wait for.
            let _ = buried.await;
        }
    }

    /// Lets go of a version: it leaves memory as soon as no batch needs it.
    pub fn unload(&self, version: &Digest) {
        let mut slots = self.lock();
        let slot = slots.remove(version);
        self.count(&slots);
        drop(slots);
        if let Some(Slot::Loaded(lease)) = slot {
            info!(version = %version.short(), "unloading a version");
            self.leaving_bytes.fetch_add(lease.0.bytes, Ordering::SeqCst);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::QueueFull;
    use crate::pool::{Job, Refusal};
    use dropbear_wire::v1::Tensor;

    /// Tells when it is gone.
    struct Fake(ModelCard, mpsc::Sender<Digest>);

    impl Drop for Fake {
        fn drop(&mut self) {
            self.1.send(self.0.version).unwrap();
        }
    }

    impl Engine for Fake {
        fn card(&self) -> &ModelCard {
            &self.0
        }

        fn admit(&self, jobs: Vec<Job<Tensor>>) -> Result<(), Refusal> {
            Err(QueueFull { waiting: 0, asked: jobs.len(), queue_items_max: 0 }.into())
        }

        fn is_stuck(&self) -> bool {
            false
        }
    }

    /// Versions 1 to 9 load, others do not.
    struct Fakes(Mutex<mpsc::Sender<Digest>>);

    fn version(number: u8) -> Digest {
        Digest::of(&[number])
    }

    impl Library for Fakes {
        fn size(&self, _: &Digest) -> Option<u64> {
            Some(10)
        }

        fn open(&self, asked: &Digest) -> Result<Box<dyn Engine>, ModelError> {
            let number = (1..10).find(|number| version(*number) == *asked);
            let number = number.ok_or_else(|| ModelError("truncated".into()))?;
            let (name, label) = ("fake".into(), number.to_string());
            let card = ModelCard { name, label, version: *asked, task: "identity", classes: None, backend: "identity" };
            Ok(Box::new(Fake(card, self.0.lock().unwrap().clone())))
        }
    }

    fn fleet() -> (Arc<Fleet>, mpsc::Receiver<Digest>) {
        let (gone, goes) = mpsc::channel();
        let metrics = Metrics::register(&mut Default::default());
        (Fleet::new(Arc::new(Fakes(Mutex::new(gone))), metrics).unwrap(), goes)
    }

    #[tokio::test]
    async fn a_version_leaves_when_the_last_batch_lets_go() {
        let (fleet, goes) = fleet();
        let mut changes = fleet.changes();
        fleet.load(version(1));
        changes.wait_for(|_| fleet.lease(&version(1)).is_some()).await.unwrap();
        let batch = fleet.lease(&version(1)).unwrap();
        fleet.unload(&version(1));
        assert!(fleet.lease(&version(1)).is_none() && fleet.slots().is_empty());
        assert_eq!((goes.try_recv().ok(), fleet.leaving_bytes()), (None, 10));
        assert_eq!(batch.card().label, "1", "the batch goes on");
        drop(batch);
        assert_eq!(goes.recv().unwrap(), version(1));
        changes.wait_for(|_| fleet.leaving_bytes() == 0).await.unwrap();
    }

    #[tokio::test]
    async fn a_version_that_does_not_load_says_why_until_it_is_forgotten() {
        let (fleet, _goes) = fleet();
        let mut changes = fleet.changes();
        fleet.load(version(20));
        changes.wait_for(|_| fleet.slots().get(&version(20)) != Some(&plan::Slot::Loading)).await.unwrap();
        assert_eq!(fleet.slots()[&version(20)], plan::Slot::Failed("truncated".into()));
        assert_eq!(fleet.absence(&version(20)), Absence::Failed("truncated".into()));
        assert_eq!(fleet.absence(&version(30)), Absence::Coming, "until somebody looked");
        fleet.miss([version(30)].into());
        assert_eq!(fleet.absence(&version(30)), Absence::Missing);
        assert!(fleet.load_now(version(21)).is_err());
        fleet.unload(&version(20));
        assert!(!fleet.slots().contains_key(&version(20)));
        assert_eq!(fleet.load_now(version(3)), Ok(()));
    }
}
