//! Octets on their way out, kept until the transport has taken them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use bytes::BufMut;
use bytes::buf::Limit;

use super::buffer::Buffer;
use crate::command::{Command, ContentUrl, LINE_LIMIT};
use crate::escape::Escaped;

/// Octets of the line that ends content sent by DATA.
const TERMINATOR: u64 = 3;

/// The outgoing stream: what was queued and not yet transmitted, and how far it has come.
#[derive(Default)]
pub(super) struct Outbox {
    buffer: Buffer,
    transmitted: u64,
    /// Which part of the stream is what, oldest first; neighbours differ in kind.
    runs: VecDeque<Run>,
}

/// A stretch of the stream, up to an offset.
#[derive(Clone, Copy)]
struct Run {
    kind: Kind,
    end: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Content,
    /// The line that ends content sent by DATA.
    Terminator,
    /// What a log must not show; overwritten once it has left.
    Secret,
}

impl Outbox {
    /// Appends a command and returns its length.
    pub(super) fn command(&mut self, command: &Command<'_>) -> usize {
        let length = command.length();
        command.encode(self.buffer.room(length));
        self.mark(Kind::Command);
        length
    }

    /// Appends AUTH; the initial response, already encoded, is secret.
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>) {
        // All at once, so that growing leaves no copy of the secret behind.
        self.buffer.room(LINE_LIMIT);
        self.put(Kind::Command, &["AUTH ", mechanism, if initial.is_some() { " " } else { "\r\n" }]);
        if let Some(initial) = initial {
            self.secret_line(initial);
        }
    }

    /// Appends BURL, by which the server fetches content, all of it or the last of it where it is `last`.
    pub(super) fn burl(&mut self, url: &ContentUrl, last: bool) {
        self.buffer.room(LINE_LIMIT);
        self.put(Kind::Command, &["BURL "]);
        self.put(Kind::Secret, &[url.expose()]);
        self.put(Kind::Command, &[if last { " LAST\r\n" } else { "\r\n" }]);
    }

    /// Appends a line that is secret and returns its length.
    pub(super) fn secret_line(&mut self, line: &str) -> usize {
        let length = line.len() + "\r\n".len();
        self.buffer.room(length);
        self.put(Kind::Secret, &[line, "\r\n"]);
        length
    }

    fn put(&mut self, kind: Kind, parts: &[&str]) {
        for part in parts {
            self.buffer.room(part.len()).extend_from_slice(part.as_bytes());
        }
        self.mark(kind);
    }

    /// Appends at most `limit` octets of content by way of `write`.
    pub(super) fn content<T>(&mut self, limit: usize, write: impl FnOnce(&mut Limit<&mut Vec<u8>>) -> T) -> T {
        let written = write(&mut self.buffer.room(limit).limit(limit));
        self.mark(Kind::Content);
        written
    }

    /// The last three octets of the content just appended are its terminator.
    pub(super) fn end_content(&mut self) {
        let (start, end) = (self.end() - TERMINATOR, self.end());
        if let Some(content) = self.runs.back_mut() {
            content.end = start;
        }
        let before = self.runs.len().checked_sub(2).and_then(|index| self.runs.get(index));
        if before.map_or(self.transmitted, |run| run.end) == start {
            self.runs.pop_back();
        }
        self.runs.push_back(Run { kind: Kind::Terminator, end });
    }

    /// Appends a chunk, which begins at `start` of `chunk` with its command of `header` octets. Where nothing else is
    /// waiting the buffers change places and nothing is copied.
    pub(super) fn chunk(&mut self, chunk: &mut Vec<u8>, start: usize, header: usize) {
        let command = self.end() + header as u64;
        self.buffer.append(chunk, start);
        self.mark_to(Kind::Command, command);
        self.mark(Kind::Content);
    }

    /// Drops what was queued behind an offset of the stream.
    pub(super) fn truncate(&mut self, end: u64) {
        let kept = usize::try_from(end.saturating_sub(self.transmitted)).unwrap_or(usize::MAX);
        self.buffer.truncate(kept);
        while self.runs.back().is_some_and(|run| run.end > end) {
            let cut = self.runs.pop_back();
            let start = self.runs.back().map_or(self.transmitted, |run| run.end);
            self.runs.extend(cut.filter(|_| start < end).map(|run| Run { end, ..run }));
        }
    }

    fn mark(&mut self, kind: Kind) {
        self.mark_to(kind, self.end());
    }

    fn mark_to(&mut self, kind: Kind, end: u64) {
        let start = self.runs.back().map_or(self.transmitted, |run| run.end);
        match self.runs.back_mut() {
            Some(last) if last.kind == kind => last.end = end,
            _ if start < end => self.runs.push_back(Run { kind, end }),
            _ => {}
        }
    }

    /// Octets not yet transmitted.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The stream offset up to which the transport has taken octets.
    pub(super) fn transmitted(&self) -> u64 {
        self.transmitted
    }

    /// The stream offset behind everything queued.
    pub(super) fn end(&self) -> u64 {
        self.transmitted + self.buffer.len() as u64
    }

    /// Whether the next octet to be transmitted belongs to content.
    pub(super) fn is_sending_content(&self) -> bool {
        self.runs.front().is_some_and(|run| matches!(run.kind, Kind::Content | Kind::Terminator))
    }

    pub(super) fn advance(&mut self, taken: usize) {
        let taken = taken.min(self.buffer.len());
        if self.runs.iter().any(|run| run.kind == Kind::Secret) {
            // What goes with it in one write is of the same exchange; nothing else is worth sparing.
            self.buffer.wipe(taken);
        }
        self.buffer.advance(taken);
        self.transmitted += taken as u64;
        while self.runs.front().is_some_and(|run| run.end <= self.transmitted) {
            self.runs.pop_front();
        }
    }

    /// Drops what was not transmitted, and the buffer with it.
    pub(super) fn discard(&mut self) {
        if self.runs.iter().any(|run| run.kind == Kind::Secret) {
            self.buffer.wipe(self.buffer.len());
        }
        self.buffer = Buffer::default();
        self.runs.clear();
    }

    pub(super) fn peek(&self) -> Option<Transmit<'_>> {
        let transmit = Transmit { octets: self.buffer.as_slice(), start: self.transmitted, runs: &self.runs };
        (self.buffer.len() > 0).then_some(transmit)
    }
}

