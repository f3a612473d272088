//! The owner's journal as a sibling sees it: at another node.

use std::net::SocketAddr;
use std::time::Duration;

use dropbear_certificates::ballot::BATCH_REQUESTS_MAX;
use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::{Answer, Vote};
use dropbear_wire::client;
use dropbear_wire::v1::siblings_client::SiblingsClient;
use tonic::transport::Channel;

use super::seal::{Kind, Seal};
use crate::journal::{JournalError, VoteKey};

/// The keeper answers within this time, or no ballot is given.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The node that keeps the owner's journal.
#[derive(Clone, Debug)]
pub struct Keeper {
    address: SocketAddr,
    client: SiblingsClient<Channel>,
    seal: Seal,
}

impl Keeper {
    /// The keeper at `address`; connects at the first call.
    #[must_use]
    pub fn new(address: SocketAddr, seal: Seal) -> Self {
        Self { address, client: client::siblings(address), seal }
    }

    /// Has the votes kept; gives, one per vote, the answer that stands. When this returns, they are durable there.
    ///
    /// # Errors
    /// [`JournalError::Keeper`] if the keeper does not say so; none of the votes may then be sent.
    pub async fn settle(&self, votes: &[(VoteKey, Answer)]) -> Result<Vec<Answer>, JournalError> {
        let failed = |reason: String| JournalError::Keeper(self.address, reason);
        let asked = self.seal.seal(Kind::Settle, &[], encode_votes(votes));
        let code = asked.code.clone();
        let mut client = self.client.clone();
        let reply = tokio::time::timeout(SETTLE_TIMEOUT, client.settle(asked)).await;
        let reply = reply.map_err(|_| failed(format!("no answer within {SETTLE_TIMEOUT:?}")))?;
        let reply = reply.map_err(|status| failed(status.message().to_owned()))?.into_inner();
        let body = self.seal.open(Kind::Settled, &code, &reply).map_err(|error| failed(error.to_string()))?;
        let answers = decode_answers(body).map_err(|error| failed(error.to_string()))?;
        if answers.len() == votes.len() { Ok(answers) } else { Err(failed("it lost a vote".into())) }
    }
}

pub(super) fn encode_votes(votes: &[(VoteKey, Answer)]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(votes.len());
    for (key, answer) in votes {
        out.array(5).uint(key.expiry_ms).digest(&key.id).digest(&key.version);
        answer.vote.encode(&mut out);
        out.digest(&answer.output);
    }
    out.finish()
}

pub(super) fn decode_votes(body: &[u8]) -> Result<Vec<(VoteKey, Answer)>, CborError> {
    let mut input = Decoder::new(body);
    let count = input.array(BATCH_REQUESTS_MAX)?;
    let mut votes = Vec::with_capacity(count);
    for _ in 0..count {
        input.array_of(5)?;
        let key = VoteKey { expiry_ms: input.uint()?, id: input.digest()?, version: input.digest()? };
        votes.push((key, Answer { vote: Vote::decode(&mut input)?, output: input.digest()? }));
    }
    input.finish()?;
    Ok(votes)
}

pub(super) fn encode_answers(answers: &[Answer]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(answers.len());
    for answer in answers {
        out.array(2);
        answer.vote.encode(&mut out);
        out.digest(&answer.output);
    }
    out.finish()
}

fn decode_answers(body: &[u8]) -> Result<Vec<Answer>, CborError> {
    let mut input = Decoder::new(body);
    let count = input.array(BATCH_REQUESTS_MAX)?;
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        input.array_of(2)?;
        answers.push(Answer { vote: Vote::decode(&mut input)?, output: input.digest()? });
    }
    input.finish()?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropbear_certificates::Digest;

    #[test]
    fn votes_and_answers_read_back() {
        let votes = [Vote::Class(3), Vote::Abstain, Vote::Tensor(vec![1, -2]), Vote::Ranking(vec![2, 1])];
        let answer = |vote: &Vote| Answer { vote: vote.clone(), output: Digest::of(b"output") };
        let key = |id: u8| VoteKey { expiry_ms: 7, id: Digest::of(&[id]), version: Digest::of(b"version") };
        let votes: Vec<_> = (0..).zip(&votes).map(|(id, vote)| (key(id), answer(vote))).collect();
        assert_eq!(decode_votes(&encode_votes(&votes)).as_ref(), Ok(&votes));
        let answers: Vec<_> = votes.into_iter().map(|(_, answer)| answer).collect();
        assert_eq!(decode_answers(&encode_answers(&answers)).as_ref(), Ok(&answers));
        assert!(decode_answers(b"").is_err());
    }
}
