//! Clients of the internal services: lazily connected, reconnecting, with bounded messages.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::MESSAGE_BYTES_MAX;
use crate::v1::coordinator_client::CoordinatorClient;
use crate::v1::ledger_client::LedgerClient;
use crate::v1::model_node_client::ModelNodeClient;
use crate::v1::siblings_client::SiblingsClient;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[expect(clippy::expect_used, reason = "a socket address always makes a valid http URI")]
pub(crate) fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a socket address makes a URI");
    endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect_lazy()
}

/// A client of the model node at `address`; connects at the first call and again after failures.
#[must_use]
pub fn model_node(address: SocketAddr) -> ModelNodeClient<Channel> {
    let client = ModelNodeClient::new(channel(address));
    client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A client of the coordinator at `address`; connects at the first call and again after failures.
#[must_use]
pub fn coordinator(address: SocketAddr) -> CoordinatorClient<Channel> {
    let client = CoordinatorClient::new(channel(address));
    client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A client of the sibling node at `address`; connects at the first call and again after failures.
#[must_use]
pub fn siblings(address: SocketAddr) -> SiblingsClient<Channel> {
    let client = SiblingsClient::new(channel(address));
    client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A client that reads the ledger of the coordinator at `address`; connects at the first call and again after failures.
#[must_use]
pub fn ledger(address: SocketAddr) -> LedgerClient<Channel> {
    let client = LedgerClient::new(channel(address));
    client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}
