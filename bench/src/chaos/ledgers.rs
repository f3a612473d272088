//! The ledgers of all coordinators beside each other, and what clients got beside them.

use std::io::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use dropbear_certificates::Certificate;
use dropbear_wire::convert::{Attested, Malformed, digest_bytes};
use dropbear_wire::v1::coordinator_client::CoordinatorClient;
use dropbear_wire::{client, v1};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use crate::history::ledger::{Block, Writer};

/// So many differences are described; all are counted.
const DESCRIBED_MAX: usize = 10;
/// Calls that a coordinator has to answer at a time.
const LOOKUPS_AT_ONCE: usize = 32;

/// Why ledgers cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A coordinator does not show its ledger.
    #[error("the coordinator at {0} does not show its ledger: {msg}", msg = .1.message())]
    Status(SocketAddr, Status),
    /// It shows something else.
    #[error("the coordinator at {0} sent a malformed block: {1}")]
    Malformed(SocketAddr, Malformed),
    /// Its ledger ends early.
    #[error("the ledger of the coordinator at {0} ends before block {1}")]
    Short(SocketAddr, u64),
    /// Something that clients got is no certificate.
    #[error("what a client got is no certificate: {0}")]
    Certificate(String),
    /// The copy cannot be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Blocks that every coordinator was asked for.
    pub blocks: u64,
    /// Blocks of which two coordinators have different headers.
    pub conflicting: u64,
    /// Blocks with one header, of which two coordinators have different contents.
    pub differing: u64,
    /// Where, for the first of them.
    pub described: Vec<String>,
}

/// Compares the blocks 1 to `last` of all coordinators byte for byte: headers, payloads and leaves. Writes those of the
/// first to `out`, as an exported ledger with everybody's attestations.
///
/// # Errors
/// [`CompareError`] if a coordinator does not have them all.
pub async fn compare<W: Write>(coordinators: &[SocketAddr], last: u64, out: W) -> Result<Compared, CompareError> {
    let mut out = Writer::new(out)?;
    let mut compared = Compared { blocks: last, ..Compared::default() };
    let mut streams = Vec::new();
    for address in coordinators.iter().filter(|_| last > 0) {
        let request = v1::BlocksRequest { from_seq: 1, to_seq: last, want_leaves: true };
        let stream = client::ledger(*address).blocks(request).await;
        streams.push((*address, stream.map_err(|status| CompareError::Status(*address, status))?.into_inner()));
    }
    for seq in 1..=last {
        let mut messages = Vec::new();
        for (address, stream) in &mut streams {
            let message = stream.message().await.map_err(|status| CompareError::Status(*address, status))?;
            messages.push((*address, message.ok_or(CompareError::Short(*address, seq))?));
        }
        out.block(&compared.block(seq, &messages)?)?;
    }
    out.finish()?;
    Ok(compared)
}

impl Compared {
    fn block(&mut self, seq: u64, messages: &[(SocketAddr, v1::Block)]) -> Result<Block, CompareError> {
        let mut whole: Option<(Block, &v1::Block)> = None;
        let mut attestations = Vec::new();
        let (mut same_headers, mut same_contents) = (true, true);
        for (address, message) in messages {
            let malformed = |malformed| CompareError::Malformed(*address, malformed);
            let attested = message.attested.as_ref().ok_or(malformed(Malformed("attested")))?;
            let Attested { header, member, signature } = Attested::try_from(attested).map_err(malformed)?;
            let (block, first) = whole.get_or_insert_with(|| {
                let leaves = message.leaves.iter().map(|leaf| leaf.to_vec()).collect();
                (Block { header, attestations: Vec::new(), payload: message.payload.to_vec(), leaves }, message)
            });
            let first_header = first.attested.as_ref().map(|attested| &attested.header);
            same_headers &= block.header.seq == seq && first_header == Some(&attested.header);
            same_contents &= first.payload == message.payload && first.leaves == message.leaves;
            attestations.extend(signature.map(|signature| (member, signature)));
        }
        if !same_headers {
            self.conflicting += 1;
            self.describe(|| format!("block {seq} has two headers"));
        } else if !same_contents {
            self.differing += 1;
            self.describe(|| format!("block {seq} has one header, but two contents"));
        }
        let (mut block, _) = whole.ok_or_else(|| std::io::Error::other("no coordinators to compare"))?;
        attestations.sort_unstable_by_key(|(member, _)| *member);
        block.attestations = attestations;
        Ok(block)
    }

    fn describe(&mut self, what: impl FnOnce() -> String) {
        if self.described.len() < DESCRIBED_MAX {
            self.described.push(what());
        }
    }
}

