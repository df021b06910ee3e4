//! What holds of the session around the messages: what is heard, and what is known from it.

use std::time::Duration;

use proptest::prelude::*;
use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_proto::{Capabilities, Event, ReplyLimits, State, Time, fuzzing, parse_reply};

/// Octets of which some are a dialogue, or the rest of one.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let tokens: Vec<&[u8]> = vec![
        b"220 hi\r\n",
        b"250 ok\r\n",
        b"250-x\r\n250 PIPELINING\r\n",
        b"250-x\r\n250-CHUNKING\r\n250 STARTTLS\r\n",
        b"354 go\r\n",
        b"334 \r\n",
        b"421 bye\r\n",
        b"450 no\r\n",
        b"550-a\r\n550 b\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b".",
        b"25",
        b"2",
        b"-",
        b" ",
        b"\xff",
    ];
    let piece = prop_oneof![
        3 => prop::sample::select(tokens).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..20),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// Lines of a reply to EHLO, some of them with keywords that matter.
fn offers() -> impl Strategy<Value = Vec<String>> {
    let known = vec![
        "PIPELINING",
        "SIZE",
        "SIZE 1000",
        "SIZE 99999",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "BINARYMIME",
        "DSN",
        "AUTH PLAIN LOGIN",
        "AUTH=CRAM-MD5",
        "LIMITS MAILMAX=1 RCPTMAX=1",
        "REQUIRETLS",
        "DELIVERBY 60",
        "X-NEW a b",
    ];
    let line = prop_oneof![2 => prop::sample::select(known).prop_map(str::to_owned), 1 => "[^\r\n\0]{0,30}"];
    prop::collection::vec(line, 0..8)
}

fn hello_reply(name: &str, offers: &[String]) -> String {
    let lines: String = offers.iter().map(|line| format!("250-{line}\r\n")).collect();
    format!("250-{name}\r\n{lines}250 HELP\r\n")
}

/// A message, from its beginning to its end: everything that is said and told.
fn mail(lab: &mut Lab) -> String {
    let begun = lab.connection.begin(transaction(2).content(b"hello\r\n"));
    let mut what = format!("{begun:?}\n");
    for reply in ["250 ok\r\n", "250 ok\r\n", "550 no\r\n", "354 go\r\n", "250 queued\r\n"] {
        what += &lab.says();
        what += &String::from_utf8_lossy(&lab.pours(b"hello\r\n"));
        lab.hear(reply);
    }
    format!("{what}{:?} {:?} {:?}", lab.events(), lab.connection.state(), lab.connection.capabilities())
}

