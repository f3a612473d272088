//! The gateway's configuration file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// What a gateway needs to know, as its TOML file says it. Relative paths resolve against the file's folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The gateway's name in genesis.
    pub name: String,
    /// The market's `genesis.json`.
    pub genesis: PathBuf,
    /// The gateway's secret key: 64 hex digits, readable by its user alone.
    pub key_file: PathBuf,
    /// Where clients speak HTTP; port 0 takes any free one.
    pub http_listen: SocketAddr,
    /// Where clients speak gRPC; no gRPC if absent.
    pub grpc_listen: Option<SocketAddr>,
    /// Where Prometheus scrapes this gateway; nowhere if absent. Tallies of owners are on it: not for clients.
    pub metrics_listen: Option<SocketAddr>,
    /// The committee's coordinators, in the order of genesis.
    pub coordinators: Vec<CoordinatorAddress>,
    /// By group, then by owner: the addresses of the owner's model nodes, instead of those that the owner tells the
    /// ledger.
    #[serde(default)]
    pub groups: BTreeMap<String, BTreeMap<String, Vec<SocketAddr>>>,
    /// Bounds and times.
    #[serde(default)]
    pub limits: Limits,
}

/// Where one member's coordinator listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorAddress {
    /// The member's name in genesis.
    pub member: String,
    /// Its address.
    pub address: SocketAddr,
}

/// Bounds and times; each has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests (items, not HTTP calls) that are admitted at once; more get 429.
    pub items_in_flight_max: usize,
    /// Requests in one request batch.
    pub batch_size_max: usize,
    /// Input bytes in one request batch.
    pub batch_bytes_max: usize,
    /// How long an incomplete batch waits for more while others are in flight.
    pub batch_delay_us: u64,
    /// The longest time that a client may ask for.
    pub request_timeout_ms_max: u64,
    /// Request batches of one group that are in flight at once.
    pub batches_in_flight_max: usize,
    /// A request's time from admission to answer, if it names none.
    pub request_timeout_ms: u64,
    /// How long a batch with some decided requests waits for the rest before the decided ones are submitted.
    pub straggler_wait_ms: u64,
    /// How long a submission waits for a quorum before every coordinator gets it.
    pub resubmit_after_ms: u64,
    /// Whether every owner is asked at once and awaited (within `straggler_wait_ms`), even where fewer decide. For
    /// measurements.
    pub await_all_ballots: bool,
    /// How long owners that were asked may still answer once everybody has their answer: it shows in their record.
    pub late_wait_ms: u64,
    /// Bytes of request batches that are kept for such ballots; owners of further batches are not waited for.
    pub late_bytes_max: usize,
    /// Entries with such ballots that are submitted at once; others wait their turn, for `late_wait_ms` at most.
    pub late_submissions_max: usize,
    /// Size of a request body, before and after decompression.
    pub body_bytes_max: usize,
    /// Bytes of request bodies that are held at once; more get 429.
    pub body_bytes_in_flight_max: usize,
    /// Time to send a request's header, and time to send its body.
    pub header_timeout_ms: u64,
    /// See `header_timeout_ms`.
    pub body_timeout_ms: u64,
    /// Client connections; more wait to be accepted.
    pub connections_max: usize,
    /// How long a stopping gateway lets running requests finish.
    pub drain_timeout_ms: u64,
    /// Width and height of a picture.
    pub image_side_max: u32,
    /// Pixels of a picture.
    pub image_pixels_max: u64,
    /// Pixels of all pictures of one call together: decoding is what a call costs everybody else.
    pub call_pixels_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            items_in_flight_max: 1024,
            batch_size_max: 64,
            batch_bytes_max: 40 << 20,
            batch_delay_us: 0,
            batches_in_flight_max: 3,
            request_timeout_ms: 10_000,
            request_timeout_ms_max: 60_000,
            straggler_wait_ms: 150,
            resubmit_after_ms: 500,
            await_all_ballots: false,
            late_wait_ms: 5_000,
            late_bytes_max: 64 << 20,
            late_submissions_max: 2,
            body_bytes_max: 32 << 20,
            body_bytes_in_flight_max: 256 << 20,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            connections_max: 4096,
            drain_timeout_ms: 10_000,
            image_side_max: 16_384,
            // What the sample models' nodes decode at most.
            image_pixels_max: 50_000_000,
            call_pixels_max: 100_000_000,
        }
    }
}

