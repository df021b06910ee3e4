use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::fuzzing::encoded;

const POLICIES: [LineEndings; 3] = [LineEndings::Normalize, LineEndings::Strict, LineEndings::Space];

fn stuffer(line_endings: LineEndings) -> DotStuffer {
    DotStuffer::new(line_endings, LongLines::Send, true)
}

fn whole(content: &[u8]) -> Vec<u8> {
    encoded(&[content], DotStuffer::default(), usize::MAX).unwrap()
}

/// What a server makes of a complete DATA stream: lines up to the lone dot, one leading dot off each.
fn unstuff(mut stream: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut content = Vec::new();
    loop {
        let end = stream.windows(2).position(|pair| pair == b"\r\n").expect("a line ends in CRLF");
        let (line, rest) = stream.split_at(end + 2);
        stream = rest;
        if line == b".\r\n" {
            return (content, stream);
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
}

/// The naive definition of `Normalize`: every line end, of whatever kind, is CRLF, and the last line has one.
fn normalized(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut octets = content.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&b'\n');
                lines.extend_from_slice(b"\r\n");
            }
            b'\n' => lines.extend_from_slice(b"\r\n"),
            other => lines.push(other),
        }
    }
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

fn has_bare_line_ending(content: &[u8]) -> bool {
    let without_crlf: Vec<u8> = content
        .iter()
        .enumerate()
        .filter(|&(i, _)| {
            let pair = |at: usize| content.get(at..at + 2) == Some(b"\r\n");
            !(pair(i) || i > 0 && pair(i - 1))
        })
        .map(|(_, &octet)| octet)
        .collect();
    without_crlf.contains(&b'\r') || without_crlf.contains(&b'\n')
}

// C-42: a CRLF is added where the content does not end in one, and nowhere else.
#[test]
fn the_last_line_is_ended_once() {
    for (content, sent) in [
        (&b"x\r\n"[..], &b"x\r\n.\r\n"[..]),
        (b"x", b"x\r\n.\r\n"),
        (b"", b".\r\n"),
        (b"x\r", b"x\r\n.\r\n"),
        (b"x\n", b"x\r\n.\r\n"),
        (b"x\r\n\r\n", b"x\r\n\r\n.\r\n"),
    ] {
        assert_eq!(whole(content), sent);
    }
}

// C-43, S-13: dots at the start of any line are doubled, the first line included.
#[test]
fn leading_dots_are_doubled() {
    for (content, sent) in [
        (&b"."[..], &b"..\r\n.\r\n"[..]),
        (b"..", b"...\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n\r\n.\r\n", b"a\r\n\r\n..\r\n.\r\n"),
        (b"a.b\r\n", b"a.b\r\n.\r\n"),
        (b"\n.\n", b"\r\n..\r\n.\r\n"),
    ] {
        assert_eq!(whole(content), sent);
    }
}

// C-44
#[test]
fn bare_line_endings_by_policy() {
    let by = |policy, content: &[u8]| encoded(&[content], stuffer(policy), usize::MAX);
    for content in [&b"a\rb"[..], b"a\nb"] {
        assert_eq!(by(LineEndings::Normalize, content).unwrap(), b"a\r\nb\r\n.\r\n");
        assert_eq!(by(LineEndings::Space, content).unwrap(), b"a b\r\n.\r\n");
        assert_eq!(by(LineEndings::Strict, content), Err(BodyError::BareLineEnding { offset: 1 }));
    }
    assert_eq!(by(LineEndings::Strict, b"a\r\nb\r"), Err(BodyError::BareLineEnding { offset: 4 }));
    assert_eq!(by(LineEndings::Strict, b"a\r\r\n"), Err(BodyError::BareLineEnding { offset: 1 }));
    assert_eq!(by(LineEndings::Space, b"\r.\n").unwrap(), b" . \r\n.\r\n");
}

