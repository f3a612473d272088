//! An owner's models: registered once, published version by version, activated, withdrawn; and where they are served.

use dropbear_certificates::cbor::{CborError, Encoder};
use dropbear_certificates::charter::{DISCLOSURE_BYTES_MAX, NAME_BYTES_MAX, is_name};
use dropbear_certificates::{Digest, PublicKey};

use crate::entry::statement::{begin, read, statement};
use crate::entry::{Invalid, KIND_ACTIVATE, KIND_ENDPOINTS, KIND_PUBLISH, KIND_REGISTER, KIND_WITHDRAW};

/// A licence's name is at most this long.
pub const LICENCE_BYTES_MAX: usize = 64;

/// A reason is at most this long.
pub const REASON_BYTES_MAX: usize = 256;

/// An owner serves one group from at most this many places.
pub const ENDPOINTS_MAX: usize = 8;

/// One such place is named in at most this many bytes.
pub const ENDPOINT_BYTES_MAX: usize = 128;

/// An owner's model becomes known; its name is the owner's in this group from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// As in [`Publish::serial`].
    pub serial: u64,
    /// The group in which the model is to serve.
    pub group: String,
    /// The model's name.
    pub model: String,
    /// The licence's name, as SPDX has it where it has.
    pub licence: String,
    /// Where the model comes from: family, training data, ancestors.
    pub lineage: String,
}

/// An owner's publication of a version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// Ascends with every entry of the owner's key, so that none can be replayed; Unix milliseconds do.
    pub serial: u64,
    /// The group in which the version is to serve.
    pub group: String,
    /// The model's name.
    pub model: String,
    /// The version's name.
    pub label: String,
    /// Digest of manifest and artefact.
    pub version: Digest,
}

/// An owner's activation of a published version; of an earlier one to roll back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activate {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// As in [`Publish::serial`].
    pub serial: u64,
    /// The group.
    pub group: String,
    /// The version, published before.
    pub version: Digest,
    /// In force from this seq, or from the earliest that the charter's notice allows if that is later.
    pub from_seq: u64,
}

/// An owner takes a version back: it failed to load, or must not serve any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdraw {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// As in [`Publish::serial`].
    pub serial: u64,
    /// The group.
    pub group: String,
    /// The version, published before.
    pub version: Digest,
    /// Whether it may never be activated again.
    pub permanent: bool,
    /// Why, for everybody to read.
    pub reason: String,
}

/// Where the owner's model nodes of a group are; replaces what the owner said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// As in [`Publish::serial`].
    pub serial: u64,
    /// The group.
    pub group: String,
    /// `host:port` each; none to be asked no more.
    pub endpoints: Vec<String>,
}

statement!(Register, KIND_REGISTER, "register", owner);
statement!(Publish, KIND_PUBLISH, "publish", owner);
statement!(Activate, KIND_ACTIVATE, "activate", owner);
statement!(Withdraw, KIND_WITHDRAW, "withdraw", owner);
statement!(Endpoints, KIND_ENDPOINTS, "endpoints", owner);

fn named(names: &[&str]) -> Result<(), Invalid> {
    if names.iter().all(|name| is_name(name)) { Ok(()) } else { Err(Invalid::Name) }
}

fn text(text: &str, field: &'static str, bytes_max: usize) -> Result<(), Invalid> {
    let shown = text.len() <= bytes_max && !text.chars().any(char::is_control);
    if shown { Ok(()) } else { Err(Invalid::Text(field, bytes_max)) }
}

impl Register {
    fn encode(&self) -> Vec<u8> {
        let mut out = begin(8, &self.genesis, &self.owner, self.serial);
        out.text(&self.group).text(&self.model).text(&self.licence).text(&self.lineage);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 8)?;
        let register = Self {
            genesis: head.genesis,
            owner: head.owner,
            serial: head.serial,
            group: input.text(NAME_BYTES_MAX)?.into(),
            model: input.text(NAME_BYTES_MAX)?.into(),
            licence: input.text(LICENCE_BYTES_MAX)?.into(),
            lineage: input.text(DISCLOSURE_BYTES_MAX)?.into(),
        };
        input.finish()?;
        Ok(register)
    }

    fn fields(&self) -> Result<(), Invalid> {
        named(&[&self.group, &self.model])?;
        text(&self.licence, "licence", LICENCE_BYTES_MAX)?;
        text(&self.lineage, "lineage", DISCLOSURE_BYTES_MAX)
    }
}

