//! The market as its genesis describes it, with this gateway's place in it.

use std::sync::{Arc, Mutex, PoisonError};

use dropbear_certificates::charter::is_name;
use dropbear_certificates::effort::{Effort, KeyTables, SeenQuorums};
use dropbear_certificates::genesis_json::LabelTables;
use dropbear_certificates::{
    Certificate, Charter, Committee, Digest, Genesis, PublicKey, Refusal, SecretKey, Seed, TrustRoot,
};
use dropbear_wire::convert::GroupView;
use dropbear_wire::files::{read_genesis, read_key};
use tokio::sync::watch;

use crate::config::{ConfigError, GatewayConfig};
use crate::trusted::Trusted;

/// What never changes while the gateway runs.
#[derive(Debug)]
pub(crate) struct Market {
    /// The genesis alone; see [`Market::trusted`].
    pub(crate) trust: TrustRoot,
    labels: LabelTables,
    pub(crate) key: SecretKey,
    /// From which seeds derive where a client gives a nonce but no seed.
    secret: Digest,
    /// What coordinators proved since genesis.
    trusted: watch::Sender<Arc<Trusted>>,
    tables: KeyTables,
    /// All certificates of a block share one quorum: it is verified once.
    seen: Mutex<SeenQuorums>,
}

const QUORUMS_REMEMBERED_MAX: usize = 256;

impl Market {
    /// Reads genesis and key, and checks that they and the configuration speak of the same market.
    pub(crate) fn open(config: &GatewayConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let (genesis, labels) = read_genesis(&config.genesis)?;
        let key = read_key(&config.key_file)?;
        let public = key.public();
        if !genesis.gateways.iter().any(|gateway| gateway.name == config.name && gateway.key == public) {
            return Err(ConfigError::UnknownGateway(config.name.clone(), config.key_file.clone()));
        }
        check_coordinators(config, &genesis.committee)?;
        check_groups(config)?;
        Ok(Self::new(genesis, labels, key))
    }

    pub(crate) fn new(genesis: Genesis, labels: LabelTables, key: SecretKey) -> Self {
        let tag = "dropbear/gateway-secret/v1";
        // Never leaves the process, so the signature is as secret as the key.
        let secret = Digest::tagged(tag, &[&key.sign(tag.as_bytes())]);
        let (tables, seen) = (KeyTables::of(&genesis.committee), Mutex::new(SeenQuorums::new(QUORUMS_REMEMBERED_MAX)));
        let trust = TrustRoot::new(genesis);
        let trusted = watch::Sender::new(Arc::new(Trusted::new(trust.clone())));
        Self { trust, trusted, labels, key, secret, tables, seen }
    }

    /// What is trusted now.
    pub(crate) fn trusted(&self) -> Arc<Trusted> {
        Arc::clone(&self.trusted.borrow())
    }

    /// Whether a group's charter is proven to be in force.
    pub(crate) fn believes(&self, group: &GroupView) -> bool {
        self.trusted.borrow().knows(&group.digest, group.from_seq)
    }

    /// What is trusted, as it grows.
    pub(crate) fn trust_changes(&self) -> watch::Receiver<Arc<Trusted>> {
        self.trusted.subscribe()
    }

    /// Trusts more.
    pub(crate) fn trust_more(&self, trusted: Trusted) {
        self.trusted.send_replace(Arc::new(trusted));
    }

    /// Verifies a certificate as its holder will.
    pub(crate) fn verify(&self, certificate: &Certificate) -> Result<(), Refusal> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut effort = Effort { tables: Some(&self.tables), seen: Some(&mut seen), ..Effort::default() };
        certificate.verify_with(&self.trusted().root, &mut effort).map(|_| ())
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.trust.genesis()
    }

    pub(crate) fn committee(&self) -> &Committee {
        &self.genesis().committee
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The name of a class, if the charter has names.
    pub(crate) fn label(&self, charter: &Charter, class: u32) -> Option<&str> {
        let table = self.labels.get(&charter.labels?)?;
        table.get(usize::try_from(class).ok()?).map(String::as_str)
    }

    /// The labels of a charter, class 0 first.
    pub(crate) fn labels(&self, charter: &Charter) -> Option<&[String]> {
        self.labels.get(&charter.labels?).map(Vec::as_slice)
    }

    /// The seed of a request whose client gave a nonce and no seed: the same again at a retry.
    pub(crate) fn seed(&self, nonce: &[u8; 16], input: &Digest) -> Seed {
        Seed(Digest::tagged("dropbear/gateway-seed/v1", &[self.secret.as_bytes(), nonce, input.as_bytes()]).0)
    }
}

fn check_coordinators(config: &GatewayConfig, committee: &Committee) -> Result<(), ConfigError> {
    let named: Vec<_> = config.coordinators.iter().map(|coordinator| coordinator.member.as_str()).collect();
    let members: Vec<_> = committee.members.iter().map(|member| member.name.as_str()).collect();
    if named == members { Ok(()) } else { Err(ConfigError::Coordinators(members.join(", "))) }
}

/// Groups and owners may join later, so that genesis need not name them; but their names must be names.
fn check_groups(config: &GatewayConfig) -> Result<(), ConfigError> {
    let names = config.groups.iter().flat_map(|(group, owners)| owners.keys().chain([group]));
    match names.into_iter().find(|name| !is_name(name)) {
        Some(name) => Err(ConfigError::NoName(name.chars().take(64).collect())),
        None => Ok(()),
    }
}
