//! Parameters of MAIL and RCPT (RFC 5321 section 4.1.2).

mod dsn;
mod orcpt;
mod timing;
mod tracking;
mod typed;
pub mod xtext;

use alloc::boxed::Box;
use core::fmt::{Display, Write};

use crate::capability::Extension;

pub use self::dsn::{EnvelopeId, Notify, NotifyOn, Ret};
pub use self::orcpt::OriginalRecipient;
pub(crate) use self::timing::Hold;
pub use self::timing::{DeliverBy, HoldFor, Priority};
pub use self::tracking::{Tracking, ValidSince};
pub(crate) use self::typed::{MailParameters, RcptParameters, Submitter, Typed};

/// What octets the content may hold (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyType {
    /// Octets up to 127 only.
    SevenBit,
    /// Any octets, in lines.
    EightBitMime,
    /// Any octets at all (RFC 3030). Needs BDAT, and uses it.
    BinaryMime,
}

/// Why something is not a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// The keyword is not letters, digits and inner hyphens.
    #[error("not a parameter keyword")]
    Keyword,
    /// The value is empty or holds a space, `=`, a control or a non-ASCII character, or is not of the parameter's grammar.
    #[error("not a parameter value")]
    Value,
    /// A character is not printable ASCII.
    #[error("the character at octet {offset} is not printable ASCII")]
    Character {
        /// Octets before the character.
        offset: usize,
    },
    /// The value is longer than its RFC allows, as it would be sent.
    #[error("the value is longer than {limit} octets")]
    TooLong {
        /// Octets allowed.
        limit: usize,
    },
    /// The number is too small or too large.
    #[error("not a number from {minimum} to {maximum}")]
    Range {
        /// The smallest there may be.
        minimum: i64,
        /// The largest there may be.
        maximum: i64,
    },
    /// The type of an address is not an atom (RFC 3461 section 4.2).
    #[error("not a type of addresses")]
    AddressType,
    /// The core sets this one itself: see [`Transaction::size`](crate::Transaction::size),
    /// [`body_type`](crate::Transaction::body_type) and [`smtputf8`](crate::Transaction::smtputf8).
    #[error("this parameter has a method of its own")]
    Reserved,
}

/// Any parameter, by its keyword. Sent only if the server offers its extension.
///
/// For those that [`Transaction`](crate::Transaction) and [`Recipient`](crate::Recipient) have a method for, that is the
/// better way: here nobody looks at the value, but that it is one.
///
/// ```
/// use smtp_proto::Parameter;
///
/// let solicit = Parameter::new("SOLICIT", "org.example:ADV")?;
/// assert_eq!(solicit.extension(), "NO-SOLICITING");
/// assert!(Parameter::new("SOLICIT", "org.example SIZE=1").is_err());
/// # Ok::<(), smtp_proto::ParameterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    keyword: Box<str>,
    value: Option<Box<str>>,
    unadvertised: bool,
}

impl Parameter {
    /// `keyword=value`.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] when the grammar does not allow it, or the core sets it itself.
    pub fn new(keyword: &str, value: &str) -> Result<Self, ParameterError> {
        let allowed = |octet| matches!(octet, b'!'..=b'<' | b'>'..=b'~');
        if value.is_empty() || !value.bytes().all(allowed) {
            return Err(ParameterError::Value);
        }
        Ok(Self { value: Some(value.into()), ..Self::flag(keyword)? })
    }

    /// `keyword` alone.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] as for [`new`](Self::new).
    pub fn flag(keyword: &str) -> Result<Self, ParameterError> {
        let well_formed = keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        if !well_formed || keyword.is_empty() || keyword.starts_with('-') {
            return Err(ParameterError::Keyword);
        }
        let keyword = keyword.to_ascii_uppercase();
        if matches!(keyword.as_str(), "SIZE" | "BODY" | "SMTPUTF8") {
            return Err(ParameterError::Reserved);
        }
        Ok(Self { keyword: keyword.into(), value: None, unadvertised: false })
    }

