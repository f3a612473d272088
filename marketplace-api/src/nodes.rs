//! The owners' model nodes as this gateway reaches them.
//!
//! All nodes of an owner serve the same versions and share its vote journal, so any one may answer. The one with the
//! fewest requests is asked; a sibling is asked, too, when it fails or takes far longer than usual.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use dropbear_certificates::Ballot;
use dropbear_wire::infer::InferClient;
use dropbear_wire::v1;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until};
use tonic::{Code, Status};

use crate::experience::Typical;

/// A node that failed is asked after its siblings for this long.
const SHUNNED_FOR: Duration = Duration::from_secs(1);
/// A sibling is asked, too, after this many times what the owner takes usually, within the bounds below.
const SIBLING_FACTOR: u32 = 4;
const SIBLING_AFTER_MIN: Duration = Duration::from_millis(250);
const SIBLING_AFTER_MAX: Duration = Duration::from_secs(2);

/// What a node sent.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The owner's ballot; nothing in it is verified.
    pub(crate) ballot: Ballot,
    /// The full outputs, where they were asked for and the node still has them.
    pub(crate) outputs: Vec<Bytes>,
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

/// Every node by address: one connection and one count of its load, whatever groups and owners name it.
#[derive(Debug, Default)]
pub(crate) struct NodeBook(Mutex<BTreeMap<SocketAddr, Weak<Node>>>);

impl NodeBook {
    /// The owner whose nodes have these addresses.
    pub(crate) fn owner(&self, addresses: &[SocketAddr]) -> OwnerNodes {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, node| node.strong_count() > 0);
        let node = |address: &SocketAddr| {
            let node = known.get(address).and_then(Weak::upgrade).unwrap_or_else(|| Arc::new(Node::new(*address)));
            known.insert(*address, Arc::downgrade(&node));
            node
        };
        OwnerNodes { nodes: addresses.iter().map(node).collect(), turn: AtomicUsize::new(0), took: Mutex::default() }
    }
}

#[derive(Debug)]
struct Node {
    client: InferClient,
    born: Instant,
    /// Requests that it was sent and has not answered.
    in_flight: AtomicUsize,
    /// Until when its siblings are asked first: milliseconds since `born`, 0 for never.
    shunned_until_ms: AtomicU64,
}

/// Counts requests as in flight until it is dropped.
struct Load<'a>(&'a Node, usize);

impl<'a> Load<'a> {
    fn new(node: &'a Node, requests: usize) -> Self {
        node.in_flight.fetch_add(requests, Ordering::Relaxed);
        Self(node, requests)
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Node {
    fn new(address: SocketAddr) -> Self {
        let client = InferClient::new(address);
        Self { client, born: Instant::now(), in_flight: AtomicUsize::new(0), shunned_until_ms: AtomicU64::new(0) }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_shunned(&self) -> bool {
        self.shunned_until_ms.load(Ordering::Relaxed) > self.age_ms()
    }

    fn note(&self, works: bool) {
        let until = if works { 0 } else { self.age_ms() + SHUNNED_FOR.as_millis() as u64 };
        self.shunned_until_ms.store(until, Ordering::Relaxed);
    }

    async fn infer(&self, request: &v1::InferRequest, deadline: Instant) -> Result<Reply, NodeProblem> {
        let _load = Load::new(self, request.items.len());
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = match self.client.infer(request, left).await {
            Ok(reply) => reply_of(reply),
            Err(status) => Err(problem_of(&status)),
        };
        self.note(!matches!(answer, Err(NodeProblem::Unavailable(_))));
        answer
    }
}

/// One owner's nodes.
#[derive(Debug)]
pub(crate) struct OwnerNodes {
    nodes: Vec<Arc<Node>>,
    turn: AtomicUsize,
    took: Mutex<Typical>,
}

impl OwnerNodes {
    /// Asks one node, and others if it fails or is late, until one gives a ballot.
    pub(crate) async fn infer(&self, request: v1::InferRequest, deadline: Instant) -> Result<Reply, NodeProblem> {
        let began = Instant::now();
        let answer = match self.nodes.as_slice() {
            [only] => only.infer(&request, deadline).await,
            _ => self.infer_of_several(request, deadline).await,
        };
        if answer.is_ok() {
            self.took.lock().unwrap_or_else(PoisonError::into_inner).learn(began.elapsed());
        }
        answer
    }

    async fn infer_of_several(&self, request: v1::InferRequest, deadline: Instant) -> Result<Reply, NodeProblem> {
        let mut order = self.order().into_iter();
        let (mut calls, mut asked) = (JoinSet::new(), Vec::new());
        let mut problem = NodeProblem::Unavailable("no model node is known".into());
        let patience = self.sibling_after();
        let (mut ask_next, mut late_at) = (true, Instant::now() + patience);
        loop {
            if std::mem::take(&mut ask_next)
                && let Some(node) = order.next()
            {
                asked.push(Arc::clone(&node));
                let request = request.clone();
                calls.spawn(async move { node.infer(&request, deadline).await });
                late_at = Instant::now() + patience;
            }
            tokio::select! {
                answer = calls.join_next() => match answer {
                    Some(Ok(Ok(reply))) => return Ok(reply),
                    Some(Ok(Err(failed))) => (problem, ask_next) = (failed, true),
                    Some(Err(_)) => ask_next = true,
                    None => return Err(problem),
                },
                () = sleep_until(late_at), if order.len() > 0 => {
                    // Whoever is this late is asked last for a while.
                    asked.iter().for_each(|node| node.note(false));
                    ask_next = true;
                }
            }
        }
    }

    /// The nodes, those that work and have the fewest requests first; among equals another one first each time.
    fn order(&self) -> Vec<Arc<Node>> {
        let (turn, count) = (self.turn.fetch_add(1, Ordering::Relaxed), self.nodes.len());
        let mut order: Vec<_> = (0..count).map(|place| Arc::clone(&self.nodes[(place + turn) % count])).collect();
        order.sort_by_cached_key(|node| (node.is_shunned(), node.in_flight.load(Ordering::Relaxed)));
        order
    }

    fn sibling_after(&self) -> Duration {
        let typical = self.took.lock().unwrap_or_else(PoisonError::into_inner).get();
        (SIBLING_FACTOR * typical.unwrap_or_default()).clamp(SIBLING_AFTER_MIN, SIBLING_AFTER_MAX)
    }
}

fn reply_of(reply: v1::InferReply) -> Result<Reply, NodeProblem> {
    let ballot = Ballot::from_bytes(&reply.ballot).map_err(|_| NodeProblem::Malformed)?;
    Ok(Reply { ballot, outputs: reply.outputs })
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
