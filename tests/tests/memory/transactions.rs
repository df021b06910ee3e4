//! Recipients and content.

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_proto::{Chunking, Event};

use crate::{CEILING, Gauge};

// P-09: everything that a server can fill, full at once: an unread greeting, the capabilities, the body buffer after many
// short writes, and the longest of replies cut where that costs most.
#[test]
fn everything_at_once() {
    let mut gauge = Gauge::new();
    let lines = |code: &str, end: &str| [code, "-", &"x".repeat(1990), "\r\n"].concat().repeat(8) + code + end + "\r\n";
    let (greeting, hello, last) = (lines("220", " hi"), lines("250", " PIPELINING"), lines("250", " ok"));
    let message = vec![b'.'; 1_000_000];
    for cut in [9_000, last.len() - 3] {
        let transaction = transaction(1);
        gauge.restart();
        let mut lab = Lab::new(smtp());
        lab.hear(&greeting);
        lab.says();
        gauge.flood(&mut lab, hello.as_bytes(), 7_000);
        lab.connection.begin(transaction).unwrap();
        lab.says();
        lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        let mut rest = &message[..];
        for taken in [1, 30_000, 2, 20_000, 31_000, 5, 4096].into_iter().cycle().take(200) {
            let written = lab.connection.body().unwrap().write(rest).unwrap();
            rest = &rest[written..];
            lab.transmits(taken);
            gauge.at_most(CEILING);
        }
        lab.connection.body().unwrap().finish().unwrap();
        lab.says();
        let (head, tail) = last.as_bytes().split_at(cut);
        gauge.flood(&mut lab, head, 1000);
        gauge.flood(&mut lab, tail, 1000);
        assert!(matches!(lab.events().last(), Some(Event::Completed(report)) if report.is_complete_success()));
    }
}

// P-09: each of a thousand recipients answered at length, twice in LMTP and by PRDR, and nobody reads the events.
#[test]
fn long_replies_to_many_recipients() {
    let mut gauge = Gauge::new();
    let long = ["550-", &"x".repeat(1990), "\r\n"].concat().repeat(7);
    let recipients = 1000;
    // RCPT and final texts are cut to `recipient_text`; an event shares its outcome's.
    let each = 1024 + 300;
    for (config, refused, prdr) in
        [(smtp(), true, false), (smtp(), false, true), (lmtp(), true, false), (lmtp(), false, false)]
    {
        let lmtp = config.protocol == smtp_proto::Protocol::Lmtp;
        let mut lab = Lab::new(config);
        lab.hear("220 hi\r\n");
        lab.says();
        lab.hear("250-x\r\n250-PRDR\r\n250 PIPELINING\r\n");
        let transaction = transaction(recipients).per_recipient_replies(prdr);
        gauge.restart();
        lab.connection.begin(transaction).unwrap();
        lab.says();
        lab.hear("250 ok\r\n");
        for index in 0..recipients {
            lab.hear(if refused && index > 0 {
                long.clone() + "550 no\r\n"
            } else {
                long.replace("550", "250") + "250 ok\r\n"
            });
            lab.says();
        }
        gauge.at_most(CEILING + recipients * each);
        lab.hear("354 go\r\n");
        lab.pours(b"hello\r\n");
        if prdr {
            lab.hear("353 verdicts follow\r\n");
        }
        for _ in 0..if (lmtp || prdr) && !refused { recipients } else { 1 } {
            lab.hear(long.clone() + "550 no\r\n");
        }
        if prdr {
            lab.hear("250 queued for nobody\r\n");
        }
        gauge.at_most(CEILING + recipients * 2 * each);
        assert!(
            matches!(lab.events().last(), Some(Event::Completed(report)) if report.refused().count() == recipients)
        );
    }
}

// a body is never held as a whole.
#[test]
fn a_large_body_flows_through() {
    let mut gauge = Gauge::new();
    let chunk = b"0123456789abcdef\r\n".repeat(3000);
    for chunking in [Chunking::Needed, Chunking::Prefer] {
        gauge.restart();
        let mut config = smtp();
        config.chunking = chunking;
        let mut lab = Lab::ready(config, &["PIPELINING", "CHUNKING"]);
        lab.connection.begin(transaction(1)).unwrap();
        lab.says();
        lab.hear(if chunking == Chunking::Prefer { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n250 ok\r\n354 go\r\n" });
        lab.events();
        let mut sent = 0;
        while sent < 200_000_000 {
            let taken = lab.connection.body().unwrap().write(&chunk).unwrap();
            let gone = lab.connection.poll_transmit().map_or(0, |out| out.len());
            let now = lab.time();
            lab.connection.handle_transmitted(gone, now);
            if chunking == Chunking::Prefer && gone > 0 {
                lab.hear("250 ok\r\n");
            }
            sent += taken;
            gauge.at_most(CEILING);
        }
    }
}
