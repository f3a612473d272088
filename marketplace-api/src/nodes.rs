//! The owners' model nodes as this gateway reaches them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use dropbear_certificates::Ballot;
use dropbear_wire::v1::model_node_client::ModelNodeClient;
use dropbear_wire::{client, v1};
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// One owner's nodes: all serve the same versions, any one may answer.
#[derive(Debug)]
pub(crate) struct OwnerNodes {
    clients: Vec<ModelNodeClient<Channel>>,
    turn: AtomicUsize,
}

/// Why an owner gave no ballot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NodeProblem {
    /// None of its nodes answers; it may later.
    #[error("{0}")]
    Unavailable(String),
    /// It will not answer this batch.
    #[error("refused: {0}")]
    Refused(String),
    /// It answered with something that is no ballot: its fault.
    #[error("sent something that is no ballot")]
    Malformed,
}

impl OwnerNodes {
    pub(crate) fn new(addresses: &[SocketAddr]) -> Self {
        let clients = addresses.iter().map(|address| client::model_node(*address)).collect();
        Self { clients, turn: AtomicUsize::new(0) }
    }

    /// Asks one node after the other until one gives a ballot; nothing in it is verified.
    pub(crate) async fn infer(&self, request: v1::InferRequest, deadline: Instant) -> Result<Ballot, NodeProblem> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut problem = NodeProblem::Unavailable("no model node is configured".into());
        for turn in 0..self.clients.len() {
            let mut client = self.clients[(first + turn) % self.clients.len()].clone();
            let mut call = tonic::Request::new(request.clone());
            call.set_timeout(deadline.saturating_duration_since(Instant::now()));
            problem = match timeout_at(deadline, client.infer(call)).await {
                Ok(Ok(reply)) => {
                    return Ballot::from_bytes(&reply.into_inner().ballot).map_err(|_| NodeProblem::Malformed);
                }
                Ok(Err(status)) => problem_of(&status),
                Err(_) => NodeProblem::Unavailable("no answer in time".into()),
            };
        }
        Err(problem)
    }
}

fn problem_of(status: &Status) -> NodeProblem {
    let message = if status.message().is_empty() { status.code().description() } else { status.message() };
    match status.code() {
        Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated => {
            NodeProblem::Refused(message.into())
        }
        _ => NodeProblem::Unavailable(message.into()),
    }
}
