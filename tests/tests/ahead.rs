//! Content that goes ahead of the replies to MAIL and RCPT.

use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::model::{Verdict, verdicts_of};
use smtp_proto::{Chunking, Config, Event, Stage, State};

/// Octets of a full chunk with the least buffer, its command included.
const FIRST_CHUNK: usize = "BDAT 512\r\n".len() + 512;

/// A connection whose content goes ahead of the replies to MAIL and RCPT.
fn ahead(configure: impl FnOnce(&mut Config)) -> Lab {
    let mut config = smtp();
    config.chunking = Chunking::Ahead;
    configure(&mut config);
    Lab::ready(config, &["PIPELINING", "CHUNKING"])
}

// C-84, C-81: content of several chunks. The first does not wait for the recipients. If they turn out to be nobody it is
// finished, or taken back if nothing of it has left, and RSET comes when all is answered; else the rest follows.
#[test]
fn a_chunk_ahead_of_the_recipients() {
    for (gone, accepted) in [(0, false), (1, false), (FIRST_CHUNK, false), (FIRST_CHUNK, true)] {
        let mut lab = ahead(|config| config.body_buffer = 1024);
        lab.connection.begin(transaction(2)).unwrap();
        let envelope =
            lab.transmits("MAIL FROM:<me@client.example>\r\n".len() + 2 * "RCPT TO:<r0@x.example>\r\n".len());
        assert!(envelope.ends_with(b"RCPT TO:<r1@x.example>\r\n"), "{envelope:?}");
        for _ in 0..2 {
            assert_eq!(lab.connection.body().unwrap().write(&[b'x'; 512]).unwrap(), 512);
        }
        assert_eq!(lab.connection.body().unwrap().write(b"y").unwrap(), 0);
        assert_eq!(lab.transmits(gone).len(), gone);
        assert_eq!(lab.connection.body().unwrap().write(b"y").unwrap(), 0);
        lab.hear("250 ok\r\n550 no\r\n");
        assert!(lab.connection.body().is_some());
        assert_eq!(lab.connection.poll_transmit().map_or(0, |out| out.len()), FIRST_CHUNK - gone);
        if accepted {
            lab.hear("250 ok\r\n");
            assert_eq!(lab.says().len(), FIRST_CHUNK);
            lab.hear("250 ok\r\n250 ok\r\n");
            assert_eq!(lab.pours(b""), b"BDAT 0 LAST\r\n");
            lab.hear("250 queued\r\n");
            assert!(matches!(lab.events().last(), Some(Event::Completed(report)) if report.refused().count() == 1));
            continue;
        }
        lab.hear("550 no\r\n");
        assert!(lab.connection.body().is_none());
        if gone > 0 {
            assert_eq!(lab.says().len(), FIRST_CHUNK - gone);
            lab.hear("503 no\r\n");
        }
        assert_eq!(lab.says(), "RSET\r\n");
        lab.hear("250 ok\r\n");
        assert!(matches!(lab.events().last(), Some(Event::Completed(report)) if report.refused().count() == 2));
        assert_eq!(lab.connection.state(), State::Ready);
    }
}

// C-84, C-72: several messages in one flight. RSET stands between them where it is not known whether the one before left the
// server a sender; each reply finds its own message.
#[test]
fn messages_ahead_in_flight() {
    let mut lab = ahead(|config| config.transaction_window = 3);
    for _ in 0..3 {
        lab.connection.begin(transaction(1)).unwrap();
        let mut body = lab.connection.body().unwrap();
        assert_eq!(body.write(b"hello\r\n").unwrap(), 7);
        body.finish().unwrap();
    }
    assert!(!lab.connection.can_begin());
    let one = "MAIL FROM:<me@client.example>\r\nRCPT TO:<r0@x.example>\r\nBDAT 7 LAST\r\nhello\r\n";
    assert_eq!(lab.says(), [one, one, one].join("RSET\r\n"));
    lab.hear("250 ok\r\n550 no\r\n554 nobody\r\n");
    assert_eq!(lab.says(), "", "RSET is on its way");
    lab.hear("250 reset\r\n250 ok\r\n250 ok\r\n250 queued\r\n");
    // The second one's end is known, and it was for somebody.
    lab.hear("250 reset\r\n250 ok\r\n250 ok\r\n");
    lab.connection.begin(transaction(1)).unwrap();
    lab.pours(b"");
    lab.hear("451 later\r\n250 ok\r\n250 ok\r\n250 queued\r\n");
    let reports = lab.events().into_iter().filter_map(|event| match event {
        Event::Completed(report) => Some(verdicts_of(&report)),
        _ => None,
    });
    assert_eq!(
        reports.collect::<Vec<_>>(),
        [
            [Verdict::Refused(Stage::Rcpt, 550)],
            [Verdict::Accepted(250)],
            [Verdict::Refused(Stage::Content, 451)],
            [Verdict::Accepted(250)],
        ]
    );
    assert_eq!(lab.connection.state(), State::Ready);
}

// of messages that left in full in one flight each that was not answered is in doubt, and so is each recipient
// that was not; a RSET that is refused ends it all.
#[test]
fn messages_ahead_and_a_line_that_breaks() {
    for (replies, expected) in [
        ("", [vec![Verdict::InDoubt; 2], vec![Verdict::InDoubt; 2]]),
        (
            "250 ok\r\n550 no\r\n",
            [vec![Verdict::Refused(Stage::Rcpt, 550), Verdict::InDoubt], vec![Verdict::InDoubt; 2]],
        ),
        ("550 no\r\n", [vec![Verdict::Refused(Stage::Mail, 550); 2], vec![Verdict::InDoubt; 2]]),
        ("250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n", [vec![Verdict::Accepted(250); 2], vec![Verdict::InDoubt; 2]]),
        (
            "250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n500 RSET?\r\n",
            [vec![Verdict::Accepted(250); 2], vec![Verdict::InDoubt; 2]],
        ),
    ] {
        let mut lab = ahead(|config| config.transaction_window = 2);
        for _ in 0..2 {
            lab.connection.begin(transaction(2)).unwrap();
            lab.connection.body().unwrap().finish().unwrap();
        }
        assert_eq!(lab.says().matches("BDAT 0 LAST").count(), 2);
        lab.hear(replies);
        lab.connection.handle_eof();
        let events = lab.events();
        let reports = events.iter().filter_map(|event| match event {
            Event::Completed(report) => Some(verdicts_of(report)),
            _ => None,
        });
        assert_eq!(reports.collect::<Vec<_>>(), expected, "{replies:?}");
    }
}
