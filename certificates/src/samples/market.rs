//! A market of any size under any policy, and what it certifies.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::attachments::{Attachments, BallotProof, RequestAttachment, ValueOpening, VotesAttachment};
use crate::ballot::{Answer, Ballot, BallotStatement, ballots_root, batch_root, vote_leaf, votes_root};
use crate::certificate::Certificate;
use crate::charter::{Charter, ModelSet, ModelVersion, Seat};
use crate::digest::Digest;
use crate::genesis::{Committee, GatewayIdentity, Genesis, Member, Rules};
use crate::header::Header;
use crate::key::SecretKey;
use crate::merkle;
use crate::policy::{Assurance, Policy, Vote};
use crate::record::Record;
use crate::request::{
    Field, RequestTerms, Seed, SignedRequest, input_digest, output_commitment, result_salt, value_salt, vote_commitment,
};

/// The client's seed of every sample request.
pub const SEED: Seed = Seed([42; 32]);

/// Unix milliseconds at which sample markets were made.
pub const CREATED_MS: u64 = 1_800_000_000_000;

/// Whose key a number names.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// An owner's.
    Owner,
    /// A member's attestation key in an epoch.
    Attestation(u8),
    /// A member's engine key.
    Engine,
    /// A gateway's.
    Gateway,
    /// A client's.
    Client,
}

/// The key of a role at a place.
#[must_use]
pub fn key(role: Role, place: u8) -> SecretKey {
    let (role, epoch) = match role {
        Role::Owner => (1, 0),
        Role::Attestation(epoch) => (2, epoch),
        Role::Engine => (3, 0),
        Role::Gateway => (4, 0),
        Role::Client => (5, 0),
    };
    let mut seed = [0; 32];
    seed[..3].copy_from_slice(&[role, place, epoch]);
    SecretKey::from_seed(&seed)
}

/// The committee of an epoch.
#[must_use]
pub fn committee(epoch: u8, members: u8) -> Committee {
    let member = |place: u8| Member {
        name: format!("coordinator-{place}"),
        attestation: key(Role::Attestation(epoch), place).public(),
        engine: key(Role::Engine, place).public(),
    };
    Committee { epoch: epoch.into(), members: (0..members).map(member).collect() }
}

/// The digest of the sample input.
#[must_use]
pub fn input() -> Digest {
    input_digest("image", "BYTES", &[], b"a photo")
}

/// A market with one group.
#[derive(Clone, Debug)]
pub struct Market {
    /// Its genesis.
    pub genesis: Genesis,
    /// The committee that attests, and the epoch of its keys.
    pub committee: Committee,
    /// The charter in force.
    pub charter: Charter,
    /// The seq of the block that decides.
    pub seq: u64,
    /// The last governance entry.
    pub governance_seq: u64,
}

impl Market {
    /// `members` coordinators; `owners` owners under `policy` with the highest fault bound.
    #[must_use]
    pub fn new(members: u8, owners: u8, policy: Policy) -> Self {
        let seat = |place: u8| Seat {
            owner: format!("owner-{place}"),
            key: key(Role::Owner, place).public(),
            party: format!("party {place}"),
            lineage: "EfficientNet-Lite".into(),
        };
        let charter = Charter {
            group: "imagenet".into(),
            task: "image-classification".into(),
            classes: 1000,
            labels: None,
            roster: (0..owners).map(seat).collect(),
            policy,
            faults: u64::from((owners - 1) / 3),
            assurance: policy.strongest(),
            notice_blocks: 1,
            approvals: u64::from(owners - (owners - 1) / 3),
            fee: 1,
        };
        let genesis = Genesis {
            market: "test".into(),
            created_ms: CREATED_MS,
            rules: Rules { request_lifetime_ms_max: 600_000, clock_skew_ms_max: 5_000 },
            committee: committee(0, members),
            gateways: vec![GatewayIdentity { name: "gateway".into(), key: key(Role::Gateway, 0).public() }],
            charters: vec![charter.clone()],
        };
        Self { committee: genesis.committee.clone(), charter, genesis, seq: 9, governance_seq: 0 }
    }

    /// The model versions in force.
    #[must_use]
    pub fn models(&self) -> ModelSet {
        let version = |place: usize| ModelVersion {
            model: "lite0".into(),
            label: "1".into(),
            digest: Digest::of(format!("version {place}").as_bytes()),
        };
        ModelSet((0..self.charter.roster.len()).map(|place| Some(version(place))).collect())
    }

