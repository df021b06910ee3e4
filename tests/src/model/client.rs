//! A client: says one command, reads one reply, and then thinks of the next.

use std::iter;

use smtp_proto::{LineEndings, Stage};

use super::server::Server;
use super::{Letter, Parsed, Verdict, encoder, parse};

/// Octets of a chunk. The machine makes them as large where its buffer is the smallest there is.
pub const CHUNK: usize = 512;

/// Who the client talks to.
pub trait Peer {
    /// The reply to a command. `None` is the end of the session.
    fn ask(&mut self, command: &str) -> Option<u16>;

    /// Content that a reply is due to, or one chunk of it.
    ///
    /// # Errors
    ///
    /// It does not leave in full, perhaps because of a refusal.
    fn pour(&mut self, octets: &[u8], chunked: bool) -> Result<(), Option<u16>>;

    /// The next reply that is due to the content.
    fn reply(&mut self) -> Option<u16>;

    /// Whether the last chunk of a transaction, counted by MAIL, has left in full, although replies to what came before it are
    /// missing: a client in a hurry does not wait for them.
    fn is_ahead(&self, turn: usize) -> bool;
}

/// The client.
#[derive(Debug)]
pub struct Client<P> {
    /// Whom it talks to, after the hello.
    pub peer: P,
    /// Whether LMTP is spoken.
    pub lmtp: bool,
    /// Whether content is sent by BDAT.
    pub chunked: bool,
    /// Whether the server offers verdicts.
    pub prdr: bool,
    /// There is no session any more.
    pub over: bool,
    /// Messages sent so far.
    turn: usize,
}

impl<P: Peer> Client<P> {
    /// A client after its hello that sends content by DATA.
    pub fn new(peer: P, lmtp: bool) -> Self {
        Self { peer, lmtp, chunked: false, prdr: false, over: false, turn: 0 }
    }

    /// Sends one message.
    pub fn send(&mut self, letter: &Letter) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::NotSent; letter.recipients];
        self.over = self.over || self.transaction(letter, &mut verdicts).is_none();
        if self.over && self.chunked && self.peer.is_ahead(self.turn) {
            let unknown = verdicts.iter_mut().filter(|verdict| **verdict == Verdict::NotSent);
            unknown.for_each(|verdict| *verdict = Verdict::InDoubt);
        }
        self.turn += 1;
        verdicts
    }

    fn transaction(&mut self, letter: &Letter, verdicts: &mut [Verdict]) -> Option<()> {
        let prdr = letter.verdicts && self.prdr;
        let mail = self.peer.ask(if prdr { "MAIL FROM:<> PRDR\r\n" } else { "MAIL FROM:<>\r\n" })?;
        // A 3yz is neither yes nor no, where the content went ahead and has left.
        let ahead = self.chunked && self.peer.is_ahead(self.turn);
        let unclear = |code: u16| ahead && code / 100 == 3;
        if mail / 100 != 2 {
            if !unclear(mail) {
                verdicts.fill(Verdict::Refused(Stage::Mail, mail));
            }
            return self.give_up(mail);
        }
        let mut admitted = Vec::new();
        for (index, verdict) in verdicts.iter_mut().enumerate() {
            let rcpt = self.peer.ask("RCPT TO:<r@x.example>\r\n")?;
            if rcpt / 100 == 2 {
                admitted.push(index);
                continue;
            }
            if !unclear(rcpt) {
                *verdict = Verdict::Refused(Stage::Rcpt, rcpt);
            }
            go_on(rcpt)?;
            if letter.all_or_none {
                return self.give_up(rcpt);
            }
        }
        if admitted.is_empty() {
            return self.give_up(250);
        }
        let mut all = |verdict| admitted.iter().for_each(|&index| verdicts[index] = verdict);
        if self.chunked {
            let mut chunks = letter
                .content
                .chunks(CHUNK)
                .chain(iter::repeat_n(&[][..], usize::from(letter.content.is_empty())))
                .peekable();
            while let Some(chunk) = chunks.next() {
                let last = if chunks.peek().is_none() { " LAST" } else { "" };
                let poured =
                    self.peer.pour(&[format!("BDAT {}{last}\r\n", chunk.len()).as_bytes(), chunk].concat(), true);
                let reply = match poured {
                    Err(refusal) => refusal,
                    Ok(()) if last.is_empty() => self.peer.reply(),
                    Ok(()) => break,
                };
                let code = reply?;
                if code / 100 > 3 {
                    all(Verdict::Refused(Stage::Content, code));
                }
                if code / 100 != 2 {
                    return self.give_up(code);
                }
            }
        } else {
            let data = self.peer.ask("DATA\r\n")?;
            if data != 354 {
                all(Verdict::Refused(Stage::Data, data));
                return self.give_up(data);
            }
            let stream = encoder::encode(&letter.content, LineEndings::Normalize).ok()?;
            if let Err(refusal) = self.peer.pour(&stream, false) {
                all(Verdict::Refused(Stage::Content, refusal?));
                return None;
            }
        }
        all(Verdict::InDoubt);
        if self.lmtp {
            for index in admitted {
                let code = self.peer.reply()?;
                verdicts[index] = decided(code);
                go_on(code)?;
            }
            return Some(());
        }
        let mut end = self.peer.reply()?;
        if end == 353 && prdr {
            for &index in &admitted {
                let code = self.peer.reply()?;
                if code / 100 > 3 {
                    verdicts[index] = decided(code);
                }
                go_on(code)?;
            }
            end = self.peer.reply()?;
        }
        admitted.retain(|&index| verdicts[index] == Verdict::InDoubt);
        admitted.iter().for_each(|&index| verdicts[index] = decided(end));
        go_on(end)
    }

    /// Has the server forget the transaction, if it is still there after that reply.
    fn give_up(&mut self, code: u16) -> Option<()> {
        go_on(code)?;
        (self.peer.ask("RSET\r\n")? / 100 == 2).then_some(())
    }
}

fn decided(end: u16) -> Verdict {
    match end / 100 {
        2 => Verdict::Accepted(end),
        3 => Verdict::InDoubt,
        _ => Verdict::Refused(Stage::Content, end),
    }
}

/// Whether there is a session after that reply.
fn go_on(code: u16) -> Option<()> {
    (code != 421 && code / 100 != 3).then_some(())
}

/// The server at the other end of the simplest of lines.
#[derive(Debug)]
pub struct LockStep {
    /// The server.
    pub server: Server,
    unread: String,
}

impl LockStep {
    /// Says hello.
    pub fn new(mut server: Server, hello: &str) -> Self {
        server.hear(hello.as_bytes());
        server.answer();
        Self { server, unread: String::new() }
    }
}

impl Peer for LockStep {
    fn ask(&mut self, command: &str) -> Option<u16> {
        self.server.hear(command.as_bytes());
        self.reply()
    }

    fn pour(&mut self, octets: &[u8], _: bool) -> Result<(), Option<u16>> {
        self.server.hear(octets);
        Ok(())
    }

    fn is_ahead(&self, _: usize) -> bool {
        false
    }

    fn reply(&mut self) -> Option<u16> {
        if self.unread.is_empty() {
            self.unread = self.server.answer()?;
        }
        match parse(self.unread.as_bytes()) {
            Parsed::Reply(code, length) => {
                self.unread.drain(..length);
                Some(code)
            }
            _ => None,
        }
    }
}
