//! Who a message is from and for, and who we are: values that are checked once and can be sent ever after.

mod grammar;
mod hello;

use alloc::boxed::Box;
use core::fmt;
use core::str::FromStr;

pub use self::grammar::AddressError;
pub use self::hello::HelloName;
use crate::escape::Escaped;

/// Who gets the bounces: the argument of MAIL, possibly null (RFC 5321 section 4.1.2).
///
/// ```
/// use smtp_proto::ReversePath;
///
/// assert_eq!(ReversePath::parse("<me@example.org>")?.as_str(), "me@example.org");
/// assert_eq!(ReversePath::null().to_string(), "<>");
/// assert!(ReversePath::parse("me@example.org>\r\nDATA").is_err());
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReversePath(Option<Box<str>>);

impl ReversePath {
    /// Reads a mailbox such as `me@example.org`, with or without angle brackets, or the null path: `<>` or nothing.
    ///
    /// A source route (`<@relay:me@example.org>`) is read and dropped. Quotation marks that the local part does not need
    /// are dropped too; letter case is kept.
    ///
    /// # Errors
    ///
    /// [`AddressError`] when it is not a mailbox of RFC 5321 section 4.1.2 (or RFC 6531 section 3.3 outside ASCII), or
    /// longer than section 4.5.3.1 allows.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text == "<>" {
            return Ok(Self::null());
        }
        grammar::mailbox(text).map(|mailbox| Self(Some(mailbox)))
    }

    /// As [`ForwardPath::parse_relaxed`].
    ///
    /// # Errors
    ///
    /// [`AddressError`] as there.
    pub fn parse_relaxed(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text == "<>" {
            return Ok(Self::null());
        }
        grammar::relaxed(text).map(|mailbox| Self(Some(mailbox)))
    }

    /// The null reverse-path `<>`, for messages that must not bounce.
    pub const fn null() -> Self {
        Self(None)
    }

    /// The mailbox without angle brackets; empty for the null path.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether this is the null path.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the path can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.as_str().is_ascii()
    }
}

/// One recipient: the argument of RCPT (RFC 5321 section 4.1.1.3).
///
/// ```
/// use smtp_proto::ForwardPath;
///
/// assert_eq!(ForwardPath::parse("\"john doe\"@Example.org")?.as_str(), "\"john doe\"@Example.org");
/// assert_eq!(ForwardPath::parse("Postmaster")?.as_str(), "Postmaster");
/// assert!(ForwardPath::parse("a@b> SIZE=1").is_err());
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardPath(Box<str>);

impl ForwardPath {
    /// The domain or address literal, as it was given. `None` for the bare `postmaster` (RFC 5321 section 4.1.1.3).
    pub fn domain(&self) -> Option<&str> {
        // A quoted local part may hold an `@`, a domain never does.
        self.0.rsplit_once('@').map(|(_, domain)| domain)
    }

    /// Reads a mailbox as [`ReversePath::parse`] does, or `Postmaster` without a domain in any letter case.
    ///
    /// # Errors
    ///
    /// [`AddressError`] as there; there is no null forward-path.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let bare = grammar::without_brackets(text)?;
        if bare.eq_ignore_ascii_case("postmaster") {
            return Ok(Self(bare.into()));
        }
        grammar::mailbox(text).map(Self)
    }

    /// Reads what some servers take and the grammar does not allow: a local part alone (usual in LMTP), an over-long
    /// path, an underscore in a domain. Taken verbatim, angle brackets aside.
    ///
    /// # Errors
    ///
    /// [`AddressError`] for whatever could end the path or the command line early: control characters, angle brackets,
    /// a space outside quotation marks, quotation marks that do not close.
    pub fn parse_relaxed(text: &str) -> Result<Self, AddressError> {
        grammar::relaxed(text).map(Self)
    }

    /// The mailbox without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the path can be sent without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }
}

impl fmt::Display for ReversePath {
    /// In angle brackets, with invisible characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", Escaped(self.as_str().as_bytes()))
    }
}

impl fmt::Display for ForwardPath {
    /// In angle brackets, with invisible characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", Escaped(self.0.as_bytes()))
    }
}

/// `FromStr` and `TryFrom<&str>` by the type's own `parse`.
macro_rules! parsed_from_str {
    ($($type:ty),*) => {$(
        impl FromStr for $type {
            type Err = AddressError;

            fn from_str(text: &str) -> Result<Self, AddressError> {
                Self::parse(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = AddressError;

            fn try_from(text: &str) -> Result<Self, AddressError> {
                Self::parse(text)
            }
        }
    )*};
}

parsed_from_str!(ReversePath, ForwardPath, HelloName);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    // C-48: the null reverse-path is first-class; a null forward-path does not exist.
    #[test]
    fn null_paths() {
        for text in ["", "<>"] {
            assert!(ReversePath::parse(text).unwrap().is_null());
            assert!(ForwardPath::parse(text).is_err());
        }
        assert_eq!(ReversePath::null().as_str(), "");
        assert_eq!(ReversePath::null().to_string(), "<>");
    }

    // C-49: Postmaster needs no domain, as a recipient only.
    #[test]
    fn postmaster_stands_alone() {
        assert_eq!(ForwardPath::parse("<postMaster>").unwrap().as_str(), "postMaster");
        assert!(ReversePath::parse("postmaster").is_err());
        assert!(ForwardPath::parse("root").is_err());
    }

    // S-24: a look-alike address is a policy question, but its invisible characters show.
    #[test]
    fn display_shows_invisible_characters() {
        let path = ForwardPath::parse("a\u{200b}b@example.org").unwrap();
        assert_eq!(path.to_string(), "<a\\u{200b}b@example.org>");
        assert!(alloc::format!("{path:?}").contains("\\u{200b}"));
    }

    proptest! {
        // P-19: what was parsed prints as something that parses to the same.
        #[test]
        fn printing_and_parsing_are_inverse(text in "[a-c. \"\\\\<@:,>é-]{0,12}@[a-c.é-]{1,6}") {
            if let Ok(path) = ForwardPath::parse(&text) {
                prop_assert_eq!(&ForwardPath::parse_relaxed(path.as_str()), &Ok(path.clone()));
                prop_assert_eq!(ForwardPath::parse(path.as_str()), Ok(path));
            }
        }

        // P-01 for paths: no text whatever makes a path that could end its command or its brackets.
        #[test]
        fn no_text_smuggles_a_line_end(text in any::<alloc::string::String>()) {
            for path in [ForwardPath::parse(&text), ForwardPath::parse_relaxed(&text)].iter().flatten() {
                prop_assert!(!path.as_str().chars().any(char::is_control));
            }
        }
    }
}