// C-45, C-87: 998 octets pass whatever the policy, a leading dot counted once; the 999th is found wherever the pieces end.
#[test]
fn long_lines_by_policy() {
    let strict = || DotStuffer::new(LineEndings::Normalize, LongLines::Strict, true);
    for first in [b'x', b'.'] {
        let mut line = vec![b'x'; 998];
        line[0] = first;
        let two = [&line[..], b"\r\n", &line, b"\r\n"].concat();
        assert!(encoded(&[&two], strict(), usize::MAX).is_ok());
        let long = [&line[..], b"\r\n", &line, b"y\r\n"].concat();
        for &room in if cfg!(miri) { &[64][..] } else { &[3, 64, 5000] } {
            assert_eq!(encoded(&[&long], strict(), room), Err(BodyError::LineTooLong { offset: 1998 }));
            assert!(encoded(&[&long], DotStuffer::default(), room).is_ok());
        }
    }
}

// C-45: a bare CR or LF that becomes a space counts as one.
#[test]
fn a_space_may_make_a_line_too_long() {
    let line = vec![b'x'; 998];
    for end in [&b"\r"[..], b"\ry", b"\n", b"\r\n"] {
        let stuffer = DotStuffer::new(LineEndings::Space, LongLines::Strict, true);
        let expected = if end == b"\r\n" { Ok(()) } else { Err(BodyError::LineTooLong { offset: 998 }) };
        assert_eq!(encoded(&[&line, end], stuffer, 64).map(|_| ()), expected, "{end:?}");
        assert!(encoded(&[&line, end], self::stuffer(LineEndings::Space), 64).is_ok());
        let stuffer = DotStuffer::new(LineEndings::Space, LongLines::Strict, true);
        assert!(encoded(&[&line[2..], end], stuffer, 64).is_ok());
    }
}

// C-46: an octet over 127 is found where it is.
#[test]
fn seven_bit_content_is_seven_bit() {
    let seven = || DotStuffer::new(LineEndings::Normalize, LongLines::Send, false);
    let content = "ab\r\ncafé\r\n".as_bytes();
    for room in [3, 64] {
        assert_eq!(encoded(&[content], seven(), room), Err(BodyError::EightBit { offset: 7 }));
        assert!(encoded(&[content], DotStuffer::default(), room).is_ok());
    }
}

// C-47
#[test]
fn a_nul_is_refused() {
    for policy in POLICIES {
        assert_eq!(encoded(&[b"a\r\n\0.\r\n"], stuffer(policy), 64), Err(BodyError::Nul { offset: 3 }));
    }
}

