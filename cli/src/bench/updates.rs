//! Owners that activate one version after the other, all the time.

use std::path::Path;

use anyhow::Context as _;
use dropbear_certificates::{Digest, SecretKey};
use dropbear_consensus::{Activate, Entry, Publish};
use dropbear_model_node::node::STORE_FOLDER;
use dropbear_models::{Manifest, Store};
use dropbear_wire::files::read_key;

use crate::desk::{Applied, Desk};

const GROUP: &str = "identity";

/// One owner with two versions.
struct Owner {
    key: SecretKey,
    serial: u64,
    versions: [Digest; 2],
    /// Which of them comes next.
    next: usize,
}

/// Every owner of an identity market, in turn.
pub(super) struct Updater {
    desk: Desk,
    owners: Vec<Owner>,
    turn: usize,
}

impl Updater {
    /// Publishes a second version of every owner's model; its node finds it in its store.
    pub(super) async fn prepare(market: &Path) -> anyhow::Result<Self> {
        let desk = Desk::of_market(market)?;
        let view = desk.view().await?;
        let group = view.group(GROUP)?;
        let (charter, _) = group.latest()?;
        let mut owners = Vec::new();
        for seat in &charter.roster {
            let folder = market.join(&seat.owner);
            let key = read_key(&folder.join("owner.key"))?;
            let current = group.holding(&key.public()).current(group.next()).map(|version| version.digest);
            let first = current.with_context(|| format!("{} has no version in force", seat.owner))?;
            let second = second_version(&folder)?;
            let mut owner = Owner { serial: view.serial(&key.public()), key, versions: [first, second], next: 1 };
            let publish = Publish {
                genesis: desk.genesis.digest(),
                owner: owner.key.public(),
                serial: owner.next_serial(),
                group: GROUP.into(),
                model: "identity".into(),
                label: "second".into(),
                version: second,
            };
            desk.send(&publish.sign(&owner.key)).await?;
            owners.push(owner);
        }
        Ok(Self { desk, owners, turn: 0 })
    }

    /// How many owners there are.
    pub(super) fn owners(&self) -> usize {
        self.owners.len()
    }

    /// The first owner alone.
    pub(super) fn of_one_owner(mut self) -> Self {
        self.owners.truncate(1);
        self
    }

    /// The next owner's other version comes into force.
    pub(super) async fn activate_next(&mut self) -> anyhow::Result<Applied> {
        let place = self.turn % self.owners.len();
        self.turn += 1;
        let entry = self.owners[place].activation(&self.desk);
        self.desk.send(&entry).await
    }
}

impl Owner {
    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn activation(&mut self, desk: &Desk) -> Entry {
        let version = self.versions[self.next % 2];
        self.next += 1;
        let activate = Activate {
            genesis: desk.genesis.digest(),
            owner: self.key.public(),
            serial: self.next_serial(),
            group: GROUP.into(),
            version,
            from_seq: 0,
        };
        activate.sign(&self.key)
    }
}

/// The owner's model under another lineage, which makes it another version, in its node's store.
fn second_version(folder: &Path) -> anyhow::Result<Digest> {
    let mut manifest = Manifest::load(&folder.join("identity.toml"))?;
    manifest.lineage = "the same, published again".into();
    let path = folder.join("identity-2.toml");
    std::fs::write(&path, manifest.to_toml()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Digest(Store::open(&folder.join("data").join(STORE_FOLDER))?.add(&path)?))
}
