//! The state table from outside: every code at every place, every verb in every state, every text in every entry.

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_conformance::sasl_server::within_tls;
use smtp_proto::sasl::Secret;
use smtp_proto::{
    BodyType, Chunking, CloseReason, CommandLine, DotStuffer, Event, ForwardPath, HelloName, LineEndings, OnRefusal,
    OriginalClient, Outcome, Parameter, Phase, Recipient, ReplyError, ReversePath, Security, State, Time, Transaction,
    UsageError, Utf8Reason,
};

/// Brings a connection to the moment before the reply that `place` is about.
fn at(place: &str) -> Lab {
    let mut lab = match place {
        "greeting" => return Lab::new(smtp()),
        "hello" => {
            let mut lab = Lab::new(smtp());
            lab.hear("220 hi\r\n");
            lab.says();
            return lab;
        }
        _ => Lab::ready(smtp(), &["STARTTLS", "XCLIENT NAME"]),
    };
    match place {
        "noop" => lab.connection.noop().unwrap(),
        "reset" => lab.connection.reset().unwrap(),
        "starttls" => lab.connection.starttls().unwrap(),
        "xclient" => lab.connection.xclient(&spike()).unwrap(),
        "quit" => lab.connection.quit().unwrap(),
        _ => {
            lab.connection.begin(transaction(1)).unwrap();
            let replies: &[&str] = match place {
                "mail" => &[],
                "rcpt" => &["250 ok\r\n"],
                "data" => &["250 ok\r\n", "250 ok\r\n"],
                "final" => &["250 ok\r\n", "250 ok\r\n", "354 go\r\n"],
                _ => panic!("no place {place}"),
            };
            for reply in replies {
                lab.says();
                lab.hear(reply);
            }
            lab.pours(b"hello\r\n");
        }
    }
    lab.says();
    lab.events();
    lab
}

const PLACES: [&str; 11] =
    ["greeting", "hello", "noop", "reset", "starttls", "xclient", "quit", "mail", "rcpt", "data", "final"];

fn spike() -> OriginalClient {
    OriginalClient::new().name("spike.example").unwrap()
}

/// What a reply leads to, without the reply itself: kinds of events, what is said next, and the state.
fn trajectory(place: &str, code: u16, text: &[u8]) -> String {
    let mut lab = at(place);
    lab.hear([code.to_string().as_bytes(), b" ", text, b"\r\n"].concat());
    let events: Vec<String> = lab
        .events()
        .iter()
        .map(|event| match event {
            Event::Completed(report) => {
                let outcomes = report.recipients().map(|(_, outcome)| match outcome {
                    Outcome::Accepted(_) => "accepted".to_owned(),
                    Outcome::Refused { stage, transient, .. } => format!("refused {stage} {transient}"),
                    other => format!("{other:?}"),
                });
                format!("completed {:?}", outcomes.collect::<Vec<_>>())
            }
            Event::Closed(CloseReason::Refused { phase, .. }) => format!("closed refused {phase}"),
            Event::Closed(CloseReason::Unsolicited(_)) => "closed unsolicited".into(),
            Event::Closed(CloseReason::ServerShutdown(_)) => "closed shutdown".into(),
            Event::Closed(other) => format!("closed {other:?}"),
            Event::Greeting(_) => "greeting".into(),
            Event::Reply(_) => "reply".into(),
            Event::Recipient { .. } => "recipient".into(),
            other => format!("{other:?}"),
        })
        .collect();
    format!("{events:?} {:?} {:?}", lab.says(), lab.connection.state())
}

// C-05, C-11: at every place, every code there is does what its first digit says, the special ones aside.
#[test]
fn codes_act_by_their_first_digit() {
    for place in PLACES {
        for code in 200..=599 {
            let special = match place {
                "starttls" | "xclient" => matches!(code, 220 | 421),
                "data" => matches!(code, 354 | 421),
                "greeting" | "quit" => false,
                "hello" => matches!(code, 220 | 421),
                _ => code == 421,
            };
            if special {
                continue;
            }
            let plain = code / 100 * 100 + 98;
            assert_eq!(trajectory(place, code, b"x"), trajectory(place, plain, b"x"), "{code} at {place}");
        }
    }
}

// C-07: 3yz where none is due is never success, and nothing more is said to a server that may take it for content.
#[test]
fn intermediate_replies_out_of_place() {
    for place in ["mail", "rcpt", "final"] {
        for code in [334, 354] {
            let after = trajectory(place, code, b"x");
            assert!(after.contains("closed unsolicited") && !after.contains("accepted\""), "{place}: {after}");
        }
    }
    assert!(trajectory("data", 250, b"x").contains("RSET"));
    assert!(trajectory("data", 334, b"x").contains("closed unsolicited"));
    assert!(trajectory("final", 354, b"x").contains("InDoubt"));
}

// C-06, P-07: the text decides nothing.
#[test]
fn texts_decide_nothing() {
    let texts: [&[u8]; 5] = [b"", b"250 ok", b"\xff\x80\x1b[2J", b"5.7.1 2.0.0 421", b"-"];
    for place in PLACES {
        for code in [200, 220, 221, 235, 250, 251, 252, 334, 354, 421, 450, 500, 550, 552] {
            for text in texts {
                assert_eq!(trajectory(place, code, text), trajectory(place, code, b"x"), "{code} {text:?} at {place}");
            }
        }
    }
}

