//! Sessions as text: what a driver recorded, and its replay.
//!
//! A record holds how a connection was configured, and when what was sent and received; so it can be replayed, on any machine
//! and at any time, and does the same. That makes a test of a report of a bug. Passwords, tokens and the contents of messages
//! are not in it, only how long they were; addresses and what else was said are.
//!
//! ```
//! use smtp_proto::record::Recording;
//! use smtp_proto::{CloseReason, Event, Outcome};
//!
//! // What `Options::record` of a driver wrote: `record.parse()` where it is a file of its own, by `include_str!`.
//! let record = r"smtp-proto record 1
//! @ hello client.example
//! 21 S 220 mail.example ready\r\n
//! 21 C EHLO client.example\r\n
//! 42 S 250 mail.example\r\n
//! 43 C MAIL FROM:<me@client.example>\r\n
//! 64 S 250 ok\r\n
//! 64 C RCPT TO:<you@mail.example>\r\n
//! 85 S 250 ok\r\n
//! 85 C DATA\r\n
//! 106 S 354 go ahead\r\n
//! 106 C+ 1730
//! 106 C .\r\n
//! 127 S.
//! ";
//! let events = record.parse::<Recording>()?.replay()?;
//! let Some(Event::Completed(report)) = events.iter().rev().nth(1) else { panic!("{events:?}") };
//! assert!(report.recipients().all(|(_, outcome)| *outcome == Outcome::InDoubt));
//! assert_eq!(events.last(), Some(&Event::Closed(CloseReason::Eof)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The text
//!
//! The first line is the one above. Lines that begin with `@` say how the connection was configured, where that was not by
//! default. The others begin with the milliseconds since the session began:
//!
//! | line | meaning |
//! |---|---|
//! | `12 S 250 ok\r\n` | octets came, escaped as in Rust |
//! | `12 S? 24` | so many came that are not told |
//! | `12 S.` | the server's stream ended |
//! | `12 C NOOP\r\n` | octets of commands were taken by the stream |
//! | `12 C+ 512` | so many octets of content were |
//! | `12 C? 24` | so many were that are not told |
//! | `12 C.` | the stream took no more |
//! | `12 .` | the record ends |
//!
//! # What a replay cannot tell
//!
//! Which method of the caller's it was that said something is told from what was said. Of content and of what was said in an
//! authentication a replay sends other octets, as many of them: a mechanism's own judgement, as on a server's signature, is not
//! made again, and neither is what depends on content itself. Recipients who were not told to the server are not known. What
//! ends in a [`Divergence`] though nothing is wrong: XCLIENT, ORCPT in UTF-8, and a line of an authentication that came in
//! pieces.

mod replay;
mod settings;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::str::FromStr;
use core::time::Duration;

pub use self::replay::Divergence;
use crate::config::{Config, Security};
use crate::connection::{Piece, Received};

/// The first line.
const TITLE: &str = "smtp-proto record 1";

/// Writes a record. The caller keeps the clock: `at` is the time since the session began.
#[derive(Debug)]
pub struct Recorder<W> {
    out: W,
}

impl<W: Write> Recorder<W> {
    /// A record of a session that is about to begin.
    ///
    /// # Errors
    ///
    /// [`fmt::Error`] when `out` gives one, here and below.
    pub fn new(mut out: W, config: &Config, security: Security) -> Result<Self, fmt::Error> {
        writeln!(out, "{TITLE}")?;
        settings::write(&mut out, config, security)?;
        Ok(Self { out })
    }

    /// A piece of what [`poll_transmit`](crate::Connection::poll_transmit) offered was taken by the stream.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn sent(&mut self, at: Duration, piece: Piece<'_>) -> fmt::Result {
        let at = at.as_millis();
        match piece {
            Piece::Command(octets) => writeln!(self.out, "{at} C {}", octets.escape_ascii()),
            Piece::Content(length) => writeln!(self.out, "{at} C+ {length}"),
            Piece::Secret(length) => writeln!(self.out, "{at} C? {length}"),
        }
    }

    /// Something came from the server ([`transcribe`](crate::Connection::transcribe)).
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn received(&mut self, at: Duration, received: Received<'_>) -> fmt::Result {
        let at = at.as_millis();
        let (shown, hidden) = received.shown();
        if !shown.is_empty() {
            writeln!(self.out, "{at} S {}", shown.escape_ascii())?;
        }
        if hidden > 0 { writeln!(self.out, "{at} S? {hidden}") } else { Ok(()) }
    }

    /// The server's stream ended ([`handle_eof`](crate::Connection::handle_eof)).
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn ended(&mut self, at: Duration) -> fmt::Result {
        writeln!(self.out, "{} S.", at.as_millis())
    }

    /// The stream took no more ([`handle_write_closed`](crate::Connection::handle_write_closed)).
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn write_closed(&mut self, at: Duration) -> fmt::Result {
        writeln!(self.out, "{} C.", at.as_millis())
    }

    /// Nothing more is recorded. A deadline that has passed by then passes in the replay too.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn finished(&mut self, at: Duration) -> fmt::Result {
        writeln!(self.out, "{} .", at.as_millis())
    }

    /// Where the record is written to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }
}

/// A record, read and ready to be [replayed](Self::replay).
#[derive(Clone, Debug)]
pub struct Recording {
    config: Config,
    security: Security,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Which line of the record it is, counted from 1.
    line: usize,
    at: Duration,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Heard(Vec<u8>),
    HeardHidden(usize),
    Ended,
    Said(Vec<u8>),
    Content(usize),
    Secret(usize),
    WriteClosed,
    Finished,
}

