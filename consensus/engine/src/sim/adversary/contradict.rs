//! A member that votes twice, once.

use commonware_codec::Encode as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Notarize, Proposal, Vote};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_cryptography::sha256::Digest;
use commonware_p2p::{Recipients, Sender as _};

use crate::sim::World;

impl World {
    /// Votes for two different blocks in the first view.
    ///
    /// # Panics
    ///
    /// If the replica's engine is running.
    pub async fn contradict(&self, index: usize) {
        assert!(!self.is_running(index), "replica {index} is running");
        let setup = &self.setups[index];
        let [(mut votes, _receiver), ..] = self.pipes(index).await;
        for payload in [1, 2].map(|byte| Digest([byte; 32])) {
            let round = Round::new(Epoch::zero(), View::new(1));
            let proposal = Proposal::new(round, View::zero(), payload);
            let vote = Notarize::sign(&setup.scheme, proposal).expect("it is in the committee");
            let vote: Vote<Scheme, Digest> = Vote::Notarize(vote);
            votes.send(Recipients::All, vote.encode(), true);
        }
    }
}
