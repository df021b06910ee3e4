//! Mail, in clear and within TLS: what arrives, and what becomes of it where servers refuse, wait or hang up.

use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use smtp_driver::Error;
use smtp_proto::{BodyType, Chunking, Extension, Failure, LineEndings, Outcome, Stage, TlsMode, UsageError};

use crate::{Lines, Message, Place, Places, Target, Test, from, path, same, shown, to_user1};

/// What arrives octet by octet, in clear and for each way to TLS.
const CONTENT: &[(&str, Test)] = &[
    ("plain_text", plain_text),
    ("leading_dots", leading_dots),
    ("eight_bit", eight_bit),
    ("by_bdat", by_bdat),
    ("by_bdat_ahead", by_bdat_ahead),
    ("ten_mebibytes", ten_mebibytes),
];

const MORE_CONTENT: &[(&str, Test)] = &[
    ("no_final_line_end", no_final_line_end),
    ("bare_line_ends", bare_line_ends),
    ("long_lines", long_lines),
    ("several_messages", several_messages),
    ("a_thousand_recipients", a_thousand_recipients),
];

const SMTP: &[(&str, Test)] = &[
    ("refused_and_put_off", refused_and_put_off),
    ("all_refused", all_refused),
    ("data_refused", data_refused),
    ("content_refused", content_refused),
];

const LMTP: &[(&str, Test)] = &[("a_final_reply_each", a_final_reply_each), ("a_recipient_twice", a_recipient_twice)];

const SIZE: &[(&str, Test)] =
    &[("too_large_and_declared", too_large_and_declared), ("too_large_and_undeclared", too_large_and_undeclared)];

const NEWLINE: &[(&str, Test)] =
    &[("bare_line_ends", bare_line_ends), ("bare_line_ends_by_bdat", bare_line_ends_by_bdat)];

pub(crate) fn trials(places: &Places) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |target: Target, tests: &[&[(&str, Test)]]| {
        for (name, test) in tests.concat() {
            trials.push(target.trial(name, test));
        }
    };

    let lock_step = |target| Target { pipelining: false, ..target };
    let smtp = [CONTENT, MORE_CONTENT, SMTP];
    let postfix = |name| places.postfix(name, places.postfix);
    let postfix_plain = places.postfix("postfix_plain", places.postfix_plain);
    let exim = |name| places.exim(name, places.exim);
    let exim_plain = places.exim("exim_plain", places.exim_plain);
    add(postfix("postfix_pipelined"), &smtp);
    add(lock_step(postfix("postfix_lock_step")), &smtp);
    add(Target { chunking: false, eight_bit: false, ..postfix_plain }, &smtp);
    add(exim("exim_pipelined"), &smtp);
    add(lock_step(exim("exim_lock_step")), &smtp);
    add(Target { chunking: false, ..exim_plain }, &smtp);
    add(places.aiosmtpd("aiosmtpd", Place::Port(places.aiosmtpd)), &smtp);

    let lmtp = [CONTENT, MORE_CONTENT, LMTP];
    let (dovecot, aiosmtpd) = (Place::Port(places.dovecot), Place::Port(places.aiosmtpd_lmtp));
    add(places.dovecot("dovecot_lmtp", dovecot.clone()), &lmtp);
    add(places.dovecot("dovecot_lmtp_unix", Place::Socket(places.dovecot_socket.clone())), &lmtp);
    let aiosmtpd_lmtp = |name, place| Target { lmtp: true, ..places.aiosmtpd(name, place) };
    add(aiosmtpd_lmtp("aiosmtpd_lmtp", aiosmtpd), &lmtp);
    add(aiosmtpd_lmtp("aiosmtpd_lmtp_unix", Place::Socket(places.aiosmtpd_socket.clone())), &lmtp);

    let starttls = TlsMode::StartTls;
    add(postfix("postfix_starttls").over(starttls), &[CONTENT]);
    add(places.postfix("postfix_tls", places.postfix_tls).over(TlsMode::Implicit), &[CONTENT]);
    add(exim("exim_starttls").over(starttls), &[CONTENT]);
    add(places.exim("exim_tls", places.exim_tls).over(TlsMode::Implicit), &[CONTENT]);
    add(places.dovecot("dovecot_lmtp_starttls", dovecot).over(starttls), &[CONTENT]);
    add(places.dovecot("dovecot_lmtp_tls", Place::Port(places.dovecot_tls)).over(TlsMode::Implicit), &[CONTENT]);

    add(places.postfix("postfix_size", places.postfix_size), &[SIZE]);
    add(places.exim("exim_size", places.exim_size), &[SIZE]);
    add(places.postfix("postfix_newline", places.postfix_newline), &[NEWLINE]);

    trials.push(places.postfix("postfix_slow", places.postfix_slow).trial("slow_greeting", slow_greeting));
    trials.push(places.exim("exim_slow", places.exim_slow).trial("slow_greeting", slow_greeting));
    let postfix = places.postfix("postfix_idle", places.postfix_idle);
    let exim = places.exim("exim_idle", places.exim_idle);
    let aiosmtpd = places.aiosmtpd("aiosmtpd_idle", Place::Port(places.aiosmtpd_idle));
    trials.push(postfix.trial("in_clear", shut_down_while_idle));
    trials.push(postfix.over(starttls).trial("starttls", shut_down_while_idle));
    trials.push(exim.trial("in_clear", shut_down_while_idle));
    trials.push(exim.over(starttls).trial("starttls", ended_while_idle));
    trials.push(aiosmtpd.trial("in_clear", closed_while_idle));
    trials.push(aiosmtpd.over(starttls).trial("starttls", closed_while_idle));
    trials
}

