//! What the ledger remembers of keys: their last serials, so that nothing is applied twice, and which were replaced.

use std::collections::BTreeMap;

use dropbear_certificates::PublicKey;
use dropbear_certificates::cbor::Encoder;

use crate::refusal::Refused;

/// Serials of at most this many keys are remembered one by one.
pub const SERIALS_MAX: usize = 4096;

/// At most this many keys can have been replaced.
pub const REPLACED_MAX: usize = 4096;

/// A serial may lie at most this far ahead of agreed time: a larger one would shut its owner out.
pub const SERIAL_AHEAD_MS_MAX: u64 = 60_000;

/// Serials and replaced keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    serials: BTreeMap<PublicKey, u64>,
    /// No forgotten serial is larger, so a key without a serial begins above it.
    floor: u64,
    /// Old key to new key.
    replaced: BTreeMap<PublicKey, PublicKey>,
}

impl Keys {
    /// The last serial of this key, if it is remembered.
    #[must_use]
    pub fn serial(&self, key: &PublicKey) -> Option<u64> {
        self.serials.get(key).copied()
    }

    /// The key that took this one's place.
    #[must_use]
    pub fn successor(&self, key: &PublicKey) -> Option<PublicKey> {
        self.replaced.get(key).copied()
    }

    /// Replaced keys, old and new.
    pub fn replaced(&self) -> impl Iterator<Item = (&PublicKey, &PublicKey)> {
        self.replaced.iter()
    }

    /// Whether `key` may sign an entry with this serial now.
    pub(super) fn check(&self, key: &PublicKey, serial: u64, agreed_ms: u64) -> Result<(), Refused> {
        if self.replaced.contains_key(key) {
            return Err(Refused::DeadKey);
        }
        if serial <= self.serial(key).unwrap_or(self.floor) {
            return Err(Refused::Replayed);
        }
        if serial > agreed_ms.saturating_add(SERIAL_AHEAD_MS_MAX) { Err(Refused::SerialAhead) } else { Ok(()) }
    }

    /// Uses a serial up; forgets the lowest one if there are too many, and raises the floor to it.
    pub(super) fn spend(&mut self, key: PublicKey, serial: u64) {
        self.serials.insert(key, serial);
        if self.serials.len() <= SERIALS_MAX {
            return;
        }
        let lowest = self.serials.iter().min_by_key(|(key, serial)| (**serial, **key)).map(|(key, _)| *key);
        if let Some(serial) = lowest.and_then(|key| self.serials.remove(&key)) {
            self.floor = self.floor.max(serial);
        }
    }

    /// Whether the key signed or was replaced before.
    pub(super) fn knows(&self, key: &PublicKey) -> bool {
        self.serials.contains_key(key) || self.replaced.contains_key(key)
    }

    /// Whether no more keys can be replaced.
    pub(super) fn is_full(&self) -> bool {
        self.replaced.len() >= REPLACED_MAX
    }

    /// Lets `new` go on where `old` ends, at this serial.
    pub(super) fn replace(&mut self, old: PublicKey, new: PublicKey, serial: u64) {
        self.serials.remove(&old);
        self.replaced.insert(old, new);
        self.spend(new, serial);
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.array(3).uint(self.floor).array(self.serials.len());
        for (key, serial) in &self.serials {
            out.array(2).bytes(key.as_bytes()).uint(*serial);
        }
        out.array(self.replaced.len());
        for (old, new) in &self.replaced {
            out.array(2).bytes(old.as_bytes()).bytes(new.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropbear_certificates::SecretKey;

    fn key(place: u64) -> PublicKey {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&place.to_be_bytes());
        SecretKey::from_seed(&seed).public()
    }

    #[test]
    fn what_is_forgotten_cannot_be_replayed() {
        let mut keys = Keys::default();
        for place in 0..=SERIALS_MAX as u64 {
            keys.spend(key(place), 100 + place);
        }
        assert_eq!(keys.serial(&key(0)), None);
        assert_eq!(keys.check(&key(0), 100, 1_000), Err(Refused::Replayed));
        assert_eq!(keys.check(&key(0), 101, 1_000), Ok(()));
        assert_eq!(keys.check(&key(1), 101, 1_000), Err(Refused::Replayed));
        assert_eq!(keys.check(&key(1), 1_001 + SERIAL_AHEAD_MS_MAX, 1_000), Err(Refused::SerialAhead));
    }
}