/// A connection may be dropped with a secret still on its way.
impl Drop for Outbox {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Octets to write to the stream: derefs to `[u8]`, never empty.
///
/// Its `Debug` shows commands escaped, and of content and of SASL exchanges only the size, so it is fit for any log.
#[derive(Clone, Copy)]
pub struct Transmit<'a> {
    octets: &'a [u8],
    /// The stream offset of the first octet.
    start: u64,
    runs: &'a VecDeque<Run>,
}

impl<'a> Transmit<'a> {
    /// Only the first `length` octets: what a short write took.
    #[must_use]
    pub fn first(self, length: usize) -> Self {
        Self { octets: self.octets.get(..length).unwrap_or(self.octets), ..self }
    }

    /// The octets for a transcript: command lines one by one, content as a whole.
    pub fn pieces(self) -> impl Iterator<Item = Piece<'a>> {
        let mut rest = self.octets;
        let mut offset = self.start;
        self.runs.iter().flat_map(move |run| {
            let length = usize::try_from(run.end - offset).unwrap_or(usize::MAX).min(rest.len());
            let (octets, after) = rest.split_at(length);
            (rest, offset) = (after, run.end);
            let (lines, hidden) = match run.kind {
                Kind::Command | Kind::Terminator => (octets, None),
                Kind::Content => (&[][..], Some(Piece::Content(length))),
                Kind::Secret => (&[][..], Some(Piece::Secret(length))),
            };
            let hidden = hidden.filter(|_| length > 0);
            lines.split_inclusive(|&octet| octet == b'\n').map(Piece::Command).chain(hidden)
        })
    }
}

impl Deref for Transmit<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets
    }
}

impl fmt::Debug for Transmit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pieces()).finish()
    }
}