impl Limits {
    /// [`Limits::request_timeout_ms`] as a duration.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
}

/// Why a configuration cannot be used. Each message names the file or field, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The configuration is not what is expected.
    #[error("{0}: {1}")]
    Toml(PathBuf, toml::de::Error),
    /// The genesis or the key file cannot be used.
    #[error(transparent)]
    File(#[from] dropbear_wire::files::FileError),
    /// The market does not know this gateway.
    #[error("genesis names no gateway `{0}` with the key in {1}; check `name` and `key_file`")]
    UnknownGateway(String, PathBuf),
    /// The coordinators are not those of genesis.
    #[error("`coordinators` must list the members of genesis in their order: {0}")]
    Coordinators(String),
    /// What cannot name a group or owner.
    #[error("`groups` names `{0}`: names are 1 to 64 characters of a-z, 0-9, '-', '.' and '_'")]
    NoName(String),
    /// An address that is reachable without TLS from elsewhere.
    #[error("{0} is not a loopback address; internal services have no TLS yet and are reached over loopback only")]
    NotLoopback(SocketAddr),
    /// A bound that admits nothing, or too much.
    #[error("`limits.{0}` must be {1}")]
    Limit(&'static str, &'static str),
}

impl GatewayConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be read or says something unknown.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read(path.into(), error))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| ConfigError::Toml(path.into(), error))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        config.genesis = folder.join(&config.genesis);
        config.key_file = folder.join(&config.key_file);
        config.check()?;
        Ok(config)
    }

    /// Checks what needs no other file.
    ///
    /// # Errors
    /// [`ConfigError`] names the field.
    pub fn check(&self) -> Result<(), ConfigError> {
        let nodes = self.groups.values().flat_map(BTreeMap::values).flatten();
        let internal = self.coordinators.iter().map(|coordinator| &coordinator.address).chain(nodes);
        if let Some(address) = internal.into_iter().find(|address| !address.ip().is_loopback()) {
            return Err(ConfigError::NotLoopback(*address));
        }
        self.limits.check()
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigError> {
        let positive = "at least 1";
        for (name, value) in [
            ("items_in_flight_max", self.items_in_flight_max),
            ("batch_bytes_max", self.batch_bytes_max),
            ("batches_in_flight_max", self.batches_in_flight_max),
            ("body_bytes_max", self.body_bytes_max),
            ("connections_max", self.connections_max),
            ("late_bytes_max", self.late_bytes_max),
            ("late_submissions_max", self.late_submissions_max),
        ] {
            if value == 0 {
                return Err(ConfigError::Limit(name, positive));
            }
        }
        if !(1..=dropbear_certificates::ballot::BATCH_REQUESTS_MAX).contains(&self.batch_size_max) {
            return Err(ConfigError::Limit("batch_size_max", "1 to 1024"));
        }
        if self.request_timeout_ms == 0 {
            return Err(ConfigError::Limit("request_timeout_ms", positive));
        }
        if self.body_bytes_in_flight_max < 2 * self.body_bytes_max {
            return Err(ConfigError::Limit("body_bytes_in_flight_max", "at least twice `body_bytes_max`"));
        }
        if self.batch_bytes_max < self.body_bytes_max || self.batch_bytes_max > dropbear_wire::MESSAGE_BYTES_MAX / 4 * 3
        {
            return Err(ConfigError::Limit("batch_bytes_max", "from `body_bytes_max` to 48 MiB"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        name = "gateway"
        genesis = "genesis.json"
        key_file = "gateway.key"
        http_listen = "127.0.0.1:8000"
        coordinators = [{ member = "a", address = "127.0.0.1:7000" }]
        [groups.imagenet]
        alice = ["127.0.0.1:7100"]
    "#;

    #[test]
    fn defaults_are_consistent_and_unknown_fields_refused() {
        let config: GatewayConfig = toml::from_str(EXAMPLE).unwrap();
        config.check().unwrap();
        assert!(toml::from_str::<GatewayConfig>(&format!("colour = 1\n{EXAMPLE}")).is_err());
    }

    #[test]
    fn internal_addresses_stay_on_loopback() {
        let elsewhere = EXAMPLE.replace("127.0.0.1:7100", "10.0.0.1:7100");
        let config: GatewayConfig = toml::from_str(&elsewhere).unwrap();
        assert!(matches!(config.check(), Err(ConfigError::NotLoopback(_))));
    }
}