pub(crate) fn plain_text(target: &Target) -> Result<(), Failed> {
    let message = Message::new("hello\r\n\r\nworld\r\n");
    target.delivers(to_user1().content(&message.octets), &message, &message.octets)
}

fn leading_dots(target: &Target) -> Result<(), Failed> {
    let message = Message::new(".\r\n..\r\n.hidden\r\na.b\r\n\r\n.\r\n...\r\n");
    target.delivers(to_user1(), &message, &message.octets)
}

fn no_final_line_end(target: &Target) -> Result<(), Failed> {
    let message = Message::new("the last line has no end");
    let ended = [&message.octets[..], b"\r\n"].concat();
    target.delivers(to_user1().content(&message.octets), &message, &ended)
}

/// Bare CR and LF leave as line ends, or, strictly, not at all.
fn bare_line_ends(target: &Target) -> Result<(), Failed> {
    let message = Message::new("one\ntwo\rthree\n.\nfour\r\n");
    let strict = target.options().configure(|config| config.line_endings = LineEndings::Strict);
    let refused = target.send_all(strict, &[(to_user1(), &message.octets)]).remove(0);
    if !matches!(refused, Err(Error::Content { .. })) {
        return Err(format!("strict line ends let {refused:?} through").into());
    }
    let end = message.octets.len() - "one\ntwo\rthree\n.\nfour\r\n".len();
    let normalized = [&message.octets[..end], b"one\r\ntwo\r\nthree\r\n.\r\nfour\r\n"].concat();
    target.delivers(to_user1().content(&message.octets), &message, &normalized)
}

/// Lines of 998 octets arrive everywhere; what a server does with longer ones is its own affair, so only that it takes
/// them is tested.
fn long_lines(target: &Target) -> Result<(), Failed> {
    let message = Message::new(format!("{}\r\n.{}\r\n", "x".repeat(998), "y".repeat(997)));
    target.delivers(to_user1(), &message, &message.octets)?;
    let longer = Message::new(format!("{}\r\n", "x".repeat(1500)));
    let report = target.send(to_user1(), &longer.octets)?;
    same(report.is_complete_success(), true)
}

