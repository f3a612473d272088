//! A model node: answers what the picture says for its owner, or misbehaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dropbear_certificates::ballot::{batch_root, votes_root};
use dropbear_certificates::policy::TensorBounds;
use dropbear_certificates::request::{Field, output_commitment};
use dropbear_certificates::{Answer, Ballot, BallotStatement, Digest, Policy, Request, Seed, Vote};
use dropbear_wire::v1;
use dropbear_wire::v1::model_node_server::{ModelNode, ModelNodeServer};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response, Status};

use super::committee::Ledger;
use super::{owner, version};

/// How an owner's node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Votes for this class whatever it is shown.
    Liar(u32),
    /// Never answers.
    Silent,
    /// Refuses every connection.
    Down,
    /// Signs ballots with another key.
    Impostor,
    /// Sends bytes that are no ballot.
    Babbler,
    /// Votes another class each time it is asked.
    Equivocator,
    /// Honest, after this many milliseconds.
    Slow(u64),
}

struct Node {
    ledger: Arc<Ledger>,
    place: usize,
    manner: Manner,
    asked: std::sync::atomic::AtomicU32,
}

pub(crate) async fn serve(ledger: Arc<Ledger>, place: usize, manner: Manner) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if manner != Manner::Down {
        let node = Node { ledger, place, manner, asked: 0.into() };
        let service = ModelNodeServer::new(node).max_decoding_message_size(dropbear_wire::MESSAGE_BYTES_MAX);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    }
    address
}

impl Node {
    /// What the owner's model makes of an input: its vote, and its full output.
    fn answer(&self, input: &v1::Tensor, policy: Policy) -> (Vote, Bytes) {
        match policy {
            Policy::Plurality => (self.class(input), Bytes::from_static(b"logits")),
            Policy::Borda { ranks } => match self.class(input) {
                Vote::Class(class) => {
                    (Vote::Ranking((0..ranks as u32).map(|rank| class + rank).collect()), Bytes::new())
                }
                other => (other, Bytes::new()),
            },
            Policy::Exact { .. } => {
                let output = match self.manner {
                    Manner::Liar(class) => Bytes::from(class.to_string()),
                    _ if input.name == "INPUT0" => input.data.clone(),
                    _ => Bytes::from(format!("{} bytes", input.data.len())),
                };
                (Vote::Output(Digest::of(&output)), output)
            }
            Policy::Median { tensor } | Policy::TrimmedMean { tensor } | Policy::Within { tensor, .. } => {
                (self.tensor(input, tensor), Bytes::new())
            }
        }
    }

    /// Every owner's model adds a little of its own.
    fn tensor(&self, input: &v1::Tensor, bounds: TensorBounds) -> Vote {
        if let Manner::Liar(_) = self.manner {
            return Vote::Tensor(vec![bounds.max; bounds.length as usize]);
        }
        let (values, _) = input.data.as_chunks::<4>();
        let values: Vec<_> = values.iter().map(|value| f32::from_le_bytes(*value) + 0.25 * self.place as f32).collect();
        bounds.convert(&values).map_or(Vote::Abstain, Vote::Tensor)
    }

    fn class(&self, input: &v1::Tensor) -> Vote {
        let asked = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match self.manner {
            Manner::Liar(class) => return Vote::Class(class),
            Manner::Equivocator => return Vote::Class(asked % super::CLASSES),
            _ => {}
        }
        match input.datatype.as_str() {
            "BYTES" if input.name == "image" => match image::load_from_memory(&input.data) {
                Ok(picture) => Vote::Class(picture.to_rgb8().get_pixel((self.place % 4) as u32, 0).0[0].into()),
                Err(_) => Vote::Abstain,
            },
            "UINT8" if input.name == "image" => Vote::Class(input.data[3 * (self.place % 4)].into()),
            _ => Vote::Class(0),
        }
    }

    fn ballot(&self, request: &v1::InferRequest) -> (Ballot, Vec<Bytes>) {
        let policy = self.ledger.charter(&request.group).policy;
        let read = |item: &v1::InferItem| {
            let seed = Seed(item.seed.as_ref().try_into().unwrap());
            (Request::from_statement(&item.request).unwrap(), seed, item.input.clone().unwrap())
        };
        let items: Vec<_> = request.items.iter().map(read).collect();
        let named: Vec<_> = items.iter().map(|(request, seed, _)| (request.id(), seed.salt(Field::Vote))).collect();
        let answer = |(_, seed, input): &(Request, Seed, v1::Tensor)| {
            let (vote, output) = self.answer(input, policy);
            (Answer { vote, output: output_commitment(&seed.salt(Field::Output), &output) }, output)
        };
        let (answers, outputs): (Vec<_>, Vec<_>) = items.iter().map(answer).unzip();
        let ids: Vec<_> = named.iter().map(|(id, _)| *id).collect();
        let statement = BallotStatement {
            genesis: items[0].0.genesis,
            group: request.group.clone(),
            charter: Digest::from_slice(&request.charter).unwrap(),
            batch: batch_root(&ids),
            count: ids.len() as u64,
            version: version(self.place, self.ledger.served(self.place)),
            owner: owner(self.place).public(),
            expiry_ms: items.iter().map(|(request, ..)| request.expiry_ms).max().unwrap(),
            votes: votes_root(named.iter().map(|(id, salt)| (id, salt)), &answers),
        };
        let signer = if self.manner == Manner::Impostor { owner(77) } else { owner(self.place) };
        (Ballot::sign(statement, answers, &signer), outputs)
    }
}

#[tonic::async_trait]
impl ModelNode for Node {
    async fn infer(&self, request: tonic::Request<v1::InferRequest>) -> Result<Response<v1::InferReply>, Status> {
        self.ledger.count_ask(self.place);
        if request.get_ref().items.is_empty() {
            return Err(Status::invalid_argument("a batch of nothing"));
        }
        match self.manner {
            Manner::Silent => std::future::pending::<()>().await,
            Manner::Slow(after_ms) => tokio::time::sleep(Duration::from_millis(after_ms)).await,
            _ => {}
        }
        let in_force = self.ledger.charter(&request.get_ref().group).digest();
        if Digest::from_slice(&request.get_ref().charter) != Some(in_force) {
            return Err(Status::failed_precondition("another charter is in force"));
        }
        let (ballot, outputs) = self.ballot(request.get_ref());
        let ballot = if self.manner == Manner::Babbler { b"bla".to_vec() } else { ballot.to_bytes() };
        let outputs = if request.get_ref().want_outputs { outputs } else { Vec::new() };
        self.ledger.count_answer(self.place);
        Ok(Response::new(v1::InferReply { ballot: ballot.into(), outputs, ..Default::default() }))
    }

    async fn describe(&self, _: tonic::Request<v1::DescribeRequest>) -> Result<Response<v1::DescribeReply>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}