    /// A request that the client signed.
    #[must_use]
    pub fn request(&self, demand: Assurance) -> SignedRequest {
        SignedRequest::by_client(self.terms(demand), &key(Role::Client, 0), &SEED, [7; 16])
    }

    /// A request that the gateway minted.
    #[must_use]
    pub fn minted(&self, demand: Assurance) -> SignedRequest {
        SignedRequest::by_gateway(self.terms(demand), &key(Role::Gateway, 0), &SEED, [7; 16])
    }

    fn terms(&self, demand: Assurance) -> RequestTerms {
        RequestTerms {
            genesis: self.genesis.digest(),
            group: self.charter.group.clone(),
            input: input(),
            expiry_ms: CREATED_MS + 100_000,
            demand,
        }
    }

    /// Decides a request that the client signed.
    ///
    /// # Panics
    /// If the votes do not decide it.
    #[must_use]
    pub fn decide(&self, votes: &[Option<Vote>], demand: Assurance) -> Case {
        self.decide_request(&self.request(demand), votes)
    }

    /// Decides a request; everything that can be attached is.
    ///
    /// # Panics
    /// If the votes do not decide it.
    #[must_use]
    #[expect(clippy::expect_used, reason = "samples are made of votes that decide")]
    pub fn decide_request(&self, signed: &SignedRequest, votes: &[Option<Vote>]) -> Case {
        let (request, salt) = (&signed.request, SEED.salt(Field::Vote));
        let agreement = self.charter.combine(votes);
        let sealed = agreement.seal(self.charter.policy, request.demand, &salt).expect("a terminal outcome");
        let ballots = self.ballots(&request.id(), votes);
        let record = Record {
            genesis: request.genesis,
            epoch: self.committee.epoch,
            config: self.committee.digest(),
            group: self.charter.group.clone(),
            charter: self.charter.digest(),
            model_set: self.models().digest(),
            request: request.id(),
            commitment: request.commitment,
            expiry_ms: request.expiry_ms,
            origin: request.origin,
            policy: self.charter.policy,
            owners: self.charter.roster.len(),
            faults: self.charter.fault_bound(),
            demand: request.demand,
            votes: sealed.votes,
            support: sealed.support,
            outcome: sealed.outcome,
            result: sealed.result,
            assurance: sealed.assurance,
            ballots: ballots_root(ballots.iter().map(|(_, ballot)| ballot)),
            seq: self.seq,
            leaf_index: 37,
            agreed_ms: CREATED_MS + 50_000,
        };
        let opened = |vote: &Vote, salt_of: fn(&Digest, &[u8]) -> Digest| {
            let bytes = vote.to_bytes().unwrap_or_default();
            ValueOpening { salt: salt_of(&salt, &bytes), value: vote.clone() }
        };
        let classes: Vec<_> = agreement.groups.votes.iter().map(|(vote, _)| vote.clone()).collect();
        let single = |(place, vote): (usize, &Vote)| (place, opened(vote, value_salt));
        let attachments = Attachments {
            request: Some(RequestAttachment {
                key: request.key,
                nonce: request.nonce,
                opening: signed.opening,
                signature: Some(signed.signature),
            }),
            single_votes: classes.iter().enumerate().map(single).collect(),
            votes: Some(VotesAttachment { salt, votes: classes }),
            models: Some(self.models()),
            result: agreement.result.as_ref().filter(|_| record.result.is_some()).map(|vote| opened(vote, result_salt)),
            ballots: self.ballot_proofs(&request.id(), &ballots),
            chain: None,
        };
        Case { market: self.clone(), record, attachments, tree_size: 1024 }
    }

    /// The counted ballots by roster place; each batch has three requests, the sample's in the middle.
    fn ballots(&self, request: &Digest, votes: &[Option<Vote>]) -> Vec<(usize, Ballot)> {
        let ids = [Digest::of(b"another request"), *request, Digest::of(b"a third request")];
        let (salt, models) = (SEED.salt(Field::Vote), self.models());
        let ballot = |(place, vote): (usize, &Option<Vote>)| {
            let output = output_commitment(&SEED.salt(Field::Output), format!("output {place}").as_bytes());
            let answer = Answer { vote: vote.clone()?, output };
            let other = Answer { vote: Vote::Abstain, output: Digest::of(b"output") };
            let answers = vec![other.clone(), answer, other];
            let statement = BallotStatement {
                genesis: self.genesis.digest(),
                group: self.charter.group.clone(),
                charter: self.charter.digest(),
                batch: batch_root(&ids),
                count: ids.len() as u64,
                version: models.0[place].as_ref()?.digest,
                owner: self.charter.roster[place].key,
                expiry_ms: CREATED_MS + 60_000,
                votes: votes_root(ids.iter().map(|id| (id, &salt)), &answers),
            };
            Some((place, Ballot::sign(statement, answers, &key(Role::Owner, place as u8))))
        };
        votes.iter().enumerate().filter_map(ballot).collect()
    }