fn eight_bit(target: &Target) -> Result<(), Failed> {
    let message = Message::new("gr\u{fc}\u{df}e \u{2014} \u{65e5}\u{672c}\r\n".as_bytes());
    let declared = to_user1().content(&message.octets);
    if !target.eight_bit {
        // Not offered, so not sent.
        let refused = target.send(declared, &message.octets);
        let missing = UsageError::Missing(Extension::EightBitMime);
        same(matches!(&refused, Err(Error::Failure(Failure::Usage(error))) if *error == missing), true)?;
        let undeclared = target.send(to_user1().body_type(BodyType::SevenBit), &message.octets);
        return same(matches!(undeclared, Err(Error::Content { .. })), true);
    }
    target.delivers(declared, &message, &message.octets)
}

/// The same content by BDAT, in one chunk and in many, where that is offered; elsewhere by DATA all the same.
fn by_bdat(target: &Target) -> Result<(), Failed> {
    with_chunking(target, Chunking::Prefer)
}

/// The same where the content does not wait to hear who is accepted. A message to nobody in between, small and large, is
/// refused and leaves nothing behind.
fn by_bdat_ahead(target: &Target) -> Result<(), Failed> {
    with_chunking(target, Chunking::Ahead)?;
    let options = target.options().configure(|config| config.chunking = Chunking::Ahead);
    let large = Message::new(".0123456789\r\n".repeat(100_000));
    let small = Message::new("behind one to nobody\r\n");
    let nobody = from("sender").to(path("refused")).to(path("no-such-user"));
    let messages = [(nobody.clone(), &small.octets), (nobody, &large.octets), (to_user1(), &small.octets)];
    let messages = messages.map(|(transaction, octets)| (transaction, &octets[..]));
    let results = target.send_all(options, &messages);
    let refused = |result: &Result<_, Error>| matches!(result, Err(Error::Failure(Failure::RecipientsRefused(_))));
    match &results[..] {
        [one, other, Ok(report)] if refused(one) && refused(other) && report.is_complete_success() => {}
        _ => return Err(format!("{results:?}").into()),
    }
    target.arrived("user1", &small, &small.octets)?;
    same(target.files("user1", &large.mark).len(), 0)
}

fn with_chunking(target: &Target, chunking: Chunking) -> Result<(), Failed> {
    let small = Message::new(".\r\n..\r\nby BDAT\r\n");
    let large = Message::new(".0123456789\r\n".repeat(100_000));
    let options = target.options().configure(|config| config.chunking = chunking);
    let lines = Lines::default();
    let options = options.transcript(lines.hook());
    for result in target.send_all(options, &[(to_user1(), &small.octets), (to_user1(), &large.octets)]) {
        same(result?.is_complete_success(), true)?;
    }
    same(!lines.starting("C: BDAT").is_empty(), target.chunking)?;
    target.arrived("user1", &small, &small.octets)?;
    target.arrived("user1", &large, &large.octets)
}

fn several_messages(target: &Target) -> Result<(), Failed> {
    let messages: Vec<Message> = (0..5).map(|number| Message::new(format!("message {number}\r\n"))).collect();
    let all: Vec<_> = messages.iter().map(|message| (to_user1(), &message.octets[..])).collect();
    for result in target.send_all(target.options(), &all) {
        same(result?.is_complete_success(), true)?;
    }
    messages.iter().try_for_each(|message| target.arrived("user1", message, &message.octets))
}

fn a_thousand_recipients(target: &Target) -> Result<(), Failed> {
    let message = Message::new("to a thousand\r\n");
    let transaction = from("sender").to_all((0..1000).map(|number| path(&format!("bulk{number}"))));
    let report = target.send(transaction, &message.octets)?;
    same(report.recipients().filter(|(_, outcome)| outcome.is_accepted()).count(), 1000)?;
    (0..1000).try_for_each(|number| target.arrived(&format!("bulk{number}"), &message, &message.octets))
}

fn ten_mebibytes(target: &Target) -> Result<(), Failed> {
    let mut body = String::new();
    for number in 0..(10 << 20) / 64 {
        body += &format!("{number:07} {}\r\n", ".".repeat(54));
    }
    let message = Message::new(body);
    target.delivers(to_user1().content(&message.octets), &message, &message.octets)
}

