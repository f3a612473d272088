//! Admission: which batches a node answers at all. Pure; every refusal says whose fault it is.
//!
//! The commitment check is what stops a gateway from sending different inputs to different owners: a request's id binds
//! its commitment, the commitment binds the input and the seed, and a node votes only on the input that it binds.

use std::collections::BTreeSet;

use dropbear_certificates::ballot::{BATCH_REQUESTS_MAX, batch_root};
use dropbear_certificates::request::{Field, input_digest};
use dropbear_certificates::{Digest, Origin, Request, RequestOpening, Seed};
use dropbear_wire::convert::{self, Malformed};
use dropbear_wire::v1::{InferItem, InferRequest, Tensor};

/// What a batch must fit.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Digest of the node's market.
    pub genesis: &'a Digest,
    /// The node's group.
    pub group: &'a str,
    /// Digest of the charter in force.
    pub charter: &'a Digest,
    /// A request may expire at most this long from now.
    pub lifetime_ms_max: u64,
    /// Unix time in milliseconds.
    pub now_ms: u64,
}

/// One request that the node will answer.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmittedItem {
    /// The request's id.
    pub id: Digest,
    /// Unix time in milliseconds after which no outcome may be recorded.
    pub expiry_ms: u64,
    /// Salt of the vote field.
    pub vote_salt: Digest,
    /// Salt of the output field.
    pub output_salt: Digest,
    /// The input that the request commits to.
    pub input: Tensor,
}

/// A batch that the node will answer.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmittedBatch {
    /// The batch's digest.
    pub root: Digest,
    /// The requests, in batch order.
    pub items: Vec<AdmittedItem>,
}

/// Why a batch is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No requests, or too many.
    #[error("a batch holds 1 to {BATCH_REQUESTS_MAX} requests, this one {0}")]
    Count(usize),
    /// For another group.
    #[error("this node serves group `{served}`, not `{asked}`: ask a node of that group")]
    Group {
        /// The node's group.
        served: String,
        /// The group asked for.
        asked: String,
    },
    /// Under another charter than the one in force.
    #[error("the charter in force is {in_force}, not {asked}: fetch the registry again and retry")]
    StaleCharter {
        /// Digest of the charter in force.
        in_force: Digest,
        /// The digest asked for.
        asked: Digest,
    },
    /// A field of the message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field of one request.
    #[error("request {0}: its {1} is missing or malformed")]
    Item(usize, &'static str),
    /// Of another market or group.
    #[error("request {0} belongs to another market or group")]
    Foreign(usize),
    /// The same request twice.
    #[error("request {0} stands in the batch twice")]
    Twice(usize),
    /// Too late.
    #[error("request {0} has expired: leave it out, or ask under a new nonce")]
    Expired(usize),
    /// Too far in the future.
    #[error("request {0} expires later than the market allows")]
    ExpiryTooFar(usize),
    /// The gateway sent another input, or another seed.
    #[error("the input is not the one that request {0} commits to: the gateway sent another input or seed")]
    OtherInput(usize),
    /// Not signed by the client.
    #[error("request {0} is not signed by the client that it names")]
    Signature(usize),
}

impl From<NotAdmitted> for tonic::Status {
    fn from(error: NotAdmitted) -> Self {
        let message = error.to_string();
        match error {
            NotAdmitted::StaleCharter { .. } => Self::failed_precondition(message),
            NotAdmitted::Expired(_) => Self::deadline_exceeded(message),
            _ => Self::invalid_argument(message),
        }
    }
}

/// Admits a batch, or says why not.
///
/// # Errors
/// [`NotAdmitted`], the sender's fault but for [`NotAdmitted::StaleCharter`], after which it should retry.
pub fn admit(request: InferRequest, terms: &Terms<'_>) -> Result<AdmittedBatch, NotAdmitted> {
    let count = request.items.len();
    if count == 0 || count > BATCH_REQUESTS_MAX {
        return Err(NotAdmitted::Count(count));
    }
    if request.group != terms.group {
        return Err(NotAdmitted::Group { served: terms.group.into(), asked: request.group });
    }
    let asked = convert::digest(&request.charter, "charter")?;
    if asked != *terms.charter {
        return Err(NotAdmitted::StaleCharter { in_force: *terms.charter, asked });
    }
    let mut seen = BTreeSet::new();
    let mut items = Vec::with_capacity(count);
    for (place, item) in request.items.into_iter().enumerate() {
        let item = admit_item(place, item, terms)?;
        if !seen.insert(item.id) {
            return Err(NotAdmitted::Twice(place));
        }
        items.push(item);
    }
    let ids: Vec<_> = items.iter().map(|item| item.id).collect();
    Ok(AdmittedBatch { root: batch_root(&ids), items })
}

fn admit_item(place: usize, item: InferItem, terms: &Terms<'_>) -> Result<AdmittedItem, NotAdmitted> {
    let request = Request::from_statement(&item.request).map_err(|_| NotAdmitted::Item(place, "request statement"))?;
    if request.genesis != *terms.genesis || request.group != terms.group {
        return Err(NotAdmitted::Foreign(place));
    }
    if request.expiry_ms <= terms.now_ms {
        return Err(NotAdmitted::Expired(place));
    }
    if request.expiry_ms > terms.now_ms.saturating_add(terms.lifetime_ms_max) {
        return Err(NotAdmitted::ExpiryTooFar(place));
    }
    let seed = <[u8; 32]>::try_from(&*item.seed).map_err(|_| NotAdmitted::Item(place, "seed"))?;
    let (seed, input) = (Seed(seed), item.input.ok_or(NotAdmitted::Item(place, "input"))?);
    let digest = input_digest(&input.name, &input.datatype, &input.shape, &input.data);
    if RequestOpening::new(&seed, digest).commitment() != request.commitment {
        return Err(NotAdmitted::OtherInput(place));
    }
    check_signature(place, &request, &item.signature)?;
    Ok(AdmittedItem {
        id: request.id(),
        expiry_ms: request.expiry_ms,
        vote_salt: seed.salt(Field::Vote),
        output_salt: seed.salt(Field::Output),
        input,
    })
}

fn check_signature(place: usize, request: &Request, signature: &[u8]) -> Result<(), NotAdmitted> {
    let signature = convert::signature(signature, "signature").map_err(|_| NotAdmitted::Item(place, "signature"))?;
    match (request.origin, signature) {
        (Origin::GatewayMinted, None) => Ok(()),
        (Origin::GatewayMinted, Some(_)) => Err(NotAdmitted::Item(place, "signature")),
        (Origin::ClientSigned, Some(signature)) if request.is_signed(&signature) => Ok(()),
        (Origin::ClientSigned, _) => Err(NotAdmitted::Signature(place)),
    }
}

#[cfg(test)]
mod tests;
