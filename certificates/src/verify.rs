//! Verification: from a certificate and a trust root to what is proven.
//!
//! The steps follow `SPEC.md`, "Verification", in its order; each refusal names the step. Trust root, time and effort are
//! arguments: nothing here reads a clock, a file or a network.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::attachments::Attachments;
use crate::bitmap::Bitmap;
use crate::cbor::CborError;
use crate::certificate::Certificate;
use crate::charter::Charter;
use crate::conflict::Attested;
use crate::digest::Digest;
use crate::effort::Effort;
use crate::error::Refusal;
use crate::genesis::Committee;
use crate::header::Header;
use crate::key::{PublicKey, Signature};
use crate::openings::check_openings;
use crate::policy::Vote;
use crate::record::{Outcome, Record};
use crate::request::Origin;
pub use crate::trust::TrustRoot;
use crate::trust::places;

/// What no certificate proves; whoever shows a verdict shows this with it.
pub const NOT_PROVEN: [&str; 4] = [
    "that the named weights really computed the votes",
    "that the owners are independent of each other",
    "that the client did not ask before under another nonce",
    "anything, if a quorum of the committee colluded or lost its keys",
];

/// A certificate that verified. Only [`Certificate::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    certificate: Certificate,
    charter: Arc<Charter>,
    committee: Arc<Committee>,
    signers: Vec<usize>,
    trust_governance_seq: u64,
}

/// What is proven about who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who made the request id unique, by the committee's word. A client's own key and nonce make it one request of that
    /// client; a gateway's promise nothing towards the client: the gateway may have asked before under another nonce.
    pub origin: Origin,
    /// Who signed the request; `None` if the request is not shown.
    pub key: Option<PublicKey>,
    /// Whether the signature itself was shown and verified. Without it the committee vouches that it was checked.
    pub signature_shown: bool,
}

impl Certificate {
    /// Verifies everything that the certificate holds against `trust`.
    ///
    /// # Errors
    /// [`Refusal`] names the first step that failed.
    pub fn verify(&self, trust: &TrustRoot) -> Result<Verified, Refusal> {
        self.clone().into_verified(trust, &mut Effort::default())
    }

    /// As [`Certificate::verify`], within a budget and with tables and memory if there are any.
    ///
    /// # Errors
    /// [`Refusal`] names the first step that failed.
    pub fn verify_with(&self, trust: &TrustRoot, effort: &mut Effort<'_>) -> Result<Verified, Refusal> {
        self.clone().into_verified(trust, effort)
    }

    /// As [`Certificate::verify_with`], without a copy.
    ///
    /// # Errors
    /// [`Refusal`] names the first step that failed.
    pub fn into_verified(self, trust: &TrustRoot, effort: &mut Effort<'_>) -> Result<Verified, Refusal> {
        if self.header.genesis != trust.digest() {
            return Err(Refusal::Genesis);
        }
        let extended = match &self.attachments.chain {
            Some(chain) => Some(trust.extended_with(chain, effort)?),
            None => None,
        };
        let trust = extended.as_ref().unwrap_or(trust);
        let epoch = trust.check_place(&self.header)?;
        let signers = self.check_quorum(&epoch.committee, effort)?;
        self.check_record_under_header()?;
        let charter = trust.charter_at(&self.record.charter, self.record.seq)?;
        self.check_record_under_charter(charter)?;
        if !self.record.follows() {
            return Err(Refusal::Outcome);
        }
        if self.record.expiry_ms < self.record.agreed_ms {
            return Err(Refusal::Expired);
        }
        check_openings(&self.record, charter, &self.attachments, effort)?;
        Ok(Verified {
            charter: Arc::clone(charter),
            committee: Arc::clone(&epoch.committee),
            signers: places(&signers),
            trust_governance_seq: trust.governance_seq(),
            certificate: self,
        })
    }

    /// The attestations, from memory if this very quorum verified before.
    fn check_quorum(&self, committee: &Committee, effort: &mut Effort<'_>) -> Result<Bitmap, Refusal> {
        if effort.seen.as_ref().is_some_and(|seen| seen.contains(self)) {
            return Bitmap::from_bytes(&self.signers, committee.members.len()).map_err(Refusal::Malformed);
        }
        let signers = check_attestations(&self.header, committee, &self.signers, &self.signatures, effort)?;
        if let Some(seen) = &mut effort.seen {
            seen.insert(self);
        }
        Ok(signers)
    }

