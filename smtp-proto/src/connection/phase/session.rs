//! What a session goes through: greeting, hello, TLS, single commands, its end.

use super::Session;
use crate::capability::Capabilities;
use crate::command::Command;
use crate::config::Protocol;
use crate::connection::expect::Expect;
use crate::connection::{Connection, queue};
use crate::event::{CloseReason, Event, Phase};
use crate::reply::{Reply, Severity};

/// The code that answers no command but STARTTLS and XCLIENT.
const GREETING: u16 = 220;

impl Connection {
    pub(super) fn on_greeting(&mut self, reply: Reply) {
        if reply.code().severity() != Severity::Completion {
            return self.quit_because(CloseReason::Refused { phase: Phase::Greeting, reply });
        }
        self.events.push_back(Event::Greeting(reply));
        self.start_hello();
    }

    /// Says hello after the greeting, after TLS or after XCLIENT, or leaves it to the caller.
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
    pub(in crate::connection) fn hello_by_hand(&mut self, expect: Expect) {
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

    pub(super) fn on_hello(&mut self, expect: Expect, reply: Reply) {
        // A second greeting (RFC 3207 section 4.2 has none within TLS): the reply to the hello is still to come.
        if reply.code().get() == GREETING {
            return self.close(CloseReason::unsolicited(reply));
        }
        let automatic = matches!(self.session, Session::Starting);
        let accepted = reply.code().severity() == Severity::Completion;
        // Whatever an earlier hello taught is gone. A server that refuses stays in the state it was in (RFC 5321 section
        // 4.1.4), but whoever asks anew does not want to go by what was offered before.
        self.capabilities = match expect {
            Expect::Ehlo if accepted => Capabilities::from_reply(&reply),
            _ => Capabilities::default(),
        };
        self.greeted |= accepted;
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
    pub(in crate::connection) fn start_command(&mut self, command: &Command<'_>, expect: Expect) {
        self.session = Session::Busy;
        queue(&mut self.outbox, &mut self.expected, command, expect);
    }

    pub(super) fn on_starttls(&mut self, reply: Reply, more: bool) {
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

    pub(super) fn on_xclient(&mut self, reply: Reply) {
        if reply.code().get() == GREETING {
            self.authenticated = false;
            self.events.push_back(Event::Greeting(reply));
            self.start_hello();
        } else {
            self.session = Session::Ready;
            self.events.push_back(Event::Reply(reply));
        }
    }

    /// TLS is established: everything is learnt anew (RFC 3207 section 4.2).
    pub(in crate::connection) fn on_tls_established(&mut self) {
        self.secure = true;
        self.authenticated = false;
        self.start_hello();
    }

    /// Says QUIT; however that ends, the connection ends for `reason`.
    pub(in crate::connection) fn quit_because(&mut self, reason: CloseReason) {
        self.complete_current();
        queue(&mut self.outbox, &mut self.expected, &Command::Quit, Expect::Quit);
        self.session = Session::Quitting(reason);
    }

    /// The end of a session that said QUIT, whichever way it comes.
    pub(in crate::connection) fn finish_quitting(&mut self) {
        if let Session::Quitting(reason) = &self.session {
            self.close(reason.clone());
        }
    }

    /// Ends the connection: reports every open transaction, then the reason, and forgets the rest.
    pub(in crate::connection) fn close(&mut self, reason: CloseReason) {
        if matches!(self.session, Session::Closed(_)) {
            return;
        }
        self.after_auth |= matches!(self.session, Session::Authenticating(_));
        let transmitted = self.outbox.transmitted();
        let open = self.awaiting.drain(..).chain(self.current.take());
        self.events.extend(open.map(|envelope| Event::Completed(envelope.into_report(transmitted))));
        self.events.push_back(Event::Closed(reason.clone()));
        self.outbox.discard();
        self.expected.clear();
        self.session = Session::Closed(reason);
    }
}