// C-12: 421 closes at every place, and what was decided before stays.
#[test]
fn a_421_closes_everywhere() {
    for place in PLACES {
        let after = trajectory(place, 421, b"bye");
        assert!(after.contains("Closed") || after.contains("QUIT"), "{place}: {after}");
    }
    let mut idle = Lab::ready(smtp(), &[]);
    idle.hear("421 idle\r\n250 more\r\n");
    assert!(matches!(idle.events().as_slice(), [Event::Closed(CloseReason::ServerShutdown(_))]));
    assert_eq!(idle.connection.noop(), Err(UsageError::Closed));
}

/// Every verb, by name.
fn verbs(lab: &mut Lab) -> Vec<(&'static str, Result<(), UsageError>)> {
    type Call = fn(&mut Lab) -> Result<(), UsageError>;
    let calls: [(&str, Call); 13] = [
        ("begin", |lab| lab.connection.begin(transaction(1)).map(|_| ())),
        ("mail", |lab| lab.connection.mail(transaction(0)).map(|_| ())),
        ("rcpt", |lab| lab.connection.rcpt(ForwardPath::parse("a@b").unwrap())),
        ("data", |lab| lab.connection.data()),
        ("ehlo", |lab| lab.connection.ehlo()),
        ("helo", |lab| lab.connection.helo()),
        ("starttls", |lab| lab.connection.starttls()),
        ("xclient", |lab| lab.connection.xclient(&spike())),
        ("command", |lab| lab.connection.command(&CommandLine::help("").unwrap())),
        ("noop", |lab| lab.connection.noop()),
        ("reset", |lab| lab.connection.reset()),
        ("quit", |lab| lab.connection.quit()),
        ("tls", |lab| lab.connection.handle_tls_established()),
    ];
    calls.into_iter().map(|(name, call)| (name, call(lab))).collect()
}

// C-40: in every state in which something is under way, every verb is refused and not an octet is queued.
#[test]
fn verbs_wait_for_what_is_under_way() {
    for place in PLACES {
        let mut lab = at(place);
        for (verb, result) in verbs(&mut lab) {
            assert!(result.is_err(), "{verb} before the reply to {place}");
        }
        assert_eq!(lab.says(), "");
    }
    for reply in ["nonsense\r\n", "421 bye\r\n"] {
        let mut lab = at("noop");
        lab.hear(reply);
        lab.events();
        for (verb, result) in verbs(&mut lab) {
            let expected = if verb == "tls" { UsageError::NotUpgrading } else { UsageError::Closed };
            assert_eq!(result, Err(expected), "{verb}");
        }
    }
}

