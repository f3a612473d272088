//! The marketplace's own interface: pictures, certificates, and the chain that those are verified with.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use dropbear_certificates::Digest;
use dropbear_certificates::chain::{CHAIN_BYTES_MAX, CHAIN_LINKS_MAX};
use serde_json::{Value, json};

use super::Shared;
use super::error::{ApiError, status};
use crate::ask::{Answered, Ask, Failure, Tensor, TensorData};
use crate::options;
use crate::schema::{Takes, Task};
use crate::show::{NO_AGREEMENT, item_json};

type Texts = BTreeMap<String, String>;

pub(crate) async fn classify(
    State(shared): State<Shared>,
    Path(group): Path<String>,
    Query(query): Query<Texts>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let held = shared.bodies.read(&headers, body).await?;
    let charter = shared.core.charter(&group)?;
    if Task::of(&charter)?.takes != Takes::Pictures {
        return Err(ApiError::bad_request(format!("the group `{group}` does not take pictures")));
    }
    let (pictures, fields) = pictures(&headers, held.bytes.clone()).await?;
    let find = |name: &str| {
        let text = options::from_texts(&query, name).or_else(|| options::from_texts(&fields, name));
        text.or_else(|| options::from_headers(&headers, name))
    };
    let options = options::options(find)?;
    let input = Tensor {
        name: "image".into(),
        datatype: "BYTES".into(),
        shape: vec![pictures.len() as u64],
        data: TensorData::Elements(pictures),
    };
    let answered = shared.core.ask(Ask { group, input, options }).await?;
    Ok(classified(&answered, &shared))
}

/// Every result; the status and message of the first that is no agreement, if there is one.
fn classified(answered: &[Answered], shared: &Shared) -> Response {
    let market = &shared.core.market;
    let results: Vec<_> = answered.iter().map(|answered| item_json(answered, market)).collect();
    let failed = answered.iter().find_map(|answered| match answered {
        Ok(answer) if answer.finding.is_agreed() => None,
        Ok(_) => Some((StatusCode::CONFLICT, NO_AGREEMENT.to_owned())),
        Err(unanswered) => Some((status(&unanswered.failure), unanswered.failure.to_string())),
    });
    match failed {
        None => Json(json!({ "results": results })).into_response(),
        Some((status, message)) => {
            ApiError::new(status, message).with("results", Value::Array(results)).into_response()
        }
    }
}

/// The pictures of a body, and a form's text fields.
async fn pictures(headers: &HeaderMap, body: Bytes) -> Result<(Vec<Bytes>, Texts), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("multipart/form-data") {
        return Ok((vec![body], Texts::new()));
    }
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers.clone();
    // The body is here already, within the gateway's own bound.
    DefaultBodyLimit::disable().apply(&mut request);
    let broken = |_| ApiError::bad_request("the multipart form is damaged");
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|_| ApiError::bad_request("the multipart form names no boundary in its Content-Type"))?;
    let (mut pictures, mut texts) = (Vec::new(), Texts::new());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some() || field.content_type().is_some();
        let content = field.bytes().await.map_err(broken)?;
        match std::str::from_utf8(&content) {
            Ok(text) if !is_file => {
                texts.insert(name, text.to_owned());
            }
            _ => pictures.push(content),
        }
    }
    if pictures.is_empty() {
        return Err(ApiError::bad_request("the form holds no file; send pictures as file fields"));
    }
    Ok((pictures, texts))
}

pub(crate) async fn certificate(
    State(shared): State<Shared>,
    Path(request_id): Path<String>,
    Query(query): Query<Texts>,
) -> Result<Response, ApiError> {
    let id = Digest::from_hex(&request_id)
        .ok_or_else(|| ApiError::bad_request("a request id is 64 lower-case hex digits"))?;
    let certificate = shared.core.certificate(&id).await.map_err(|failure| match failure {
        Failure::Unattested(problems) => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no quorum of coordinators answered; try again ({})", problems.join("; ")),
        ),
        other => other.into(),
    })?;
    let certificate = certificate.ok_or_else(|| ApiError::not_found("this request has no recorded outcome"))?;
    match query.get("format").map(String::as_str) {
        None | Some("cbor") => Ok(([(header::CONTENT_TYPE, "application/cbor")], certificate).into_response()),
        Some("base64") => {
            let certificate = BASE64URL_NOPAD.encode(&certificate);
            Ok(Json(json!({ "request_id": request_id, "certificate": certificate })).into_response())
        }
        Some(_) => Err(ApiError::bad_request("`format` is cbor or base64")),
    }
}

/// `GET /api/v1/chain`: the governance chain as a file. Certificates carry theirs as long as it is short.
pub(crate) async fn chain(State(shared): State<Shared>, Query(query): Query<Texts>) -> Result<Response, ApiError> {
    let group = query.get("group").map(String::as_str);
    if let Some(group) = group {
        shared.core.state(group)?;
    }
    let chain = shared.core.market.trusted().whole_chain(group);
    let bytes = chain.to_bytes();
    if chain.0.len() > CHAIN_LINKS_MAX || bytes.len() > CHAIN_BYTES_MAX {
        return Err(ApiError::bad_request("no verifier takes so long a chain; name one group: `?group=NAME`"));
    }
    Ok(([(header::CONTENT_TYPE, "application/cbor")], bytes).into_response())
}
