//! Seeded mutations of certificates: random damage, and damage that knows the format.

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::samples::corrupt::Raw;

/// A small deterministic generator (SplitMix64): the same seed gives the same mutations everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

/// One mutation of `certificate`; `donor` lends items for swaps.
#[must_use]
pub fn mutate(certificate: &Certificate, donor: &Certificate, dice: &mut Dice) -> Vec<u8> {
    let (mut raw, other) = (Raw::of(certificate), Raw::of(donor));
    match dice.below(10) {
        0 => {
            let item = dice.below(5);
            raw.items[item].clone_from(&other.items[item]);
        }
        1 => raw.attachments = other.attachments,
        2 => {
            let places = raw.items[3].len() / 64;
            let (from, to) = (dice.below(places), dice.below(places));
            let (chunks, _) = raw.items[3].as_chunks_mut::<64>();
            if places > 0 {
                chunks.swap(from, to);
            }
        }
        3 => {
            let item = dice.below(5);
            resize(&mut raw.items[item], dice);
        }
        4 | 5 => {
            let item = dice.below(5);
            damage(&mut raw.items[item], dice);
        }
        6 | 7 => damage(&mut raw.attachments, dice),
        _ => {
            let mut bytes = raw.to_bytes();
            damage(&mut bytes, dice);
            return bytes;
        }
    }
    raw.to_bytes()
}

fn resize(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let length = dice.below(bytes.len() + 40);
    let fill = dice.roll() as u8;
    bytes.resize(length, fill);
}

/// One small change: a bit, a byte, a longer head, a removal or an insertion.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let place = dice.below(bytes.len());
    let value = dice.roll() as u8;
    match (dice.below(5), bytes.get_mut(place)) {
        (0 | 1, Some(byte)) => *byte ^= 1 << (value % 8),
        (2, Some(byte)) => *byte = value,
        (3, Some(_)) => {
            bytes.remove(place);
        }
        (4, Some(byte)) if *byte & 0x1f < 24 => {
            let (major, small) = (*byte & 0xe0, *byte & 0x1f);
            bytes.splice(place..=place, [major | 24, small]);
        }
        _ => bytes.insert(place, value),
    }
}