// C-40: by hand, each step needs the one before it, and there is one transaction at a time.
#[test]
fn steps_by_hand_keep_their_order() {
    let mut lab = Lab::ready(smtp(), &[]);
    let path = || ForwardPath::parse("a@b").unwrap();
    assert_eq!(lab.connection.rcpt(path()), Err(UsageError::NoTransaction));
    assert_eq!(lab.connection.data(), Err(UsageError::NoTransaction));
    assert_eq!(lab.connection.mail(transaction(1)), Err(UsageError::RecipientsByHand));
    assert_eq!(lab.connection.begin(transaction(0)), Err(UsageError::NoRecipients));
    lab.connection.mail(transaction(0)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    assert_eq!(lab.connection.data(), Err(UsageError::NoRecipients));
    assert_eq!(lab.connection.mail(transaction(0)), Err(UsageError::Busy));
    assert_eq!(lab.connection.begin(transaction(1)), Err(UsageError::Busy));
    assert_eq!(lab.connection.ehlo(), Err(UsageError::Busy));
    assert_eq!(lab.connection.starttls(), Err(UsageError::Busy));
    lab.connection.noop().unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    lab.connection.rcpt(path()).unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    lab.connection.data().unwrap();
    assert_eq!(lab.says(), "DATA\r\n");
    assert!(lab.connection.body().is_none());
    lab.hear("354 go\r\n");
    assert!(lab.connection.body().is_some());
}

// C-41: without 354 there is no body to write to, whatever came instead and however much of it.
#[test]
fn no_content_before_the_go_ahead() {
    for reply in ["", "354-go\r\n", "354", "250 ok\r\n", "503 no\r\n", "554 no\r\n", "421 no\r\n", "334 go\r\n"] {
        let mut lab = at("data");
        lab.hear(reply);
        assert!(lab.connection.body().is_none(), "{reply}");
    }
}

/// Texts that have made other programs say more than one command.
fn injections() -> Vec<String> {
    let mut texts: Vec<String> = (0..=0x20)
        .chain([0x7f, 0x80, 0x85, 0x9f, 0x2028, 0x2029])
        .filter_map(char::from_u32)
        .map(|c| format!("a{c}b"))
        .collect();
    texts.extend(
        ["a\r\nQUIT", "a\nQUIT", "a\rQUIT", "a\0b", "a> SIZE=1", "a@b>\r\nDATA", "\"a\r\n\"@b", "a@b\r\n"]
            .map(str::to_owned),
    );
    texts
}

// S-20, S-21, C-24, C-49: no text that ends a line or a path gets into any command, by any entry.
#[test]
fn injections_are_not_values() {
    for text in injections() {
        let space = text == "a b";
        assert!(HelloName::parse(&text).is_err(), "{text:?}");
        for path in [
            text.clone(),
            format!("{text}@x.example"),
            format!("a@{text}"),
            format!("<a@{text}>"),
            format!("\"{text}\"@b"),
        ] {
            let quoted_space = space && path.starts_with('"') || path == "\"a> SIZE=1\"@b";
            assert!(quoted_space || ForwardPath::parse(&path).is_err(), "{path:?}");
            assert!(quoted_space || ReversePath::parse(&path).is_err(), "{path:?}");
            let harmless = quoted_space || path.contains("a> SIZE=1") && path.starts_with('"');
            assert!(harmless || ForwardPath::parse_relaxed(&path).is_err(), "{path:?}");
        }
        assert!(Parameter::new("RET", &text).is_err(), "{text:?}");
        assert!(Parameter::new(&text, "x").is_err() && Parameter::flag(&text).is_err(), "{text:?}");
        let printable = space || text == "a> SIZE=1";
        for line in [
            CommandLine::vrfy(&text),
            CommandLine::expn(&text),
            CommandLine::help(&text),
            CommandLine::new(&format!("X {text}")),
        ] {
            assert!(printable || line.is_err(), "{text:?}");
        }
    }
    // Characters whose low octet is CR or LF are characters; they leave as UTF-8 or not at all.
    for text in ["\u{560d}\u{560a}@x.example", "\u{760d}@x.example"] {
        let mut lab = Lab::ready(smtp(), &[]);
        let path = ForwardPath::parse(text).unwrap();
        let refused = UsageError::NeedsSmtpUtf8(Utf8Reason::Recipient(path.clone()));
        assert_eq!(lab.connection.begin(Transaction::new(ReversePath::null()).to(path)), Err(refused));
        assert_eq!(lab.says(), "");
    }
}

// C-27, C-46, C-88, P-16: what the server does not offer is refused before an octet is sent.
#[test]
fn what_is_not_offered_is_not_sent() {
    let refused = |transaction: Transaction, keywords: &[&str]| {
        let mut lab = Lab::ready(smtp(), keywords);
        let error = lab.connection.begin(transaction).unwrap_err();
        assert_eq!(lab.says(), "");
        assert_eq!(lab.connection.state(), State::Ready);
        error
    };
    let parameter = |keyword: &str| Parameter::new(keyword, "x").unwrap();
    for (keyword, extension) in [
        ("RET", "DSN"),
        ("ENVID", "DSN"),
        ("BY", "DELIVERBY"),
        ("HOLDFOR", "FUTURERELEASE"),
        ("AUTH", "AUTH"),
        ("X-ANY", "X-ANY"),
    ] {
        let error = refused(transaction(1).parameter(parameter(keyword)), &["SIZE"]);
        assert_eq!(error, UsageError::MissingKeyword(extension.into()));
    }
    let notify = Recipient::new(ForwardPath::parse("a@b").unwrap()).parameter(parameter("NOTIFY"));
    assert_eq!(refused(transaction(1).to(notify.clone()), &[]), UsageError::MissingKeyword("DSN".into()));
    assert!(Lab::ready(smtp(), &["DSN"]).connection.begin(transaction(1).to(notify)).is_ok());
    let eight = transaction(1).body_type(BodyType::EightBitMime);
    assert!(matches!(refused(eight, &[]), UsageError::Missing(_)));
    let needed = UsageError::NeedsSmtpUtf8(Utf8Reason::Asked);
    assert_eq!(refused(transaction(1).smtputf8(true), &["8BITMIME"]), needed);
    assert_eq!(refused(transaction(1).size(1001), &["SIZE 1000"]), UsageError::TooLarge { limit: 1000 });
    let mut lab = Lab::ready(smtp(), &[]);
    let unadvertised = parameter("X-ANY").danger_unadvertised();
    lab.connection.begin(transaction(1).parameter(unadvertised)).unwrap();
    assert_eq!(lab.says(), "MAIL FROM:<me@client.example> X-ANY=x\r\n");
}

/// A transaction by PRDR, up to the reply to its content; the server answers RCPT with these codes.
fn by_prdr(rcpt: &[u16], chunking: Chunking) -> Lab {
    let mut config = smtp();
    config.chunking = chunking;
    let mut lab = Lab::ready(config, &["PIPELINING", "CHUNKING", "PRDR"]);
    lab.connection.begin(transaction(rcpt.len()).per_recipient_replies(true)).unwrap();
    assert!(lab.says().starts_with("MAIL FROM:<me@client.example> PRDR\r\n"));
    lab.hear("250 ok\r\n");
    rcpt.iter().for_each(|code| lab.hear(format!("{code} rcpt\r\n")));
    if chunking == Chunking::Needed {
        lab.hear("354 go\r\n");
    }
    lab.pours(b"hello\r\n");
    lab.events();
    lab
}

/// What has become of each recipient, by the code that decided; 0 is in doubt.
fn decided(lab: &mut Lab) -> Vec<(bool, u16)> {
    let events = lab.events();
    let report = events.iter().find_map(|event| match event {
        Event::Completed(report) => Some(report),
        _ => None,
    });
    let outcomes = report.expect("the transaction is over").recipients().map(|(_, outcome)| match outcome {
        Outcome::InDoubt => (false, 0),
        outcome => (outcome.is_accepted(), outcome.reply().expect("a reply decided").code().get()),
    });
    outcomes.collect()
}

// C-97, P-05: by PRDR a recipient has the message exactly where RCPT, his own verdict and the reply for all say 2yz, and as
// long as the last is missing nobody has it.
#[test]
fn a_verdict_of_each_recipient() {
    for chunking in [Chunking::Needed, Chunking::Prefer] {
        for pattern in 0..3_u32.pow(3) * 8 {
            let rcpt: Vec<u16> = (0..3).map(|n| if pattern >> n & 1 == 1 { 250 } else { 550 }).collect();
            let verdict = |n: u32| [251, 451, 552][(pattern / 8 / 3_u32.pow(n) % 3) as usize];
            let verdicts: Vec<u16> = (0..3).map(verdict).collect();
            if rcpt == [550; 3] {
                continue;
            }
            for last in [250, 450, 554, 354, 353, 421] {
                let mut lab = by_prdr(&rcpt, chunking);
                lab.hear("353 verdicts follow\r\n");
                for (_, code) in rcpt.iter().zip(&verdicts).filter(|(rcpt, _)| **rcpt == 250) {
                    lab.hear(format!("{code} verdict\r\n"));
                    assert!(lab.events().is_empty());
                }
                lab.hear(format!("{last} for all\r\n"));
                let expected = rcpt.iter().zip(&verdicts).map(|(rcpt, verdict)| match (rcpt, verdict, last) {
                    (550, ..) => (false, 550),
                    (_, 451 | 552, _) => (false, *verdict),
                    (_, _, 353 | 354) => (false, 0),
                    (_, _, last) => (last == 250, last),
                });
                let expected: Vec<_> = expected.collect();
                assert_eq!(decided(&mut lab), expected, "{rcpt:?} {verdicts:?} {last}");
                assert_eq!(lab.connection.state() == State::Closed, matches!(last, 353 | 354 | 421));
            }
        }
    }
}

// C-97, C-07: 353 is only what it is where PRDR was asked for, and a verdict is no 3yz.
#[test]
fn verdicts_out_of_place() {
    let mut lab = by_prdr(&[250, 250], Chunking::Needed);
    lab.hear("353 verdicts follow\r\n550 not him\r\n354 go\r\n");
    assert_eq!(decided(&mut lab), [(false, 550), (false, 0)]);
    assert_eq!(lab.connection.state(), State::Closed);

    let mut lab = by_prdr(&[250, 250], Chunking::Needed);
    lab.hear("353 verdicts follow\r\n421 bye\r\n");
    assert_eq!(decided(&mut lab), [(false, 421), (false, 0)]);

    // By hand, by a parameter without a method, in LMTP, and not at all.
    let mut lab = Lab::ready(lmtp(), &["PRDR"]);
    lab.connection.begin(transaction(1).per_recipient_replies(true)).unwrap();
    assert_eq!(lab.says(), "MAIL FROM:<me@client.example>\r\n");
    for (config, parameter, end) in [(smtp(), true, 0), (lmtp(), true, 1), (smtp(), false, 1)] {
        let mut lab = Lab::ready(config, &["PIPELINING", "PRDR"]);
        let flag = parameter.then(|| Parameter::flag("prdr").unwrap());
        lab.connection.begin(flag.into_iter().fold(transaction(1), Transaction::parameter)).unwrap();
        lab.says();
        lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        lab.pours(b"hello\r\n");
        lab.events();
        lab.hear("353 verdicts follow\r\n");
        assert_eq!(lab.events().len(), end * 2, "either nothing yet, or over and closed");
    }
    let mut lab = Lab::ready(smtp(), &["PRDR"]);
    let twice = transaction(1).per_recipient_replies(true).parameter(Parameter::flag("PRDR").unwrap());
    assert_eq!(lab.connection.begin(twice), Err(UsageError::Duplicate("PRDR".into())));
}

// C-97, C-07: where nobody was accepted there is nobody to give a verdict of, and 353 is a 3yz out of place.
#[test]
fn no_verdicts_of_nobody() {
    let mut config = smtp();
    config.chunking = Chunking::Ahead;
    let mut lab = Lab::ready(config, &["PIPELINING", "CHUNKING", "PRDR"]);
    lab.connection.begin(transaction(1).per_recipient_replies(true)).unwrap();
    lab.pours(b"hello\r\n");
    lab.hear("250 ok\r\n550 no\r\n353 verdicts follow\r\n");
    assert_eq!(decided(&mut lab), [(false, 550)]);
    assert!(matches!(lab.connection.close_reason(), Some(CloseReason::Unsolicited(_))));
    assert_eq!(lab.says(), "");
}

// C-97, C-73: the verdicts of one transaction come before the replies to the next, which is under way by then.
#[test]
fn verdicts_and_the_next_transaction() {
    let mut config = smtp();
    config.transaction_window = 2;
    let mut lab = Lab::ready(config, &["PIPELINING", "PRDR"]);
    let prdr = || transaction(2).per_recipient_replies(true);
    lab.connection.begin(prdr()).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    lab.pours(b"hello\r\n");
    lab.connection.begin(prdr()).unwrap();
    lab.says();
    lab.events();
    lab.hear("353 first\r\n550 no\r\n250 yes\r\n250 first\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(decided(&mut lab), [(false, 550), (true, 250)]);
    lab.pours(b"hello\r\n");
    lab.hear("353 second\r\n250 yes\r\n250 yes\r\n250 second\r\n");
    assert_eq!(decided(&mut lab), [(true, 250), (true, 250)]);
    assert_eq!(lab.connection.state(), State::Ready);
}

// C-51: a line may be 512 octets, and as much more as the extensions offered add to it.
#[test]
fn command_lines_have_a_limit() {
    let long = |length: usize| Parameter::new("AUTH", &"x".repeat(length)).unwrap().danger_unadvertised();
    let fixed = "MAIL FROM:<me@client.example> AUTH=\r\n".len();
    for (keywords, limit) in
        [(&[][..], 512), (&["AUTH PLAIN"], 1012), (&["AUTH X", "DELIVERBY", "MT-PRIORITY", "FUTURERELEASE"], 1078)]
    {
        let mut lab = Lab::ready(smtp(), keywords);
        let error = lab.connection.begin(transaction(1).parameter(long(limit - fixed + 1)));
        assert_eq!(error, Err(UsageError::CommandTooLong { limit }));
        lab.connection.begin(transaction(1).parameter(long(limit - fixed))).unwrap();
        assert_eq!(lab.says().len(), limit);
    }
    let mut lab = Lab::ready(smtp(), &[]);
    let path = ForwardPath::parse_relaxed(&format!("{}@x.example", "a".repeat(500))).unwrap();
    assert_eq!(lab.connection.begin(transaction(1).to(path)), Err(UsageError::CommandTooLong { limit: 512 }));
}

// S-01, C-141, C-142: after the go-ahead for TLS not a single octet may come in clear, in the same piece or in a later one.
#[test]
fn nothing_in_clear_behind_the_go_ahead() {
    let injected = ["250-EVIL\r\n250 AUTH PLAIN\r\n", "250-SMTPUTF8 X ", "2", "\r\n", "\0", "250 ok\r\n"];
    for tail in injected {
        for together in [true, false] {
            for go in ["220 go\r\n", "220-go\r\n220 on\r\n"] {
                let mut lab = at("starttls");
                if together {
                    lab.hear(format!("{go}{tail}"));
                    assert_eq!(lab.events(), [Event::Closed(CloseReason::PlaintextAfterStartTls)]);
                } else {
                    lab.hear(go);
                    lab.hear(tail);
                    assert_eq!(lab.events(), [Event::UpgradeTls, Event::Closed(CloseReason::PlaintextAfterStartTls)]);
                }
                assert_eq!(lab.connection.handle_tls_established(), Err(UsageError::NotUpgrading));
                assert_eq!(lab.says(), "");
                assert!(!lab.connection.is_secure());
            }
        }
    }
}

// S-05, C-70, C-145, C-146: TLS starts from nothing: no capability survives, STARTTLS is not said again, a second greeting
// is nobody's reply.
#[test]
fn tls_starts_from_nothing() {
    let secure = || {
        let mut lab = Lab::ready(smtp(), &["STARTTLS", "PIPELINING", "SIZE 10"]);
        lab.connection.starttls().unwrap();
        assert_eq!(lab.says(), "STARTTLS\r\n");
        lab.hear("220 go\r\n");
        assert_eq!(lab.connection.state(), State::Upgrading);
        assert!(lab.connection.poll_transmit().is_none());
        lab.connection.handle_tls_established().unwrap();
        assert_eq!(lab.connection.capabilities().iter().count(), 0);
        lab
    };
    let mut lab = secure();
    assert_eq!(lab.says(), "EHLO client.example\r\n");
    lab.hear("250-server.example\r\n250 STARTTLS\r\n");
    assert!(lab.connection.is_secure());
    assert_eq!(lab.connection.starttls(), Err(UsageError::AlreadySecure));
    lab.connection.begin(transaction(2).size(100)).unwrap();
    assert_eq!(lab.says(), "MAIL FROM:<me@client.example>\r\n", "PIPELINING and SIZE were offered in clear only");

    let mut lab = secure();
    lab.hear("220 hi\r\n");
    assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Unsolicited(_)))));
}

