//! What owners and gateways send to a market.

use std::sync::Arc;

use dropbear_certificates::ballot::{batch_root, votes_root};
use dropbear_certificates::genesis::{GatewayIdentity, Member};
use dropbear_certificates::request::{Field, input_digest, output_commitment};
use dropbear_certificates::{
    Answer, Assurance, Ballot, BallotStatement, Committee, Digest, Genesis, Origin, Request, RequestOpening, Seed,
    StatementType, Vote,
};
use dropbear_consensus::state::Market;
use dropbear_consensus::{Activate, Entry, Publish, Register, Submission, SubmittedRequest};

use crate::market;

pub(crate) const OWNERS: u8 = 4;

/// A market of this many members and gateways.
pub(crate) fn open(members: usize, gateways: usize) -> Arc<Market> {
    let member = |place: u8| Member {
        name: format!("coordinator-{place}"),
        attestation: market::key(2, place).public(),
        engine: market::key(3, place).public(),
    };
    let gateway = |place: u8| GatewayIdentity { name: format!("gateway-{place}"), key: market::key(4, place).public() };
    let genesis = Genesis {
        committee: Committee { epoch: 0, members: (0..members as u8).map(member).collect() },
        gateways: (0..gateways as u8).map(gateway).collect(),
        ..market::genesis()
    };
    Arc::new(Market::new(genesis))
}

/// Makes entries for one market.
#[derive(Clone)]
pub(crate) struct Offers {
    pub(crate) market: Arc<Market>,
}

impl Offers {
    fn charter(&self) -> Digest {
        self.market.genesis.charters[0].digest()
    }

    pub(crate) fn register(&self, owner: u8, serial: u64) -> Entry {
        let register = Register {
            genesis: self.market.digest,
            owner: market::owner(owner).public(),
            serial,
            group: "imagenet".into(),
            model: "lite".into(),
            licence: "Apache-2.0".into(),
            lineage: "EfficientNet".into(),
        };
        register.sign(&market::owner(owner))
    }

    pub(crate) fn publish(&self, owner: u8, version: u8, serial: u64) -> Entry {
        let publish = Publish {
            genesis: self.market.digest,
            owner: market::owner(owner).public(),
            serial,
            group: "imagenet".into(),
            model: "lite".into(),
            label: format!("{version}"),
            version: market::version_digest(owner, version),
        };
        publish.sign(&market::owner(owner))
    }

    pub(crate) fn activate(&self, owner: u8, version: u8, serial: u64) -> Entry {
        let activate = Activate {
            genesis: self.market.digest,
            owner: market::owner(owner).public(),
            serial,
            group: "imagenet".into(),
            version: market::version_digest(owner, version),
            from_seq: 0,
        };
        activate.sign(&market::owner(owner))
    }

    /// A request that a gateway mints.
    pub(crate) fn request(&self, gateway: u8, nonce: u64, expiry_ms: u64) -> SubmittedRequest {
        let mut seed = [gateway; 32];
        seed[..8].copy_from_slice(&nonce.to_be_bytes());
        let seed = Seed(seed);
        let opening = RequestOpening::new(&seed, input_digest("image", "BYTES", &[], &nonce.to_be_bytes()));
        let mut unique = [gateway; 16];
        unique[..8].copy_from_slice(&nonce.to_be_bytes());
        let request = Request {
            genesis: self.market.digest,
            group: "imagenet".into(),
            key: market::key(4, gateway).public(),
            origin: Origin::GatewayMinted,
            nonce: unique,
            commitment: opening.commitment(),
            expiry_ms,
            demand: Assurance::Robust,
        };
        SubmittedRequest { request, signature: None, vote_salt: seed.salt(Field::Vote) }
    }

    /// The ballot of an owner under a version: this class for every request.
    pub(crate) fn ballot(&self, owner: u8, version: u8, requests: &[SubmittedRequest], class: u32) -> Ballot {
        let answer = Answer { vote: Vote::Class(class), output: output_commitment(&Digest::of(b"salt"), b"logits") };
        let answers = vec![answer; requests.len()];
        let ids: Vec<_> = requests.iter().map(|submitted| submitted.request.id()).collect();
        let salts = requests.iter().map(|submitted| &submitted.vote_salt);
        let statement = BallotStatement {
            genesis: self.market.digest,
            group: "imagenet".into(),
            charter: self.charter(),
            batch: batch_root(&ids),
            count: ids.len() as u64,
            version: market::version_digest(owner, version),
            owner: market::owner(owner).public(),
            expiry_ms: requests[0].request.expiry_ms,
            votes: votes_root(ids.iter().zip(salts), &answers),
        };
        Ballot::sign(statement, answers, &market::owner(owner))
    }

    pub(crate) fn submission(&self, gateway: u8, requests: Vec<SubmittedRequest>, ballots: Vec<Ballot>) -> Entry {
        Entry::Submission(Box::new(Submission::sign(
            StatementType::Submission,
            self.market.digest,
            &market::key(4, gateway),
            "imagenet".into(),
            self.charter(),
            requests,
            ballots,
        )))
    }
}
