//! What an owner does from outside its nodes.

use std::sync::Arc;

use dropbear_certificates::{Charter, Digest, SecretKey};
use dropbear_consensus::{Activate, Entry, Executed, Propose, Publish, Rekey, Withdraw};

use super::{GROUP, Market, now_ms, owner};

/// The owner at its desk. Its serials stay ahead of its nodes'.
pub(crate) struct Desk<'a> {
    market: &'a Market,
    genesis: Digest,
    key: SecretKey,
    serial: u64,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(market: &'a Market) -> Self {
        Self { market, genesis: market.genesis.digest(), key: owner(), serial: 0 }
    }

    fn next(&mut self) -> u64 {
        self.serial = (self.serial + 1).max(now_ms() + 1_000);
        self.serial
    }

    fn order(&self, entry: Entry) -> Arc<Executed> {
        self.market.coordinator.ledger.order(entry.check(&self.genesis).unwrap()).unwrap()
    }

    pub(crate) fn publish(&mut self, model: &str, version: Digest) {
        let (genesis, owner, serial, group) = (self.genesis, self.key.public(), self.next(), GROUP.to_owned());
        let (model, label) = (model.to_owned(), version.short().to_string());
        self.order(Publish { genesis, owner, serial, group, model, label, version }.sign(&self.key));
    }

    pub(crate) fn activate(&mut self, version: Digest) {
        let (genesis, owner, serial, group) = (self.genesis, self.key.public(), self.next(), GROUP.to_owned());
        self.order(Activate { genesis, owner, serial, group, version, from_seq: 0 }.sign(&self.key));
    }

    pub(crate) fn withdraw(&mut self, version: Digest) {
        let (genesis, owner, serial, group) = (self.genesis, self.key.public(), self.next(), GROUP.to_owned());
        let (permanent, reason) = (true, "retired".to_owned());
        self.order(Withdraw { genesis, owner, serial, group, version, permanent, reason }.sign(&self.key));
    }

    /// Alone in its group, the owner needs nobody's approval.
    pub(crate) fn propose(&mut self, previous: &Charter, charter: Charter) {
        let (genesis, owner, serial, previous) =
            (self.genesis, self.key.public(), self.next(), Some(previous.digest()));
        self.order(Propose { genesis, owner, serial, previous, charter }.sign(&self.key));
    }

    pub(crate) fn rekey(&mut self, new: SecretKey) {
        let serial = self.next();
        self.order(Rekey::to(self.genesis, self.key.public(), serial, &new).sign(&self.key));
        self.key = new;
    }
}
