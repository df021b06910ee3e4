//! Chance that can be had again.

use std::ops::RangeInclusive;

use crate::peer::random;

/// Chance, all of it from the seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Every purpose has dice of its own, so that one more throw here changes nothing there.
    pub fn new(seed: u64, purpose: u64) -> Self {
        // Seeds are small and neighbours; the steps of splitmix64 put them far apart.
        let mut mixed =
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(purpose.wrapping_mul(0xbf58_476d_1ce4_e5b9));
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ mixed >> 31).max(1))
    }

    /// A number within the range.
    pub fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        let count = range.end() - range.start() + 1;
        // The high half: the low octets of a xorshift are the weaker ones.
        range.start() + usize::try_from(random(&mut self.0) >> 32).unwrap_or(0) % count
    }

    /// True once in so many times, and with 0 never.
    pub fn one_in(&mut self, times: usize) -> bool {
        times > 0 && self.within(1..=times) == 1
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.within(0..=from.len() - 1)]
    }
}
