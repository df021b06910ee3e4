//! Parameters of MAIL and RCPT: what is sent, to whom, and what is not.

use std::time::Duration;

use proptest::prelude::*;
use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::sasl_server::within_tls;
use smtp_proto::message::Message;
use smtp_proto::{
    Chunking, DateTime, DeliverBy, EnvelopeId, Event, Extension, ForwardPath, HoldFor, Notify, NotifyOn,
    OriginalRecipient, Parameter, Priority, Recipient, Ret, ReversePath, State, Timeouts, Tracking, Transaction,
    UsageError, Utf8Reason, ValidSince,
};

fn recipient() -> Recipient {
    Recipient::new(ForwardPath::parse("a@x.example").unwrap())
}

fn time(text: &str) -> DateTime {
    DateTime::parse(text).unwrap()
}

/// Every parameter that has a type of its own, in a transaction that holds no other if that is possible.
fn each_alone() -> Vec<(Extension, &'static str, Transaction)> {
    let mail = || transaction(1);
    let rcpt = |recipient: Recipient| transaction(0).to(recipient);
    let since = ValidSince::new(time("2026-03-01T00:00:00Z"));
    let original = OriginalRecipient::new("rfc822", "b@old.example").unwrap();
    vec![
        (Extension::Auth, "AUTH=<>", mail().submitter(ReversePath::null())),
        (Extension::Dsn, "RET=FULL", mail().ret(Ret::Full)),
        (Extension::Dsn, "ENVID=a+20b", mail().envelope_id(EnvelopeId::new("a b").unwrap())),
        (Extension::DeliverBy, "BY=60;RT", mail().deliver_by(DeliverBy::or_return(60).unwrap().trace())),
        (Extension::FutureRelease, "HOLDFOR=60", mail().hold_for(HoldFor::seconds(60).unwrap())),
        (
            Extension::FutureRelease,
            "HOLDUNTIL=2026-03-01T00:00:00Z",
            mail().hold_until(time("2026-03-01T01:00:00+01:00")),
        ),
        (Extension::MtPriority, "MT-PRIORITY=-9", mail().priority(Priority::new(-9).unwrap())),
        (Extension::RequireTls, "REQUIRETLS", mail().require_tls(true)),
        (Extension::PerRecipientReplies, "PRDR", mail().per_recipient_replies(true)),
        (Extension::Dsn, "NOTIFY=NEVER", rcpt(recipient().notify(Notify::Never))),
        (Extension::Dsn, "ORCPT=rfc822;b@old.example", rcpt(recipient().original_recipient(original))),
        (
            Extension::ValidSince,
            "RRVS=2026-03-01T00:00:00Z;C",
            rcpt(recipient().require_valid_since(since.or_continue())),
        ),
    ]
}

// C-27, C-91, C-94, C-95, C-96, C-97, C-122, P-16: for every set of extensions that a server may offer, a parameter is sent where its
// own is among them, and otherwise no octet leaves.
#[test]
fn a_parameter_is_sent_exactly_where_it_is_offered() {
    let extensions = [
        Extension::Auth,
        Extension::Dsn,
        Extension::DeliverBy,
        Extension::FutureRelease,
        Extension::MtPriority,
        Extension::RequireTls,
        Extension::PerRecipientReplies,
        Extension::ValidSince,
    ];
    for set in 0..1 << extensions.len() {
        let offered: Vec<Extension> =
            (0..extensions.len()).filter(|n| set >> n & 1 == 1).map(|n| extensions[n]).collect();
        let mut keywords: Vec<&str> = offered.iter().map(|extension| extension.keyword()).collect();
        keywords.push("PIPELINING");
        for (extension, parameter, transaction) in each_alone() {
            let mut lab = within_tls(smtp(), &keywords);
            let begun = lab.connection.begin(transaction);
            let said = lab.says();
            if offered.contains(&extension) {
                begun.unwrap();
                assert_eq!(said.matches(&format!(" {parameter}\r\n")).count(), 1, "{said}");
            } else {
                assert_eq!(begun, Err(UsageError::Missing(extension)));
                assert_eq!((said.as_str(), lab.connection.state()), ("", State::Ready));
            }
        }
    }
}

// C-91: each recipient has parameters of its own.
#[test]
fn parameters_of_each_recipient() {
    let to = |path: &str| Recipient::new(ForwardPath::parse(path).unwrap());
    let transaction = transaction(0)
        .to(to("a@x.example").notify(NotifyOn::SUCCESS | NotifyOn::FAILURE))
        .to(to("b@x.example"))
        .to(to("c@x.example").notify(Notify::Never).notify(NotifyOn::DELAY));
    let mut lab = Lab::ready(smtp(), &["PIPELINING", "DSN"]);
    lab.connection.begin(transaction).unwrap();
    assert_eq!(
        lab.says(),
        "MAIL FROM:<me@client.example>\r\nRCPT TO:<a@x.example> NOTIFY=SUCCESS,FAILURE\r\nRCPT TO:<b@x.example>\r\n\
         RCPT TO:<c@x.example> NOTIFY=DELAY\r\nDATA\r\n"
    );
}

