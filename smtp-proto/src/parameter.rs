//! Parameters of MAIL and RCPT (RFC 5321 section 4.1.2).

pub mod xtext;

use alloc::boxed::Box;

use crate::capability::Extension;

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
    /// The value is empty or holds a space, `=`, a control or a non-ASCII character.
    #[error("not a parameter value")]
    Value,
    /// The core sets this one itself: see [`Transaction::size`](crate::Transaction::size),
    /// [`body_type`](crate::Transaction::body_type) and [`smtputf8`](crate::Transaction::smtputf8).
    #[error("this parameter has a method of its own")]
    Reserved,
}

/// One parameter that this library has no method for. Sent only if the server offers its extension.
///
/// ```
/// use smtp_proto::Parameter;
///
/// let notify = Parameter::new("NOTIFY", "SUCCESS,FAILURE")?;
/// assert_eq!(notify.extension(), "DSN");
/// assert!(Parameter::new("RET", "FULL SIZE=1").is_err());
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

    /// Sends the parameter even to a server that does not offer it, against RFC 5321 section 4.1.1.11. Such a server
    /// refuses the command, or ignores what you asked for.
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

/// Octets that an offered extension adds to the 512 a command line may have (RFC 5321 section 4.5.3.1.4).
pub(crate) const MAIL_LINE_ALLOWANCES: &[(&str, usize)] = &[
    (Extension::Size.keyword(), 26),
    (Extension::EightBitMime.keyword(), 17),
    (Extension::SmtpUtf8.keyword(), 10),
    (Extension::Auth.keyword(), 500),
    ("DELIVERBY", 17),
    ("FUTURERELEASE", 34),
    ("MT-PRIORITY", 15),
];

/// The same for RCPT.
pub(crate) const RCPT_LINE_ALLOWANCES: &[(&str, usize)] = &[("DSN", 500)];

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
