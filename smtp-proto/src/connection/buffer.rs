//! Octets that go in at one end and out at the other, in memory that grows no further than it has to.

use alloc::vec::Vec;

use zeroize::Zeroize;

/// The least that is reserved, so that small commands do not each grow the buffer.
const SMALL: usize = 512;

/// A queue of octets. Its memory is what was asked for at most at one time, and never doubled.
#[derive(Default)]
pub(super) struct Buffer {
    octets: Vec<u8>,
    /// How many at the front have left.
    gone: usize,
}

impl Buffer {
    /// What is queued.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.octets.get(self.gone..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.octets.len() - self.gone
    }

    /// Where to append `length` octets. What has left makes room before anything grows.
    pub(super) fn room(&mut self, length: usize) -> &mut Vec<u8> {
        if self.octets.capacity() - self.octets.len() < length {
            self.octets.drain(..core::mem::take(&mut self.gone));
            self.octets.reserve_exact(length.max(SMALL.saturating_sub(self.octets.len())));
        }
        &mut self.octets
    }

    /// Takes `length` octets off the front.
    pub(super) fn advance(&mut self, length: usize) {
        self.gone += length;
        if self.gone >= self.octets.len() {
            self.octets.clear();
            self.gone = 0;
        }
    }

    /// Overwrites `length` octets at the front.
    pub(super) fn wipe(&mut self, length: usize) {
        self.octets.iter_mut().skip(self.gone).take(length).for_each(Zeroize::zeroize);
    }

    /// Drops what is queued behind the first `length` octets, and overwrites it, for it may be secret.
    pub(super) fn truncate(&mut self, length: usize) {
        let kept = self.gone.saturating_add(length);
        self.octets.iter_mut().skip(kept).for_each(Zeroize::zeroize);
        self.octets.truncate(kept);
    }

    /// Appends `other` from `start` on. Where nothing is queued the memories change places and nothing is copied.
    pub(super) fn append(&mut self, other: &mut Vec<u8>, start: usize) {
        if self.len() == 0 {
            core::mem::swap(&mut self.octets, other);
            self.gone = start;
        } else {
            let octets = other.get(start..).unwrap_or_default();
            self.room(octets.len()).extend_from_slice(octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // P-09: however appending and taking off alternate, the memory is what is queued at most.
    #[test]
    fn memory_is_not_doubled() {
        let mut buffer = Buffer::default();
        buffer.room(32_768).extend_from_slice(&[1; 32_768]);
        for taken in [1, 100, 30_000, 4096, 7].into_iter().cycle().take(if cfg!(miri) { 5 } else { 1000 }) {
            let taken = taken.min(buffer.len());
            buffer.advance(taken);
            buffer.room(taken).extend(core::iter::repeat_n(2, taken));
            assert_eq!(buffer.len(), 32_768);
            assert_eq!(buffer.octets.capacity(), 32_768);
        }
    }

    #[test]
    fn first_in_first_out() {
        let mut buffer = Buffer::default();
        buffer.room(6).extend_from_slice(b"abcdef");
        buffer.advance(2);
        assert_eq!(buffer.as_slice(), b"cdef");
        buffer.wipe(1);
        buffer.truncate(3);
        assert_eq!(buffer.as_slice(), b"\0de");
        buffer.append(&mut alloc::vec![b'x', b'y'], 1);
        assert_eq!(buffer.as_slice(), b"\0dey");
        buffer.advance(4);
        let mut other = alloc::vec![b'x', b'y'];
        buffer.append(&mut other, 1);
        assert_eq!((buffer.as_slice(), other.len()), (&b"y"[..], 0));
    }
}
