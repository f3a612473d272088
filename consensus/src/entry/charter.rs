//! How groups begin and change: proposals of charters, approvals, leaving, and new keys on old seats.

use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::charter::{NAME_BYTES_MAX, is_name};
use dropbear_certificates::genesis::CHARTER_BYTES_MAX;
use dropbear_certificates::{Charter, Digest, PublicKey, SecretKey, Signature, StatementType};

use crate::entry::statement::{begin, public_key, read, statement};
use crate::entry::{Invalid, KIND_APPROVE, KIND_LEAVE, KIND_PROPOSE, KIND_REKEY};

/// A whole new charter for a group: a change of its terms, or the beginning of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propose {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// An owner of the group, or one that the charter adds; its signature approves or consents.
    pub owner: PublicKey,
    /// As in [`Publish::serial`](crate::Publish::serial).
    pub serial: u64,
    /// Digest of the charter that it replaces; `None` for a new group.
    pub previous: Option<Digest>,
    /// The charter.
    pub charter: Charter,
}

/// An owner's approval of a proposal; of an owner that the charter adds, its consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approve {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// As in [`Publish::serial`](crate::Publish::serial).
    pub serial: u64,
    /// The group.
    pub group: String,
    /// The proposal, see [`proposal_digest`].
    pub proposal: Digest,
}

/// An owner leaves a group, which nobody can refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The owner.
    pub owner: PublicKey,
    /// As in [`Publish::serial`](crate::Publish::serial).
    pub serial: u64,
    /// The group.
    pub group: String,
}

/// An owner's seats, models and accounts move to another key; the old one is dead from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekey {
    /// Digest of the market's genesis.
    pub genesis: Digest,
    /// The old key.
    pub owner: PublicKey,
    /// As in [`Publish::serial`](crate::Publish::serial).
    pub serial: u64,
    /// The new key.
    pub new_key: PublicKey,
    /// The new key's signature over the statement up to here.
    pub consent: Signature,
}

statement!(Propose, KIND_PROPOSE, "propose", owner);
statement!(Approve, KIND_APPROVE, "approve", owner);
statement!(Leave, KIND_LEAVE, "leave", owner);
statement!(Rekey, KIND_REKEY, "rekey", owner);

/// What approvals name: the charter together with the one that it replaces.
#[must_use]
pub fn proposal_digest(previous: Option<&Digest>, charter: &Digest) -> Digest {
    let previous = previous.unwrap_or(&Digest::ZERO);
    Digest::tagged("dropbear/proposal/v1", &[previous.as_bytes(), charter.as_bytes()])
}

fn optional(input: &mut Decoder<'_>) -> Result<Option<Digest>, CborError> {
    if input.null() { Ok(None) } else { input.digest().map(Some) }
}

impl Propose {
    /// The proposal's name.
    #[must_use]
    pub fn proposal(&self) -> Digest {
        proposal_digest(self.previous.as_ref(), &self.charter.digest())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = begin(6, &self.genesis, &self.owner, self.serial);
        match &self.previous {
            Some(previous) => out.digest(previous),
            None => out.null(),
        };
        out.bytes(&self.charter.to_bytes());
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 6)?;
        let previous = optional(&mut input)?;
        let charter = Charter::from_bytes(input.bytes(CHARTER_BYTES_MAX)?)?;
        input.finish()?;
        Ok(Self { genesis: head.genesis, owner: head.owner, serial: head.serial, previous, charter })
    }

    fn fields(&self) -> Result<(), Invalid> {
        let owners = self.charter.roster.len() as u64;
        self.charter.check().map_err(Invalid::Charter)?;
        if (1..=owners).contains(&self.charter.approvals) { Ok(()) } else { Err(Invalid::Approvals) }
    }
}

impl Approve {
    fn encode(&self) -> Vec<u8> {
        let mut out = begin(6, &self.genesis, &self.owner, self.serial);
        out.text(&self.group).digest(&self.proposal);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 6)?;
        let (group, proposal) = (input.text(NAME_BYTES_MAX)?.into(), input.digest()?);
        input.finish()?;
        Ok(Self { genesis: head.genesis, owner: head.owner, serial: head.serial, group, proposal })
    }

    fn fields(&self) -> Result<(), Invalid> {
        if is_name(&self.group) { Ok(()) } else { Err(Invalid::Name) }
    }
}

impl Leave {
    fn encode(&self) -> Vec<u8> {
        let mut out = begin(5, &self.genesis, &self.owner, self.serial);
        out.text(&self.group);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 5)?;
        let group = input.text(NAME_BYTES_MAX)?.into();
        input.finish()?;
        Ok(Self { genesis: head.genesis, owner: head.owner, serial: head.serial, group })
    }

    fn fields(&self) -> Result<(), Invalid> {
        if is_name(&self.group) { Ok(()) } else { Err(Invalid::Name) }
    }
}

impl Rekey {
    /// The change to `new`, with the new key's consent; the old key signs it as every entry.
    #[must_use]
    pub fn to(genesis: Digest, owner: PublicKey, serial: u64, new: &SecretKey) -> Self {
        let mut rekey = Self { genesis, owner, serial, new_key: new.public(), consent: [0; 64] };
        rekey.consent = StatementType::Rekey.sign(new, &rekey.begun(5).finish());
        rekey
    }

    fn begun(&self, items: usize) -> Encoder {
        let mut out = begin(items, &self.genesis, &self.owner, self.serial);
        out.bytes(self.new_key.as_bytes());
        out
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.begun(6);
        out.bytes(&self.consent);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let (mut input, head) = read(bytes, 6)?;
        let (new_key, consent) = (public_key(&mut input)?, input.fixed()?);
        input.finish()?;
        Ok(Self { genesis: head.genesis, owner: head.owner, serial: head.serial, new_key, consent })
    }

    fn fields(&self) -> Result<(), Invalid> {
        let consented = StatementType::Rekey.verifies(&self.new_key, &self.begun(5).finish(), &self.consent);
        if consented { Ok(()) } else { Err(Invalid::Signature("new key")) }
    }
}
