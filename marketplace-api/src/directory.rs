//! Where each owner's model nodes are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use dropbear_certificates::PublicKey;
use dropbear_wire::convert::GroupView;

use crate::nodes::{NodeBook, OwnerNodes};

/// By group, then by owner: addresses that the configuration names.
pub(crate) type Configured = BTreeMap<String, BTreeMap<String, Vec<SocketAddr>>>;

/// The nodes of every group's owners, as they are known now.
#[derive(Debug)]
pub(crate) struct Directory {
    configured: Configured,
    book: NodeBook,
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    /// Of which view of the group the owners are.
    view: Arc<GroupView>,
    owners: Arc<Owners>,
}

/// A group's owners, by place on the roster; an owner without a known node is none.
#[derive(Debug, Default)]
pub(crate) struct Owners(Vec<Option<Owner>>);

#[derive(Clone, Debug)]
struct Owner {
    key: PublicKey,
    addresses: Vec<SocketAddr>,
    nodes: Arc<OwnerNodes>,
}

impl Owners {
    /// The nodes of the owner at this place.
    pub(crate) fn of(&self, place: usize) -> Option<&Arc<OwnerNodes>> {
        self.0.get(place)?.as_ref().map(|owner| &owner.nodes)
    }

    fn of_key(&self, key: &PublicKey) -> Option<&Owner> {
        self.0.iter().flatten().find(|owner| owner.key == *key)
    }
}

impl Directory {
    pub(crate) fn new(configured: Configured) -> Self {
        Self { configured, book: NodeBook::default(), known: Mutex::default() }
    }

    /// The owners of a group. Cheap while the group stays as it was.
    pub(crate) fn owners(&self, group: &Arc<GroupView>) -> Arc<Owners> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&group.charter.group);
        if let Some(known) = before.filter(|known| Arc::ptr_eq(&known.view, group)) {
            return Arc::clone(&known.owners);
        }
        let owners = Arc::new(self.find(group, before.map(|known| &*known.owners)));
        let now = Known { view: Arc::clone(group), owners: Arc::clone(&owners) };
        known.insert(group.charter.group.clone(), now);
        owners
    }

    /// Finds every owner's nodes; owners whose addresses stay keep what was learned of them.
    fn find(&self, group: &GroupView, before: Option<&Owners>) -> Owners {
        let owner = |(place, seat): (usize, &dropbear_certificates::charter::Seat)| {
            let addresses = self.addresses(group, place, &seat.owner);
            let same = before.and_then(|before| before.of_key(&seat.key)).filter(|owner| owner.addresses == addresses);
            if let Some(same) = same {
                return Some(same.clone());
            }
            let nodes = (!addresses.is_empty()).then(|| Arc::new(self.book.owner(&addresses)))?;
            Some(Owner { key: seat.key, addresses, nodes })
        };
        Owners(group.charter.roster.iter().enumerate().map(owner).collect())
    }

    /// What the configuration says of an owner, else what the owner says in the ledger.
    fn addresses(&self, group: &GroupView, place: usize, owner: &str) -> Vec<SocketAddr> {
        let configured = self.configured.get(&group.charter.group).and_then(|owners| owners.get(owner));
        configured.filter(|addresses| !addresses.is_empty()).cloned().unwrap_or_else(|| {
            let endpoints = group.holding(place).map(|holding| holding.endpoints.as_slice()).unwrap_or_default();
            endpoints.iter().filter_map(|endpoint| reachable(owner, endpoint)).collect()
        })
    }
}

/// The address that an owner's endpoint names. Without TLS nobody is asked beyond this machine, whatever owners write.
fn reachable(owner: &str, endpoint: &str) -> Option<SocketAddr> {
    let address = endpoint.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
    if address.is_none() {
        tracing::warn!(owner, endpoint, "an endpoint is no loopback address: internal services have no TLS yet");
    }
    address
}
