//! What this gateway trusts: its genesis, and every charter that a quorum of coordinators proved since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dropbear_certificates::{ChainLink, Charter, Digest, GovernanceChain, GovernanceEntry, Refusal, TrustRoot};

/// A certificate carries at most so large a chain; holders of others fetch it, see [`Trusted::whole_chain`].
const CHAIN_BYTES_MAX: usize = 16 << 10;

/// A trust root with the links that led to it.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    pub(crate) root: TrustRoot,
    charters: BTreeMap<Digest, Arc<Charter>>,
    /// Charters (whose digest names their group, too) with the first seq at which they are in force.
    terms: BTreeSet<(Digest, u64)>,
    links: Vec<Link>,
}

#[derive(Clone, Debug)]
struct Link {
    group: String,
    from_seq: u64,
    link: ChainLink,
}

impl Trusted {
    /// Trusts the genesis alone.
    pub(crate) fn new(root: TrustRoot) -> Self {
        let named = |charter: &Charter| (charter.digest(), Arc::new(charter.clone()));
        let charters: BTreeMap<_, _> = root.genesis().charters.iter().map(named).collect();
        let terms = charters.keys().map(|digest| (*digest, 0)).collect();
        Self { root, charters, terms, links: Vec::new() }
    }

    /// How many changes led here.
    pub(crate) fn link_count(&self) -> usize {
        self.links.len()
    }

    /// The charter with this digest, if it is proven.
    pub(crate) fn charter(&self, digest: &Digest) -> Option<&Arc<Charter>> {
        self.charters.get(digest)
    }

    /// Whether it is proven that the charter begins at `from_seq`. A charter may come back: its digest alone says nothing.
    pub(crate) fn knows(&self, charter: &Digest, from_seq: u64) -> bool {
        self.terms.contains(&(*charter, from_seq))
    }

    /// Trusts what the chain proves, too.
    pub(crate) fn extended(&self, chain: GovernanceChain) -> Result<Self, Refusal> {
        let mut next = Self { root: self.root.extended(&chain)?, ..self.clone() };
        for link in chain.0 {
            let Some(GovernanceEntry::Charter(entry)) = link.entry() else { continue };
            let (group, charter, from_seq) = (entry.charter.group.clone(), entry.charter.digest(), entry.from_seq);
            if !next.terms.insert((charter, from_seq)) {
                continue;
            }
            next.charters.entry(charter).or_insert_with(|| Arc::new(entry.charter));
            next.links.push(Link { group, from_seq, link });
        }
        Ok(next)
    }

    /// What leads from the genesis to a group's charter at `seq`: the group's changes until then. `None` where there are
    /// none, or where that would be too large for a certificate.
    pub(crate) fn chain(&self, group: &str, seq: u64) -> Option<GovernanceChain> {
        let links: Vec<_> = self.links.iter().filter(|link| link.group == group && link.from_seq <= seq).collect();
        let bytes: usize = links.iter().map(|link| link.link.size()).sum();
        let fits = !links.is_empty() && bytes <= CHAIN_BYTES_MAX;
        fits.then(|| GovernanceChain(links.into_iter().map(|link| link.link.clone()).collect()))
    }

    /// Everything that leads from the genesis to where the market, or one group of it, is now.
    pub(crate) fn whole_chain(&self, group: Option<&str>) -> GovernanceChain {
        let wanted = self.links.iter().filter(|link| group.is_none_or(|group| link.group == group));
        GovernanceChain(wanted.map(|link| link.link.clone()).collect())
    }
}