// C-94, C-95: within the server's bounds, and where it names none, without any.
#[test]
fn bounds_of_the_server() {
    let refused = |keyword: &str, transaction: Transaction| {
        let mut lab = Lab::ready(smtp(), &[keyword]);
        let error = lab.connection.begin(transaction).err();
        assert_eq!(lab.says().is_empty(), error.is_some());
        error
    };
    let within = |seconds| transaction(1).deliver_by(DeliverBy::or_return(seconds).unwrap());
    let late = |seconds| transaction(1).deliver_by(DeliverBy::or_notify(seconds).unwrap());
    assert_eq!(refused("DELIVERBY 60", within(59)), Some(UsageError::DeliverByTooSoon { minimum: 60 }));
    for (keyword, transaction) in
        [("DELIVERBY 60", within(60)), ("DELIVERBY 60", late(59)), ("DELIVERBY", within(1)), ("DELIVERBY x", within(1))]
    {
        assert_eq!(refused(keyword, transaction), None);
    }
    let hold = |seconds| transaction(1).hold_for(HoldFor::seconds(seconds).unwrap());
    let until = |text| transaction(1).hold_until(time(text));
    let keyword = "FUTURERELEASE 60 2026-03-01T00:00:00Z";
    let maximum = time("2026-03-01T00:00:00Z");
    assert_eq!(refused(keyword, hold(61)), Some(UsageError::HoldTooLong { maximum: 60 }));
    assert_eq!(refused(keyword, until("2026-03-01T00:00:01Z")), Some(UsageError::HoldTooLate { maximum }));
    for (keyword, transaction) in [
        (keyword, hold(60)),
        (keyword, until("2026-03-01T00:00:00Z")),
        ("FUTURERELEASE", hold(999_999_999)),
        ("FUTURERELEASE x y", until("9999-12-31T23:59:59Z")),
    ] {
        assert_eq!(refused(keyword, transaction), None);
    }
}

// C-94, C-95, C-96, C-97: by hand, too, a parameter is not given twice, nor with the command it does not belong to.
#[test]
fn misplaced_and_repeated() {
    let raw = |keyword: &str| Parameter::new(keyword, "1").unwrap();
    let keywords = ["DSN", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY", "RRVS", "MTRK", "X"];
    let refused = |transaction: Transaction| {
        let mut lab = Lab::ready(smtp(), &keywords);
        let error = lab.connection.begin(transaction).unwrap_err();
        assert_eq!(lab.says(), "");
        error
    };
    for keyword in ["BY", "MT-PRIORITY", "HOLDFOR", "HOLDUNTIL", "RET", "ENVID", "MTRK"] {
        let error = refused(transaction(0).to(recipient().parameter(raw(keyword))));
        assert_eq!(error, UsageError::Misplaced(keyword.into()));
    }
    for keyword in ["NOTIFY", "ORCPT", "RRVS"] {
        assert_eq!(refused(transaction(1).parameter(raw(keyword))), UsageError::Misplaced(keyword.into()));
    }
    let twice = |transaction: Transaction, keyword: &str| {
        assert_eq!(refused(transaction), UsageError::Duplicate(keyword.into()));
    };
    twice(transaction(1).parameter(raw("X")).parameter(raw("x")), "X");
    twice(transaction(1).priority(Priority::new(1).unwrap()).parameter(raw("MT-PRIORITY")), "MT-PRIORITY");
    twice(transaction(1).parameter(raw("HOLDUNTIL")).parameter(raw("HOLDFOR")), "HOLDFOR");
    twice(transaction(0).to(recipient().notify(Notify::Never).parameter(raw("NOTIFY"))), "NOTIFY");
    // Who insists may.
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(0).to(recipient().parameter(raw("BY").danger_unadvertised()))).unwrap();
    assert!(lab.says().contains("RCPT TO:<a@x.example> BY=1\r\n"));
}

