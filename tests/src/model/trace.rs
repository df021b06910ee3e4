//! What went over the line, read again by the naive client: who said what before which octet of the other, and which reply
//! is whose, by counting.

use super::client::Peer;
use super::{Parsed, parse};

/// Both directions, and which octet came before which.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What the client said.
    pub said: Vec<u8>,
    /// What the client heard.
    pub heard: Vec<u8>,
    /// Where each piece of what was heard ends, and how much the client had said by then.
    arrivals: Vec<(usize, usize)>,
}

impl Trace {
    /// Octets come from the server.
    pub fn hear(&mut self, octets: &[u8]) {
        self.heard.extend_from_slice(octets);
        self.arrivals.push((self.heard.len(), self.said.len()));
    }

    /// The dialogue, line by line.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let (mut heard, mut said) = (0, 0);
        let turns = self.arrivals.iter().copied().chain([(self.heard.len(), self.said.len())]);
        turns.flat_map(move |(heard_to, said_to)| {
            let client = self.said[said..said_to].escape_ascii().to_string();
            let server = self.heard[heard..heard_to].escape_ascii().to_string();
            (heard, said) = (heard_to, said_to);
            [("C: ", client), ("S: ", server)]
                .into_iter()
                .filter(|(_, octets)| !octets.is_empty())
                .map(|(side, octets)| side.to_owned() + &octets)
        })
    }

    /// How much the client had said when this octet came.
    fn said_before(&self, heard: usize) -> usize {
        let piece = self.arrivals.partition_point(|(end, _)| *end <= heard);
        self.arrivals.get(piece).map_or(self.said.len(), |(_, said)| *said)
    }
}

/// The next reply, seen from something that was said.
enum Heard {
    Reply(u16),
    /// It came when that had not left in full.
    Early(u16),
    Nothing,
}

/// Reads a trace.
#[derive(Debug)]
pub struct Reader<'a> {
    trace: &'a Trace,
    /// Where the next command begins.
    at: usize,
    /// Where the next reply begins.
    read: usize,
    /// Where the content ends whose replies are read.
    content: usize,
    /// Whether every command has to wait for the reply to the one before.
    lock_step: bool,
    /// How much the client had said when it heard what ends a session.
    pub ended: Option<usize>,
    /// Something was said before the reply was heard that it has to wait for.
    pub hasty: bool,
}

impl<'a> Reader<'a> {
    /// At the greeting.
    pub fn new(trace: &'a Trace, lock_step: bool) -> Self {
        let mut reader = Self { trace, at: 0, read: 0, content: 0, lock_step, ended: None, hasty: false };
        if !matches!(reader.next(0), Heard::Reply(200..=299)) {
            reader.read = usize::MAX;
        }
        reader
    }

    /// Takes the next reply, of something that ends at `end` of what was said.
    fn next(&mut self, end: usize) -> Heard {
        self.ended = None;
        let Some(rest) = self.trace.heard.get(self.read..) else { return Heard::Nothing };
        let (length, heard) = match parse(rest) {
            Parsed::Incomplete => return Heard::Nothing,
            Parsed::Nonsense(length) => (length, Heard::Nothing),
            Parsed::Reply(code, length) if self.trace.said_before(self.read) < end => (length, Heard::Early(code)),
            Parsed::Reply(code, length) => (length, Heard::Reply(code)),
        };
        self.read += length;
        // What ends a session and what does not, the client says; this is for the case that it does.
        self.ended = Some(self.trace.said_before(self.read - 1));
        if let Heard::Nothing = heard {
            self.read = usize::MAX;
        }
        heard
    }

    /// Whether the next reply may be to what comes next: an octet of that had left when it began.
    fn has_begun(&self) -> bool {
        self.trace.said_before(self.read) > self.at
    }

    /// The next command, and where it ends.
    fn command(&self) -> Option<(&'a [u8], usize)> {
        let rest = self.trace.said.get(self.at..)?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &rest[..end];
        let chunk = line.strip_prefix(b"BDAT ").map_or(0, |argument| {
            let digits = argument.iter().take_while(|octet| octet.is_ascii_digit());
            digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
        });
        Some((line, self.at + end + 2 + chunk))
    }

    /// Where content that begins here ends; beyond all that was said, if it does not.
    fn content_end(&self) -> usize {
        let content = &self.trace.said[self.at..];
        let lone_dot = content.starts_with(b".\r\n").then_some(3);
        let end = lone_dot.or_else(|| content.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| at + 5));
        end.map_or(usize::MAX, |end| self.at + end)
    }
}

impl Peer for Reader<'_> {
    /// Commands that lock-step has no reason for are passed over, with their replies.
    fn ask(&mut self, command: &str) -> Option<u16> {
        loop {
            let (line, end) = self.command().unwrap_or((b"", usize::MAX));
            let begun = self.has_begun();
            let code = match self.next(end) {
                Heard::Reply(code) => code,
                Heard::Early(code @ 400..=599) if begun && line.starts_with(b"BDAT") => code,
                _ => return None,
            };
            self.at = end;
            // Only these may be in a group with what comes next (RFC 2920 section 3.1), and chunks.
            let grouped = [&b"MAIL"[..], b"RCPT", b"RSET", b"BDAT"].iter().any(|verb| line.starts_with(verb));
            self.hasty |= (self.lock_step || !grouped) && self.ended.is_some_and(|said| said > end);
            if line.get(..4) == command.as_bytes().get(..4) {
                return Some(code);
            }
            match (line, code) {
                (b"DATA", 354) => {
                    // The lone dot of a message to nobody, which does for RSET.
                    self.at = self.content_end();
                    let Heard::Reply(code) = self.next(self.at) else { return None };
                    if code == 421 || code / 100 == 3 {
                        return None;
                    }
                    if command.starts_with("RSET") {
                        return Some(250);
                    }
                }
                (_, 421 | 300..=399) | (b"RSET", 400..) => return None,
                _ => {}
            }
        }
    }

    fn pour(&mut self, _: &[u8], chunked: bool) -> Result<(), Option<u16>> {
        let (last, end) = match self.command() {
            _ if !chunked => (true, self.content_end()),
            Some((line, end)) if line.starts_with(b"BDAT") => (line.ends_with(b"LAST"), end),
            _ => (false, usize::MAX),
        };
        let left = end <= self.trace.said.len();
        let (read, begun) = (self.read, self.has_begun());
        match self.next(end) {
            Heard::Early(_) if chunked && !begun => return Err(None),
            // While there are chunks to come, a farewell is no answer to this one.
            Heard::Early(code @ 400..=599) if code != 421 || last => {
                // A chunk is finished all the same.
                self.at = if left { end } else { self.at };
                return Err(Some(code));
            }
            _ if !left => return Err(None),
            _ => self.read = read,
        }
        (self.at, self.content) = (end, end);
        Ok(())
    }

    fn is_ahead(&self, turn: usize) -> bool {
        let mut reader = Reader { at: 0, ended: None, ..*self };
        let mut turns = 0;
        while let Some((line, end)) = reader.command().filter(|(_, end)| *end <= self.trace.said.len()) {
            turns += usize::from(line.starts_with(b"MAIL"));
            if turns == turn + 1 && line.starts_with(b"BDAT") && line.ends_with(b"LAST") {
                return true;
            }
            reader.at = end;
        }
        false
    }

    fn reply(&mut self) -> Option<u16> {
        match self.next(self.content) {
            Heard::Reply(code) => {
                self.hasty |= self.lock_step && self.ended.is_some_and(|said| said > self.content);
                Some(code)
            }
            _ => None,
        }
    }
}
