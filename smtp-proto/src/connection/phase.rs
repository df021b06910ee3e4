//! The state table: what each reply does. The only file that assigns `session`.
//!
//! | expected | 2yz | 3yz | 4yz, 5yz |
//! |---|---|---|---|
//! | greeting | say hello | QUIT | QUIT |
//! | EHLO, LHLO | ready | QUIT | 5yz in SMTP: HELO; else QUIT |
//! | HELO | ready | QUIT | QUIT |
//! | STARTTLS | 220: handshake; else back to ready | hand over, close | back to ready |
//! | MAIL | go on | fail, close | fail |
//! | RCPT | recipient accepted | recipient refused, close | recipient refused |
//! | DATA | fail | 354: content, or a lone dot if there is nobody; else fail, close | fail |
//! | chunk | go on | close | send no more, fail |
//! | lone dot | over | close | over |
//! | end of content | accepted | in doubt, close | refused |
//! | RSET | over | close | close |
//! | hello by hand, other | hand over | hand over, close | hand over |
//! | QUIT | closed | closed | closed |
//!
//! "Fail" reads the replies still due, then says RSET; the transaction is over when that is answered. Where a 3yz is not
//! due the connection is closed, since the server may take whatever comes next for content. 421 does what its row says
//! and closes. A reply that nothing is due for closes too, except a refusal while content is leaving, which is its final
//! reply come early.

use super::body::LEAST;
use super::chunks::Chunks;
use super::envelope::{GoAhead, Next};
use super::expect::Expect;
use super::{Connection, queue};
use crate::body::DotStuffer;
use crate::capability::{Capabilities, Extension};
use crate::command::Command;
use crate::config::Protocol;
use crate::event::{CloseReason, Event, Phase};
use crate::outcome::Stage;
use crate::reply::{Reply, ReplyRef, Severity};
use crate::transaction::Recipient;

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum Session {
    /// Waits for the greeting, or for the reply to an automatic hello.
    Starting,
    /// Nothing is under way, except perhaps transactions whose content is complete, or one by hand between two steps.
    Ready,
    /// One command is under way.
    Busy,
    /// The go-ahead for TLS was given; nothing may come in clear any more.
    Upgrading,
    /// The current transaction is on its way to DATA.
    Envelope,
    /// The current transaction's content is being taken.
    Content(Content),
    /// A chunk of the current transaction was refused; the replies to those behind it are still to come.
    Draining,
    /// QUIT was said; the end will have this reason.
    Quitting(CloseReason),
    Closed(CloseReason),
}

/// How content leaves.
#[derive(Debug)]
pub(super) enum Content {
    /// As lines, by DATA.
    Lines(DotStuffer),
    /// As it is, by BDAT.
    Chunks(Chunks),
}

/// RFC 5321 section 3.8: the server closes the connection after this.
const SHUTTING_DOWN: u16 = 421;

impl Connection {
    /// One reply has come. `more` says that octets follow it in the same input.
    pub(super) fn on_reply(&mut self, reply: ReplyRef<'_>, more: bool) {
        let Some(expect) = self.expected.answer(self.outbox.transmitted()) else {
            return self.on_reply_not_due(reply);
        };
        // A server could answer each of many recipients at length; every other reply is one of few.
        let reply = match expect {
            Expect::Rcpt(_) => reply.to_owned_up_to(self.config.reply_limits.recipient_text),
            _ => reply.to_owned(),
        };
        let end = self.end_after(expect, &reply);
        match expect {
            Expect::Greeting => self.on_greeting(reply),
            Expect::Ehlo | Expect::Helo => self.on_hello(expect, reply),
            Expect::StartTls => self.on_starttls(reply, more),
            Expect::Mail | Expect::Rcpt(_) | Expect::Data => self.on_envelope(expect, reply),
            Expect::LoneDot => self.on_lone_dot(),
            Expect::Chunk | Expect::Final if matches!(self.session, Session::Draining) => self.drain(),
            Expect::Chunk => self.on_chunk(&reply),
            Expect::Final => self.on_final(reply),
            Expect::Cleanup => self.on_cleanup(reply),
            Expect::Reset => self.on_reset(reply),
            Expect::Command => {
                self.session = Session::Ready;
                self.events.push_back(Event::Reply(reply));
            }
            Expect::Quit => self.finish_quitting(),
        }
        match end {
            Some(reason) if !matches!(self.session, Session::Quitting(_)) => self.close(reason),
            _ => self.pump(),
        }
    }

    /// Why the connection ends with this reply, whatever else it does: the server said so, or said 3yz where none is due.
    fn end_after(&self, expect: Expect, reply: &Reply) -> Option<CloseReason> {
        match (expect, reply.code().get()) {
            (_, SHUTTING_DOWN) => Some(CloseReason::ServerShutdown(reply.clone())),
            (Expect::Data, 354) => None,
            (_, 300..=399) => Some(CloseReason::Unsolicited(reply.clone())),
            _ => None,
        }
    }

