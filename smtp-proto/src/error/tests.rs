use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;
use crate::address::ForwardPath;
use crate::reply::{ReplyLimits, parse_reply};
use crate::sasl::SaslError;
use crate::transaction::{Recipient, TransactionId};

fn reply(code: u16) -> Reply {
    let line = format!("{code} said\r\n");
    parse_reply(line.as_bytes(), &ReplyLimits::default()).unwrap().unwrap().0.to_owned()
}

fn refused(stage: Stage, code: u16) -> Outcome {
    Outcome::refused(stage, reply(code))
}

fn report(outcomes: &[Outcome]) -> Report {
    let path = |index| ForwardPath::parse(&format!("r{index}@x.example")).unwrap();
    let to =
        |(index, outcome): (usize, &Outcome)| Recipient { outcome: outcome.clone(), ..Recipient::new(path(index)) };
    let recipients = outcomes.iter().enumerate().map(to).collect();
    Report { id: TransactionId(7), recipients, sender_refusal: None, utf8: None, split: false }
}

fn auth(code: u16) -> Failure {
    let failure = AuthFailure { mechanism: "PLAIN".into(), reply: reply(code), error: None, server_error: None };
    Failure::Auth(Box::new(failure))
}

fn disconnected(reason: CloseReason) -> Failure {
    Failure::closed(reason, None)
}

/// What a failure is called, and the reply that it names.
fn kind(failure: &Failure) -> (&'static str, Option<u16>) {
    let name = match failure {
        Failure::Usage(_) => "usage",
        Failure::Greeting(_) => "greeting",
        Failure::Hello(_) => "hello",
        Failure::TlsRequired { .. } => "tls",
        Failure::Auth(_) => "auth",
        Failure::NoMechanism(_) => "mechanism",
        Failure::SenderRefused { .. } => "sender",
        Failure::RecipientsRefused(_) => "recipients",
        Failure::DataRefused { .. } => "data",
        Failure::TimedOut { .. } => "time",
        Failure::Disconnected { .. } => "end",
    };
    (name, failure.reply().map(|reply| reply.code().get()))
}

// C-55, C-56, C-58: one acceptance is a success; otherwise the sender's refusal counts before that of the content, that before
// the end of the connection, and that before the refusals of recipients, unless they explain everything.
#[test]
fn what_a_report_amounts_to() {
    let accepted = Outcome::Accepted(reply(250));
    let (rcpt, data, content) = (refused(Stage::Rcpt, 550), refused(Stage::Data, 554), refused(Stage::Content, 452));
    let lost = Some(CloseReason::Eof);
    for (outcomes, closed, expected) in [
        (&[accepted.clone(), rcpt.clone()][..], &None, ("", None)),
        (&[Outcome::InDoubt, accepted], &lost, ("", None)),
        (&[rcpt.clone(), data.clone()], &None, ("data", Some(554))),
        (&[rcpt.clone(), content.clone()], &lost, ("data", Some(452))),
        (&[rcpt.clone(), refused(Stage::Rcpt, 451)], &None, ("recipients", Some(550))),
        (core::slice::from_ref(&rcpt), &lost, ("recipients", Some(550))),
        (&[rcpt.clone(), Outcome::NotSent], &None, ("recipients", Some(550))),
        (&[rcpt.clone(), Outcome::NotSent], &lost, ("end", None)),
        (&[rcpt.clone(), Outcome::InDoubt], &Some(CloseReason::TimedOut(Phase::DataDone)), ("time", None)),
        (&[Outcome::NotSent], &Some(CloseReason::ServerShutdown(reply(421))), ("end", Some(421))),
        (&[], &None, ("recipients", None)),
    ] {
        let result = report(outcomes).into_result(closed.as_ref());
        assert_eq!(result.as_ref().map_or_else(kind, |_| ("", None)), expected, "{outcomes:?}, {closed:?}");
        let given = result.as_ref().map_or_else(Failure::report, Some);
        assert_eq!(given, Some(&report(outcomes)));
        let doubt = outcomes.contains(&Outcome::InDoubt);
        assert_eq!(result.err().map(|failure| failure.may_have_been_accepted()).unwrap_or(doubt), doubt);
    }
    let sender = Report { sender_refusal: Some(reply(553)), ..report(&[data]) };
    assert_eq!(kind(&sender.into_result(lost.as_ref()).unwrap_err()), ("sender", Some(553)));
}