// C-97: a message is tracked by its envelope's identifier.
#[test]
fn tracking_needs_an_envelope_id() {
    let tracked = || transaction(1).tracking(Tracking::new([0; 20]));
    let mut lab = Lab::ready(smtp(), &["DSN", "MTRK"]);
    assert_eq!(lab.connection.begin(tracked()), Err(UsageError::TrackingNeedsEnvelopeId));
    assert_eq!(lab.says(), "");
    lab.connection.begin(tracked().envelope_id(EnvelopeId::new("1@x.example").unwrap())).unwrap();
    assert_eq!(lab.says(), "MAIL FROM:<me@client.example> ENVID=1@x.example MTRK=AAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n");
    let mut lab = Lab::ready(smtp(), &["MTRK"]);
    assert_eq!(lab.connection.begin(tracked()), Err(UsageError::TrackingNeedsEnvelopeId));
}

// C-51: as long as RFC 3461 lets them be, the parameters of DSN fit with the longest of paths; what does not fit is refused.
#[test]
fn the_longest_parameters() {
    let original = OriginalRecipient::new("rfc822", &"a".repeat(493)).unwrap();
    let path = format!("{}@{}.example", "a".repeat(64), ["b".repeat(63), "c".repeat(63), "d".repeat(53)].join("."));
    let longest = ForwardPath::parse(&path).unwrap();
    assert_eq!(longest.as_str().len(), 254);
    let all = NotifyOn::SUCCESS | NotifyOn::FAILURE | NotifyOn::DELAY;
    let since = ValidSince::new(time("2026-03-01T00:00:00Z")).or_reject();
    let dressed = |path| {
        let recipient = Recipient::new(path).notify(all).original_recipient(original.clone());
        transaction(0).to(recipient.require_valid_since(since))
    };
    let mut lab = Lab::ready(smtp(), &["PIPELINING", "DSN", "RRVS"]);
    lab.connection.begin(dressed(longest)).unwrap();
    let relaxed = ForwardPath::parse_relaxed(&"a".repeat(600)).unwrap();
    let mut lab = Lab::ready(smtp(), &["PIPELINING", "DSN", "RRVS"]);
    let limit = 512 + 500 + 33;
    assert_eq!(lab.connection.begin(dressed(relaxed)), Err(UsageError::CommandTooLong { limit }));
    assert_eq!(lab.says(), "");
}

