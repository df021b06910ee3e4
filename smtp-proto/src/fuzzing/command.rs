//! Commands from whatever a caller gives.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Input, session, smtp, transmitted};
use crate::{
    BodyType, Command, CommandLine, ContentUrl, DateTime, DeliverBy, EnvelopeId, ForwardPath, HelloName, HoldFor,
    Notify, NotifyOn, OriginalClient, OriginalRecipient, Parameter, Priority, Recipient, Ret, ReversePath, Security,
    Tracking, Transaction, ValidSince,
};

const WORDS: &[&str] = &[
    "a",
    "B",
    "1",
    ".",
    "-",
    "@",
    "<",
    ">",
    " ",
    "\r\n",
    "\r",
    "\n",
    "\0",
    "=",
    "+",
    "\"",
    "\\",
    ":",
    ";",
    ",",
    "\t",
    "[",
    "]",
    "é",
    "\u{2028}",
    "\u{7f}",
    "example.org",
    "user@example.org",
    " SIZE=1",
    "rfc822",
    "utf-8",
    "RCPT TO:",
    "NOOP",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Octets that the extensions offered below add to the 512 of a line, as their RFCs say.
const MAIL: usize = 512 + 26 + 17 + 10 + 500 + 17 + 34 + 15 + 11 + 40;
const RCPT: usize = 512 + 500 + 33;

const OFFERED: &[&str] = &[
    "SIZE",
    "8BITMIME",
    "SMTPUTF8",
    "AUTH PLAIN",
    "DSN",
    "DELIVERBY",
    "FUTURERELEASE 999999999 9999-12-31T23:59:59Z",
    "MT-PRIORITY",
    "REQUIRETLS",
    "MTRK",
    "RRVS",
    "PRDR",
    "PIPELINING",
    "X-OWN",
];

/// Whatever can be made a value makes one command, one line, within its limit, with the parameters that were asked for and
/// no other; and none that the server did not offer.
pub fn commands(data: &[u8]) {
    let mut input = Input(data);
    let mut texts = input.clone();
    lines(&texts.text(WORDS), &texts.text(WORDS), texts.octet().into());
    let (transaction, mut mail) = transaction(&mut input);
    check(&Command::Mail(&transaction), "MAIL FROM:<", &mail);
    let (recipient, rcpt) = recipient(&mut input);
    if let Some(recipient) = &recipient {
        check(&Command::Rcpt(recipient), "RCPT TO:<", &rcpt);
    }
    let transaction = recipient.into_iter().fold(transaction, Transaction::to);
    let (Some(config), Some(strict)) = (smtp(), smtp()) else { return };

    let mut everything = session(config, Security::Tls, OFFERED);
    if everything.begin(transaction.clone()).is_ok() {
        // Depends on the addresses, on the server, or on both.
        mail.extend(["BODY", "SMTPUTF8"].map(String::from));
        let said = transmitted(&mut everything, usize::MAX);
        let lines: Vec<&[u8]> = said.split_inclusive(|octet| *octet == b'\n').collect();
        assert_eq!(lines.len(), 3, "{said:?}");
        check_line(lines[0], "MAIL FROM:<", &mail);
        check_line(lines[1], "RCPT TO:<", &rcpt);
        assert!(lines[0].len() <= MAIL && lines[1].len() <= RCPT);
        assert_eq!(lines[2], b"DATA\r\n");
    }
    assert!(transmitted(&mut everything, usize::MAX).is_empty());

    let mut nothing = session(strict, Security::Tls, &[]);
    let begun = nothing.begin(transaction).is_ok();
    let said = transmitted(&mut nothing, usize::MAX);
    assert_eq!(begun, !said.is_empty());
    if begun {
        check_line(&said, "MAIL FROM:<", &[]);
        assert!(said.is_ascii() && said.len() <= 512);
    }
}

/// Everything that is a line with one text in it.
pub(crate) fn lines(one: &str, other: &str, port: u16) {
    if let Ok(name) = HelloName::parse(one) {
        check(&Command::Ehlo(&name), "EHLO ", &[]);
        check(&Command::Helo(&name), "HELO ", &[]);
        check(&Command::Lhlo(&name), "LHLO ", &[]);
    }
    let free = |line: &Result<CommandLine, _>, verb| {
        if let Ok(line) = line {
            check(&Command::Line(line), verb, &[]);
            assert!(line.as_str().len() <= 510);
        }
    };
    free(&CommandLine::new(one), "");
    free(&CommandLine::vrfy(one), "VRFY ");
    free(&CommandLine::expn(one), "EXPN ");
    free(&CommandLine::help(one), "HELP");
    free(&CommandLine::etrn(one), "ETRN ");
    if let Ok(url) = ContentUrl::parse(one) {
        let line = ["BURL ", url.expose(), " LAST\r\n"].concat();
        check_line(line.as_bytes(), "BURL ", &[]);
        assert!(line.len() <= 512 && line.matches(' ').count() == 2 && line.is_ascii());
    }
    let mut client = OriginalClient::new().port(port).local(true);
    for tell in [OriginalClient::name, OriginalClient::protocol, OriginalClient::helo, OriginalClient::login] {
        client = tell(client.clone(), one).or_else(|_| tell(client.clone(), other)).unwrap_or(client);
    }
    for line in client.xforward() {
        check(&Command::Line(&line), "XFORWARD ", &[]);
        assert!(line.as_str().len() <= 510);
    }
}

/// A transaction, and the keywords of the parameters that its MAIL may have.
fn transaction(input: &mut Input<'_>) -> (Transaction, Vec<String>) {
    let path = input.text(WORDS);
    let from = ReversePath::parse(&path).or_else(|_| ReversePath::parse_relaxed(&path)).unwrap_or_default();
    let (mut transaction, mut keywords) = (Transaction::new(from), Vec::new());
    for _ in 0..input.below(9) {
        let number = u32::from(input.octet()) << (input.octet() % 32);
        let (keyword, changed) = match input.below(12) {
            0 => ("SIZE", Some(transaction.clone().size(u64::from(number) << 32))),
            1 => ("BODY", Some(transaction.clone().body_type(BodyType::EightBitMime))),
            2 => ("SMTPUTF8", Some(transaction.clone().smtputf8(true))),
            3 => ("RET", Some(transaction.clone().ret(Ret::Full))),
            4 => ("ENVID", EnvelopeId::new(&input.text(WORDS)).ok().map(|id| transaction.clone().envelope_id(id))),
            5 => ("BY", DeliverBy::or_return(number).ok().map(|by| transaction.clone().deliver_by(by.trace()))),
            6 => ("HOLDFOR", HoldFor::seconds(number).ok().map(|time| transaction.clone().hold_for(time))),
            7 => (
                "MT-PRIORITY",
                Priority::new((number % 19) as i8 - 9).ok().map(|priority| transaction.clone().priority(priority)),
            ),
            8 => ("REQUIRETLS", Some(transaction.clone().require_tls(true))),
            9 => ("AUTH", ReversePath::parse(&input.text(WORDS)).ok().map(|path| transaction.clone().submitter(path))),
            10 => (
                "MTRK",
                Tracking::new([7; 20]).timeout(number).ok().map(|tracking| transaction.clone().tracking(tracking)),
            ),
            _ => {
                let (keyword, value) = (input.text(WORDS), input.text(WORDS));
                let parameter = Parameter::new(&keyword, &value).or_else(|_| Parameter::flag(&keyword));
                keywords.push(keyword.to_ascii_uppercase());
                ("", parameter.ok().map(|parameter| transaction.clone().parameter(parameter)))
            }
        };
        keywords.push(keyword.to_string());
        transaction = changed.unwrap_or(transaction);
    }
    (transaction, keywords)
}

/// A recipient, and the keywords of the parameters that its RCPT may have.
fn recipient(input: &mut Input<'_>) -> (Option<Recipient>, Vec<String>) {
    let (path, text) = (input.text(WORDS), input.text(WORDS));
    let path = ForwardPath::parse(&path).or_else(|_| ForwardPath::parse_relaxed(&path));
    let Ok(path) = path.or_else(|_| ForwardPath::parse("Postmaster")) else { return (None, Vec::new()) };
    let mut recipient = Recipient::new(path.clone());
    let choice = input.octet();
    if choice & 1 == 1 {
        let notify = if choice & 2 == 0 { Notify::Never } else { (NotifyOn::FAILURE | NotifyOn::DELAY).into() };
        recipient = recipient.notify(notify);
    }
    let original = if choice & 4 == 0 {
        OriginalRecipient::of(&path)
    } else {
        OriginalRecipient::new(if choice & 8 == 0 { "utf-8" } else { "x400" }, &text)
            .or_else(|_| OriginalRecipient::new(&text, "x"))
    };
    if let (Ok(original), true) = (original, choice & 16 == 0) {
        let original = if choice & 32 == 0 { original.unitext() } else { original };
        recipient = recipient.original_recipient(original);
    }
    if let (Ok(since), true) = (DateTime::from_unix(i64::from(choice) << 24), choice & 64 == 0) {
        recipient = recipient.require_valid_since(ValidSince::new(since).or_reject());
    }
    if let (Ok(own), true) = (Parameter::new("X-OWN", &text), choice & 128 == 0) {
        recipient = recipient.parameter(own);
    }
    (Some(recipient), ["NOTIFY", "ORCPT", "RRVS", "X-OWN"].map(String::from).to_vec())
}

fn check(command: &Command<'_>, verb: &str, keywords: &[String]) {
    let mut line = Vec::new();
    command.encode(&mut line);
    assert_eq!(line.len(), command.length());
    check_line(&line, verb, keywords);
}

/// One CR and one LF, at the end; no control character; and where there is a path, the parameters behind it.
fn check_line(line: &[u8], verb: &str, keywords: &[String]) {
    let Ok(text) = core::str::from_utf8(line) else { panic!("{line:?}") };
    let Some(text) = text.strip_suffix("\r\n") else { panic!("{text:?}") };
    assert!(text.starts_with(verb) && !text.chars().any(|c| c.is_control() || c == '\u{2028}'), "{text:?}");
    if !verb.ends_with('<') {
        return;
    }
    let mut quoted = false;
    let mut rest = text[verb.len()..].chars();
    loop {
        match rest.next() {
            Some('"') => quoted = !quoted,
            Some('\\') if quoted => drop(rest.next()),
            Some('>') if !quoted => break,
            Some(_) => {}
            None => panic!("the path does not end: {text:?}"),
        }
    }
    let parameters = rest.as_str();
    assert!(parameters.is_empty() || parameters.starts_with(' '), "{text:?}");
    for parameter in parameters.split(' ').skip(1) {
        let keyword = parameter.split('=').next().unwrap_or_default();
        assert!(keywords.iter().any(|expected| expected == keyword), "{text:?}");
        assert!(parameter.split('=').count() <= 2 && !parameter.ends_with('='), "{text:?}");
    }
}
