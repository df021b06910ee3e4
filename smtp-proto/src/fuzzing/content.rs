//! Content on its way into DATA.

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};

use super::both_ways;
use crate::body::LINE_LENGTH;
use crate::{BodyError, DotStuffer, LineEndings, LongLines, ReversePath, Transaction};

const WORDS: &[&str] = &["\r\n", "\r", "\n", ".", "..", "a", "\r\n.\r\n", " ", "\0", "é"];

/// How content is to be encoded.
#[derive(Clone, Copy)]
struct Manner {
    line_endings: LineEndings,
    long_lines: LongLines,
    eight_bit: bool,
}

impl Manner {
    fn stuffer(self) -> DotStuffer {
        DotStuffer::new(self.line_endings, self.long_lines, self.eight_bit)
    }
}

/// However content is cut and whatever room there is, it is refused for its first fault, or what leaves has one terminator,
/// at its end, and is the content with its line ends as they have to be once the dots are taken out again. And that is as
/// long as was declared.
pub fn content(data: &[u8]) {
    let Some((&choice, content)) = data.split_first() else { return };
    let line_endings = match choice % 3 {
        0 => LineEndings::Normalize,
        1 => LineEndings::Strict,
        _ => LineEndings::Space,
    };
    let long_lines = if choice & 4 == 0 { LongLines::Send } else { LongLines::Strict };
    let manner = Manner { line_endings, long_lines, eight_bit: choice & 8 == 0 };
    both_ways(content, WORDS, |content| {
        let whole = encoded(&[content], manner.stuffer(), usize::MAX);
        assert_eq!(whole.as_ref().err(), first_fault(content, manner).as_ref());
        assert_eq!(encoded(&content.chunks(1).collect::<Vec<_>>(), manner.stuffer(), 3), whole);
        let cuts = if content.len() <= 40 { 0..=content.len() } else { usize::from(choice)..=usize::from(choice) };
        for cut in cuts {
            let (head, tail) = content.split_at(cut.min(content.len()));
            assert_eq!(encoded(&[head, tail], manner.stuffer(), 5 + usize::from(choice / 16)), whole);
        }
        if let Ok(sent) = whole {
            check_terminator(&sent);
            assert_eq!(unstuffed(&sent), with_line_ends(content, line_endings));
        }
        let declared = Transaction::new(ReversePath::null()).content(content).size;
        assert_eq!(declared, Some(with_line_ends(content, LineEndings::Normalize).len() as u64));
    });
}

/// Octets as they have to arrive, by looking at one after the other.
fn with_line_ends(content: &[u8], line_endings: LineEndings) -> Vec<u8> {
    let bare: &[u8] = if line_endings == LineEndings::Space { b" " } else { b"\r\n" };
    let mut arrived = Vec::new();
    let mut rest = content;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match (octet, after.first()) {
            (b'\r', Some(b'\n')) => {
                arrived.extend_from_slice(b"\r\n");
                rest = &after[1..];
            }
            (b'\r' | b'\n', _) => arrived.extend_from_slice(bare),
            _ => arrived.push(octet),
        }
    }
    if !arrived.is_empty() && !arrived.ends_with(b"\r\n") {
        arrived.extend_from_slice(b"\r\n");
    }
    arrived
}

/// What is wrong with content, by looking at one octet after the other.
fn first_fault(content: &[u8], manner: Manner) -> Option<BodyError> {
    let mut column = 0;
    for (index, &octet) in content.iter().enumerate() {
        let offset = index as u64;
        let crlf = |index: usize| content.get(index) == Some(&b'\r') && content.get(index + 1) == Some(&b'\n');
        let line_end = matches!(octet, b'\r' | b'\n');
        if line_end && (crlf(index) || index > 0 && crlf(index - 1)) {
            column = 0;
            continue;
        }
        match manner.line_endings {
            LineEndings::Strict if line_end => return Some(BodyError::BareLineEnding { offset }),
            LineEndings::Normalize if line_end => {
                column = 0;
                continue;
            }
            _ if octet == 0 => return Some(BodyError::Nul { offset }),
            _ => column += 1,
        }
        if column > LINE_LENGTH && manner.long_lines == LongLines::Strict {
            return Some(BodyError::LineTooLong { offset });
        }
        if octet > 127 && !manner.eight_bit {
            return Some(BodyError::EightBit { offset });
        }
    }
    None
}

