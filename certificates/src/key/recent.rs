//! Keys that were admitted a moment ago: the few keys of a market are in everything that it signs.

use std::sync::{Mutex, PoisonError};

use super::{InvalidKey, PublicKey};

const PLACES: usize = 256;

/// Each key has one place, which it takes from whoever had it: who sends many keys costs others no more than the admission.
static ADMITTED: [Mutex<Option<PublicKey>>; PLACES] = [const { Mutex::new(None) }; PLACES];

/// Admits a key, or finds it admitted.
pub(super) fn admit(bytes: &[u8; 32]) -> Result<PublicKey, InvalidKey> {
    let place = &ADMITTED[usize::from(bytes[0])];
    let known = *place.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = known.filter(|key| key.as_bytes() == bytes) {
        return Ok(key);
    }
    let key = PublicKey::admit(bytes)?;
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::SecretKey;
    use super::*;

    #[test]
    fn keys_that_share_a_place_stay_themselves() {
        let keys: Vec<_> = (0..=255).map(|seed| SecretKey::from_seed(&[seed; 32]).public()).collect();
        let shared =
            |key: &PublicKey| keys.iter().any(|other| other != key && other.as_bytes()[0] == key.as_bytes()[0]);
        assert!(keys.iter().any(shared));
        for key in keys.iter().chain(&keys) {
            assert_eq!(PublicKey::from_bytes(key.as_bytes()), Ok(*key));
            assert_eq!(PublicKey::from_bytes(key.as_bytes()), Ok(*key));
        }
    }
}
