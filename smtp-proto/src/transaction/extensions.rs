//! What a transaction and its recipients ask for by extensions. All of it is checked against the server's offer before
//! anything is sent; a server that does not offer what is asked for gets no part of the transaction.

use alloc::boxed::Box;

use super::{Recipient, Transaction};
use crate::address::ReversePath;
use crate::date_time::DateTime;
use crate::parameter::{
    DeliverBy, EnvelopeId, Hold, HoldFor, MailParameters, Notify, OriginalRecipient, Parameter, Priority,
    RcptParameters, Ret, Submitter, Tracking, Typed, ValidSince,
};

/// Parameters of MAIL. Where one is given again, the last counts.
///
/// ```
/// use smtp_proto::{Command, DeliverBy, EnvelopeId, Priority, Ret, ReversePath, Transaction};
///
/// let from = ReversePath::parse("e=mc2@example.com")?;
/// let transaction = Transaction::new(from.clone())
///     .ret(Ret::Hdrs)
///     .envelope_id(EnvelopeId::new("order 66")?)
///     .deliver_by(DeliverBy::or_return(3600)?)
///     .priority(Priority::new(3)?)
///     .submitter(from);
/// let mut line = Vec::new();
/// Command::Mail(&transaction).encode(&mut line);
/// assert_eq!(
///     String::from_utf8_lossy(&line),
///     "MAIL FROM:<e=mc2@example.com> AUTH=e+3Dmc2@example.com RET=HDRS ENVID=order+2066 BY=3600;R MT-PRIORITY=3\r\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Transaction {
    /// How much of the message comes back in a report of its failure (DSN, RFC 3461 section 4.3).
    #[must_use]
    pub fn ret(mut self, ret: Ret) -> Self {
        self.typed_mut().ret = Some(ret);
        self
    }

    /// Names the envelope, so that reports can be told apart (DSN, RFC 3461 section 4.4).
    #[must_use]
    pub fn envelope_id(mut self, id: EnvelopeId) -> Self {
        self.typed_mut().envelope_id = Some(id);
        self
    }

    /// Sets a time by which the message has to be delivered (DELIVERBY, RFC 2852). One that returns the message is checked
    /// against the server's minimum.
    #[must_use]
    pub fn deliver_by(mut self, deliver_by: DeliverBy) -> Self {
        self.typed_mut().deliver_by = Some(deliver_by);
        self
    }

    /// Has the message held back for a time (FUTURERELEASE, RFC 4865), checked against the server's maximum. Takes the
    /// place of [`hold_until`](Self::hold_until).
    #[must_use]
    pub fn hold_for(mut self, time: HoldFor) -> Self {
        self.typed_mut().hold = Some(Hold::For(time));
        self
    }

    /// Has the message held back until a time (FUTURERELEASE, RFC 4865), checked against the server's maximum. Takes the
    /// place of [`hold_for`](Self::hold_for).
    #[must_use]
    pub fn hold_until(mut self, time: DateTime) -> Self {
        self.typed_mut().hold = Some(Hold::Until(time));
        self
    }

    /// Ranks the message among others (MT-PRIORITY, RFC 6710).
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.typed_mut().priority = Some(priority);
        self
    }

    /// Demands that the message is never passed on without verified TLS (REQUIRETLS, RFC 8689). Refused on a stream in
    /// clear.
    #[must_use]
    pub fn require_tls(mut self, required: bool) -> Self {
        if required || self.typed.is_some() {
            self.typed_mut().require_tls = required;
        }
        self
    }

    /// Tells who submitted the message, if the server trusts us to know; the null path says that nobody knows (AUTH,
    /// RFC 4954 section 5).
    #[must_use]
    pub fn submitter(mut self, submitter: ReversePath) -> Self {
        self.typed_mut().submitter = Some(Submitter(submitter));
        self
    }

    /// Has servers keep track of the message (MTRK, RFC 3885). Needs an [`envelope_id`](Self::envelope_id).
    #[must_use]
    pub fn tracking(mut self, tracking: Tracking) -> Self {
        self.typed_mut().tracking = Some(tracking);
        self
    }

    /// Asks for a verdict on the content from each recipient (PRDR, draft-hall-prdr-00 as Exim has it). A server that
    /// grants it can refuse the message for some recipients and accept it for the others: accepted are those whose own
    /// reply is 2yz, if the one for the message as a whole is too. It may as well answer once for all. By then it is too late
    /// for [`OnRefusal::Abort`](crate::OnRefusal::Abort). In LMTP, where each recipient has a reply of its own anyway, this
    /// does nothing.
    #[must_use]
    pub fn per_recipient_replies(mut self, wanted: bool) -> Self {
        if wanted || self.typed.is_some() {
            self.typed_mut().per_recipient_replies = wanted;
        }
        self
    }

    fn typed_mut(&mut self) -> &mut MailParameters {
        self.typed.get_or_insert_with(Box::default)
    }

    /// Those parameters that have a type of their own.
    pub(crate) fn typed(&self) -> impl Iterator<Item = Typed<'_>> + Clone {
        self.typed.iter().flat_map(|typed| typed.iter())
    }

    /// Whether it has no parameters but those that depend on the content, as nearly all.
    pub(crate) fn is_plain(&self) -> bool {
        self.typed.is_none() && self.parameters.is_empty()
    }

    /// Whether PRDR is asked for, in either way.
    pub(crate) fn wants_verdicts(&self) -> bool {
        !self.is_plain() && self.keywords().any(|keyword| keyword == "PRDR")
    }

    /// Whether REQUIRETLS is asked for, in either way.
    pub(crate) fn requires_tls(&self) -> bool {
        !self.is_plain() && self.keywords().any(|keyword| keyword == "REQUIRETLS")
    }

    /// The keyword of each parameter of MAIL, those that depend on the content aside.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = &str> + Clone {
        let typed = self.typed().map(|parameter| parameter.keyword);
        typed.chain(self.parameters.iter().map(Parameter::keyword))
    }
}

