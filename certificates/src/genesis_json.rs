//! `genesis.json`: the readable form of a genesis, with its label tables. Keys and digests are lower-case hex.
//!
//! The digest is computed from the deterministic encoding of what was read, never from the JSON text; a `digest` field
//! that disagrees is refused. So are members that are unknown, repeated or null, numbers that are no plain integers, and
//! arrays in place of objects.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::charter::{Charter, Seat, labels_digest};
use crate::digest::Digest;
use crate::genesis::{Committee, GatewayIdentity, Genesis, GenesisError, Member, Rules};
use crate::key::PublicKey;
use crate::policy::{Assurance, Policy, TensorBounds};

/// Why a file is no acceptable `genesis.json`.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// Not the expected JSON.
    #[error("not a genesis.json: {0}")]
    Json(serde_json::Error),
    /// A field does not hold what it should.
    #[error("genesis.json: {0} is not valid")]
    Field(&'static str),
    /// The content breaks a rule.
    #[error("genesis.json: {0}")]
    Genesis(#[from] GenesisError),
}

/// A JSON object. What serde derives takes an array of the members, too.
#[derive(Clone, Copy, Serialize)]
#[serde(transparent)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// A member that may be absent, but is never null.
fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    market: String,
    digest: String,
    created_ms: u64,
    rules: Object<RulesFile>,
    committee: Object<CommitteeFile>,
    gateways: Vec<Object<GatewayFile>>,
    groups: Vec<Object<CharterFile>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    request_lifetime_ms_max: u64,
    clock_skew_ms_max: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitteeFile {
    epoch: u64,
    members: Vec<Object<MemberFile>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberFile {
    name: String,
    attestation_key: String,
    engine_key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayFile {
    name: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CharterFile {
    group: String,
    task: String,
    classes: u32,
    policy: PolicyFile,
    fault_bound: u64,
    assurance: String,
    notice_blocks: u64,
    approvals: u64,
    fee: u64,
    owners: Vec<Object<SeatFile>>,
    labels: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeatFile {
    name: String,
    key: String,
    controlling_party: String,
    lineage: String,
}

/// A policy: its name alone, or with its parameters.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PolicyFile {
    Name(String),
    Parameters(Object<ParametersFile>),
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ParametersFile {
    name: String,
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    ranks: Option<u64>,
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    quorum: Option<u64>,
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    tensor: Option<Object<TensorFile>>,
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    epsilon: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorFile {
    length: u32,
    fraction_bits: u32,
    min: i64,
    max: i64,
}

/// Exactly the parameters that the policy has must be there.
fn policy(file: &PolicyFile) -> Option<Policy> {
    let file = match file {
        PolicyFile::Name(name) => return (name == "plurality").then_some(Policy::Plurality),
        PolicyFile::Parameters(Object(file)) => file,
    };
    let tensor = file.tensor.map(|Object(TensorFile { length, fraction_bits, min, max })| TensorBounds {
        length,
        fraction_bits,
        min,
        max,
    });
    match (file.name.as_str(), file.ranks, file.quorum, tensor, file.epsilon) {
        ("plurality", None, None, None, None) => Some(Policy::Plurality),
        ("borda", Some(ranks), None, None, None) => Some(Policy::Borda { ranks }),
        ("exact", None, Some(quorum), None, None) => Some(Policy::Exact { quorum }),
        ("median", None, None, Some(tensor), None) => Some(Policy::Median { tensor }),
        ("trimmed-mean", None, None, Some(tensor), None) => Some(Policy::TrimmedMean { tensor }),
        ("within", None, Some(quorum), Some(tensor), Some(epsilon)) => Some(Policy::Within { tensor, epsilon, quorum }),
        _ => None,
    }
}

fn policy_file(policy: Policy) -> PolicyFile {
    let mut file = ParametersFile { name: policy.name().into(), ..ParametersFile::default() };
    let tensor_file =
        |TensorBounds { length, fraction_bits, min, max }| Object(TensorFile { length, fraction_bits, min, max });
    match policy {
        Policy::Plurality => return PolicyFile::Name(file.name),
        Policy::Borda { ranks } => file.ranks = Some(ranks),
        Policy::Exact { quorum } => file.quorum = Some(quorum),
        Policy::Median { tensor } | Policy::TrimmedMean { tensor } => file.tensor = Some(tensor_file(tensor)),
        Policy::Within { tensor, epsilon, quorum } => {
            (file.tensor, file.epsilon, file.quorum) = (Some(tensor_file(tensor)), Some(epsilon), Some(quorum));
        }
    }
    PolicyFile::Parameters(Object(file))
}

const FORMAT: &str = "dropbear-genesis/1";

/// Label tables by digest.
pub type LabelTables = BTreeMap<Digest, Vec<String>>;

/// Reads `genesis.json`.
///
/// # Errors
/// [`GenesisFileError`] if the text is not a genesis, breaks a rule, or states another digest than its content has.
pub fn from_json(json: &[u8]) -> Result<(Genesis, LabelTables), GenesisFileError> {
    let Object(file): Object<File> = serde_json::from_slice(json).map_err(GenesisFileError::Json)?;
    if file.format != FORMAT {
        return Err(GenesisFileError::Field("format"));
    }
    let (Object(rules), Object(committee)) = (file.rules, file.committee);
    let mut labels = LabelTables::new();
    let mut charters = Vec::new();
    for Object(group) in file.groups {
        charters.push(charter(group, &mut labels)?);
    }
    let mut members = Vec::new();
    for Object(member) in committee.members {
        let (attestation, engine) = (key(&member.attestation_key)?, key(&member.engine_key)?);
        members.push(Member { name: member.name, attestation, engine });
    }
    let mut gateways = Vec::new();
    for Object(gateway) in file.gateways {
        gateways.push(GatewayIdentity { name: gateway.name, key: key(&gateway.key)? });
    }
    let rules =
        Rules { request_lifetime_ms_max: rules.request_lifetime_ms_max, clock_skew_ms_max: rules.clock_skew_ms_max };
    let committee = Committee { epoch: committee.epoch, members };
    let genesis = Genesis { market: file.market, created_ms: file.created_ms, rules, committee, gateways, charters };
    genesis.check()?;
    if file.digest != genesis.digest().to_string() {
        return Err(GenesisFileError::Field("digest"));
    }
    Ok((genesis, labels))
}

fn key(hex: &str) -> Result<PublicKey, GenesisFileError> {
    let bytes = Digest::from_hex(hex).ok_or(GenesisFileError::Field("a key"))?;
    PublicKey::from_bytes(bytes.as_bytes()).map_err(|_| GenesisFileError::Field("a key"))
}

fn charter(file: CharterFile, tables: &mut LabelTables) -> Result<Charter, GenesisFileError> {
    let mut roster = Vec::new();
    for Object(seat) in file.owners {
        let key = key(&seat.key)?;
        roster.push(Seat { owner: seat.name, key, party: seat.controlling_party, lineage: seat.lineage });
    }
    let policy = policy(&file.policy).ok_or(GenesisFileError::Field("policy"))?;
    let labels = file.labels.map(|labels| {
        let digest = labels_digest(&labels);
        tables.insert(digest, labels);
        digest
    });
    Ok(Charter {
        group: file.group,
        task: file.task,
        classes: file.classes,
        labels,
        roster,
        policy,
        faults: file.fault_bound,
        assurance: Assurance::from_name(&file.assurance).ok_or(GenesisFileError::Field("assurance"))?,
        notice_blocks: file.notice_blocks,
        approvals: file.approvals,
        fee: file.fee,
    })
}

/// Writes `genesis.json`, indented, labels included.
#[must_use]
pub fn to_json(genesis: &Genesis, labels: &LabelTables) -> String {
    let seat = |seat: &Seat| {
        Object(SeatFile {
            name: seat.owner.clone(),
            key: seat.key.to_string(),
            controlling_party: seat.party.clone(),
            lineage: seat.lineage.clone(),
        })
    };
    let charter = |charter: &Charter| {
        Object(CharterFile {
            group: charter.group.clone(),
            task: charter.task.clone(),
            classes: charter.classes,
            policy: policy_file(charter.policy),
            fault_bound: charter.faults,
            assurance: charter.assurance.name().into(),
            notice_blocks: charter.notice_blocks,
            approvals: charter.approvals,
            fee: charter.fee,
            owners: charter.roster.iter().map(seat).collect(),
            labels: charter.labels.and_then(|digest| labels.get(&digest).cloned()),
        })
    };
    let member = |member: &Member| {
        Object(MemberFile {
            name: member.name.clone(),
            attestation_key: member.attestation.to_string(),
            engine_key: member.engine.to_string(),
        })
    };
    let gateway =
        |gateway: &GatewayIdentity| Object(GatewayFile { name: gateway.name.clone(), key: gateway.key.to_string() });
    let file = File {
        format: FORMAT.into(),
        market: genesis.market.clone(),
        digest: genesis.digest().to_string(),
        created_ms: genesis.created_ms,
        rules: Object(RulesFile {
            request_lifetime_ms_max: genesis.rules.request_lifetime_ms_max,
            clock_skew_ms_max: genesis.rules.clock_skew_ms_max,
        }),
        committee: Object(CommitteeFile {
            epoch: genesis.committee.epoch,
            members: genesis.committee.members.iter().map(member).collect(),
        }),
        gateways: genesis.gateways.iter().map(gateway).collect(),
        groups: genesis.charters.iter().map(charter).collect(),
    };
    #[expect(clippy::expect_used, reason = "every field is a string, an integer or a list of them")]
    serde_json::to_string_pretty(&file).expect("plain data serialises")
}