// C-21, C-22, C-30, C-143: how the end of a connection is told, and what may be tried again later.
#[test]
fn what_may_succeed_later() {
    let tls = |code: Option<u16>, suspicious| Failure::TlsRequired { reply: code.map(reply), suspicious };
    let close = |phase, code| disconnected(CloseReason::Refused { phase, reply: reply(code) });
    let limit = || MailLimit { maximum: 3 };
    use UsageError::{Busy, Closed, MailLimit, NoRecipients, TooManyDomains, TooManyRecipients};
    for (failure, expected, later, text) in [
        (Busy.into(), ("usage", None), true, "the connection is busy with something else"),
        (Closed.into(), ("usage", None), true, "the connection is closed"),
        (limit().into(), ("usage", None), true, "the server takes 3 messages a session, and has got them"),
        (
            TooManyDomains { maximum: 2 }.into(),
            ("usage", None),
            true,
            "the server takes recipients in 2 domains a session",
        ),
        (TooManyRecipients { maximum: 2 }.into(), ("usage", None), false, "the server takes 2 recipients at a time"),
        (NoRecipients.into(), ("usage", None), false, "the transaction has no recipient"),
        (close(Phase::Greeting, 421), ("greeting", Some(421)), true, "the server refused the connection: 421 said"),
        (close(Phase::Greeting, 554), ("greeting", Some(554)), false, "the server refused the connection: 554 said"),
        (close(Phase::Hello, 451), ("hello", Some(451)), true, "the server refused the hello: 451 said"),
        (close(Phase::Hello, 550), ("hello", Some(550)), false, "the server refused the hello: 550 said"),
        (tls(None, false), ("tls", None), false, "TLS is required and the server does not offer it"),
        (
            tls(None, true),
            ("tls", None),
            false,
            "TLS is required and the server does not offer it; somebody seems to have crossed it out",
        ),
        (tls(Some(454), false), ("tls", Some(454)), true, "TLS is required and the server refused it: 454 said"),
        (tls(Some(501), true), ("tls", Some(501)), false, "TLS is required and the server refused it: 501 said"),
        (auth(535), ("auth", Some(535)), false, "PLAIN was refused: 535 said"),
        (auth(454), ("auth", Some(454)), true, "PLAIN was refused: 454 said"),
        (ChooseError::NeedsTls.into(), ("mechanism", None), false, "the mechanisms that the server offers need TLS"),
        (
            ChooseError::Credentials(SaslError::Prohibited).into(),
            ("mechanism", None),
            false,
            "the credentials cannot be used: a name or password holds characters that are not allowed in one",
        ),
        (
            disconnected(CloseReason::TimedOut(Phase::Mail)),
            ("time", None),
            true,
            "timed out waiting for the reply to MAIL",
        ),
        (disconnected(CloseReason::Eof), ("end", None), true, "the server closed the connection"),
        (disconnected(CloseReason::Quit), ("end", None), false, "the session was ended by QUIT"),
        (disconnected(CloseReason::Aborted), ("end", None), false, "the connection was aborted"),
        (
            disconnected(CloseReason::ServerUnproven),
            ("end", None),
            false,
            "the server did not prove that it knows the password",
        ),
        (
            disconnected(CloseReason::PlaintextAfterStartTls),
            ("end", None),
            false,
            "octets came in clear behind the go-ahead for TLS",
        ),
        (
            close(Phase::DataBlock, 451),
            ("end", Some(451)),
            true,
            "the server refused at the server to take the content: 451 said",
        ),
        (
            close(Phase::Command, 550),
            ("end", Some(550)),
            false,
            "the server refused at the reply to a command: 550 said",
        ),
        (
            disconnected(CloseReason::unsolicited(reply(250))),
            ("end", Some(250)),
            true,
            "the server sent a reply that nothing had asked for: 250 said",
        ),
    ] {
        assert_eq!(kind(&failure), expected);
        assert_eq!((failure.is_transient(), failure.to_string().as_str()), (later, text));
        assert_eq!(failure.is_timeout(), expected.0 == "time");
        assert_eq!((failure.report(), failure.may_have_been_accepted()), (None, false));
    }
}