    fn ballot_proofs(&self, request: &Digest, ballots: &[(usize, Ballot)]) -> Vec<BallotProof> {
        let ids = [Digest::of(b"another request"), *request, Digest::of(b"a third request")];
        let salt = SEED.salt(Field::Vote);
        let leaves: Vec<_> = ballots.iter().map(|(_, ballot)| ballot.leaf()).collect();
        let proof = |(index, (owner, ballot)): (usize, &(usize, Ballot))| {
            let leaf = |(id, answer): (&Digest, &Answer)| {
                vote_leaf(id, vote_commitment(&salt, &answer.vote).as_ref(), &answer.output)
            };
            let votes: Vec<_> = ids.iter().zip(&ballot.answers).map(leaf).collect();
            BallotProof {
                owner: *owner,
                statement: ballot.statement.to_bytes(),
                signature: ballot.signature,
                output: ballot.answers[1].output,
                vote_index: 1,
                vote_path: merkle::path(&votes, 1),
                ballot_path: merkle::path(&leaves, index),
            }
        };
        ballots.iter().enumerate().map(proof).collect()
    }
}

/// A decided request, not yet attested: change it, then certify it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it was decided.
    pub market: Market,
    /// Its record.
    pub record: Record,
    /// Everything that can be attached.
    pub attachments: Attachments,
    /// Leaves of its block.
    pub tree_size: u32,
}

impl Case {
    /// Without attachments.
    #[must_use]
    pub fn bare(self) -> Self {
        Self { attachments: Attachments::default(), ..self }
    }

    /// With changed attachments.
    #[must_use]
    pub fn attach(mut self, change: impl FnOnce(&mut Attachments)) -> Self {
        change(&mut self.attachments);
        self
    }

    /// With a changed record.
    #[must_use]
    pub fn record(mut self, change: impl FnOnce(&mut Record)) -> Self {
        change(&mut self.record);
        self
    }

    /// The header of its block; other leaves are of no account.
    #[must_use]
    pub fn header(&self) -> (Header, Vec<Digest>) {
        let mut leaves: Vec<_> = (0..self.tree_size).map(|leaf| merkle::leaf_hash(&leaf.to_be_bytes())).collect();
        let index = self.record.leaf_index as usize;
        leaves[index] = merkle::leaf_hash(&self.record.to_bytes());
        let header = Header {
            genesis: self.market.genesis.digest(),
            epoch: self.market.committee.epoch,
            config: self.market.committee.digest(),
            seq: self.market.seq,
            tree_size: self.tree_size.into(),
            ledger_root: Digest::of(b"earlier headers"),
            governance_seq: self.market.governance_seq,
            agreed_ms: CREATED_MS + 50_000,
            record_root: merkle::root(&leaves),
        };
        (header, merkle::path(&leaves, index))
    }

    /// The certificate, attested by the members at `signers`.
    #[must_use]
    pub fn certify(&self, signers: &[usize]) -> Certificate {
        self.certify_header(signers, |_| {})
    }

    /// The certificate under a changed header.
    #[must_use]
    pub fn certify_header(&self, signers: &[usize], change: impl FnOnce(&mut Header)) -> Certificate {
        let (mut header, path) = self.header();
        change(&mut header);
        let epoch = self.market.committee.epoch as u8;
        let attest = |place: &usize| (*place, header.attest(&key(Role::Attestation(epoch), *place as u8)));
        let attestations: Vec<_> = signers.iter().map(attest).collect();
        let (record, attachments) = (self.record.clone(), self.attachments.clone());
        Certificate::new(header, record, path, &self.market.committee, &attestations, attachments)
    }

    /// The certificate of the last quorum of the committee.
    #[must_use]
    pub fn certified(&self) -> Certificate {
        let committee = &self.market.committee;
        let signers: Vec<_> = (committee.faults()..committee.members.len()).collect();
        self.certify(&signers)
    }
}

/// A name for people.
#[must_use]
pub fn describe(market: &Market) -> String {
    format!(
        "{} members, {} owners, {}",
        market.committee.members.len(),
        market.charter.roster.len(),
        market.charter.policy.name()
    )
}
