//! A gateway as a desk reads and writes through it: REST, and one gateway's word.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use dropbear_certificates::Digest;
use dropbear_wire::v1;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Applied;
use super::send::Refused;

/// A gateway answers within this time; an entry has to be ordered meanwhile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// A gateway's address.
pub(super) struct Gateway {
    url: String,
    http: reqwest::Client,
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gateway {}", self.url)
    }
}

/// What `GET /api/v1/groups` answers.
#[derive(Deserialize)]
struct Groups {
    genesis: String,
    seq: u64,
    followed: bool,
    groups: Vec<Group>,
    replaced_keys: Vec<ReplacedKey>,
    convictions: Vec<Conviction>,
}

#[derive(Deserialize)]
struct Group {
    group: String,
    /// Absent where no charter is in force.
    #[serde(flatten)]
    term: Option<Term>,
    before: Option<Term>,
    pending: Option<Term>,
    holdings: Vec<Holding>,
    proposals: Vec<Proposal>,
}

#[derive(Deserialize)]
struct Term {
    from_seq: u64,
    encoded: String,
}

#[derive(Deserialize)]
struct Holding {
    key: String,
    serial: u64,
    endpoints: Vec<String>,
    models: Vec<Model>,
    versions: Vec<Version>,
    activations: Vec<Activation>,
}

#[derive(Deserialize)]
struct Model {
    model: String,
    licence: String,
    lineage: String,
}

#[derive(Deserialize)]
struct Version {
    model: String,
    version: String,
    digest: String,
    seq: u64,
    withdrawn: Option<Withdrawn>,
}

#[derive(Deserialize)]
struct Withdrawn {
    seq: u64,
    permanent: bool,
    reason: String,
}

#[derive(Deserialize)]
struct Activation {
    from_seq: u64,
    digest: Option<String>,
}

#[derive(Deserialize)]
struct Proposal {
    proposal: String,
    seq: u64,
    proposer: String,
    approved: Vec<String>,
    approvals_needed: u32,
    consented: Vec<String>,
    consents_missing: Vec<String>,
    charter: Encoded,
}

#[derive(Deserialize)]
struct Encoded {
    encoded: String,
}

#[derive(Deserialize)]
struct ReplacedKey {
    key: String,
    replaced_by: String,
}

#[derive(Deserialize)]
struct Conviction {
    key: String,
    epoch: u64,
    seq: u64,
    leaf: u64,
}

/// What `GET /api/v1/groups/{group}/accounts` answers.
#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    key: String,
    offered: u64,
    counted: u64,
    late: u64,
    agreed: u64,
    dissented: u64,
    stale: u64,
    abstained: u64,
    paid: u64,
    earned: u64,
}

/// What `POST /api/v1/entries` answers.
#[derive(Deserialize)]
struct Taken {
    seq: u64,
    leaf: u64,
    charter_from_seq: Option<u64>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
    /// Present where the entry is refused for good.
    code: Option<String>,
}

impl Gateway {
    pub(super) fn at(url: &str) -> anyhow::Result<Self> {
        let parsed = reqwest::Url::parse(url).ok().filter(|parsed| parsed.has_host());
        if parsed.is_none_or(|parsed| !matches!(parsed.scheme(), "http" | "https")) {
            bail!("--gateway is a URL like http://127.0.0.1:8000, not `{url}`");
        }
        let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), http })
    }

    /// The registry as this gateway tells it, and its last block.
    pub(super) async fn groups(&self, genesis: &Digest) -> anyhow::Result<(u64, v1::RegistryView)> {
        let groups: Groups = self.call(Method::GET, "/api/v1/groups", Vec::new()).await?;
        if groups.genesis != genesis.to_string() {
            bail!("{self} serves another market, of genesis {}: give its own URL or genesis", groups.genesis);
        }
        if !groups.followed {
            bail!(
                "{self} reaches no coordinator now, so what it shows may be old: try again, or see `dropbear status`"
            );
        }
        let seq = groups.seq;
        let registry = registry(groups).with_context(|| format!("{self} shows no registry"))?;
        Ok((seq, registry))
    }

    /// Every owner's account in a group.
    pub(super) async fn accounts(&self, group: &str) -> anyhow::Result<Vec<v1::Account>> {
        let told: Accounts = self.call(Method::GET, &format!("/api/v1/groups/{group}/accounts"), Vec::new()).await?;
        let account = |account: Account| {
            let Account { key, offered, counted, late, agreed, dissented, stale, abstained, paid, earned } = account;
            let owner = hex(&key)?;
            Ok(v1::Account { owner, offered, counted, late, agreed, dissented, stale, abstained, paid, earned })
        };
        told.accounts.into_iter().map(account).collect()
    }

    /// Sends a signed entry, and waits until a quorum of the committee attests it.
    pub(super) async fn send(&self, entry: Vec<u8>) -> anyhow::Result<Applied> {
        let Taken { seq, leaf, charter_from_seq } = self.call(Method::POST, "/api/v1/entries", entry).await?;
        Ok(Applied { seq, leaf, charter_from: charter_from_seq })
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> anyhow::Result<T> {
        let (url, sending) = (format!("{}{path}", self.url), method == Method::POST);
        let sent = self.http.request(method, &url).body(body).send().await;
        let answer = match sent {
            Ok(response) => (response.status(), response.bytes().await),
            // Nothing was sent.
            Err(error) if error.is_connect() => {
                return Err(anyhow::Error::new(error)
                    .context(format!("{self} is not reachable: is it up, and is that its URL?")));
            }
            Err(error) => return Err(lost(self, sending, error)),
        };
        let (status, bytes) = match answer {
            (status, Ok(bytes)) => (status, bytes),
            (_, Err(error)) => return Err(lost(self, sending, error)),
        };
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes)
                .with_context(|| format!("{url} does not answer as a gateway of this version does: is that its URL?"));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Failure { error, code: Some(code) }) => {
                Err(Refused(v1::Refusal { code, message: error, ..v1::Refusal::default() }).into())
            }
            Ok(Failure { error, code: None }) => bail!("{self} answered {status}: {error}"),
            Err(_) => bail!("{url} answered {status}: is that a gateway's URL?"),
        }
    }
}

