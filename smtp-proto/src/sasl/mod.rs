//! Authentication (RFC 4954) by SASL mechanisms (RFC 4422).
//!
//! A [`Mechanism`] turns challenges into responses and knows nothing of SMTP: base64, the `=` for an empty initial response,
//! limits and the cancelling `*` are the connection's. [`Credentials`] say who to be; [`choose`] picks the strongest
//! mechanism that they and the server allow. [`Setup`](crate::Setup) does all of it, with what to try after a refusal.

mod choice;
mod credentials;
mod failure;
mod oauth;
mod password;
#[cfg(feature = "scram")]
mod scram;

pub use self::choice::{ChannelBindings, Choice, ChooseError, choose};
pub use self::credentials::{Credentials, CredentialsError};
pub use self::failure::{AuthFailure, AuthFailureKind};
#[cfg(feature = "scram")]
pub use self::scram::Iterations;
pub use crate::secret::Secret;

/// One side of a SASL exchange: the client's.
///
/// The exchange is `initial_response`, then `respond` for each challenge; in the end the server claims success, and
/// `verify_success` says whether that can be believed.
pub trait Mechanism: Send {
    /// The registered name, such as `PLAIN`: up to 20 upper-case letters, digits, hyphens and underscores.
    fn name(&self) -> &str;

    /// What the client says unasked. Raw octets; `None` when the server has to begin. Asked for once.
    fn initial_response(&mut self) -> Option<Secret> {
        None
    }

    /// The answer to a challenge.
    ///
    /// # Errors
    ///
    /// [`SaslError`] when there is none: the exchange is then cancelled and fails.
    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError>;

    /// Goes on with an answer that was [`Response::Later`], for some milliseconds.
    ///
    /// # Errors
    ///
    /// [`SaslError`] as for [`respond`](Self::respond), and when there is no such answer.
    fn resume(&mut self) -> Result<Response, SaslError> {
        Err(SaslError::UnexpectedChallenge)
    }

    /// Whether the server's claim of success is to be believed. Mechanisms in which the server proves itself may refuse; the
    /// connection is then closed.
    ///
    /// # Errors
    ///
    /// [`SaslError`] when it is not.
    fn verify_success(&mut self) -> Result<(), SaslError> {
        Ok(())
    }

    /// Whether whoever reads the exchange can log in afterwards. If so, it needs TLS.
    fn exposes_password(&self) -> bool {
        true
    }

    /// What the server said of its refusal within the exchange, such as the JSON of OAUTHBEARER (RFC 7628 section 3.2.2)
    /// or the `e=` of SCRAM (RFC 5802 section 7).
    fn server_error(&mut self) -> Option<alloc::vec::Vec<u8>> {
        None
    }
}

/// What a mechanism says to a challenge.
#[derive(Debug)]
pub enum Response {
    /// This. Raw octets.
    Say(Secret),
    /// It takes long to compute, and a part of that is done: [`Mechanism::resume`] goes on with it. Meanwhile
    /// [`Connection::poll_timeout`](crate::Connection::poll_timeout) is zero, so that a loop with other things to do can do
    /// them in between.
    Later,
}

impl From<Secret> for Response {
    fn from(secret: Secret) -> Self {
        Self::Say(secret)
    }
}

/// Why a mechanism cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// The challenge is not one line of strict base64 (RFC 4954 section 4).
    #[error("the challenge is not base64")]
    Base64,
    /// The mechanism has nothing to answer at this point.
    #[error("the server asks for more than the mechanism has to say")]
    UnexpectedChallenge,
    /// The challenge does not follow the mechanism's grammar.
    #[error("the challenge does not follow the mechanism's grammar")]
    MalformedChallenge,
    /// The server asks for too few iterations to protect the password, or for too many to be honest (RFC 7677 section 4).
    #[error("the server asks for {0} iterations, which is out of bounds")]
    Iterations(u32),
    /// The server refused within the exchange, and claimed success all the same.
    #[error("the server refused within the exchange, and claimed success all the same")]
    ServerRefused,
    /// The server did not prove that it knows the password.
    #[error("the server did not prove that it knows the password")]
    ServerUnproven,
    /// A name or password cannot be prepared for the mechanism (RFC 4013).
    #[error("a name or password holds characters that are not allowed in one")]
    Prohibited,
    /// More challenges, or longer ones, than any mechanism needs.
    #[error("the server never comes to an end")]
    TooManyChallenges,
    /// The caller cancelled.
    #[error("cancelled by the caller")]
    Cancelled,
}

/// What a mechanism says in the end.
#[cfg(test)]
fn said(response: Result<Response, SaslError>) -> Secret {
    let Ok(Response::Say(secret)) = response else { panic!("no response") };
    secret
}
