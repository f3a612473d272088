//! What a node can serve now: what the ledger says, and what is in memory.

use std::sync::Arc;
use std::time::Duration;

use dropbear_certificates::Digest;
use dropbear_wire::follow::LedgerView;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::fleet::{Fleet, Lease};
use crate::standing::{Absence, Claim, NotReady, Standing, fits};

/// A call waits at most this long for the version in force to be in memory, where it was activated in a hurry.
pub(crate) const COMING_TIMEOUT: Duration = Duration::from_secs(2);

/// Shared by all calls.
pub(crate) struct Serving {
    pub(crate) claim: Claim,
    pub(crate) view: watch::Receiver<LedgerView>,
    pub(crate) fleet: Arc<Fleet>,
}

impl Serving {
    /// The version to vote with now, held in memory; `asked` names the charter that the ballot will be under.
    pub(crate) fn now(&self, asked: Option<&Digest>) -> Result<(Standing, Lease), NotReady> {
        let view = self.view.borrow();
        let standing = self.claim.standing(&view, asked).map_err(|problem| self.explained(problem, &view))?;
        drop(view);
        let version = standing.version;
        let lease = self.fleet.lease(&version);
        let lease = lease.ok_or_else(|| NotReady::NotLoaded(version, self.fleet.absence(&version)))?;
        fits(&standing.group.charter, lease.card())?;
        if lease.is_stuck() { Err(NotReady::Stuck(version)) } else { Ok((standing, lease)) }
    }

    /// Nothing is in force: perhaps because what the node brought along is none for the group.
    fn explained(&self, problem: NotReady, view: &LedgerView) -> NotReady {
        let group = view.groups.get(&self.claim.group).filter(|_| problem == NotReady::NoVersion);
        let misfit = group.and_then(|group| {
            let cards = self.fleet.cards();
            cards.iter().find_map(|card| fits(&group.charter, card).err())
        });
        misfit.unwrap_or(problem)
    }

    /// As [`Serving::now`], but waits for a version that is coming to memory.
    pub(crate) async fn soon(&self, asked: Option<&Digest>) -> Result<(Standing, Lease), NotReady> {
        let is_coming = |now: &Result<_, NotReady>| matches!(now, Err(NotReady::NotLoaded(_, Absence::Coming)));
        let now = self.now(asked);
        if !is_coming(&now) {
            return now;
        }
        // Whether it came or not, what is then decides.
        let _ = timeout(COMING_TIMEOUT, self.until(|| !is_coming(&self.now(asked)))).await;
        self.now(asked)
    }

    /// Waits until there is something to serve, or the node ends.
    pub(crate) async fn ready(&self) {
        self.until(|| self.now(None).is_ok()).await;
    }

    async fn until(&self, is: impl Fn() -> bool) {
        let (mut view, mut changes) = (self.view.clone(), self.fleet.changes());
        while !is() {
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }
}
