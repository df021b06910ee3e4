//! What becomes of texts that a caller gives.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::sasl_server::within_tls;
use smtp_proto::sasl::Secret;
use smtp_proto::{
    BodyType, Command, CommandLine, Config, EnhancedCode, ForwardPath, HelloName, OriginalClient, Parameter, Recipient,
    ReversePath, Transaction,
};

/// Texts that mean something to somebody.
fn any_text() -> impl Strategy<Value = String> {
    let pieces = vec![
        "a",
        "b.c",
        "@",
        "x.example",
        "[192.0.2.1]",
        "\"",
        "\\",
        "<",
        ">",
        " ",
        "=",
        "+",
        "#",
        "\r",
        "\n",
        "\r\n",
        "\0",
        "\t",
        "\u{7f}",
        "é",
        "\u{85}",
        "\u{2028}",
        "\u{560d}",
        "SIZE=1",
        "RCPT TO:<x@y>",
        "QUIT",
    ];
    prop_oneof![
        prop::collection::vec(prop::sample::select(pieces), 0..8).prop_map(|pieces| pieces.concat()),
        "[a-z]{1,60}(\\.[a-z]{1,60}){0,4}",
        "[!-~]{0,700}",
        any::<String>(),
    ]
}

/// What one more extension adds to the 512 octets of a line, for MAIL and for RCPT, by its RFC.
const ALLOWANCES: [(&str, usize, usize); 9] = [
    ("SIZE", 26, 0),
    ("8BITMIME", 17, 0),
    ("SMTPUTF8", 10, 0),
    ("AUTH X", 500, 0),
    ("DSN", 0, 500),
    ("DELIVERBY", 17, 0),
    ("FUTURERELEASE", 34, 0),
    ("MT-PRIORITY", 15, 0),
    ("VRFY", 0, 0),
];