// C-97: nor does what was known of this client outlive XCLIENT, but that the stream is within TLS.
#[test]
fn another_client_starts_from_nothing() {
    let mut config = smtp();
    config.danger_password_in_clear = true;
    let mut lab = Lab::ready(config, &["AUTH PLAIN", "XCLIENT NAME", "PIPELINING", "SIZE 10", "STARTTLS"]);
    lab.connection.auth_manual("PLAIN", Some(Secret::from(b"\0user\0secret".to_vec()))).unwrap();
    lab.says();
    lab.hear("235 ok\r\n");
    assert!(lab.connection.is_authenticated());
    lab.connection.xclient(&spike()).unwrap();
    assert_eq!(lab.says(), "XCLIENT NAME=spike.example\r\n");
    lab.events();
    lab.hear("220 anew\r\n");
    assert!(!lab.connection.is_authenticated() && lab.connection.has_exposed_password());
    assert_eq!(lab.connection.capabilities().iter().count(), 0);
    assert_eq!(lab.connection.state(), State::Starting);
    assert_eq!(lab.connection.begin(transaction(1)), Err(UsageError::Busy));
    assert_eq!(lab.says(), "EHLO client.example\r\n");
    lab.hear("250-server.example\r\n250 STARTTLS\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Greeting(_), Event::Ready]));
    lab.connection.begin(transaction(2).size(100)).unwrap();
    assert_eq!(lab.says(), "MAIL FROM:<me@client.example>\r\n", "PIPELINING and SIZE were offered to the other");

    // What comes with the new greeting answers no hello.
    let mut lab = at("xclient");
    lab.hear("220 anew\r\n250 AUTH PLAIN\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Greeting(_), Event::Closed(CloseReason::Unsolicited(_))]));
}

// C-149, S-04, S-44: a reply that comes before its command has left in full answers nothing.
#[test]
fn early_replies_answer_nothing() {
    for gone in 0.."STARTTLS\r\n".len() {
        let mut lab = Lab::ready(smtp(), &["STARTTLS"]);
        lab.connection.starttls().unwrap();
        lab.transmits(gone);
        lab.hear("220 go\r\n");
        assert!(matches!(lab.events().as_slice(), [Event::Closed(CloseReason::Unsolicited(_))]));
    }
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.hear("250 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Completed(_), Event::Closed(CloseReason::Unsolicited(_))]));
}

// C-13, C-149, S-40, S-44, R-02: a reply of which a part came before its command had left answers nothing either.
#[test]
fn replies_that_begin_early_answer_nothing() {
    let mut lab = Lab::ready(smtp(), &["STARTTLS"]);
    lab.hear("220 g");
    lab.connection.starttls().unwrap();
    lab.says();
    lab.hear("o\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Closed(CloseReason::Unsolicited(_))]));

    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    leaving(&mut lab, b"hello\r\n", 1);
    lab.hear("250 queu");
    lab.says();
    lab.hear("ed\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Completed(report), Event::Closed(CloseReason::Unsolicited(_))]
        if report.recipients().all(|(_, outcome)| *outcome == Outcome::InDoubt)));

    // A refusal of content may come early, whole or in part.
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    leaving(&mut lab, b"hello\r\n", 1);
    lab.hear("552 too la");
    lab.says();
    lab.hear("rge\r\n");
    let events = lab.events();
    assert!(
        matches!(events.as_slice(), [Event::Completed(report), Event::Closed(_)] if report.refused().count() == 2),
        "{events:?}"
    );
}

// C-88: by hand, too, an address beyond ASCII needs SMTPUTF8 on its MAIL.
#[test]
fn utf8_recipients_by_hand_need_it_on_mail() {
    let path = || ForwardPath::parse("δοκιμή@x.example").unwrap();
    let refused = UsageError::NeedsSmtpUtf8(Utf8Reason::Recipient(path()));
    for (needed, result) in [(false, Err(refused)), (true, Ok(()))] {
        let mut lab = Lab::ready(smtp(), &["SMTPUTF8", "8BITMIME"]);
        lab.connection.mail(transaction(0).smtputf8(needed)).unwrap();
        assert_eq!(lab.says().contains("SMTPUTF8"), needed);
        lab.hear("250 ok\r\n");
        assert_eq!(lab.connection.rcpt(path()), result);
    }
}

// C-55: by hand, too, all or none is all or none.
#[test]
fn abort_by_hand() {
    let mut lab = Lab::ready(smtp(), &["CHUNKING"]);
    lab.connection.mail(transaction(0).on_refusal(OnRefusal::Abort)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    for reply in ["250 ok\r\n", "550 no\r\n"] {
        lab.connection.rcpt(ForwardPath::parse("a@b").unwrap()).unwrap();
        lab.says();
        lab.hear(reply);
    }
    assert_eq!(lab.connection.data(), Err(UsageError::AllOrNone));
    assert_eq!(lab.connection.bdat(), Err(UsageError::AllOrNone));
    assert_eq!(lab.says(), "");
}

// C-13, C-78, S-40: one reply too many ends the connection at once, and is never the next command's.
#[test]
fn one_reply_too_many() {
    let mut lab = at("noop");
    lab.hear("250 ok\r\n250 extra\r\n");
    let events = lab.events();
    assert!(matches!(events.as_slice(), [Event::Reply(_), Event::Closed(CloseReason::Unsolicited(_))]));
    let mut lab = at("final");
    lab.hear("250 queued\r\n250 extra\r\n");
    let events = lab.events();
    assert!(matches!(events.as_slice(), [Event::Completed(report), Event::Closed(CloseReason::Unsolicited(_))]
        if report.is_complete_success()));
}

/// A connection with `content` handed over and `left` octets of it still to leave.
fn leaving(lab: &mut Lab, content: &[u8], left: usize) {
    lab.connection.begin(transaction(2)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    let mut body = lab.connection.body().unwrap();
    assert_eq!(body.write(content).unwrap(), content.len());
    body.finish().unwrap();
    let offered = lab.connection.poll_transmit().unwrap().len();
    lab.transmits(offered - left);
    lab.events();
}

// a refusal while content is leaving is the message's reply come early; writing stops and the connection ends.
#[test]
fn an_early_refusal_of_content() {
    for (reply, shutdown) in [("552 too large\r\n", false), ("451 no space\r\n", false), ("421 bye\r\n", true)] {
        for left in [1, 5, 8] {
            let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
            leaving(&mut lab, b"hello\r\n", left);
            lab.hear(reply);
            let events = lab.events();
            let [Event::Completed(report), Event::Closed(reason)] = events.as_slice() else { panic!("{events:?}") };
            assert!(report.recipients().all(|(_, outcome)| matches!(outcome, Outcome::Refused { .. })));
            assert_eq!(matches!(reason, CloseReason::ServerShutdown(_)), shutdown);
            assert!(shutdown || matches!(reason, CloseReason::Refused { phase: Phase::DataBlock, .. }));
            assert_eq!(lab.says(), "");
        }
    }
    // Before the end was handed in, too; and in LMTP, where it speaks for all.
    let mut lab = Lab::ready(lmtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(2)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    lab.connection.body().unwrap().write(b"hello\r\n").unwrap();
    lab.hear("452 full\r\n");
    assert!(lab.connection.body().is_none());
    assert!(
        matches!(lab.events().as_slice(), [.., Event::Completed(report), Event::Closed(_)] if report.refused().count() == 2)
    );
}

/// A connection in the middle of content by BDAT: two chunks and a last one handed over, so many octets of it gone.
fn chunks_leaving(gone: usize) -> Lab {
    let mut config = smtp();
    config.chunking = Chunking::Prefer;
    config.body_buffer = 1024;
    let mut lab = Lab::ready(config, &["PIPELINING", "CHUNKING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n");
    lab.events();
    let mut content = &[b'x'; 1000][..];
    while !content.is_empty() {
        let taken = lab.connection.body().unwrap().write(content).unwrap();
        content = &content[taken..];
    }
    lab.connection.body().unwrap().finish().unwrap();
    assert!(lab.connection.body().is_none());
    assert_eq!(lab.transmits(gone).len(), gone);
    lab
}

const FIRST_CHUNK: usize = "BDAT 512\r\n".len() + 512;
const LAST_CHUNK: usize = "BDAT 488 LAST\r\n".len() + 488;

// C-81, R-06: a chunk refused while it is leaving is finished; one that has not begun to leave is taken back; then RSET.
#[test]
fn an_early_refusal_of_a_chunk() {
    for gone in [1, 100, FIRST_CHUNK - 1, FIRST_CHUNK] {
        let mut lab = chunks_leaving(gone);
        lab.hear("552 too large\r\n");
        let rest = lab.says();
        assert_eq!(rest.len(), FIRST_CHUNK - gone + "RSET\r\n".len(), "{gone}");
        assert!(rest.ends_with("RSET\r\n"));
        lab.hear("250 ok\r\n");
        let events = lab.events();
        assert!(matches!(events.as_slice(), [Event::Completed(report)] if report.refused().count() == 1), "{events:?}");
        assert_eq!(lab.connection.state(), State::Ready);
    }
    // In the middle of the last one, which is then finished and answered too.
    let mut lab = chunks_leaving(FIRST_CHUNK + 5);
    lab.hear("552 too large\r\n");
    assert_eq!(lab.says().len(), LAST_CHUNK - 5);
    lab.hear("503 no\r\n");
    assert_eq!(lab.says(), "RSET\r\n");
    // The last one itself, before it has left in full.
    let mut lab = chunks_leaving(FIRST_CHUNK + LAST_CHUNK - 1);
    lab.hear("250 ok\r\n550 no\r\n");
    assert_eq!(lab.says(), "xRSET\r\n");
}

// by BDAT, too, the boundary is the last octet, of the last chunk.
#[test]
fn the_boundary_of_doubt_in_chunks() {
    for (gone, expected) in [
        (FIRST_CHUNK, Outcome::NotSent),
        (FIRST_CHUNK + LAST_CHUNK - 1, Outcome::NotSent),
        (FIRST_CHUNK + LAST_CHUNK, Outcome::InDoubt),
    ] {
        let mut lab = chunks_leaving(gone);
        lab.connection.handle_eof();
        assert!(matches!(lab.events().as_slice(), [Event::Completed(report), Event::Closed(_)]
            if report.recipients().all(|(_, outcome)| *outcome == expected)));
    }
}

// C-59: a chunk and its command have three minutes to leave, anew with every octet.
#[test]
fn chunks_have_a_deadline() {
    for gone in [0, 5, 100] {
        let mut lab = chunks_leaving(gone);
        let limit = std::time::Duration::from_secs(180);
        assert_eq!(lab.sleeps(), Some(limit));
        lab.pass(limit);
        assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::TimedOut(Phase::DataBlock)))));
    }
    let mut lab = chunks_leaving(FIRST_CHUNK + LAST_CHUNK);
    assert_eq!(lab.sleeps(), Some(std::time::Duration::from_secs(600)));
}

// C-07, R-02: an early success is no success.
#[test]
fn an_early_success_of_content() {
    for reply in ["250 ok\r\n", "354 go\r\n"] {
        let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
        leaving(&mut lab, b"hello\r\n", 1);
        lab.hear(reply);
        assert!(
            matches!(lab.events().as_slice(), [Event::Completed(report), Event::Closed(CloseReason::Unsolicited(_))]
            if report.recipients().all(|(_, outcome)| *outcome == Outcome::NotSent))
        );
    }
}

// the boundary between not sent and in doubt is the last octet of the terminator, for each way to end.
#[test]
fn the_boundary_of_doubt() {
    for (left, expected) in [(1, Outcome::NotSent), (0, Outcome::InDoubt)] {
        let ends: [fn(&mut Lab); 5] = [
            |lab| lab.connection.handle_eof(),
            |lab| lab.connection.abort(),
            |lab| lab.hear("nonsense\r\n"),
            |lab| lab.pass(std::time::Duration::from_secs(3600)),
            |lab| lab.connection.handle_write_closed(Time::default()),
        ];
        for end in ends {
            let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
            leaving(&mut lab, b"hello\r\n", left);
            lab.sleeps();
            end(&mut lab);
            lab.connection.handle_eof();
            let events = lab.events();
            assert!(
                matches!(events.as_slice(), [Event::Completed(report), Event::Closed(_)]
                if report.recipients().all(|(_, outcome)| *outcome == expected)),
                "{left}: {events:?}"
            );
        }
    }
}

// P-18, R-10: after the end nothing is said, taken or told.
#[test]
fn after_the_end_there_is_silence() {
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(3)).unwrap();
    lab.transmits(5);
    lab.hear("\0\r\n");
    assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Malformed(ReplyError::Nul)))));
    lab.hear("250 ok\r\n");
    lab.connection.handle_transmitted(1000, Time::default());
    lab.connection.handle_eof();
    lab.connection.abort();
    lab.pass(std::time::Duration::from_secs(3600));
    assert!(lab.connection.poll_transmit().is_none());
    assert!(lab.events().is_empty());
    assert_eq!(lab.sleeps(), None);
    assert!(lab.connection.body().is_none());
}

