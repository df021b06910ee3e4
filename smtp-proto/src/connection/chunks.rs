//! Content on its way out by BDAT (RFC 3030): as it is, in chunks that say how long they are.

use alloc::format;
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
    /// `eight_bit` permits octets over 127.
    pub(super) fn new(eight_bit: bool) -> Self {
        let mut chunks = Self { stage: Vec::new(), eight_bit, taken: 0, finished: false };
        chunks.reserve_header();
        chunks
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
            // Once and for all, since a chunk is never larger.
            self.stage.reserve_exact(limit - self.len());
        }
        self.stage.extend_from_slice(content);
        self.taken += content.len() as u64;
        Ok(content.len())
    }

    /// Sends what is staged as one chunk.
    pub(super) fn seal(&mut self, outbox: &mut Outbox, last: bool) {
        let length = self.len();
        let header = if last { format!("BDAT {length} LAST\r\n") } else { format!("BDAT {length}\r\n") };
        let start = HEADER - header.len();
        if let Some(space) = self.stage.get_mut(start..HEADER) {
            space.copy_from_slice(header.as_bytes());
        }
        outbox.chunk(&mut self.stage, start, header.len());
        self.reserve_header();
    }
}
