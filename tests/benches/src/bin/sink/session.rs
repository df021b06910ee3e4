//! What is said on one connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::time::Instant;

use memchr::memchr;
use memchr::memmem;

use crate::count::Count;

const END: &[u8] = b"\r\n.\r\n";

/// One session: replies are made as soon as something is heard, and written when they are due.
#[derive(Default)]
pub(crate) struct Session {
    state: State,
    /// The beginning of a command that has not come whole.
    line: Vec<u8>,
    /// Recipients of the transaction, if there is one.
    recipients: Option<usize>,
    /// Replies not written yet.
    replies: Vec<u8>,
    /// When how many octets of them are due.
    batches: VecDeque<(Instant, usize)>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Command,
    /// Content of DATA; what came last, as it may be the beginning of the end.
    Data([u8; 4]),
    Chunk {
        left: usize,
        last: bool,
    },
}

impl Session {
    pub(crate) fn greet(&mut self) {
        self.reply("220 sink.example ready");
        self.batches.push_back((Instant::now(), self.replies.len()));
    }

    /// When the next reply is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.batches.front().map(|(due, _)| *due)
    }

    /// Writes what is due.
    pub(crate) fn write(&mut self, stream: &mut impl Write, now: Instant) -> io::Result<()> {
        while let Some((due, length)) = self.batches.front_mut() {
            if *due > now {
                break;
            }
            match stream.write(&self.replies[..*length]) {
                Ok(written) => {
                    self.replies.drain(..written);
                    *length -= written;
                    if *length == 0 {
                        self.batches.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Hears what came at once, and makes the replies to it.
    pub(crate) fn hear(&mut self, mut octets: &[u8], due: Instant, count: &mut Count) {
        let before = self.replies.len();
        while !octets.is_empty() {
            match self.state {
                State::Command => octets = self.command(octets, count),
                State::Data(tail) => {
                    let length = end_of_data(tail, octets);
                    let (content, rest) = octets.split_at(length.unwrap_or(octets.len()));
                    count.content(content.len());
                    octets = rest;
                    if length.is_some() {
                        self.completed(count);
                    } else {
                        self.state = State::Data(last(tail, content));
                    }
                }
                State::Chunk { left, last } => {
                    let (content, rest) = octets.split_at(left.min(octets.len()));
                    count.content(content.len());
                    octets = rest;
                    self.chunk(left - content.len(), last, count);
                }
            }
        }
        if self.replies.len() > before {
            self.batches.push_back((due, self.replies.len() - before));
            count.answer();
        }
    }

    /// Hears a command, if it is there whole, and returns what comes behind it.
    fn command<'a>(&mut self, octets: &'a [u8], count: &mut Count) -> &'a [u8] {
        let Some(end) = memchr(b'\n', octets) else {
            self.line.extend_from_slice(octets);
            return &[];
        };
        let (line, rest) = octets.split_at(end + 1);
        if self.line.is_empty() {
            self.obey(line, count);
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            self.obey(&whole, count);
        }
        rest
    }

    fn obey(&mut self, line: &[u8], count: &mut Count) {
        let mut verb = [0; 4];
        verb.copy_from_slice(line.get(..4).unwrap_or(b"NONE"));
        verb.make_ascii_uppercase();
        match (&verb, self.recipients) {
            (b"EHLO", _) => self.replies.extend_from_slice(
                b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE 4294967296\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n",
            ),
            (b"HELO" | b"NOOP", _) => self.reply("250 2.0.0 Ok"),
            (b"RSET", _) => {
                self.recipients = None;
                self.reply("250 2.0.0 Ok");
            }
            (b"MAIL", None) => {
                count.mail();
                self.recipients = Some(0);
                self.reply("250 2.1.0 Ok");
            }
            (b"RCPT", Some(recipients)) => {
                self.recipients = Some(recipients + 1);
                self.reply("250 2.1.5 Ok");
            }
            (b"DATA", Some(1..)) => {
                // Content may end before it begins.
                self.state = State::Data([0, 0, b'\r', b'\n']);
                self.reply("354 End data with <CR><LF>.<CR><LF>");
            }
            (b"BDAT", Some(1..)) => match chunk(line) {
                Some((left, last)) => self.chunk(left, last, count),
                None => self.reply("501 5.5.4 Syntax: BDAT count [LAST]"),
            },
            (b"QUIT", _) => self.reply("221 2.0.0 Bye"),
            (b"MAIL" | b"RCPT" | b"DATA" | b"BDAT", _) => self.reply("503 5.5.1 Bad sequence of commands"),
            _ => self.reply("502 5.5.2 Command not recognized"),
        }
    }

    /// A chunk of which so much is still to come.
    fn chunk(&mut self, left: usize, last: bool, count: &mut Count) {
        match (left, last) {
            (0, true) => self.completed(count),
            (0, false) => {
                self.state = State::Command;
                self.reply("250 2.0.0 Ok");
            }
            _ => self.state = State::Chunk { left, last },
        }
    }

    fn completed(&mut self, count: &mut Count) {
        self.state = State::Command;
        count.message(self.recipients.take().unwrap_or_default());
        self.reply("250 2.0.0 Ok: queued as 4WXYZ1234");
    }

    fn reply(&mut self, text: &str) {
        self.replies.extend_from_slice(text.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }
}

/// What stands behind BDAT.
fn chunk(line: &[u8]) -> Option<(usize, bool)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace().skip(1);
    let length = words.next()?.parse().ok()?;
    Some((length, words.next().is_some()))
}

/// How many of these octets belong to the content, if it ends among them.
fn end_of_data(tail: [u8; 4], octets: &[u8]) -> Option<usize> {
    // Where the end began in what came before.
    let mut seam = [0; 8];
    let begun = octets.len().min(4);
    seam[..4].copy_from_slice(&tail);
    seam[4..4 + begun].copy_from_slice(&octets[..begun]);
    if let Some(start) = memmem::find(&seam[..4 + begun], END) {
        return Some(start + END.len() - 4);
    }
    memmem::find(octets, END).map(|start| start + END.len())
}

/// The last four octets of both.
fn last(tail: [u8; 4], octets: &[u8]) -> [u8; 4] {
    let mut last = [0; 4];
    let new = octets.len().min(4);
    last[..4 - new].copy_from_slice(&tail[new..]);
    last[4 - new..].copy_from_slice(&octets[octets.len() - new..]);
    last
}
