//! A member that supports everything: every block and every way out, in every view.

use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Finalize, Notarize, Nullify, Proposal, Vote};
use commonware_consensus::types::Round;
use commonware_cryptography::sha256::Digest;
use commonware_p2p::{Receiver as _, Recipients, Sender as _};
use commonware_runtime::{Spawner as _, Supervisor as _};
use std::collections::BTreeSet;

use crate::sim::World;

impl World {
    /// Votes to notarize and to finalize every proposal that it hears of, another one besides, and to nullify the
    /// same view: some of it to some peers, some to others.
    ///
    /// # Panics
    ///
    /// If the replica's engine is running.
    pub async fn equivocate(&self, index: usize) {
        assert!(!self.is_running(index), "replica {index} is running");
        let scheme = self.setups[index].scheme.clone();
        let others: Vec<_> = (0..self.setups.len()).filter(|peer| *peer != index).map(|peer| self.key(peer)).collect();
        let [(mut sender, mut receiver), ..] = self.pipes(index).await;
        self.context.child("equivocate").spawn(move |_| async move {
            let mut answered: BTreeSet<(Round, Vec<u8>)> = BTreeSet::new();
            while let Ok((_, message)) = receiver.recv().await {
                let Ok(vote) = Vote::<Scheme, Digest>::decode(message) else { continue };
                let proposal: Proposal<Digest> = match vote {
                    Vote::Notarize(vote) => vote.proposal,
                    Vote::Finalize(vote) => vote.proposal,
                    Vote::Nullify(_) => continue,
                };
                if !answered.insert((proposal.round, proposal.payload.encode().to_vec())) {
                    continue;
                }
                let another = Proposal::new(proposal.round, proposal.parent, Digest([0xab; 32]));
                let sign = "it is in the committee";
                let votes: [Vote<Scheme, Digest>; 4] = [
                    Vote::Notarize(Notarize::sign(&scheme, proposal.clone()).expect(sign)),
                    Vote::Finalize(Finalize::sign(&scheme, proposal.clone()).expect(sign)),
                    Vote::Notarize(Notarize::sign(&scheme, another).expect(sign)),
                    Vote::Nullify(Nullify::sign::<Digest>(&scheme, proposal.round).expect(sign)),
                ];
                for (place, peer) in others.iter().enumerate() {
                    // The first two to one half, the others to the other half, and to a peer between all of them.
                    let chosen = match place % 3 {
                        0 => &votes[..2],
                        1 => &votes[2..],
                        _ => &votes[..],
                    };
                    for vote in chosen {
                        sender.send(Recipients::One(peer.clone()), vote.encode(), true);
                    }
                }
            }
        });
    }
}
