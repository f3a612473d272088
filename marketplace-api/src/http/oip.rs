//! Open Inference Protocol (KServe v2) over REST; a model group is a "model".
//!
//! What real clients need beyond the text of the protocol: `Content-Type` may be missing on infer; health answers have
//! bodies; unknown members are ignored; `id` is echoed; error bodies hold a string `error`.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;
use crate::ask::{Ask, Failure, Tensor};
use crate::options;
use crate::schema::{PLATFORM, Task, TensorSpec, VERSION};
use crate::show::Outputs;

mod answer;
mod data;
mod request;

use request::{InferRequest, Parameters};

const HEADER_LENGTH: &str = "inference-header-content-length";

/// A group, and a version if the path names one.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct ModelPath {
    group: String,
    version: Option<String>,
}

impl ModelPath {
    fn check(&self) -> Result<(), ApiError> {
        match self.version.as_deref() {
            None | Some(VERSION) => Ok(()),
            Some(_) => Err(ApiError::not_found(format!("groups are served under version {VERSION} alone"))),
        }
    }
}

pub(crate) async fn server_metadata() -> Json<Value> {
    Json(json!({ "name": "dropbear", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"] }))
}

pub(crate) async fn live(State(shared): State<Shared>) -> Json<Value> {
    Json(json!({ "live": true, "ready": shared.core.is_ready() }))
}

pub(crate) async fn ready(State(shared): State<Shared>) -> Response {
    let Some(problem) = shared.core.problem() else {
        return Json(json!({ "live": true, "ready": true })).into_response();
    };
    ApiError::from(Failure::Unavailable(format!("not ready: {problem}")))
        .with("live", json!(true))
        .with("ready", json!(false))
        .into_response()
}

pub(crate) async fn model_metadata(
    State(shared): State<Shared>,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, ApiError> {
    path.check()?;
    let task = Task::of(&*shared.core.charter(&path.group)?)?;
    let specs = |specs: Vec<TensorSpec>| -> Vec<Value> {
        let spec = |spec: &TensorSpec| json!({ "name": spec.name, "datatype": spec.datatype, "shape": spec.shape });
        specs.iter().map(spec).collect()
    };
    Ok(Json(json!({
        "name": path.group,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": specs(vec![task.input()]),
        "outputs": specs(task.outputs()),
    })))
}

pub(crate) async fn model_ready(
    State(shared): State<Shared>,
    Path(path): Path<ModelPath>,
) -> Result<Response, ApiError> {
    path.check()?;
    shared.core.charter(&path.group)?;
    if shared.core.is_group_ready(&path.group) {
        return Ok(Json(json!({ "name": path.group, "ready": true })).into_response());
    }
    let failure = Failure::Unavailable(format!("too few owners of `{}` have a model in force", path.group));
    Err(ApiError::from(failure).with("name", json!(path.group)).with("ready", json!(false)))
}

pub(crate) async fn infer(
    State(shared): State<Shared>,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let held = shared.bodies.read(&headers, body).await?;
    path.check()?;
    let task = Task::of(&*shared.core.charter(&path.group)?)?;
    let parsed = Parsed::read(task, &headers, &held.bytes)?;
    let names = Parameters::texts(&parsed.parameters);
    let options =
        options::options(|name| options::from_texts(&names, name).or_else(|| options::from_headers(&headers, name)))?;
    let echo = Some(parsed.input.clone());
    let seed_was_given = options.seed.is_some();
    let ask = Ask { group: path.group.clone(), input: parsed.input, options };
    let answered = shared.core.ask(ask).await?;
    drop(held);
    let answers = answer::all_agreed(answered, &shared.core.market)?;
    let outputs = Outputs { task, market: &shared.core.market, answers: &answers, echo, seed_was_given };
    answer::respond(&outputs, &path.group, parsed.id, &parsed.wanted)
}

/// A request, whichever form it came in.
struct Parsed {
    id: Option<String>,
    parameters: Parameters,
    input: Tensor,
    wanted: request::Wanted,
}

impl Parsed {
    fn read(task: Task, headers: &HeaderMap, body: &Bytes) -> Result<Self, ApiError> {
        let Some(length) = headers.get(HEADER_LENGTH) else { return Self::described(task, body, Bytes::new()) };
        let length = length.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok());
        let length = length.filter(|length| *length <= body.len()).ok_or_else(|| {
            ApiError::bad_request("Inference-Header-Content-Length must be the length of the JSON part of the body")
        })?;
        if length == 0 {
            return Ok(Self {
                id: None,
                parameters: Parameters::default(),
                input: task.raw(body.clone()),
                wanted: request::Wanted::all_binary(),
            });
        }
        Self::described(task, &body.slice(..length), body.slice(length..))
    }

    fn described(task: Task, json: &Bytes, binary: Bytes) -> Result<Self, ApiError> {
        let request: InferRequest<'_> = serde_json::from_slice(json)
            .map_err(|error| ApiError::bad_request(format!("not an inference request: {error}")))?;
        let wanted = request.wanted(task)?;
        let [input] = request.inputs.as_slice() else {
            return Err(ApiError::bad_request(format!(
                "this group takes exactly one input, `{}`; {} came",
                task.input_name(),
                request.inputs.len()
            )));
        };
        let input = input.tensor(task, binary)?;
        Ok(Self { id: request.id, parameters: request.parameters, input, wanted })
    }
}

/// A response of JSON and then raw tensors.
fn binary_response(json: Vec<u8>, tensors: Vec<Bytes>) -> Response {
    let length = json.len();
    let mut body = json;
    tensors.iter().for_each(|tensor| body.extend_from_slice(tensor));
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(HEADER_LENGTH, HeaderValue::from(length));
    response
}
