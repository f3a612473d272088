//! Minting: from an ask to requests with ids, pure but for randomness that is handed in.

use std::time::Duration;

use dropbear_certificates::genesis::Rules;
use dropbear_certificates::request::Field;
use dropbear_certificates::{Assurance, Digest, Origin, Request, RequestOpening, Seed, Signature};
use dropbear_wire::v1;

use crate::ask::{Failure, Naming, Options};
use crate::market::Market;
use crate::schema;

/// One request, ready to go out.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) naming: Naming,
    pub(crate) request: Request,
    pub(crate) signature: Option<Signature>,
    pub(crate) opening: RequestOpening,
    pub(crate) vote_salt: Digest,
    pub(crate) input: v1::Tensor,
}

/// Nonce and seed to use where the client gives none.
pub(crate) struct Drawn {
    pub(crate) nonce: [u8; 16],
    pub(crate) seed: [u8; 32],
}

/// How long a request may take, and when it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) timeout: Duration,
    pub(crate) expiry_ms: u64,
}

/// Fixes a request's times at `now_ms`.
///
/// The expiry is part of the id. Where the client names a nonce but no expiry, it is the end of a window of fixed
/// length, so that a prompt retry names the same id; a client that wants to be sure repeats `expiry_ms`.
pub(crate) fn times(
    options: &Options,
    rules: &Rules,
    timeout_default: Duration,
    timeout_max: Duration,
    now_ms: u64,
) -> Times {
    // Agreed time may lag behind this clock; what lies further ahead would be refused.
    let lifetime_ms = rules.request_lifetime_ms_max.saturating_sub(rules.clock_skew_ms_max).max(1);
    let timeout = options.timeout.unwrap_or(timeout_default).min(timeout_max).min(Duration::from_millis(lifetime_ms));
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(lifetime_ms).max(1);
    let expiry_ms = match (options.expiry_ms, options.nonce) {
        (Some(expiry_ms), _) => expiry_ms,
        (None, None) => now_ms + (timeout_ms + rules.clock_skew_ms_max).min(lifetime_ms),
        (None, Some(_)) => {
            let window_ms = (lifetime_ms / 2).max(1);
            (now_ms / window_ms + 2) * window_ms
        }
    };
    Times { timeout: Duration::from_millis(timeout_ms), expiry_ms }
}

/// Makes one request per input.
pub(crate) fn mint(
    market: &Market,
    group: &str,
    demand: Assurance,
    options: &Options,
    expiry_ms: u64,
    inputs: Vec<v1::Tensor>,
    drawn: &Drawn,
) -> Result<Vec<Minted>, Failure> {
    if let Some((_, signatures)) = &options.client {
        let complete = options.nonce.is_some() && options.seed.is_some() && options.expiry_ms.is_some();
        if !complete || signatures.len() != inputs.len() {
            return Err(Failure::BadInput(
                "a client-signed request needs `nonce`, `seed`, `expiry_ms` and one signature per item".into(),
            ));
        }
    }
    let one = |(place, input): (usize, v1::Tensor)| {
        let input_digest = schema::digest(&input);
        let nonce = item_nonce(&options.nonce.unwrap_or(drawn.nonce), place);
        let seed = match (options.seed, options.nonce) {
            (Some(seed), _) => item_seed(&seed, place),
            (None, Some(_)) => market.seed(&nonce, &input_digest),
            (None, None) => item_seed(&Seed(drawn.seed), place),
        };
        let opening = RequestOpening::new(&seed, input_digest);
        let client = options.client.as_ref();
        let request = Request {
            genesis: market.trust.digest(),
            group: group.into(),
            key: client.map_or_else(|| market.public(), |(key, _)| *key),
            origin: if client.is_some() { Origin::ClientSigned } else { Origin::GatewayMinted },
            nonce,
            commitment: opening.commitment(),
            expiry_ms,
            demand,
        };
        let signature = client.and_then(|(_, signatures)| signatures.get(place)).copied();
        if signature.is_some_and(|signature| !request.is_signed(&signature)) {
            return Err(Failure::BadInput(format!("the client's signature over request {place} does not verify")));
        }
        let naming = Naming { request_id: request.id(), nonce, seed, expiry_ms };
        Ok(Minted { naming, request, signature, opening, vote_salt: seed.salt(Field::Vote), input })
    };
    inputs.into_iter().enumerate().map(one).collect()
}

/// The nonce of the item at `place` in its call: the given one for the first.
fn item_nonce(nonce: &[u8; 16], place: usize) -> [u8; 16] {
    if place == 0 {
        return *nonce;
    }
    let digest = Digest::tagged("dropbear/item-nonce/v1", &[nonce, &(place as u64).to_be_bytes()]);
    let mut derived = [0; 16];
    derived.copy_from_slice(&digest.0[..16]);
    derived
}

fn item_seed(seed: &Seed, place: usize) -> Seed {
    if place == 0 {
        return *seed;
    }
    Seed(Digest::tagged("dropbear/item-seed/v1", &[&seed.0, &(place as u64).to_be_bytes()]).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { request_lifetime_ms_max: 60_000, clock_skew_ms_max: 5_000 };
    const NOW: u64 = 1_800_000_000_123;

    fn at(options: &Options, now_ms: u64) -> Times {
        times(options, &RULES, Duration::from_secs(10), Duration::from_secs(3600), now_ms)
    }

    #[test]
    fn no_expiry_lies_further_ahead_than_the_market_allows() {
        for timeout in [None, Some(Duration::ZERO), Some(Duration::from_secs(20)), Some(Duration::MAX)] {
            for nonce in [None, Some([1; 16])] {
                let times = at(&Options { timeout, nonce, ..Options::default() }, NOW);
                assert!(times.expiry_ms > NOW && times.expiry_ms <= NOW + 55_000, "{timeout:?} {times:?}");
                assert!((1..=55_000).contains(&times.timeout.as_millis()));
            }
        }
    }

    #[test]
    fn a_prompt_retry_names_the_same_expiry() {
        let options = Options { nonce: Some([1; 16]), ..Options::default() };
        let start = NOW / 27_500 * 27_500;
        assert_eq!(at(&options, start).expiry_ms, at(&options, start + 27_499).expiry_ms);
        let named = Options { expiry_ms: Some(77), ..options };
        assert_eq!(at(&named, NOW).expiry_ms, 77);
    }

    #[test]
    fn items_of_one_call_have_different_nonces_and_seeds() {
        let (nonce, seed) = ([3; 16], Seed([4; 32]));
        let nonces: std::collections::BTreeSet<_> = (0..50).map(|place| item_nonce(&nonce, place)).collect();
        let seeds: std::collections::BTreeSet<_> = (0..50).map(|place| item_seed(&seed, place).0).collect();
        assert_eq!((nonces.len(), seeds.len()), (50, 50));
        assert!(nonces.contains(&nonce) && seeds.contains(&seed.0));
    }
}
