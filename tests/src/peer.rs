//! The server of a transcript. It knows octets and their order, and no SMTP.

use crate::script::{HANDSHAKE, Script};

/// How a stream is cut into pieces.
#[derive(Clone, Debug)]
pub enum Pieces {
    /// As large as possible.
    Whole,
    /// A line at a time.
    Lines,
    /// An octet at a time.
    Octets,
    /// In two at this offset.
    SplitAt(usize),
    /// At random, from this seed.
    Random(u64),
}

impl Pieces {
    /// How many of the octets that begin at `offset` come in one piece; at least one.
    pub fn next(&mut self, offset: usize, octets: &[u8]) -> usize {
        let length = match self {
            Self::Whole => octets.len(),
            Self::Lines => octets.iter().position(|&octet| octet == b'\n').map_or(octets.len(), |lf| lf + 1),
            Self::Octets => 1,
            Self::SplitAt(cut) if offset < *cut => *cut - offset,
            Self::SplitAt(_) => octets.len(),
            Self::Random(seed) => 1 + usize::try_from(random(seed) % 24).unwrap_or_default(),
        };
        length.min(octets.len())
    }
}

/// A small deterministic generator (xorshift), so that a failing seed can be run again.
pub fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// What the server does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// These octets come.
    Octets(&'a [u8]),
    /// The stream ends.
    Eof,
    /// Nothing before the client has said more.
    Nothing,
}

/// The server's side of a transcript.
#[derive(Debug)]
pub struct Peer<'a> {
    script: &'a Script,
    pieces: Pieces,
    /// Everything the client has sent.
    pub received: Vec<u8>,
    /// How many of its own octets it has sent.
    pub sent: usize,
    /// Acts of the application that have begun.
    pub acts: usize,
    /// Handshakes that the client has begun.
    handshakes: usize,
    /// The client said something before the server lines above it had come.
    pub early: Option<String>,
    cut: Option<usize>,
}

impl<'a> Peer<'a> {
    /// A server that sends its octets in `pieces`.
    pub fn new(script: &'a Script, pieces: Pieces) -> Self {
        Self { script, pieces, received: Vec::new(), sent: 0, acts: 1, handshakes: 0, early: None, cut: None }
    }

    /// Has the stream end behind so many of the server's octets, whatever the transcript says.
    #[must_use]
    pub fn cut(mut self, cut: Option<usize>) -> Self {
        self.cut = cut;
        self
    }

    /// The client's octets.
    pub fn receive(&mut self, octets: &[u8]) {
        self.received.extend_from_slice(octets);
        let turn = self.script.turns.iter().find(|turn| self.sent < turn.octets.end);
        if let Some(early) = turn.and_then(|turn| self.received.get(turn.after..)).filter(|early| !early.is_empty()) {
            self.early.get_or_insert_with(|| String::from_utf8_lossy(early).into_owned());
        }
    }

    /// What comes next. To be followed by [`send`](Self::send) with what was taken.
    pub fn due(&mut self) -> Due<'a> {
        let turn = self.script.turns.iter().find(|turn| self.sent < turn.octets.end);
        let end = match turn {
            _ if self.cut.is_some_and(|cut| self.sent >= cut) => return Due::Eof,
            Some(turn)
                if turn.after <= self.received.len()
                    && turn.acts <= self.acts
                    && turn.handshakes <= self.handshakes =>
            {
                turn.octets.end
            }
            None if self.script.eof.is_some_and(|acts| acts <= self.acts)
                && self.received.len() >= self.script.client.len() =>
            {
                return Due::Eof;
            }
            _ => return Due::Nothing,
        };
        let octets = &self.script.server[self.sent..end.min(self.cut.unwrap_or(end))];
        Due::Octets(&octets[..self.pieces.next(self.sent, octets)])
    }

    /// The client's part of a handshake: whether what comes is the server's part of one.
    pub fn handshake(&mut self) -> bool {
        self.handshakes += 1;
        let mut rest = HANDSHAKE;
        while !rest.is_empty() {
            let Due::Octets(octets) = self.due() else { return false };
            let octets = &octets[..octets.len().min(rest.len())];
            let Some(after) = rest.strip_prefix(octets) else { return false };
            self.send(octets.len());
            rest = after;
        }
        true
    }

    /// So many octets have gone to the client.
    pub fn send(&mut self, length: usize) {
        self.sent += length;
    }
}
