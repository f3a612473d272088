//! Submissions as busy gateways and four owners make them, signed by all of them; the models alone are made up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use dropbear_bench::ordering::Prepared;
use dropbear_certificates::ballot::{batch_root, votes_root};
use dropbear_certificates::request::{Field, input_digest, output_commitment};
use dropbear_certificates::{
    Answer, Assurance, Ballot, BallotStatement, Digest, Genesis, Origin, Request, RequestOpening, SecretKey, Seed,
    StatementType, Vote,
};
use dropbear_consensus::{Entry, Submission, SubmittedRequest};

use crate::init::{CLOCK_SKEW_MS_MAX, REQUEST_LIFETIME_MS_MAX};

pub(super) const GROUP: &str = "synthetic";
pub(super) const CLASSES: u32 = 1000;
const OWNERS: usize = 4;
/// One request of so many finds one owner of another opinion, as pictures do with the sample models.
const DISSENT_EVERY: u64 = 4;
/// Requests expire so much later than they are made: well after a round, and within the market's bound.
const LIFETIME_MS: u64 = REQUEST_LIFETIME_MS_MAX - 2 * CLOCK_SKEW_MS_MAX;

/// The digest of the version that the owner at `place` serves.
pub(super) fn version(place: usize) -> Digest {
    Digest::tagged("dropbear/bench-version/v1", &[&(place as u64).to_be_bytes()])
}

/// Everybody's keys but the coordinators'.
pub(super) struct Signers {
    pub(super) owners: Vec<SecretKey>,
    pub(super) gateways: Vec<SecretKey>,
    made: AtomicU64,
}

/// What all submissions share.
struct Terms {
    genesis: Digest,
    charter: Digest,
    expiry_ms: u64,
}

impl Signers {
    pub(super) fn new(gateways: usize) -> anyhow::Result<Self> {
        let key = |_| {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).context("this system has no random numbers")?;
            Ok(SecretKey::from_seed(&seed))
        };
        let owners = (0..OWNERS).map(key).collect::<anyhow::Result<_>>()?;
        let gateways = (0..gateways).map(key).collect::<anyhow::Result<_>>()?;
        Ok(Self { owners, gateways, made: AtomicU64::new(0) })
    }

    /// Submissions of `batch` requests each, of `requests` together at least, each gateway's in turn.
    pub(super) fn submissions(&self, genesis: &Genesis, batch: usize, requests: usize) -> Vec<Prepared> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let terms = Terms {
            genesis: genesis.digest(),
            charter: genesis.charters[0].digest(),
            expiry_ms: u64::try_from(since.as_millis()).unwrap_or(0) + LIFETIME_MS,
        };
        (0..requests.div_ceil(batch)).map(|_| self.submission(&terms, batch)).collect()
    }

    fn submission(&self, terms: &Terms, batch: usize) -> Prepared {
        let first = self.made.fetch_add(batch as u64, Ordering::Relaxed);
        let key = &self.gateways[(first / batch as u64) as usize % self.gateways.len()];
        let minted: Vec<_> = (first..first + batch as u64).map(|number| mint(terms, key, number)).collect();
        let ids: Vec<_> = minted.iter().map(|(submitted, _)| submitted.request.id()).collect();
        let ballots = (0..OWNERS).map(|owner| self.ballot(terms, owner, first, &ids, &minted)).collect();
        let requests = minted.into_iter().map(|(submitted, _)| submitted).collect();
        let submission = Submission::sign(
            StatementType::Submission,
            terms.genesis,
            key,
            GROUP.into(),
            terms.charter,
            requests,
            ballots,
        );
        let entry = Entry::Submission(Box::new(submission)).to_bytes();
        let digest = dropbear_consensus::entry::entry_digest(&entry);
        Prepared { entry: entry.into(), digest, requests: ids }
    }

    fn ballot(
        &self,
        terms: &Terms,
        owner: usize,
        first: u64,
        ids: &[Digest],
        minted: &[(SubmittedRequest, Digest)],
    ) -> Ballot {
        let answer = |(number, (_, output_salt)): (u64, &(SubmittedRequest, Digest))| Answer {
            vote: Vote::Class(class(number, owner)),
            output: output_commitment(output_salt, &(owner as u64).to_be_bytes()),
        };
        let answers: Vec<_> = (first..).zip(minted).map(answer).collect();
        let salts = minted.iter().map(|(submitted, _)| &submitted.vote_salt);
        let statement = BallotStatement {
            genesis: terms.genesis,
            group: GROUP.into(),
            charter: terms.charter,
            batch: batch_root(ids),
            count: ids.len() as u64,
            version: version(owner),
            owner: self.owners[owner].public(),
            expiry_ms: terms.expiry_ms,
            votes: votes_root(ids.iter().zip(salts), &answers),
        };
        Ballot::sign(statement, answers, &self.owners[owner])
    }
}

/// What the owner's model makes of a request.
fn class(number: u64, owner: usize) -> u32 {
    let dissents = number.is_multiple_of(DISSENT_EVERY) && (number / DISSENT_EVERY) as usize % OWNERS == owner;
    let winner = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 % CLASSES;
    (winner + u32::from(dissents)) % CLASSES
}

/// A request as a gateway mints it for a client without a key, and its output salt.
fn mint(terms: &Terms, gateway: &SecretKey, number: u64) -> (SubmittedRequest, Digest) {
    let number = number.to_be_bytes();
    let drawn = Digest::tagged("dropbear/bench-seed/v1", &[gateway.public().as_bytes(), &number]);
    let seed = Seed(drawn.0);
    let opening = RequestOpening::new(&seed, input_digest("image", "BYTES", &[], &number));
    let mut nonce = [0; 16];
    nonce[8..].copy_from_slice(&number);
    let request = Request {
        genesis: terms.genesis,
        group: GROUP.into(),
        key: gateway.public(),
        origin: Origin::GatewayMinted,
        nonce,
        commitment: opening.commitment(),
        expiry_ms: terms.expiry_ms,
        demand: Assurance::Robust,
    };
    (SubmittedRequest { request, signature: None, vote_salt: seed.salt(Field::Vote) }, seed.salt(Field::Output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_dissents_now_and_then_and_never_two() {
        let dissents = |number: u64| {
            let classes: Vec<_> = (0..OWNERS).map(|owner| class(number, owner)).collect();
            let most = classes.iter().map(|one| classes.iter().filter(|other| *other == one).count()).max();
            OWNERS - most.unwrap_or(0)
        };
        let all: Vec<_> = (0..400).map(dissents).collect();
        assert_eq!(all.iter().sum::<usize>(), 100);
        assert!(all.iter().all(|dissenting| *dissenting <= 1));
    }
}
