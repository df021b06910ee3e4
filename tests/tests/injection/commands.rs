//! Names, addresses, parameters, and lines of the caller's.

use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_proto::message::Message;
use smtp_proto::{
    CommandError, CommandLine, Config, Connection, ContentUrl, DateTime, EnvelopeId, ForwardPath, HelloName, Notify,
    OriginalClient, OriginalRecipient, Parameter, ParameterError, Recipient, ReversePath, Tracking, Transaction,
    ValidSince, xtext,
};

use crate::shape::Shape;
use crate::{Entry, Server, attempt};

pub(crate) const ENTRIES: &[Entry] = &[
    Entry { name: "HelloName::parse", harmless: "x.example", shape: Shape::Words, say: hello },
    Entry {
        name: "ReversePath::parse",
        harmless: "a@x.example",
        shape: Shape::Words,
        say: |text, server| begin(server, Transaction::new(ReversePath::parse(text).ok()?)),
    },
    Entry {
        name: "ReversePath::parse_relaxed",
        harmless: "a@x.example",
        shape: Shape::Words,
        say: |text, server| begin(server, Transaction::new(ReversePath::parse_relaxed(text).ok()?)),
    },
    Entry {
        name: "ReversePath::parse_relaxed, AUTH",
        harmless: "a@x.example",
        shape: Shape::Words,
        say: |text, server| begin(server, transaction(0).submitter(ReversePath::parse_relaxed(text).ok()?)),
    },
    Entry {
        name: "ForwardPath::parse",
        harmless: "a@x.example",
        shape: Shape::Words,
        say: |text, server| recipient(server, Recipient::new(ForwardPath::parse(text).ok()?)),
    },
    Entry {
        name: "ForwardPath::parse_relaxed",
        harmless: "a@x.example",
        shape: Shape::Words,
        say: |text, server| recipient(server, Recipient::new(ForwardPath::parse_relaxed(text).ok()?)),
    },
    Entry {
        name: "CommandLine::new",
        harmless: "X",
        shape: Shape::Line,
        say: |text, server| line(server, CommandLine::new(text)),
    },
    Entry {
        name: "CommandLine::new, argument",
        harmless: "X",
        shape: Shape::Verbs,
        say: |text, server| line(server, CommandLine::new(&format!("NOOP {text}"))),
    },
    Entry {
        name: "CommandLine::vrfy",
        harmless: "a",
        shape: Shape::Verbs,
        say: |text, server| line(server, CommandLine::vrfy(text)),
    },
    Entry {
        name: "CommandLine::expn",
        harmless: "a",
        shape: Shape::Verbs,
        say: |text, server| line(server, CommandLine::expn(text)),
    },
    Entry {
        name: "CommandLine::etrn",
        harmless: "#a",
        shape: Shape::Words,
        say: |text, server| line(server, CommandLine::etrn(text)),
    },
    Entry {
        name: "CommandLine::etrn, queue",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| line(server, CommandLine::etrn(&format!("#{text}"))),
    },
    Entry {
        name: "CommandLine::help",
        harmless: "a",
        shape: Shape::Verbs,
        say: |text, server| line(server, CommandLine::help(text)),
    },
    Entry {
        name: "OriginalClient::name",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| client(server, text, OriginalClient::name),
    },
    Entry {
        name: "OriginalClient::reverse_name",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| client(server, text, OriginalClient::reverse_name),
    },
    Entry {
        name: "OriginalClient::protocol",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| client(server, text, OriginalClient::protocol),
    },
    Entry {
        name: "OriginalClient::helo",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| client(server, text, OriginalClient::helo),
    },
    Entry {
        name: "OriginalClient::ident",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| client(server, text, OriginalClient::ident),
    },
    Entry {
        name: "OriginalClient::login",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| client(server, text, OriginalClient::login),
    },
    Entry {
        name: "Parameter::new",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| parameter(server, Parameter::new("X-OWN", text)),
    },
    Entry {
        name: "Parameter::new, keyword",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| parameter(server, Parameter::new(text, "x")),
    },
    Entry {
        name: "Parameter::flag",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| parameter(server, Parameter::flag(text)),
    },
    Entry {
        name: "xtext::encode",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| parameter(server, Parameter::new("X-OWN", &xtext::encode(text.as_bytes()))),
    },
    Entry {
        name: "EnvelopeId::new",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| begin(server, transaction(0).envelope_id(EnvelopeId::new(text).ok()?)),
    },
    Entry {
        name: "Tracking::new",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| {
            let certifier: Vec<u8> = text.bytes().cycle().take(20).collect();
            let tracking = Tracking::new(certifier.try_into().ok()?);
            begin(server, transaction(0).envelope_id(EnvelopeId::new("1@x.example").ok()?).tracking(tracking))
        },
    },
    Entry {
        name: "DateTime::parse",
        harmless: "2026-01-02T03:04:05Z",
        shape: Shape::Words,
        say: |text, server| begin(server, transaction(0).hold_until(DateTime::parse(text).ok()?)),
    },
    Entry {
        name: "DateTime::parse, RRVS",
        harmless: "2026-01-02T03:04:05Z",
        shape: Shape::Words,
        say: |text, server| {
            let since = ValidSince::new(DateTime::parse(text).ok()?);
            recipient(server, plain_recipient().require_valid_since(since))
        },
    },
    Entry {
        name: "Notify::parse",
        harmless: "SUCCESS,DELAY",
        shape: Shape::Words,
        say: |text, server| recipient(server, plain_recipient().notify(Notify::parse(text).ok()?)),
    },
    Entry {
        name: "OriginalRecipient::new",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| {
            recipient(server, plain_recipient().original_recipient(OriginalRecipient::new("x", text).ok()?))
        },
    },
    Entry {
        name: "OriginalRecipient::new, type",
        harmless: "a",
        shape: Shape::Words,
        say: |text, server| {
            recipient(server, plain_recipient().original_recipient(OriginalRecipient::new(text, "x").ok()?))
        },
    },
    Entry {
        name: "OriginalRecipient::new, utf-8",
        harmless: "a@x",
        shape: Shape::Words,
        say: |text, server| {
            recipient(server, plain_recipient().original_recipient(OriginalRecipient::new("utf-8", text).ok()?))
        },
    },
    Entry {
        name: "OriginalRecipient::new, unitext",
        harmless: "a@x",
        shape: Shape::Words,
        say: |text, server| {
            recipient(
                server,
                plain_recipient().original_recipient(OriginalRecipient::new("utf-8", text).ok()?.unitext()),
            )
        },
    },
    Entry {
        name: "ContentUrl::parse",
        harmless: "imap://x.example/a",
        shape: Shape::Words,
        say: |text, server| {
            let url = ContentUrl::parse(text).ok()?;
            let mut lab = server.ready(smtp());
            lab.connection.mail(transaction(0)).unwrap();
            lab.transmits(usize::MAX);
            lab.hear("250 ok\r\n");
            lab.connection.rcpt(plain_recipient()).unwrap();
            lab.transmits(usize::MAX);
            lab.hear("250 ok\r\n");
            lab.events();
            attempt(&mut lab, |connection| connection.burl(&url))
        },
    },
    Entry {
        name: "Message::parse, From",
        harmless: "a@x.example",
        shape: Shape::Envelope,
        say: |text, server| message(server, &format!("From: {text}\r\nTo: a@x.example\r\n\r\n")),
    },
    Entry {
        name: "Message::parse, To",
        harmless: "a@x.example",
        shape: Shape::Envelope,
        say: |text, server| message(server, &format!("From: a@x.example\r\nTo: {text}\r\n\r\n")),
    },
    Entry {
        name: "Message::parse, Cc",
        harmless: "b@x.example",
        shape: Shape::Envelope,
        say: |text, server| {
            message(server, &format!("From: a@x.example\r\nTo: Name <a@x.example>\r\nCc: g: x <{text}>;\r\n\r\n"))
        },
    },
];

