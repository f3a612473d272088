//! A follower among coordinators that end, run backwards, lag, or are down.

use std::net::SocketAddr;
use std::pin::Pin;

use dropbear_wire::follow::Follower;
use dropbear_wire::v1::coordinator_server::{Coordinator, CoordinatorServer};
use dropbear_wire::{listen, v1};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// Tells these seqs, then ends or stays silent.
struct Teller {
    seqs: Vec<u64>,
    ends: bool,
}

type Updates = Pin<Box<dyn Stream<Item = Result<v1::LedgerUpdate, Status>> + Send>>;

#[tonic::async_trait]
impl Coordinator for Teller {
    type FollowStream = Updates;

    async fn follow(&self, _: Request<v1::FollowRequest>) -> Result<Response<Updates>, Status> {
        let registry = Some(v1::RegistryView::default());
        let update = move |seq| Ok(v1::LedgerUpdate { seq, agreed_ms: seq * 10, registry: registry.clone() });
        let told = tokio_stream::iter(self.seqs.clone()).map(update);
        Ok(Response::new(if self.ends { Box::pin(told) } else { Box::pin(told.chain(tokio_stream::pending())) }))
    }

    async fn submit(&self, _: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn lookup(&self, _: Request<v1::LookupRequest>) -> Result<Response<v1::LookupReply>, Status> {
        Err(Status::unimplemented("not needed here"))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}

async fn serve(seqs: &[u64], ends: bool) -> SocketAddr {
    let listener = listen::loopback("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = CoordinatorServer::new(Teller { seqs: seqs.to_vec(), ends });
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn down() -> SocketAddr {
    listen::loopback("127.0.0.1:0".parse().unwrap()).await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn it_goes_on_to_the_next_that_tells_more() {
    let bad = [down().await, serve(&[1, 2], true).await, serve(&[5, 4], false).await];
    let coordinators = bad.into_iter().chain([serve(&[7], false).await]).collect();
    let follower = Follower::start(coordinators, 0);
    let mut view = follower.view();
    let view = view.wait_for(|view| view.seq == 7).await.unwrap();
    assert!(view.connected);
    assert_eq!(view.agreed_ms, 70);
}

#[tokio::test]
async fn a_coordinator_that_lags_behind_what_is_attested_is_left() {
    let follower = Follower::start(vec![serve(&[3], false).await, serve(&[9], false).await], 0);
    let mut view = follower.view();
    view.wait_for(|view| view.seq == 3).await.unwrap();
    follower.reached(9);
    view.wait_for(|view| view.seq == 9 && view.connected).await.unwrap();
}
