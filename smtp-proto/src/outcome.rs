//! What became of one recipient.

use crate::reply::{Reply, Severity};

/// The step of a transaction at which the server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The sender, in MAIL.
    Mail,
    /// The recipient, in RCPT.
    Rcpt,
    /// The go-ahead for content, in DATA.
    Data,
    /// The message itself, during or after its content.
    Content,
}

impl core::fmt::Display for Stage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Content => "the content",
        })
    }
}

/// What became of the message for one recipient: exactly one of these.
///
/// Only [`InDoubt`](Self::InDoubt) leaves open whether the recipient gets the message. Sending again after
/// [`NotSent`](Self::NotSent) or [`Refused`](Self::Refused) never duplicates it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server took responsibility (RFC 5321 section 4.2.5). The reply to the end of content; it often names the queue id.
    Accepted(Reply),
    /// The server refused.
    Refused {
        /// Where it refused.
        stage: Stage,
        /// What it said.
        reply: Reply,
        /// Whether the same may succeed later: anything but 5yz, and 552 to RCPT once another recipient was accepted, which
        /// then means too many recipients (RFC 5321 section 4.5.3.1.10). A 2yz or 3yz where none is due refuses too: the
        /// server is out of step, which is no verdict on the message.
        transient: bool,
    },
    /// The message did not go out in full, so the server has to discard it (RFC 5321 section 4.1.1.10). Safe to send again.
    NotSent,
    /// The message went out in full and the connection ended before the reply (RFC 1047). Sending again may duplicate it.
    InDoubt,
}

impl Outcome {
    pub(crate) fn refused(stage: Stage, reply: Reply) -> Self {
        let transient = reply.code().severity() != Severity::Permanent;
        Self::Refused { stage, reply, transient }
    }

    /// Whether RCPT was refused because there are too many recipients, which holds only behind one that was accepted. A more
    /// precise code decides, if there is one: 4.2.2 is a full mailbox.
    pub(crate) fn is_too_many(&self) -> bool {
        let Self::Refused { stage: Stage::Rcpt, reply, transient: true } = self else { return false };
        match (reply.enhanced(), reply.code().get()) {
            (Some(code), _) => (code.subject(), code.detail()) == (5, 3),
            (None, code) => matches!(code, 452 | 552),
        }
    }

    /// Whether the server took responsibility.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// What the server said last of this recipient, if it said anything final.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Accepted(reply) | Self::Refused { reply, .. } => Some(reply),
            Self::NotSent | Self::InDoubt => None,
        }
    }
}
