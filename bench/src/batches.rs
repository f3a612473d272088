//! Batches of requests, as a gateway sends them to model nodes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dropbear_certificates::request::input_digest;
use dropbear_certificates::{Assurance, Digest, Genesis, Origin, PublicKey, Request, RequestOpening, Seed};
use dropbear_wire::v1;

/// Requests expire so much later than they are made.
const LIFETIME_MS: u64 = 60_000;

/// Makes batches of ever new requests about the same inputs, in the name of a gateway: model nodes know it by its key,
/// and what a gateway mints, only its submission signs.
#[derive(Debug)]
pub struct Batches {
    genesis: Digest,
    group: String,
    charter: Digest,
    gateway: PublicKey,
    /// Each with its digest.
    inputs: Vec<(v1::Tensor, Digest)>,
    made: AtomicU64,
}

impl Batches {
    /// For the first group of this market, in the name of its first gateway; nothing for a market without them.
    #[must_use]
    pub fn of(genesis: &Genesis, inputs: Vec<v1::Tensor>) -> Option<Self> {
        let digest_of = |input: &v1::Tensor| input_digest(&input.name, &input.datatype, &input.shape, &input.data);
        let charter = genesis.charters.first()?;
        Some(Self {
            genesis: genesis.digest(),
            group: charter.group.clone(),
            charter: charter.digest(),
            gateway: genesis.gateways.first()?.key,
            inputs: inputs.into_iter().map(|input| (input.clone(), digest_of(&input))).collect(),
            made: AtomicU64::new(0),
        })
    }

    /// The next batch, of so many requests.
    #[must_use]
    pub fn next(&self, size: usize) -> v1::InferRequest {
        let first = self.made.fetch_add(size as u64, Ordering::Relaxed);
        let start = usize::try_from(first).unwrap_or(0) % self.inputs.len().max(1);
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let inputs = self.inputs.iter().cycle().skip(start).take(size);
        let items = inputs.zip(first..).map(|(input, number)| self.item(number, now_ms, input)).collect();
        v1::InferRequest {
            group: self.group.clone(),
            charter: Bytes::copy_from_slice(self.charter.as_bytes()),
            items,
            want_outputs: false,
        }
    }

    /// The request of this number.
    fn item(&self, number: u64, now_ms: u64, (input, digest): &(v1::Tensor, Digest)) -> v1::InferItem {
        let mut seed = Seed([0; 32]);
        seed.0[..8].copy_from_slice(&number.to_le_bytes());
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        let request = Request {
            genesis: self.genesis,
            group: self.group.clone(),
            key: self.gateway,
            origin: Origin::GatewayMinted,
            nonce,
            commitment: RequestOpening::new(&seed, *digest).commitment(),
            expiry_ms: now_ms + LIFETIME_MS,
            demand: Assurance::Robust,
        };
        v1::InferItem {
            request: request.statement().into(),
            signature: Bytes::new(),
            seed: Bytes::copy_from_slice(&seed.0),
            input: Some(input.clone()),
        }
    }
}
