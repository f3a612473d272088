//! A coordinator's configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What one coordinator is told. Relative paths are relative to the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorConfig {
    /// The member's name in the genesis committee.
    pub name: String,
    /// The market's `genesis.json`.
    pub genesis: PathBuf,
    /// Key that signs block headers.
    pub attestation_key: PathBuf,
    /// Key that votes in the ordering engine and identifies this coordinator to its peers.
    pub engine_key: PathBuf,
    /// Where gateways, model nodes and operators reach this coordinator; loopback only.
    pub listen: SocketAddr,
    /// Where Prometheus scrapes this coordinator; loopback only, nowhere if absent.
    pub metrics_listen: Option<SocketAddr>,
    /// Every member's engine address, in committee order, this one's included; any host's, for engines know each other by
    /// their keys and encrypt.
    pub engine_addresses: Vec<SocketAddr>,
    /// Ledger and engine storage; this coordinator's alone.
    pub data_dir: PathBuf,
    /// How long a view waits for its leader.
    #[serde(default = "defaults::leader_timeout_ms")]
    pub leader_timeout_ms: u64,
    /// The longest that an entry waits for others to share its block, whatever patience its sender has; an idle market
    /// never waits.
    #[serde(default = "defaults::patience_ms_max")]
    pub patience_ms_max: u64,
    /// Bytes of entries that wait for their block at most.
    #[serde(default = "defaults::pool_bytes_max")]
    pub pool_bytes_max: usize,
}

mod defaults {
    pub(super) const fn leader_timeout_ms() -> u64 {
        500
    }

    pub(super) const fn patience_ms_max() -> u64 {
        500
    }

    pub(super) const fn pool_bytes_max() -> usize {
        64 << 20
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// Not the expected TOML.
    #[error("{0}: {1}")]
    Toml(PathBuf, toml::de::Error),
}

impl CoordinatorConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and the place in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| ConfigError::Toml(path.to_owned(), error))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for field in [&mut config.genesis, &mut config.attestation_key, &mut config.engine_key, &mut config.data_dir] {
            *field = folder.join(&*field);
        }
        Ok(config)
    }
}