/// What coordinators said when they were asked for certificates' records by request id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// Certificates that every coordinator was asked about.
    pub certificates: u64,
    /// Coordinators that did not know one, added up.
    pub unknown: u64,
    /// Coordinators that showed another header, added up.
    pub conflicting: u64,
}

/// Asks every coordinator where the request of each certificate (base64url) was decided.
///
/// # Errors
/// [`CompareError`] if a coordinator does not answer, or something is no certificate.
pub async fn look_up(coordinators: &[SocketAddr], certificates: &[String]) -> Result<LookedUp, CompareError> {
    let certificates = certificates.iter().map(|text| Asked::read(text)).collect::<Result<Vec<_>, _>>()?;
    let mut found = LookedUp { certificates: certificates.len() as u64, ..LookedUp::default() };
    let coordinators: Vec<_> = coordinators.iter().map(|address| (*address, client::coordinator(*address))).collect();
    for some in certificates.chunks(LOOKUPS_AT_ONCE) {
        let mut calls = JoinSet::new();
        for (address, coordinator) in &coordinators {
            for asked in some {
                calls.spawn(asked.clone().look_up(*address, coordinator.clone()));
            }
        }
        for shown in calls.join_all().await {
            match shown? {
                Shown::Nothing => found.unknown += 1,
                Shown::OtherHeader => found.conflicting += 1,
                Shown::SameHeader => {}
            }
        }
    }
    Ok(found)
}

/// What is asked about.
#[derive(Clone)]
struct Asked {
    request_id: Bytes,
    header: Bytes,
}

/// What a coordinator shows for it.
enum Shown {
    Nothing,
    OtherHeader,
    SameHeader,
}

impl Asked {
    fn read(text: &str) -> Result<Self, CompareError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
        let bytes = bytes.map_err(|error| CompareError::Certificate(error.to_string()))?;
        let certificate = Certificate::from_bytes(&bytes);
        let certificate = certificate.map_err(|error| CompareError::Certificate(error.to_string()))?;
        let request_id = digest_bytes(&certificate.record().request);
        Ok(Self { request_id, header: certificate.header().to_bytes().into() })
    }

    async fn look_up(
        self,
        address: SocketAddr,
        mut coordinator: CoordinatorClient<Channel>,
    ) -> Result<Shown, CompareError> {
        let reply = coordinator.lookup(v1::LookupRequest { request_id: self.request_id }).await;
        let reply = reply.map_err(|status| CompareError::Status(address, status))?.into_inner();
        Ok(match reply.attested {
            None => Shown::Nothing,
            Some(attested) if attested.header == self.header => Shown::SameHeader,
            Some(_) => Shown::OtherHeader,
        })
    }
}

#[cfg(test)]
mod tests {
    use dropbear_certificates::{Digest, Header};

    use super::*;

    fn message(member: u32, agreed_ms: u64, leaf: &'static [u8]) -> v1::Block {
        let header = Header {
            genesis: Digest([1; 32]),
            epoch: 0,
            config: Digest([2; 32]),
            seq: 1,
            tree_size: 2,
            record_root: Digest([3; 32]),
            ledger_root: Digest([4; 32]),
            governance_seq: 0,
            agreed_ms,
        };
        let signature = Bytes::from_static(&[5; 64]);
        let attested = Some(v1::Attested { header: header.to_bytes().into(), member, signature });
        v1::Block { attested, payload: Bytes::from_static(b"payload"), leaves: vec![Bytes::from_static(leaf)] }
    }

    fn compared(messages: [v1::Block; 2]) -> (Compared, Block) {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut compared = Compared::default();
        let block = compared.block(1, &messages.map(|message| (address, message))).unwrap();
        (compared, block)
    }

    #[test]
    fn equal_blocks_are_one_with_everybodys_attestations() {
        let (found, block) = compared([message(2, 7, b"leaf"), message(0, 7, b"leaf")]);
        assert_eq!(found, Compared::default());
        assert_eq!(block.attestations, [(0, [5; 64]), (2, [5; 64])]);
    }

    #[test]
    fn other_headers_and_other_contents_are_found() {
        let (found, _) = compared([message(0, 7, b"leaf"), message(1, 8, b"leaf")]);
        assert_eq!((found.conflicting, found.differing, found.described.len()), (1, 0, 1));
        let (found, _) = compared([message(0, 7, b"leaf"), message(1, 7, b"other")]);
        assert_eq!((found.conflicting, found.differing), (0, 1));
    }
}
