//! Why an authentication did not succeed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::SaslError;
use crate::escape::Escaped;
use crate::reply::{Reply, Severity};

/// An authentication that failed.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthFailure {
    /// The mechanism's name.
    pub(crate) mechanism: Box<str>,
    pub(crate) reply: Reply,
    pub(crate) error: Option<SaslError>,
    pub(crate) server_error: Option<Vec<u8>>,
}

/// What an authentication failed for (RFC 4954 sections 4 and 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthFailureKind {
    /// 535: wrong name, password or token. Trying another mechanism with the same ones is pointless and may lock the account.
    Credentials,
    /// 534: the mechanism is too weak for this user; a stronger one may do.
    TooWeak,
    /// 504: the server does not have the mechanism after all.
    Unsupported,
    /// 538: the mechanism needs TLS.
    NeedsTls,
    /// 432: the user's password has to be changed or converted first.
    PasswordTransition,
    /// 500: a line was too long for the server.
    LineTooLong,
    /// 454 and other 4yz: a temporary failure; the same may succeed later.
    Temporary,
    /// This side could not go on; [`AuthFailure::error`] says why.
    Local,
    /// Any other refusal.
    Other,
}

impl AuthFailure {
    /// The mechanism that was tried.
    pub fn mechanism(&self) -> &str {
        &self.mechanism
    }

    /// What the server said in the end. After a cancellation, its answer to that.
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Why this side cancelled, if it did.
    pub fn error(&self) -> Option<SaslError> {
        self.error
    }

    /// The server's own account within the exchange: the JSON of OAUTHBEARER and XOAUTH2, the `e=` of SCRAM.
    /// Octets of the server's choice; none where they repeat the token.
    pub fn server_error(&self) -> Option<&[u8]> {
        self.server_error.as_deref()
    }

    /// What it failed for.
    pub fn kind(&self) -> AuthFailureKind {
        match (self.error, self.reply.code().get()) {
            (Some(_), _) => AuthFailureKind::Local,
            (None, 535) => AuthFailureKind::Credentials,
            (None, 534) => AuthFailureKind::TooWeak,
            (None, 504) => AuthFailureKind::Unsupported,
            (None, 538) => AuthFailureKind::NeedsTls,
            (None, 432) => AuthFailureKind::PasswordTransition,
            (None, 500) => AuthFailureKind::LineTooLong,
            (None, _) if self.reply.code().severity() == Severity::Transient => AuthFailureKind::Temporary,
            (None, _) => AuthFailureKind::Other,
        }
    }

    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        self.kind() == AuthFailureKind::Temporary
    }
}

impl fmt::Debug for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthFailure({self})")
    }
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Some(error) => write!(f, "{} failed: {error}", self.mechanism)?,
            None => write!(f, "{} was refused: {}", self.mechanism, self.reply)?,
        }
        match &self.server_error {
            Some(account) => write!(f, " ({})", Escaped(account.get(..256).unwrap_or(account))),
            None => Ok(()),
        }
    }
}
