//! Inference responses: output tensors, certificates in the parameters, and what is said when there is no agreement.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use dropbear_certificates::Charter;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::request::Wanted;
use super::{VERSION, binary_response, data, join_elements};
use crate::ask::{Answer, Answered, Failure, Naming, Tensor, TensorData};
use crate::finding::{Finding, Standing};
use crate::http::error::{ApiError, status};
use crate::http::tally::{label, tally_json};
use crate::market::Market;
use crate::schema::{CLASS, ECHO, LABEL, TALLY, Task};

/// Every answer, if all of them agree; else one error that says which do not.
pub(super) fn all_agreed(answered: Vec<Answered>, charter: &Charter, market: &Market) -> Result<Vec<Answer>, ApiError> {
    let fails = |answered: &Answered| !matches!(answered, Ok(answer) if is_agreed(&answer.finding));
    let Some(first) = answered.iter().find(|answered| fails(answered)) else {
        return Ok(answered.into_iter().filter_map(Result::ok).collect());
    };
    let mut error = match first {
        Ok(_) => ApiError::new(StatusCode::CONFLICT, NO_AGREEMENT),
        Err((_, failure)) => ApiError::new(status(failure), failure.to_string()),
    };
    let mut items: Vec<Value> = answered.iter().map(|answered| item_json(answered, charter, market)).collect();
    if let [Value::Object(only)] = items.as_mut_slice() {
        for (name, value) in std::mem::take(only).into_iter().filter(|(name, _)| name != "error") {
            error = error.with(&name, value);
        }
        return Err(error);
    }
    Err(error.with("items", Value::Array(items)))
}

pub(crate) const NO_AGREEMENT: &str =
    "no-agreement: the models disagree, and no missing ballot could change that; see `tally`";

const fn is_agreed(finding: &Finding) -> bool {
    matches!(finding.standing, Standing::Agreed(_))
}

/// One item in full, whatever became of it.
pub(crate) fn item_json(answered: &Answered, charter: &Charter, market: &Market) -> Value {
    let mut item = Map::new();
    let (naming, finding) = match answered {
        Ok(answer) => (Some(&answer.naming), Some(&answer.finding)),
        Err((naming, failure)) => (naming.as_ref(), failure.finding()),
    };
    if let Some(Naming { request_id, nonce, expiry_ms, .. }) = naming {
        item.insert("request_id".into(), json!(request_id.to_string()));
        item.insert("nonce".into(), json!(HEXLOWER.encode(nonce)));
        item.insert("expiry_ms".into(), json!(expiry_ms));
    }
    item.insert("outcome".into(), json!(outcome(answered)));
    if let Some(finding) = finding {
        if let Standing::Agreed(class) = finding.standing {
            item.insert("class".into(), json!(class));
            item.insert("label".into(), json!(label(market, charter, class)));
        }
        item.insert("assurance".into(), json!(finding.assurance.name()));
        item.insert("tally".into(), tally_json(finding, charter, market));
    }
    match answered {
        Ok(answer) => {
            if let Some(certificate) = &answer.certificate {
                item.insert("certificate".into(), json!(BASE64URL_NOPAD.encode(certificate)));
                item.insert("verified".into(), json!(true));
            }
            if !is_agreed(&answer.finding) {
                item.insert("error".into(), json!(NO_AGREEMENT));
            }
        }
        Err((_, failure)) => {
            item.insert("error".into(), json!(failure.to_string()));
        }
    }
    Value::Object(item)
}

fn outcome(answered: &Answered) -> &'static str {
    match answered {
        Ok(answer) if is_agreed(&answer.finding) => "agreed",
        Ok(_) => "no-agreement",
        Err((_, Failure::Insufficient(..))) => "insufficient",
        Err((_, Failure::Unreadable(_))) => "unreadable",
        Err(_) => "failed",
    }
}

/// What a response is made of.
pub(crate) struct Outputs<'a> {
    pub(crate) task: Task,
    pub(crate) charter: &'a Charter,
    pub(crate) market: &'a Market,
    /// All agreed.
    pub(crate) answers: &'a [Answer],
    /// The input, for tasks that give it back.
    pub(crate) echo: Option<Tensor>,
    /// Whether the client brought its seed: then it is not sent back.
    pub(crate) seed_was_given: bool,
}

