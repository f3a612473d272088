//! What a collector makes of honest, late, stale, lying and equivocating owners.

use dropbear_certificates::ballot::votes_root;
use dropbear_certificates::charter::{ModelVersion, Seat as RosterSeat};
use dropbear_certificates::{Answer, BallotStatement, Charter, Policy, SecretKey};

use dropbear_consensus::registry::{Holding, Term, Version};
use dropbear_wire::registry::{GroupState, HoldingView};

use super::*;

const PATIENCE: Duration = Duration::from_millis(100);

fn owner(place: usize) -> SecretKey {
    SecretKey::from_seed(&[place as u8 + 1; 32])
}

fn version(place: usize, version: u8) -> Digest {
    Digest::of(&[place as u8, version])
}

/// Four owners, one fault; owner 3 activates version 1 at seq 10.
fn group() -> Arc<GroupView> {
    let seat = |place| RosterSeat {
        owner: format!("owner-{place}"),
        key: owner(place).public(),
        party: String::new(),
        lineage: String::new(),
    };
    let charter = Charter {
        group: "imagenet".into(),
        task: "image-classification".into(),
        classes: 1000,
        labels: None,
        roster: (0..4).map(seat).collect(),
        policy: Policy::Plurality,
        faults: 1,
        assurance: Assurance::Robust,
        notice_blocks: 1,
        approvals: 3,
        fee: 1,
    };
    let published = |place, label| Version {
        version: ModelVersion { model: "m".into(), label: "v".into(), digest: version(place, label) },
        seq: 1,
        withdrawn: None,
    };
    let holding = |place| {
        let activations = if place == 3 { vec![(1, Some(0)), (10, Some(1))] } else { vec![(1, Some(0))] };
        let versions = vec![published(place, 0), published(place, 1)];
        let holding = Holding { versions, activations, ..Holding::default() };
        (owner(place).public(), HoldingView { holding, serial: 1 })
    };
    let term = Term::new(0, charter);
    let holdings = (0..4).map(holding).collect();
    let state = GroupState { name: "imagenet".into(), terms: vec![term], holdings, proposals: Vec::new() };
    Arc::new(GroupView::at(&Arc::new(state), 1).unwrap())
}

fn wanted(count: u8) -> Vec<Wanted> {
    let wanted =
        |item| Wanted { id: Digest::of(&[item]), vote_salt: Digest::of(&[item, item]), demand: Assurance::Robust };
    (0..count).map(wanted).collect()
}

struct Scene {
    collector: Collector,
    count: u8,
    start: Instant,
}

impl Scene {
    fn new(count: u8) -> Self {
        let collector = Collector::new(Digest::of(b"genesis"), group(), 5, wanted(count));
        Self { collector, count, start: Instant::now() }
    }

    fn ballot(&self, place: usize, of: u8, classes: &[u32]) -> Ballot {
        let wanted = wanted(self.count);
        let answers: Vec<_> =
            classes.iter().map(|class| Answer { vote: Vote::Class(*class), output: Digest::of(b"logits") }).collect();
        let ids: Vec<_> = wanted.iter().map(|wanted| wanted.id).collect();
        let statement = BallotStatement {
            genesis: Digest::of(b"genesis"),
            group: "imagenet".into(),
            charter: group().digest,
            batch: batch_root(&ids),
            count: u64::from(self.count),
            version: version(place, of),
            owner: owner(place).public(),
            expiry_ms: 1,
            votes: votes_root(wanted.iter().map(|wanted| (&wanted.id, &wanted.vote_salt)), &answers),
        };
        Ballot::sign(statement, answers, &owner(place))
    }

    fn send(&mut self, place: usize, classes: &[u32]) -> Result<Taken, BallotFault> {
        let ballot = self.ballot(place, 0, classes);
        self.collector.ballot(place, ballot)
    }

    fn due(&mut self, after_ms: u64) -> Due {
        self.collector.due(self.start + Duration::from_millis(after_ms), PATIENCE, false)
    }

    fn standing(&mut self, item: usize) -> Standing {
        self.collector.finding(item).standing.clone()
    }
}

#[test]
fn three_equal_votes_decide_and_are_due_at_once() {
    let mut scene = Scene::new(1);
    for place in 0..2 {
        assert_eq!(scene.send(place, &[285]), Ok(Taken::Counted));
        assert_eq!(scene.due(0), Due::OnChange);
    }
    scene.send(2, &[285]).unwrap();
    assert_eq!((scene.standing(0), scene.due(0)), (Standing::Agreed(Vote::Class(285)), Due::Now));
    assert_eq!(scene.collector.finding(0).missing, [3]);
}

#[test]
fn all_ballots_can_be_awaited_for_a_while() {
    let mut scene = Scene::new(1);
    (0..3).for_each(|place| assert_eq!(scene.send(place, &[1]), Ok(Taken::Counted)));
    let start = scene.start;
    assert_eq!(scene.collector.due(start, PATIENCE, true), Due::At(start + PATIENCE));
    scene.send(3, &[1]).unwrap();
    assert_eq!(scene.collector.due(start, PATIENCE, true), Due::Now);
}

