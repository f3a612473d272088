//! Trust roots: a pinned genesis, and what its governance chain vouches for.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::bitmap::Bitmap;
use crate::chain::{ChainLink, CharterEntry, ConfigEntry, GovernanceChain, GovernanceEntry};
use crate::charter::Charter;
use crate::conflict::Attested;
use crate::digest::Digest;
use crate::effort::Effort;
use crate::error::Refusal;
use crate::genesis::{Committee, Genesis};
use crate::header::Header;
use crate::merkle;
use crate::verify::check_attestations;

/// What a verifier trusts: a market's genesis, and the epochs and charters that a verified chain leads to.
#[derive(Clone, Debug)]
pub struct TrustRoot {
    genesis: Arc<Genesis>,
    digest: Digest,
    /// By epoch number.
    epochs: Vec<Epoch>,
    charters: BTreeMap<Digest, KnownCharter>,
    /// Per group, the charter in force last: (digest, first seq).
    current: BTreeMap<String, (Digest, u64)>,
    governance_seq: u64,
}

/// A committee and the headers that it may attest.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    pub(crate) committee: Arc<Committee>,
    pub(crate) config: Digest,
    /// The last header of the epoch before; 0 in epoch 0.
    after_seq: u64,
    /// This epoch's last header, with the next committee in its block; `None` while it lasts.
    last: Option<Attested>,
}

impl Epoch {
    fn new(committee: Committee, after_seq: u64) -> Self {
        Self { config: committee.digest(), committee: Arc::new(committee), after_seq, last: None }
    }

    pub(crate) fn covers(&self, seq: u64) -> bool {
        seq > self.after_seq && self.last.as_ref().is_none_or(|last| seq <= last.header.seq)
    }
}

#[derive(Clone, Debug)]
struct KnownCharter {
    charter: Arc<Charter>,
    /// First seq in force, and the first seq no longer, where that is known. A charter may come back.
    spans: Vec<(u64, Option<u64>)>,
}