// C-92, C-93: an enhanced code that is none, or of another class, is text; one that nobody has heard of is a code.
#[test]
fn enhanced_codes_of_refusals() {
    for (reply, code) in [
        ("550 5.1.1 no", Some("5.1.1")),
        ("550 5.7.999 no", Some("5.7.999")),
        ("550 5.99.0 no", Some("5.99.0")),
        ("550-5.1.1 no\r\n550 5.1.1 at all", Some("5.1.1")),
        ("550 2.1.1 no", None),
        ("450 5.1.1 no", None),
        ("550 5.1.1000 no", None),
        ("550 5.01.1 no", None),
        ("550 5.1 no", None),
        ("550 no 5.1.1", None),
    ] {
        let mut lab = Lab::ready(smtp(), &["PIPELINING", "ENHANCEDSTATUSCODES"]);
        lab.connection.begin(transaction(1)).unwrap();
        lab.says();
        lab.hear(format!("250 2.1.0 ok\r\n{reply}\r\n554 5.5.1 nobody\r\n"));
        lab.says();
        lab.hear("250 flushed\r\n");
        let report = match lab.events().pop() {
            Some(Event::Completed(report)) => report,
            other => panic!("{other:?}"),
        };
        let (_, refusal) = report.refused().next().unwrap();
        assert_eq!(refusal.enhanced().map(|code| code.to_string()).as_deref(), code, "{reply}");
        let text: Vec<&str> = reply.split("\r\n").map(|line| &line[4..]).collect();
        assert_eq!(refusal.lines().collect::<Vec<_>>(), text.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
    }
}

proptest! {
    // S-20, S-21, P-01: whatever text a parameter is made of, its command stays one line with the parameters it was given.
    #[test]
    fn no_text_smuggles_anything_in(text in "(NEVER|[ -~é\r\n\u{2028}\u{560a}]{0,12}@?[a-z=> \r\n]{0,4})", addr_type in "[ -~]{1,4}") {
        let mut mail = transaction(0);
        let mut to = recipient();
        let mut expected = Vec::new();
        if let Ok(id) = EnvelopeId::new(&text) {
            mail = mail.envelope_id(id);
            expected.push("ENVID");
        }
        if let Ok(path) = ReversePath::parse_relaxed(&text) {
            mail = mail.submitter(path);
            expected.push("AUTH");
        }
        if let Ok(notify) = Notify::parse(&text) {
            to = to.notify(notify);
            expected.push("NOTIFY");
        }
        let original = OriginalRecipient::new(&addr_type, &text).or_else(|_| OriginalRecipient::new("utf-8", &text));
        if let Ok(original) = original {
            to = to.original_recipient(original.unitext());
            expected.push("ORCPT");
        }
        let mut lab = Lab::ready(smtp(), &["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "AUTH X"]);
        lab.connection.begin(mail.to(to)).unwrap();
        let said = lab.says();
        let lines: Vec<&str> = said.split_terminator("\r\n").collect();
        prop_assert_eq!(lines.len(), 3, "{}", said);
        prop_assert!(!said.replace("\r\n", "").contains(char::is_control), "{}", said);
        let words = lines[..2].iter().flat_map(|line| line.split(' ').skip(2)).map(|word| word.split('=').next().unwrap());
        let mut ours: Vec<&str> = words.filter(|word| !["BODY", "SMTPUTF8"].contains(word)).collect();
        ours.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(ours, expected, "{}", said);
    }
}

// C-88: the report says why SMTPUTF8 was asked for: the first of sender, recipients and headers, or that nothing needed it.
#[test]
fn a_report_says_why_smtputf8() {
    let sender = ReversePath::parse("é@x.example").unwrap();
    let path = ForwardPath::parse("用户@x.example").unwrap();
    let octets = "From: me@x.example\r\nTo: a@x.example\r\nSubject: ü\r\n\r\n";
    let message = Message::parse(octets.as_bytes()).unwrap();
    for (transaction, reason) in [
        (transaction(1), None),
        (transaction(1).smtputf8(true), Some(Utf8Reason::Asked)),
        (message.transaction(), Some(Utf8Reason::Header("Subject".into()))),
        (transaction(1).to(path.clone()).smtputf8(true), Some(Utf8Reason::Recipient(path.clone()))),
        (Transaction::new(sender.clone()).to(path.clone()), Some(Utf8Reason::Sender(sender))),
    ] {
        let mut lab = Lab::ready(smtp(), &["SMTPUTF8", "8BITMIME"]);
        lab.connection.begin(transaction).unwrap();
        assert_eq!(lab.says().contains(" SMTPUTF8"), reason.is_some());
        lab.hear("550 no\r\n");
        lab.says();
        lab.hear("250 ok\r\n");
        let report = lab.events().into_iter().find_map(|event| match event {
            Event::Completed(report) => Some(report),
            _ => None,
        });
        assert_eq!(report.unwrap().smtputf8(), reason.as_ref());
    }
}

// S-33, C-86, C-99: numbers without measure, the server's and the caller's: nothing overflows and nothing panics; what is no bound
// bounds nothing.
#[test]
fn numbers_without_measure() {
    let long = "9".repeat(400);
    let numbers = [
        "0",
        "-1",
        "+1",
        "1e9",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        &long,
    ];
    for number in numbers {
        let size = format!("SIZE {number}");
        let limits = format!("LIMITS MAILMAX={number} RCPTMAX={number} RCPTDOMAINMAX={number}");
        let release = format!("FUTURERELEASE {number} {number}-01-01T00:00:00Z");
        let by = format!("DELIVERBY {number}");
        let keywords = ["PIPELINING", "CHUNKING", &size, &limits, &release, &by];
        for octets in [0, 1, u64::MAX] {
            for buffer in [0, 1, usize::MAX] {
                for chunking in [Chunking::Needed, Chunking::Prefer] {
                    let mut config = smtp();
                    (config.body_buffer, config.pipeline_window, config.transaction_window) = (buffer, buffer, buffer);
                    (config.chunking, config.timeouts) = (chunking, Timeouts::uniform(Duration::MAX));
                    let mut lab = Lab::ready(config, &keywords);
                    let held = transaction(2).size(octets).hold_for(HoldFor::seconds(u32::MAX / 8).unwrap());
                    let _ = lab.connection.check(&held.deliver_by(DeliverBy::or_return(1).unwrap()));
                    match lab.connection.begin(transaction(2).size(octets)) {
                        Err(UsageError::TooLarge { limit }) => {
                            assert!(limit < octets);
                            continue;
                        }
                        begun => drop(begun.unwrap()),
                    }
                    while lab.connection.body().is_none() {
                        let said = lab.says();
                        assert!(!said.is_empty());
                        for line in said.split_terminator("\r\n") {
                            assert!(!line.contains("SIZE") || line.ends_with(&format!(" SIZE={octets}")), "{line}");
                            lab.hear(if line == "DATA" { "354 go\r\n" } else { "250 ok\r\n" });
                        }
                    }
                    assert!(String::from_utf8(lab.pours(b"hello\r\n")).unwrap().contains("hello\r\n"));
                    lab.pass(Duration::from_secs(1));
                    assert!(lab.sleeps().is_some_and(|left| left > Duration::from_secs(u64::MAX / 2)));
                }
            }
        }
    }
}