fn refused_and_put_off(target: &Target) -> Result<(), Failed> {
    let message = Message::new("for one of three\r\n");
    let transaction = from("sender").to(path("refused")).to(path("user1")).to(path("tempfail"));
    let report = target.send(transaction, &message.octets)?;
    let outcomes: Vec<_> = report.recipients().map(|(_, outcome)| outcome.clone()).collect();
    match outcomes.as_slice() {
        [
            Outcome::Refused { stage: Stage::Rcpt, transient: false, .. },
            Outcome::Accepted(_),
            Outcome::Refused { stage: Stage::Rcpt, transient: true, .. },
        ] => target.arrived("user1", &message, &message.octets),
        _ => Err(shown(&report).into()),
    }
}

/// Nobody gets it, and the session is good for the next message.
fn all_refused(target: &Target) -> Result<(), Failed> {
    let (lost, message) = (Message::new("for nobody\r\n"), Message::new("for somebody\r\n"));
    let nobody = from("sender").to(path("refused")).to(path("tempfail"));
    let results = target.send_all(target.options(), &[(nobody, &lost.octets), (to_user1(), &message.octets)]);
    match results.as_slice() {
        [Err(Error::Failure(Failure::RecipientsRefused(report))), Ok(_)] => same(report.refused().count(), 2)?,
        other => return Err(format!("{other:?}").into()),
    }
    target.arrived("user1", &message, &message.octets)
}

fn data_refused(target: &Target) -> Result<(), Failed> {
    let message = Message::new("never\r\n");
    let results = target.send_all(
        target.options(),
        &[(from("nodata").to(path("user1")), &message.octets), (to_user1(), &message.octets)],
    );
    match results.as_slice() {
        [Err(Error::Failure(Failure::DataRefused { reply, .. })), Ok(_)] => same(reply.code().get(), 554),
        other => Err(format!("{other:?}").into()),
    }
}

fn content_refused(target: &Target) -> Result<(), Failed> {
    let message = Message::with_header("X-Lab: reject-eod\r\n", "never\r\n");
    let error = target.send(to_user1(), &message.octets).err().ok_or("the content was not refused")?;
    let Some(Failure::DataRefused { report, .. }) = error.failure() else { return Err(error.into()) };
    let stage = report.recipients().map(|(_, outcome)| outcome.clone()).next();
    same(matches!(stage, Some(Outcome::Refused { stage: Stage::Content, transient: false, .. })), true)
}

fn a_final_reply_each(target: &Target) -> Result<(), Failed> {
    let message = Message::new("each by themselves\r\n");
    let transaction = from("sender")
        .to(path("nobody"))
        .to(path("overquota"))
        .to(path("user1"))
        .to(path("tempfail"))
        .to(path("user2"));
    let report = target.send(transaction, &message.octets)?;
    let outcomes: Vec<_> = report.recipients().map(|(_, outcome)| outcome.clone()).collect();
    match outcomes.as_slice() {
        [
            Outcome::Refused { stage: Stage::Rcpt, transient: false, .. },
            Outcome::Refused { stage: Stage::Content, transient: false, .. },
            Outcome::Accepted(_),
            Outcome::Refused { stage: Stage::Content, transient: true, .. },
            Outcome::Accepted(_),
        ] => {}
        _ => return Err(shown(&report).into()),
    }
    target.arrived("user1", &message, &message.octets)?;
    target.arrived("user2", &message, &message.octets)
}

fn a_recipient_twice(target: &Target) -> Result<(), Failed> {
    let message = Message::new("twice\r\n");
    let report = target.send(to_user1().to(path("user1")), &message.octets)?;
    same(report.recipients().filter(|(_, outcome)| outcome.is_accepted()).count(), 2)?;
    target.arrived("user1", &message, &message.octets)
}

/// A message over the limit of 20,000 octets of some places.
fn too_large() -> Message {
    Message::new("0123456789\r\n".repeat(2500))
}

