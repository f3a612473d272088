use dropbear_certificates::{SecretKey, Vote};
use tempfile::TempDir;

use super::*;

const NOW_MS: u64 = 1_800_000_000_000;

fn open(folder: &TempDir) -> Journal {
    let owner = SecretKey::from_seed(&[1; 32]).public();
    Journal::open(&folder.path().join("votes.redb"), &[owner], &Digest::of(b"genesis")).unwrap()
}

fn key(id: u8, expiry_ms: u64) -> VoteKey {
    VoteKey { expiry_ms, id: Digest::of(&[id]), version: Digest::of(b"version") }
}

fn answer(class: u32) -> Answer {
    Answer { vote: Vote::Class(class), output: Digest::of(&class.to_be_bytes()) }
}

fn reopen(folder: &TempDir, journal: Journal) -> Journal {
    drop(journal);
    open(folder)
}

#[tokio::test]
async fn the_first_vote_stands_also_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let first = key(1, NOW_MS + 1000);
    assert_eq!(journal.find([first].into_iter()), Ok(vec![None]));
    assert_eq!(journal.settle(NOW_MS, vec![(first, answer(7))]).await, Ok(vec![answer(7)]));
    let journal = reopen(&folder, journal);
    assert_eq!(journal.find([first, key(2, NOW_MS)].into_iter()), Ok(vec![Some(answer(7)), None]));
    let votes = vec![(key(2, NOW_MS + 1000), answer(1)), (first, answer(8))];
    assert_eq!(journal.settle(NOW_MS, votes).await, Ok(vec![answer(1), answer(7)]), "the model changed its mind");
    let other_version = VoteKey { version: Digest::of(b"other"), ..first };
    assert_eq!(journal.settle(NOW_MS, vec![(other_version, answer(8))]).await, Ok(vec![answer(8)]));
}

#[tokio::test]
async fn of_concurrent_votes_on_one_request_all_hear_the_same() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let settle = |class| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.settle(NOW_MS, vec![(key(1, NOW_MS + 1000), answer(class))]).await })
    };
    let tasks: Vec<_> = (0..32).map(settle).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await.unwrap().unwrap());
    }
    assert_eq!(answers.len(), 32);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn what_is_forgotten_is_never_voted_on_again() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    journal.settle(NOW_MS, vec![(key(1, NOW_MS + 10), answer(1))]).await.unwrap();
    let later_ms = NOW_MS + JOURNAL_MARGIN_MS + 11;
    journal.settle(later_ms, vec![(key(2, later_ms + 10), answer(2))]).await.unwrap();
    assert_eq!(journal.find([key(1, NOW_MS + 10)].into_iter()), Ok(vec![None]), "forgotten");
    let journal = reopen(&folder, journal);
    // The clock runs backwards.
    let forgotten = journal.settle(NOW_MS, vec![(key(1, NOW_MS + 10), answer(3))]).await;
    assert_eq!(forgotten, Err(JournalError::Forgotten(key(1, 0).id)));
    assert_eq!(journal.settle(NOW_MS, vec![(key(3, NOW_MS + 11), answer(3))]).await, Ok(vec![answer(3)]));
}

#[tokio::test]
async fn a_refused_ballot_does_not_fail_its_neighbours() {
    let folder = TempDir::new().unwrap();
    let journal = open(&folder);
    let (old, new) = (key(1, NOW_MS), key(2, NOW_MS + JOURNAL_MARGIN_MS * 2));
    journal.settle(NOW_MS + JOURNAL_MARGIN_MS + 1, vec![(old, answer(1))]).await.unwrap();
    let both = [(NOW_MS, vec![(old, answer(2))]), (NOW_MS, vec![(new, answer(2))])];
    let results = journal.0.store.settle(both.into_iter()).unwrap();
    assert_eq!(results, [Err(JournalError::Forgotten(old.id)), Ok(vec![answer(2)])]);
}

#[test]
fn a_journal_has_one_owner_and_one_process() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("votes.redb");
    let journal = open(&folder);
    let owner = SecretKey::from_seed(&[1; 32]).public();
    assert!(matches!(Journal::open(&path, &[owner], &Digest::of(b"genesis")), Err(JournalError::Storage(_))));
    drop(journal);
    let other = SecretKey::from_seed(&[2; 32]).public();
    let foreign = Journal::open(&path, &[other], &Digest::of(b"genesis"));
    assert_eq!(foreign.unwrap_err(), JournalError::Foreign);
}

#[test]
fn a_new_key_takes_over_what_the_old_one_voted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("votes.redb");
    drop(open(&folder));
    let (old, new) = (SecretKey::from_seed(&[1; 32]).public(), SecretKey::from_seed(&[2; 32]).public());
    let genesis = Digest::of(b"genesis");
    drop(Journal::open(&path, &[old, new], &genesis).unwrap());
    drop(Journal::open(&path, &[new], &genesis).unwrap());
    let bazaar = Journal::open(&path, &[new], &Digest::of(b"bazaar"));
    assert_eq!(bazaar.unwrap_err(), JournalError::Foreign);
}
