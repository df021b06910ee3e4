//! What is asked of extensions of the envelope: reports of delivery (DSN), and headers and addresses outside ASCII
//! (SMTPUTF8). Where a place does not offer one, that is found out before it hears anything.

use libtest_mimic::{Failed, Trial};
use smtp_driver::Error;
use smtp_proto::{
    EnvelopeId, Extension, Failure, ForwardPath, NotifyOn, OriginalRecipient, Recipient, Ret, TlsMode, Transaction,
    UsageError, Utf8Reason, xtext,
};

use crate::auth::{RIGHT, password};
use crate::{Lines, Message, Place, Places, Target, Test, from, path, same, shown, to_user1};

const TESTS: &[(&str, Test)] = &[
    ("report_of_success", report_of_success),
    ("utf8_header", utf8_header),
    ("utf8_recipient", utf8_recipient),
    ("utf8_recipient_and_header", utf8_recipient_and_header),
];

pub(crate) fn trials(places: &Places) -> Vec<Trial> {
    let postfix = places.postfix("postfix_extensions", places.postfix);
    let postfix_plain = places.postfix("postfix_plain_extensions", places.postfix_plain);
    let exim = places.exim("exim_extensions", places.exim);
    let exim_plain = places.exim("exim_plain_extensions", places.exim_plain);
    let dovecot = places.dovecot("dovecot_lmtp_extensions", Place::Port(places.dovecot));
    let dovecot_unix = places.dovecot("dovecot_lmtp_unix_extensions", Place::Socket(places.dovecot_socket.clone()));
    // It hands what is submitted to Postfix, and yet does not pass on that reports can be asked for.
    let submission = Place::Port(places.dovecot_submission);
    let submission = places.target("dovecot_submission_extensions", submission, &places.postfix_mail);
    let aiosmtpd = places.aiosmtpd("aiosmtpd_extensions", Place::Port(places.aiosmtpd));
    let aiosmtpd_lmtp = places.aiosmtpd("aiosmtpd_lmtp_extensions", Place::Port(places.aiosmtpd_lmtp));
    let aiosmtpd_lmtp = Target { lmtp: true, ..aiosmtpd_lmtp };
    let mut trials = Vec::new();
    for target in [
        postfix.clone(),
        Target { pipelining: false, name: "postfix_extensions_lock_step".into(), ..postfix.clone() },
        Target { name: "postfix_extensions_starttls".into(), ..postfix.over(TlsMode::StartTls) },
        exim,
        Target { dsn: false, utf8: false, ..postfix_plain },
        Target { dsn: false, utf8: false, ..exim_plain },
        Target { dsn: false, utf8: false, ..dovecot },
        Target { dsn: false, utf8: false, ..dovecot_unix },
        Target { login: true, dsn: false, utf8: false, ..submission },
        Target { dsn: false, ..aiosmtpd },
        Target { dsn: false, ..aiosmtpd_lmtp },
    ] {
        trials.extend(TESTS.iter().map(|&(name, test)| target.trial(name, test)));
    }
    trials
}

/// Sends a message and keeps what goes over the wire.
fn send(
    target: &Target,
    transaction: Transaction,
    message: &Message,
) -> (Result<(), Failed>, Option<UsageError>, Lines) {
    let lines = Lines::default();
    let options = target.options().transcript(lines.hook());
    let options = if target.login { options.credentials(password(RIGHT)) } else { options };
    match target.send_all(options, &[(transaction, &message.octets)]).remove(0) {
        Ok(report) if report.is_complete_success() => (Ok(()), None, lines),
        Ok(report) => (Err(shown(&report).into()), None, lines),
        Err(Error::Failure(Failure::Usage(error))) => (Err(error.to_string().into()), Some(error), lines),
        Err(error) => (Err(error.into()), None, lines),
    }
}

/// The place does not offer what is needed: it hears no part of the envelope, and whoever asked hears the reason.
fn refused_here(
    target: &Target,
    transaction: Transaction,
    message: &Message,
    expected: UsageError,
) -> Result<(), Failed> {
    let (_, refused, lines) = send(target, transaction, message);
    same(refused, Some(expected))?;
    same(lines.starting("C: MAIL"), vec![])
}

