//! Reports of delivery and failure: RET, ENVID and NOTIFY (RFC 3461).

use alloc::boxed::Box;
use core::fmt::{self, Write};
use core::ops::BitOr;

use super::xtext::Encoded;
use super::{ParameterError, at_most, printable};

/// How much of the message a report of its failure brings back: RET on MAIL (RFC 3461 section 4.3). Whatever is asked, a
/// report of success brings the headers only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its headers.
    Hdrs,
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Hdrs => "HDRS",
        })
    }
}

/// A name for this sending of the message, which reports repeat: ENVID on MAIL (RFC 3461 section 4.4). Displayed as it is
/// sent, in xtext.
///
/// ```
/// use smtp_proto::EnvelopeId;
///
/// let id = EnvelopeId::new("order 66+1")?;
/// assert_eq!(id.as_str(), "order 66+1");
/// assert_eq!(id.to_string(), "order+2066+2B1");
/// assert!(EnvelopeId::new("66\r\nRSET").is_err());
/// # Ok::<(), smtp_proto::ParameterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeId(Box<str>);

impl EnvelopeId {
    /// Octets that the identifier may have as it is sent.
    const LIMIT: usize = 100;

    /// Takes printable ASCII and spaces, given as it is and not as xtext.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] when it is empty, holds anything else, or is longer than 100 octets in xtext.
    pub fn new(text: &str) -> Result<Self, ParameterError> {
        printable(text)?;
        let id = Self(text.into());
        at_most(Self::LIMIT, &id)?;
        Ok(id)
    }

    /// The identifier as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Encoded(self.0.as_bytes()).fmt(f)
    }
}

/// When a recipient's fate is to be reported: NOTIFY on RCPT (RFC 3461 section 4.1). Where nothing is said, a failure is
/// reported and a delay may be.
///
/// ```
/// use smtp_proto::{Notify, NotifyOn};
///
/// let notify = Notify::On(NotifyOn::DELAY | NotifyOn::SUCCESS);
/// assert_eq!(notify.to_string(), "SUCCESS,DELAY");
/// assert_eq!(Notify::parse("success,delay")?, notify);
/// assert!(Notify::parse("NEVER,SUCCESS").is_err());
/// # Ok::<(), smtp_proto::ParameterError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notify {
    /// In no case, not even on failure.
    Never,
    /// In these cases.
    On(NotifyOn),
}

/// At least one case in which to report. Made from its constants, by `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NotifyOn(u8);

impl NotifyOn {
    /// The message was delivered.
    pub const SUCCESS: Self = Self(1);
    /// It could not be delivered.
    pub const FAILURE: Self = Self(2);
    /// It is late and is still being tried.
    pub const DELAY: Self = Self(4);

    /// Whether every case of `other` is one of these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// In the order in which they are sent.
const CASES: [(&str, NotifyOn); 3] =
    [("SUCCESS", NotifyOn::SUCCESS), ("FAILURE", NotifyOn::FAILURE), ("DELAY", NotifyOn::DELAY)];

impl BitOr for NotifyOn {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Notify {
    /// Reads `NEVER`, or `SUCCESS`, `FAILURE` and `DELAY` with commas between, in any order and letter case.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Value`] when it is anything else, `NEVER` stands with another, or one stands twice.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::Never);
        }
        let mut cases: Option<NotifyOn> = None;
        for word in text.split(',') {
            let known = CASES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            let case = known.map(|(_, case)| *case).filter(|case| !cases.is_some_and(|cases| cases.contains(*case)));
            let case = case.ok_or(ParameterError::Value)?;
            cases = Some(cases.map_or(case, |cases| cases | case));
        }
        cases.map(Self::On).ok_or(ParameterError::Value)
    }
}

impl From<NotifyOn> for Notify {
    fn from(cases: NotifyOn) -> Self {
        Self::On(cases)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::On(cases) = self else { return f.write_str("NEVER") };
        let mut first = true;
        for (name, _) in CASES.iter().filter(|(_, case)| cases.contains(*case)) {
            if !first {
                f.write_char(',')?;
            }
            f.write_str(name)?;
            first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    // C-91: a case that stands twice is one case.
    #[test]
    fn cases_add_up() {
        assert_eq!(NotifyOn::DELAY | NotifyOn::DELAY, NotifyOn::DELAY);
        assert!((NotifyOn::DELAY | NotifyOn::FAILURE).contains(NotifyOn::FAILURE));
        assert!(!(NotifyOn::DELAY | NotifyOn::FAILURE).contains(NotifyOn::SUCCESS));
    }

    // C-91: the seven sets there are, each printed and read; nothing else is one.
    #[test]
    fn notify_is_never_or_a_set() {
        for bits in 1..8 {
            let notify = Notify::On(NotifyOn(bits));
            assert_eq!(Notify::parse(&notify.to_string()), Ok(notify));
        }
        assert_eq!(Notify::parse("never").unwrap().to_string(), "NEVER");
        assert_eq!(Notify::parse("delay,FAILURE,Success").unwrap().to_string(), "SUCCESS,FAILURE,DELAY");
        for text in ["", ",", "SUCCESS,", "NEVER,SUCCESS", "SUCCESS,NEVER", "SUCCESS,SUCCESS", "SUCCESS, DELAY", "ALL"]
        {
            assert_eq!(Notify::parse(text), Err(ParameterError::Value), "{text:?}");
        }
    }

    // C-91, S-20: printable ASCII only, and 100 octets as they are sent.
    #[test]
    fn envelope_ids() {
        assert_eq!(EnvelopeId::new(&"a".repeat(100)).unwrap().to_string().len(), 100);
        assert_eq!(EnvelopeId::new(&"a".repeat(101)), Err(ParameterError::TooLong { limit: 100 }));
        assert_eq!(EnvelopeId::new(&"=".repeat(33)).unwrap().to_string().len(), 99);
        assert_eq!(EnvelopeId::new(&"=".repeat(34)), Err(ParameterError::TooLong { limit: 100 }));
        assert_eq!(EnvelopeId::new("a+b=c").unwrap().as_str(), "a+b=c");
        assert_eq!(EnvelopeId::new(""), Err(ParameterError::Value));
        for c in (0..=0x1f_u8).chain([0x7f]).map(char::from).chain("\u{85}\u{2028}é\u{560d}".chars()) {
            let text = alloc::format!("ab{c}c");
            assert_eq!(EnvelopeId::new(&text), Err(ParameterError::Character { offset: 2 }), "{text:?}");
        }
    }
}
