//! What an authentication goes through.

use super::Session;
use crate::connection::Connection;
use crate::connection::auth::{Answer, Exchange};
use crate::connection::envelope::Envelope;
use crate::connection::expect::Expect;
use crate::event::{Challenge, CloseReason, Event};
use crate::reply::Reply;
use crate::sasl::{SaslError, Secret};

/// Cancels an exchange (RFC 4954 section 4).
const CANCEL: &str = "*";

impl Connection {
    /// Says AUTH.
    pub(in crate::connection) fn start_auth(&mut self, mut exchange: Exchange, given: Option<Secret>) {
        let initial = exchange.initial(given, self.config.initial_response);
        let start = self.outbox.end();
        if let Some(encoded) = &initial {
            self.exposed_password |= !self.secure && exchange.exposes_password();
            exchange.says(encoded);
        }
        self.outbox.auth(exchange.name(), initial.as_ref().map(|encoded| encoded.as_str()));
        let end = self.outbox.end();
        self.expected.push(Expect::Auth, usize::try_from(end - start).unwrap_or_default(), end);
        self.session = Session::Authenticating(exchange);
    }

    /// Answers a challenge for the caller, or cancels. False when none is due.
    pub(in crate::connection) fn answer_by_hand(&mut self, response: Result<&str, SaslError>) -> bool {
        let Session::Authenticating(exchange) = &mut self.session else { return false };
        let due = exchange.answered(response.err());
        if due {
            match response {
                Ok(response) => self.respond(response),
                Err(_) => self.say(CANCEL),
            }
        }
        due
    }

    fn respond(&mut self, encoded: &str) {
        let Session::Authenticating(exchange) = &mut self.session else { return };
        exchange.says(encoded);
        self.exposed_password |= !self.secure && exchange.exposes_password();
        self.say(encoded);
    }

    fn say(&mut self, line: &str) {
        if self.write_closed {
            return;
        }
        let length = self.outbox.secret_line(line);
        self.expected.push(Expect::Auth, length, self.outbox.end());
    }

    pub(super) fn on_auth(&mut self, reply: Reply) {
        let Session::Authenticating(exchange) = &mut self.session else { return };
        match reply.code().get() {
            // After a cancellation neither makes sense any more.
            235 | 334 if exchange.is_cancelled() => self.close(CloseReason::unsolicited(reply)),
            334 => {
                let answer = exchange.answer(&reply);
                self.give(answer);
            }
            235 => match exchange.verify() {
                Ok(()) => {
                    self.authenticated = true;
                    self.session = Session::Ready;
                    self.after_auth = true;
                    self.events.push_back(Event::Authenticated(reply));
                }
                Err(error) => {
                    self.fail_auth(reply.clone(), Some(error));
                    self.close(match error {
                        SaslError::ServerRefused => CloseReason::unsolicited(reply),
                        _ => CloseReason::ServerUnproven,
                    });
                }
            },
            _ => self.fail_auth(reply, None),
        }
    }

    /// Whether text of the server's, which is no challenge, repeats what was said in an authentication, or a URL that it was to
    /// fetch. Where the exchange has just ended and nothing was said since, what was said is forgotten, and it may be anything.
    pub(in crate::connection) fn may_repeat_secrets(&self, text: &[u8]) -> bool {
        match &self.session {
            Session::Authenticating(exchange) => exchange.is_echoed_in(text),
            _ if self.after_auth => self.expected.front().is_none(),
            _ => {
                let echoed = |envelope: &Envelope| envelope.is_echoed_in(text);
                self.awaiting.iter().any(echoed) || self.current.as_ref().is_some_and(echoed)
            }
        }
    }

    fn give(&mut self, answer: Answer) {
        match answer {
            Answer::Response(response) => self.respond(&response),
            Answer::Cancel => self.say(CANCEL),
            Answer::AskCaller(challenge) => self.events.push_back(Event::AuthChallenge(Challenge(challenge))),
            // When the driver comes back.
            Answer::Later => {}
        }
    }

    /// Whether an answer is being computed.
    pub(in crate::connection) fn is_computing(&self) -> bool {
        matches!(&self.session, Session::Authenticating(exchange) if exchange.is_computing())
    }

    /// Goes on computing an answer, for some milliseconds.
    pub(in crate::connection) fn compute(&mut self) {
        let Session::Authenticating(exchange) = &mut self.session else { return };
        let answer = exchange.resume();
        self.give(answer);
    }

    fn fail_auth(&mut self, reply: Reply, error: Option<SaslError>) {
        self.after_auth = true;
        if let Session::Authenticating(exchange) = core::mem::replace(&mut self.session, Session::Ready) {
            self.events.push_back(Event::AuthFailed(exchange.into_failure(reply, error)));
        }
    }
}
