//! Why SMTPUTF8 is needed (RFC 6531).

use alloc::boxed::Box;
use core::fmt;

use crate::address::{ForwardPath, ReversePath};

/// What cannot be said, or sent, without SMTPUTF8 (RFC 6531 section 3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Utf8Reason {
    /// The sender's address is not ASCII.
    Sender(ReversePath),
    /// The address of whoever submitted the message is not ASCII (AUTH=, RFC 4954 section 5).
    Submitter(ReversePath),
    /// This recipient's address is not ASCII, or the one that it once had (ORCPT, RFC 6533 section 3).
    Recipient(ForwardPath),
    /// The header field of this name holds octets over 127 (RFC 6532 section 3).
    Header(Box<str>),
    /// The caller says that the message's headers need it.
    Asked,
    /// The argument of a command of the caller's is not ASCII (RFC 6531 section 3.7.4.2).
    Argument,
}

impl Utf8Reason {
    /// What to do where there is no SMTPUTF8.
    pub(crate) fn instead(&self) -> &'static str {
        match self {
            Self::Header(_) | Self::Asked => "; let the headers be made anew in ASCII, by RFC 2047",
            _ => "",
        }
    }
}

impl fmt::Display for Utf8Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sender(path) => write!(f, "the sender {path} is not ASCII"),
            Self::Submitter(path) => write!(f, "the submitter {path} is not ASCII"),
            Self::Recipient(path) => write!(f, "the recipient {path} is not ASCII"),
            Self::Header(name) => write!(f, "the header {name} is not ASCII"),
            Self::Asked => f.write_str("the headers are not ASCII"),
            Self::Argument => f.write_str("the argument is not ASCII"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::error::UsageError;

    // C-88: headers can be made anew; an address cannot.
    #[test]
    fn each_reason_says_what_to_do() {
        let sender = Utf8Reason::Sender(ReversePath::parse("\u{fc}@x.example").unwrap());
        for (reason, advised) in
            [(sender, false), (Utf8Reason::Header("Subject".into()), true), (Utf8Reason::Asked, true)]
        {
            let told = UsageError::NeedsSmtpUtf8(reason.clone()).to_string();
            assert!(told.contains(&reason.to_string()), "{told}");
            assert_eq!(told.ends_with("; let the headers be made anew in ASCII, by RFC 2047"), advised, "{told}");
        }
    }
}
