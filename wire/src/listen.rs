//! Where internal services may listen: on loopback, as long as they speak without TLS.

use std::io;
use std::net::SocketAddr;

/// Why a service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is reachable from other machines.
    #[error("{0} is not a loopback address; internal services have no TLS yet and listen on loopback only")]
    NotLoopback(SocketAddr),
    /// The operating system refused.
    #[error("cannot listen on {0}: {1} (is another process using the port?)")]
    Bind(SocketAddr, io::Error),
}

/// Listens on a loopback address; port 0 takes any free one.
///
/// # Errors
/// [`ListenError`] if the address is not loopback or cannot be bound.
pub async fn loopback(address: SocketAddr) -> Result<tokio::net::TcpListener, ListenError> {
    if !address.ip().is_loopback() {
        return Err(ListenError::NotLoopback(address));
    }
    tokio::net::TcpListener::bind(address).await.map_err(|error| ListenError::Bind(address, error))
}