/// EHLO, LHLO, and both hellos by hand.
fn hello(text: &str, server: Server) -> Option<Vec<u8>> {
    let name = HelloName::parse(text).ok()?;
    let mut said = Vec::new();
    for config in [Config::smtp(name.clone()), Config::lmtp(name.clone())] {
        let mut lab = Lab::new(config);
        lab.hear("220 hi\r\n");
        said.extend(lab.transmits(usize::MAX));
    }
    for hello in [Connection::ehlo, Connection::helo] {
        let mut lab = server.ready(smtp());
        lab.connection.set_hello_name(name.clone());
        said.extend(attempt(&mut lab, hello)?);
    }
    Some(said)
}

fn plain_recipient() -> Recipient {
    Recipient::new(ForwardPath::parse("b@x.example").unwrap())
}

/// MAIL with this, a RCPT and DATA; and MAIL by hand.
fn begin(server: Server, mail: Transaction) -> Option<Vec<u8>> {
    let mut by_hand = server.ready(smtp());
    let alone = attempt(&mut by_hand, |connection| connection.mail(mail.clone()));
    let whole = attempt(&mut server.ready(smtp()), |connection| connection.begin(mail.to(plain_recipient())));
    assert_eq!(alone.is_some(), whole.is_some());
    Some([alone?, whole?].concat())
}