    /// A reply has come and no command has left in full that it could answer.
    fn on_reply_not_due(&mut self, reply: ReplyRef<'_>) {
        let code = reply.code();
        let reply = reply.to_owned();
        if let Session::Quitting(_) = self.session {
            return self.finish_quitting();
        }
        let front = self.expected.front();
        let chunk = match front {
            Some((Expect::Chunk, _)) => true,
            Some((Expect::Final, _)) => self.awaiting.front().is_some_and(|envelope| envelope.chunked),
            _ => false,
        };
        if chunk && code.is_refusal() && code.get() != SHUTTING_DOWN {
            // It is this chunk's reply come early; the chunk has to be finished all the same.
            self.expected.take();
            return self.refuse_chunks(&reply);
        }
        let leaving = match (front, &self.session) {
            (Some((Expect::Final, _)), _) => self.awaiting.front_mut(),
            (None, Session::Content(_)) => self.current.as_mut(),
            _ => None,
        };
        let refused = match leaving {
            Some(envelope) if code.is_refusal() => {
                envelope.refuse_content(Stage::Content, &reply);
                true
            }
            _ => false,
        };
        self.close(match code.get() {
            SHUTTING_DOWN => CloseReason::ServerShutdown(reply),
            _ if refused => CloseReason::Refused { phase: Phase::DataBlock, reply },
            _ => CloseReason::Unsolicited(reply),
        });
    }

    fn on_greeting(&mut self, reply: Reply) {
        if reply.code().severity() != Severity::Completion {
            return self.quit_because(CloseReason::Refused { phase: Phase::Greeting, reply });
        }
        self.events.push_back(Event::Greeting(reply));
        self.start_hello();
    }

    /// Says hello after the greeting or after TLS, or leaves it to the caller.
    fn start_hello(&mut self) {
        self.capabilities = Capabilities::default();
        self.greeted = false;
        if self.config.automatic_hello {
            self.session = Session::Starting;
            self.queue_hello(Expect::Ehlo);
        } else {
            self.session = Session::Ready;
        }
    }

    /// Says hello at the caller's bidding.
    pub(super) fn hello_by_hand(&mut self, expect: Expect) {
        self.session = Session::Busy;
        self.queue_hello(expect);
    }

    fn queue_hello(&mut self, expect: Expect) {
        let name = &self.config.hello;
        let command = match (expect, self.config.protocol) {
            (Expect::Helo, _) => Command::Helo(name),
            (_, Protocol::Smtp) => Command::Ehlo(name),
            (_, Protocol::Lmtp) => Command::Lhlo(name),
        };
        queue(&mut self.outbox, &mut self.expected, &command, expect);
    }

    fn on_hello(&mut self, expect: Expect, reply: Reply) {
        let automatic = matches!(self.session, Session::Starting);
        let accepted = reply.code().severity() == Severity::Completion;
        // Whatever an earlier hello taught is gone, also when this one is refused (RFC 5321 section 4.1.4).
        self.capabilities = match expect {
            Expect::Ehlo if accepted => Capabilities::from_reply(&reply),
            _ => Capabilities::default(),
        };
        self.greeted = accepted;
        if accepted || !automatic {
            self.session = Session::Ready;
            if !automatic {
                self.events.push_back(Event::Reply(reply));
            }
            if accepted {
                self.events.push_back(Event::Ready);
            }
        } else if self.may_fall_back(expect, &reply) {
            self.queue_hello(Expect::Helo);
        } else {
            self.quit_because(CloseReason::Refused { phase: Phase::Hello, reply });
        }
    }

    fn may_fall_back(&self, expect: Expect, reply: &Reply) -> bool {
        expect == Expect::Ehlo
            && self.config.helo_fallback
            && self.config.protocol == Protocol::Smtp
            && reply.code().severity() == Severity::Permanent
    }

    /// One command of the caller's is under way.
    pub(super) fn start_command(&mut self, command: &Command<'_>, expect: Expect) {
        self.session = Session::Busy;
        queue(&mut self.outbox, &mut self.expected, command, expect);
    }

    fn on_starttls(&mut self, reply: Reply, more: bool) {
        match reply.code().get() {
            220 if more => self.close(CloseReason::PlaintextAfterStartTls),
            220 => {
                self.session = Session::Upgrading;
                self.events.push_back(Event::UpgradeTls);
            }
            _ => {
                self.session = Session::Ready;
                self.events.push_back(Event::Reply(reply));
            }
        }
    }