#[test]
fn disagreement_is_certain_only_with_the_last_ballot() {
    let mut scene = Scene::new(1);
    for (place, class) in [2, 2, 5].into_iter().enumerate() {
        scene.send(place, &[class]).unwrap();
        assert_eq!(scene.standing(0), Standing::Insufficient);
    }
    scene.send(3, &[7]).unwrap();
    assert_eq!((scene.standing(0), scene.due(0)), (Standing::NoAgreement, Due::Now));
}

#[test]
fn a_slow_owner_delays_only_what_needs_it() {
    let mut scene = Scene::new(2);
    for (place, second) in [1, 1, 9].into_iter().enumerate() {
        scene.send(place, &[4, second]).unwrap();
    }
    let start = scene.start;
    assert_eq!(scene.due(0), Due::At(start + PATIENCE));
    assert_eq!(scene.due(100), Due::Now);
    // The first is settled, the second refused as insufficient: nothing is due until the last owner answers.
    scene.collector.close(0);
    scene.collector.exhausted();
    assert_eq!(scene.due(5000), Due::OnChange);
    scene.send(3, &[4, 1]).unwrap();
    assert_eq!((scene.standing(1), scene.due(5000)), (Standing::Agreed(Vote::Class(1)), Due::Now));
    assert_eq!(scene.collector.open().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_stale_ballot_counts_no_more_and_its_owner_is_asked_again() {
    let mut scene = Scene::new(1);
    for place in [0, 1, 3] {
        scene.send(place, &[6]).unwrap();
    }
    assert_eq!(scene.standing(0), Standing::Agreed(Vote::Class(6)));
    assert_eq!(scene.collector.follow(group(), 9), [3]);
    assert_eq!(scene.standing(0), Standing::Insufficient);
    assert_eq!(scene.send(3, &[6]), Ok(Taken::Held), "still the old version");
    let new = scene.ballot(3, 1, &[8]);
    assert_eq!(scene.collector.ballot(3, new), Ok(Taken::Counted), "another version may vote otherwise");
    scene.send(2, &[6]).unwrap();
    assert_eq!(scene.standing(0), Standing::Agreed(Vote::Class(6)));
}

#[test]
fn an_owner_ahead_of_this_gateway_counts_once_the_ledger_is_there() {
    let mut scene = Scene::new(1);
    let early = scene.ballot(3, 1, &[6]);
    assert_eq!(scene.collector.ballot(3, early), Ok(Taken::Held));
    scene.send(0, &[6]).unwrap();
    scene.send(1, &[6]).unwrap();
    assert_eq!(scene.standing(0), Standing::Insufficient);
    assert!(scene.collector.follow(group(), 9).is_empty());
    assert_eq!((scene.standing(0), scene.due(0)), (Standing::Agreed(Vote::Class(6)), Due::Now));
}

#[test]
fn an_equivocating_owner_is_missing_for_good() {
    let mut scene = Scene::new(1);
    scene.send(0, &[6]).unwrap();
    assert_eq!(scene.send(0, &[6]), Ok(Taken::Counted), "the same again is no guilt");
    assert_eq!(scene.send(0, &[7]), Err(BallotFault::Equivocation(0)));
    let found = scene.collector.equivocations();
    let votes: Vec<_> = found[0].ballots.iter().map(|ballot| ballot.answers[0].vote.clone()).collect();
    assert_eq!((found.len(), votes), (1, vec![Vote::Class(6), Vote::Class(7)]));
    assert!(!scene.collector.awaits(0));
    assert_eq!(scene.collector.finding(0).missing, [0, 1, 2, 3]);
}

#[test]
fn bad_ballots_blame_their_sender_and_change_nothing_else() {
    let mut scene = Scene::new(2);
    let mut forged = scene.ballot(1, 0, &[1, 1]);
    forged.signature[3] ^= 1;
    assert_eq!(scene.collector.ballot(1, forged), Err(BallotFault::Invalid(BallotError::Signature)));
    let foreign = scene.ballot(0, 0, &[1, 1]);
    assert_eq!(scene.collector.ballot(2, foreign), Err(BallotFault::OtherOwner));
    let mut changed = scene.ballot(3, 0, &[1, 1]);
    changed.answers[0].vote = Vote::Class(2);
    assert_eq!(scene.collector.ballot(3, changed), Err(BallotFault::Invalid(BallotError::Votes)));
    let mut other = scene.ballot(0, 0, &[1, 1]);
    other.statement.batch = Digest::of(b"other");
    assert_eq!(scene.collector.ballot(0, other), Err(BallotFault::OtherBatch));
    assert_eq!(scene.collector.counted().count(), 0);
}

#[test]
fn a_class_outside_the_charter_is_an_abstention() {
    let mut scene = Scene::new(1);
    scene.send(0, &[1000]).unwrap();
    assert_eq!(scene.collector.finding(0).abstained, [0]);
}
