//! Assembling: from a quorum, a proven record and what the requester may see to a certificate that verifies.

use bytes::Bytes;
use dropbear_certificates::request::result_salt;
use dropbear_certificates::{
    Attachments, Certificate, Digest, ModelSet, Record, RequestAttachment, ValueOpening, Vote, VotesAttachment,
};

use crate::ask::{Answer, Failure};
use crate::finding::{Finding, open_votes};
use crate::market::Market;
use crate::mint::Minted;
use crate::quorum::{ProvenRecord, Quorum};

/// Larger votes than these together stay closed, so that the certificate stays below its bound; the result is opened.
const OPENED_VOTES_BYTES_MAX: usize = 24 << 10;

/// The answer to a request: its certificate with every opening, verified.
pub(crate) fn answer(
    market: &Market,
    minted: &Minted,
    quorum: &Quorum,
    proven: ProvenRecord,
    known: &[Vote],
    models: Option<ModelSet>,
) -> Result<Answer, Failure> {
    let trusted = market.trusted();
    let charter = trusted.charter(&proven.record.charter).ok_or(Failure::Committee(UNPROVEN.into()))?;
    let votes = open_votes(&proven.record, minted.vote_salt, known, charter)
        .ok_or(Failure::Closed(minted.naming.request_id))?;
    let finding = Finding::of_record(&proven.record, &votes, charter);
    let request = Some(request_attachment(minted));
    let result = result_opening(&proven.record, minted.vote_salt, &finding);
    let votes = Some(votes).filter(|votes| votes_bytes(votes) <= OPENED_VOTES_BYTES_MAX);
    let attachments = Attachments { request, votes, result, ..Attachments::default() };
    let certificate = certificate(market, quorum, proven, attachments, models)?;
    Ok(Answer { naming: minted.naming, finding, output: None, certificate: Some(certificate) })
}

/// Opens the result where the record commits to one: nobody needs to recompute it from the votes.
fn result_opening(record: &Record, salt: Digest, finding: &Finding) -> Option<ValueOpening> {
    let value = record.result.and(finding.result())?.clone();
    let salt = result_salt(&salt, &value.to_bytes()?);
    Some(ValueOpening { salt, value })
}

fn votes_bytes(votes: &VotesAttachment) -> usize {
    votes.votes.iter().filter_map(Vote::to_bytes).map(|bytes| bytes.len()).sum()
}

/// The certificate as anybody may have it: without openings.
pub(crate) fn public_certificate(
    market: &Market,
    quorum: &Quorum,
    proven: ProvenRecord,
    models: Option<ModelSet>,
) -> Result<Bytes, Failure> {
    certificate(market, quorum, proven, Attachments::default(), models)
}

const UNPROVEN: &str = "the record names a charter that was not proven to this gateway";

fn request_attachment(minted: &Minted) -> RequestAttachment {
    RequestAttachment {
        key: minted.request.key,
        nonce: minted.request.nonce,
        opening: minted.opening,
        signature: minted.signature,
    }
}

fn certificate(
    market: &Market,
    quorum: &Quorum,
    proven: ProvenRecord,
    attachments: Attachments,
    models: Option<ModelSet>,
) -> Result<Bytes, Failure> {
    let models = models.filter(|models| models.digest() == proven.record.model_set);
    let attachments = Attachments { models, ..attachments };
    let ProvenRecord { record, path } = proven;
    let certificate =
        Certificate::new(quorum.header.clone(), record, path, market.committee(), &quorum.attestations, attachments);
    market.verify(&certificate).map_err(|refusal| Failure::Committee(refusal.to_string()))?;
    // Verified already as part of what this gateway trusts: it is for holders who know the genesis alone.
    let chain = market.trusted().chain(&certificate.record().group, certificate.record().seq);
    let certificate = match chain {
        Some(chain) => {
            let attachments = Attachments { chain: Some(chain), ..certificate.attachments().clone() };
            certificate.with_attachments(attachments)
        }
        None => certificate,
    };
    Ok(certificate.to_bytes().into())
}
