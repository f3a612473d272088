//! The journal's file: votes by (expiry, request, version), so that lookups, pruning and locality share one table.

use std::path::Path;

use dropbear_certificates::cbor::{CborError, Decoder, Encoder};
use dropbear_certificates::{Answer, Digest, PublicKey, Vote};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition};

use super::{JOURNAL_MARGIN_MS, JOURNAL_VOTES_MAX, JournalError, VoteKey};

type KeyBytes = [u8; 72];

const VOTES: TableDefinition<'_, &KeyBytes, &[u8]> = TableDefinition::new("votes");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// One after the other: each of the owner's keys with the genesis.
const IDENTITY: &str = "owner and genesis";
const IDENTITY_BYTES: usize = 64;
const FLOOR: &str = "floor_ms";
/// redb would otherwise take a gibibyte.
const CACHE_BYTES: usize = 32 << 20;
/// Each commit forgets at most this many votes more than it keeps.
const PRUNE_EXTRA: usize = 256;

#[derive(Debug)]
pub(super) struct Store {
    database: Database,
}

fn storage(error: impl std::fmt::Display) -> JournalError {
    JournalError::Storage(error.to_string())
}

impl VoteKey {
    fn to_bytes(self) -> KeyBytes {
        let mut bytes = [0; 72];
        bytes[..8].copy_from_slice(&self.expiry_ms.to_be_bytes());
        bytes[8..40].copy_from_slice(self.id.as_bytes());
        bytes[40..].copy_from_slice(self.version.as_bytes());
        bytes
    }
}

fn expiry_ms(key: &KeyBytes) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn encode(answer: &Answer) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(2);
    answer.vote.encode(&mut out);
    out.digest(&answer.output);
    out.finish()
}

fn decode(bytes: &[u8]) -> Result<Answer, JournalError> {
    let read = || -> Result<Answer, CborError> {
        let mut input = Decoder::new(bytes);
        input.array_of(2)?;
        let answer = Answer { vote: Vote::decode(&mut input)?, output: input.digest()? };
        input.finish()?;
        Ok(answer)
    };
    read().map_err(storage)
}

impl Store {
    pub(super) fn open(path: &Path, keys: &[PublicKey], genesis: &Digest) -> Result<Self, JournalError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(storage)?;
        let store = Self { database };
        let identity = |key: &PublicKey| [key.as_bytes().as_slice(), genesis.as_bytes()].concat();
        store.claim(&keys.iter().map(identity).collect::<Vec<_>>())?;
        Ok(store)
    }

    /// Makes the file this owner's, or finds that it is: one of the identities under which it is kept is among these.
    fn claim(&self, identities: &[Vec<u8>]) -> Result<(), JournalError> {
        let transaction = self.database.begin_write().map_err(storage)?;
        {
            transaction.open_table(VOTES).map_err(storage)?;
            let mut meta = transaction.open_table(META).map_err(storage)?;
            let known = meta.get(IDENTITY).map_err(storage)?.map(|known| known.value().to_vec()).unwrap_or_default();
            let mut known: Vec<&[u8]> = known.chunks_exact(IDENTITY_BYTES).collect();
            if !known.is_empty() && !identities.iter().any(|identity| known.contains(&&identity[..])) {
                return Err(JournalError::Foreign);
            }
            known.extend(identities.iter().map(Vec::as_slice));
            known.sort_unstable();
            known.dedup();
            meta.insert(IDENTITY, known.concat().as_slice()).map_err(storage)?;
        }
        transaction.commit().map_err(storage)
    }

    pub(super) fn find(&self, keys: impl Iterator<Item = VoteKey>) -> Result<Vec<Option<Answer>>, JournalError> {
        let transaction = self.database.begin_read().map_err(storage)?;
        let votes = transaction.open_table(VOTES).map_err(storage)?;
        let find = |key: VoteKey| match votes.get(&key.to_bytes()).map_err(storage)? {
            Some(bytes) => decode(bytes.value()).map(Some),
            None => Ok(None),
        };
        keys.map(find).collect()
    }

    /// Keeps the votes of several ballots in one durable commit; each ballot succeeds or fails by itself.
    pub(super) fn settle(
        &self,
        ballots: impl Iterator<Item = (u64, Vec<(VoteKey, Answer)>)>,
    ) -> Result<Vec<Result<Vec<Answer>, JournalError>>, JournalError> {
        let mut transaction = self.database.begin_write().map_err(storage)?;
        transaction.set_durability(Durability::Immediate).map_err(storage)?;
        let mut results = Vec::new();
        {
            let mut votes = transaction.open_table(VOTES).map_err(storage)?;
            let mut meta = transaction.open_table(META).map_err(storage)?;
            let mut floor_ms = read_floor(&meta)?;
            let (mut now_max_ms, mut kept) = (0, 0);
            for (now_ms, ballot) in ballots {
                (now_max_ms, kept) = (now_ms.max(now_max_ms), kept + ballot.len());
                results.push(settle_one(&mut votes, floor_ms, ballot)?);
            }
            let cutoff_ms = now_max_ms.saturating_sub(JOURNAL_MARGIN_MS);
            if let Some(pruned_ms) = prune(&mut votes, cutoff_ms, kept + PRUNE_EXTRA)? {
                floor_ms = floor_ms.max(pruned_ms);
                meta.insert(FLOOR, floor_ms.to_be_bytes().as_slice()).map_err(storage)?;
            }
        }
        transaction.commit().map_err(storage)?;
        Ok(results)
    }
}

fn read_floor(meta: &Table<'_, &str, &[u8]>) -> Result<u64, JournalError> {
    let Some(bytes) = meta.get(FLOOR).map_err(storage)? else { return Ok(0) };
    bytes.value().try_into().map(u64::from_be_bytes).map_err(storage)
}

/// The inner result is the ballot's; the outer is the file's.
fn settle_one(
    votes: &mut Table<'_, &KeyBytes, &[u8]>,
    floor_ms: u64,
    ballot: Vec<(VoteKey, Answer)>,
) -> Result<Result<Vec<Answer>, JournalError>, JournalError> {
    if let Some((key, _)) = ballot.iter().find(|(key, _)| key.expiry_ms <= floor_ms) {
        return Ok(Err(JournalError::Forgotten(key.id)));
    }
    if votes.len().map_err(storage)?.saturating_add(ballot.len() as u64) > JOURNAL_VOTES_MAX {
        return Ok(Err(JournalError::Full));
    }
    let mut answers = Vec::with_capacity(ballot.len());
    for (key, answer) in ballot {
        let key = key.to_bytes();
        let known = votes.get(&key).map_err(storage)?.map(|bytes| decode(bytes.value())).transpose()?;
        if known.is_none() {
            votes.insert(&key, encode(&answer).as_slice()).map_err(storage)?;
        }
        answers.push(known.unwrap_or(answer));
    }
    Ok(Ok(answers))
}

/// Forgets the oldest votes that expired before `cutoff_ms`, at most `count`; gives the latest expiry forgotten.
fn prune(votes: &mut Table<'_, &KeyBytes, &[u8]>, cutoff_ms: u64, count: usize) -> Result<Option<u64>, JournalError> {
    let mut forgotten_ms = None;
    for _ in 0..count {
        let Some(first) = votes.first().map_err(storage)?.map(|(key, _)| *key.value()) else { break };
        if expiry_ms(&first) >= cutoff_ms {
            break;
        }
        votes.remove(&first).map_err(storage)?;
        forgotten_ms = Some(expiry_ms(&first));
    }
    Ok(forgotten_ms)
}
