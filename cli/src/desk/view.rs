//! What stands in the market now, as enough coordinators say alike, or as one gateway says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dropbear_certificates::{Charter, Digest, PublicKey};
use dropbear_consensus::Account;
use dropbear_consensus::registry::{Holding, Version};
use dropbear_wire::convert::{GroupState, RegistryState, account};
use dropbear_wire::{client, v1};
use futures_util::future::join_all;

use super::{Desk, Through};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Coordinators change at different moments: so often they are asked until enough say the same.
const ROUNDS_MAX: usize = 20;
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Digits of a digest that name a version or a proposal to people.
const SHORT: usize = 12;

/// The market as it stands.
pub(crate) struct View {
    /// The last block.
    pub(crate) seq: u64,
    pub(crate) registry: RegistryState,
}

/// One group as it stands.
pub(crate) struct Group<'a> {
    pub(crate) state: &'a Arc<GroupState>,
    seq: u64,
}

/// A digest for people.
pub(crate) fn short(digest: &Digest) -> String {
    let mut text = digest.to_string();
    text.truncate(SHORT);
    text
}

/// A key in hexadecimal.
pub(crate) fn key_text(key: &PublicKey) -> String {
    data_encoding::HEXLOWER.encode(key.as_bytes())
}

impl Desk {
    /// The market as it stands.
    pub(crate) async fn view(&self) -> anyhow::Result<View> {
        let (seq, registry) = match &self.through {
            Through::Coordinators(addresses) => self.agreed(addresses, groups).await?,
            Through::Gateway(gateway) => gateway.groups(&self.genesis.digest()).await?,
        };
        Ok(View { seq, registry: RegistryState::try_from(&registry)? })
    }

    /// Every owner's account in a group.
    pub(crate) async fn accounts(&self, group: &str) -> anyhow::Result<Vec<(PublicKey, Account)>> {
        let accounts = match &self.through {
            Through::Coordinators(addresses) => {
                self.agreed(addresses, |address| accounts(address, group.to_owned())).await?.1
            }
            Through::Gateway(gateway) => gateway.accounts(group).await?,
        };
        accounts.iter().map(|message| account(message).map_err(Into::into)).collect()
    }

    /// Asks every coordinator; gives what enough of them answer alike, and the smallest of their seqs.
    async fn agreed<T: PartialEq, F: Future<Output = anyhow::Result<(u64, T)>>>(
        &self,
        addresses: &[SocketAddr],
        ask: impl Fn(SocketAddr) -> F,
    ) -> anyhow::Result<(u64, T)> {
        let mut problem = None;
        for _ in 0..ROUNDS_MAX {
            let mut answers = Vec::new();
            for answer in join_all(addresses.iter().map(|address| ask(*address))).await {
                match answer {
                    Ok(answer) => answers.push(answer),
                    Err(error) => problem = Some(error),
                }
            }
            if answers.len() < self.enough() {
                let (answering, enough) = (answers.len(), self.enough());
                let problem = problem.unwrap_or_else(|| anyhow::anyhow!("no coordinator is named"));
                return Err(problem.context(format!(
                    "{answering} coordinators answer, {enough} are needed: start the market with `dropbear up`"
                )));
            }
            if let Some(agreed) = alike(answers, self.enough()) {
                return Ok(agreed);
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
        bail!("the coordinators do not say the same: see `dropbear status`")
    }
}

/// What `enough` of the answers say alike, and the smallest of their seqs.
fn alike<T: PartialEq>(mut answers: Vec<(u64, T)>, enough: usize) -> Option<(u64, T)> {
    let seqs =
        |answer: &T| -> Vec<u64> { answers.iter().filter(|(_, other)| other == answer).map(|(seq, _)| *seq).collect() };
    let found = answers.iter().position(|(_, answer)| seqs(answer).len() >= enough)?;
    let seq = seqs(&answers[found].1).into_iter().min()?;
    Some((seq, answers.swap_remove(found).1))
}

async fn groups(address: SocketAddr) -> anyhow::Result<(u64, v1::RegistryView)> {
    let mut ledger = client::ledger(address);
    let reply = tokio::time::timeout(ANSWER_TIMEOUT, ledger.groups(v1::GroupsRequest {})).await;
    let reply = reply.with_context(|| format!("{address} does not answer"))?;
    let reply = reply.map_err(|status| anyhow::anyhow!("{address}: {}", status.message()))?.into_inner();
    Ok((reply.seq, reply.registry.context("a coordinator sent no registry")?))
}

async fn accounts(address: SocketAddr, group: String) -> anyhow::Result<(u64, Vec<v1::Account>)> {
    let mut ledger = client::ledger(address);
    let reply = tokio::time::timeout(ANSWER_TIMEOUT, ledger.accounts(v1::AccountsRequest { group })).await;
    let reply = reply.with_context(|| format!("{address} does not answer"))?;
    let reply = reply.map_err(|status| anyhow::anyhow!("{address}: {}", status.message()))?.into_inner();
    Ok((reply.seq, reply.accounts))
}

impl View {
    /// The last serial of this key.
    pub(crate) fn serial(&self, key: &PublicKey) -> u64 {
        let holdings = self.registry.groups.values().filter_map(|group| group.holdings.get(key));
        holdings.map(|holding| holding.serial).max().unwrap_or(0)
    }

    /// A group, by name.
    pub(crate) fn group(&self, name: &str) -> anyhow::Result<Group<'_>> {
        let state = self.registry.groups.get(name).with_context(|| {
            let names: Vec<_> = self.registry.groups.keys().map(String::as_str).collect();
            format!("there is no group `{name}`; there are: {}", names.join(", "))
        })?;
        Ok(Group { state, seq: self.seq })
    }

    /// Every group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.registry.groups.values().map(|state| Group { state, seq: self.seq })
    }
}

