//! The parameters that have a type of their own, of one MAIL and of one RCPT.

use core::fmt::{self, Display};

use super::dsn::{EnvelopeId, Notify, Ret};
use super::orcpt::OriginalRecipient;
use super::timing::{DeliverBy, Hold, Priority};
use super::tracking::{Tracking, ValidSince};
use super::xtext::Encoded;
use crate::address::ReversePath;
use crate::capability::Extension;

/// A parameter as it is written, and what has to be offered for it.
#[derive(Clone, Copy)]
pub(crate) struct Typed<'a> {
    pub(crate) extension: Extension,
    pub(crate) keyword: &'static str,
    pub(crate) value: Option<&'a dyn Display>,
}

fn typed<'a, V: Display>(extension: Extension, keyword: &'static str, value: Option<&'a V>) -> Option<Typed<'a>> {
    value.map(|value| Typed { extension, keyword, value: Some(value) })
}

/// Parameters of MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailParameters {
    pub(crate) submitter: Option<Submitter>,
    pub(crate) ret: Option<Ret>,
    pub(crate) envelope_id: Option<EnvelopeId>,
    pub(crate) deliver_by: Option<DeliverBy>,
    pub(crate) hold: Option<Hold>,
    pub(crate) priority: Option<Priority>,
    pub(crate) require_tls: bool,
    pub(crate) tracking: Option<Tracking>,
    pub(crate) per_recipient_replies: bool,
}

impl MailParameters {
    /// Those that are set, in the order in which they are sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Typed<'_>> + Clone {
        let hold = self.hold.as_ref().and_then(|hold| match hold {
            Hold::For(time) => typed(Extension::FutureRelease, "HOLDFOR", Some(time)),
            Hold::Until(time) => typed(Extension::FutureRelease, "HOLDUNTIL", Some(time)),
        });
        let require_tls = Typed { extension: Extension::RequireTls, keyword: "REQUIRETLS", value: None };
        let prdr = Typed { extension: Extension::PerRecipientReplies, keyword: "PRDR", value: None };
        [
            typed(Extension::Auth, "AUTH", self.submitter.as_ref()),
            typed(Extension::Dsn, "RET", self.ret.as_ref()),
            typed(Extension::Dsn, "ENVID", self.envelope_id.as_ref()),
            typed(Extension::DeliverBy, "BY", self.deliver_by.as_ref()),
            hold,
            typed(Extension::MtPriority, "MT-PRIORITY", self.priority.as_ref()),
            self.require_tls.then_some(require_tls),
            typed(Extension::MessageTracking, "MTRK", self.tracking.as_ref()),
            self.per_recipient_replies.then_some(prdr),
        ]
        .into_iter()
        .flatten()
    }
}

/// Parameters of RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RcptParameters {
    pub(crate) notify: Option<Notify>,
    pub(crate) original_recipient: Option<OriginalRecipient>,
    pub(crate) valid_since: Option<ValidSince>,
}

impl RcptParameters {
    /// Those that are set, in the order in which they are sent.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Typed<'_>> + Clone {
        [
            typed(Extension::Dsn, "NOTIFY", self.notify.as_ref()),
            typed(Extension::Dsn, "ORCPT", self.original_recipient.as_ref()),
            typed(Extension::ValidSince, "RRVS", self.valid_since.as_ref()),
        ]
        .into_iter()
        .flatten()
    }
}

/// Who submitted the message: AUTH on MAIL (RFC 4954 section 5), a mailbox in xtext or `<>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Submitter(pub(crate) ReversePath);

impl Display for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_null() { f.write_str("<>") } else { Encoded(self.0.as_str().as_bytes()).fmt(f) }
    }
}