    /// TLS is established: everything is learnt anew (RFC 3207 section 4.2).
    pub(super) fn on_tls_established(&mut self) {
        self.secure = true;
        self.start_hello();
    }

    /// The current transaction begins.
    pub(super) fn start_envelope(&mut self) {
        self.session = Session::Envelope;
        self.pump();
    }

    /// Queues what the current transaction may send now.
    pub(super) fn pump(&mut self) {
        self.pump_chunks();
        while let (Session::Envelope, Some(envelope)) = (&self.session, &mut self.current) {
            match envelope.next() {
                Next::Wait => return,
                Next::Fail => return self.fail(),
                Next::Chunks => return self.start_chunks(),
                Next::Send(expect) => {
                    let Some(command) = envelope.command(expect) else { return };
                    let pipelining = self.config.pipelining && self.capabilities.supports(Extension::Pipelining);
                    // Also the end of an earlier transaction's content is to be answered first in lock-step.
                    let unanswered = self.expected.unanswered();
                    let admitted = if pipelining {
                        unanswered == 0 || unanswered + command.length() <= self.config.pipeline_window
                    } else {
                        self.expected.is_empty()
                    };
                    if !admitted {
                        return;
                    }
                    queue(&mut self.outbox, &mut self.expected, &command, expect);
                    envelope.asked(expect);
                }
            }
        }
    }

    /// Sends one step of a transaction by hand.
    pub(super) fn step_by_hand(&mut self, expect: Expect) {
        let Some(envelope) = &mut self.current else { return };
        if let Some(command) = envelope.command(expect) {
            queue(&mut self.outbox, &mut self.expected, &command, expect);
            envelope.asked(expect);
            self.session = Session::Busy;
        }
    }

    /// Adds a recipient to the transaction by hand and asks the server for it.
    pub(super) fn recipient_by_hand(&mut self, recipient: Recipient) {
        if let Some(envelope) = &mut self.current {
            let index = envelope.add(recipient);
            self.step_by_hand(Expect::Rcpt(index));
        }
    }

    fn on_envelope(&mut self, expect: Expect, reply: Reply) {
        let Some(envelope) = &mut self.current else { return };
        let by_hand = envelope.is_by_hand();
        if by_hand {
            self.session = Session::Ready;
            self.events.push_back(Event::Reply(reply.clone()));
        }
        match expect {
            Expect::Mail => {
                envelope.on_mail(reply);
                if by_hand && envelope.next() == Next::Fail {
                    self.fail();
                }
            }
            Expect::Rcpt(index) => {
                envelope.on_rcpt(index, reply.clone());
                if !by_hand {
                    self.events.push_back(Event::Recipient { id: envelope.id(), index, reply });
                }
            }
            _ => match envelope.on_data(&reply) {
                GoAhead::Content => {
                    let (id, accepted) = (envelope.id(), envelope.accepted());
                    let stuffer =
                        DotStuffer::new(self.config.line_endings, self.config.long_lines, envelope.is_eight_bit());
                    self.session = Session::Content(Content::Lines(stuffer));
                    self.events.push_back(Event::BodyRequested { id, accepted });
                }
                // LMTP owes one reply for each accepted recipient, so for a lone dot it would owe none: whatever came
                // could not be told from the reply to the next command (RFC 2033 section 4.2).
                GoAhead::Nobody if self.config.protocol == Protocol::Lmtp => {
                    self.close(CloseReason::Unsolicited(reply));
                }
                GoAhead::Nobody => {
                    self.session = Session::Busy;
                    let start = self.outbox.end();
                    self.outbox.content(|buffer| buffer.extend_from_slice(b".\r\n"));
                    self.expected.push_content(Expect::LoneDot, start, self.outbox.end());
                }
                GoAhead::Refused => self.fail(),
            },
        }
    }

    /// The current transaction will not reach its content: has the server forget it.
    fn fail(&mut self) {
        self.start_command(&Command::Rset, Expect::Cleanup);
    }

    fn on_cleanup(&mut self, reply: Reply) {
        self.complete_current();
        self.session = Session::Ready;
        self.close_unless_reset(reply);
    }

    fn on_reset(&mut self, reply: Reply) {
        self.session = Session::Ready;
        self.complete_current();
        self.events.push_back(Event::Reply(reply.clone()));
        self.close_unless_reset(reply);
    }

    /// A server that refuses RSET may still hold a transaction, and would mix it with the next.
    fn close_unless_reset(&mut self, reply: Reply) {
        if reply.code().severity() != Severity::Completion && reply.code().get() != SHUTTING_DOWN {
            self.close(CloseReason::Refused { phase: Phase::Command, reply });
        }
    }

    /// The end of a message to nobody. Whatever the server says of it, nobody got it (RFC 2920 section 3.1).
    fn on_lone_dot(&mut self) {
        self.complete_current();
        self.session = Session::Ready;
    }

