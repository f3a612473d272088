//! The HTTP edge: the only place that knows JSON.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

use crate::core::Core;
use error::ApiError;

mod body;
mod entries;
mod error;
mod groups;
mod market;
mod oip;
mod server;

pub(crate) use server::serve;

/// What the routes share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    pub(crate) bodies: body::BodyBudget,
}

/// Every route.
pub(crate) fn router(core: Arc<Core>) -> Router {
    let bodies = body::BodyBudget::new(&core.limits);
    Router::new()
        .route("/", get(page))
        .route("/v2", get(oip::server_metadata))
        .route("/v2/", get(oip::server_metadata))
        .route("/v2/health/live", get(oip::live))
        .route("/v2/health/ready", get(oip::ready))
        .route("/v2/models/{group}", get(oip::model_metadata))
        .route("/v2/models/{group}/ready", get(oip::model_ready))
        .route("/v2/models/{group}/infer", post(oip::infer))
        .route("/v2/models/{group}/versions/{version}", get(oip::model_metadata))
        .route("/v2/models/{group}/versions/{version}/ready", get(oip::model_ready))
        .route("/v2/models/{group}/versions/{version}/infer", post(oip::infer))
        .route("/api/v1/groups", get(groups::groups))
        .route("/api/v1/groups/{group}", get(groups::group))
        .route("/api/v1/groups/{group}/accounts", get(groups::accounts))
        .route("/api/v1/entries", post(entries::submit))
        .route("/api/v1/groups/{group}/classify", post(market::classify))
        .route("/api/v1/certificates/{request_id}", get(market::certificate))
        .route("/api/v1/chain", get(market::chain))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(in_json))
        // Bodies are bounded by `body`, which answers in JSON.
        .layer(DefaultBodyLimit::disable())
        .with_state(Shared { core, bodies })
}

async fn unknown_route() -> ApiError {
    ApiError::not_found("there is nothing at this address; GET / names the endpoints")
}

async fn wrong_method() -> Response {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method").into_response()
}

/// What the framework refuses by itself, it refuses in plain text: say it in JSON.
async fn in_json(response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    ApiError::new(status, "the address or its query cannot be read").into_response()
}

async fn page() -> Html<&'static str> {
    Html(include_str!("http/page.html"))
}
