//! What happens in the run of a seed.

use dropbear_engine::sim::Link;

use crate::random::Random;

/// How a member breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treason {
    /// It is not there.
    Silent,
    /// Noise on every channel.
    Garbage,
    /// Old messages again.
    Replay,
    /// It supports every block and every way out.
    Equivocate,
    /// It runs twice.
    Twins,
    /// It attests a second header at every seq.
    AttestTwice,
    /// It never proposes anything.
    Censor,
    /// It is honest, and loses its disk on the way.
    LoseDisk,
    /// It is honest, and gets an old copy of its disk on the way.
    RollBack,
}

const TREASONS: [Treason; 9] = [
    Treason::Silent,
    Treason::Garbage,
    Treason::Replay,
    Treason::Equivocate,
    Treason::Twins,
    Treason::AttestTwice,
    Treason::Censor,
    Treason::LoseDisk,
    Treason::RollBack,
];

/// Something that happens to honest members.
#[derive(Clone, Debug)]
pub(crate) enum Accident {
    /// The process is killed, and started again after so long.
    Kill { member: usize, ms: u64 },
    /// The power fails under one member, for so long.
    PowerFailure { member: usize, ms: u64 },
    /// The disk is full for so long.
    DiskFull { member: usize, ms: u64 },
    /// Members of different groups do not reach each other for so long.
    Partition { groups: Vec<Vec<usize>>, ms: u64 },
    /// Connections are like this from now on.
    Weather(Link),
}

/// One life of the whole committee: it begins with a start, and ends with a failure of everybody's power.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// With the pause before each.
    pub(crate) accidents: Vec<(u64, Accident)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) members: usize,
    pub(crate) link: Link,
    /// By member.
    pub(crate) treasons: Vec<Option<Treason>>,
    /// How far each clock is ahead.
    pub(crate) clocks_ahead_ms: Vec<i64>,
    pub(crate) gateways: usize,
    pub(crate) lives: Vec<Life>,
}

pub(crate) const CALM: Link = Link { latency_ms: 5, jitter_ms: 2, loss_permille: 0 };

fn link(random: &mut Random) -> Link {
    match random.below(4) {
        0 => CALM,
        1 => Link { latency_ms: 20, jitter_ms: 10, loss_permille: 10 },
        2 => Link { latency_ms: 5 + random.below(60), jitter_ms: random.below(40), loss_permille: random.below(80) },
        _ => Link { latency_ms: 10, jitter_ms: 30, loss_permille: random.below(200) },
    }
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let members = random.choose(&[4, 4, 4, 4, 5, 7, 7, 10]);
        let faults = (members - 1) / 3;
        let mut treasons = vec![None; members];
        let mut order: Vec<_> = (0..members).collect();
        random.shuffle(&mut order);
        let traitors = random.index(faults + 1);
        for member in &order[..traitors] {
            treasons[*member] = Some(random.choose(&TREASONS));
        }
        let honest = &order[traitors..];
        let lives = 1 + random.index(2);
        let lives = (0..lives).map(|_| Life::of(&mut random, members, honest)).collect();
        // Within the skew that a committee bears.
        let clocks_ahead_ms = (0..members).map(|_| random.below(2_000) as i64 - 1_000).collect();
        Self { seed, members, link: link(&mut random), treasons, clocks_ahead_ms, gateways: 1 + random.index(3), lives }
    }
}

impl Life {
    fn of(random: &mut Random, members: usize, honest: &[usize]) -> Self {
        let accidents = (0..3 + random.index(6)).map(|_| {
            let (member, ms) = (random.choose(honest), 300 + random.below(4_000));
            let accident = match random.below(8) {
                0 | 1 => Accident::Kill { member, ms },
                2 | 3 => Accident::PowerFailure { member, ms },
                4 => Accident::DiskFull { member, ms },
                5 | 6 => Accident::Partition { groups: groups(random, members), ms },
                _ => Accident::Weather(link(random)),
            };
            (random.below(1_500), accident)
        });
        Self { accidents: accidents.collect() }
    }
}

/// Two sides, and perhaps somebody alone.
fn groups(random: &mut Random, members: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<_> = (0..members).collect();
    random.shuffle(&mut order);
    let cut = 1 + random.index(members - 1);
    let (left, right) = order.split_at(cut);
    vec![left.to_vec(), right.to_vec()]
}
