//! Who a message is from and for, and who we are: values that are checked once and can be sent ever after.

mod grammar;
mod hello;

use alloc::sync::Arc;
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
pub struct ReversePath(Option<Arc<str>>);

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

    /// As [`ForwardPath::to_ascii`]. The null path stays null.
    ///
    /// # Errors
    ///
    /// [`AddressError`] as there.
    #[cfg(feature = "idna")]
    pub fn to_ascii(&self) -> Result<Self, AddressError> {
        let ascii = grammar::with_ascii_domain(self.as_str())?;
        Ok(ascii.map_or_else(|| self.clone(), |mailbox| Self(Some(mailbox))))
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
///
/// Cloning shares the text, as with [`ReversePath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwardPath(Arc<str>);

impl ForwardPath {
    /// The domain or address literal, as it was given. `None` for the bare `postmaster` (RFC 5321 section 4.1.1.3).
    pub fn domain(&self) -> Option<&str> {
        // A quoted local part may hold an `@`, and so may a literal, but no bracket.
        let at = if self.0.ends_with(']') { self.0.rfind("@[") } else { self.0.rfind('@') };
        at.and_then(|at| self.0.get(at + 1..))
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

    /// The same mailbox with its domain in A-labels (RFC 5891 section 4), which servers without SMTPUTF8 take too (RFC 6531
    /// section 3.2). The domain is prepared as browsers do (UTS 46, nontransitional): lower case, NFC. The local part stays
    /// as given, so that the result is ASCII only if that is. A connection does this by itself where it is needed.
    ///
    /// ```
    /// use smtp_proto::ForwardPath;
    ///
    /// assert_eq!(ForwardPath::parse("me@Bücher.example")?.to_ascii()?.as_str(), "me@xn--bcher-kva.example");
    /// assert_eq!(ForwardPath::parse("Me@Example.org")?.to_ascii()?.as_str(), "Me@Example.org");
    /// # Ok::<(), smtp_proto::AddressError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AddressError::NoAsciiForm`] when the domain is not one of IDNA, another [`AddressError`] when the mailbox becomes
    /// too long, or is none but by [`parse_relaxed`](Self::parse_relaxed).
    #[cfg(feature = "idna")]
    pub fn to_ascii(&self) -> Result<Self, AddressError> {
        let ascii = grammar::with_ascii_domain(&self.0)?;
        Ok(ascii.map_or_else(|| self.clone(), Self))
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

    // C-49: the traits of the standard library read what `parse` reads.
    #[test]
    fn paths_by_the_usual_traits() {
        let (text, wrong) = ("Me@Example.org", "me@example.org> SIZE=1");
        assert_eq!(text.parse(), ForwardPath::parse(text));
        assert_eq!(ForwardPath::try_from(text), ForwardPath::parse(text));
        assert_eq!(text.parse(), ReversePath::parse(text));
        assert_eq!(ReversePath::try_from(text), ReversePath::parse(text));
        assert_eq!("example.org".parse(), HelloName::parse("example.org"));
        assert_eq!(HelloName::try_from("example.org"), HelloName::parse("example.org"));
        assert!(wrong.parse::<ForwardPath>().is_err() && ReversePath::try_from(wrong).is_err());
    }

    // C-48: the null reverse-path is first-class; a null forward-path does not exist.
    #[test]
    fn null_paths() {
        for text in ["", "<>"] {
            assert!(ReversePath::parse(text).unwrap().is_null());
            assert!(ReversePath::parse_relaxed(text).unwrap().is_null());
            assert!(ForwardPath::parse(text).is_err() && ForwardPath::parse_relaxed(text).is_err());
        }
        assert_eq!(ReversePath::parse_relaxed("a..b@c").unwrap().as_str(), "a..b@c");
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

    // C-89: domains become A-labels, ASCII domains and local parts stay as given.
    #[cfg(feature = "idna")]
    #[test]
    fn domains_in_a_labels() {
        for (text, expected) in [
            ("δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@xn--hxajbheg2az3al.xn--jxalpdlp"),
            ("A.b@Faß.example", "A.b@xn--fa-hia.example"),
            ("\"a@é\"@BÜCHER.example", "\"a@é\"@xn--bcher-kva.example"),
            ("\"é@é\"@Example.org", "\"é@é\"@Example.org"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ] {
            assert_eq!(ForwardPath::parse(text).unwrap().to_ascii().unwrap().as_str(), expected);
            assert_eq!(ReversePath::parse(text).unwrap().to_ascii().unwrap().as_str(), expected);
        }
        assert!(ReversePath::null().to_ascii().unwrap().is_null());
        let postmaster = ForwardPath::parse("Postmaster").unwrap();
        assert_eq!(postmaster.to_ascii(), Ok(postmaster));
        let relaxed = ForwardPath::parse_relaxed("é").unwrap();
        assert_eq!(relaxed.to_ascii(), Ok(relaxed));
        for text in ["a@\u{378}.example", "a@xn--é.example", "a@é..example", "a@é_b.example"] {
            let path = ForwardPath::parse_relaxed(text).unwrap();
            assert_eq!(path.to_ascii(), Err(AddressError::NoAsciiForm), "{text}");
        }
        // 63 characters fit a label, but not once they are Punycode.
        let long = alloc::format!("a@{}.example", "é".repeat(63));
        assert_eq!(ForwardPath::parse(&long).unwrap().to_ascii(), Err(AddressError::NoAsciiForm));
    }

    proptest! {
        // C-89, P-01: whatever the domain, what comes out is the same local part and a domain of ASCII, or nothing.
        #[cfg(feature = "idna")]
        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn ascii_domains_are_domains(domain in "\\PC{1,20}") {
            let Ok(path) = ForwardPath::parse(&alloc::format!("a@{domain}")) else { return Ok(()) };
            if let Ok(ascii) = path.to_ascii() {
                prop_assert!(ascii.is_ascii() && ascii.as_str().starts_with("a@"));
                prop_assert_eq!(ForwardPath::parse(ascii.as_str()), Ok(ascii));
            }
        }
    }

    proptest! {
        // P-19: what was parsed prints as something that parses to the same.
        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn printing_and_parsing_are_inverse(text in "[a-c. \"\\\\<@:,>é-]{0,12}@[a-c.é-]{1,6}") {
            if let Ok(path) = ForwardPath::parse(&text) {
                prop_assert_eq!(&ForwardPath::parse_relaxed(path.as_str()), &Ok(path.clone()));
                prop_assert_eq!(ForwardPath::parse(path.as_str()), Ok(path));
            }
        }

        // P-01 for paths: no text whatever makes a path that could end its command or its brackets.
        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn no_text_smuggles_a_line_end(text in any::<alloc::string::String>()) {
            for path in [ForwardPath::parse(&text), ForwardPath::parse_relaxed(&text)].iter().flatten() {
                prop_assert!(!path.as_str().chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn domains_of_paths() {
        for (path, domain) in [
            ("a@x.example", Some("x.example")),
            ("\"a@b\"@x.example", Some("x.example")),
            ("a@[192.0.2.1]", Some("[192.0.2.1]")),
            ("a@[x:y@z]", Some("[x:y@z]")),
            ("postmaster", None),
        ] {
            if let Ok(path) = ForwardPath::parse(path) {
                assert_eq!(path.domain(), domain, "{path}");
            }
        }
    }
}
