//! A member that runs twice under one key, each of the two seen by one half of the committee.
//!
//! Both follow the protocol, on disks of their own, so together they propose two blocks, vote for two blocks, and vote
//! both ways: whatever a member can say in contradiction, said at the most plausible moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::Recipients;
use commonware_p2p::simulated::{SplitOrigin, SplitTarget};
use commonware_runtime::Supervisor as _;

use crate::Replica;
use crate::replica::DynReplica;
use crate::sim::{Relay, World, run};

impl World {
    /// Starts both twins: the first is seen by the peers in `half`, the second by all others.
    ///
    /// # Panics
    ///
    /// If the replica's engine is running.
    pub async fn twins(&mut self, index: usize, twins: [impl Replica; 2], half: &[usize]) -> [Relay; 2] {
        assert!(!self.is_running(index), "replica {index} is running");
        let half: BTreeSet<_> = half.iter().map(|peer| self.key(*peer)).collect();
        let others = (0..self.setups.len()).filter(|peer| *peer != index).map(|peer| self.key(peer));
        let (first, second): (Vec<_>, Vec<_>) = others.partition(|peer| half.contains(peer));
        let half = Arc::new(half);

        let forward = move |origin, recipients: &Recipients<PublicKey>, _: &_| {
            let reached = if origin == SplitOrigin::Primary { &first } else { &second };
            match recipients {
                Recipients::All => Some(Recipients::Some(reached.clone())),
                Recipients::Some(wanted) => {
                    let wanted: Vec<_> = wanted.iter().filter(|peer| reached.contains(peer)).cloned().collect();
                    (!wanted.is_empty()).then_some(Recipients::Some(wanted))
                }
                Recipients::One(wanted) => reached.contains(wanted).then(|| recipients.clone()),
            }
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (sender, receiver) in self.pipes(index).await {
            let half = Arc::clone(&half);
            let route = move |(peer, _): &(PublicKey, _)| match half.contains(peer) {
                true => SplitTarget::Primary,
                false => SplitTarget::Secondary,
            };
            let (first, second) = sender.split_with(forward.clone());
            let (heard_first, heard_second) = receiver.split_with(self.context.child("split"), route);
            ours.push((first, heard_first));
            theirs.push((second, heard_second));
        }
        let [first, second] = twins.map(|twin| -> Arc<dyn DynReplica> { Arc::new(twin) });
        let start = |channels: Vec<_>, replica, name: &str| {
            let mut setup = self.setup(index);
            setup.partition_prefix.push_str(name);
            let network = (self.oracle.manager(), self.control(index));
            let channels = channels.try_into().unwrap_or_else(|_| unreachable!("there are six channels"));
            // It runs until the scenario ends.
            run(&self.context, setup, network, channels, replica).relay
        };
        [start(ours, first, "first-"), start(theirs, second, "second-")]
    }
}
