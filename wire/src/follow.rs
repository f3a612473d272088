//! A ledger follower: keeps one coordinator's `Follow` stream open and shows the newest view of it.
//!
//! The view is one coordinator's word. It decides only what is asked of whom and when; whatever a certificate claims is
//! verified against the trust root by its reader. A coordinator that fails, sends something malformed, or is overtaken
//! by what was seen elsewhere ([`Follower::reached`]) is left for the next one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Streaming;

use crate::client;
use crate::convert::{GroupView, Malformed, RegistryState};
use crate::v1;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long a coordinator may lag behind a seq that is known to be attested.
const LAG_MAX: Duration = Duration::from_secs(2);

/// The ledger as one coordinator last told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerView {
    /// Whether a stream is open; without one the rest is the last that was heard.
    pub connected: bool,
    /// Seq of the last final block; 0 before the first.
    pub seq: u64,
    /// Its agreed time, Unix milliseconds.
    pub agreed_ms: u64,
    /// The whole registry; empty until the first message.
    pub registry: Arc<RegistryState>,
    /// Groups by name, as they stand in the next block; those that have no charter there are missing.
    pub groups: BTreeMap<String, Arc<GroupView>>,
}

impl LedgerView {
    /// Takes one update of a stream in. A stream's first update holds the whole state.
    ///
    /// # Errors
    /// [`Malformed`] if the registry is not one or the ledger runs backwards; the view is then unchanged.
    pub fn apply(&mut self, update: &v1::LedgerUpdate) -> Result<(), Malformed> {
        if update.seq < self.seq {
            return Err(Malformed("seq"));
        }
        let registry = update.registry.as_ref().map(RegistryState::try_from).transpose()?;
        let changed = registry.is_some();
        if let Some(registry) = registry {
            self.registry = Arc::new(registry);
        }
        (self.seq, self.agreed_ms, self.connected) = (update.seq, update.agreed_ms, true);
        self.stand(changed);
        Ok(())
    }

    /// Brings the groups to the next block: all of them if the registry changed, else those whose charter begins there.
    fn stand(&mut self, changed: bool) {
        let next = self.seq.saturating_add(1);
        for (name, state) in &self.registry.groups {
            let known = self.groups.get(name).map(|view| view.from_seq);
            if !changed && state.term(next).map(|term| term.from_seq) == known {
                continue;
            }
            match GroupView::at(state, next) {
                Some(view) => drop(self.groups.insert(name.clone(), Arc::new(view))),
                None => drop(self.groups.remove(name)),
            }
        }
        self.groups.retain(|name, _| self.registry.groups.contains_key(name));
    }
}

/// Follows the ledger until it and every receiver of its view are dropped.
#[derive(Clone, Debug)]
pub struct Follower {
    view: watch::Receiver<LedgerView>,
    reached: Arc<watch::Sender<u64>>,
}

impl Follower {
    /// Begins to follow through any one of `coordinators`, starting with the one at place `first`.
    ///
    /// Must be called within a tokio runtime. With no coordinator the view stays as it is.
    #[must_use]
    pub fn start(coordinators: Vec<SocketAddr>, first: usize) -> Self {
        let (sender, view) = watch::channel(LedgerView::default());
        let (reached, target) = watch::channel(0);
        tokio::spawn(follow(coordinators, first, sender, target));
        Self { view, reached: Arc::new(reached) }
    }

    /// The newest view, and its changes.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<LedgerView> {
        self.view.clone()
    }

    /// Tells that `seq` was attested by a quorum: a coordinator that stays behind is left for another.
    pub fn reached(&self, seq: u64) {
        self.reached.send_if_modified(|known| {
            let newer = seq > *known;
            *known = seq.max(*known);
            newer
        });
    }
}

async fn follow(
    coordinators: Vec<SocketAddr>,
    first: usize,
    view: watch::Sender<LedgerView>,
    target: watch::Receiver<u64>,
) {
    let mut backoff = BACKOFF_MIN;
    for address in coordinators.iter().cycle().skip(first % coordinators.len().max(1)) {
        let heard = tokio::select! {
            () = view.closed() => return,
            heard = listen(*address, &view, target.clone()) => heard,
        };
        view.send_if_modified(|view| std::mem::take(&mut view.connected));
        backoff = if heard { BACKOFF_MIN } else { (backoff * 2).min(BACKOFF_MAX) };
        tokio::select! {
            () = view.closed() => return,
            () = sleep(backoff) => {}
        }
    }
}

/// Listens to one coordinator until it fails; whether it said anything.
async fn listen(address: SocketAddr, view: &watch::Sender<LedgerView>, mut target: watch::Receiver<u64>) -> bool {
    let mut client = client::coordinator(address);
    let opened = timeout(CONNECT_TIMEOUT, client.follow(v1::FollowRequest {})).await;
    let mut stream = match opened {
        Ok(Ok(reply)) => reply.into_inner(),
        Ok(Err(status)) => {
            tracing::debug!(%address, problem = status.message(), "cannot follow this coordinator");
            return false;
        }
        Err(_) => {
            tracing::debug!(%address, "this coordinator does not answer");
            return false;
        }
    };
    let mut heard = false;
    let problem = tokio::select! {
        problem = take_in(&mut stream, view, &mut heard) => problem,
        () = lag(view, &mut target) => "it lags behind the ledger".into(),
    };
    tracing::info!(%address, problem, "leaving this coordinator for another");
    heard
}