/// Why a text is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not one of a record")]
pub struct RecordError {
    /// The line, counted from 1.
    pub line: usize,
}

impl FromStr for Recording {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, RecordError> {
        let mut lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        if lines.next().is_none_or(|(line, _)| line.trim() != TITLE) {
            return Err(RecordError { line: 1 });
        }
        let (mut config, mut security) = settings::default();
        let mut entries: Vec<Entry> = Vec::new();
        for (text, line) in lines {
            let read = match text.strip_prefix("@ ") {
                Some(setting) => settings::read(setting, &mut config, &mut security),
                None => entry(text).map(|(at, what)| entries.push(Entry { line, at, what })),
            };
            read.ok_or(RecordError { line })?;
        }
        Ok(Self { config, security, entries })
    }
}

fn entry(text: &str) -> Option<(Duration, What)> {
    let (at, rest) = text.split_once(' ')?;
    let at = Duration::from_millis(at.parse().ok()?);
    let (kind, value) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((
        at,
        match kind {
            "S" => What::Heard(unescape(value)?),
            "S?" => What::HeardHidden(value.parse().ok()?),
            "S." => What::Ended,
            "C" => What::Said(unescape(value)?),
            "C+" => What::Content(value.parse().ok()?),
            "C?" => What::Secret(value.parse().ok()?),
            "C." => What::WriteClosed,
            "." => What::Finished,
            _ => return None,
        },
    ))
}

/// Undoes [`slice::escape_ascii`].
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        let (&escape, after) = rest.split_first()?;
        rest = after;
        octets.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?
            }
            b'\\' | b'\'' | b'"' => escape,
            _ => return None,
        });
    }
    (!octets.is_empty()).then_some(octets)
}

/// As many octets as were not told, to stand for them.
fn filler(length: usize) -> String {
    "A".repeat(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::time::Time;

    // What is written is read, whatever the octets.
    #[test]
    fn octets_are_read_back() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(unescape(&alloc::format!("{}", all.escape_ascii())), Some(all));
        for wrong in ["", "\\", "\\x", "\\x1", "\\xg0", "\\q"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    // S-60: what happens is written a line each, and of what is secret only how long it was.
    #[test]
    fn what_is_written() {
        let at = Duration::from_millis;
        let config = Config { automatic_hello: false, ..settings::default().0 };
        let mut recorder = Recorder::new(String::new(), &config, Security::Tls).unwrap();
        recorder.sent(at(1), Piece::Command(b"NOOP\r\n")).unwrap();
        recorder.sent(at(2), Piece::Content(512)).unwrap();
        recorder.sent(at(3), Piece::Secret(24)).unwrap();
        let mut connection = Connection::new(config, Security::Tls);
        recorder.received(at(4), connection.transcribe(b"220 \xff\r\n")).unwrap();
        let hear = |connection: &mut Connection, octets: &[u8]| connection.handle_input(octets, Time::default());
        hear(&mut connection, b"220 x\r\n");
        connection.ehlo().unwrap();
        connection.handle_transmitted(usize::MAX, Time::default());
        hear(&mut connection, b"250-x\r\n250 AUTH X\r\n");
        connection.auth_manual("X", None).unwrap();
        connection.handle_transmitted(usize::MAX, Time::default());
        recorder.received(at(5), connection.transcribe(b"334 c2VjcmV0\r\n")).unwrap();
        hear(&mut connection, b"334 c2Vj");
        recorder.received(at(6), connection.transcribe(b"cmV0\r\n")).unwrap();
        recorder.write_closed(at(7)).unwrap();
        recorder.ended(at(8)).unwrap();
        recorder.finished(at(9)).unwrap();
        let text = core::mem::take(recorder.get_mut());
        let lines = [
            TITLE,
            "@ security Tls",
            "@ automatic_hello false",
            r"1 C NOOP\r\n",
            "2 C+ 512",
            "3 C? 24",
            r"4 S 220 \xff\r\n",
            "5 S 334 ",
            "5 S? 10",
            "6 S? 6",
            "7 C.",
            "8 S.",
            "9 .",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
        let read: Recording = text.parse().unwrap();
        let heard = b"220 \xff\r\n".to_vec();
        let whats = read.entries.iter().map(|entry| (entry.line, entry.at.as_millis(), entry.what.clone()));
        assert_eq!(
            whats.collect::<Vec<_>>(),
            [
                (4, 1, What::Said(b"NOOP\r\n".to_vec())),
                (5, 2, What::Content(512)),
                (6, 3, What::Secret(24)),
                (7, 4, What::Heard(heard)),
                (8, 5, What::Heard(b"334 ".to_vec())),
                (9, 5, What::HeardHidden(10)),
                (10, 6, What::HeardHidden(6)),
                (11, 7, What::WriteClosed),
                (12, 8, What::Ended),
                (13, 9, What::Finished),
            ]
        );
    }

    // What is no record is refused, and where.
    #[test]
    fn what_is_no_record() {
        for (text, line) in [
            ("", 1),
            ("smtp-proto record 2\n", 1),
            ("smtp-proto record 1\n\nhello\n", 3),
            ("smtp-proto record 1\n@ colour blue\n", 2),
            ("smtp-proto record 1\n@ chunking never\n", 2),
            ("smtp-proto record 1\n1 S ok\n-1 S ok\n", 3),
            ("smtp-proto record 1\n1 X ok\n", 2),
            ("smtp-proto record 1\n1 C+ many\n", 2),
        ] {
            assert_eq!(text.parse::<Recording>().err(), Some(RecordError { line }), "{text}");
        }
    }
}
