//! Errors as HTTP answers: always `{"error": string, …}` as `application/json`, which is what clients can read.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::ask::Failure;

/// An error answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Map<String, Value>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("error".into(), json!(message.into()));
        Self { status, body }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Adds a member beside the message.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.body.insert(name.into(), value);
        self
    }
}

/// The status of a failure.
pub(crate) fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::BadInput(_) | Failure::Unreadable(_) | Failure::Refused(..) | Failure::EntryInvalid(_) => {
            StatusCode::BAD_REQUEST
        }
        Failure::UnknownGroup(_) => StatusCode::NOT_FOUND,
        Failure::Overloaded(_) => StatusCode::TOO_MANY_REQUESTS,
        Failure::Closed(_) | Failure::EntryRefused(..) => StatusCode::CONFLICT,
        Failure::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Insufficient(..) | Failure::Unattested(_) => StatusCode::GATEWAY_TIMEOUT,
        Failure::Committee(_) => StatusCode::BAD_GATEWAY,
        Failure::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self::new(status(&failure), failure.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let mut response = (self.status, Json(Value::Object(self.body))).into_response();
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