impl Publish {
    fn encode(&self) -> Vec<u8> {
        let mut out = begin(8, &self.genesis, &self.owner, self.serial);
        out.text(&self.group).text(&self.model).text(&self.label).digest(&self.version);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 8)?;
        let publish = Self {
            genesis: head.genesis,
            owner: head.owner,
            serial: head.serial,
            group: input.text(NAME_BYTES_MAX)?.into(),
            model: input.text(NAME_BYTES_MAX)?.into(),
            label: input.text(NAME_BYTES_MAX)?.into(),
            version: input.digest()?,
        };
        input.finish()?;
        Ok(publish)
    }

    fn fields(&self) -> Result<(), Invalid> {
        named(&[&self.group, &self.model, &self.label])
    }
}

impl Activate {
    fn encode(&self) -> Vec<u8> {
        let mut out = begin(7, &self.genesis, &self.owner, self.serial);
        out.text(&self.group).digest(&self.version).uint(self.from_seq);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 7)?;
        let activate = Self {
            genesis: head.genesis,
            owner: head.owner,
            serial: head.serial,
            group: input.text(NAME_BYTES_MAX)?.into(),
            version: input.digest()?,
            from_seq: input.uint()?,
        };
        input.finish()?;
        Ok(activate)
    }

    fn fields(&self) -> Result<(), Invalid> {
        named(&[&self.group])
    }
}

impl Withdraw {
    fn encode(&self) -> Vec<u8> {
        let mut out = begin(8, &self.genesis, &self.owner, self.serial);
        out.text(&self.group).digest(&self.version).uint(self.permanent.into()).text(&self.reason);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 8)?;
        let withdraw = Self {
            genesis: head.genesis,
            owner: head.owner,
            serial: head.serial,
            group: input.text(NAME_BYTES_MAX)?.into(),
            version: input.digest()?,
            permanent: input.uint_max(1)? == 1,
            reason: input.text(REASON_BYTES_MAX)?.into(),
        };
        input.finish()?;
        Ok(withdraw)
    }

    fn fields(&self) -> Result<(), Invalid> {
        named(&[&self.group])?;
        text(&self.reason, "reason", REASON_BYTES_MAX)
    }
}

impl Endpoints {
    fn encode(&self) -> Vec<u8> {
        let mut out = begin(6, &self.genesis, &self.owner, self.serial);
        out.text(&self.group);
        texts(&mut out, &self.endpoints);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 6)?;
        let group = input.text(NAME_BYTES_MAX)?.into();
        let count = input.array(ENDPOINTS_MAX)?;
        let endpoint = |_| input.text(ENDPOINT_BYTES_MAX).map(Into::into);
        let endpoints = (0..count).map(endpoint).collect::<Result<_, CborError>>()?;
        input.finish()?;
        Ok(Self { genesis: head.genesis, owner: head.owner, serial: head.serial, group, endpoints })
    }

    fn fields(&self) -> Result<(), Invalid> {
        named(&[&self.group])?;
        let twice = |(place, endpoint)| self.endpoints[..place].contains(endpoint);
        let fits = self.endpoints.len() <= ENDPOINTS_MAX && self.endpoints.iter().all(|endpoint| is_endpoint(endpoint));
        if fits && !self.endpoints.iter().enumerate().any(twice) { Ok(()) } else { Err(Invalid::Endpoint) }
    }
}

fn texts(out: &mut Encoder, texts: &[String]) {
    out.array(texts.len());
    for text in texts {
        out.text(text);
    }
}

/// Whether this is `host:port` with a host of letters, digits, `.`, `-`, `:` or brackets.
fn is_endpoint(endpoint: &str) -> bool {
    let Some((host, port)) = endpoint.rsplit_once(':') else { return false };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let reachable = port.parse::<u16>().is_ok_and(|port| port > 0);
    endpoint.len() <= ENDPOINT_BYTES_MAX && !host.is_empty() && host.bytes().all(allowed) && is_port && reachable
}

#[cfg(test)]
mod tests {
    use super::is_endpoint;

    #[test]
    fn endpoints_are_hosts_with_ports() {
        for good in ["127.0.0.1:7001", "[::1]:7001", "node-1.example:65535"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in ["", ":7001", "host", "host:", "host:0", "host:65536", "host:+80", "a/b:80", "a b:80"] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