impl<'a> Group<'a> {
    /// The next block.
    pub(crate) const fn next(&self) -> u64 {
        self.seq + 1
    }

    /// The charter in force in the next block, or the first that will be.
    pub(crate) fn charter(&self) -> Option<&'a Arc<Charter>> {
        let term = self.state.term(self.next()).or_else(|| self.state.terms.last());
        term.map(|term| &term.charter)
    }

    /// The charter that the next one replaces, and its digest.
    pub(crate) fn latest(&self) -> anyhow::Result<(&'a Charter, Digest)> {
        let latest = self.state.terms.last();
        let latest = latest.with_context(|| format!("group {} is only proposed yet", self.state.name))?;
        if let Some(pending) = self.state.pending(self.next()) {
            bail!(
                "another charter of {} takes effect at block {}; try again after it",
                self.state.name,
                pending.from_seq
            );
        }
        Ok((&latest.charter, latest.digest))
    }

    /// This key's name on any roster that is in force, pending or proposed; its first digits otherwise.
    pub(crate) fn name_of(&self, key: &PublicKey) -> String {
        let charters = self.state.terms.iter().rev().map(|term| &term.charter);
        let mut charters = charters.chain(self.state.proposals.iter().map(|open| &open.charter));
        let seat = charters.find_map(|charter| charter.roster.iter().find(|seat| seat.key == *key));
        seat.map_or_else(|| key_text(key)[..SHORT].to_owned(), |seat| seat.owner.clone())
    }

    /// This owner's models.
    pub(crate) fn holding(&self, key: &PublicKey) -> Holding {
        self.state.holding(key).cloned().unwrap_or_default()
    }

    /// The owner's version that people name by label, `model:label`, or the first digits of its digest.
    pub(crate) fn version(&self, key: &PublicKey, name: &str) -> anyhow::Result<Version> {
        let holding = self.holding(key);
        let is_it = |known: &&Version| {
            let version = &known.version;
            version.label == name
                || format!("{}:{}", version.model, version.label) == name
                || name.len() >= 4 && version.digest.to_string().starts_with(name)
        };
        let found: Vec<_> = holding.versions.iter().filter(is_it).collect();
        let group = &self.state.name;
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => bail!(
                "{} published no version `{name}` in {group}: publish it first, or see `dropbear model list`",
                self.name_of(key)
            ),
            _ => bail!(
                "`{name}` names {} versions in {group}: give more digits of the digest, or MODEL:LABEL",
                found.len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn what_one_coordinator_says_alone_is_not_believed() {
        assert_eq!(alike(vec![(9, "lie"), (7, "truth"), (5, "truth")], 2), Some((5, "truth")));
        assert_eq!(alike(vec![(9, "lie"), (7, "truth"), (5, "before")], 2), None);
        assert_eq!(alike::<&str>(vec![], 1), None);
    }
}
