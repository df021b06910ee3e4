//! Replies without end, and offers without measure.

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_proto::{CloseReason, Config, Event, Extension, State};

use crate::{CEILING, Gauge};

type Place = (&'static str, fn() -> Lab);

/// Wherever replies come: as the greeting, to hello, to a command, to a group, to content, to QUIT.
const PLACES: [Place; 7] = [
    ("greeting", || Lab::new(smtp())),
    ("hello", || greeted(smtp())),
    ("command", || said(|lab| lab.connection.noop().unwrap())),
    ("group", || said(|lab| assert_eq!(lab.connection.begin(transaction(3)).unwrap().get(), 0))),
    ("content", || delivered(smtp())),
    ("content by LMTP", || delivered(lmtp())),
    ("farewell", || said(|lab| lab.connection.quit().unwrap())),
];

fn greeted(config: Config) -> Lab {
    let mut lab = Lab::new(config);
    lab.hear("220 hi\r\n");
    lab.says();
    lab
}

fn said(verb: fn(&mut Lab)) -> Lab {
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    verb(&mut lab);
    lab.says();
    lab
}

fn delivered(config: Config) -> Lab {
    let mut lab = Lab::ready(config, &["PIPELINING"]);
    lab.connection.begin(transaction(3)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    lab.pours(b"hello\r\n");
    lab
}

// S-30, P-09: 120 MB of continuation lines, short or as long as they may be, in small pieces and large ones, wherever the connection
// is.
#[test]
fn endless_continuation_lines() {
    let mut gauge = Gauge::new();
    let lines = b"250-\r\n".repeat(10_000);
    let long = [&b"250-"[..], &[b'x'; 2000], b"\r\n"].concat().repeat(30);
    for (place, lab) in PLACES {
        for flooded in [&lines, &long] {
            for piece in [100, 1000, 65_536] {
                gauge.restart();
                let mut lab = lab();
                for _ in 0..120_000_000 / flooded.len() {
                    gauge.flood(&mut lab, flooded, piece);
                    // What is closed takes everything and keeps nothing.
                    if lab.connection.state() == State::Closed && piece < 65_536 {
                        break;
                    }
                }
                let reason = lab.connection.close_reason();
                assert!(matches!(reason, Some(CloseReason::Malformed(_) | CloseReason::Quit)), "{place}: {reason:?}");
            }
        }
    }
}

// S-30, P-09: a line that never ends, wherever the connection is.
#[test]
fn an_endless_line() {
    let mut gauge = Gauge::new();
    let line = vec![b'2'; 20_000_000];
    for (place, lab) in PLACES {
        gauge.restart();
        let mut lab = lab();
        gauge.flood(&mut lab, &line, 4096);
        let reason = lab.connection.close_reason();
        assert!(matches!(reason, Some(CloseReason::Malformed(_) | CloseReason::Quit)), "{place}: {reason:?}");
    }
}

// S-32, P-09: as many keywords, and as long ones, as the limits let through.
#[test]
fn a_flood_of_keywords() {
    let mut gauge = Gauge::new();
    for keyword in ["AUTH A B C D E F G H I J K L M N O P".to_owned(), "X".repeat(60), format!("X{}", " y".repeat(27))]
    {
        let reply = format!("{}250 ok\r\n", format!("250-{keyword}\r\n").repeat(240));
        gauge.restart();
        let mut lab = greeted(smtp());
        gauge.flood(&mut lab, reply.as_bytes(), 100);
        assert_eq!(lab.events().len(), 2);
        let _ = lab.connection.capabilities().auth_mechanisms().count();
        gauge.at_most(CEILING);
    }
}

// S-32: 10,000 keywords, a keyword line of 100 KiB and 10,000 mechanisms, on one line or on many, are more than is let through: the
// connection ends, and what it held is gone.
#[test]
fn more_keywords_than_are_let_through() {
    let mut gauge = Gauge::new();
    let keywords: String = (0..10_000).map(|number| format!("250-X{number}\r\n")).collect();
    let line = format!("250-X {}\r\n", "y".repeat(100 * 1024));
    let mechanisms: String = (0..10_000).map(|number| format!(" M{number}")).collect();
    let many_lines: String = (0..10_000).map(|number| format!("250-AUTH M{number}\r\n")).collect();
    for flood in [keywords, line, format!("250-AUTH{mechanisms}\r\n"), many_lines] {
        for piece in [1, 1000, usize::MAX] {
            gauge.restart();
            let mut lab = greeted(smtp());
            gauge.flood(&mut lab, b"250-server.example\r\n", piece);
            gauge.flood(&mut lab, flood.as_bytes(), piece);
            gauge.flood(&mut lab, b"250 HELP\r\n", piece);
            assert!(matches!(lab.connection.close_reason(), Some(CloseReason::Malformed(_))));
            assert!(!lab.connection.capabilities().supports(Extension::Auth));
        }
    }
    // Of the mechanisms that do fit, a few are believed.
    let some: String = (0..400).map(|number| format!(" M{number}")).collect();
    let mut lab = greeted(smtp());
    lab.hear(format!("250-x\r\n250 AUTH{some}\r\n"));
    assert_eq!(lab.connection.capabilities().auth_mechanisms().count(), 64);
}

// P-09: nobody reads the events of a whole session, and every reply in it is as long as it may be.
#[test]
fn events_that_nobody_reads() {
    let long = |code: &str, end: &str| [code, "-", &"x".repeat(1990), "\r\n"].concat().repeat(8) + code + end + "\r\n";
    let mut gauge = Gauge::new();
    let session = [
        (long("220", ""), false),
        (long("250", " PIPELINING"), false),
        (long("250", ""), false),
        (long("250", ""), false),
        (long("354", ""), true),
        (long("421", ""), false),
    ];
    let transaction = transaction(1);
    gauge.restart();
    let mut lab = Lab::new(smtp());
    for (reply, content) in session {
        if lab.connection.can_begin() {
            lab.connection.begin(transaction.clone()).unwrap();
        }
        lab.says();
        gauge.flood(&mut lab, reply.as_bytes(), 5000);
        if content {
            lab.pours(b"hello\r\n");
        }
    }
    assert_eq!(lab.connection.state(), State::Closed);
    gauge.at_most(CEILING);
    assert!(matches!(
        lab.events().as_slice(),
        [Event::Greeting(_), Event::Ready, .., Event::Completed(_), Event::Closed(CloseReason::ServerShutdown(_))]
    ));
}
