//! The octets of a message that are sent, where they lie.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;
use core::slice;
use std::io::{self, BufRead, Read};

use crate::body::{LINE_LENGTH, Survey};
use crate::parameter::BodyType;

/// The octets of a message that are sent, in one or more slices of what was parsed; nothing is copied until it is read.
///
/// For a blocking driver it is a [`BufRead`]; for an asynchronous one [`into_cow`](Self::into_cow) makes octets of it, for
/// `Cursor` to read; a loop of one's own takes the slices, by the iterator.
///
/// ```
/// use smtp_proto::message::Message;
///
/// let message = Message::parse(b"From: a@b.example\nBcc: c@d.example,\n e@f.example\nSubject: x\n\ny\n")?;
/// let slices: Vec<&[u8]> = message.content().collect();
/// assert_eq!(slices, [&b"From: a@b.example\n"[..], b"Subject: x\n\ny\n"]);
/// # Ok::<(), smtp_proto::message::MessageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Content<'a> {
    current: &'a [u8],
    rest: slice::Iter<'a, &'a [u8]>,
}

impl<'a> Content<'a> {
    pub(super) fn new(parts: &'a [&'a [u8]]) -> Self {
        Self { current: &[], rest: parts.iter() }
    }

    /// What has not been read, in one piece: borrowed if it is one, else copied.
    pub fn into_cow(mut self) -> Cow<'a, [u8]> {
        match (self.next(), self.next()) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(first), Some(second)) => {
                Cow::Owned([first, second].into_iter().chain(self).flatten().copied().collect())
            }
        }
    }
}

/// Slices that are not empty.
impl<'a> Iterator for Content<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.current.is_empty() {
            self.current = self.rest.next()?;
        }
        Some(core::mem::take(&mut self.current))
    }
}

/// Never fails.
impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// Never fails.
impl BufRead for Content<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.current = self.next().unwrap_or_default();
        Ok(self.current)
    }

    fn consume(&mut self, length: usize) {
        self.current = self.current.get(length..).unwrap_or_default();
    }
}

/// What is left of a message without `gaps`, which are in order and end where lines do.
pub(super) fn without(message: &[u8], gaps: impl Iterator<Item = Range<usize>>) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for gap in gaps {
        parts.extend(message.get(start..gap.start));
        start = gap.end;
    }
    parts.extend(message.get(start..));
    parts.retain(|part| !part.is_empty());
    parts
}

/// Octets of the parts with line ends as CRLF, and whether some are over 127. Only the last part may end without a line
/// end, so that they can be looked at one by one.
pub(super) fn survey(parts: &[&[u8]]) -> (u64, BodyType) {
    let size = parts.iter().map(|part| Survey::of(part).size).sum();
    let eight_bit = parts.iter().any(|part| !part.is_ascii());
    (size, if eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit })
}

/// Where something first is in the parts, in octets before it. It must not reach over line ends.
pub(super) fn find(parts: &[&[u8]], search: impl Fn(&[u8]) -> Option<usize>) -> Option<u64> {
    let mut before = 0;
    for part in parts {
        if let Some(index) = search(part) {
            return Some(before + index as u64);
        }
        before += part.len() as u64;
    }
    None
}

/// Where a line has the first octet that is too many.
pub(super) fn long_line(part: &[u8]) -> Option<usize> {
    let mut start = 0;
    for end in memchr::memchr2_iter(b'\r', b'\n', part).chain([part.len()]) {
        if end - start > LINE_LENGTH {
            return Some(start + LINE_LENGTH);
        }
        start = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-47: an offset counts the parts before the one that it is in.
    #[test]
    fn offsets_count_from_the_beginning() {
        let parts = [&b"ab"[..], b"", b"cde", b"f\0\0"];
        assert_eq!(find(&parts, |part| memchr::memchr(b'\0', part)), Some(6));
        assert_eq!(find(&parts[..3], |part| memchr::memchr(b'\0', part)), None);
    }
}
