//! Request batches to model nodes, with their inputs sent as they are: those are nearly all of a batch.
//!
//! The generated client would copy the batch into one buffer, once for each owner that is asked. Here it goes out in
//! pieces, and each input is its own.

mod pieces;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::codegen::{Service as _, http, tokio_stream};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::client::channel;
use crate::{MESSAGE_BYTES_MAX, v1};

const METHOD: &str = "/dropbear.v1.ModelNode/Infer";

/// Asks one model node to infer.
#[derive(Clone, Debug)]
pub struct InferClient(Channel);

impl InferClient {
    /// A client of the model node at `address`; connects at the first call and again after failures.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self(channel(address))
    }

    /// As the generated `ModelNodeClient::infer`, for an answer within `timeout`.
    ///
    /// # Errors
    /// The node's [`Status`], or why it cannot be asked.
    pub async fn infer(&self, request: &v1::InferRequest, timeout: Duration) -> Result<v1::InferReply, Status> {
        let call = call(request, timeout)?;
        let mut channel = self.0.clone();
        let answering = async {
            poll_fn(|context| channel.poll_ready(context)).await?;
            channel.call(call).await
        };
        let late = |_| Status::deadline_exceeded("no answer in time");
        let answer = async {
            let response = answering.await.map_err(|error| Status::from_error(error.into()))?;
            reply(response).await
        };
        tokio::time::timeout(timeout, answer).await.map_err(late)?
    }
}

fn call(request: &v1::InferRequest, timeout: Duration) -> Result<http::Request<Body>, Status> {
    if request.encoded_len() > MESSAGE_BYTES_MAX {
        return Err(Status::out_of_range(format!("a batch of more than {MESSAGE_BYTES_MAX} bytes")));
    }
    let frames = pieces::pieces(request).into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    // Eight digits at most (the gRPC protocol): a day is more than anybody waits.
    let timeout_ms = timeout.as_millis().min(86_400_000);
    let call = http::Request::post(METHOD)
        .version(http::Version::HTTP_2)
        .header(http::header::TE, "trailers")
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header("grpc-timeout", format!("{timeout_ms}m"))
        .body(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    call.map_err(|error| Status::internal(error.to_string()))
}

async fn reply(response: http::Response<Body>) -> Result<v1::InferReply, Status> {
    // A refusal may be all in the header.
    if let Some(status) = Status::from_header_map(response.headers())
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let status = response.status();
    let decoder = ProstCodec::<v1::InferRequest, v1::InferReply>::default().decoder();
    let mut messages = Streaming::new_response(decoder, response.into_body(), status, None, Some(MESSAGE_BYTES_MAX));
    let reply = messages.message().await?.ok_or_else(|| Status::internal("no reply came"))?;
    // An error may follow.
    messages.trailers().await?;
    Ok(reply)
}
