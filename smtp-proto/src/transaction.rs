//! One message's envelope, before it is sent.

mod extensions;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::address::{ForwardPath, ReversePath};
use crate::body::Survey;
use crate::outcome::Outcome;
use crate::parameter::{BodyType, MailParameters, Parameter, RcptParameters};
use crate::utf8::Utf8Reason;

/// Names a transaction within its connection. Counts up, in the order of `begin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub(crate) u64);

impl TransactionId {
    /// The number of the transaction: the first one of a connection is 0.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What to do when the server refuses some recipients and accepts others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnRefusal {
    /// Send the message to those it accepted, as RFC 5321 section 3.3 and smtplib have it.
    #[default]
    Continue,
    /// Send to all or to none. Costs a round trip with PIPELINING, since the content may not be asked for before every
    /// recipient is answered: once the server gave the go-ahead there is no clean way back.
    Abort,
}

/// One recipient and the parameters of its RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub(crate) path: ForwardPath,
    /// Boxed, so that a recipient without any costs one word for them.
    pub(crate) typed: Option<Box<RcptParameters>>,
    pub(crate) parameters: Vec<Parameter>,
    /// RCPT was accepted.
    pub(crate) admitted: bool,
    /// True at every moment: `NotSent` until something better is known. It lives here so that a report is the same
    /// vector as the envelope, and needs no second one.
    pub(crate) outcome: Outcome,
}

impl Recipient {
    /// A recipient without parameters.
    pub const fn new(path: ForwardPath) -> Self {
        Self { path, typed: None, parameters: Vec::new(), admitted: false, outcome: Outcome::NotSent }
    }

    /// Adds a parameter to this recipient's RCPT that there is no method for.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Where the message is to go.
    pub fn path(&self) -> &ForwardPath {
        &self.path
    }

    /// What needs SMTPUTF8 where it is not ASCII.
    pub(crate) fn utf8_reason(&self) -> Utf8Reason {
        Utf8Reason::Recipient(self.path.clone())
    }

    /// Gives the domain in A-labels if that makes the whole address ASCII. Without the feature `idna` nothing does.
    pub(crate) fn prefer_ascii(&mut self) {
        #[cfg(feature = "idna")]
        if let Some(path) = self.path.to_ascii().ok().filter(ForwardPath::is_ascii) {
            self.path = path;
        }
    }
}

impl From<ForwardPath> for Recipient {
    fn from(path: ForwardPath) -> Self {
        Self::new(path)
    }
}

/// The envelope of one message: who it is from, who it is for, and how (RFC 5321 section 3.3).
///
/// ```
/// use smtp_proto::{ForwardPath, OnRefusal, ReversePath, Transaction};
///
/// let transaction = Transaction::new(ReversePath::parse("me@example.org")?)
///     .to(ForwardPath::parse("you@example.net")?)
///     .to(ForwardPath::parse("them@example.net")?)
///     .content(b"Subject: hi\r\n\r\nhello\r\n")
///     .on_refusal(OnRefusal::Abort);
/// assert_eq!(transaction.recipients().count(), 2);
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub(crate) from: ReversePath,
    pub(crate) size: Option<u64>,
    pub(crate) body_type: Option<BodyType>,
    /// Why SMTPUTF8 is needed: from the caller for headers, and from what was fitted to a server for anything.
    pub(crate) utf8: Option<Utf8Reason>,
    /// Boxed, for the same reason as a recipient's.
    pub(crate) typed: Option<Box<MailParameters>>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) on_refusal: OnRefusal,
}

impl Transaction {
    /// An envelope without recipients.
    pub const fn new(from: ReversePath) -> Self {
        Self {
            from,
            size: None,
            body_type: None,
            utf8: None,
            typed: None,
            parameters: Vec::new(),
            recipients: Vec::new(),
            on_refusal: OnRefusal::Continue,
        }
    }

    /// Adds a recipient. Recipients are sent in the order given, each as often as it is given.
    #[must_use]
    pub fn to(mut self, recipient: impl Into<Recipient>) -> Self {
        self.recipients.push(recipient.into());
        self
    }

    /// Adds many recipients.
    #[must_use]
    pub fn to_all<R: Into<Recipient>>(mut self, recipients: impl IntoIterator<Item = R>) -> Self {
        self.recipients.extend(recipients.into_iter().map(Into::into));
        self
    }