/// What is wrong with what was said, if it is not command lines.
fn fault(said: &str, utf8: bool, limit: impl Fn(&str) -> usize) -> Option<String> {
    let lines = said.split_inclusive('\n').find(|line| {
        let Some(text) = line.strip_suffix("\r\n") else { return true };
        let printable = |c: char| matches!(c, ' '..='~') || utf8 && !c.is_ascii();
        !text.chars().all(printable) || line.len() > limit(text)
    });
    lines.map(|line| format!("{line:?} is no command"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    // P-01, C-51, S-20, S-21: whatever texts a transaction is made of and whatever the server offers: each line ends in its
    // only CR and LF, is printable, ASCII where nothing else was agreed, and as long as it may be.
    #[test]
    fn lines_of_a_transaction(
        from in any_text(),
        to in any_text(),
        keyword in prop_oneof![Just("AUTH".to_owned()), Just("ORCPT".to_owned()), Just("X".to_owned()), any_text()],
        value in any_text(),
        set in 0..1_u32 << ALLOWANCES.len(),
    ) {
        let offered: Vec<_> = (0..ALLOWANCES.len()).filter(|n| set >> n & 1 == 1).map(|n| ALLOWANCES[n]).collect();
        let keywords: Vec<&str> = offered.iter().map(|(keyword, ..)| *keyword).chain(["PIPELINING"]).collect();
        let utf8 = keywords.contains(&"SMTPUTF8") && keywords.contains(&"8BITMIME");
        let mut transaction = Transaction::new(ReversePath::parse_relaxed(&from).unwrap_or(ReversePath::null()));
        let mut recipient = Recipient::new(ForwardPath::parse_relaxed(&to).unwrap_or(ForwardPath::parse("a@b").unwrap()));
        if let Ok(parameter) = Parameter::new(&keyword, &value) {
            transaction = transaction.parameter(parameter.clone().danger_unadvertised());
            recipient = recipient.parameter(parameter.danger_unadvertised());
        }
        let mut lab = Lab::ready(smtp(), &keywords);
        let begun = lab.connection.begin(transaction.to(recipient));
        let said = lab.says();
        prop_assert_eq!(begun.is_err(), said.is_empty());
        let limit = |line: &str| {
            let mail = line.starts_with("MAIL");
            512 + offered.iter().map(|(_, for_mail, for_rcpt)| if mail { *for_mail } else { *for_rcpt }).sum::<usize>()
        };
        prop_assert_eq!(fault(&said, utf8, limit), None);
        let verbs: Vec<&str> = said.lines().map(|line| &line[..4]).collect();
        prop_assert!(begun.is_err() || verbs == ["MAIL", "RCPT", "DATA"], "{}", said);
    }

    // P-01, S-20: the same for every other command with a text in it.
    #[test]
    fn lines_of_other_commands(text in any_text(), utf8 in any::<bool>()) {
        let keywords: &[&str] = if utf8 { &["SMTPUTF8", "8BITMIME", "XCLIENT NAME HELO LOGIN", "ETRN"] } else { &["XCLIENT NAME HELO LOGIN", "ETRN"] };
        let lines = [
            CommandLine::new(&text),
            CommandLine::new(&format!("X {text}")),
            CommandLine::vrfy(&text),
            CommandLine::expn(&text),
            CommandLine::help(&text),
            CommandLine::etrn(&text),
        ];
        for line in lines.iter().flatten() {
            let mut lab = Lab::ready(smtp(), keywords);
            let begun = lab.connection.command(line);
            let said = lab.says();
            prop_assert_eq!(begun.is_err(), said.is_empty());
            prop_assert_eq!(fault(&said, utf8, |_| 512), None);
            prop_assert!(said.matches('\n').count() <= 1);
        }
        let client = OriginalClient::new();
        let clients = [client.clone().name(&text), client.clone().helo(&text), client.login(&text)];
        for client in clients.iter().flatten() {
            let mut lab = Lab::ready(smtp(), keywords);
            let begun = lab.connection.xclient(client);
            let said = lab.says();
            prop_assert_eq!(begun.is_err(), said.is_empty());
            prop_assert_eq!(fault(&said, false, |_| 512), None);
        }
        if let Ok(name) = HelloName::parse(&text) {
            let mut lab = Lab::new(Config::smtp(name));
            lab.hear(b"220 hi\r\n");
            prop_assert_eq!(fault(&lab.says(), false, |_| 512), None);
        }
    }

    // P-01, C-110, C-113: a response within AUTH is base64 of what was given, an empty one an empty line, and giving up a star.
    #[test]
    fn lines_within_an_authentication(initial in prop::option::of(prop::collection::vec(any::<u8>(), 0..600)), response in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut lab = within_tls(smtp(), &["AUTH X-ANY"]);
        lab.connection.auth_manual("X-ANY", initial.clone().map(Secret::from)).unwrap();
        let said = lab.says();
        prop_assert_eq!(fault(&said, false, |_| 512), None);
        let encoded = initial.as_ref().map(|octets| if octets.is_empty() { "=".to_owned() } else { BASE64_STANDARD.encode(octets) });
        let at_once = encoded.filter(|encoded| "AUTH X-ANY ".len() + encoded.len() + 2 <= 512);
        prop_assert_eq!(said, at_once.as_ref().map_or("AUTH X-ANY\r\n".to_owned(), |encoded| format!("AUTH X-ANY {encoded}\r\n")));
        lab.hear(b"334 \r\n");
        if let Some(initial) = initial.filter(|_| at_once.is_none()) {
            prop_assert_eq!(lab.says(), BASE64_STANDARD.encode(initial) + "\r\n");
            lab.hear(b"334 \r\n");
        }
        lab.connection.auth_respond(&Secret::from(response.clone())).unwrap();
        prop_assert_eq!(lab.says(), BASE64_STANDARD.encode(response) + "\r\n");
        lab.hear(b"334 \r\n");
        lab.connection.auth_cancel().unwrap();
        prop_assert_eq!(lab.says(), "*\r\n");
    }

    // P-16, C-27: a parameter that the server has not offered leaves no octet, whatever else it is given.
    #[test]
    fn what_is_not_offered_leaves_no_octet(keyword in "[A-Z][A-Z0-9-]{0,10}", value in "[!-<>-~]{1,20}", body in 0..4_u8) {
        let mut transaction = transaction(1);
        transaction = match body {
            0 => transaction.body_type(BodyType::EightBitMime),
            1 => transaction.body_type(BodyType::BinaryMime),
            2 => transaction.smtputf8(true),
            _ => match Parameter::new(&keyword, &value) {
                Ok(parameter) => transaction.parameter(parameter),
                Err(_) => return Ok(()),
            },
        };
        let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
        prop_assert!(lab.connection.begin(transaction).is_err());
        prop_assert_eq!(lab.says(), "");
    }

    // P-19: an enhanced code prints as what it was read from.
    #[test]
    fn enhanced_codes_read_as_they_are_written(text in prop_oneof!["[245]\\.[0-9]{1,3}\\.[0-9]{1,3}", "[0-9.]{0,12}"]) {
        if let Some(code) = EnhancedCode::parse(text.as_bytes()) {
            prop_assert_eq!(code.to_string(), text.as_str());
            prop_assert_eq!(EnhancedCode::parse(code.to_string().as_bytes()), Some(code));
        }
    }

    // P-19: paths print as what reads as the same path.
    #[test]
    fn paths_read_as_they_are_written(text in any_text()) {
        for path in [ForwardPath::parse(&text), ForwardPath::parse(&format!("{text}@x.example"))].into_iter().flatten() {
            prop_assert_eq!(ForwardPath::parse(path.as_str()), Ok(path));
        }
        if let Ok(path) = ReversePath::parse(&text) {
            prop_assert_eq!(ReversePath::parse(&format!("<{}>", path.as_str())), Ok(path));
        }
        if let Ok(name) = HelloName::parse(&text) {
            let mut line = Vec::new();
            Command::Ehlo(&name).encode(&mut line);
            let line = String::from_utf8(line).unwrap();
            prop_assert_eq!(HelloName::parse(line.trim_end().strip_prefix("EHLO ").unwrap()), Ok(name));
        }
    }
}