/// Parameters of RCPT. Where one is given again, the last counts.
///
/// ```
/// use smtp_proto::{Command, ForwardPath, NotifyOn, OriginalRecipient, Recipient};
///
/// let recipient = Recipient::new(ForwardPath::parse("you@example.net")?)
///     .notify(NotifyOn::FAILURE | NotifyOn::DELAY)
///     .original_recipient(OriginalRecipient::of(&ForwardPath::parse("list@example.org")?)?);
/// let mut line = Vec::new();
/// Command::Rcpt(&recipient).encode(&mut line);
/// assert_eq!(
///     String::from_utf8_lossy(&line),
///     "RCPT TO:<you@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;list@example.org\r\n"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Recipient {
    /// When to report what became of the message (DSN, RFC 3461 section 4.1).
    #[must_use]
    pub fn notify(mut self, notify: impl Into<Notify>) -> Self {
        self.typed_mut().notify = Some(notify.into());
        self
    }

    /// Whom the message was first meant for, as reports are to call him (DSN, RFC 3461 section 4.2).
    #[must_use]
    pub fn original_recipient(mut self, original: OriginalRecipient) -> Self {
        self.typed_mut().original_recipient = Some(original);
        self
    }

    /// Delivers only to the one who has had the mailbox since then (RRVS, RFC 7293).
    #[must_use]
    pub fn require_valid_since(mut self, since: ValidSince) -> Self {
        self.typed_mut().valid_since = Some(since);
        self
    }

    fn typed_mut(&mut self) -> &mut RcptParameters {
        self.typed.get_or_insert_with(Box::default)
    }

    /// Those parameters that have a type of their own.
    pub(crate) fn typed(&self) -> impl Iterator<Item = Typed<'_>> + Clone {
        self.typed.iter().flat_map(|typed| typed.iter())
    }

    /// Whether it has no parameters, as nearly all.
    pub(crate) fn is_plain(&self) -> bool {
        self.typed.is_none() && self.parameters.is_empty()
    }

    /// The keyword of each parameter of RCPT.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = &str> + Clone {
        let typed = self.typed().map(|parameter| parameter.keyword);
        typed.chain(self.parameters.iter().map(Parameter::keyword))
    }

    /// Whether it can be sent without SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        let original = self.typed.as_ref().and_then(|typed| typed.original_recipient.as_ref());
        self.path.is_ascii() && original.is_none_or(OriginalRecipient::is_ascii)
    }
}
