//! Content on its way out by BDAT (RFC 3030): as it is, in chunks that say how long they are.

use alloc::vec::Vec;

use super::outbox::Outbox;
use crate::body::BodyError;

/// Octets kept free in front of a chunk for its command, so that naming its length moves nothing.
const HEADER: usize = "BDAT 18446744073709551615 LAST\r\n".len();

/// The next chunk, being filled.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Room for the command, then the octets of the chunk.
    stage: Vec<u8>,
    eight_bit: bool,
    /// Octets of content taken so far.
    taken: u64,
    /// Nothing comes after what is staged.
    pub(super) finished: bool,
}

impl Chunks {
    /// `eight_bit` permits octets over 127; the memory of `stage` is used again.
    pub(super) fn new(eight_bit: bool, stage: Vec<u8>) -> Self {
        let mut chunks = Self { stage, eight_bit, taken: 0, finished: false };
        chunks.reserve_header();
        chunks
    }

    /// The memory, for the next message.
    pub(super) fn take_memory(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.stage)
    }

    fn reserve_header(&mut self) {
        self.stage.clear();
        self.stage.resize(HEADER, 0);
    }

    /// Octets staged.
    pub(super) fn len(&self) -> usize {
        self.stage.len() - HEADER
    }

    /// Takes what fits into a chunk of `limit` octets.
    pub(super) fn take(&mut self, content: &[u8], limit: usize) -> Result<usize, BodyError> {
        let room = limit.saturating_sub(self.len());
        let content = content.get(..room).unwrap_or(content);
        if !self.eight_bit {
            if let Some(index) = content.iter().position(|octet| !octet.is_ascii()) {
                return Err(BodyError::EightBit { offset: self.taken + index as u64 });
            }
        }
        if self.stage.capacity() - self.stage.len() < content.len() {
            // By doubling, but to no more than a chunk can be.
            let wanted = (self.len() + content.len()).max(self.len() * 2).min(limit);
            self.stage.reserve_exact(wanted - self.len());
        }
        self.stage.extend_from_slice(content);
        self.taken += content.len() as u64;
        Ok(content.len())
    }

    /// Sends what is staged as one chunk.
    pub(super) fn seal(&mut self, outbox: &mut Outbox, last: bool) {
        let length = self.len();
        let start = self.stage.get_mut(..HEADER).map_or(HEADER, |space| write_header(space, length, last));
        outbox.chunk(&mut self.stage, start, HEADER - start);
        self.reserve_header();
    }
}

/// Writes a chunk's command into the end of `space`, and says where it begins.
fn write_header(space: &mut [u8], length: usize, last: bool) -> usize {
    let mut start = space.len();
    let mut put = |octets: &[u8]| {
        start = start.saturating_sub(octets.len());
        if let Some(space) = space.get_mut(start..start + octets.len()) {
            space.copy_from_slice(octets);
        }
    };
    put(if last { b" LAST\r\n" } else { b"\r\n" });
    let mut rest = length;
    loop {
        put(&[b'0' + (rest % 10) as u8]);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    put(b"BDAT ");
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    // P-09: memory for what is staged grows by doubling, and no further than a chunk.
    #[test]
    fn memory_is_that_of_a_chunk() {
        for piece in [1, 7, 100, 999, 1000, 3000] {
            let mut chunks = Chunks::new(true, Vec::new());
            let mut capacities = alloc::vec![chunks.stage.capacity()];
            while chunks.len() < 1000 {
                assert!(chunks.take(&alloc::vec![b'x'; piece], 1000).is_ok_and(|taken| taken > 0));
                capacities.push(chunks.stage.capacity());
            }
            capacities.dedup();
            assert_eq!(capacities.last(), Some(&(HEADER + 1000)), "{capacities:?}");
            assert!(capacities.len() <= 13, "{capacities:?}");
        }
    }

    // K-11, C-80: whatever the length, the command names it, and fits.
    #[test]
    fn headers_name_the_length() {
        for length in [0, 1, 9, 10, 99, 100, 16_384, 1_000_000, usize::MAX] {
            for (last, end) in [(false, "\r\n"), (true, " LAST\r\n")] {
                let mut space = [0; HEADER];
                let start = write_header(&mut space, length, last);
                let header = alloc::string::String::from_utf8_lossy(&space[start..]).to_string();
                assert_eq!(header, format!("BDAT {length}{end}"));
            }
        }
    }

    /// Chunks that have taken so much already.
    fn after(taken: u64, eight_bit: bool) -> Chunks {
        Chunks { taken, ..Chunks::new(eight_bit, Vec::new()) }
    }

    // K-11, C-80: content of up to eight octets in pieces of any size through chunks of any size: each says how many octets
    // follow it, and those are the content, none left out and none twice.
    #[test]
    #[cfg_attr(miri, ignore = "a world too large")]
    fn lengths_add_up() {
        let content = b"\0.\r\n\xff\n.\r";
        for length in 0..=content.len() {
            for limit in 1..=content.len() + 1 {
                for piece in 1..=content.len() {
                    let (mut chunks, mut outbox) = (Chunks::new(true, Vec::new()), Outbox::default());
                    for mut rest in content[..length].chunks(piece) {
                        while !rest.is_empty() {
                            if chunks.len() == limit {
                                chunks.seal(&mut outbox, false);
                            }
                            let taken = chunks.take(rest, limit).unwrap();
                            assert!(taken > 0 && chunks.len() <= limit);
                            rest = &rest[taken..];
                        }
                    }
                    chunks.seal(&mut outbox, true);
                    assert_eq!((chunks.len(), chunks.taken), (0, length as u64));
                    assert_eq!(dechunked(&outbox.peek().unwrap()), &content[..length]);
                }
            }
        }
    }

    /// What a server makes of chunks.
    fn dechunked(mut said: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let end = said.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let words: Vec<&str> = core::str::from_utf8(&said[..end]).unwrap().split(' ').collect();
            let (chunk, rest) = said[end + 2..].split_at(words[1].parse().unwrap());
            content.extend_from_slice(chunk);
            assert_eq!(words[0], "BDAT");
            if words.get(2) == Some(&"LAST") {
                assert!(rest.is_empty());
                return content;
            }
            said = rest;
        }
    }

    // K-11, S-33: octets are counted up to the last one that a u64 can count, offsets included.
    #[test]
    fn counts_are_exact_to_the_end() {
        for octets in 0..8_u8 {
            let mut chunks = after(u64::MAX - u64::from(octets), true);
            assert_eq!(chunks.take(&[b'x'; 8][..octets.into()], 8).map_err(|_| ()), Ok(octets.into()));
            assert_eq!(chunks.taken, u64::MAX);
            let mut content = [b'x'; 8];
            content[usize::from(octets)] = 0xff;
            let error = after(u64::MAX - u64::from(octets), false).take(&content, 8).unwrap_err();
            assert_eq!(error, BodyError::EightBit { offset: u64::MAX });
        }
    }
}
