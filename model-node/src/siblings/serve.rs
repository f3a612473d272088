//! What the keeper answers its siblings.

use std::pin::Pin;

use dropbear_wire::v1::{self, Sealed};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::fetch::{pieces, wanted};
use super::keeper::{decode_votes, encode_answers};
use super::seal::{Kind, NotSealed, Seal};
use crate::clerk::unix_ms;
use crate::journal::{Journal, JournalError};

/// What tonic serves.
#[derive(Debug)]
pub(crate) struct Siblings {
    pub(crate) seal: Seal,
    pub(crate) journal: Journal,
    pub(crate) store: Option<dropbear_models::Store>,
}

impl From<NotSealed> for Status {
    fn from(error: NotSealed) -> Self {
        Self::unauthenticated(error.to_string())
    }
}

pub(crate) fn journal_status(error: JournalError) -> Status {
    let message = error.to_string();
    match error {
        JournalError::Forgotten(_) => Status::deadline_exceeded(message),
        JournalError::Full => Status::resource_exhausted(message),
        JournalError::Storage(_) | JournalError::Foreign | JournalError::Keeper(..) => Status::unavailable(message),
    }
}

#[tonic::async_trait]
impl v1::siblings_server::Siblings for Siblings {
    type FetchStream = Pin<Box<dyn Stream<Item = Result<Sealed, Status>> + Send>>;

    async fn settle(&self, request: Request<Sealed>) -> Result<Response<Sealed>, Status> {
        let asked = request.into_inner();
        let votes = decode_votes(self.seal.open(Kind::Settle, &[], &asked)?)
            .map_err(|error| Status::invalid_argument(format!("no votes: {error}; run the same build everywhere")))?;
        // By this node's clock: siblings' clocks do not decide what is forgotten.
        let answers = self.journal.settle(unix_ms(), votes).await.map_err(journal_status)?;
        Ok(Response::new(self.seal.seal(Kind::Settled, &asked.code, encode_answers(&answers))))
    }

    async fn fetch(&self, request: Request<Sealed>) -> Result<Response<Self::FetchStream>, Status> {
        let asked = request.into_inner();
        let version = wanted(self.seal.open(Kind::Fetch, &[], &asked)?, unix_ms())?;
        let store = self.store.clone().ok_or_else(|| Status::not_found("this node has no model store"))?;
        Ok(Response::new(Box::pin(pieces(store, version, self.seal.clone(), asked.code.to_vec()))))
    }
}