// S-10, S-12: what the scanners send, at the start, in the middle and at the end, never gets out, whatever the pieces.
#[test]
fn smuggling_vectors_do_not_get_out() {
    let vectors: [&[u8]; 9] = [
        b"\n.\n",
        b"\n.\r",
        b"\r.\n",
        b"\r.\r",
        b"\n.\r\n",
        b"\r.\r\n",
        b"\r\n.\r\r\n",
        b"\r\r\n.\r\r\n",
        b"\r\n\0.\r\n",
    ];
    for vector in vectors {
        for (before, after) in [(&b""[..], &b"tail\r\n"[..]), (b"head", b"tail"), (b"head\r\n", b"")] {
            let content = [before, vector, after].concat();
            for policy in POLICIES {
                let sent = encoded(&[&content], stuffer(policy), 64);
                for cut in (0..=content.len()).step_by(if cfg!(miri) { 7 } else { 1 }) {
                    let (head, tail) = content.split_at(cut);
                    assert_eq!(encoded(&[head, tail], stuffer(policy), 64), sent);
                }
                let Ok(sent) = sent else { continue };
                assert!(policy != LineEndings::Strict && !vector.contains(&0));
                let (body, terminator) = sent.split_at(sent.len() - 3);
                assert_eq!(terminator, b".\r\n");
                assert!(vectors.iter().all(|vector| !contains(body, vector) || *vector == b"\r\n.\r\n"));
                assert!(!has_bare_line_ending(&sent));
                // Receivers that end a line at any CR or LF, or drop NULs, see one message too.
                let lines = sent.split(|octet| matches!(octet, b'\r' | b'\n'));
                assert_eq!(lines.filter(|line| *line == b".").count(), 1);
            }
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

// K-03, P-02, P-03, S-11, C-43: every content of up to six octets over the octets that matter, in every cut and through every small
// buffer, against the naive definition.
#[test]
fn small_worlds_are_exhausted() {
    const ALPHABET: [u8; 5] = [b'\r', b'\n', b'.', b'a', b'\0'];
    for length in 0..=if cfg!(miri) { 2 } else { 6_u32 } {
        for number in 0..5_usize.pow(length) {
            let content: Vec<u8> = (0..length).map(|place| ALPHABET[number / 5_usize.pow(place) % 5]).collect();
            let sent = encoded(&[&content], DotStuffer::default(), usize::MAX);
            if content.contains(&0) {
                assert!(matches!(sent, Err(BodyError::Nul { .. })));
            } else {
                let sent = sent.as_ref().unwrap();
                assert_eq!(unstuff(sent), (normalized(&content), &[][..]));
                assert!(!has_bare_line_ending(sent));
                assert_eq!(Survey::of(&content).size, normalized(&content).len() as u64);
                let strict = encoded(&[&content], stuffer(LineEndings::Strict), usize::MAX);
                assert_eq!(strict.is_err(), has_bare_line_ending(&content), "{content:?}");
            }
            for cut in 0..=content.len() {
                let (head, tail) = content.split_at(cut);
                for room in [2, 3, 100] {
                    assert_eq!(encoded(&[head, tail], DotStuffer::default(), room), sent);
                }
            }
        }
    }
}

// P-02, P-03: content is looked at a block at a time, which nobody can tell: whatever stands before, at and behind the end of a
// block, however much has to be inserted, and however little room there is, it is as if each octet had come alone.
#[test]
fn blocks_show_nowhere() {
    let (text, limit) = (b"some text, and more of it.\r\n".repeat(20), BLOCK + 4);
    for around in [&b"\r\n."[..], b"\n.", b"\r.", b"\r", b"\n", b"\r\n\r\n..", b"\r\r\n\n.\r", b"."] {
        for many in [1, 3, 80] {
            for start in (0..8).chain(BLOCK - 8..limit) {
                let content = [&text[..start], &around.repeat(many), &text[..100]].concat();
                let alone: Vec<_> = content.chunks(1).collect();
                for policy in POLICIES {
                    let expected = encoded(&alone, stuffer(policy), usize::MAX);
                    for room in [3, BLOCK, GROWN - 1, GROWN, usize::MAX] {
                        assert_eq!(encoded(&[&content], stuffer(policy), room), expected, "{content:?}");
                    }
                }
                assert_eq!(unstuff(&whole(&content)).0, normalized(&content));
            }
        }
    }
    // What may not be sent is found where it is.
    for index in (0..3).chain(BLOCK - 2..BLOCK + 2) {
        for (octet, error) in [
            (0, BodyError::Nul { offset: index as u64 }),
            (0x80, BodyError::EightBit { offset: index as u64 }),
            (b'\n', BodyError::BareLineEnding { offset: index as u64 }),
        ] {
            let mut content = vec![b'x'; 2 * BLOCK];
            content[index] = octet;
            let stuffer = DotStuffer::new(LineEndings::Strict, LongLines::Send, false);
            assert_eq!(encoded(&[&content], stuffer, usize::MAX), Err(error));
        }
    }
}

proptest! {
    // P-02, P-04: cuts and buffer sizes change nothing, errors and their offsets included.
    #[test]
    fn any_cut_gives_the_same_octets(
        content in prop::collection::vec(prop::sample::select(b"\r\n..aaaa\xe9\0".to_vec()), 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        room in 2..40_usize,
        policy in prop::sample::select(POLICIES.to_vec()),
        eight_bit in any::<bool>(),
        long_lines in prop::sample::select(vec![LongLines::Send, LongLines::Strict]),
    ) {
        let stuffer = DotStuffer::new(policy, long_lines, eight_bit);
        let mut offsets: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        offsets.extend([0, content.len()]);
        offsets.sort_unstable();
        let pieces: Vec<&[u8]> = offsets.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect();
        let expected = encoded(&[&content], stuffer.clone(), usize::MAX);
        prop_assert_eq!(encoded(&pieces, stuffer, room), expected);
    }
}