/// An answer that did not come, or not whole.
fn lost(gateway: &Gateway, sending: bool, error: reqwest::Error) -> anyhow::Error {
    let problem = match sending {
        true => {
            format!("{gateway} did not answer; the entry may be ordered all the same: look with `dropbear owner show`")
        }
        false => format!("{gateway} did not answer"),
    };
    anyhow::Error::new(error).context(problem)
}

fn hex<T: From<Vec<u8>>>(text: &str) -> anyhow::Result<T> {
    let bytes = HEXLOWER.decode(text.as_bytes()).with_context(|| format!("`{text}` is not hexadecimal"))?;
    Ok(bytes.into())
}

fn charter<T: From<Vec<u8>>>(encoded: &str) -> anyhow::Result<T> {
    let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).context("a charter is not base64url")?;
    Ok(bytes.into())
}

/// The ledger's message of what the gateway shows.
fn registry(told: Groups) -> anyhow::Result<v1::RegistryView> {
    let replaced = |replaced: ReplacedKey| {
        anyhow::Ok(v1::ReplacedKey { old_key: hex(&replaced.key)?, new_key: hex(&replaced.replaced_by)? })
    };
    let conviction = |guilt: Conviction| {
        anyhow::Ok(v1::Conviction {
            owner: hex(&guilt.key)?,
            epoch: guilt.epoch,
            seq: guilt.seq,
            leaf_index: guilt.leaf,
        })
    };
    Ok(v1::RegistryView {
        groups: told.groups.into_iter().map(group).collect::<Result<_, _>>()?,
        convictions: told.convictions.into_iter().map(conviction).collect::<Result<_, _>>()?,
        replaced_keys: told.replaced_keys.into_iter().map(replaced).collect::<Result<_, _>>()?,
    })
}

fn group(told: Group) -> anyhow::Result<v1::Group> {
    let term = |term: Term| anyhow::Ok(v1::Term { from_seq: term.from_seq, charter: charter(&term.encoded)? });
    Ok(v1::Group {
        name: told.group,
        terms: told.before.into_iter().chain(told.term).chain(told.pending).map(term).collect::<Result<_, _>>()?,
        holdings: told.holdings.into_iter().map(holding).collect::<Result<_, _>>()?,
        proposals: told.proposals.into_iter().map(proposal).collect::<Result<_, _>>()?,
    })
}

fn holding(told: Holding) -> anyhow::Result<v1::Holding> {
    let place = |digest: &String| {
        let place = told.versions.iter().position(|version| version.digest == *digest);
        let place = place.with_context(|| format!("version {digest} is activated and not shown"))?;
        u32::try_from(place).context("too many versions")
    };
    let activation = |activation: &Activation| {
        let version = activation.digest.as_ref().map(place).transpose()?;
        anyhow::Ok(v1::Activation { from_seq: activation.from_seq, version })
    };
    let activations = told.activations.iter().map(activation).collect::<Result<_, _>>()?;
    let model = |Model { model, licence, lineage }| v1::Model { name: model, licence, lineage };
    let version = |version: Version| {
        let withdrawn = |Withdrawn { seq, permanent, reason }| v1::Withdrawn { seq, permanent, reason };
        anyhow::Ok(v1::Version {
            model: version.model,
            label: version.version,
            digest: hex(&version.digest)?,
            seq: version.seq,
            withdrawn: version.withdrawn.map(withdrawn),
        })
    };
    Ok(v1::Holding {
        owner: hex(&told.key)?,
        serial: told.serial,
        models: told.models.into_iter().map(model).collect(),
        activations,
        versions: told.versions.into_iter().map(version).collect::<Result<_, _>>()?,
        endpoints: told.endpoints,
    })
}

fn proposal(told: Proposal) -> anyhow::Result<v1::CharterProposal> {
    Ok(v1::CharterProposal {
        digest: hex(&told.proposal)?,
        seq: told.seq,
        proposer: hex(&told.proposer)?,
        charter: charter(&told.charter.encoded)?,
        approved: keys(&told.approved)?,
        approvals_needed: told.approvals_needed,
        consented: keys(&told.consented)?,
        consents_missing: keys(&told.consents_missing)?,
    })
}

fn keys<T: From<Vec<u8>>>(keys: &[String]) -> anyhow::Result<Vec<T>> {
    keys.iter().map(|key| hex(key)).collect()
}
