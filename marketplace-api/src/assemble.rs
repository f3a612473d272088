//! Assembling: from a quorum, a proven record and what the requester may see to a certificate that verifies.

use bytes::Bytes;
use dropbear_certificates::{Attachments, Certificate, Charter, ModelSet, RequestAttachment, Vote};

use crate::ask::{Answer, Failure};
use crate::finding::{Finding, open_votes};
use crate::market::Market;
use crate::mint::Minted;
use crate::quorum::{ProvenRecord, Quorum};

/// The answer to a request: its certificate with every opening, verified.
pub(crate) fn answer(
    market: &Market,
    minted: &Minted,
    quorum: &Quorum,
    proven: ProvenRecord,
    known: &[Vote],
    models: Option<ModelSet>,
) -> Result<Answer, Failure> {
    let charter = charter(market, &proven)?;
    let votes = open_votes(&proven.record, minted.vote_salt, known, charter)
        .ok_or_else(|| Failure::Committee("the record's votes are not those that the owners gave".into()))?;
    let finding = Finding::of_record(&proven.record, &votes, charter);
    let request = Some(request_attachment(minted));
    let attachments = Attachments { request, votes: Some(votes), ..Attachments::default() };
    let certificate = certificate(market, quorum, proven, attachments, models)?;
    Ok(Answer { naming: minted.naming, finding, certificate: Some(certificate) })
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

fn charter<'a>(market: &'a Market, proven: &ProvenRecord) -> Result<&'a Charter, Failure> {
    let charter = market.trust.charter(&proven.record.charter);
    charter.ok_or_else(|| Failure::Committee("the record names a charter that genesis does not contain".into()))
}

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
    Ok(certificate.to_bytes().into())
}