    /// The end of the current transaction's content was queued; what it consists of begins at `start`.
    pub(super) fn on_content_complete(&mut self, start: u64) {
        let Some(mut envelope) = self.current.take() else { return };
        envelope.end = self.outbox.end();
        for _ in 0..envelope.finals(self.config.protocol == Protocol::Lmtp) {
            self.expected.push_content(Expect::Final, start, envelope.end);
        }
        self.awaiting.push_back(envelope);
        self.session = Session::Ready;
    }

    /// The current transaction's content comes, by BDAT.
    pub(super) fn start_chunks(&mut self) {
        let Some(envelope) = &mut self.current else { return };
        envelope.chunked = true;
        self.events.push_back(Event::BodyRequested { id: envelope.id(), accepted: envelope.accepted() });
        self.session = Session::Content(Content::Chunks(Chunks::new(envelope.is_eight_bit())));
    }

    /// Sends the staged chunk, if it is full or the last one and may be sent now.
    pub(super) fn pump_chunks(&mut self) {
        let Session::Content(Content::Chunks(chunks)) = &mut self.session else { return };
        let pipelining = self.config.pipelining && self.capabilities.supports(Extension::Pipelining);
        let buffer = self.config.body_buffer.max(LEAST);
        let full = chunks.len() >= buffer / 2 && self.outbox.len() + chunks.len() <= buffer;
        let last = chunks.finished;
        if !(full || last) || !(pipelining || self.expected.is_empty()) {
            return;
        }
        let start = self.outbox.end();
        chunks.seal(&mut self.outbox, last);
        if last {
            self.on_content_complete(start);
        } else {
            self.expected.push_content(Expect::Chunk, start, self.outbox.end());
        }
    }

    fn on_chunk(&mut self, reply: &Reply) {
        // A 3yz closes the connection; until then it is no refusal.
        if reply.code().is_refusal() {
            self.refuse_chunks(reply);
        }
    }

    /// A chunk was refused: the one that is leaving is finished, no other is sent, and RSET comes next (RFC 3030 section 2).
    fn refuse_chunks(&mut self, reply: &Reply) {
        // While chunks are due no other transaction can have begun behind this one.
        if self.current.is_none() {
            self.current = self.awaiting.pop_back();
        }
        if let Some(envelope) = &mut self.current {
            envelope.refuse_content(Stage::Content, reply);
            envelope.end = 0;
        }
        if let Some(start) = self.expected.drop_unsent(self.outbox.transmitted()) {
            self.outbox.truncate(start);
        }
        if self.config.protocol == Protocol::Lmtp && self.expected.holds(Expect::Final) {
            // How many replies a last chunk gets that comes too late, no standard says.
            return self.close(CloseReason::Refused { phase: Phase::DataDone, reply: reply.clone() });
        }
        self.session = Session::Draining;
        self.drain();
    }

    /// Says RSET once the replies to all chunks are in.
    fn drain(&mut self) {
        if self.expected.is_empty() {
            self.fail();
        }
    }

    fn on_final(&mut self, reply: Reply) {
        if reply.code().severity() == Severity::Intermediate {
            // Neither yes nor no; closing leaves it in doubt.
            return;
        }
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let Some(envelope) = self.awaiting.front_mut() else { return };
        if envelope.on_final(reply, lmtp) {
            let report = self.awaiting.pop_front().map(|envelope| envelope.into_report(self.outbox.transmitted()));
            self.events.extend(report.map(Event::Completed));
        }
    }

    fn complete_current(&mut self) {
        let report = self.current.take().map(|envelope| envelope.into_report(self.outbox.transmitted()));
        self.events.extend(report.map(Event::Completed));
    }

    /// Says QUIT; however that ends, the connection ends for `reason`.
    pub(super) fn quit_because(&mut self, reason: CloseReason) {
        self.complete_current();
        queue(&mut self.outbox, &mut self.expected, &Command::Quit, Expect::Quit);
        self.session = Session::Quitting(reason);
    }

    /// The end of a session that said QUIT, whichever way it comes.
    pub(super) fn finish_quitting(&mut self) {
        if let Session::Quitting(reason) = &self.session {
            self.close(reason.clone());
        }
    }

    /// Ends the connection: reports every open transaction, then the reason, and forgets the rest.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if matches!(self.session, Session::Closed(_)) {
            return;
        }
        let transmitted = self.outbox.transmitted();
        let open = self.awaiting.drain(..).chain(self.current.take());
        self.events.extend(open.map(|envelope| Event::Completed(envelope.into_report(transmitted))));
        self.events.push_back(Event::Closed(reason.clone()));
        self.outbox.discard();
        self.expected.clear();
        self.session = Session::Closed(reason);
    }
}
