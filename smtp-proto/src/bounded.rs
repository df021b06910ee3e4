//! Small worlds as a whole: whatever there is up to a bound, judged by something naive. Those of single modules stand beside
//! them; this one has what can be tried from outside.
//!
//! Where octets fall into classes that the code cannot tell apart, one of each class is tried, and that they are alike is tried
//! of each octet at each place. What takes minutes in a debug build is `ignored` and runs by
//! `cargo test --release -p smtp-proto --lib bounded -- --ignored`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::fuzzing::{command_lines, enhanced_numbers, replies_agree};
use crate::xtext::{self, XtextError};
use crate::{Capabilities, EnhancedCode, ReplyLimits, parse_reply};

/// Each word of up to `longest` octets of `alphabet`.
fn each_word(alphabet: &[u8], longest: usize, check: &mut impl FnMut(&[u8])) {
    fn grow(word: &mut Vec<u8>, alphabet: &[u8], longest: usize, check: &mut impl FnMut(&[u8])) {
        check(word);
        if word.len() < longest {
            for &octet in alphabet {
                word.push(octet);
                grow(word, alphabet, longest, check);
                word.pop();
            }
        }
    }
    grow(&mut Vec::new(), alphabet, longest, check);
}

/// Runs `check` for each octet, on two threads.
fn each_octet_on_two_threads(check: impl Fn(u8) + Sync) {
    thread::scope(|scope| {
        for half in [0..=127, 128..=u8::MAX] {
            scope.spawn(|| half.for_each(&check));
        }
    });
}

/// What a line that begins with four octets is: an error, the beginning of a reply, or a reply with a code.
fn reply_of([a, b, c, d]: [u8; 4]) -> Option<Option<u16>> {
    let digit = |octet: u8| octet.is_ascii_digit().then(|| u16::from(octet - b'0'));
    let code = digit(a)? * 100 + digit(b)? * 10 + digit(c)?;
    match (code, d) {
        (200..=599, b' ' | b'\n') => Some(Some(code)),
        (200..=599, b'-') => Some(None),
        _ => None,
    }
}

fn check_prefix(prefix: [u8; 4], limits: &ReplyLimits) {
    let [a, b, c, d] = prefix;
    let told =
        parse_reply(&[a, b, c, d, b'\r', b'\n'], limits).map(|reply| reply.map(|(reply, _)| reply.code().get())).ok();
    assert_eq!(told, reply_of(prefix), "{prefix:?}");
}

// K-01, C-04: each octet at each of the first four places, behind and before one of each class that a place can tell apart.
#[test]
#[cfg_attr(miri, ignore = "a world too large")]
fn reply_codes_of_each_class() {
    let classes = *b"2560 -\r\nx\0";
    let limits = ReplyLimits::default();
    for (x, y, z) in triples(&classes) {
        for octet in 0..=u8::MAX {
            for prefix in [[octet, x, y, z], [x, octet, y, z], [x, y, octet, z], [x, y, z, octet]] {
                check_prefix(prefix, &limits);
            }
        }
    }
}

// K-01: all 2^32.
#[test]
#[ignore = "minutes in a debug build"]
fn reply_codes_of_all_prefixes() {
    let limits = ReplyLimits::default();
    each_octet_on_two_threads(|a| {
        for rest in 0..1_u32 << 24 {
            let [_, b, c, d] = rest.to_be_bytes();
            check_prefix([a, b, c, d], &limits);
        }
    });
}

fn triples(octets: &[u8]) -> impl Iterator<Item = (u8, u8, u8)> {
    let pairs = octets.iter().flat_map(|&x| octets.iter().map(move |&y| (x, y)));
    pairs.flat_map(|(x, y)| octets.iter().map(move |&z| (x, y, z)))
}

/// Small enough to be reached by twelve octets.
fn tight() -> ReplyLimits {
    ReplyLimits { line: 7, total: 10, lines: 2, bare_lf: false, ..ReplyLimits::default() }
}

// K-02, P-06: streams of up to five octets of one of each class, in every two pieces.
#[test]
fn streams_of_five_octets() {
    each_word(b"25- \r\nx\0", if cfg!(miri) { 2 } else { 5 }, &mut |stream| {
        replies_agree(stream, &ReplyLimits::default());
        replies_agree(stream, &tight());
    });
}

