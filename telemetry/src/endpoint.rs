//! The endpoint that a Prometheus server scrapes.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::warn;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `GET /metrics` on `listener` until `stopped` resolves.
pub async fn serve_metrics(
    listener: TcpListener,
    registry: Registry,
    stopped: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new().route("/metrics", get(metrics)).with_state(Arc::new(registry));
    // A scraper that keeps its connection open must not hold up the end: what it misses, nobody needs any more.
    let serving = async { axum::serve(listener, router).await };
    tokio::select! {
        served = serving => if let Err(error) = served {
            warn!(%error, "the metrics endpoint failed");
        },
        () = stopped => {}
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Stages;

    #[tokio::test]
    async fn what_is_measured_is_scraped() {
        let mut registry = crate::registry();
        let stages = Stages::register(&mut registry, "dropbear_test_stage", "Stages of a test", &["never", "once"]);
        stages.took("once", Duration::from_millis(30));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(serve_metrics(listener, registry, async { drop(stopped.await) }));
        let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
        for line in [
            "dropbear_test_stage_seconds_count{stage=\"once\"} 1",
            "dropbear_test_stage_seconds_bucket{le=\"0.0512\",stage=\"once\"} 1",
            "dropbear_test_stage_seconds_count{stage=\"never\"} 0",
            "process_cpu_seconds_total ",
            "process_open_fds ",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        drop(stop);
        serving.await.unwrap();
    }
}
