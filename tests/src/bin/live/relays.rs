//! What one server asks of another: who the client was that it speaks for (XCLIENT, XFORWARD), mail that waits (ETRN), whom
//! it knows (VRFY, HELP), and an answer to the content for each recipient (PRDR).

use std::net::Ipv4Addr;

use libtest_mimic::{Failed, Trial};
use smtp_proto::{CommandLine, Extension, OriginalClient, Outcome, QueueRun, Reply, Stage, UsageError, Verification};

use crate::{Message, Places, Target, from, path, same, shown, to_user1};

pub(crate) fn trials(places: &Places) -> Vec<Trial> {
    let postfix = places.postfix("postfix_relays", places.postfix);
    let exim = places.exim("exim_relays", places.exim);
    vec![
        postfix.trial("xclient", xclient),
        postfix.trial("xforward", xforward),
        postfix.trial("etrn", etrn),
        postfix.trial("vrfy", vrfy),
        exim.trial("help", help),
        exim.trial("answers_for_each", answers_for_each),
        postfix.trial("answers_for_each_not_offered", answers_for_each_not_offered),
    ]
}

fn ask(target: &Target, command: &CommandLine) -> Result<Reply, Failed> {
    let mut session = target.session(target.options())?;
    let reply = session.command(command)?;
    session.quit()?;
    Ok(reply)
}

/// The client that the server is to believe in.
fn original() -> Result<OriginalClient, Failed> {
    let address = Ipv4Addr::new(192, 0, 2, 7).into();
    Ok(OriginalClient::new().name("spike.example")?.addr(address).helo("its+own.name")?)
}

/// Once the server takes us for another, the message says that it came from there.
fn xclient(target: &Target) -> Result<(), Failed> {
    let message = Message::new("from somebody else\r\n");
    let mut session = target.session(target.options())?;
    same(session.xclient(&original()?)?.code().get(), 220)?;
    same(session.send(to_user1(), &message.octets)?.is_complete_success(), true)?;
    session.quit()?;
    target.arrived("user1", &message, &message.octets)?;
    let stored = target.find("user1", &message.mark).ok_or("it was there a moment ago")?;
    let stored = String::from_utf8_lossy(&stored);
    same(stored.contains("(spike.example [192.0.2.7])"), true)
}

fn xforward(target: &Target) -> Result<(), Failed> {
    let message = Message::new("passed on\r\n");
    let mut session = target.session(target.options())?;
    for line in original()?.xforward() {
        same(session.command(&line)?.code().get(), 250)?;
    }
    same(session.send(to_user1(), &message.octets)?.is_complete_success(), true)?;
    session.quit()?;
    target.arrived("user1", &message, &message.octets)
}

/// It sends what waits for its own domain, and for no other.
fn etrn(target: &Target) -> Result<(), Failed> {
    same(ask(target, &CommandLine::etrn("lab.test")?)?.queue_run(), QueueRun::Started)?;
    same(ask(target, &CommandLine::etrn("elsewhere.test")?)?.queue_run(), QueueRun::NotAllowed)
}

fn vrfy(target: &Target) -> Result<(), Failed> {
    same(ask(target, &CommandLine::vrfy("user1@lab.test")?)?.verification(), Verification::Unverified)?;
    same(ask(target, &CommandLine::vrfy("nobody-here@lab.test")?)?.verification(), Verification::Refused)
}

fn help(target: &Target) -> Result<(), Failed> {
    let reply = ask(target, &CommandLine::help("")?)?;
    let mut lines = reply.help().ok_or_else(|| reply.to_string())?;
    same(lines.any(|line| line.windows(4).any(|word| word == b"RCPT")), true)
}

/// Of three who were accepted at RCPT one has the message, one never and one not now.
fn answers_for_each(target: &Target) -> Result<(), Failed> {
    let message = Message::new("for whom it is\r\n");
    let users = ["prdrno", "user1", "prdrdefer"];
    let transaction = from("sender").to_all(users.map(path)).per_recipient_replies(true);
    let report = target.send(transaction, &message.octets)?;
    let refused = |outcome: &Outcome, code: u16| matches!(outcome, Outcome::Refused { stage: Stage::Content, reply, .. } if reply.code().get() == code);
    let outcomes: Vec<_> = report.recipients().map(|(_, outcome)| outcome).collect();
    match outcomes[..] {
        [never, accepted, later] if refused(never, 550) && accepted.is_accepted() && refused(later, 450) => {}
        _ => return Err(shown(&report).into()),
    }
    target.arrived("user1", &message, &message.octets)?;
    same(target.files("prdrno", &message.mark), vec![])
}

fn answers_for_each_not_offered(target: &Target) -> Result<(), Failed> {
    let refused = target.send(to_user1().per_recipient_replies(true), &Message::new("x\r\n").octets);
    let expected = UsageError::Missing(Extension::PerRecipientReplies).to_string();
    same(refused.err().map(|error| error.to_string().contains(&expected)), Some(true))
}