    /// Sends the parameter even to a server that does not offer it, against RFC 5321 section 4.1.1.11, and with a command
    /// it does not belong to. Such a server refuses the command, or ignores what you asked for.
    #[must_use]
    pub fn danger_unadvertised(mut self) -> Self {
        self.unadvertised = true;
        self
    }

    /// The EHLO keyword that permits the parameter.
    pub fn extension(&self) -> &str {
        match &*self.keyword {
            "RET" | "ENVID" | "NOTIFY" | "ORCPT" => "DSN",
            "BY" => "DELIVERBY",
            "HOLDFOR" | "HOLDUNTIL" => "FUTURERELEASE",
            "SOLICIT" => "NO-SOLICITING",
            keyword => keyword,
        }
    }

    pub(crate) fn needs_offer(&self) -> bool {
        !self.unadvertised
    }

    pub(crate) fn keyword(&self) -> &str {
        &self.keyword
    }

    pub(crate) fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// Octets that an offered extension adds to the 512 a command line may have (RFC 5321 section 4.5.3.1.4), as its RFC says.
/// RFC 3461 says nothing; with the longest of paths, RET and ENVID fit as it is.
pub(crate) const MAIL_LINE_ALLOWANCES: &[(&str, usize)] = &[
    (Extension::Size.keyword(), 26),
    (Extension::EightBitMime.keyword(), 17),
    (Extension::SmtpUtf8.keyword(), 10),
    (Extension::Auth.keyword(), 500),
    (Extension::DeliverBy.keyword(), 17),
    (Extension::FutureRelease.keyword(), 34),
    (Extension::MtPriority.keyword(), 15),
    (Extension::RequireTls.keyword(), 11),
    (Extension::MessageTracking.keyword(), 40),
];

/// The same for RCPT. RFC 3461 lets ORCPT alone have 500.
pub(crate) const RCPT_LINE_ALLOWANCES: &[(&str, usize)] =
    &[(Extension::Dsn.keyword(), 500), (Extension::ValidSince.keyword(), 33)];

/// Whether a text is printable ASCII and spaces, and not empty.
fn printable(text: &str) -> Result<(), ParameterError> {
    match text.char_indices().find(|(_, c)| !matches!(c, ' '..='~')) {
        Some((offset, _)) => Err(ParameterError::Character { offset }),
        None if text.is_empty() => Err(ParameterError::Value),
        None => Ok(()),
    }
}

/// Whether a value is at most so many octets long as it is sent.
pub(crate) fn at_most(limit: usize, value: &impl Display) -> Result<(), ParameterError> {
    struct Length(usize);

    impl Write for Length {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }

    let mut length = Length(0);
    // Counting cannot fail.
    let _ = write!(length, "{value}");
    if length.0 > limit { Err(ParameterError::TooLong { limit }) } else { Ok(()) }
}

/// A number within its bounds, which are within those of `T`.
fn within<T: TryFrom<i64>>(number: i64, minimum: i64, maximum: i64) -> Result<T, ParameterError> {
    let number = Some(number).filter(|number| (minimum..=maximum).contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or(ParameterError::Range { minimum, maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-20, S-21: neither keyword nor value can hold what ends a parameter or a line.
    #[test]
    fn parameters_hold_no_separator() {
        for octet in (0..=b' ').chain([b'=', 0x7f]) {
            let text = alloc::format!("a{}b", char::from(octet));
            assert_eq!(Parameter::new("RET", &text), Err(ParameterError::Value), "{text:?}");
            assert_eq!(Parameter::flag(&text), Err(ParameterError::Keyword), "{text:?}");
        }
        assert_eq!(Parameter::new("RET", "é"), Err(ParameterError::Value));
        assert_eq!(Parameter::new("RET", ""), Err(ParameterError::Value));
        for keyword in ["", "-a", "é", "a_b"] {
            assert_eq!(Parameter::flag(keyword), Err(ParameterError::Keyword));
        }
        assert_eq!(Parameter::new("size", "1"), Err(ParameterError::Reserved));
    }
}
