//! What can be done about a message that did not arrive.

use crate::address::ForwardPath;
use crate::error::{Failure, UsageError};
use crate::event::CloseReason;
use crate::outcome::Outcome;
use crate::reply::{Reply, Severity};
use crate::report::Report;

/// What can be done for a recipient who has not got the message, or may not have. Advice, not more: it follows RFC 5321 and
/// what servers mean by their codes, and never what they write in their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Advice {
    /// Nothing of it reached the server in full: send it again, to this server over another connection or to another one.
    SendAgain,
    /// The server takes no more recipients at a time: send it to these in a transaction of their own, at once (RFC 5321
    /// section 4.5.3.1.10). [`Submission`](crate::Submission) does so.
    SplitRecipients,
    /// This server may take it later (RFC 5321 section 4.5.4.1: half an hour at first, for four or five days).
    RetryLater,
    /// This server takes nothing now, or not from here. Another one for the same domain may, at once (RFC 5321 section 5.1).
    TryAnotherHost,
    /// It is refused for good: tell the sender (RFC 5321 section 6.1).
    GiveUp,
    /// Nobody knows whether the recipient has got it. Whoever sends it again may duplicate it; whoever does not may lose it.
    MayDuplicate,
}

impl Report {
    /// Every recipient who was not accepted, with what can be done, in the order given.
    ///
    /// ```
    /// # use smtp_proto::{Config, Connection, ForwardPath, HelloName, ReversePath, Security, Time, Transaction, Event};
    /// use smtp_proto::Advice;
    ///
    /// # let mut connection = Connection::new(Config::smtp(HelloName::parse("me.example")?), Security::Plaintext);
    /// # let mut hear = |connection: &mut Connection, text: &str| {
    /// #     connection.handle_transmitted(usize::MAX, Time::default());
    /// #     connection.handle_input(text.as_bytes(), Time::default());
    /// # };
    /// # hear(&mut connection, "220 hi\r\n");
    /// # hear(&mut connection, "250-x\r\n250 PIPELINING\r\n");
    /// # let to = ["a@x.example", "b@x.example"].map(|path| ForwardPath::parse(path).unwrap());
    /// # connection.begin(Transaction::new(ReversePath::null()).to_all(to))?;
    /// # hear(&mut connection, "250 ok\r\n450 4.2.0 greylisted\r\n550 5.1.1 unknown\r\n554 nobody\r\n");
    /// # hear(&mut connection, "250 ok\r\n");
    /// # let report = std::iter::from_fn(|| connection.poll_event()).find_map(|event| match event {
    /// #     Event::Completed(report) => Some(report),
    /// #     _ => None,
    /// # }).unwrap();
    /// let advice: Vec<_> = report.advice().map(|(_, advice)| advice).collect();
    /// assert_eq!(advice, [Advice::RetryLater, Advice::GiveUp]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advice(&self) -> impl Iterator<Item = (&ForwardPath, Advice)> {
        let mut some_admitted = false;
        self.recipients.iter().filter_map(move |recipient| {
            let advice = of_outcome(&recipient.outcome, some_admitted && !self.split);
            some_admitted |= recipient.admitted;
            advice.map(|advice| (&recipient.path, advice))
        })
    }
}

/// `some_admitted` says that the server had accepted a recipient of the same transaction before.
fn of_outcome(outcome: &Outcome, some_admitted: bool) -> Option<Advice> {
    Some(match outcome {
        Outcome::Accepted(_) => return None,
        Outcome::NotSent => Advice::SendAgain,
        Outcome::InDoubt => Advice::MayDuplicate,
        Outcome::Refused { transient: false, .. } => Advice::GiveUp,
        outcome if some_admitted && outcome.is_too_many() => Advice::SplitRecipients,
        Outcome::Refused { reply, .. } if is_the_hosts(reply) => Advice::TryAnotherHost,
        Outcome::Refused { .. } => Advice::RetryLater,
    })
}

