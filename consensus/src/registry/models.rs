//! Owners' changes to their own models.

use std::sync::Arc;

use dropbear_certificates::PublicKey;
use dropbear_certificates::cbor::INT_MAX;

use crate::entry::{Activate, Endpoints, Publish, Register, Withdraw};
use crate::refusal::Refused;
use crate::registry::{Holding, Moment, Registry};

impl Registry {
    /// Changes what a key holds in a group that names it; `change` is told the first seq that the notice allows.
    fn change_holding(
        &mut self,
        (owner, serial): (&PublicKey, u64),
        name: &str,
        at: &Moment,
        change: impl FnOnce(&mut Holding, u64) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        self.keys.check(owner, serial, at.agreed_ms)?;
        let group = self.groups.get(name).ok_or(Refused::UnknownGroup)?;
        if !group.is_named(owner) {
            return Err(Refused::NotNamed);
        }
        let earliest = at.seq.saturating_add(group.notice(at.seq)).min(INT_MAX);
        let mut holding = group.holdings.get(owner).map(|holding| Holding::clone(holding)).unwrap_or_default();
        change(&mut holding, earliest)?;
        if let Some(group) = self.group_mut(name) {
            group.holdings.insert(*owner, Arc::new(holding));
        }
        self.spend(*owner, serial);
        Ok(())
    }

    pub(super) fn register(&mut self, register: &Register, at: &Moment) -> Result<(), Refused> {
        let by = (&register.owner, register.serial);
        self.change_holding(by, &register.group, at, |holding, _| holding.register(register))
    }

    pub(super) fn publish(&mut self, publish: &Publish, at: &Moment) -> Result<(), Refused> {
        let by = (&publish.owner, publish.serial);
        self.change_holding(by, &publish.group, at, |holding, _| holding.publish(publish, at.seq))
    }

    pub(super) fn activate(&mut self, activate: &Activate, at: &Moment) -> Result<(), Refused> {
        let by = (&activate.owner, activate.serial);
        self.change_holding(by, &activate.group, at, |holding, earliest| holding.activate(activate, at.seq, earliest))
    }

    pub(super) fn withdraw(&mut self, withdraw: &Withdraw, at: &Moment) -> Result<(), Refused> {
        let by = (&withdraw.owner, withdraw.serial);
        self.change_holding(by, &withdraw.group, at, |holding, earliest| holding.withdraw(withdraw, at.seq, earliest))
    }

    pub(super) fn endpoints(&mut self, endpoints: &Endpoints, at: &Moment) -> Result<(), Refused> {
        let by = (&endpoints.owner, endpoints.serial);
        self.change_holding(by, &endpoints.group, at, |holding, _| {
            holding.endpoints.clone_from(&endpoints.endpoints);
            Ok(())
        })
    }
}
