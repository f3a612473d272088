//! Where owners do their paperwork: it reads what stands, signs nothing by itself, and sends what its owner signed.
//!
//! It knows the market's coordinators, and believes what f + 1 of them say alike, of whom one at least is honest. Or it knows
//! one gateway, which can neither make nor change an entry, but whose word it takes for how the market stands.

mod gateway;
mod send;
mod view;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use dropbear_certificates::{Genesis, PublicKey, SecretKey};
use dropbear_wire::files::{read_genesis, read_key};

use crate::layout;
use crate::service::Kind;

use gateway::Gateway;
pub(crate) use send::Applied;
pub(crate) use view::{Group, View, key_text, short};

/// Where the market is.
#[derive(clap::Args)]
pub(crate) struct Where {
    /// The market's folder, made with `dropbear init`.
    #[arg(long, value_name = "DIR", env = "DROPBEAR_MARKET")]
    market: Option<PathBuf>,
    /// The market's genesis.json, where there is no folder.
    #[arg(long, value_name = "GENESIS.JSON", env = crate::TRUST_VARIABLE)]
    trust: Option<PathBuf>,
    /// Coordinators' addresses, where there is no folder; more than a third of the committee's.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    coordinators: Vec<SocketAddr>,
    /// A gateway to read from and to send through, instead of coordinators.
    ///
    /// Entries are signed here and nobody can change them, so sending takes no trust. What is read is this one gateway's word:
    /// it is worth as much as the gateway, where coordinators are believed only as far as an honest one among them is sure.
    #[arg(long, value_name = "URL", conflicts_with = "coordinators")]
    gateway: Option<String>,
}

/// Whose entries are signed.
#[derive(clap::Args)]
pub(crate) struct Who {
    #[command(flatten)]
    pub(crate) at: Where,
    /// The owner's name; its key is MARKET/NAME/owner.key.
    #[arg(long, value_name = "NAME", env = "DROPBEAR_OWNER")]
    pub(crate) owner: Option<String>,
    /// The owner's key file.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// A market that can be asked and told.
pub(crate) struct Desk {
    pub(crate) genesis: Genesis,
    through: Through,
    folder: Option<PathBuf>,
}

/// Whom a desk asks and tells.
enum Through {
    Coordinators(Vec<SocketAddr>),
    Gateway(Gateway),
}

/// An owner at its desk.
pub(crate) struct Owner {
    pub(crate) desk: Desk,
    pub(crate) key: SecretKey,
    /// The folder of the owner's model node, if it is in the market's folder.
    pub(crate) folder: Option<PathBuf>,
}

impl Where {
    pub(crate) fn open(&self) -> anyhow::Result<Desk> {
        let through = match &self.gateway {
            Some(url) => Some(Through::Gateway(Gateway::at(url)?)),
            None if self.coordinators.is_empty() => None,
            None => Some(Through::Coordinators(self.coordinators.clone())),
        };
        match (&self.market, &self.trust, through) {
            (Some(dir), _, None) => Desk::of_market(dir),
            (Some(dir), _, Some(through)) => {
                let (genesis, _) = read_genesis(&layout::genesis(dir))?;
                Ok(Desk { genesis, through, folder: Some(dir.clone()) })
            }
            (None, Some(trust), Some(through)) => {
                let (genesis, _) = read_genesis(trust)?;
                Ok(Desk { genesis, through, folder: None })
            }
            _ => bail!(
                "say which market: --market DIR, or --trust GENESIS.JSON with --coordinators ADDRESS,… or --gateway URL"
            ),
        }
    }
}

impl Who {
    pub(crate) fn open(&self) -> anyhow::Result<Owner> {
        let desk = self.at.open()?;
        let folder = desk.folder.as_ref().zip(self.owner.as_ref()).map(|(market, owner)| market.join(owner));
        let path = match (&self.key, &folder) {
            (Some(path), _) => path.clone(),
            (None, Some(folder)) => folder.join("owner.key"),
            (None, None) => bail!("say whose key signs: --owner NAME (in the market's folder), or --key FILE"),
        };
        if !path.exists() {
            bail!("there is no key {}: make one with `dropbear owner init MARKET NAME`", path.display());
        }
        Ok(Owner { key: read_key(&path)?, folder, desk })
    }
}

impl Desk {
    pub(crate) fn of_market(dir: &Path) -> anyhow::Result<Self> {
        let services = layout::services(dir)?;
        let coordinators = services.iter().filter(|service| service.kind == Kind::Coordinator);
        let coordinators = coordinators.map(layout::Service::address).collect::<anyhow::Result<Vec<_>>>()?;
        let (genesis, _) = read_genesis(&layout::genesis(dir))?;
        Ok(Self { genesis, through: Through::Coordinators(coordinators), folder: Some(dir.to_owned()) })
    }

    /// The coordinators' addresses.
    ///
    /// # Errors
    /// Where a gateway stands between.
    pub(crate) fn coordinators(&self) -> anyhow::Result<&[SocketAddr]> {
        match &self.through {
            Through::Coordinators(addresses) => Ok(addresses),
            Through::Gateway(gateway) => bail!(
                "{gateway} shows no blocks: leave --gateway out, and give --market DIR or --coordinators ADDRESS,…"
            ),
        }
    }

    /// How many coordinators must say the same before it is believed.
    pub(crate) fn enough(&self) -> usize {
        self.genesis.committee.faults() + 1
    }
}

impl Owner {
    pub(crate) fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// A serial for the next entry: Unix milliseconds, but above the last one.
    pub(crate) fn serial(&self, view: &View) -> anyhow::Result<u64> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("this clock is before 1970")?;
        let now = u64::try_from(now.as_millis()).context("this clock is far in the future")?;
        Ok(now.max(view.serial(&self.public()) + 1))
    }
}