// C-58: a message that failed may succeed later if it may for anybody who has not got it.
#[test]
fn a_message_may_succeed_later_for_some() {
    let accepted = Outcome::Accepted(reply(250));
    for (outcomes, later) in [
        (&[refused(Stage::Rcpt, 550)][..], false),
        (&[refused(Stage::Rcpt, 550), refused(Stage::Rcpt, 450)], true),
        (&[refused(Stage::Rcpt, 550), Outcome::NotSent], true),
        (&[refused(Stage::Rcpt, 550), Outcome::InDoubt], true),
        (&[refused(Stage::Rcpt, 550), accepted], false),
    ] {
        let whole = || Box::new(report(outcomes));
        let (sender, data) = (reply(553), reply(554));
        for failure in [
            Failure::SenderRefused { reply: sender, report: whole() },
            Failure::RecipientsRefused(whole()),
            Failure::DataRefused { reply: data, report: whole() },
        ] {
            assert_eq!(failure.is_transient(), later, "{failure}, {outcomes:?}");
        }
    }
    // Of a sender alone, by hand, there is nothing but his refusal.
    for (code, later) in [(451, true), (553, false)] {
        let failure = Failure::SenderRefused { reply: reply(code), report: Box::new(report(&[])) };
        assert_eq!(failure.is_transient(), later);
    }
}

// The report of all transactions of a message takes the place of the last one's, where there is one.
#[test]
fn a_report_is_replaced() {
    let (last, merged) = (|| report(&[Outcome::NotSent]), || report(&[Outcome::NotSent, Outcome::InDoubt]));
    let with_report = [
        Failure::SenderRefused { reply: reply(550), report: Box::new(last()) },
        Failure::RecipientsRefused(Box::new(last())),
        Failure::DataRefused { reply: reply(550), report: Box::new(last()) },
        Failure::closed(CloseReason::TimedOut(Phase::Quit), Some(last())),
        Failure::closed(CloseReason::Eof, Some(last())),
    ];
    for mut failure in with_report {
        assert_eq!(failure.report(), Some(&last()));
        failure.replace_report(merged());
        assert_eq!(failure.report(), Some(&merged()), "{failure}");
        assert!(failure.may_have_been_accepted());
    }
    for mut failure in [UsageError::Busy.into(), disconnected(CloseReason::Eof), auth(535)] {
        failure.replace_report(merged());
        assert_eq!(failure.report(), None, "{failure}");
    }
}

// What to do instead is said where there is something to do.
#[test]
fn errors_say_what_to_do() {
    for (error, text) in [
        (
            UsageError::Missing(Extension::EightBitMime),
            "the server does not offer 8BITMIME: let the message be made anew in 7 bits, by quoted-printable or base64",
        ),
        (UsageError::Missing(Extension::Chunking), "the server does not offer CHUNKING"),
        (
            UsageError::NeedsSmtpUtf8(Utf8Reason::Asked),
            "SMTPUTF8 is needed and not available: the headers are not ASCII; let the headers be made anew in ASCII, by RFC 2047",
        ),
        (
            UsageError::NeedsSmtpUtf8(Utf8Reason::Header("Subject".into())),
            "SMTPUTF8 is needed and not available: the header Subject is not ASCII; let the headers be made anew in ASCII, by \
             RFC 2047",
        ),
        (
            UsageError::NeedsSmtpUtf8(Utf8Reason::Argument),
            "SMTPUTF8 is needed and not available: the argument is not ASCII",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
    let addresses: Vec<_> = ["\u{fc}@x.example", "a@\u{fc}.example"].into_iter().zip(["sender", "submitter"]).collect();
    for (address, who) in addresses {
        let path = crate::ReversePath::parse(address).unwrap();
        let reason = if who == "sender" { Utf8Reason::Sender(path) } else { Utf8Reason::Submitter(path) };
        assert_eq!(reason.to_string(), format!("the {who} <{address}> is not ASCII"));
        assert_eq!(reason.instead(), "");
    }
}
