//! The market as its genesis describes it, with this gateway's place in it.

use std::sync::{Mutex, PoisonError};

use dropbear_certificates::effort::{Effort, KeyTables, SeenQuorums};
use dropbear_certificates::genesis_json::LabelTables;
use dropbear_certificates::{
    Certificate, Charter, Committee, Digest, Genesis, PublicKey, Refusal, SecretKey, Seed, TrustRoot,
};
use dropbear_wire::files::{read_genesis, read_key};

use crate::config::{ConfigError, GatewayConfig};

/// What never changes while the gateway runs.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) trust: TrustRoot,
    labels: LabelTables,
    pub(crate) key: SecretKey,
    /// From which seeds derive where a client gives a nonce but no seed.
    secret: Digest,
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
        check_groups(config, &genesis)?;
        Ok(Self::new(genesis, labels, key))
    }

    pub(crate) fn new(genesis: Genesis, labels: LabelTables, key: SecretKey) -> Self {
        let tag = "dropbear/gateway-secret/v1";
        // Never leaves the process, so the signature is as secret as the key.
        let secret = Digest::tagged(tag, &[&key.sign(tag.as_bytes())]);
        let (tables, seen) = (KeyTables::of(&genesis.committee), Mutex::new(SeenQuorums::new(QUORUMS_REMEMBERED_MAX)));
        Self { trust: TrustRoot::new(genesis), labels, key, secret, tables, seen }
    }

    /// Verifies a certificate as its holder will.
    pub(crate) fn verify(&self, certificate: &Certificate) -> Result<(), Refusal> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut effort = Effort { tables: Some(&self.tables), seen: Some(&mut seen), ..Effort::default() };
        certificate.verify_with(&self.trust, &mut effort).map(|_| ())
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

fn check_groups(config: &GatewayConfig, genesis: &Genesis) -> Result<(), ConfigError> {
    for (group, owners) in &config.groups {
        let charter = genesis.charters.iter().find(|charter| charter.group == *group);
        let charter = charter.ok_or_else(|| ConfigError::UnknownName(group.clone()))?;
        for owner in owners.keys() {
            if !charter.roster.iter().any(|seat| seat.owner == *owner) {
                return Err(ConfigError::UnknownName(format!("{group}.{owner}")));
            }
        }
    }
    Ok(())
}
