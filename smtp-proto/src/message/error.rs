//! Why no envelope follows from a message.

use alloc::boxed::Box;
use alloc::string::String;

use crate::address::AddressError;
use crate::escape::Escaped;

/// Why a message has no header block, or no envelope follows from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A line before the first empty one neither begins a header field nor goes on with one (RFC 5322 section 2.2), such as
    /// the first line of an mbox file.
    #[error("this is no header field, at octet {offset}: {}", Escaped(.text.as_bytes()))]
    NotAField {
        /// Octets before the line.
        offset: usize,
        /// The line.
        text: Box<str>,
    },
    /// A CR that is not part of CRLF stands in a header field (RFC 5322 section 2.2). To some it ends the line.
    #[error("a header field has a bare CR at octet {offset}")]
    BareCr {
        /// Octets before it.
        offset: usize,
    },
    /// What a field holds is not a list of addresses (RFC 5322 section 3.4).
    #[error("the addresses in {header} cannot be read: {}", Escaped(.text.as_bytes()))]
    NotAddresses {
        /// The field's name.
        header: Box<str>,
        /// What it holds, from the element on that is none; the first 200 characters.
        text: Box<str>,
    },
    /// An address in a field is not one that can be sent (RFC 5321 section 4.1.2).
    #[error("in {header}, {error}: {}", Escaped(.text.as_bytes()))]
    Address {
        /// The field's name.
        header: Box<str>,
        /// The address; its first 200 characters.
        text: Box<str>,
        /// What is wrong with it.
        error: AddressError,
    },
    /// There is no Sender and no From with an address in it; for a resent message, no Resent-Sender and no Resent-From.
    #[error("no header says who the message is from")]
    NoSender,
    /// There are several addresses in From and no Sender says which of them sends, or several in Sender (RFC 5322 section
    /// 3.6.2).
    #[error("{header} names several senders")]
    SeveralSenders {
        /// The field's name.
        header: Box<str>,
    },
    /// There is no address in To, Cc and Bcc; for a resent message, none in Resent-To, Resent-Cc and Resent-Bcc.
    #[error("no header says who the message is for")]
    NoRecipients,
    /// There are several blocks of Resent- fields.
    #[error("the message was resent more than once: say who it is from and for")]
    SeveralResentBlocks,
    /// There are Resent- fields, but no Resent-Date, which every block has (RFC 5322 section 3.6.6).
    #[error("there is no Resent-Date beside the other Resent- headers: say who the message is from and for")]
    NoResentDate,
}

/// The beginning of a text, for an error.
pub(super) fn excerpt(text: &[u8]) -> Box<str> {
    const CHARACTERS: usize = 200;
    // Four octets a character are enough, and a header of megabytes is not read as a whole.
    let start = text.get(..4 * CHARACTERS).unwrap_or(text).trim_ascii();
    String::from_utf8_lossy(start).chars().take(CHARACTERS).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-63: as many characters as there may be, whatever each takes.
    #[test]
    fn excerpts_have_an_end() {
        for c in ["x", "\u{e9}", "\u{4f8b}", "\u{1f4e7}"] {
            assert_eq!(*excerpt(c.repeat(300).as_bytes()), c.repeat(200));
            assert_eq!(*excerpt(alloc::format!(" {c} ").as_bytes()), *c);
        }
    }
}
