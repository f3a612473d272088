//! A node's configuration file.
//!
//! ```toml
//! owner = "acme"
//! group = "imagenet"
//! genesis = "genesis.json"
//! key = "owner.key"
//! listen = "127.0.0.1:9101"
//! coordinators = ["127.0.0.1:9001", "127.0.0.1:9002"]
//! manifest = "models/lite0/model.toml"
//! onnxruntime = "lib/libonnxruntime.so"
//! data_dir = "data"
//!
//! # Further versions to take into the model store, where `dropbear model publish` puts them, too.
//! # versions = ["models/lite0-int8/model.toml"]
//! # Where gateways find the owner's nodes, to be told to the ledger.
//! # endpoints = ["127.0.0.1:9101", "127.0.0.1:9102"]
//! # The owner's other node that keeps the vote journal of both; it also speaks to the ledger for both.
//! # journal_of = "127.0.0.1:9102"
//! # The key that is to take the place of `key`; used from the block on in which it does.
//! # next_key = "owner-next.key"
//! # All loaded versions together may take so much; if not set, what the system has to give.
//! # memory_bytes_max = 8589934592
//!
//! # What follows are the defaults.
//! spare_versions = 1
//! workers = 1
//! intra_threads = 1
//! devices = ["cpu"]
//! precision = "fp32"
//! decode_threads = 1
//! batch_size_max = 16
//! batch_delay_us = 500
//! queue_items_max = 2048
//! infer_timeout_ms = 10000
//! load_timeout_ms = 120000
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use dropbear_certificates::{Genesis, SecretKey};
use dropbear_consensus::entry::ENDPOINTS_MAX;
use dropbear_models::{Device, Precision, RunOptions};
use dropbear_wire::files::{read_genesis, read_key};
use serde::Deserialize;

use crate::batcher::Limits;
use crate::model::Sessions;
use crate::node::NodeError;
use crate::pool::{Threads, Timeouts};
use crate::standing::Claim;

/// A configuration file, read. Paths are as in the file; relative ones start at its folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The owner's name, as in the group's roster.
    pub owner: String,
    /// The group that the node serves.
    pub group: String,
    /// The market's genesis, `genesis.json`.
    pub genesis: PathBuf,
    /// The owner's key file, see [`dropbear_wire::files`].
    pub key: PathBuf,
    /// Where the node listens; a loopback address, port 0 for any free one.
    pub listen: SocketAddr,
    /// Where Prometheus scrapes the node; a loopback address, nowhere if absent.
    pub metrics_listen: Option<SocketAddr>,
    /// The coordinators that it follows and submits to.
    pub coordinators: Vec<SocketAddr>,
    /// The manifest of the version that the node brings along: it is registered, published and activated if the owner
    /// never activated any. Without one, the node serves what the ledger names and the model store has.
    pub manifest: Option<PathBuf>,
    /// Manifests of further versions to take into the model store.
    #[serde(default)]
    pub versions: Vec<PathBuf>,
    /// host:port of the owner's nodes, to be told to the ledger.
    pub endpoints: Option<Vec<String>>,
    /// The sibling that keeps the owner's vote journal; this node has none of its own then.
    pub journal_of: Option<SocketAddr>,
    /// The key that is to take the place of `key`.
    pub next_key: Option<PathBuf>,
    /// All loaded versions together may take so many bytes of memory.
    pub memory_bytes_max: Option<u64>,
    /// Versions that stay loaded besides those that are or will be in force: the newest, and the one before.
    #[serde(default = "one")]
    pub spare_versions: usize,
    /// The ONNX Runtime library; needed by models that run on it.
    pub onnxruntime: Option<PathBuf>,
    /// Where the vote journal and the model store lie.
    pub data_dir: PathBuf,
    /// Threads that run the model on each device, each with its own session.
    #[serde(default = "one")]
    pub workers: usize,
    /// Threads within one run of the model, on a CPU.
    #[serde(default = "one")]
    pub intra_threads: usize,
    /// Where models run: `cpu`, or `cuda:0`, `cuda:1`…; `workers` on each.
    #[serde(default = "cpu")]
    pub devices: Vec<Device>,
    /// What models compute in: `fp32`, or on GPUs `fp16`.
    #[serde(default)]
    pub precision: Precision,
    /// Threads that decode pictures.
    #[serde(default = "one")]
    pub decode_threads: usize,
    /// The model runs on at most this many inputs at once.
    #[serde(default = "batch_size_max")]
    pub batch_size_max: usize,
    /// An idle worker waits at most this long for inputs that are being decoded.
    #[serde(default = "batch_delay_us")]
    pub batch_delay_us: u64,
    /// At most this many inputs wait or are decoded.
    #[serde(default = "queue_items_max")]
    pub queue_items_max: usize,
    /// A worker whose run of the model takes longer is replaced.
    #[serde(default = "infer_timeout_ms")]
    pub infer_timeout_ms: u64,
    /// A version that takes longer to load cannot be loaded.
    #[serde(default = "load_timeout_ms")]
    pub load_timeout_ms: u64,
}