/// Whoever says how large a message is learns at once that it is too large, and the server hears nothing of it.
fn too_large_and_declared(target: &Target) -> Result<(), Failed> {
    let (large, small) = (too_large(), Message::new("small\r\n"));
    let (client, lines) = target.connect(target.options());
    let mut client = client?;
    let refused = client.send(to_user1().content(&large.octets), &large.octets);
    let expected = UsageError::TooLarge { limit: 20_000 };
    same(matches!(&refused, Err(Error::Failure(Failure::Usage(error))) if *error == expected), true)?;
    same(lines.starting("C: MAIL"), vec![])?;
    same(client.send(to_user1().content(&small.octets), &small.octets)?.is_complete_success(), true)?;
    target.arrived("user1", &small, &small.octets)
}

/// Otherwise the server says so, and takes the next one.
fn too_large_and_undeclared(target: &Target) -> Result<(), Failed> {
    let (large, small) = (too_large(), Message::new("small\r\n"));
    let (client, lines) = target.connect(target.options());
    let mut client = client?;
    let error = client.send(to_user1(), &large.octets).err().ok_or("the message was not refused")?;
    let Some(Failure::DataRefused { reply, .. }) = error.failure() else { return Err(error.into()) };
    same(reply.code().get(), 552)?;
    same((error.is_transient(), error.may_have_been_accepted()), (false, false))?;
    same(lines.starting("C: MAIL").iter().any(|line| line.contains("SIZE=")), false)?;
    same(client.send(to_user1(), &small.octets)?.is_complete_success(), true)?;
    target.arrived("user1", &small, &small.octets)
}

/// A greeting that takes its time and several lines. These places punish whoever does not hear it out.
fn slow_greeting(target: &Target) -> Result<(), Failed> {
    let message = Message::new("after a while\r\n");
    let start = Instant::now();
    let (client, lines) = target.connect(target.options());
    let mut client = client?;
    if start.elapsed() < Duration::from_millis(1500) || lines.starting("S: 220-").is_empty() {
        return Err(format!("that was no slow greeting: {:?}", lines.starting("S: 220")).into());
    }
    same(client.send(to_user1(), &message.octets)?.is_complete_success(), true)?;
    target.arrived("user1", &message, &message.octets)
}

fn shut_down_while_idle(target: &Target) -> Result<(), Failed> {
    same(idle(target)?, Some(421))
}

fn closed_while_idle(target: &Target) -> Result<(), Failed> {
    same(idle(target)?, None)
}

fn ended_while_idle(target: &Target) -> Result<(), Failed> {
    idle(target).map(drop)
}

/// A connection that the server ended while nobody looked: the next message fails, nothing of it was sent, and sending it
/// again does not duplicate it. The code that the server took leave with, if it was heard.
fn idle(target: &Target) -> Result<Option<u16>, Failed> {
    let message = Message::new("late\r\n");
    let (client, lines) = target.connect(target.options());
    let mut client = client?;
    sleep(Duration::from_secs(4)); // the server's patience is 2 s
    let error = client.send(to_user1(), &message.octets).err().ok_or("the server waited")?;
    same((error.is_transient(), error.may_have_been_accepted()), (true, false))?;
    same(lines.starting("C: MAIL"), vec![])?;
    target.delivers(to_user1(), &message, &message.octets)?;
    same(target.files("user1", &message.mark).len(), 1)?;
    Ok(error.reply().map(|reply| reply.code().get()))
}

/// The place does refuse bare line ends, and content sent by BDAT leaves as it is.
fn bare_line_ends_by_bdat(target: &Target) -> Result<(), Failed> {
    let message = Message::new("one\ntwo\r\n");
    let options = target.options().configure(|config| config.chunking = Chunking::Prefer);
    let error = target.send_all(options, &[(to_user1(), &message.octets)]).remove(0);
    let error = error.err().ok_or("the message was not refused")?;
    let Some(Failure::DataRefused { reply, .. }) = error.failure() else { return Err(error.into()) };
    same(reply.code().get(), 550)
}