// K-02, P-06: streams of up to twelve octets, in every two pieces. A code is one of two, whole or broken off; behind an octet
// that spoils its line come no others than what lengthens it and what ends it, and behind the end of a spoilt line nothing.
#[test]
#[cfg_attr(miri, ignore = "a world too large")]
fn streams_of_twelve_octets() {
    fn grow(stream: &mut Vec<u8>, count: &mut u32) {
        *count += 1;
        replies_agree(stream, &tight());
        if replies_agree(stream, &ReplyLimits::default()) {
            return;
        }
        let line = stream.rsplit(|&octet| octet == b'\n').next().unwrap_or_default();
        let next: &[u8] = match line {
            [] => b"25x\n",
            [b'2' | b'5'] => b"5x\n",
            [b'2' | b'5', b'5'] => b"0x\n",
            [b'2' | b'5', b'5', b'0'] => b" -\r\nx",
            [b'2' | b'5', b'5', b'0', b' ' | b'-' | b'\r', rest @ ..] if !rest.contains(&0) => b"x\r\n\0",
            _ => b"x\n",
        };
        if stream.len() < 12 {
            for &octet in next {
                stream.push(octet);
                grow(stream, count);
                stream.pop();
            }
        }
    }
    let mut count = 0;
    grow(&mut Vec::new(), &mut count);
    assert_eq!(count, 22_229);
}

fn check_enhanced(text: &[u8]) {
    let read = EnhancedCode::parse(text).map(|code| (code.class().into(), code.subject(), code.detail()));
    assert_eq!(read, enhanced_numbers(text), "{text:?}");
}

/// A class that there is, a digit that is none, a zero, and what is neither digit nor dot.
const OF_ENHANCED_CODES: &[u8] = b"530.x";

// K-04, C-92: texts of up to eight octets of each class, and each octet at each place of codes as long as can be.
#[test]
fn enhanced_codes_of_eight_octets() {
    each_word(OF_ENHANCED_CODES, if cfg!(miri) { 4 } else { 8 }, &mut check_enhanced);
    for code in ["5.1.1", "2.10.999", "4.999.10", "5.999.999"] {
        for place in 0..code.len() {
            for octet in (0..=u8::MAX).step_by(if cfg!(miri) { 37 } else { 1 }) {
                let mut text = code.as_bytes().to_vec();
                text[place] = octet;
                check_enhanced(&text);
            }
        }
    }
}

// K-04: up to twelve octets.
#[test]
#[ignore = "minutes in a debug build"]
fn enhanced_codes_of_twelve_octets() {
    thread::scope(|scope| {
        for &first in OF_ENHANCED_CODES {
            scope.spawn(move || {
                let mut text = [first].to_vec();
                each_word(OF_ENHANCED_CODES, 11, &mut |rest| {
                    text.truncate(1);
                    text.extend_from_slice(rest);
                    check_enhanced(&text);
                });
            });
        }
    });
}

// K-05, C-86, S-33: sizes of up to 21 digits, by two kinds of digit in every arrangement of three runs: nothing wraps, and what
// is too large for the type is as large as that can be. Against arithmetic in a type that is large enough.
#[test]
fn numbers_of_21_digits() {
    let mut count = 0;
    let mut check = |digits: &str| {
        let line = format!("250-x\r\n250 SIZE {digits}\r\n");
        let (reply, _) = parse_reply(line.as_bytes(), &ReplyLimits::default()).unwrap().unwrap();
        let expected = digits.parse::<u128>().ok().map(|number| u64::try_from(number).unwrap_or(u64::MAX));
        let read = Capabilities::from_reply(&reply.to_owned()).size_limit();
        assert_eq!(read, expected.filter(|number| *number > 0), "{digits}");
        count += 1;
    };
    let runs = |length: usize| (0..=length).flat_map(move |first| (first..=length).map(move |second| (first, second)));
    for length in 0..=if cfg!(miri) { 3 } else { 21 } {
        for (outer, inner) in [('0', '1'), ('9', '0'), ('1', '9'), ('0', '9'), ('9', '9')] {
            for (first, second) in runs(length) {
                let digit = |place| if (first..second).contains(&place) { inner } else { outer };
                check(&(0..length).map(digit).collect::<String>());
            }
        }
    }
    let nearness = if cfg!(miri) { 2 } else { 1000 };
    for near in u128::from(u64::MAX) - nearness..=u128::from(u64::MAX) + nearness {
        check(&format!("{near}"));
        check(&format!("{near:021}"));
    }
    assert!(count > 4000 || cfg!(miri), "{count}");
}

