//! Which fault comes next, to whom, and for how long: a run is its seed.

use std::time::Duration;

use super::Fault;

/// No fault is shorter: it should be noticed.
const LASTS_MS_MIN: u64 = 1_000;
const LASTS_MS_STEP: u64 = 100;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// What.
    pub fault: Fault,
    /// The places of the coordinators that it hits, ascending.
    pub victims: Vec<usize>,
    /// How long until it ends.
    pub lasts: Duration,
}

/// Faults without end. Every kind comes once before any comes again.
#[derive(Clone, Debug)]
pub struct Draws {
    random: Random,
    kinds: Vec<Fault>,
    deck: Vec<Fault>,
    coordinators: usize,
    lasts_ms_max: u64,
    small_disk: usize,
}

impl Draws {
    /// Faults of these kinds for so many coordinators, each up to `lasts_max`.
    #[must_use]
    pub fn new(seed: u64, kinds: Vec<Fault>, coordinators: usize, lasts_max: Duration) -> Self {
        let mut random = Random(seed);
        let small_disk = random.below(coordinators);
        let lasts_ms_max = u64::try_from(lasts_max.as_millis()).unwrap_or(u64::MAX).max(LASTS_MS_MIN);
        Self { random, kinds, deck: Vec::new(), coordinators, lasts_ms_max, small_disk }
    }

    /// The place of the one coordinator whose disk may be full.
    #[must_use]
    pub const fn small_disk(&self) -> usize {
        self.small_disk
    }

    fn victims(&mut self, fault: Fault) -> Vec<usize> {
        let count = match fault {
            Fault::DiskFull => return vec![self.small_disk],
            Fault::Halves => self.coordinators / 2,
            Fault::Kill | Fault::Pause | Fault::Cut => 1,
        };
        let mut places: Vec<_> = (0..self.coordinators).collect();
        self.random.shuffle(&mut places);
        places.truncate(count);
        places.sort_unstable();
        places
    }
}

impl Iterator for Draws {
    type Item = Drawn;

    fn next(&mut self) -> Option<Drawn> {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            self.random.shuffle(&mut self.deck);
        }
        let fault = self.deck.pop()?;
        let victims = self.victims(fault);
        let steps = (self.lasts_ms_max - LASTS_MS_MIN) / LASTS_MS_STEP + 1;
        let step = self.random.below(usize::try_from(steps).unwrap_or(usize::MAX)) as u64;
        Some(Drawn { fault, victims, lasts: Duration::from_millis(LASTS_MS_MIN + step * LASTS_MS_STEP) })
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0. As good as even for bounds this small.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn draws(seed: u64) -> Draws {
        Draws::new(seed, vec![Fault::Kill, Fault::Pause, Fault::DiskFull], 4, Duration::from_secs(5))
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = Random(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn a_seed_is_a_run() {
        let of = |seed| draws(seed).take(50).collect::<Vec<_>>();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn every_kind_comes_in_its_turn_and_full_disks_to_one_alone() {
        let drawn: Vec<_> = draws(7).take(300).collect();
        for turn in drawn.chunks(3) {
            assert_eq!(turn.iter().map(|drawn| drawn.fault).collect::<BTreeSet<_>>().len(), 3);
        }
        let of = |fault| drawn.iter().filter(move |drawn| drawn.fault == fault).flat_map(|drawn| drawn.victims.clone());
        assert_eq!(of(Fault::DiskFull).collect::<BTreeSet<_>>(), BTreeSet::from([draws(7).small_disk()]));
        assert_eq!(of(Fault::Kill).collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2, 3]));
        let lengths = Duration::from_secs(1)..=Duration::from_secs(5);
        assert!(drawn.iter().all(|drawn| lengths.contains(&drawn.lasts)));
    }

    #[test]
    fn halves_are_halves() {
        let mut draws = Draws::new(1, vec![Fault::Halves], 4, Duration::from_secs(1));
        assert_eq!(draws.next().map(|drawn| drawn.victims.len()), Some(2));
    }
}
