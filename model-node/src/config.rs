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
//! # While a version is replaced, the old one is served until the new one is in force.
//! # previous_manifest = "models/lite0-old/model.toml"
//!
//! # What follows are the defaults.
//! workers = 1
//! intra_threads = 1
//! decode_threads = 1
//! batch_size_max = 16
//! batch_delay_us = 500
//! queue_items_max = 2048
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use dropbear_certificates::{Genesis, SecretKey};
use dropbear_wire::files::{read_genesis, read_key};
use serde::Deserialize;

use crate::batcher::Limits;
use crate::node::NodeError;
use crate::pool::Threads;

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
    /// The model's manifest.
    pub manifest: PathBuf,
    /// The manifest of the version that is being replaced; served until the new one is in force.
    pub previous_manifest: Option<PathBuf>,
    /// The ONNX Runtime library; needed by models that run on it.
    pub onnxruntime: Option<PathBuf>,
    /// Where the vote journal lies.
    pub data_dir: PathBuf,
    /// Threads that run the model, each with its own session.
    #[serde(default = "one")]
    pub workers: usize,
    /// Threads within one run of the model.
    #[serde(default = "one")]
    pub intra_threads: usize,
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

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// Not TOML, or a field is missing, unknown or of the wrong kind.
    #[error("{0}: {1}")]
    Syntax(PathBuf, Box<toml::de::Error>),
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
    /// Where the vote journal lies; made if it is not there.
    pub data_dir: PathBuf,
    /// Bounds of the batcher.
    pub limits: Limits,
    /// How many threads do what.
    pub threads: Threads,
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
            ("coordinators", self.coordinators.len()),
        ];
        match numbers.into_iter().find(|(_, number)| *number == 0) {
            Some((field, _)) => Err(ConfigError::Empty(field)),
            None => Ok(()),
        }
    }

    fn resolved(mut self, folder: &Path) -> Self {
        for path in [&mut self.genesis, &mut self.key, &mut self.manifest, &mut self.data_dir]
            .into_iter()
            .chain(self.onnxruntime.as_mut())
            .chain(self.previous_manifest.as_mut())
        {
            *path = folder.join(&*path);
        }
        self
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
            group: self.group.clone(),
            genesis,
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            coordinators: self.coordinators.clone(),
            data_dir: self.data_dir.clone(),
            limits: Limits {
                batch_size_max: self.batch_size_max,
                batch_delay_us: self.batch_delay_us,
                queue_items_max: self.queue_items_max,
            },
            threads: Threads { decode: self.decode_threads, workers: self.workers },
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
        assert_eq!((config.batch_size_max, config.onnxruntime), (16, None));
    }

    #[test]
    fn unknown_fields_and_zeros_are_refused() {
        let with = |line: &str| load(&format!("{MINIMAL}\n{line}")).unwrap_err().to_string();
        assert!(with("worker = 2").contains("worker"));
        assert!(with("workers = 0").contains("`workers` must not be zero"));
        let none = MINIMAL.replace("\"127.0.0.1:9001\"", "");
        assert!(matches!(load(&none), Err(ConfigError::Empty("coordinators"))));
    }
}
