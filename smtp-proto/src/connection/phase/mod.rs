//! The state table: what each reply does. Only this folder assigns `session`.
//!
//! | expected | 2yz | 3yz | 4yz, 5yz |
//! |---|---|---|---|
//! | greeting | say hello | QUIT | QUIT |
//! | EHLO, LHLO | 220: close; else ready | QUIT | 5yz in SMTP: HELO; else QUIT |
//! | HELO | 220: close; else ready | QUIT | QUIT |
//! | AUTH | 235: authenticated, if the mechanism agrees; else failed | 334: next step; else close | failed |
//! | STARTTLS | 220: handshake; else back to ready | hand over, close | back to ready |
//! | XCLIENT | 220: say hello anew; else back to ready | hand over, close | back to ready |
//! | MAIL | go on | fail, close | fail |
//! | RCPT | recipient accepted | recipient refused, close | recipient refused |
//! | DATA | fail | 354: content, or a lone dot if there is nobody; else fail, close | fail |
//! | chunk | go on | close | send no more, fail |
//! | lone dot | over | close | over |
//! | end of content | accepted | 353 with PRDR: one verdict each and this again; else in doubt, close | refused |
//! | verdict | go on | in doubt, close | recipient refused |
//! | RSET | over, or go on | close | close |
//! | hello by hand, other | hand over | hand over, close | hand over |
//! | QUIT | closed | closed | closed |
//!
//! Where content goes ahead of the replies to MAIL and RCPT, a RCPT that leaves nobody ends the content as a refused chunk
//! does.
//!
//! "Fail" reads the replies still due, then says RSET; the transaction is over when that is answered. Where a 3yz is not
//! due the connection is closed, since the server may take whatever comes next for content. 421 does what its row says
//! and closes. A reply that nothing is due for closes too, except a refusal while content is leaving, which is its final
//! reply come early.

mod auth;
mod delivery;
mod session;

use super::Connection;
use super::auth::Exchange;
use super::chunks::Chunks;
use super::expect::Expect;
use crate::body::DotStuffer;
use crate::config::Protocol;
use crate::event::{CloseReason, Event, Phase};
use crate::outcome::Stage;
use crate::reply::{Reply, ReplyRef};

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum Session {
    /// Waits for the greeting, or for the reply to an automatic hello.
    Starting,
    /// Nothing is under way, except perhaps transactions whose content is complete, or one by hand between two steps.
    Ready,
    /// One command is under way.
    Busy,
    /// A SASL exchange is under way.
    Authenticating(Exchange),
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

/// Asks for the next step of an authentication (RFC 4954 section 4).
const CHALLENGE: u16 = 334;

/// A reply for each recipient follows, and one for all of them (draft-hall-prdr-00).
const VERDICTS_FOLLOW: u16 = 353;

/// RFC 5321 section 3.8: the server closes the connection after this.
const SHUTTING_DOWN: u16 = 421;

impl Connection {
    /// One reply has come. `more` says that octets follow it in the same input.
    pub(in crate::connection) fn on_reply(&mut self, reply: ReplyRef<'_>, more: bool) {
        let Some(expect) = self.expected.answer(self.reply_began) else {
            return self.on_reply_not_due(reply);
        };
        // A server could answer each of many recipients at length, and in LMTP twice; every other reply is one of few.
        let each = match expect {
            Expect::Rcpt(_) | Expect::Verdict => true,
            Expect::Final => self.config.protocol == Protocol::Lmtp,
            _ => false,
        };
        let kept = if each { self.config.reply_limits.recipient_text } else { usize::MAX };
        let reply = reply.to_owned_up_to(kept);
        self.after_auth = false;
        let challenge = reply.code().get() == CHALLENGE;
        let reply = if !challenge && self.may_repeat_secrets(reply.text()) { reply.without_text() } else { reply };
        let end = self.end_after(expect, &reply);
        match expect {
            Expect::Greeting => self.on_greeting(reply),
            Expect::Ehlo | Expect::Helo => self.on_hello(expect, reply),
            Expect::StartTls => self.on_starttls(reply, more),
            Expect::XClient => self.on_xclient(reply),
            Expect::Auth => self.on_auth(reply),
            Expect::Mail | Expect::Rcpt(_) | Expect::Data => self.on_envelope(expect, reply),
            Expect::LoneDot => self.on_lone_dot(),
            Expect::Chunk | Expect::Final if matches!(self.session, Session::Draining) => self.drain(),
            Expect::Chunk => self.on_chunk(&reply),
            Expect::Final if self.announces_verdicts(expect, &reply) => self.on_verdicts_announced(),
            Expect::Verdict => self.on_verdict(reply),
            Expect::Final => self.on_final(reply),
            Expect::Cleanup => self.on_cleanup(reply),
            Expect::Between => self.close_unless_reset(reply),
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
            (Expect::Data, 354) | (Expect::Auth, CHALLENGE) => None,
            _ if self.announces_verdicts(expect, reply) => None,
            (_, 300..=399) => Some(CloseReason::unsolicited(reply.clone())),
            _ => None,
        }
    }

    /// A reply has come and no command has left in full that it could answer.
    fn on_reply_not_due(&mut self, reply: ReplyRef<'_>) {
        let code = reply.code();
        let reply = reply.to_owned();
        let reply = if self.may_repeat_secrets(reply.text()) { reply.without_text() } else { reply };
        if let Session::Quitting(_) = self.session {
            return self.finish_quitting();
        }
        let front = self.expected.front();
        let last_chunk =
            matches!(front, Some((Expect::Final, _))) && self.awaiting.front().is_some_and(|it| it.chunked);
        // No reply is early for a chunk of which the server cannot have an octet; and what has begun behind a last one would
        // take the replies to what is still to leave for its own.
        let begun = self.expected.front_has_begun(self.reply_began);
        let alone = self.current.is_none() && self.awaiting.len() == 1;
        let chunk = begun && (matches!(front, Some((Expect::Chunk, _))) || last_chunk && alone);
        if chunk && code.is_refusal() && code.get() != SHUTTING_DOWN {
            // It is this chunk's reply come early; the chunk has to be finished all the same.
            self.expected.take();
            return self.refuse_chunks(&reply);
        }
        let leaving = match (front, &self.session) {
            (Some((Expect::Final, _)), _) if begun || !last_chunk => self.awaiting.front_mut(),
            (None, Session::Content(Content::Lines(_))) => self.current.as_mut(),
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
            _ => CloseReason::unsolicited(reply),
        });
    }
}
