//! Who to be.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use super::Secret;

/// Who to authenticate as, and by what. Cannot be made with what a mechanism could not carry.
///
/// ```
/// use smtp_proto::sasl::Credentials;
///
/// let me = Credentials::password("me@example.org", "hunter2")?;
/// assert!(!format!("{me:?}").contains("hunter2"));
/// assert!(Credentials::password("me", "a\0b").is_err());
/// # Ok::<(), smtp_proto::sasl::CredentialsError>(())
/// ```
#[derive(Clone)]
pub struct Credentials {
    pub(super) authzid: Option<Box<str>>,
    pub(super) kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    Password {
        authcid: Box<str>,
        password: Secret,
    },
    Token {
        user: Box<str>,
        source: Arc<dyn Fn() -> Option<Secret> + Send + Sync>,
        /// Asking again may give another.
        renewable: bool,
    },
    External,
    Anonymous {
        trace: Box<str>,
    },
}

/// Why credentials cannot be carried by any mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A name, password or token is empty (RFC 4616 section 2).
    #[error("a name, password or token is empty")]
    Empty,
    /// A name or password holds a NUL, which separates the parts of PLAIN; or a name holds a control character.
    #[error("a name or password holds a control character")]
    Control,
    /// A token holds what no bearer token does (RFC 6750 section 2.1).
    #[error("a token holds characters that are not allowed in one")]
    Token,
    /// The trace of ANONYMOUS is longer than 255 characters (RFC 4505 section 2).
    #[error("the trace is longer than 255 characters")]
    TooLong,
}

fn name(text: &str) -> Result<Box<str>, CredentialsError> {
    if text.is_empty() {
        Err(CredentialsError::Empty)
    } else if text.chars().any(char::is_control) {
        Err(CredentialsError::Control)
    } else {
        Ok(text.into())
    }
}

/// `b64token`, and whatever else printable ASCII real services hand out, but no separators.
fn token(secret: Secret) -> Result<Secret, CredentialsError> {
    match secret.expose() {
        [] => Err(CredentialsError::Empty),
        octets if octets.iter().all(u8::is_ascii_graphic) => Ok(secret),
        _ => Err(CredentialsError::Token),
    }
}

impl Credentials {
    /// A user name and a password: SCRAM, CRAM-MD5, PLAIN or LOGIN.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`] when one of them is empty, the password holds a NUL or the name a control character.
    pub fn password(authcid: &str, password: impl Into<Secret>) -> Result<Self, CredentialsError> {
        let password = password.into();
        match password.expose() {
            [] => return Err(CredentialsError::Empty),
            octets if octets.contains(&0) => return Err(CredentialsError::Control),
            _ => {}
        }
        Ok(Kind::Password { authcid: name(authcid)?, password }.into())
    }

    /// A user name and a bearer token: OAUTHBEARER or XOAUTH2.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`] when one of them is empty or holds what it may not.
    pub fn token(user: &str, secret: impl Into<Secret>) -> Result<Self, CredentialsError> {
        let secret = token(secret.into())?;
        let source = Arc::new(move || Some(secret.clone()));
        Ok(Kind::Token { user: name(user)?, source, renewable: false }.into())
    }

    /// As [`token`](Self::token), with a function that gives the current token. It is asked for each attempt; after a refusal
    /// it is asked once more, so that it can fetch a fresh one. `None`, or what is no token, ends the attempt. It is called
    /// where the connection's events are handled: in a program that must not block there, it should hand out what another
    /// task keeps fresh.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`] when the user name is empty or holds a control character.
    pub fn token_source(
        user: &str,
        source: impl Fn() -> Option<Secret> + Send + Sync + 'static,
    ) -> Result<Self, CredentialsError> {
        let source = Arc::new(move || source().and_then(|secret| token(secret).ok()));
        Ok(Kind::Token { user: name(user)?, source, renewable: true }.into())
    }

    /// Who the server knows us to be by other means, such as a client certificate: EXTERNAL.
    pub fn external() -> Self {
        Kind::External.into()
    }

    /// Nobody: ANONYMOUS, with something for the server's log (RFC 4505).
    ///
    /// # Errors
    ///
    /// [`CredentialsError`] when the trace holds a control character or more than 255 characters.
    pub fn anonymous(trace: &str) -> Result<Self, CredentialsError> {
        if trace.chars().count() > 255 {
            return Err(CredentialsError::TooLong);
        }
        if trace.chars().any(char::is_control) {
            return Err(CredentialsError::Control);
        }
        Ok(Kind::Anonymous { trace: trace.into() }.into())
    }

    /// The identity to act as, when it is another than the one that authenticates.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`] when it is empty or holds a control character.
    pub fn acting_as(mut self, authzid: &str) -> Result<Self, CredentialsError> {
        self.authzid = Some(name(authzid)?);
        Ok(self)
    }

    /// Whether asking for the credentials again may give others.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.kind, Kind::Token { renewable: true, .. })
    }
}

impl From<Kind> for Credentials {
    fn from(kind: Kind) -> Self {
        Self { authzid: None, kind }
    }
}

impl fmt::Debug for Credentials {
    /// The kind, and no name: user names are often as good as a mail address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Password { .. } => "password",
            Kind::Token { .. } => "token",
            Kind::External => "external",
            Kind::Anonymous { .. } => "anonymous",
        };
        let kind: String = kind.into();
        f.debug_tuple("Credentials").field(&kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    // C-123, C-129, S-22: what would end a part of a message early cannot be part of it.
    #[test]
    fn separators_are_no_part_of_credentials() {
        for bad in ["", "a\0b", "a\rb", "a\nb", "a\x01b"] {
            assert!(Credentials::password(bad, "x").is_err(), "{bad:?}");
            assert!(Credentials::token(bad, "x").is_err(), "{bad:?}");
            assert!(Credentials::token("user", bad).is_err(), "{bad:?}");
            assert!(Credentials::external().acting_as(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a\0b"] {
            assert!(Credentials::password("user", bad).is_err(), "{bad:?}");
        }
        assert!(Credentials::password("user", "tab\tand\x01control").is_ok());
        assert!(Credentials::token("user", "a b").is_err());
    }

    // C-124: the trace of ANONYMOUS has a limit.
    #[test]
    fn traces_have_a_limit() {
        assert!(Credentials::anonymous("").is_ok());
        assert!(Credentials::anonymous(&"é".repeat(255)).is_ok());
        assert!(Credentials::anonymous(&"é".repeat(256)).is_err());
    }

    #[test]
    fn debug_shows_the_kind_only() {
        for (credentials, kind) in [
            (Credentials::password("alice", "hunter2").unwrap(), "password"),
            (Credentials::token("alice", "hunter2").unwrap(), "token"),
            (Credentials::external().acting_as("alice").unwrap(), "external"),
            (Credentials::anonymous("alice").unwrap(), "anonymous"),
        ] {
            assert_eq!(format!("{credentials:?}"), format!("Credentials({kind:?})"));
        }
    }
}
