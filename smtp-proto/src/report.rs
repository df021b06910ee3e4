//! What became of one message.

use alloc::vec::Vec;

use crate::address::ForwardPath;
use crate::outcome::Outcome;
use crate::reply::Reply;
use crate::transaction::{Recipient, TransactionId};
use crate::utf8::Utf8Reason;

/// What became of one message, recipient by recipient, in the order they were given.
///
/// There is exactly one report for each transaction that was begun, also when the connection dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub(crate) id: TransactionId,
    pub(crate) recipients: Vec<Recipient>,
    /// The reply to MAIL, if it was a refusal.
    pub(crate) sender_refusal: Option<Reply>,
    /// Why SMTPUTF8 was asked for.
    pub(crate) utf8: Option<Utf8Reason>,
    /// It is of several transactions: whoever was too many for each of them will be for another one.
    pub(crate) split: bool,
}

impl Report {
    /// Which transaction this is about.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Every recipient with its outcome, in the order given.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = (&ForwardPath, &Outcome)> {
        self.recipients.iter().map(|recipient| (&recipient.path, &recipient.outcome))
    }

    /// The recipients that the server refused, with what it said: the dictionary that smtplib's `sendmail` returns.
    pub fn refused(&self) -> impl Iterator<Item = (&ForwardPath, &Reply)> {
        self.recipients().filter_map(|(path, outcome)| match outcome {
            Outcome::Refused { reply, .. } => Some((path, reply)),
            _ => None,
        })
    }

    /// Whether there are recipients and every one of them was accepted.
    pub fn is_complete_success(&self) -> bool {
        !self.recipients.is_empty() && self.recipients().all(|(_, outcome)| outcome.is_accepted())
    }

    /// Whether a recipient may get the message: one was accepted or is in doubt. Sending to all of them again may then
    /// duplicate it.
    pub fn may_have_been_accepted(&self) -> bool {
        self.recipients().any(|(_, outcome)| matches!(outcome, Outcome::Accepted(_) | Outcome::InDoubt))
    }

    /// Why the message was sent with SMTPUTF8, if it was (RFC 6531): what to change where it has to go on to servers without.
    pub fn smtputf8(&self) -> Option<&Utf8Reason> {
        self.utf8.as_ref()
    }

    /// The server's reply to MAIL, if that was a refusal.
    pub fn sender_refusal(&self) -> Option<&Reply> {
        self.sender_refusal.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Stage;
    use crate::reply::{ReplyLimits, parse_reply};

    // C-55, C-100, R-01: what a report says of all recipients follows from the outcome of each.
    #[test]
    fn of_all_and_of_each() {
        let (ok, no) = (&b"250 ok\r\n"[..], &b"550 no\r\n"[..]);
        let reply = |line| parse_reply(line, &ReplyLimits::default()).unwrap().unwrap().0.to_owned();
        let accepted = || Outcome::Accepted(reply(ok));
        let refused = || Outcome::refused(Stage::Rcpt, reply(no));
        for (outcomes, complete, accepted, refusals) in [
            (alloc::vec![], false, false, 0),
            (alloc::vec![accepted(), accepted()], true, true, 0),
            (alloc::vec![accepted(), refused()], false, true, 1),
            (alloc::vec![refused(), Outcome::InDoubt], false, true, 1),
            (alloc::vec![refused(), Outcome::NotSent], false, false, 1),
        ] {
            let recipient =
                |outcome| Recipient { outcome, ..Recipient::new(ForwardPath::parse("a@x.example").unwrap()) };
            let report = Report {
                id: TransactionId(7),
                recipients: outcomes.into_iter().map(recipient).collect(),
                sender_refusal: (refusals > 0).then(|| reply(no)),
                utf8: None,
                split: false,
            };
            assert_eq!(report.is_complete_success(), complete, "{report:?}");
            assert_eq!(report.may_have_been_accepted(), accepted, "{report:?}");
            assert_eq!(report.refused().count(), refusals, "{report:?}");
            assert_eq!(report.sender_refusal(), report.refused().map(|(_, reply)| reply).next());
        }
    }
}