fn cpu() -> Vec<Device> {
    vec![Device::Cpu]
}

const fn one() -> usize {
    1
}

const fn batch_size_max() -> usize {
    16
}

const fn batch_delay_us() -> u64 {
    500
}

const fn queue_items_max() -> usize {
    2048
}

const fn infer_timeout_ms() -> u64 {
    10_000
}

const fn load_timeout_ms() -> u64 {
    120_000
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Not TOML, or a field is missing, unknown or of the wrong kind.
    #[error("{0}: {1}")]
    Syntax(PathBuf, Box<toml::de::Error>),
    /// More addresses than the ledger takes.
    #[error("`endpoints` names {0} addresses; the ledger takes {ENDPOINTS_MAX}")]
    Endpoints(usize),
    /// A number that must not be zero, or an empty list.
    #[error("`{0}` must not be zero or empty")]
    Empty(&'static str),
}

/// What a node needs besides its model, with files read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The owner's name, as in the group's roster.
    pub owner: String,
    /// The owner's key.
    pub key: Arc<SecretKey>,
    /// The key that is to take its place.
    pub next_key: Option<Arc<SecretKey>>,
    /// The group that the node serves.
    pub group: String,
    /// The market's genesis.
    pub genesis: Genesis,
    /// Where the node listens.
    pub listen: SocketAddr,
    /// Where it can be scraped.
    pub metrics_listen: Option<SocketAddr>,
    /// The coordinators that it follows and submits to.
    pub coordinators: Vec<SocketAddr>,
    /// Where the vote journal and the model store lie; made if it is not there.
    pub data_dir: PathBuf,
    /// The sibling that keeps the vote journal instead.
    pub journal_of: Option<SocketAddr>,
    /// host:port of the owner's nodes, to be told to the ledger.
    pub endpoints: Option<Vec<String>>,
    /// All loaded versions together may take so many bytes of memory.
    pub memory_bytes_max: Option<u64>,
    /// Versions that stay loaded besides those that are or will be in force.
    pub spare_versions: usize,
    /// Bounds of the batcher.
    pub limits: Limits,
    /// How many threads do what.
    pub threads: Threads,
    /// How long the model may take.
    pub timeouts: Timeouts,
}

impl Settings {
    /// Who the node claims to be.
    pub(crate) fn claim(&self) -> Claim {
        let keys = std::iter::once(&self.key).chain(&self.next_key).cloned().collect();
        Claim { owner: self.owner.clone(), keys, group: self.group.clone() }
    }
}