/// The report that was asked for comes to the sender, and says by the names that he gave what became of which message.
fn report_of_success(target: &Target) -> Result<(), Failed> {
    let message = Message::new("that does not come back\r\n");
    // Both need xtext.
    let id = format!("66+1=67 {}", message.mark);
    let original = "list+of=all@elsewhere.test";
    let recipient = Recipient::new(path("user1"))
        .notify(NotifyOn::SUCCESS)
        .original_recipient(OriginalRecipient::of(&ForwardPath::parse(original)?)?);
    let transaction = from("sender").ret(Ret::Hdrs).envelope_id(EnvelopeId::new(&id)?).to(recipient);
    if !target.dsn {
        return refused_here(target, transaction, &message, UsageError::Missing(Extension::Dsn));
    }
    let (sent, _, lines) = send(target, transaction, &message);
    sent?;
    let sent_id = format!("ENVID={}", xtext::encode(id.as_bytes()));
    same(lines.starting("C: MAIL").iter().any(|line| line.contains(&sent_id)), true)?;
    target.arrived("user1", &message, &message.octets)?;

    let report = target.find("sender", &message.mark).ok_or("the report never came")?;
    let report = String::from_utf8_lossy(&report);
    let field = |name: &str| {
        let mut fields = report.lines().filter_map(|line| line.split_once(": "));
        let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        // Exim repeats the xtext as it came, where RFC 3464 has what it means.
        if !target.name.contains("exim") {
            return Some(value.to_owned());
        }
        xtext::decode(value).ok().map(|value| String::from_utf8_lossy(&value).into_owned())
    };
    same(field("Original-Envelope-Id"), Some(id))?;
    same(field("Original-Recipient"), Some(format!("rfc822;{original}")))?;
    same(field("Action"), Some("delivered".into()))?;
    // Of the message its headers, as asked.
    same((report.contains("Subject: live"), report.contains("does not come back")), (true, false))
}

fn utf8_message() -> Message {
    Message::about("gr\u{fc}\u{df}e \u{2014} \u{65e5}\u{672c}", "a subject as it is written\r\n")
}

/// A header outside ASCII, which the caller tells of.
fn utf8_header(target: &Target) -> Result<(), Failed> {
    let message = utf8_message();
    if !target.utf8 {
        let missing = UsageError::NeedsSmtpUtf8(Utf8Reason::Asked);
        return refused_here(target, to_user1().smtputf8(true), &message, missing);
    }
    let transaction = to_user1().content(&message.octets).smtputf8(true);
    let (sent, _, lines) = send(target, transaction, &message);
    sent?;
    same(lines.starting("C: MAIL").iter().any(|line| line.contains(" SMTPUTF8")), true)?;
    target.arrived("user1", &message, &message.octets)
}

/// Recipients whose names are outside ASCII ask by themselves, each in a script of its own.
fn utf8_recipient(target: &Target) -> Result<(), Failed> {
    let message = Message::new("to whom it is written\r\n");
    to_utf8_recipients(target, &message, from("sender"))
}

fn utf8_recipient_and_header(target: &Target) -> Result<(), Failed> {
    let message = utf8_message();
    to_utf8_recipients(target, &message, from("sender").content(&message.octets).smtputf8(true))
}

fn to_utf8_recipients(target: &Target, message: &Message, transaction: Transaction) -> Result<(), Failed> {
    let users = ["\u{7528}\u{6237}", "\u{3b4}\u{3bf}\u{3ba}\u{3b9}\u{3bc}\u{3ae}"];
    let transaction = transaction.to_all(users.map(path));
    if !target.utf8 {
        let reason = Utf8Reason::Recipient(path(users[0]));
        return refused_here(target, transaction, message, UsageError::NeedsSmtpUtf8(reason));
    }
    let (sent, _, lines) = send(target, transaction, message);
    sent?;
    same(lines.starting("C: MAIL").iter().any(|line| line.contains(" SMTPUTF8")), true)?;
    users.iter().try_for_each(|user| target.arrived(user, message, &message.octets))
}
