//! The ledger of a running market, read from a quorum of its coordinators at once.

use std::io::Write;
use std::net::SocketAddr;

use dropbear_certificates::{Committee, Header};
use dropbear_wire::convert::{Attested, Malformed};
use dropbear_wire::{client, v1};
use tonic::{Status, Streaming};

use super::ledger::{Block, Writer};

/// Why the ledger cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Too few coordinators answer.
    #[error(
        "{answering} coordinators answer, {needed} are needed to attest every block; start the others, or wait for them"
    )]
    Few {
        /// How many do.
        answering: usize,
        /// How many must.
        needed: usize,
    },
    /// A coordinator failed underway.
    #[error("a coordinator stopped sending its ledger: {}", .0.message())]
    Status(#[from] Status),
    /// A coordinator sent something else than its ledger.
    #[error("a coordinator sent a malformed block: {0}")]
    Malformed(#[from] Malformed),
    /// Two coordinators have different blocks in one place.
    #[error("coordinators {one} and {other} hold different blocks {seq}: keep both ledgers, they are evidence")]
    Different {
        /// The block.
        seq: u64,
        /// The place of one member.
        one: usize,
        /// The place of the other.
        other: usize,
    },
    /// The ledger ended before the block that it was said to have.
    #[error("a coordinator's ledger ended at block {0}, before what it said it holds")]
    Short(u64),
    /// The file cannot be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Writes every block up to the newest that a quorum of `coordinators` holds; gives its seq. The coordinators are believed
/// nothing: what they sent is verified by whoever reads the file.
///
/// # Errors
/// [`ExportError`]
pub async fn export<W: Write>(coordinators: &[SocketAddr], committee: &Committee, out: W) -> Result<u64, ExportError> {
    let (mut streams, last) = open(coordinators, committee.quorum()).await?;
    let mut out = Writer::new(out)?;
    for seq in 1..=last {
        out.block(&next(&mut streams, seq).await?)?;
    }
    out.finish()?;
    Ok(last)
}

async fn open(coordinators: &[SocketAddr], quorum: usize) -> Result<(Vec<Streaming<v1::Block>>, u64), ExportError> {
    let mut answering = Vec::new();
    for address in coordinators {
        if let Ok(status) = client::coordinator(*address).status(v1::StatusRequest {}).await {
            answering.push((status.into_inner().seq, *address));
        }
    }
    if answering.len() < quorum {
        return Err(ExportError::Few { answering: answering.len(), needed: quorum });
    }
    answering.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    let last = answering[quorum - 1].0;
    let mut streams = Vec::new();
    for (seq, address) in answering.into_iter().filter(|_| last > 0) {
        if seq >= last {
            let request = v1::BlocksRequest { from_seq: 1, to_seq: last, want_leaves: streams.is_empty() };
            streams.push(client::ledger(address).blocks(request).await?.into_inner());
        }
    }
    Ok((streams, last))
}

async fn next(streams: &mut [Streaming<v1::Block>], seq: u64) -> Result<Block, ExportError> {
    let mut block: Option<(usize, Block)> = None;
    for stream in streams {
        let message = stream.message().await?.ok_or(ExportError::Short(seq - 1))?;
        let attested = Attested::try_from(message.attested.as_ref().ok_or(Malformed("attested"))?)?;
        let Attested { header, member, signature } = attested;
        let (one, block) = block.get_or_insert_with(|| (member, first(header.clone(), &message)));
        if block.header != header {
            return Err(ExportError::Different { seq, one: *one, other: member });
        }
        block.attestations.extend(signature.map(|signature| (member, signature)));
    }
    let (_, mut block) = block.ok_or(ExportError::Short(seq - 1))?;
    block.attestations.sort_unstable_by_key(|(member, _)| *member);
    Ok(block)
}

fn first(header: Header, message: &v1::Block) -> Block {
    let leaves = message.leaves.iter().map(|leaf| leaf.to_vec()).collect();
    Block { header, attestations: Vec::new(), payload: message.payload.to_vec(), leaves }
}