/// Takes messages in until there is a problem, and says which.
async fn take_in(
    stream: &mut Streaming<v1::LedgerUpdate>,
    view: &watch::Sender<LedgerView>,
    heard: &mut bool,
) -> String {
    let mut newest = LedgerView::default();
    loop {
        let update = match stream.message().await {
            Ok(Some(update)) => update,
            Ok(None) => return "it ended the stream".into(),
            Err(status) => return status.message().to_owned(),
        };
        if let Err(malformed) = newest.apply(&update) {
            return format!("it sent a malformed update: {malformed}");
        }
        *heard = true;
        view.send_if_modified(|view| {
            let changed = *view != newest;
            view.clone_from(&newest);
            changed
        });
    }
}

/// Returns once the view has stayed behind the known seq for [`LAG_MAX`].
async fn lag(view: &watch::Sender<LedgerView>, target: &mut watch::Receiver<u64>) {
    let mut changes = view.subscribe();
    loop {
        let wanted = *target.borrow_and_update();
        if changes.borrow_and_update().seq >= wanted {
            if target.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        }
        let caught_up = changes.wait_for(|view| view.seq >= wanted);
        if timeout(LAG_MAX, caught_up).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use dropbear_certificates::charter::Seat;
    use dropbear_certificates::{Assurance, Charter, Policy, SecretKey};

    use super::*;

    #[test]
    fn a_view_never_runs_backwards_and_keeps_what_was_not_resent() {
        let mut view = LedgerView::default();
        let registry = Some(v1::RegistryView::default());
        assert_eq!(view.apply(&v1::LedgerUpdate { seq: 7, agreed_ms: 70, registry }), Ok(()));
        assert_eq!(view.apply(&v1::LedgerUpdate { seq: 6, agreed_ms: 60, registry: None }), Err(Malformed("seq")));
        assert_eq!((view.seq, view.agreed_ms, view.connected), (7, 70, true));
        let term = v1::Term { from_seq: 0, charter: bytes::Bytes::from_static(b"no charter") };
        let broken = v1::Group { name: "group".into(), terms: vec![term], ..v1::Group::default() };
        let registry = Some(v1::RegistryView { groups: vec![broken], ..v1::RegistryView::default() });
        assert_eq!(view.apply(&v1::LedgerUpdate { seq: 9, agreed_ms: 90, registry }), Err(Malformed("charter")));
        assert_eq!(view.seq, 7);
    }

    fn charter(fee: u64) -> Charter {
        let key = SecretKey::from_seed(&[1; 32]).public();
        let seat = Seat { owner: "owner".into(), key, party: String::new(), lineage: String::new() };
        Charter {
            group: "group".into(),
            task: "identity".into(),
            classes: 2,
            labels: None,
            roster: vec![seat],
            policy: Policy::Plurality,
            faults: 0,
            assurance: Assurance::Robust,
            notice_blocks: 1,
            approvals: 1,
            fee,
        }
    }

    #[test]
    fn a_pending_charter_is_announced_and_stands_when_its_block_comes() {
        let term = |(from_seq, fee)| v1::Term { from_seq, charter: charter(fee).to_bytes().into() };
        let group = |name: &str, terms: &[(u64, u64)]| v1::Group {
            name: name.into(),
            terms: terms.iter().copied().map(term).collect(),
            ..v1::Group::default()
        };
        let registry = |groups| Some(v1::RegistryView { groups, ..v1::RegistryView::default() });
        let mut view = LedgerView::default();
        let both = group("group", &[(0, 1), (9, 2)]);
        view.apply(&v1::LedgerUpdate { seq: 7, agreed_ms: 70, registry: registry(vec![both]) }).unwrap();
        let first = Arc::clone(&view.groups["group"]);
        assert_eq!((first.charter.fee, first.state.pending(8).map(|term| term.charter.fee)), (1, Some(2)));
        view.apply(&v1::LedgerUpdate { seq: 8, agreed_ms: 80, registry: None }).unwrap();
        assert_eq!((view.groups["group"].charter.fee, view.groups["group"].from_seq), (2, 9));
        let second = Arc::clone(&view.groups["group"]);
        view.apply(&v1::LedgerUpdate { seq: 9, agreed_ms: 90, registry: None }).unwrap();
        assert!(Arc::ptr_eq(&second, &view.groups["group"]), "nothing changed");

        // A group whose first charter is pending is known and does not stand yet; one that went is gone.
        let founding = registry(vec![group("group", &[(12, 1)])]);
        view.apply(&v1::LedgerUpdate { seq: 10, agreed_ms: 100, registry: founding }).unwrap();
        assert!(view.groups.is_empty() && view.registry.groups.contains_key("group"));
        let misnamed = registry(vec![group("another", &[(0, 1)])]);
        let update = v1::LedgerUpdate { seq: 11, agreed_ms: 110, registry: misnamed };
        assert_eq!(view.apply(&update), Err(Malformed("charter")));
        let backwards = registry(vec![group("group", &[(9, 1), (8, 2)])]);
        let update = v1::LedgerUpdate { seq: 11, agreed_ms: 110, registry: backwards };
        assert_eq!(view.apply(&update), Err(Malformed("terms")));
    }
}
