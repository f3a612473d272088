//! A market of four coordinators and four owners, with every key derived from a number.

use dropbear_certificates::charter::Seat;
use dropbear_certificates::genesis::{GatewayIdentity, Member, Rules};
use dropbear_certificates::request::{Field, input_digest};
use dropbear_certificates::{
    Assurance, Attachments, Certificate, Charter, Committee, Digest, Genesis, Header, ModelSet, ModelVersion, Origin,
    Policy, Record, Request, RequestAttachment, RequestOpening, SecretKey, Seed, Vote, VotesAttachment, merkle,
};

pub(crate) fn key(role: u8, place: u8) -> SecretKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&[role, place]);
    SecretKey::from_seed(&seed)
}

pub(crate) fn genesis() -> Genesis {
    let seat = |place: u8| Seat {
        owner: format!("owner-{place}"),
        key: key(1, place).public(),
        party: format!("party {place}"),
        lineage: "EfficientNet-Lite".into(),
    };
    let member = |place: u8| Member {
        name: format!("coordinator-{place}"),
        attestation: key(2, place).public(),
        engine: key(3, place).public(),
    };
    Genesis {
        market: "test".into(),
        created_ms: 1_800_000_000_000,
        rules: Rules { request_lifetime_ms_max: 600_000, clock_skew_ms_max: 5_000 },
        committee: Committee { epoch: 0, members: (0..4).map(member).collect() },
        gateways: vec![GatewayIdentity { name: "gateway".into(), key: key(4, 0).public() }],
        charters: vec![Charter {
            group: "imagenet".into(),
            task: "image-classification".into(),
            classes: 1000,
            labels: None,
            roster: (0..4).map(seat).collect(),
            policy: Policy::Plurality,
            faults: 1,
            assurance: Assurance::Robust,
            notice_blocks: 1,
            approvals: 3,
            fee: 1,
        }],
    }
}

pub(crate) const SEED: Seed = Seed([42; 32]);

pub(crate) fn input() -> Digest {
    input_digest("image", "BYTES", &[], b"a photo")
}

/// A record with these votes and the attachments that open it.
pub(crate) fn record(votes: &[Option<Vote>], demand: Assurance) -> (Record, Attachments) {
    let genesis = genesis();
    let charter = &genesis.charters[0];
    let opening = RequestOpening::new(&SEED, input());
    let request = Request {
        genesis: genesis.digest(),
        group: charter.group.clone(),
        key: key(5, 0).public(),
        origin: Origin::ClientSigned,
        nonce: [7; 16],
        commitment: opening.commitment(),
        expiry_ms: 1_800_000_100_000,
        demand,
    };
    let version =
        |place: u8| Some(ModelVersion { model: "lite0".into(), label: "1".into(), digest: Digest::of(&[place]) });
    let models = ModelSet((0..4).map(version).collect());
    let agreement = charter.combine(votes);
    let salt = SEED.salt(Field::Vote);
    let sealed = agreement.seal(charter.policy, demand, &salt).expect("a terminal outcome");
    let record = Record {
        genesis: genesis.digest(),
        epoch: 0,
        config: genesis.committee.digest(),
        group: charter.group.clone(),
        charter: charter.digest(),
        model_set: models.digest(),
        request: request.id(),
        commitment: request.commitment,
        expiry_ms: request.expiry_ms,
        origin: request.origin,
        policy: charter.policy,
        owners: 4,
        faults: 1,
        demand,
        votes: sealed.votes,
        support: sealed.support,
        outcome: sealed.outcome,
        result: sealed.result,
        assurance: sealed.assurance,
        ballots: Digest::of(b"ballots"),
        seq: 9,
        leaf_index: 37,
        agreed_ms: 1_800_000_050_000,
    };
    let classes = agreement.groups.votes.iter().map(|(vote, _)| vote.clone()).collect();
    let attachments = Attachments {
        request: Some(RequestAttachment {
            key: request.key,
            nonce: request.nonce,
            opening,
            signature: Some(request.sign(&key(5, 0))),
        }),
        votes: Some(VotesAttachment { salt, votes: classes }),
        models: Some(models),
        ..Attachments::default()
    };
    (record, attachments)
}

/// The certificate of `record` in a block of 1024, attested by the members at `signers`.
pub(crate) fn certificate(record: Record, attachments: Attachments, signers: &[usize]) -> Certificate {
    let committee = genesis().committee;
    let mut leaves: Vec<_> = (0..1024u32).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect();
    let index = record.leaf_index as usize;
    leaves[index] = merkle::leaf_hash(&record.to_bytes());
    let header = Header {
        genesis: record.genesis,
        epoch: record.epoch,
        config: record.config,
        seq: record.seq,
        tree_size: 1024,
        ledger_root: Digest::of(b"earlier headers"),
        governance_seq: 0,
        agreed_ms: record.agreed_ms,
        record_root: merkle::root(&leaves),
    };
    let attestations: Vec<_> = signers.iter().map(|place| (*place, header.attest(&key(2, *place as u8)))).collect();
    Certificate::new(header, record, merkle::path(&leaves, index), &committee, &attestations, attachments)
}
