//! `POST /api/v1/entries`: an owner's signed entry, as the bytes that the ledger takes.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;
use crate::ask::Failure;
use crate::entries::{self, Taken};

pub(crate) async fn submit(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let held = shared.bodies.read(&headers, body).await?;
    match entries::submit(&shared.core, held.bytes.clone()).await {
        Ok(Taken { kind, digest, seq, leaf, charter_from, agreed_ms }) => Ok(Json(json!({
            "outcome": "applied",
            "kind": kind,
            "entry": digest.to_string(),
            "seq": seq,
            "leaf": leaf,
            "charter_from_seq": charter_from,
            "agreed_ms": agreed_ms,
        }))),
        Err(Failure::Unattested(problems)) => Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "no quorum of coordinators attests the entry yet; it may be ordered all the same ({})",
                problems.join("; ")
            ),
        )),
        Err(failure) => {
            let code = match &failure {
                Failure::EntryRefused(code, _) => Some(code.clone()),
                Failure::EntryInvalid(_) => Some("invalid".into()),
                _ => None,
            };
            let error = ApiError::from(failure);
            Err(match code {
                Some(code) => error.with("outcome", json!("refused")).with("code", json!(code)),
                None => error,
            })
        }
    }
}
