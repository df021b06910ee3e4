//! One SASL exchange: base64, limits, and who answers (RFC 4954 section 4).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::command::LINE_LIMIT;
use crate::echo;
use crate::reply::Reply;
use crate::sasl::{AuthFailure, Mechanism, Response, SaslError, Secret};

/// Challenges in one exchange, and octets in one of them and in all together.
const MOST_CHALLENGES: usize = 10;
const LONGEST_CHALLENGE: usize = 16 * 1024;
const MOST_OCTETS: usize = 64 * 1024;

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    party: Party,
    /// An initial response that found no room on the command line, or was not wanted there.
    held_back: Option<Secret>,
    challenges: usize,
    octets: usize,
    /// What was said, encoded.
    said: Vec<Zeroizing<String>>,
    /// Why this side has cancelled.
    cancelled: Option<SaslError>,
    /// A challenge waits for the caller.
    asking: bool,
    /// A challenge waits for the mechanism, which computes.
    computing: bool,
}

/// Who answers challenges.
enum Party {
    Mechanism(Box<dyn Mechanism>),
    Caller(Box<str>),
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Party {
    fn name(&self) -> &str {
        match self {
            Self::Mechanism(mechanism) => mechanism.name(),
            Self::Caller(name) => name,
        }
    }
}

/// What to say to a challenge.
pub(super) enum Answer {
    Response(Zeroizing<String>),
    /// The caller has to say it.
    AskCaller(Secret),
    /// It is not known yet.
    Later,
    Cancel,
}

impl Exchange {
    pub(super) fn by_mechanism(mechanism: Box<dyn Mechanism>) -> Self {
        Self::new(Party::Mechanism(mechanism))
    }

    pub(super) fn by_caller(name: &str) -> Self {
        Self::new(Party::Caller(name.into()))
    }

    fn new(party: Party) -> Self {
        Self {
            party,
            held_back: None,
            challenges: 0,
            octets: 0,
            said: Vec::new(),
            cancelled: None,
            asking: false,
            computing: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.party.name()
    }

    /// Whether whoever reads what is said can log in afterwards. What the caller says may be anything.
    pub(super) fn exposes_password(&self) -> bool {
        match &self.party {
            Party::Mechanism(mechanism) => mechanism.exposes_password(),
            Party::Caller(_) => true,
        }
    }

    /// What to put on the command line. An empty response is `=` there, and one that makes the line too long, or is not
    /// `wanted` there, is held back for the first challenge.
    pub(super) fn initial(&mut self, given: Option<Secret>, wanted: bool) -> Option<Zeroizing<String>> {
        let initial = match &mut self.party {
            Party::Mechanism(mechanism) => mechanism.initial_response(),
            Party::Caller(_) => given,
        }?;
        let encoded = match initial.expose() {
            [] => Zeroizing::new("=".into()),
            octets => Zeroizing::new(BASE64_STANDARD.encode(octets)),
        };
        let line = "AUTH ".len() + self.name().len() + " ".len() + encoded.len() + "\r\n".len();
        if wanted && line <= LINE_LIMIT {
            return Some(encoded);
        }
        self.held_back = Some(initial);
        None
    }

    /// Answers a 334.
    pub(super) fn answer(&mut self, reply: &Reply) -> Answer {
        self.challenges += 1;
        self.octets += reply.text().len();
        let excessive =
            self.challenges > MOST_CHALLENGES || self.octets > MOST_OCTETS || reply.text().len() > LONGEST_CHALLENGE;
        let challenge = match BASE64_STANDARD.decode(reply.text()) {
            _ if excessive => Err(SaslError::TooManyChallenges),
            Ok(challenge) => Ok(Secret::from(challenge)),
            Err(_) => Err(SaslError::Base64),
        };
        let response = match (challenge, &mut self.party) {
            (Err(error), _) => Err(error),
            (Ok(_), _) if self.held_back.is_some() => Ok(self.held_back.take().unwrap_or_default().into()),
            (Ok(challenge), Party::Mechanism(mechanism)) => mechanism.respond(challenge.expose()),
            (Ok(challenge), Party::Caller(_)) => {
                self.asking = true;
                return Answer::AskCaller(challenge);
            }
        };
        self.encoded(response)
    }

    /// Goes on computing an answer.
    pub(super) fn resume(&mut self) -> Answer {
        let response = match &mut self.party {
            Party::Mechanism(mechanism) => mechanism.resume(),
            Party::Caller(_) => Err(SaslError::UnexpectedChallenge),
        };
        self.encoded(response)
    }

    pub(super) fn is_computing(&self) -> bool {
        self.computing
    }

    fn encoded(&mut self, response: Result<Response, SaslError>) -> Answer {
        self.computing = matches!(response, Ok(Response::Later));
        match response {
            Ok(Response::Say(response)) => Answer::Response(Zeroizing::new(BASE64_STANDARD.encode(response.expose()))),
            Ok(Response::Later) => Answer::Later,
            Err(error) => {
                self.cancelled = Some(error);
                Answer::Cancel
            }
        }
    }

    /// What is said now.
    pub(super) fn says(&mut self, encoded: &str) {
        self.said.push(Zeroizing::new(encoded.into()));
    }

    /// Whether a line of the server's repeats what was said, as those do that quote what they do not understand.
    pub(super) fn is_echoed_in(&self, line: &[u8]) -> bool {
        self.said.iter().any(|said| echo::repeats(line, said.as_bytes()))
    }

    /// The caller's answer is due; afterwards it is not. `cancelled` says that it is none.
    pub(super) fn answered(&mut self, cancelled: Option<SaslError>) -> bool {
        self.cancelled = self.cancelled.or(cancelled.filter(|_| self.asking));
        core::mem::take(&mut self.asking)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// Whether the server's claim of success can be believed.
    pub(super) fn verify(&mut self) -> Result<(), SaslError> {
        match &mut self.party {
            Party::Mechanism(mechanism) => mechanism.verify_success(),
            Party::Caller(_) => Ok(()),
        }
    }

    pub(super) fn into_failure(mut self, reply: Reply, error: Option<SaslError>) -> AuthFailure {
        let server_error = match &mut self.party {
            Party::Mechanism(mechanism) => mechanism.server_error(),
            Party::Caller(_) => None,
        };
        AuthFailure { mechanism: self.name().into(), reply, error: error.or(self.cancelled), server_error }
    }
}
