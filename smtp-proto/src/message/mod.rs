//! A message as it lies in a file: its envelope from its headers, and its content without what must not be sent. For
//! callers that have no envelope of their own; the protocol itself never looks into a message.
//!
//! ```
//! use std::io::Read;
//! use smtp_proto::message::Message;
//!
//! let message = Message::parse(
//!     b"From: Me <me@example.org>\r\n\
//!       To: friends: a@example.net, \"b c\"@example.net;\r\n\
//!       Bcc: hidden@example.net\r\n\
//!       Subject: hi\r\n\r\nhello\r\n",
//! )?;
//! let transaction = message.transaction();
//! assert_eq!(transaction.from().as_str(), "me@example.org");
//! let recipients: Vec<_> = transaction.recipients().map(|path| path.as_str()).collect();
//! assert_eq!(recipients, ["a@example.net", "\"b c\"@example.net", "hidden@example.net"]);
//!
//! // For the driver: `client.send(transaction, message.content())`.
//! let mut content = String::new();
//! message.content().read_to_string(&mut content)?;
//! assert!(content.contains("To: friends") && !content.contains("hidden"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who it is from
//!
//! The mailbox in Sender, else the one in From (RFC 5322 section 3.6.2). Where there is none, or more than one and no Sender
//! says which, that is an error; smtplib takes the first.
//!
//! # Who it is for
//!
//! The mailboxes in To, Cc and Bcc, in this order, those of groups included, each field as often as it occurs. Each recipient
//! counts once, where it comes first: domains are the same in any letter case and, by the feature `idna`, in A-labels, local
//! parts only letter by letter. Addresses are read by [`ForwardPath::parse`], so that none can say more than itself. What
//! cannot be read is an error and not passed over, since somebody would go without the message; an `@` in a name without
//! quotation marks is one too, since who is meant would depend on who reads it.
//!
//! # Resent messages
//!
//! As in smtplib, one block of Resent- fields (RFC 5322 section 3.6.6) takes the place of the fields above, and several are
//! an error: which one is the latest cannot be told, though it should be the topmost. A block is told by its fields, each of
//! which it has once at most. A block without Resent-Date is an error too, where smtplib would send the message once more to
//! its first recipients.
//!
//! # What is sent
//!
//! All octets but the fields Bcc and Resent-Bcc ([`Message::content`]). Line ends are up to [`LineEndings`](crate::LineEndings);
//! a bare CR among the header fields is refused, since what is a field would depend on who reads it.
//!
//! # Eight bits
//!
//! [`Message::transaction`] declares what the content needs. A server that does not take it leads to a
//! [`UsageError`](crate::UsageError) before anything is sent. What to do then is up to the caller: [`to_seven_bit`] writes the
//! message anew, part by part; better is to let what made the message make it in 7 bits, for signatures break, and headers
//! stay as they are.
//!
//! # Time and memory
//!
//! Both grow with the header block in proportion; the body is looked through once and never copied.

mod addresses;
mod content;
mod envelope;
mod error;
mod fields;
mod seven_bit;

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use self::content::Content;
pub use self::error::MessageError;
use self::fields::Field;
pub use self::seven_bit::{SevenBitError, to_seven_bit};
use crate::address::{ForwardPath, ReversePath};
use crate::parameter::BodyType;
use crate::transaction::Transaction;
use crate::utf8::Utf8Reason;

/// A message and its envelope. See the [module](self) for how one follows from the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    from: ReversePath,
    to: Vec<ForwardPath>,
    /// What is sent; all but the last part end with a line.
    parts: Vec<&'a [u8]>,
    size: u64,
    body_type: BodyType,
    /// The first header that needs SMTPUTF8, whether or not an address does too.
    utf8_header: Option<Box<str>>,
    nul: Option<u64>,
    long_line: Option<u64>,
}

impl<'a> Message<'a> {
    /// Reads a message, and its envelope from its headers. Lines may end in CRLF or LF.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when the header block is none, or an envelope does not follow from it.
    pub fn parse(octets: &'a [u8]) -> Result<Self, MessageError> {
        Self::parse_with(octets, None, None)
    }

    /// As [`parse`](Self::parse), with the sender or the recipients from elsewhere, as by smtplib's `from_addr` and
    /// `to_addrs`. The headers are asked only for what is not given; Bcc and Resent-Bcc are taken out all the same. Of
    /// recipients that are given, too, each counts once.
    ///
    /// ```
    /// use smtp_proto::ReversePath;
    /// use smtp_proto::message::Message;
    ///
    /// let bounces = ReversePath::parse("bounces+42@example.org")?;
    /// let octets = b"From: a@example.org, b@example.org\nTo: c@example.net\n\nhello\n";
    /// assert!(Message::parse(octets).is_err(), "two authors and no sender");
    /// assert_eq!(Message::parse_with(octets, Some(bounces.clone()), None)?.from(), &bounces);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MessageError`] as there.
    pub fn parse_with(
        octets: &'a [u8],
        from: Option<ReversePath>,
        to: Option<Vec<ForwardPath>>,
    ) -> Result<Self, MessageError> {
        let fields = fields::split(octets)?;
        let (from, to) = envelope::complete(&fields, from, to)?;
        let (hidden, sent): (Vec<Field<'_>>, _) =
            fields.into_iter().partition(|field| field.is("Bcc") || field.is("Resent-Bcc"));
        let parts = content::without(octets, hidden.iter().map(Field::range));
        let field = sent.iter().find(|field| !field.octets.is_ascii());
        let utf8_header = field.map(|field| field.name.into());
        let (size, body_type) = content::survey(&parts);
        let nul = content::find(&parts, |part| memchr::memchr(0, part));
        let long_line = content::find(&parts, content::long_line);
        Ok(Self { from, to, parts, size, body_type, utf8_header, nul, long_line })
    }

    /// The envelope, ready to be sent: sender, recipients, [`size`](Self::size), [`body_type`](Self::body_type), and whether
    /// headers need SMTPUTF8. Addresses that need it ask for themselves.
    pub fn transaction(&self) -> Transaction {
        let to = self.to.iter().cloned();
        let transaction = Transaction::new(self.from.clone()).to_all(to).size(self.size).body_type(self.body_type);
        Transaction { utf8: self.utf8_header.clone().map(Utf8Reason::Header), ..transaction }
    }

    /// The octets to send: all there are, but for the header fields Bcc and Resent-Bcc (RFC 5322 section 3.6.3).
    pub fn content(&self) -> Content<'_> {
        Content::new(&self.parts)
    }

    /// The reverse-path.
    pub fn from(&self) -> &ReversePath {
        &self.from
    }

    /// The recipients, in order, each once.
    pub fn recipients(&self) -> &[ForwardPath] {
        &self.to
    }

    /// Octets of the content with line ends as CRLF, as SIZE counts them (RFC 1870 section 3).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the content holds octets over 127 (RFC 6152). Never [`BodyType::BinaryMime`], which the message would have to
    /// say of itself.
    pub fn body_type(&self) -> BodyType {
        self.body_type
    }

    /// Where the content has its first NUL, in octets before it. DATA cannot send it
    /// ([`BodyError::Nul`](crate::BodyError::Nul)), BDAT can.
    pub fn nul(&self) -> Option<u64> {
        self.nul
    }

    /// Where the content first has a line of more than 998 octets (RFC 5322 section 2.1.1), in octets before the first one
    /// that is too many. It is sent all the same unless [`LongLines`](crate::LongLines) says otherwise.
    pub fn long_line(&self) -> Option<u64> {
        self.long_line
    }
}

#[cfg(test)]
mod tests;
