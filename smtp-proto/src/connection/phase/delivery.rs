//! What a transaction goes through: envelope, content, final replies.

use bytes::BufMut;

use super::{Content, SHUTTING_DOWN, Session, VERDICTS_FOLLOW};
use crate::body::DotStuffer;
use crate::command::{Command, ContentUrl, LINE_LIMIT};
use crate::config::Protocol;
use crate::connection::chunks::Chunks;
use crate::connection::envelope::{Envelope, GoAhead, Next};
use crate::connection::expect::Expect;
use crate::connection::{Connection, queue};
use crate::event::{CloseReason, Event, Phase};
use crate::outcome::Stage;
use crate::reply::{Reply, Severity};
use crate::transaction::Recipient;

impl Connection {
    /// The current transaction begins.
    pub(in crate::connection) fn start_envelope(&mut self) {
        self.session = Session::Envelope;
        self.pump();
    }

    /// Queues what the current transaction may send now.
    pub(in crate::connection) fn pump(&mut self) {
        self.pump_chunks();
        while let (Session::Envelope, Some(envelope)) = (&self.session, &mut self.current) {
            match envelope.next() {
                Next::Wait => return,
                Next::Fail => return self.fail(),
                Next::Chunks => return self.start_chunks(),
                Next::Send(expect) => {
                    let Some(command) = envelope.command(expect) else { return };
                    let pipelining = self.config.pipelines(&self.capabilities);
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
    pub(in crate::connection) fn step_by_hand(&mut self, expect: Expect) {
        let Some(envelope) = &mut self.current else { return };
        let reset = envelope.reset_first.then_some(Expect::Between);
        for expect in reset.into_iter().chain([expect]) {
            if let Some(command) = envelope.command(expect) {
                queue(&mut self.outbox, &mut self.expected, &command, expect);
                envelope.asked(expect);
                self.session = Session::Busy;
            }
        }
    }

    /// Adds a recipient to the transaction by hand and asks the server for it.
    pub(in crate::connection) fn recipient_by_hand(&mut self, recipient: Recipient) {
        if let Some(envelope) = &mut self.current {
            let index = envelope.add(recipient);
            self.step_by_hand(Expect::Rcpt(index));
        }
    }

    pub(super) fn on_envelope(&mut self, expect: Expect, reply: Reply) {
        // Also one whose content is complete, where that went ahead.
        let complete = self.awaiting.iter().position(Envelope::is_asking);
        let open = match complete {
            Some(index) => self.awaiting.get_mut(index),
            None => self.current.as_mut(),
        };
        let Some(envelope) = open.filter(|envelope| envelope.is_asking()) else { return };
        // Neither yes nor no: closing leaves it in doubt, where the content went ahead and has left in full.
        let left = envelope.end > 0 && envelope.end <= self.outbox.transmitted();
        if left && reply.code().severity() == Severity::Intermediate {
            return;
        }
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
                envelope.on_rcpt(index, &reply);
                if !by_hand {
                    self.events.push_back(Event::Recipient { id: envelope.id(), index, reply });
                }
                self.end_in_vain();
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
                    self.close(CloseReason::unsolicited(reply));
                }
                GoAhead::Nobody => {
                    self.session = Session::Busy;
                    let start = self.outbox.end();
                    self.outbox.content(3, |out| out.put_slice(b".\r\n"));
                    self.outbox.end_content();
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

    pub(super) fn on_cleanup(&mut self, reply: Reply) {
        self.complete_current();
        self.session = Session::Ready;
        self.close_unless_reset(reply);
    }

    pub(super) fn on_reset(&mut self, reply: Reply) {
        self.session = Session::Ready;
        self.complete_current();
        self.events.push_back(Event::Reply(reply.clone()));
        self.close_unless_reset(reply);
    }

    /// A server that refuses RSET may still hold a transaction, and would mix it with the next.
    pub(super) fn close_unless_reset(&mut self, reply: Reply) {
        if reply.code().severity() != Severity::Completion && reply.code().get() != SHUTTING_DOWN {
            self.close(CloseReason::Refused { phase: Phase::Command, reply });
        }
    }

    /// The end of a message to nobody. Whatever the server says of it, nobody got it (RFC 2920 section 3.1).
    pub(super) fn on_lone_dot(&mut self) {
        self.complete_current();
        self.session = Session::Ready;
    }

    /// The end of the current transaction's content was queued; what it consists of begins at `start`.
    pub(in crate::connection) fn on_content_complete(&mut self, start: u64) {
        let Some(mut envelope) = self.current.take() else { return };
        envelope.end = self.outbox.end();
        for _ in 0..envelope.finals(self.config.protocol == Protocol::Lmtp) {
            self.expected.push_content(Expect::Final, start, envelope.end);
        }
        self.awaiting.push_back(envelope);
        self.session = Session::Ready;
    }

    /// The current transaction's content comes, by BDAT.
    pub(in crate::connection) fn start_chunks(&mut self) {
        let Some(envelope) = &mut self.current else { return };
        envelope.chunked = true;
        self.events.push_back(Event::BodyRequested { id: envelope.id(), accepted: envelope.accepted() });
        let stage = core::mem::take(&mut self.stage);
        self.session = Session::Content(Content::Chunks(Chunks::new(envelope.is_eight_bit(), stage)));
    }

    /// Sends the staged chunk, if it is full or the last one and may be sent now.
    pub(in crate::connection) fn pump_chunks(&mut self) {
        let Session::Content(Content::Chunks(chunks)) = &self.session else { return };
        let buffer = self.config.content_buffer();
        let full = chunks.len() >= buffer / 2 && self.outbox.len() + chunks.len() <= buffer;
        let last = chunks.finished;
        if (full || last) && self.may_send_chunk() {
            self.send_chunk(last);
        }
    }

    fn may_send_chunk(&self) -> bool {
        // One goes ahead of the recipients. If they turn out to be nobody, little was sent in vain, and a server that counts
        // errors has counted one.
        let ahead = self.current.as_ref().is_some_and(Envelope::is_asking) && self.expected.holds(Expect::Chunk);
        (self.config.pipelines(&self.capabilities) && !ahead) || self.expected.is_empty()
    }

    fn send_chunk(&mut self, last: bool) {
        let Session::Content(Content::Chunks(chunks)) = &mut self.session else { return };
        let start = self.outbox.end();
        chunks.seal(&mut self.outbox, last);
        self.chunk_sent(start, last);
    }

    /// Has the server fetch the next chunk. False when that has to wait.
    pub(in crate::connection) fn fetch_chunk(&mut self, url: &ContentUrl) -> bool {
        let Session::Content(Content::Chunks(chunks)) = &self.session else { return false };
        // What was written before goes before.
        if chunks.len() > 0 {
            if !self.may_send_chunk() {
                return false;
            }
            self.send_chunk(false);
        }
        let room = self.outbox.len() + LINE_LIMIT <= self.config.content_buffer();
        let may = room && self.may_send_chunk();
        if may {
            self.send_url(url, false);
        }
        may
    }

    /// Says BURL.
    pub(in crate::connection) fn send_url(&mut self, url: &ContentUrl, last: bool) {
        let start = self.outbox.end();
        self.outbox.burl(url, last);
        if let Some(envelope) = &mut self.current {
            envelope.fetches(url);
        }
        self.chunk_sent(start, last);
    }

    fn chunk_sent(&mut self, start: u64, last: bool) {
        if last {
            if let Session::Content(Content::Chunks(chunks)) = &mut self.session {
                self.stage = chunks.take_memory();
            }
            self.on_content_complete(start);
        } else {
            self.expected.push_content(Expect::Chunk, start, self.outbox.end());
        }
    }

    /// Sends no more content that went ahead, once it is known that it is for nobody.
    fn end_in_vain(&mut self) {
        let in_vain = |envelope: &Envelope| !envelope.is_asking() && envelope.has_nobody();
        let chunks = matches!(self.session, Session::Content(Content::Chunks(_)));
        if chunks && self.current.as_ref().is_some_and(in_vain) {
            self.take_chunks_back();
            self.drain();
        }
    }

    pub(super) fn on_chunk(&mut self, reply: &Reply) {
        // A 3yz closes the connection; until then it is no refusal.
        if reply.code().is_refusal() {
            self.refuse_chunks(reply);
        }
    }

    /// A chunk was refused: the one that is leaving is finished, no other is sent, and RSET comes next (RFC 3030 section 2).
    pub(super) fn refuse_chunks(&mut self, reply: &Reply) {
        // While chunks are due no other transaction can have begun behind this one.
        if self.current.is_none() {
            self.current = self.awaiting.pop_back();
        }
        if let Some(envelope) = &mut self.current {
            envelope.refuse_content(Stage::Content, reply);
            envelope.end = 0;
        }
        self.take_chunks_back();
        if self.config.protocol == Protocol::Lmtp && self.expected.holds(Expect::Final) {
            // How many replies a last chunk gets that comes too late, no standard says.
            return self.close(CloseReason::Refused { phase: Phase::DataDone, reply: reply.clone() });
        }
        self.drain();
    }

    /// Takes back what has not begun to leave; the replies to the rest are still to come.
    fn take_chunks_back(&mut self) {
        if let Some(start) = self.expected.drop_unsent(self.outbox.transmitted()) {
            self.outbox.truncate(start);
        }
        self.session = Session::Draining;
    }

    /// Says RSET once the replies to all chunks are in.
    pub(super) fn drain(&mut self) {
        if self.expected.is_empty() {
            self.fail();
        }
    }

    /// Whether this reply to the end of content says that one for each recipient follows, and may.
    pub(super) fn announces_verdicts(&self, expect: Expect, reply: &Reply) -> bool {
        let smtp = self.config.protocol == Protocol::Smtp;
        let wanted = self.awaiting.front().is_some_and(Envelope::wants_verdicts);
        expect == Expect::Final && reply.code().get() == VERDICTS_FOLLOW && smtp && wanted
    }

    pub(super) fn on_verdicts_announced(&mut self) {
        if let Some(envelope) = self.awaiting.front() {
            self.expected.insert_verdicts(envelope.accepted(), envelope.end);
        }
    }

    pub(super) fn on_verdict(&mut self, reply: Reply) {
        if let Some(envelope) = self.awaiting.front_mut() {
            envelope.on_verdict(reply);
        }
    }

    pub(super) fn on_final(&mut self, reply: Reply) {
        if reply.code().severity() == Severity::Intermediate {
            // Neither yes nor no; closing leaves it in doubt.
            return;
        }
        let lmtp = self.config.protocol == Protocol::Lmtp;
        let Some(envelope) = self.awaiting.front_mut() else { return };
        if envelope.on_final(reply, lmtp) {
            let envelope = self.awaiting.pop_front();
            let in_vain = envelope.as_ref().is_some_and(Envelope::has_nobody);
            if in_vain && self.current.is_none() && self.awaiting.is_empty() {
                // The server may still hold the sender. Before a transaction behind this one RSET was said already.
                self.current = envelope;
                return self.fail();
            }
            self.complete(envelope);
        }
    }

    pub(super) fn complete_current(&mut self) {
        let envelope = self.current.take();
        self.complete(envelope);
    }

    fn complete(&mut self, envelope: Option<Envelope>) {
        let report = envelope.map(|envelope| envelope.into_report(self.outbox.transmitted()));
        self.events.extend(report.map(Event::Completed));
    }
}