    /// Changes each recipient there is so far, as where all are to have the same parameters.
    ///
    /// ```
    /// use smtp_proto::{ForwardPath, NotifyOn, ReversePath, Transaction};
    ///
    /// let transaction = Transaction::new(ReversePath::parse("me@example.org")?)
    ///     .to_all([ForwardPath::parse("a@example.net")?, ForwardPath::parse("b@example.net")?])
    ///     .map_recipients(|recipient| recipient.notify(NotifyOn::SUCCESS));
    /// assert_eq!(transaction.recipients().count(), 2);
    /// # Ok::<(), smtp_proto::AddressError>(())
    /// ```
    #[must_use]
    pub fn map_recipients(mut self, change: impl FnMut(Recipient) -> Recipient) -> Self {
        self.recipients = self.recipients.into_iter().map(change).collect();
        self
    }

    /// Works [`size`](Self::size) and [`body_type`](Self::body_type) out from a message that is at hand as a whole.
    #[must_use]
    pub fn content(self, message: &[u8]) -> Self {
        let survey = Survey::of(message);
        self.size(survey.size).body_type(survey.body_type())
    }

    /// Declares the size of the content in octets, with line ends as CRLF, without dot-stuffing (RFC 1870). Told to
    /// servers that offer SIZE, checked against their limit before anything is sent. It may be an estimate.
    #[must_use]
    pub fn size(mut self, octets: u64) -> Self {
        self.size = Some(octets);
        self
    }

    /// Declares whether the content is 8-bit (RFC 6152). Eight-bit content to a server that does not take it is refused
    /// before anything is sent, and seven-bit content that turns out not to be is refused where it does.
    ///
    /// Left undeclared, the content may be anything the server takes: it is declared as 8-bit where that is offered, and
    /// has to be 7-bit where it is not.
    #[must_use]
    pub fn body_type(mut self, body_type: BodyType) -> Self {
        self.body_type = Some(body_type);
        self
    }

    /// Asks for SMTPUTF8 because the message's headers need it (RFC 6531). Addresses that need it ask for themselves.
    #[must_use]
    pub fn smtputf8(mut self, needed: bool) -> Self {
        self.utf8 = needed.then_some(Utf8Reason::Asked);
        self
    }

    /// Adds a parameter to MAIL that there is no method for.
    #[must_use]
    pub fn parameter(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// What to do when only some recipients are accepted.
    #[must_use]
    pub fn on_refusal(mut self, on_refusal: OnRefusal) -> Self {
        self.on_refusal = on_refusal;
        self
    }

    /// The reverse-path.
    pub fn from(&self) -> &ReversePath {
        &self.from
    }

    /// The recipients, in order.
    pub fn recipients(&self) -> impl Iterator<Item = &ForwardPath> {
        self.recipients.iter().map(Recipient::path)
    }

    /// As [`Recipient::prefer_ascii`], for all addresses.
    pub(crate) fn prefer_ascii(&mut self) {
        #[cfg(feature = "idna")]
        if let Some(path) = self.from.to_ascii().ok().filter(ReversePath::is_ascii) {
            self.from = path;
        }
        #[cfg(feature = "idna")]
        if let Some(submitter) = self.typed.as_mut().and_then(|typed| typed.submitter.as_mut()) {
            if let Some(path) = submitter.0.to_ascii().ok().filter(ReversePath::is_ascii) {
                submitter.0 = path;
            }
        }
        self.recipients.iter_mut().for_each(Recipient::prefer_ascii);
    }

    /// Why the message needs SMTPUTF8, if it does: the first reason among sender, submitter, recipients and headers. An address
    /// that needs it for its domain alone may yet do without, by the feature `idna`.
    pub fn utf8_reason(&self) -> Option<Utf8Reason> {
        // Of the submitter the octets could be sent, for as xtext they are ASCII; but what they mean is not.
        let submitter = self.typed.as_ref().and_then(|typed| typed.submitter.as_ref()).map(|submitter| &submitter.0);
        let recipient = || self.recipients.iter().find(|recipient| !recipient.is_ascii());
        match submitter.filter(|path| !path.is_ascii()) {
            _ if !self.from.is_ascii() => Some(Utf8Reason::Sender(self.from.clone())),
            Some(path) => Some(Utf8Reason::Submitter(path.clone())),
            None => recipient().map(Recipient::utf8_reason).or_else(|| self.utf8.clone()),
        }
    }
}