/// One terminator, at the end; no bare CR or LF, and no NUL.
fn check_terminator(sent: &[u8]) {
    let terminator = sent.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5);
    assert!(sent == b".\r\n" || !sent.starts_with(b".\r\n") && terminator == Some(sent.len()));
    for (index, octet) in sent.iter().enumerate() {
        match octet {
            b'\r' => assert_eq!(sent.get(index + 1), Some(&b'\n')),
            b'\n' => assert_eq!(index.checked_sub(1).map(|before| sent[before]), Some(b'\r')),
            octet => assert_ne!(*octet, 0),
        }
    }
}

/// Content as a receiver has it (RFC 5321 section 4.5.2).
fn unstuffed(sent: &[u8]) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = sent.split_inclusive(|&octet| octet == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b".\r\n"[..]));
    lines.iter().flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect()
}

const ENDINGS: &[&str] = &["\r", "\n", ".", "a", "\0", " ", "\r\n", "\r\n.\r\n", "\n.\n", "\r.\r", "QUIT"];

/// What each policy makes of stray CR and LF. What leaves is one message also to servers that end lines where they should
/// not, or drop NULs; and no policy changes anything but stray line ends.
pub fn line_endings(data: &[u8]) {
    both_ways(data, ENDINGS, |content| {
        let made = |line_endings| {
            let manner = Manner { line_endings, long_lines: LongLines::Send, eight_bit: true };
            encoded(&[content], manner.stuffer(), usize::MAX)
        };
        let stray = content
            .iter()
            .enumerate()
            .filter(|&(index, octet)| match octet {
                b'\r' => content.get(index + 1) != Some(&b'\n'),
                b'\n' => index == 0 || content[index - 1] != b'\r',
                _ => false,
            })
            .count();
        let has_nul = content.contains(&0);
        let unended = usize::from(!content.is_empty() && !content.ends_with(b"\r\n")) * 2;
        let others =
            |octets: &[u8]| -> Vec<u8> { octets.iter().copied().filter(|octet| !b"\r\n".contains(octet)).collect() };
        let [normal, strict, space] = [LineEndings::Normalize, LineEndings::Strict, LineEndings::Space].map(made);
        assert_eq!(strict.is_ok(), stray == 0 && !has_nul);
        for sent in [&normal, &strict, &space] {
            assert!(sent.is_ok() || has_nul || stray > 0);
            let Ok(sent) = sent else { continue };
            check_receivers(sent);
            assert!(stray > 0 || normal.as_ref() == Ok(sent));
        }
        assert_eq!((normal.is_ok(), space.is_ok()), (!has_nul, !has_nul));
        if let Ok(sent) = normal {
            assert_eq!(others(&unstuffed(&sent)), others(content));
        }
        if let Ok(sent) = space {
            let arrived = unstuffed(&sent);
            assert_eq!(arrived.len(), content.len() + unended);
            assert_eq!(
                arrived.iter().filter(|octet| **octet == b' ').count(),
                stray + content.iter().filter(|octet| **octet == b' ').count()
            );
        }
    });
}

/// Receivers that end lines at CRLF, at LF, or at any CR or LF, NULs dropped: to all of them the message has the same lines
/// and ends with the last.
fn check_receivers(sent: &[u8]) {
    let without_nul: Vec<u8> = sent.iter().copied().filter(|octet| *octet != 0).collect();
    let mut by_crlf: Vec<Vec<u8>> = Vec::new();
    let mut rest = &without_nul[..];
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        by_crlf.push(rest[..end].to_vec());
        rest = &rest[end + 2..];
    }
    assert!(rest.is_empty() && by_crlf.iter().position(|line| line == b".") == Some(by_crlf.len() - 1));
    let by_lf = without_nul.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let by_either = without_nul.split(|octet| b"\r\n".contains(octet)).step_by(2);
    // Behind the last end there is nothing more, and between a CR and its LF neither.
    assert!(by_lf.eq(by_crlf.iter().map(Vec::as_slice).chain([&b""[..]])));
    assert!(by_either.eq(by_crlf.iter().map(Vec::as_slice).chain([&b""[..]])));
}

/// Encodes `pieces` through a buffer that takes at most `room` octets at a time.
pub(crate) fn encoded(pieces: &[&[u8]], mut stuffer: DotStuffer, room: usize) -> Result<Vec<u8>, BodyError> {
    let mut sent = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let mut out = BytesMut::new();
            let taken = stuffer.encode(rest, &mut (&mut out).limit(room))?;
            assert!(taken > 0 || !out.is_empty(), "no progress");
            rest = &rest[taken..];
            sent.extend_from_slice(&out);
        }
    }
    stuffer.finish(&mut sent)?;
    Ok(sent)
}
