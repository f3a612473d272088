//! One item's answer as JSON, whatever became of it.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Map, Value, json};

use super::{tally_json, vote_json};
use crate::ask::{Answered, Failure, Naming};
use crate::finding::Standing;
use crate::market::Market;

/// What is said when a group does not agree.
pub(crate) const NO_AGREEMENT: &str =
    "no-agreement: the models disagree, and no missing ballot could change that; see `tally`";

/// One item in full, whatever became of it.
pub(crate) fn item_json(answered: &Answered, market: &Market) -> Value {
    let mut item = Map::new();
    let (naming, finding) = match answered {
        Ok(answer) => (&answer.naming, Some(&answer.finding)),
        Err(unanswered) => (&unanswered.naming, unanswered.failure.finding()),
    };
    let Naming { request_id, nonce, seed, expiry_ms } = naming;
    item.insert("request_id".into(), json!(request_id.to_string()));
    item.insert("nonce".into(), json!(HEXLOWER.encode(nonce)));
    item.insert("seed".into(), json!(BASE64URL_NOPAD.encode(&seed.0)));
    item.insert("expiry_ms".into(), json!(expiry_ms));
    item.insert("outcome".into(), json!(outcome(answered)));
    if let Some(finding) = finding {
        let charter = &*finding.charter;
        if let Standing::Agreed(result) = &finding.standing
            && let Value::Object(result) = vote_json(result, charter, market)
        {
            item.extend(result);
        }
        item.insert("assurance".into(), json!(finding.assurance.name()));
        if finding.is_agreed() {
            item.insert("promise".into(), json!(charter.policy.promise(finding.assurance)));
        }
        item.insert("tally".into(), tally_json(finding, market));
    }
    match answered {
        Ok(answer) => {
            if let Some(certificate) = &answer.certificate {
                item.insert("certificate".into(), json!(BASE64URL_NOPAD.encode(certificate)));
                item.insert("verified".into(), json!(true));
            }
            if !answer.finding.is_agreed() {
                item.insert("error".into(), json!(NO_AGREEMENT));
            }
        }
        Err(unanswered) => {
            item.insert("error".into(), json!(unanswered.failure.to_string()));
        }
    }
    Value::Object(item)
}

/// What became of it, in a word.
pub(crate) fn outcome(answered: &Answered) -> &'static str {
    match answered {
        Ok(answer) if answer.finding.is_agreed() => "agreed",
        Ok(_) => "no-agreement",
        Err(unanswered) => match unanswered.failure {
            Failure::Insufficient(..) => "insufficient",
            Failure::Unreadable(_) => "unreadable",
            _ => "failed",
        },
    }
}
