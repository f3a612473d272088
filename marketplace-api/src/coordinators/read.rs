//! Reading what coordinators keep: accounts, and blocks. One coordinator's word each.

use bytes::Bytes;
use dropbear_wire::v1;
use tokio::time::{Instant, timeout_at};

use super::{Coordinators, timed};

/// What every owner of a group did, as one coordinator tells it.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// The coordinator's name.
    pub(crate) told_by: String,
    pub(crate) seq: u64,
    pub(crate) accounts: Vec<v1::Account>,
}

impl Coordinators {
    /// The accounts of a group, from the first coordinator that answers.
    ///
    /// # Errors
    /// What went wrong at each.
    pub(crate) async fn accounts(&self, group: &str, deadline: Instant) -> Result<Accounts, Vec<String>> {
        let mut problems = Vec::new();
        for place in self.order() {
            let mut client = self.members[place].ledger.clone();
            let request = timed(v1::AccountsRequest { group: group.into() }, deadline);
            match timeout_at(deadline, client.accounts(request)).await {
                Ok(Ok(reply)) => {
                    let v1::AccountsReply { seq, accounts } = reply.into_inner();
                    return Ok(Accounts { told_by: self.members[place].name.clone(), seq, accounts });
                }
                Ok(Err(status)) => problems.extend(self.note(place, Some(&status))),
                Err(_) => break,
            }
        }
        Err(problems)
    }

    /// The payload of a block, from the first coordinator that has it.
    pub(crate) async fn block_payload(&self, seq: u64, deadline: Instant) -> Option<Bytes> {
        for place in self.order() {
            let mut client = self.members[place].ledger.clone();
            let request = v1::BlocksRequest { from_seq: seq, to_seq: seq, want_leaves: false };
            let block =
                async { client.blocks(timed(request, deadline)).await.ok()?.into_inner().message().await.ok()? };
            match timeout_at(deadline, block).await {
                Ok(Some(block)) => return Some(block.payload),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
        None
    }
}
