//! Verification: from a certificate and a trust root to what is proven.
//!
//! The steps follow `SPEC.md`, "Verification"; each refusal names the step. Trust root and time are arguments: nothing
//! here reads a clock, a file or a network.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::bitmap::Bitmap;
use crate::cbor::{Decoder, Encoder};
use crate::certificate::{Attachments, Certificate};
use crate::charter::Charter;
use crate::digest::Digest;
use crate::error::Refusal;
use crate::genesis::{Committee, Genesis};
use crate::header::Header;
use crate::policy::Vote;
use crate::record::{Outcome, Record};
use crate::request::{Request, request_id, vote_commitment};

/// What a verifier trusts: a market's genesis.
#[derive(Clone, Debug)]
pub struct TrustRoot {
    genesis: Genesis,
    digest: Digest,
    config: Digest,
    charters: BTreeMap<Digest, usize>,
}

impl TrustRoot {
    /// Trusts this genesis, and through it its committee and its charters.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        let charters = genesis.charters.iter().enumerate().map(|(place, charter)| (charter.digest(), place)).collect();
        Self { digest: genesis.digest(), config: genesis.committee.digest(), charters, genesis }
    }

    /// The genesis.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The committee with this config digest at this epoch, if the root vouches for it.
    #[must_use]
    pub fn committee(&self, epoch: u64, config: &Digest) -> Option<&Committee> {
        (epoch == self.genesis.committee.epoch && *config == self.config).then_some(&self.genesis.committee)
    }

    /// The charter with this digest, if the root contains it.
    #[must_use]
    pub fn charter(&self, digest: &Digest) -> Option<&Charter> {
        self.charters.get(digest).map(|place| &self.genesis.charters[*place])
    }
}

/// A certificate that verified. Only [`Certificate::verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    header: Header,
    record: Record,
    charter: Charter,
    signers: Vec<usize>,
    attachments: Attachments,
}

impl Certificate {
    /// Verifies everything that the certificate holds against `trust`.
    ///
    /// # Errors
    /// [`Refusal`] names the first step that failed.
    pub fn verify(&self, trust: &TrustRoot) -> Result<Verified, Refusal> {
        let (header, record) = (&self.header, &self.record);
        if header.genesis != trust.digest {
            return Err(Refusal::Genesis);
        }
        let committee = trust.committee(header.epoch, &header.config).ok_or(Refusal::Committee)?;
        let signers = self.check_attestations(committee)?;

        let bound = record.genesis == header.genesis
            && (record.epoch, record.config) == (header.epoch, header.config)
            && (record.seq, record.agreed_ms) == (header.seq, header.agreed_ms);
        if !bound {
            return Err(Refusal::Binding);
        }
        let charter = trust.charter(&record.charter).ok_or(Refusal::Charter)?;
        let under_charter = record.group == charter.group
            && record.policy == charter.policy
            && (record.owners, record.faults) == (charter.roster.len(), charter.fault_bound());
        if !under_charter {
            return Err(Refusal::Binding);
        }
        if !record.follows() {
            return Err(Refusal::Outcome);
        }
        if record.expiry_ms < record.agreed_ms {
            return Err(Refusal::Expired);
        }
        check_request(record, &self.attachments)?;
        check_votes(record, &self.attachments)?;
        if self.attachments.models.as_ref().is_some_and(|models| models.digest() != record.model_set) {
            return Err(Refusal::Opening("the model set"));
        }
        Ok(Verified {
            header: header.clone(),
            record: record.clone(),
            charter: charter.clone(),
            signers,
            attachments: self.attachments.clone(),
        })
    }

    fn check_attestations(&self, committee: &Committee) -> Result<Vec<usize>, Refusal> {
        let mut encoded = Encoder::new();
        encoded.bytes(&self.signers);
        let signers = Bitmap::decode(&mut Decoder::new(&encoded.finish()), committee.members.len())
            .map_err(Refusal::Malformed)?;
        let places: Vec<_> = signers.iter().collect();
        let (found, needed) = (places.len(), committee.quorum());
        if found != self.signatures.len() || found < needed {
            return Err(Refusal::Quorum { found: found.min(self.signatures.len()), needed });
        }
        for (place, signature) in places.iter().zip(&self.signatures) {
            if !self.header.is_attested(&committee.members[*place].attestation, signature) {
                return Err(Refusal::Signature(*place));
            }
        }
        Ok(places)
    }
}

fn check_request(record: &Record, attachments: &Attachments) -> Result<(), Refusal> {
    let Some(shown) = &attachments.request else {
        return Ok(());
    };
    if shown.opening.commitment() != record.commitment {
        return Err(Refusal::Opening("the request's input"));
    }
    let request = Request {
        genesis: record.genesis,
        group: record.group.clone(),
        key: shown.key,
        origin: record.origin,
        nonce: shown.nonce,
        commitment: record.commitment,
        expiry_ms: record.expiry_ms,
        demand: record.demand,
    };
    if request_id(&request.statement()) != record.request {
        return Err(Refusal::Opening("the request id"));
    }
    match &shown.signature {
        Some(signature) if !request.is_signed(signature) => Err(Refusal::Opening("the requester's signature")),
        _ => Ok(()),
    }
}

fn check_votes(record: &Record, attachments: &Attachments) -> Result<(), Refusal> {
    let Some(shown) = &attachments.votes else {
        return Ok(());
    };
    let commitments = record.votes.iter().filter_map(|group| group.commitment.as_ref());
    let opened = shown.votes.iter().map(|vote| vote_commitment(&shown.salt, *vote));
    if commitments.map(|commitment| Some(*commitment)).eq(opened) { Ok(()) } else { Err(Refusal::Opening("the votes")) }
}

impl Verified {
    /// The attested header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The certified record.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The charter under which it was decided.
    #[must_use]
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The members whose attestations verified, by place in the committee.
    #[must_use]
    pub fn signers(&self) -> &[usize] {
        &self.signers
    }

    /// The attachments; all of them open what the record commits to.
    #[must_use]
    pub const fn attachments(&self) -> &Attachments {
        &self.attachments
    }

    /// The certified class: `None` if there was no agreement, or if the votes are not shown.
    #[must_use]
    pub fn class(&self) -> Option<u32> {
        match (self.record.outcome, self.attachments.votes.as_ref()?.votes.first()?) {
            (Outcome::Agreed, Vote::Class(class)) => Some(*class),
            _ => None,
        }
    }

    /// Whether this certificate answers a request over the input with this digest; `None` if the request is not shown.
    #[must_use]
    pub fn is_about(&self, input: &Digest) -> Option<bool> {
        self.attachments.request.as_ref().map(|request| request.opening.input == *input)
    }
}
