//! Contradictions among a peer's votes: noticing them, and letting anybody check them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use commonware_actor::Feedback;
use commonware_codec::{Decode as _, Encode as _, Read};
use commonware_consensus::simplex;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Attributable as _};
use commonware_consensus::{Reporter, Viewable as _};
use commonware_cryptography::certificate::Verifier as _;
use commonware_cryptography::sha256::Digest;
use commonware_parallel::Sequential;
use commonware_utils::{Participant, sys_rng};
use rand_core::CryptoRng;
use tracing::warn;

use crate::config::{Committee, votes_namespace};
use crate::memory::Heard;
use crate::replica::DynReplica;
use crate::status::Counters;
use crate::{EngineFault, Error, FaultKind};

type Vote = Activity<Scheme, Digest>;

/// Checks evidence that an engine reported: which peer of the committee with these keys (in committee order)
/// cast both votes, in which view, and what they contradict. `None` if the evidence proves nothing.
pub fn check_evidence(namespace: &[u8], keys: &[[u8; 32]], evidence: Bytes) -> Result<Option<EngineFault>, Error> {
    let committee = Committee::parse(keys)?;
    let scheme = Scheme::verifier(&votes_namespace(namespace), committee.sorted.clone());
    let config: <Vote as Read>::Cfg = Scheme::certificate_codec_config_unbounded();
    let Ok(vote) = Vote::decode_cfg(evidence, &config) else {
        return Ok(None);
    };
    Ok(judge(&mut sys_rng(), &scheme, &committee, &vote))
}

/// The fault that `activity` proves, if it does: the engine reports votes before it has checked their
/// signatures.
fn judge(rng: &mut impl CryptoRng, scheme: &Scheme, committee: &Committee, activity: &Vote) -> Option<EngineFault> {
    let (kind, signer, view) = match activity {
        Activity::ConflictingNotarize(votes) => (FaultKind::ConflictingNotarize, votes.signer(), votes.view()),
        Activity::ConflictingFinalize(votes) => (FaultKind::ConflictingFinalize, votes.signer(), votes.view()),
        Activity::NullifyFinalize(votes) => (FaultKind::NullifyFinalize, votes.signer(), votes.view()),
        _ => return None,
    };
    if !activity.verify(rng, scheme, &Sequential) {
        return None;
    }
    let key = committee.sorted.get(usize::from(signer))?;
    Some(EngineFault { culprit: committee.index(key)?, kind, view: view.get(), evidence: activity.encode() })
}

/// Sees every vote and certificate that the engine sees.
pub(crate) struct Observer<R> {
    pub(crate) rng: Arc<Mutex<R>>,
    pub(crate) scheme: Scheme,
    pub(crate) committee: Committee,
    pub(crate) replica: Arc<dyn DynReplica>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) heard: Heard,
}

impl<R> Clone for Observer<R> {
    fn clone(&self) -> Self {
        Self {
            rng: self.rng.clone(),
            scheme: self.scheme.clone(),
            committee: self.committee.clone(),
            replica: self.replica.clone(),
            counters: self.counters.clone(),
            heard: self.heard.clone(),
        }
    }
}

impl<R> Observer<R> {
    fn hear(&self, signer: Participant, vote: simplex::types::Vote<Scheme, Digest>) {
        let key = self.committee.sorted.get(usize::from(signer));
        if let Some(peer) = key.and_then(|key| self.committee.index(key)) {
            self.heard.vote(peer, vote);
        }
    }
}

impl<R: CryptoRng + Send + 'static> Reporter for Observer<R> {
    type Activity = Vote;

    fn report(&mut self, activity: Vote) -> Feedback {
        match &activity {
            Activity::Finalization(certificate) => {
                self.counters.finalized(certificate.view().get());
            }
            Activity::Nullification(certificate) => {
                self.counters.nullified(certificate.view().get());
            }
            Activity::ConflictingNotarize(_) | Activity::ConflictingFinalize(_) | Activity::NullifyFinalize(_) => {
                let mut rng = self.rng.lock().expect("no holder of the generator panics");
                let fault = judge(&mut *rng, &self.scheme, &self.committee, &activity);
                drop(rng);
                if let Some(fault) = fault {
                    warn!(culprit = fault.culprit, kind = ?fault.kind, view = fault.view, "a peer contradicted itself");
                    self.replica.fault(fault);
                }
            }
            Activity::Notarize(vote) => self.hear(vote.signer(), simplex::types::Vote::Notarize(vote.clone())),
            Activity::Nullify(vote) => self.hear(vote.signer(), simplex::types::Vote::Nullify(vote.clone())),
            Activity::Finalize(vote) => self.hear(vote.signer(), simplex::types::Vote::Finalize(vote.clone())),
            Activity::Notarization(_) | Activity::Certification(_) => {}
        }
        Feedback::Ok
    }
}