impl NodeConfig {
    /// Reads a configuration file and resolves its paths.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Read(path.into(), error))?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Syntax(path.into(), Box::new(error)))?;
        config.check()?;
        Ok(config.resolved(path.parent().unwrap_or(Path::new("."))))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let numbers = [
            ("workers", self.workers),
            ("intra_threads", self.intra_threads),
            ("decode_threads", self.decode_threads),
            ("batch_size_max", self.batch_size_max),
            ("queue_items_max", self.queue_items_max),
            ("devices", self.devices.len()),
            ("coordinators", self.coordinators.len()),
            ("infer_timeout_ms", usize::try_from(self.infer_timeout_ms).unwrap_or(usize::MAX)),
            ("load_timeout_ms", usize::try_from(self.load_timeout_ms).unwrap_or(usize::MAX)),
        ];
        let endpoints = self.endpoints.as_ref().map_or(0, Vec::len);
        if endpoints > ENDPOINTS_MAX {
            return Err(ConfigError::Endpoints(endpoints));
        }
        match numbers.into_iter().find(|(_, number)| *number == 0) {
            Some((field, _)) => Err(ConfigError::Empty(field)),
            None => Ok(()),
        }
    }

    fn resolved(mut self, folder: &Path) -> Self {
        for path in [&mut self.genesis, &mut self.key, &mut self.data_dir]
            .into_iter()
            .chain(self.manifest.as_mut())
            .chain(self.onnxruntime.as_mut())
            .chain(self.next_key.as_mut())
            .chain(&mut self.versions)
        {
            *path = folder.join(&*path);
        }
        self
    }

    /// How models use the node's devices.
    pub(crate) fn sessions(&self) -> Result<Sessions, NodeError> {
        let on = |device| RunOptions {
            device,
            intra_threads: self.intra_threads,
            precision: self.precision,
            ..RunOptions::default()
        };
        let (first, others) = self.devices.split_first().ok_or(ConfigError::Empty("devices"))?;
        Ok(Sessions::new(on(*first), others.iter().map(|device| on(*device)))?)
    }

    /// Reads the genesis and the key.
    ///
    /// # Errors
    /// [`NodeError`] if one of them cannot be used.
    pub fn settings(&self) -> Result<Settings, NodeError> {
        let (genesis, _labels) = read_genesis(&self.genesis)?;
        let key = read_key(&self.key)?;
        // Who has which key now, the ledger says; but no owner of the beginning becomes another one.
        let mut seats = genesis.charters.iter().flat_map(|charter| &charter.roster);
        if let Some(seat) = seats.find(|seat| seat.key == key.public() && seat.owner != self.owner) {
            return Err(NodeError::OthersKey(self.key.clone(), seat.owner.clone(), self.owner.clone()));
        }
        Ok(Settings {
            owner: self.owner.clone(),
            key: Arc::new(key),
            next_key: self.next_key.as_deref().map(read_key).transpose()?.map(Arc::new),
            group: self.group.clone(),
            genesis,
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            coordinators: self.coordinators.clone(),
            data_dir: self.data_dir.clone(),
            journal_of: self.journal_of,
            endpoints: self.endpoints.clone(),
            memory_bytes_max: self.memory_bytes_max,
            spare_versions: self.spare_versions,
            limits: Limits {
                batch_size_max: self.batch_size_max,
                batch_delay_us: self.batch_delay_us,
                queue_items_max: self.queue_items_max,
            },
            threads: Threads { decode: self.decode_threads, workers: self.workers * self.devices.len() },
            timeouts: Timeouts {
                infer: Duration::from_millis(self.infer_timeout_ms),
                load: Duration::from_millis(self.load_timeout_ms),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        owner = "acme"
        group = "imagenet"
        genesis = "genesis.json"
        key = "/keys/owner.key"
        listen = "127.0.0.1:0"
        coordinators = ["127.0.0.1:9001"]
        manifest = "models/model.toml"
        data_dir = "data"
    "#;

    fn load(text: &str) -> Result<(NodeConfig, PathBuf), ConfigError> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("node.toml");
        fs::write(&path, text).unwrap();
        NodeConfig::load(&path).map(|config| (config, folder.path().into()))
    }

    #[test]
    fn relative_paths_start_at_the_files_folder() {
        let (config, folder) = load(MINIMAL).unwrap();
        assert_eq!(config.genesis, folder.join("genesis.json"));
        assert_eq!(config.key, Path::new("/keys/owner.key"));
        assert_eq!(config.manifest, Some(folder.join("models/model.toml")));
        assert_eq!((config.batch_size_max, config.onnxruntime), (16, None));
    }

    #[test]
    fn unknown_fields_and_zeros_are_refused() {
        let with = |line: &str| load(&format!("{MINIMAL}\n{line}")).unwrap_err().to_string();
        assert!(with("worker = 2").contains("worker"));
        assert!(with("workers = 0").contains("`workers` must not be zero"));
        let many = format!("endpoints = {:?}", vec!["127.0.0.1:1"; ENDPOINTS_MAX + 1]);
        assert!(with(&many).contains("`endpoints` names 9 addresses"));
        let none = MINIMAL.replace("\"127.0.0.1:9001\"", "");
        assert!(matches!(load(&none), Err(ConfigError::Empty("coordinators"))));
    }
}
