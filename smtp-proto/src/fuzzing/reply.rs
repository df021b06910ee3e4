//! Replies: what they say, and that it does not matter how they were cut.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::both_ways;
use crate::{ReplyDecoder, ReplyError, ReplyLimits, parse_reply};

const WORDS: &[&str] = &[
    "250",
    "250-",
    "250 ",
    "550",
    "550-",
    "220 ",
    "354",
    "4",
    "9",
    "0",
    " ",
    "-",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "ok",
    "2_5",
    "\u{1b}[2J",
    "é",
];

/// Whatever octets a server sends are the replies that a reader of RFC 5321 section 4.2 finds in them, and the first that
/// is none ends it. What is shown of a reply has no control character and is not long.
pub fn reply(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else { return };
    both_ways(stream, WORDS, |stream| drop(judged(stream, &limits(choice))));
}

/// What is found in a stream, which is what has to be.
fn judged(stream: &[u8], limits: &ReplyLimits) -> Seen {
    let (replies, error) = parsed(stream, limits);
    let (expected, broken) = read(stream, limits);
    assert_eq!(replies, expected, "{stream:?}");
    assert_eq!(error.is_some(), broken, "{error:?} {stream:?}");
    (replies, error)
}

/// The same in every two pieces too. Whether the stream is broken.
#[cfg(test)]
pub(crate) fn agree(stream: &[u8], limits: &ReplyLimits) -> bool {
    let whole = judged(stream, limits);
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        assert_eq!(decoded(&[head, tail], limits), whole, "{stream:?} cut at {cut}");
    }
    whole.1.is_some()
}

/// The decoder finds what the whole-buffer parser finds, error included, for every cut into two of what is short, every
/// cut into three of what is very short, and one octet at a time; and it never recovers.
pub fn reply_splits(data: &[u8]) {
    let Some((&choice, stream)) = data.split_first() else { return };
    both_ways(stream, WORDS, |stream| {
        let limits = limits(choice);
        let whole = parsed(stream, &limits);
        let agree = |pieces: &[&[u8]]| assert_eq!(decoded(pieces, &limits), whole);
        agree(&[stream]);
        agree(&stream.chunks(1).collect::<Vec<_>>());
        agree(&stream.chunks(usize::from(choice / 4) + 2).collect::<Vec<_>>());
        for cut in 0..=stream.len().min(100) {
            let (head, tail) = stream.split_at(cut);
            agree(&[head, tail]);
            if stream.len() <= 24 {
                for second in 0..=tail.len() {
                    let (middle, end) = tail.split_at(second);
                    agree(&[head, middle, end]);
                }
            }
        }
    });
}

/// Small limits, so that short inputs reach them, or the usual ones.
fn limits(choice: u8) -> ReplyLimits {
    let bare_lf = choice & 1 == 0;
    match choice & 2 {
        0 => ReplyLimits { bare_lf, ..ReplyLimits::default() },
        _ => ReplyLimits { line: 16, total: 64, lines: 4, bare_lf, ..ReplyLimits::default() },
    }
}

/// Code and text of each reply.
type Replies = Vec<(u16, Vec<u8>)>;

/// Reads as one would by hand. Also whether what follows can be no reply any more.
fn read(mut stream: &[u8], limits: &ReplyLimits) -> (Replies, bool) {
    let mut replies = Replies::new();
    'reply: loop {
        let (mut texts, mut codes, mut length) = (Vec::new(), Vec::new(), 0);
        for line in stream.split_inclusive(|&octet| octet == b'\n') {
            length += line.len();
            if line.len() > limits.line || length > limits.total {
                return (replies, true);
            }
            let Some(ended) = line.strip_suffix(b"\n") else { return (replies, false) };
            let (content, bare) = ended.strip_suffix(b"\r").map_or((ended, true), |content| (content, false));
            let code = content.get(..3).and_then(|code| core::str::from_utf8(code).ok());
            let digits = code.filter(|code| code.bytes().all(|octet| octet.is_ascii_digit()));
            let number: Option<u16> = digits.and_then(|code| code.parse().ok());
            let Some(number) = number.filter(|number| (200..600).contains(number)) else { return (replies, true) };
            let separator = content.get(3).copied().unwrap_or(b' ');
            codes.push(number);
            texts.push(content.get(4..).unwrap_or_default());
            let wrong = bare && !limits.bare_lf
                || content.contains(&0)
                || !b" -".contains(&separator)
                || codes.len() > limits.lines
                || codes.iter().any(|code| *code != number);
            if wrong {
                return (replies, true);
            }
            if separator == b' ' {
                replies.push((number, texts.join(&b'\n')));
                stream = &stream[length..];
                continue 'reply;
            }
        }
        return (replies, false);
    }
}

type Seen = (Replies, Option<ReplyError>);

fn parsed(mut stream: &[u8], limits: &ReplyLimits) -> Seen {
    let mut replies = Replies::new();
    loop {
        match parse_reply(stream, limits) {
            Ok(Some((view, length))) => {
                let reply = view.to_owned();
                assert!(view.lines().eq(reply.lines()));
                let shown = reply.to_string();
                assert!(!shown.chars().any(char::is_control) && shown.len() < 4096, "{shown:?}");
                replies.push((reply.code().get(), reply.text().to_vec()));
                stream = &stream[length..];
            }
            Ok(None) => return (replies, None),
            Err(error) => return (replies, Some(error)),
        }
    }
}

fn decoded(pieces: &[&[u8]], limits: &ReplyLimits) -> Seen {
    let mut decoder = ReplyDecoder::new(limits.clone());
    let mut replies = Replies::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match decoder.decode(rest) {
                Ok((taken, reply)) => {
                    assert!(taken > 0);
                    rest = &rest[taken..];
                    let between = reply.is_some();
                    replies.extend(reply.map(|reply| (reply.code().get(), reply.to_owned().text().to_vec())));
                    assert_eq!(decoder.is_empty(), between);
                }
                Err(error) => {
                    assert_eq!(decoder.decode(b"250 ok\r\n"), Err(error));
                    return (replies, Some(error));
                }
            }
        }
    }
    (replies, None)
}