#[derive(Serialize)]
struct ResponseJson<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    parameters: Map<String, Value>,
    outputs: Vec<OutputJson<'a>>,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl Outputs<'_> {
    /// The output tensors.
    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        let tally = self.texts(TALLY.name, |answer| tally_json(&answer.finding, self.charter, self.market).to_string());
        match self.task {
            Task::ImageClassification => {
                let classes = self.answers.iter().flat_map(|answer| class(answer).map_or(-1, i64::from).to_le_bytes());
                let shape = vec![self.answers.len() as u64];
                let data = TensorData::Raw(classes.collect::<Vec<_>>().into());
                let name = |answer: &Answer| {
                    class(answer).map_or_else(String::new, |class| label(self.market, self.charter, class))
                };
                vec![
                    self.texts(LABEL.name, name),
                    Tensor { name: CLASS.name.into(), datatype: CLASS.datatype.into(), shape, data },
                    tally,
                ]
            }
            Task::Identity => {
                let echo = self.echo.clone().map(|echo| Tensor { name: ECHO.name.into(), ..echo });
                echo.into_iter().chain([tally]).collect()
            }
        }
    }

    fn texts(&self, name: &str, text: impl Fn(&Answer) -> String) -> Tensor {
        let elements = self.answers.iter().map(|answer| Bytes::from(text(answer))).collect();
        let shape = vec![self.answers.len() as u64];
        Tensor { name: name.into(), datatype: "BYTES".into(), shape, data: TensorData::Elements(elements) }
    }

    /// What goes into the response parameters, as texts.
    pub(crate) fn parameters(&self) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        for (place, Answer { naming, finding, certificate }) in self.answers.iter().enumerate() {
            let mut add = |name: &str, value: String| parameters.push((format!("{name}.{place}"), value));
            add("request_id", naming.request_id.to_string());
            add("nonce", HEXLOWER.encode(&naming.nonce));
            add("expiry_ms", naming.expiry_ms.to_string());
            add("assurance", finding.assurance.name().into());
            if !self.seed_was_given {
                add("seed", BASE64URL_NOPAD.encode(&naming.seed.0));
            }
            if let Some(certificate) = certificate {
                add("certificate", BASE64URL_NOPAD.encode(certificate));
            }
        }
        parameters
    }

    /// The response.
    pub(super) fn respond(&self, group: &str, id: Option<String>, wanted: &Wanted) -> Result<Response, ApiError> {
        let unwritable = |_| ApiError::from(Failure::Internal("an output cannot be written as JSON"));
        let tensors = self.tensors();
        let (mut outputs, mut binary) = (Vec::new(), Vec::new());
        for tensor in &tensors {
            let Some(in_binary) = wanted.form(&tensor.name) else { continue };
            let (mut parameters, mut data) = (None, None);
            if in_binary {
                let bytes = match &tensor.data {
                    TensorData::Raw(raw) => raw.clone(),
                    TensorData::Elements(elements) => join_elements(elements),
                };
                parameters = Some(json!({ "binary_data_size": bytes.len() }));
                binary.push(bytes);
            } else {
                data = Some(data::write(&tensor.datatype, &tensor.data).map_err(unwritable)?);
            }
            outputs.push(OutputJson {
                name: &tensor.name,
                datatype: &tensor.datatype,
                shape: &tensor.shape,
                parameters,
                data,
            });
        }
        let parameters = self.parameters().into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        let response = ResponseJson { model_name: group, model_version: VERSION, id, parameters, outputs };
        if binary.is_empty() {
            return Ok(Json(response).into_response());
        }
        Ok(binary_response(serde_json::to_vec(&response).map_err(unwritable)?, binary))
    }
}

fn class(answer: &Answer) -> Option<u32> {
    match answer.finding.standing {
        Standing::Agreed(class) => Some(class),
        _ => None,
    }
}
