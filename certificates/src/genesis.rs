//! Genesis: what a verifier trusts to begin with, and the committee that attests.

use alloc::string::String;
use alloc::vec::Vec;

use crate::bitmap::PLACES_MAX;
use crate::cbor::{CborError, Decoder, Encoder};
use crate::charter::{Charter, CharterError, NAME_BYTES_MAX, is_name};
use crate::digest::Digest;
use crate::key::PublicKey;

/// A genesis names at most this many gateways.
pub const GATEWAYS_MAX: usize = 1024;

/// A genesis has at most this many groups.
pub const GROUPS_MAX: usize = 1024;

/// A charter's encoding is at most this large.
pub const CHARTER_BYTES_MAX: usize = 131_072;

fn key(input: &mut Decoder<'_>) -> Result<PublicKey, CborError> {
    PublicKey::from_bytes(&input.fixed()?).map_err(|_| CborError::Bounds)
}

/// One consortium member's coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's name.
    pub name: String,
    /// Signs block headers.
    pub attestation: PublicKey,
    /// Identifies the coordinator to its peers and votes in the ordering engine.
    pub engine: PublicKey,
}

/// The committee of one config epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The members; attestations are indexed by place.
    pub members: Vec<Member>,
}

impl Committee {
    /// f: how many members may be Byzantine, ⌊(n − 1) / 3⌋.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.members.len().saturating_sub(1) / 3
    }

    /// q = n − f: how many attestations make a certificate. Two quorums share more than f members at every n.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.members.len() - self.faults()
    }

    /// Whether there are 1 to [`PLACES_MAX`] members with allowed and different names, and no key serves twice.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let alike = |(place, member): (usize, &Member)| {
            self.members[..place].iter().any(|other| {
                other.name == member.name || other.attestation == member.attestation || other.engine == member.engine
            })
        };
        let fits = (1..=PLACES_MAX).contains(&self.members.len());
        fits && self.members.iter().all(|member| is_name(&member.name)) && !self.members.iter().enumerate().any(alike)
    }

    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.encode(&mut out);
        out.finish()
    }

    /// Reads what [`Committee::to_bytes`] wrote and checks it.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no well-formed committee.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        let committee = Self::decode(&mut input)?;
        input.finish()?;
        if committee.is_well_formed() { Ok(committee) } else { Err(CborError::Bounds) }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, CborError> {
        input.array_of(2)?;
        let epoch = input.uint()?;
        let mut members = Vec::new();
        for _ in 0..input.array(PLACES_MAX)? {
            input.array_of(3)?;
            let name = input.text(NAME_BYTES_MAX)?.into();
            members.push(Member { name, attestation: key(input)?, engine: key(input)? });
        }
        Ok(Self { epoch, members })
    }

    fn encode(&self, out: &mut Encoder) {
        out.array(2).uint(self.epoch).array(self.members.len());
        for member in &self.members {
            out.array(3).text(&member.name).bytes(member.attestation.as_bytes()).bytes(member.engine.as_bytes());
        }
    }

    /// The config digest that headers and records carry.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::tagged("dropbear/config/v1", &[&self.to_bytes()])
    }
}

/// A gateway that may submit ballot sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayIdentity {
    /// The gateway's name.
    pub name: String,
    /// Signs its submissions and the requests that it mints.
    pub key: PublicKey,
}

/// Bounds that every coordinator enforces alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A request may expire at most this long after the block that decides it.
    pub request_lifetime_ms_max: u64,
    /// A block's agreed time may lie at most this far ahead of a voter's clock.
    pub clock_skew_ms_max: u64,
}

/// The market's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The market's name.
    pub market: String,
    /// Unix time in milliseconds at which it was made; also makes two markets of the same keys differ.
    pub created_ms: u64,
    /// Bounds.
    pub rules: Rules,
    /// The first committee (epoch 0).
    pub committee: Committee,
    /// The gateways.
    pub gateways: Vec<GatewayIdentity>,
    /// The first groups.
    pub charters: Vec<Charter>,
}

/// Why a genesis is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// No members, too many, or two alike.
    #[error("the committee needs 1 to 128 members with different, allowed names and different keys, at epoch 0")]
    Committee,
    /// A name is not allowed.
    #[error("names are 1 to 64 characters of a-z, 0-9, '-', '.' and '_'")]
    Name,
    /// Two groups share a name.
    #[error("two groups share a name")]
    Groups,
    /// A charter breaks a rule.
    #[error("a charter is not acceptable: {0}")]
    Charter(#[from] CharterError),
}

impl Genesis {
    /// Checks what a well-formed genesis must fulfil.
    ///
    /// # Errors
    /// [`GenesisError`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), GenesisError> {
        if !self.committee.is_well_formed() || self.committee.epoch != 0 {
            return Err(GenesisError::Committee);
        }
        if !is_name(&self.market) || !self.gateways.iter().all(|gateway| is_name(&gateway.name)) {
            return Err(GenesisError::Name);
        }
        for (place, charter) in self.charters.iter().enumerate() {
            charter.check()?;
            if self.charters[..place].iter().any(|other| other.group == charter.group) {
                return Err(GenesisError::Groups);
            }
        }
        Ok(())
    }

    /// Deterministic encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.array(7).uint(1).text(&self.market).uint(self.created_ms);
        out.array(2).uint(self.rules.request_lifetime_ms_max).uint(self.rules.clock_skew_ms_max);
        self.committee.encode(&mut out);
        out.array(self.gateways.len());
        for gateway in &self.gateways {
            out.array(2).text(&gateway.name).bytes(gateway.key.as_bytes());
        }
        out.array(self.charters.len());
        for charter in &self.charters {
            out.bytes(&charter.to_bytes());
        }
        out.finish()
    }

    /// Reads what [`Genesis::to_bytes`] wrote and checks it.
    ///
    /// # Errors
    /// [`CborError`] if the bytes are no well-formed genesis.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(7)?;
        input.key(1)?;
        let (market, created_ms) = (input.text(NAME_BYTES_MAX)?.into(), input.uint()?);
        input.array_of(2)?;
        let rules = Rules { request_lifetime_ms_max: input.uint()?, clock_skew_ms_max: input.uint()? };
        let committee = Committee::decode(&mut input)?;
        let mut gateways = Vec::new();
        for _ in 0..input.array(GATEWAYS_MAX)? {
            input.array_of(2)?;
            gateways.push(GatewayIdentity { name: input.text(NAME_BYTES_MAX)?.into(), key: key(&mut input)? });
        }
        let mut charters = Vec::new();
        for _ in 0..input.array(GROUPS_MAX)? {
            charters.push(Charter::from_bytes(input.bytes(CHARTER_BYTES_MAX)?)?);
        }
        input.finish()?;
        let genesis = Self { market, created_ms, rules, committee, gateways, charters };
        genesis.check().map_err(|_| CborError::Bounds)?;
        Ok(genesis)
    }

    /// The genesis digest: the market's identity in everything that is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::tagged("dropbear/genesis/v1", &[&self.to_bytes()])
    }
}
