//! Inference responses, and the one error that stands for all items without agreement.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::request::Wanted;
use super::{binary_response, data};
use crate::ask::{Answer, Answered, Failure, TensorData};
use crate::elements::join_elements;
use crate::http::error::ApiError;
use crate::market::Market;
use crate::schema::VERSION;
use crate::show::{NO_AGREEMENT, Outputs, item_json};

/// Every answer, if all of them agree; else one error that says which do not.
pub(super) fn all_agreed(answered: Vec<Answered>, market: &Market) -> Result<Vec<Answer>, ApiError> {
    let fails = |answered: &Answered| !matches!(answered, Ok(answer) if answer.finding.is_agreed());
    let Some(first) = answered.iter().find(|answered| fails(answered)) else {
        return Ok(answered.into_iter().filter_map(Result::ok).collect());
    };
    let mut error = match first {
        Ok(_) => ApiError::new(StatusCode::CONFLICT, NO_AGREEMENT),
        Err(unanswered) => unanswered.failure.clone().into(),
    };
    let mut items: Vec<Value> = answered.iter().map(|answered| item_json(answered, market)).collect();
    if let [Value::Object(only)] = items.as_mut_slice() {
        for (name, value) in std::mem::take(only).into_iter().filter(|(name, _)| name != "error") {
            error = error.with(&name, value);
        }
        return Err(error);
    }
    Err(error.with("items", Value::Array(items)))
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

/// The response.
pub(super) fn respond(
    shown: &Outputs<'_>,
    group: &str,
    id: Option<String>,
    wanted: &Wanted,
) -> Result<Response, ApiError> {
    let unwritable = |_| ApiError::from(Failure::Internal("an output cannot be written as JSON"));
    let tensors = shown.tensors(|name| wanted.form(name).is_some());
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
    let parameters = shown.parameters().into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let response = ResponseJson { model_name: group, model_version: VERSION, id, parameters, outputs };
    if binary.is_empty() {
        return Ok(Json(response).into_response());
    }
    Ok(binary_response(serde_json::to_vec(&response).map_err(unwritable)?, binary))
}