/// Part of the outgoing stream, for a transcript.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece<'a> {
    /// A command line, or the line that ends content sent by DATA; after a short write a part of one.
    Command(&'a [u8]),
    /// So many octets of content.
    Content(usize),
    /// So many octets of a SASL exchange, or of a URL to fetch content from.
    Secret(usize),
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(line) => Escaped(line.strip_suffix(b"\r\n").unwrap_or(line)).fmt(f),
            Self::Content(1) => f.write_str("<1 octet of content>"),
            Self::Content(length) => write!(f, "<{length} octets of content>"),
            Self::Secret(length) => write!(f, "<{length} secret octets>"),
        }
    }
}

impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    // Chunks are a command and content; what has not left can be taken back.
    #[test]
    fn chunks_can_be_taken_back() {
        let mut outbox = Outbox::default();
        let mut chunk = b"..BDAT 3\r\nabc".to_vec();
        outbox.chunk(&mut chunk, 2, 8);
        assert!(chunk.is_empty(), "the buffers changed places");
        let end = outbox.end();
        outbox.chunk(&mut b"BDAT 0 LAST\r\n".to_vec(), 0, 13);
        assert_eq!(format!("{:?}", outbox.peek().unwrap()), "[BDAT 3, <3 octets of content>, BDAT 0 LAST]");
        outbox.advance(9);
        outbox.truncate(end);
        assert_eq!(format!("{:?}", outbox.peek().unwrap()), "[<2 octets of content>]");
        outbox.truncate(end);
        assert_eq!(outbox.end(), end);
    }

    // What was queued behind an offset is dropped, within a run as between two, and what comes next is named as what it is.
    #[test]
    fn what_is_dropped_leaves_nothing() {
        for (end, left) in [
            (17, "[NOOP, <5 octets of content>, NOOP, DATA]"),
            (11, "[NOOP, <5 octets of content>, DATA]"),
            (8, "[NOOP, <2 octets of content>, DATA]"),
            (6, "[NOOP, DATA]"),
            (0, "[DATA]"),
        ] {
            let mut outbox = Outbox::default();
            outbox.command(&Command::Noop);
            outbox.content(2, |buffer| buffer.put_slice(b"he"));
            outbox.content(3, |buffer| buffer.put_slice(b"llo"));
            outbox.command(&Command::Noop);
            outbox.truncate(end);
            outbox.command(&Command::Data);
            assert_eq!(format!("{:?}", outbox.peek().unwrap()), left);
        }
        // Where nothing was written there is nothing to be sent.
        let mut outbox = Outbox::default();
        outbox.content(2, |_| ());
        assert!(!outbox.is_sending_content() && outbox.peek().is_none());
    }

    // A transcript names commands, and of content only the size, wherever a write was cut.
    #[test]
    fn pieces_of_a_cut_stream() {
        let mut outbox = Outbox::default();
        assert!(outbox.peek().is_none());
        outbox.command(&Command::Noop);
        outbox.command(&Command::Data);
        outbox.content(11, |buffer| buffer.put_slice(b"secret\r\n.\r\n"));
        outbox.end_content();
        outbox.command(&Command::Quit);
        assert_eq!(outbox.end(), 29);
        assert_eq!(format!("{:?}", outbox.peek().unwrap()), "[NOOP, DATA, <8 octets of content>, ., QUIT]");
        assert_eq!(format!("{:?}", outbox.peek().unwrap().first(14)), "[NOOP, DATA, <2 octets of content>]");
        outbox.advance(8);
        assert_eq!(format!("{:?}", outbox.peek().unwrap()), "[TA, <8 octets of content>, ., QUIT]");
        outbox.advance(5);
        assert!(outbox.is_sending_content());
        assert_eq!(format!("{:?}", outbox.peek().unwrap()), "[<7 octets of content>, ., QUIT]");
        outbox.advance(8);
        assert!(outbox.is_sending_content());
        assert_eq!(format!("{:?}", outbox.peek().unwrap()), "[, QUIT]");
        outbox.advance(usize::MAX);
        assert_eq!((outbox.transmitted(), outbox.len()), (29, 0));
        // Of empty content there is nothing but its end.
        outbox.content(3, |buffer| buffer.put_slice(b".\r\n"));
        outbox.end_content();
        assert_eq!(format!("{:?}", outbox.peek().unwrap()), "[.]");
        outbox.advance(3);
        assert!(outbox.peek().is_none());
    }
}
