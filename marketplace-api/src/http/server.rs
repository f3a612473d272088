//! The HTTP listener: what `axum::serve` does, with bounds on header time and on connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::config::Limits;

const HTTP2_STREAMS_MAX: u32 = 256;
/// Accepting fails while the process has no file descriptors left: wait for some.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that were looked at are still there: nothing tells when more have come.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Serves until `stop` changes, then lets connections finish their requests.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Arc<Limits>, mut stop: watch::Receiver<bool>) {
    let mut builder = Builder::new(TokioExecutor::new());
    let header_timeout = Duration::from_millis(limits.header_timeout_ms);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(HTTP2_STREAMS_MAX);
    // A peer that answers no ping is gone, or does not mean to ask anything.
    http2.keep_alive_interval(header_timeout).keep_alive_timeout(header_timeout);
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            _ = stop.changed() => break,
        };
        let Ok((stream, permit)) = accepted else {
            sleep(ACCEPT_AGAIN_AFTER).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        tokio::spawn(async move {
            if timeout(header_timeout, speaks(&stream)).await.is_ok_and(|speaks| speaks.is_ok()) {
                let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                // A broken connection is the client's affair.
                let _ = watcher.watch(connection).await;
            }
            drop(permit);
        });
    }
    drop(listener);
    let drain = Duration::from_millis(limits.drain_timeout_ms);
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish before the drain timeout");
    }
}

/// Returns once the client has sent enough to tell which HTTP it speaks: the server's own detection waits for ever.
async fn speaks(stream: &TcpStream) -> io::Result<()> {
    let mut first = [0; HTTP2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        let undecided = length < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&first[..length]);
        match length {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if undecided => sleep(LOOK_AGAIN_AFTER).await,
            _ => return Ok(()),
        }
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}