impl TrustRoot {
    /// Trusts this genesis, and through it its committee and its charters.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        let mut root = Self {
            digest: genesis.digest(),
            epochs: vec![Epoch::new(genesis.committee.clone(), 0)],
            charters: BTreeMap::new(),
            current: BTreeMap::new(),
            governance_seq: 0,
            genesis: Arc::new(genesis),
        };
        for charter in &Arc::clone(&root.genesis).charters {
            root.begin(charter, charter.digest(), 0);
        }
        root
    }

    /// The genesis.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The genesis digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The newest epoch that the root vouches for.
    #[must_use]
    pub const fn epoch_newest(&self) -> u64 {
        self.epochs.len() as u64 - 1
    }

    /// Seq of the newest governance entry known; 0 for a bare genesis. A header that names a later one was signed after
    /// changes that this root has not seen.
    #[must_use]
    pub const fn governance_seq(&self) -> u64 {
        self.governance_seq
    }

    /// The committee with this config digest at this epoch, if the root vouches for it.
    #[must_use]
    pub fn committee(&self, epoch: u64, config: &Digest) -> Option<&Committee> {
        self.epoch(epoch, config).map(|epoch| &*epoch.committee)
    }

    /// The last header of an epoch that ended, with its signers: links the conflict checks of two epochs.
    #[must_use]
    pub fn last_of_epoch(&self, epoch: u64) -> Option<&Attested> {
        self.epochs.get(usize::try_from(epoch).ok()?)?.last.as_ref()
    }

    pub(crate) fn epoch(&self, epoch: u64, config: &Digest) -> Option<&Epoch> {
        self.epochs.get(usize::try_from(epoch).ok()?).filter(|epoch| epoch.config == *config)
    }

    /// The charter with this digest, if the root contains it.
    #[must_use]
    pub fn charter(&self, digest: &Digest) -> Option<&Charter> {
        self.charters.get(digest).map(|known| &*known.charter)
    }

    /// The charter for a record at `seq`.
    pub(crate) fn charter_at(&self, digest: &Digest, seq: u64) -> Result<&Arc<Charter>, Refusal> {
        let known = self.charters.get(digest).ok_or(Refusal::Charter)?;
        let covers = |(from, until): &(u64, Option<u64>)| *from <= seq && until.is_none_or(|until| seq < until);
        if known.spans.iter().any(covers) { Ok(&known.charter) } else { Err(Refusal::CharterSpan) }
    }

    fn begin(&mut self, charter: &Charter, digest: Digest, from_seq: u64) {
        if let Some((before, _)) = self.current.insert(charter.group.clone(), (digest, from_seq)) {
            let last_span = self.charters.get_mut(&before).and_then(|known| known.spans.last_mut());
            if let Some((_, until)) = last_span {
                *until = Some(from_seq);
            }
        }
        let known = self.charters.entry(digest);
        let known = known.or_insert_with(|| KnownCharter { charter: Arc::new(charter.clone()), spans: Vec::new() });
        known.spans.push((from_seq, None));
    }

    /// This root, extended by a chain that is verified link by link. What the root knows already must agree.
    ///
    /// # Errors
    /// [`Refusal::Chain`] names the first link that does not hold.
    pub fn extended(&self, chain: &GovernanceChain) -> Result<Self, Refusal> {
        self.extended_with(chain, &mut Effort::default())
    }

    /// As [`TrustRoot::extended`], within a budget.
    ///
    /// # Errors
    /// [`Refusal::Chain`] names the first link that does not hold; [`Refusal::Budget`].
    pub fn extended_with(&self, chain: &GovernanceChain, effort: &mut Effort<'_>) -> Result<Self, Refusal> {
        let mut root = self.clone();
        let mut last = (0, 0);
        for (place, link) in chain.0.iter().enumerate() {
            let refuse = |reason| Refusal::Chain { link: place, reason };
            let (attested, entry) = root.check_link(link, effort).map_err(|refusal| match refusal {
                Refusal::Budget => Refusal::Budget,
                other => refuse(other.code()),
            })?;
            let here = (attested.header.seq, link.index);
            if here <= last {
                return Err(refuse("not in ledger order"));
            }
            last = here;
            root.governance_seq = root.governance_seq.max(attested.header.seq);
            let applied = match entry {
                GovernanceEntry::Config(entry) => root.apply_config(entry, attested),
                GovernanceEntry::Charter(entry) => root.apply_charter(&entry, attested.header.seq),
            };
            applied.map_err(refuse)?;
        }
        Ok(root)
    }

    /// Verifies that a quorum attested the link's entry.
    fn check_link(&self, link: &ChainLink, effort: &mut Effort<'_>) -> Result<(Attested, GovernanceEntry), Refusal> {
        let mut header = Header::from_template(&link.template, Digest::ZERO).map_err(Refusal::Header)?;
        effort.budget.path(link.path.len())?;
        let leaf = merkle::leaf_hash(&link.entry);
        header.record_root =
            merkle::root_from_path(leaf, link.index, header.tree_size, &link.path).ok_or(Refusal::Path)?;
        let epoch = self.check_place(&header)?;
        let signers = check_attestations(&header, &epoch.committee, &link.signers, &link.signatures, effort)?;
        let entry = GovernanceEntry::from_bytes(&link.entry).map_err(Refusal::Malformed)?;
        if *entry.genesis() != self.digest {
            return Err(Refusal::Genesis);
        }
        Ok((Attested::new(header, &epoch.committee, &signers), entry))
    }

    /// The epoch that may attest this header.
    pub(crate) fn check_place(&self, header: &Header) -> Result<&Epoch, Refusal> {
        if header.genesis != self.digest {
            return Err(Refusal::Genesis);
        }
        let epoch = self.epoch(header.epoch, &header.config).ok_or(Refusal::Committee)?;
        if epoch.covers(header.seq) { Ok(epoch) } else { Err(Refusal::EpochSpan) }
    }

    fn apply_config(&mut self, entry: ConfigEntry, attested: Attested) -> Result<(), &'static str> {
        let (ends, seq) = (attested.header.epoch, attested.header.seq);
        if entry.committee.epoch != ends + 1 || entry.previous != attested.header.config {
            return Err("the config does not follow the epoch that certifies it");
        }
        let next = Epoch::new(entry.committee, seq);
        match self.epochs.get(next.committee.epoch as usize) {
            Some(known) if (known.config, known.after_seq) == (next.config, seq) => Ok(()),
            Some(_) => Err("the epoch has another config already"),
            None => {
                if let Some(ended) = self.epochs.last_mut() {
                    ended.last = Some(attested);
                }
                self.epochs.push(next);
                Ok(())
            }
        }
    }

    fn apply_charter(&mut self, entry: &CharterEntry, seq: u64) -> Result<(), &'static str> {
        let digest = entry.charter.digest();
        if entry.from_seq <= seq {
            return Err("a charter cannot be in force before it is ordered");
        }
        let spans = self.charters.get(&digest).map(|known| &known.spans);
        if spans.is_some_and(|spans| spans.iter().any(|(from, _)| *from == entry.from_seq)) {
            return Ok(());
        }
        let current = self.current.get(&entry.charter.group);
        if current.map(|(digest, _)| *digest) != entry.previous {
            return Err("the charter does not follow the group's charter");
        }
        if current.is_some_and(|(_, from_seq)| *from_seq >= entry.from_seq) {
            return Err("the charter would be in force before its predecessor");
        }
        self.begin(&entry.charter, digest, entry.from_seq);
        Ok(())
    }
}

/// The places of a set, ascending.
pub(crate) fn places(signers: &Bitmap) -> Vec<usize> {
    signers.iter().collect()
}