// More octets than were offered cannot have been taken.
#[test]
fn transmitted_octets_are_clamped() {
    let mut lab = Lab::ready(smtp(), &[]);
    lab.connection.noop().unwrap();
    lab.connection.handle_transmitted(usize::MAX, Time::default());
    lab.hear("250 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Reply(_)]));
    lab.connection.noop().unwrap();
    assert_eq!(lab.says(), "NOOP\r\n");
}

// C-44, C-45, C-47: content that may not be sent ends the connection without a terminator.
#[test]
fn content_that_may_not_be_sent() {
    let mut config = smtp();
    config.line_endings = LineEndings::Strict;
    let mut lab = Lab::ready(config, &["PIPELINING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    let mut body = lab.connection.body().unwrap();
    assert_eq!(body.write(b""), Ok(0));
    assert!(body.write(b"fine\r\nbare\nline").is_err());
    assert_eq!(lab.says(), "");
    assert!(matches!(lab.events().as_slice(), [.., Event::Completed(report), Event::Closed(CloseReason::Aborted)]
        if report.recipients().all(|(_, outcome)| *outcome == Outcome::NotSent)));
}

// C-53, C-52: 552 and 452 to RCPT: too many recipients is for now, a full mailbox is for good.
#[test]
fn too_many_recipients_is_for_now() {
    for (replies, transient) in
        [("250 ok\r\n552 full\r\n", true), ("552 full\r\n250 ok\r\n", false), ("250 ok\r\n452 more later\r\n", true)]
    {
        let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
        lab.connection.begin(transaction(2)).unwrap();
        lab.says();
        lab.hear(format!("250 ok\r\n{replies}354 go\r\n"));
        lab.pours(b"hello\r\n");
        lab.hear("250 ok\r\n");
        let events = lab.events();
        let Some(Event::Completed(report)) = events.last() else { panic!("{events:?}") };
        let refused = report.recipients().find_map(|(_, outcome)| match outcome {
            Outcome::Refused { transient, .. } => Some(*transient),
            _ => None,
        });
        assert_eq!(refused, Some(transient));
    }
    // 150 recipients, of whom the server takes a hundred: each of the others is told to come back.
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(150)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    for index in 0..150 {
        lab.hear(if index < 100 { "250 ok\r\n" } else { "452 4.5.3 too many\r\n" });
        lab.says();
    }
    lab.hear("354 go\r\n");
    lab.pours(b"hello\r\n");
    lab.hear("250 ok\r\n");
    let events = lab.events();
    let Some(Event::Completed(report)) = events.last() else { panic!("{events:?}") };
    assert_eq!(report.recipients().filter(|(_, outcome)| outcome.is_accepted()).count(), 100);
    assert_eq!(
        report.recipients().filter(|(_, outcome)| matches!(outcome, Outcome::Refused { transient: true, .. })).count(),
        50
    );
}

// What Debug shows of a connection: its state and nothing that was said.
#[test]
fn debug_shows_no_content() {
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    leaving(&mut lab, b"canary\r\n", 5);
    let shown = format!("{:?} {:?}", lab.connection, lab.connection.poll_transmit());
    assert!(!shown.contains("canary") && !shown.contains("x.example"));
}

// The encoder alone and the connection give the same octets.
#[test]
fn the_encoder_is_the_connections_own() {
    let content = b".\r\n..\nx\r.y";
    let mut expected = Vec::new();
    let mut stuffer = DotStuffer::default();
    stuffer.encode(content, &mut expected).unwrap();
    stuffer.finish(&mut expected).unwrap();
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(lab.pours(content), expected);
}

// C-60: content is the caller's: headers of blind copies included, the core adds and takes nothing, least of all recipients.
#[test]
fn headers_are_the_callers_business() {
    let content = b"To: a@x.example\r\nBcc: b@x.example\r\nResent-Bcc: c@x.example\r\n\r\nhello\r\n";
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(lab.pours(content), [&content[..], b".\r\n"].concat());
}

// A connection that starts within TLS says so, and is offered no other.
#[test]
fn a_stream_that_is_secure_from_the_start() {
    let mut connection = smtp_proto::Connection::new(smtp(), Security::Tls);
    assert!(connection.is_secure());
    connection.handle_input(b"220 hi\r\n", Time::default());
    connection.handle_transmitted(usize::MAX, Time::default());
    connection.handle_input(b"250-x\r\n250 STARTTLS\r\n", Time::default());
    assert_eq!(connection.starttls(), Err(UsageError::AlreadySecure));
}

// C-150: REQUIRETLS is refused before anything is queued where the stream is in clear or it is not offered, even if the caller
// says that it need not be.
#[test]
fn requiretls_needs_tls_and_an_offer() {
    let parameter = || Parameter::flag("REQUIRETLS").unwrap();
    let mut clear = Lab::ready(smtp(), &["REQUIRETLS"]);
    for parameter in [parameter(), parameter().danger_unadvertised()] {
        let result = clear.connection.begin(transaction(1).parameter(parameter));
        assert_eq!(result.err(), Some(UsageError::RequireTlsInClear));
    }
    assert_eq!(clear.says(), "");
    let mut without = within_tls(smtp(), &["SIZE"]);
    let error = without.connection.begin(transaction(1).parameter(parameter())).err();
    assert_eq!(error, Some(UsageError::MissingKeyword("REQUIRETLS".into())));
    let mut lab = within_tls(smtp(), &["REQUIRETLS"]);
    lab.connection.begin(transaction(1).parameter(parameter())).unwrap();
    assert_eq!(lab.says(), "MAIL FROM:<me@client.example> REQUIRETLS\r\n");
}