/// Xtext of up to three octets, by hand.
fn xtext_of(text: &str) -> Result<Vec<u8>, XtextError> {
    match text.strip_prefix('+') {
        Some(digits) if digits.len() == 2 && digits.bytes().all(|octet| octet.is_ascii_hexdigit()) => {
            Ok(u8::from_str_radix(digits, 16).into_iter().collect())
        }
        _ => match text.bytes().position(|octet| !octet.is_ascii_graphic() || b"+=".contains(&octet)) {
            Some(offset) => Err(XtextError { offset }),
            None => Ok(text.into()),
        },
    }
}

// K-06, C-90: every text of up to three octets is read as it stands, and every octet comes back from what is written of it.
#[test]
#[cfg_attr(miri, ignore = "a world too large")]
fn xtext_of_three_octets() {
    for number in 0..1 << 24 {
        let [_, octets @ ..] = u32::to_be_bytes(number);
        for text in [&octets[2..], &octets[1..], &octets[..]] {
            // Of the shorter ones there are fewer.
            let shorter = &octets[..3 - text.len()];
            if shorter.iter().all(|octet| *octet == 0) {
                if let Ok(text) = core::str::from_utf8(text) {
                    assert_eq!(xtext::decode(text), xtext_of(text), "{text:?}");
                }
            }
        }
    }
    for octet in 0..=u8::MAX {
        assert_eq!(xtext::decode(&xtext::encode(&[octet])), Ok([octet].into()));
    }
}

/// One of each that any grammar here treats alike, and of those that would end a line for somebody.
const CHARACTERS: [char; 16] =
    ['a', '1', ' ', '\r', '\n', '\0', '\t', '\u{7f}', '@', '.', '-', '<', '>', '"', '\\', '\u{2028}'];

// K-07, P-01, S-20: whatever four characters a command is built from, it is one line, or none.
#[test]
#[cfg_attr(miri, ignore = "a world too large")]
fn commands_of_four_characters() {
    for number in 0..CHARACTERS.len().pow(4) {
        let character = |place: u32| CHARACTERS[number / CHARACTERS.len().pow(place) % CHARACTERS.len()];
        command_lines(&(0..4).map(character).collect::<String>(), "b", 25);
    }
    // Each character at each place of a command that would be one without it.
    for character in ('\0'..='\u{ff}').chain('\u{2000}'..='\u{20ff}') {
        for place in 0..=4 {
            let mut text = String::from("a@b1");
            text.insert(place, character);
            command_lines(&text, "b", 25);
        }
    }
}

/// Base64 of four octets, by hand.
fn check_base64(octets: [u8; 4]) {
    let mut decoded = [0; 3];
    let length = BASE64_STANDARD.decode_slice(octets, &mut decoded).ok();
    let value = |octet: u8| match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let expected = match (octets.map(value), [octets[2], octets[3]]) {
        ([Some(a), Some(b), Some(c), Some(d)], _) => Some((3, [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d])),
        ([Some(a), Some(b), Some(c), None], [_, b'=']) if c & 3 == 0 => {
            Some((2, [a << 2 | b >> 4, b << 4 | c >> 2, 0]))
        }
        ([Some(a), Some(b), None, None], [b'=', b'=']) if b & 15 == 0 => Some((1, [a << 2 | b >> 4, 0, 0])),
        _ => None,
    };
    let told = length.map(|length| &decoded[..length]);
    assert_eq!(told, expected.as_ref().map(|(length, octets)| &octets[..*length]), "{octets:?}");
}

// K-12, C-113: every two octets at either end, with one of each class at the other: digits whose bits padding allows and those
// whose it does not, padding, and what is neither.
#[test]
#[cfg_attr(miri, ignore = "a world too large")]
fn base64_of_each_class() {
    let classes = *b"AgQ/=\n";
    let pairs = classes.into_iter().flat_map(|x| classes.into_iter().map(move |y| (x, y)));
    for (x, y) in pairs {
        for number in 0..=u16::MAX {
            let [a, b] = number.to_be_bytes();
            check_base64([a, b, x, y]);
            check_base64([x, y, a, b]);
        }
    }
}

// K-12: all 2^32.
#[test]
#[ignore = "minutes in a debug build"]
fn base64_of_all_four_octets() {
    each_octet_on_two_threads(|a| {
        for rest in 0..1_u32 << 24 {
            let [_, b, c, d] = rest.to_be_bytes();
            check_base64([a, b, c, d]);
        }
    });
}
