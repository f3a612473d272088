//! Reading the ledger: groups, governance, accounts and blocks, as this coordinator attests them.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dropbear_consensus::{LeafTree, Place, Storage as _};
use dropbear_wire::convert::account_message;
use dropbear_wire::registry::registry_view;
use dropbear_wire::v1;
use dropbear_wire::v1::ledger_server::Ledger;
use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::core::AttestedBlock;
use crate::replica::LedgerReplica;

/// Governance entries in one reply.
const LINKS_MAX: usize = 1024;
/// And the bytes that they may take.
const LINKS_BYTES_MAX: usize = 16 << 20;

/// This coordinator's ledger; clones share it.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) replica: LedgerReplica,
    /// This coordinator's place in the committee.
    pub(crate) member: usize,
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

/// A leaf of a block with its path.
pub(crate) fn leaf(block: &AttestedBlock, index: u64) -> Option<v1::Leaf> {
    let data = block.stored.leaves.get(usize::try_from(index).ok()?)?;
    let path = block.tree.path(index)?.iter().map(|node| node.0).collect::<Vec<_>>().into_flattened();
    Some(v1::Leaf { index, data: data.clone().into(), path: path.into() })
}

impl Reader {
    pub(crate) fn attested(&self, block: &AttestedBlock) -> v1::Attested {
        v1::Attested {
            header: block.stored.header.to_bytes().into(),
            member: self.member as u32,
            signature: block.stored.attestation.map(|signature| Bytes::copy_from_slice(&signature)).unwrap_or_default(),
        }
    }

    /// A block that is durable here.
    pub(crate) fn block(&self, seq: u64) -> Result<Option<Arc<AttestedBlock>>, Status> {
        if let Some(recent) = self.replica.core().recent(seq) {
            return Ok(Some(recent));
        }
        let stored = self.replica.0.store.block(seq).map_err(internal)?;
        Ok(stored
            .map(|stored| Arc::new(AttestedBlock { tree: LeafTree::new(&stored.leaves), stored, results: Vec::new() })))
    }

    fn link(&self, place: Place) -> Result<v1::GovernanceLink, Status> {
        let block = self.block(place.seq)?.ok_or_else(|| internal("a governance entry without its block"))?;
        let leaf = leaf(&block, place.leaf_index).ok_or_else(|| internal("a governance entry without its leaf"))?;
        Ok(v1::GovernanceLink { attested: Some(self.attested(&block)), leaf: Some(leaf) })
    }

    fn export(&self, seq: u64, want_leaves: bool) -> Result<v1::Block, Status> {
        let block = self.block(seq)?.ok_or_else(|| internal(format!("block {seq} is missing")))?;
        let leaves = if want_leaves { block.stored.leaves.as_slice() } else { &[] };
        Ok(v1::Block {
            attested: Some(self.attested(&block)),
            payload: block.stored.payload.clone().into(),
            leaves: leaves.iter().map(|leaf| leaf.clone().into()).collect(),
        })
    }
}

#[tonic::async_trait]
impl Ledger for Reader {
    async fn groups(&self, _: Request<v1::GroupsRequest>) -> Result<Response<v1::GroupsReply>, Status> {
        let progress = self.replica.0.progress.borrow().clone();
        let registry = Some(registry_view(&progress.registry));
        Ok(Response::new(v1::GroupsReply { seq: progress.seq, agreed_ms: progress.agreed_ms, registry }))
    }

    async fn governance(
        &self,
        request: Request<v1::GovernanceRequest>,
    ) -> Result<Response<v1::GovernanceReply>, Status> {
        let from_seq = request.into_inner().from_seq;
        let places = self.replica.0.store.governance(from_seq, LINKS_MAX).map_err(internal)?;
        let (mut links, mut bytes) = (Vec::with_capacity(places.len()), 0);
        for place in places {
            let link = self.link(place)?;
            bytes += link.leaf.as_ref().map_or(0, |leaf| leaf.data.len());
            if bytes > LINKS_BYTES_MAX {
                break;
            }
            links.push(link);
        }
        Ok(Response::new(v1::GovernanceReply { links }))
    }

    async fn accounts(&self, request: Request<v1::AccountsRequest>) -> Result<Response<v1::AccountsReply>, Status> {
        let group = request.into_inner().group;
        let (seq, accounts, registry) = {
            let core = self.replica.core();
            let state = core.chain().state();
            (state.seq, Arc::clone(&state.accounts), Arc::clone(&state.registry))
        };
        if registry.group(&group).is_none() {
            return Err(Status::not_found("there is no such group; look at the list of groups for its name"));
        }
        let accounts = accounts.of_group(&group).map(|(owner, account)| account_message(owner, account)).collect();
        Ok(Response::new(v1::AccountsReply { seq, accounts }))
    }

    type BlocksStream = Pin<Box<dyn Stream<Item = Result<v1::Block, Status>> + Send>>;

    async fn blocks(&self, request: Request<v1::BlocksRequest>) -> Result<Response<Self::BlocksStream>, Status> {
        let v1::BlocksRequest { from_seq, to_seq, want_leaves } = request.into_inner();
        let last = self.replica.0.progress.borrow().seq;
        let to_seq = if to_seq == 0 { last } else { to_seq };
        if from_seq == 0 || to_seq > last {
            return Err(Status::out_of_range(format!("blocks are numbered from 1, and the last one is {last}")));
        }
        let reader = self.clone();
        let blocks = futures_util::stream::iter(from_seq..=to_seq).map(move |seq| reader.export(seq, want_leaves));
        Ok(Response::new(Box::pin(blocks.take_until(Box::pin(self.replica.stopped())))))
    }
}
