//! Request ids with their terminal outcomes: one per id, remembered until the id expires.
//!
//! Ids are kept in buckets of expiry time, each with a rolling hash in order of insertion. The hashes give the state
//! digest without walking the ids, and whole buckets go when their time is over.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use dropbear_certificates::Digest;
use dropbear_certificates::cbor::Encoder;

use crate::refusal::Place;

/// Length of a bucket of expiry time.
pub const BUCKET_MS: u64 = 60_000;

/// One decided request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The id.
    pub id: Digest,
    /// Its expiry, Unix milliseconds.
    pub expiry_ms: u64,
    /// Where its outcome stands.
    pub place: Place,
    /// The owners whose ballots it counts or that were late, by place on the roster: bit `i` of the number.
    pub answered: Answered,
}

/// A set of owners by place on their roster, which has at most 128: bit `i` for place `i`.
pub type Answered = u128;

/// Ballots that came after the outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The request.
    pub id: Digest,
    /// Its expiry, Unix milliseconds.
    pub expiry_ms: u64,
    /// The owners that were late.
    pub answered: Answered,
}

/// The rolling hash of each bucket that is still open; cheap to copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets(BTreeMap<u64, Digest>);

impl Buckets {
    /// Adds an id.
    pub fn push(&mut self, decided: &Decided) {
        let bucket = self.0.entry(decided.expiry_ms / BUCKET_MS).or_insert(Digest::ZERO);
        let (seq, leaf) = (decided.place.seq.to_be_bytes(), decided.place.leaf_index.to_be_bytes());
        *bucket = Digest::tagged("dropbear/decided/v1", &[bucket.as_bytes(), decided.id.as_bytes(), &seq, &leaf]);
    }

    /// Adds late ballots.
    pub fn push_late(&mut self, late: &Late) {
        let bucket = self.0.entry(late.expiry_ms / BUCKET_MS).or_insert(Digest::ZERO);
        let answered = late.answered.to_be_bytes();
        *bucket = Digest::tagged("dropbear/late/v1", &[bucket.as_bytes(), late.id.as_bytes(), &answered]);
    }

    /// Drops the buckets whose ids have all expired at `agreed_ms`.
    pub fn prune(&mut self, agreed_ms: u64) {
        self.0 = self.0.split_off(&(agreed_ms / BUCKET_MS));
    }

    /// Digest over all open buckets.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut out = Encoder::new();
        out.array(self.0.len());
        for (bucket, hash) in &self.0 {
            out.array(2).uint(*bucket).digest(hash);
        }
        Digest::tagged("dropbear/decided-set/v1", &[&out.finish()])
    }
}

/// Ids are digests: any eight bytes of one are as good as a hash of it.
#[derive(Clone, Copy, Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// A digest's length says nothing.
    fn write_usize(&mut self, _: usize) {}
}

/// By id. Nothing ever walks it: its order says nothing.
type ById<T> = HashMap<Digest, T, BuildHasherDefault<IdHasher>>;

/// The ids decided in one block, in order.
#[derive(Clone, Debug, Default)]
pub struct DecidedHere {
    list: Vec<Decided>,
    places: ById<usize>,
}

impl DecidedHere {
    /// Adds an id that is not there.
    pub fn push(&mut self, decided: Decided) {
        self.places.insert(decided.id, self.list.len());
        self.list.push(decided);
    }

    /// The id, if it was decided in the block.
    #[must_use]
    pub fn get(&self, id: &Digest) -> Option<&Decided> {
        self.places.get(id).and_then(|place| self.list.get(*place))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Decided> {
        self.list.iter()
    }
}

/// The ids decided in finalised blocks, by bucket of expiry time.
#[derive(Clone, Debug, Default)]
pub struct DecidedIds(BTreeMap<u64, ById<(Place, Answered)>>);

impl DecidedIds {
    /// Where the request with this id and expiry was decided, and whose ballots came until now.
    #[must_use]
    pub fn get(&self, id: &Digest, expiry_ms: u64) -> Option<(Place, Answered)> {
        self.0.get(&(expiry_ms / BUCKET_MS))?.get(id).copied()
    }

    /// Adds an id.
    pub fn push(&mut self, decided: &Decided) {
        let bucket = self.0.entry(decided.expiry_ms / BUCKET_MS).or_default();
        bucket.insert(decided.id, (decided.place, decided.answered));
    }

    /// Adds late ballots to an id that is remembered.
    pub fn push_late(&mut self, late: &Late) {
        let bucket = self.0.get_mut(&(late.expiry_ms / BUCKET_MS));
        if let Some((_, answered)) = bucket.and_then(|bucket| bucket.get_mut(&late.id)) {
            *answered |= late.answered;
        }
    }

    /// Forgets ids that have expired, as [`Buckets::prune`] does.
    pub fn prune(&mut self, agreed_ms: u64) {
        self.0 = self.0.split_off(&(agreed_ms / BUCKET_MS));
    }

    /// How many ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(HashMap::len).sum()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_digest_forget_together() {
        let decided = |id: u8, expiry_ms| Decided {
            id: Digest::of(&[id]),
            expiry_ms,
            place: Place { seq: 1, leaf_index: id.into() },
            answered: 0b1011,
        };
        let (early, late) = (decided(1, BUCKET_MS - 1), decided(2, BUCKET_MS));
        let (mut ids, mut buckets) = (DecidedIds::default(), Buckets::default());
        for one in [early, late] {
            ids.push(&one);
            buckets.push(&one);
        }
        let mut only_late = Buckets::default();
        only_late.push(&late);
        ids.prune(BUCKET_MS);
        buckets.prune(BUCKET_MS);
        let get = |one: &Decided| ids.get(&one.id, one.expiry_ms);
        assert_eq!((get(&early), get(&late)), (None, Some((late.place, 0b1011))));
        assert_eq!(buckets.digest(), only_late.digest());
    }
}