proptest! {
    // P-08: no octets of a server's, no content and no order of calls makes anything panic or loop.
    #[test]
    fn nothing_panics(data in anything()) {
        fuzzing::reply(&data);
        fuzzing::capabilities(&data);
        fuzzing::content(&data);
        fuzzing::connection(&data);
    }

    // P-08: each octet is taken once, and there are no more events than octets can bring: two for each reply, and those of the
    // end. What was polled does not come again.
    #[test]
    fn octets_and_events_come_to_an_end(data in anything(), cut in any::<prop::sample::Index>(), busy in any::<bool>()) {
        let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
        if busy {
            lab.connection.begin(transaction(2)).unwrap();
        } else {
            lab.connection.noop().unwrap();
        }
        lab.says();
        let (head, tail) = data.split_at(cut.index(data.len() + 1));
        let mut events = 0;
        for piece in [head, tail] {
            lab.hear(piece);
            events += lab.events().len();
            prop_assert!(lab.connection.poll_event().is_none());
            let said = lab.says();
            prop_assert!(lab.connection.poll_transmit().is_none(), "{}", said);
        }
        lab.connection.handle_eof();
        events += lab.events().len();
        let replies = data.iter().filter(|octet| **octet == b'\n').count();
        prop_assert!(events <= 2 * replies + 2, "{} events, {} lines", events, replies);
        prop_assert_eq!(lab.connection.state(), State::Closed);
    }

    // P-18, R-10: whatever ends a connection, after that it takes everything and gives nothing.
    #[test]
    fn after_the_end_there_is_nothing(data in anything(), more in anything(), way in 0..4_u8, left in 0..80_usize) {
        let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
        lab.connection.begin(transaction(2)).unwrap();
        lab.transmits(left);
        lab.hear(&data);
        match way {
            0 => lab.hear(b"nonsense\r\n"),
            1 => lab.hear(b"250-a\r\n550 b\r\n"),
            2 => lab.connection.handle_eof(),
            _ => lab.connection.abort(),
        }
        prop_assume!(lab.connection.state() == State::Closed);
        prop_assert!(matches!(lab.events().last(), Some(Event::Closed(_))));
        lab.hear(&more);
        lab.connection.handle_transmitted(left, Time::from_duration(Duration::MAX));
        lab.pass(Duration::from_secs(86_400));
        lab.connection.handle_eof();
        prop_assert!(lab.connection.poll_transmit().is_none() && lab.connection.body().is_none());
        prop_assert_eq!((lab.events(), lab.sleeps()), (vec![], None));
        prop_assert!(lab.connection.begin(transaction(1)).is_err() && lab.connection.quit().is_err());
    }

    // P-13, C-141, S-05: whatever was said in clear, as long as it ends in the go-ahead: within TLS everything is the same.
    #[test]
    fn nothing_in_clear_matters_within_tls(
        greeting in "[^\r\n\0]{0,30}",
        clear in offers(),
        go in "[^\r\n\0]{0,30}",
        within in offers(),
    ) {
        let run = |greeting: &str, clear: &[String], go: &str| {
            let mut lab = Lab::new(smtp());
            lab.hear(format!("220 {greeting}\r\n"));
            lab.says();
            lab.hear(hello_reply("clear", &[clear, &["STARTTLS".to_owned()]].concat()));
            lab.connection.starttls().unwrap();
            lab.says();
            lab.hear(format!("220 {go}\r\n"));
            lab.events();
            lab.connection.handle_tls_established().unwrap();
            assert_eq!(lab.connection.capabilities(), &Capabilities::default());
            let hello = lab.says();
            lab.hear(hello_reply("within", &within));
            (hello, lab.connection.is_authenticated(), mail(&mut lab))
        };
        prop_assert_eq!(run(&greeting, &clear, &go), run("hi", &[], "go"));
    }

    // P-17, C-26: what is known of a server is what the latest EHLO told, and a refused one tells nothing.
    #[test]
    fn a_new_hello_forgets_the_old_one(first in offers(), second in offers(), refused in any::<bool>()) {
        let heard = |reply: &str| {
            let mut lab = Lab::new(smtp());
            lab.hear(b"220 hi\r\n");
            lab.says();
            lab.hear(reply);
            lab.events();
            lab
        };
        let second = hello_reply("second", &second);
        let mut lab = heard(&hello_reply("first", &first));
        lab.connection.ehlo().unwrap();
        lab.says();
        lab.hear(if refused { "550 no\r\n" } else { &second });
        lab.events();
        if refused {
            prop_assert_eq!(lab.connection.capabilities(), &Capabilities::default());
        } else {
            let mut fresh = heard(&second);
            prop_assert_eq!(lab.connection.capabilities(), fresh.connection.capabilities());
            prop_assert_eq!(mail(&mut lab), mail(&mut fresh));
        }
    }

    // P-19: capabilities written out as the reply they are read from are the same again.
    #[test]
    fn capabilities_read_as_they_are_written(offers in offers()) {
        let read = |reply: &str| {
            let parsed = parse_reply(reply.as_bytes(), &ReplyLimits::default()).ok().flatten();
            Capabilities::from_reply(&parsed.expect("a reply").0.to_owned())
        };
        let known = |capabilities: &Capabilities| -> Vec<(String, String)> {
            capabilities.iter().map(|(keyword, parameters)| (keyword.to_owned(), parameters.to_owned())).collect()
        };
        let first = known(&read(&hello_reply("x", &offers)));
        let written: String = first.iter().map(|(keyword, parameters)| format!("250-{keyword} {parameters}\r\n")).collect();
        let second = known(&read(&format!("250-x\r\n{written}250\r\n")));
        prop_assert_eq!(second, first);
    }
}
