//! The text of a reply that owns it: in place where it is short, as nearly all are, and shared where it is not.

use core::ops::Deref;

use bytes::{Bytes, BytesMut};

/// What the final replies of most servers fit in, queue ids included; with its length it is as long as a cache line.
const SHORT: usize = 62;

/// Octets that cost no memory of their own where they are few.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Short { length: u8, octets: [u8; SHORT] },
    Long(Bytes),
}

impl Text {
    pub(super) const EMPTY: Self = Self::Short { length: 0, octets: [0; SHORT] };

    /// One line that is short, as nearly all are.
    pub(super) fn short(line: &[u8]) -> Option<Self> {
        let mut octets = [0; SHORT];
        octets.get_mut(..line.len())?.copy_from_slice(line);
        // It is at most `SHORT`.
        Some(Self::Short { length: line.len() as u8, octets })
    }

    /// Lines, joined by LF, up to `limit` octets; and whether that is all.
    pub(super) fn joined<'a>(lines: impl Iterator<Item = &'a [u8]> + Clone, limit: usize) -> (Self, bool) {
        let length = lines.clone().map(|line| line.len() + 1).sum::<usize>().saturating_sub(1);
        let kept = length.min(limit);
        let text = if kept <= SHORT {
            let (mut octets, mut end) = ([0; SHORT], 0);
            pieces(lines, kept, |piece| {
                if let Some(space) = octets.get_mut(end..end + piece.len()) {
                    space.copy_from_slice(piece);
                    end += piece.len();
                }
            });
            Self::Short { length: end as u8, octets }
        } else {
            let mut text = BytesMut::with_capacity(kept);
            pieces(lines, kept, |piece| text.extend_from_slice(piece));
            Self::Long(text.freeze())
        };
        (text, kept == length)
    }
}

/// The first `kept` octets of lines joined by LF.
fn pieces<'a>(lines: impl Iterator<Item = &'a [u8]>, kept: usize, mut put: impl FnMut(&[u8])) {
    let mut room = kept;
    for (index, line) in lines.enumerate() {
        for piece in [if index > 0 { &b"\n"[..] } else { &[] }, line] {
            let piece = piece.get(..room).unwrap_or(piece);
            put(piece);
            room -= piece.len();
        }
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { length, octets } => octets.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(octets) => octets,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    // Short and long, whole and cut, at each length around the border.
    #[test]
    fn texts_of_all_lengths() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 500] {
            let line = vec![b'x'; length];
            let lines = [&line[..], b"y", b""];
            let whole = [&line[..], b"\ny\n"].concat();
            for limit in [0, 1, SHORT - 1, SHORT, SHORT + 1, length + 1, length + 2, length + 3, usize::MAX] {
                let (text, complete) = Text::joined(lines.into_iter(), limit);
                assert_eq!(&*text, &whole[..whole.len().min(limit)]);
                assert_eq!(complete, limit >= whole.len());
                assert_eq!(matches!(text, Text::Short { .. }), text.len() <= SHORT);
            }
            assert_eq!(Text::short(&line).as_deref(), (length <= SHORT).then_some(&line[..]));
        }
        assert_eq!(Text::joined([&b""[..]].into_iter(), 7), (Text::EMPTY, true));
    }
}