/// Whether the refusal is about the server and not about the message or a mailbox: it shuts down, or its system or network is
/// in trouble (RFC 3463 section 3.4 and 3.5).
fn is_the_hosts(reply: &Reply) -> bool {
    reply.code().get() == 421 || reply.enhanced().is_some_and(|code| matches!(code.subject(), 3 | 4))
}

impl Failure {
    /// What can be done where there is no message, or no recipient, to say it of: the session did not come about, or was
    /// over before. `None` where [`Report::advice`] says it of each recipient.
    pub fn advice(&self) -> Option<Advice> {
        if self.report().is_some_and(|report| report.recipients().len() > 0) {
            return None;
        }
        Some(match self {
            Self::Usage(error) if error.passes() => Advice::SendAgain,
            Self::Usage(UsageError::TooManyRecipients { .. }) => Advice::SplitRecipients,
            Self::Usage(_) | Self::NoMechanism(_) => Advice::GiveUp,
            Self::Auth(failure) if failure.is_transient() => Advice::RetryLater,
            Self::Auth(_) => Advice::GiveUp,
            Self::SenderRefused { reply, .. } | Self::DataRefused { reply, .. } => match reply.code().severity() {
                Severity::Permanent => Advice::GiveUp,
                _ if is_the_hosts(reply) => Advice::TryAnotherHost,
                _ => Advice::RetryLater,
            },
            Self::Disconnected { reason: CloseReason::Aborted | CloseReason::Quit, .. } => Advice::SendAgain,
            // Nothing was sent to it, so another one can only do better.
            Self::Greeting(_)
            | Self::Hello(_)
            | Self::TlsRequired { .. }
            | Self::RecipientsRefused(_)
            | Self::TimedOut { .. }
            | Self::Disconnected { .. } => Advice::TryAnotherHost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Stage;
    use crate::reply::{ReplyLimits, parse_reply};
    use crate::transaction::{Recipient, TransactionId};

    fn reply(line: &str) -> Reply {
        let line = alloc::format!("{line}\r\n");
        parse_reply(line.as_bytes(), &ReplyLimits::default()).unwrap().unwrap().0.to_owned()
    }

    fn refused(stage: Stage, line: &str) -> Outcome {
        Outcome::refused(stage, reply(line))
    }

    fn recipient(admitted: bool, outcome: Outcome) -> Recipient {
        Recipient { admitted, outcome, ..Recipient::new(ForwardPath::parse("a@b").unwrap()) }
    }

    // C-118: credentials that were refused help nobody; a server that cannot check them now may later.
    #[test]
    fn an_authentication_that_failed() {
        for (line, advice) in [("535 5.7.8 no", Advice::GiveUp), ("454 4.7.0 later", Advice::RetryLater)] {
            let (mechanism, reply) = ("PLAIN".into(), reply(line));
            let failure = crate::sasl::AuthFailure { mechanism, reply, error: None, server_error: None };
            assert_eq!(Failure::Auth(alloc::boxed::Box::new(failure)).advice(), Some(advice));
        }
    }

    // C-12, C-100, R-03: what helps follows from the stage and the codes; only who is told that they are too many is asked to
    // split, and only if somebody got through.
    #[test]
    fn each_outcome_has_its_advice() {
        for (outcome, alone, behind_another) in [
            (Outcome::Accepted(reply("250 ok")), None, None),
            (Outcome::NotSent, Some(Advice::SendAgain), Some(Advice::SendAgain)),
            (Outcome::InDoubt, Some(Advice::MayDuplicate), Some(Advice::MayDuplicate)),
            (refused(Stage::Rcpt, "550 5.1.1 no"), Some(Advice::GiveUp), Some(Advice::GiveUp)),
            (refused(Stage::Rcpt, "556 no mail"), Some(Advice::GiveUp), Some(Advice::GiveUp)),
            (refused(Stage::Rcpt, "450 4.2.0 grey"), Some(Advice::RetryLater), Some(Advice::RetryLater)),
            (refused(Stage::Rcpt, "452 many"), Some(Advice::RetryLater), Some(Advice::SplitRecipients)),
            (refused(Stage::Rcpt, "452 4.5.3 many"), Some(Advice::RetryLater), Some(Advice::SplitRecipients)),
            (refused(Stage::Rcpt, "451 4.5.3 many"), Some(Advice::RetryLater), Some(Advice::SplitRecipients)),
            (refused(Stage::Rcpt, "452 4.2.2 full"), Some(Advice::RetryLater), Some(Advice::RetryLater)),
            (refused(Stage::Rcpt, "452 4.3.1 full"), Some(Advice::TryAnotherHost), Some(Advice::TryAnotherHost)),
            (refused(Stage::Mail, "421 bye"), Some(Advice::TryAnotherHost), Some(Advice::TryAnotherHost)),
            (refused(Stage::Mail, "452 full"), Some(Advice::RetryLater), Some(Advice::RetryLater)),
            (refused(Stage::Content, "451 4.4.5 busy"), Some(Advice::TryAnotherHost), Some(Advice::TryAnotherHost)),
            (refused(Stage::Content, "554 5.7.1 spam"), Some(Advice::GiveUp), Some(Advice::GiveUp)),
        ] {
            let first = recipient(true, Outcome::Accepted(reply("250 ok")));
            let report = |recipients| Report {
                id: TransactionId(0),
                recipients,
                sender_refusal: None,
                utf8: None,
                split: false,
            };
            let of = |report: &Report| report.advice().map(|(_, advice)| advice).next();
            assert_eq!(of(&report(alloc::vec![recipient(false, outcome.clone())])), alone, "{outcome:?}");
            let both = report(alloc::vec![first, recipient(false, outcome.clone())]);
            assert_eq!(of(&both), behind_another, "{outcome:?}");
        }
    }

    // C-143: a session that does not come about says nothing against another host.
    #[test]
    fn each_failure_has_its_advice() {
        let aborted = Failure::Disconnected { reason: CloseReason::Aborted, report: None };
        let ended = Failure::Disconnected { reason: CloseReason::Eof, report: None };
        let refused_by = |line: &str| Failure::SenderRefused {
            reply: reply(line),
            report: alloc::boxed::Box::new(Report {
                id: TransactionId(0),
                recipients: alloc::vec::Vec::new(),
                sender_refusal: None,
                utf8: None,
                split: false,
            }),
        };
        for (failure, advice) in [
            (Failure::Greeting(reply("554 no")), Advice::TryAnotherHost),
            (Failure::Hello(reply("550 no")), Advice::TryAnotherHost),
            (Failure::TlsRequired { reply: None, suspicious: false }, Advice::TryAnotherHost),
            (Failure::Usage(UsageError::NoRecipients), Advice::GiveUp),
            (Failure::Usage(UsageError::MailLimit { maximum: 1 }), Advice::SendAgain),
            (Failure::Usage(UsageError::TooManyRecipients { maximum: 1 }), Advice::SplitRecipients),
            (aborted, Advice::SendAgain),
            (ended, Advice::TryAnotherHost),
            (refused_by("550 no"), Advice::GiveUp),
            (refused_by("450 no"), Advice::RetryLater),
            (refused_by("421 no"), Advice::TryAnotherHost),
        ] {
            assert_eq!(failure.advice(), Some(advice), "{failure}");
        }
        let report = Report {
            id: TransactionId(0),
            recipients: alloc::vec![recipient(false, refused(Stage::Rcpt, "550 no"))],
            sender_refusal: None,
            utf8: None,
            split: false,
        };
        assert_eq!(Failure::RecipientsRefused(alloc::boxed::Box::new(report)).advice(), None);
    }
}