    fn check_record_under_header(&self) -> Result<(), Refusal> {
        let (header, record) = (&self.header, &self.record);
        let bound = record.genesis == header.genesis
            && (record.epoch, record.config) == (header.epoch, header.config)
            && (record.seq, record.agreed_ms) == (header.seq, header.agreed_ms)
            && record.leaf_index > 0;
        if bound { Ok(()) } else { Err(Refusal::Binding) }
    }

    fn check_record_under_charter(&self, charter: &Charter) -> Result<(), Refusal> {
        let record = &self.record;
        let bound = record.group == charter.group
            && record.policy == charter.policy
            && (record.owners, record.faults) == (charter.roster.len(), charter.fault_bound());
        if bound { Ok(()) } else { Err(Refusal::Binding) }
    }
}

/// Checks that a quorum of `committee` attested `header`: the raw bitmap fits, there is one signature per set bit, they
/// are enough, and each verifies.
pub(crate) fn check_attestations(
    header: &Header,
    committee: &Committee,
    signers: &[u8],
    signatures: &[Signature],
    effort: &mut Effort<'_>,
) -> Result<Bitmap, Refusal> {
    let signers = Bitmap::from_bytes(signers, committee.members.len()).map_err(Refusal::Malformed)?;
    let (found, needed) = (signers.count(), committee.quorum());
    if found != signatures.len() {
        return Err(Refusal::Malformed(CborError::Bounds));
    }
    if found < needed {
        return Err(Refusal::Quorum { found, needed });
    }
    for (place, signature) in signers.iter().zip(signatures) {
        let key = &committee.members[place].attestation;
        if !effort.verifies(key, &header.signed_bytes(key), signature)? {
            return Err(Refusal::Signature(place));
        }
    }
    Ok(signers)
}

impl Verified {
    /// The certificate as it was received.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The attested header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.certificate.header
    }

    /// The certified record.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.certificate.record
    }

    /// The charter under which it was decided.
    #[must_use]
    pub fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The committee that attested.
    #[must_use]
    pub fn committee(&self) -> &Committee {
        &self.committee
    }

    /// The members whose attestations verified, by place in the committee.
    #[must_use]
    pub fn signers(&self) -> &[usize] {
        &self.signers
    }

    /// The header with the keys that attested it, for the conflict check.
    #[must_use]
    pub fn attested(&self) -> Attested {
        let keys = self.signers.iter().map(|place| self.committee.members[*place].attestation).collect();
        Attested { header: self.header().clone(), keys }
    }

    /// The attachments; all of them open what the record commits to.
    #[must_use]
    pub fn attachments(&self) -> &Attachments {
        &self.certificate.attachments
    }

    /// The certified result: `None` if there was no agreement, or if nothing that is attached shows it.
    #[must_use]
    pub fn result(&self) -> Option<&Vote> {
        if self.record().outcome != Outcome::Agreed {
            return None;
        }
        let shown = self.attachments();
        if self.record().policy.commits_to_result() {
            return shown.result.as_ref().map(|opening| &opening.value);
        }
        let first = shown.single_votes.first().filter(|(group, _)| *group == 0).map(|(_, opening)| &opening.value);
        shown.votes.as_ref().and_then(|votes| votes.votes.first()).or(first)
    }

    /// The certified class: `None` if there was no agreement, if the policy agrees on something else, or if nothing that
    /// is attached shows it.
    #[must_use]
    pub fn class(&self) -> Option<u32> {
        match self.result()? {
            Vote::Class(class) => Some(*class),
            _ => None,
        }
    }

    /// Whether this certificate answers a request over the input with this digest; `None` if the request is not shown.
    #[must_use]
    pub fn is_about(&self, input: &Digest) -> Option<bool> {
        self.attachments().request.as_ref().map(|request| request.opening.input == *input)
    }

    /// What is proven about who asked.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        let shown = self.attachments().request.as_ref();
        Provenance {
            origin: self.record().origin,
            key: shown.map(|request| request.key),
            signature_shown: shown.is_some_and(|request| request.signature.is_some()),
        }
    }

    /// The owners whose own signature on their vote was shown and verified, by place on the roster.
    pub fn owners_proven(&self) -> impl Iterator<Item = usize> + '_ {
        self.attachments().ballots.iter().map(|proof| proof.owner)
    }

    /// Whether the trust root knew every governance entry up to this header. If not, committee and charter verified, but
    /// the charter may have been replaced by an entry that the root has not seen: fetch the newer chain.
    #[must_use]
    pub const fn is_trust_current(&self) -> bool {
        self.certificate.header.governance_seq <= self.trust_governance_seq
    }
}