/// RCPT with this, in a transaction and by hand.
fn recipient(server: Server, to: Recipient) -> Option<Vec<u8>> {
    let mut by_hand = server.ready(smtp());
    // Whether the transaction is in UTF-8 is told by MAIL.
    let mail = transaction(0).smtputf8(server == Server::Utf8);
    by_hand.connection.mail(mail.clone()).unwrap();
    by_hand.transmits(usize::MAX);
    by_hand.hear("250 ok\r\n");
    by_hand.events();
    let alone = attempt(&mut by_hand, |connection| connection.rcpt(to.clone()));
    let whole = attempt(&mut server.ready(smtp()), |connection| connection.begin(mail.to(to)));
    assert_eq!(alone.is_some(), whole.is_some());
    Some([alone?, whole?].concat())
}

fn line(server: Server, line: Result<CommandLine, CommandError>) -> Option<Vec<u8>> {
    let line = line.ok()?;
    attempt(&mut server.ready(smtp()), |connection| connection.command(&line))
}

/// XFORWARD and XCLIENT, whichever has the attribute.
fn client(
    server: Server,
    text: &str,
    tell: fn(OriginalClient, &str) -> Result<OriginalClient, ParameterError>,
) -> Option<Vec<u8>> {
    let client = tell(OriginalClient::new(), text).ok()?;
    let mut said = Vec::new();
    for line in client.xforward() {
        said.extend(attempt(&mut server.ready(smtp()), |connection| connection.command(&line)).unwrap_or_default());
    }
    said.extend(attempt(&mut server.ready(smtp()), |connection| connection.xclient(&client)).unwrap_or_default());
    Some(said)
}

/// On MAIL and on RCPT, offered or not.
fn parameter(server: Server, parameter: Result<Parameter, ParameterError>) -> Option<Vec<u8>> {
    let parameter = parameter.ok()?.danger_unadvertised();
    let mail = begin(server, transaction(0).parameter(parameter.clone()))?;
    Some([mail, recipient(server, plain_recipient().parameter(parameter))?].concat())
}

fn message(server: Server, message: &str) -> Option<Vec<u8>> {
    let message = Message::parse(message.as_bytes()).ok()?;
    // What it says of the content is not of interest here.
    let (from, to) = (message.from().clone(), message.recipients().to_vec());
    attempt(&mut server.ready(smtp()), |connection| connection.begin(Transaction::new(from).to_all(to)))
}
