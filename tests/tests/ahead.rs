//! Content that goes ahead of the replies to MAIL and RCPT.

use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::model::{Verdict, verdicts_of};
use smtp_proto::{Chunking, Config, Event, Stage, State};

/// Octets of a full chunk with the least buffer, its command included.
const FIRST_CHUNK: usize = "BDAT 512\r\n".len() + 512;

const BOTH: &[&str] = &["PIPELINING", "CHUNKING"];
const ENVELOPE: usize = "MAIL FROM:<me@client.example>\r\nRCPT TO:<r0@x.example>\r\n".len();

fn lab_with(chunking: Chunking, keywords: &[&str], configure: impl FnOnce(&mut Config)) -> Lab {
    let mut config = smtp();
    config.chunking = chunking;
    configure(&mut config);
    Lab::ready(config, keywords)
}

fn reports(lab: &mut Lab) -> Vec<Vec<Verdict>> {
    let events = lab.events();
    let reports = events.iter().filter_map(|event| match event {
        Event::Completed(report) => Some(verdicts_of(report)),
        _ => None,
    });
    reports.collect()
}

/// A connection whose content goes ahead of the replies to MAIL and RCPT.
fn ahead(configure: impl FnOnce(&mut Config)) -> Lab {
    lab_with(Chunking::Ahead, BOTH, configure)
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
    assert_eq!(
        reports(&mut lab),
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
        assert_eq!(reports(&mut lab), expected, "{replies:?}");
    }
}

// R-02, C-72: A last chunk is refused while it leaves and the next transaction has begun behind it. The refusal is the first one's.
#[test]
fn early_refusal_of_a_last_chunk_with_another_transaction_behind_it() {
    for chunking in [Chunking::Prefer, Chunking::Ahead] {
        let mut lab = lab_with(chunking, BOTH, |config| config.transaction_window = 2);
        lab.connection.begin(transaction(1)).unwrap();
        if chunking == Chunking::Prefer {
            lab.says();
            lab.hear("250 ok\r\n250 ok\r\n");
        }
        let mut body = lab.connection.body().unwrap();
        assert_eq!(body.write(&[b'x'; 100]).unwrap(), 100);
        body.finish().unwrap();
        lab.transmits(if chunking == Chunking::Prefer { 50 } else { ENVELOPE + 50 });
        if chunking == Chunking::Ahead {
            lab.hear("250 ok\r\n250 ok\r\n");
        }
        lab.connection.begin(transaction(1)).unwrap();
        lab.hear("552 too big\r\n");
        // What follows, if anything, is the server's to answer, and none of it is the first one's.
        for replies in ["250 reset\r\n", "250 ok\r\n250 ok\r\n"] {
            lab.says();
            lab.hear(replies);
        }
        lab.connection.handle_eof();
        assert_eq!(reports(&mut lab), [[Verdict::Refused(Stage::Content, 552)], [Verdict::NotSent]], "{chunking:?}");
    }
}

// R-02, C-81: Before any octet of a chunk has left there is nothing a reply could be early for, and no way to tell its reply from it.
#[test]
fn a_reply_before_the_chunk_has_begun_to_leave() {
    let mut lab = lab_with(Chunking::Prefer, BOTH, |_| {});
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n");
    let mut body = lab.connection.body().unwrap();
    assert_eq!(body.write(b"hello\r\n").unwrap(), 7);
    body.finish().unwrap();
    lab.hear("451 stray\r\n");
    assert_eq!(lab.says(), "");
    assert_eq!(lab.connection.state(), State::Closed);
    assert_eq!(reports(&mut lab), [[Verdict::NotSent]]);
}

// C-84: MAIL by hand behind a message that went ahead in vain needs RSET as any other.
#[test]
fn mail_by_hand_behind_a_message_in_vain() {
    let mut lab = ahead(|config| config.transaction_window = 2);
    lab.connection.begin(transaction(1)).unwrap();
    lab.connection.body().unwrap().finish().unwrap();
    lab.says();
    lab.connection.mail(transaction(0)).unwrap();
    assert_eq!(lab.says(), "RSET\r\nMAIL FROM:<me@client.example>\r\n", "the server may hold the sender of the first");
    lab.hear("250 ok\r\n550 no\r\n554 nobody\r\n250 reset\r\n");
    assert_eq!(reports(&mut lab), [[Verdict::Refused(Stage::Rcpt, 550)]]);
    lab.hear("250 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Reply(_)]));
    assert_eq!(lab.connection.state(), State::Ready);
}

// 353 with nobody to give a verdict for may come again and again, and moves the deadline each time.
#[test]
fn verdicts_for_nobody() {
    let mut lab = lab_with(Chunking::Ahead, &["PIPELINING", "CHUNKING", "PRDR"], |_| {});
    lab.connection.begin(transaction(1).per_recipient_replies(true)).unwrap();
    lab.connection.body().unwrap().finish().unwrap();
    lab.says();
    lab.hear("250 ok\r\n550 no\r\n");
    for _ in 0..1000 {
        let wait = lab.sleeps().unwrap();
        lab.pass(wait - std::time::Duration::from_secs(1));
        lab.hear("353 verdicts\r\n");
        if lab.connection.state() == State::Closed {
            return;
        }
    }
    panic!("still waiting after {:?}", lab.time());
}

// R-03, C-84: 3yz is neither yes nor no, and the message has left in full.
#[test]
fn intermediate_replies_to_what_went_ahead() {
    for (replies, expected) in [("354 what?\r\n", Verdict::InDoubt), ("250 ok\r\n354 what?\r\n", Verdict::InDoubt)] {
        let mut lab = ahead(|_| {});
        lab.connection.begin(transaction(1)).unwrap();
        lab.connection.body().unwrap().finish().unwrap();
        lab.says();
        lab.hear(replies);
        let got = reports(&mut lab);
        assert_eq!(got, [[expected]]);
    }
}

// C-57, C-72: where a message is to be begun while replies to RCPT of the one before it are due, it may turn out to be for nobody:
// RSET goes first.
#[test]
fn a_message_behind_one_that_is_still_asking() {
    let mut lab = ahead(|config| config.transaction_window = 2);
    lab.connection.begin(transaction(2)).unwrap();
    lab.pours(b"hello\r\n");
    lab.hear("250 ok\r\n250 ok\r\n");
    lab.connection.begin(transaction(1)).unwrap();
    assert!(lab.says().starts_with("RSET\r\nMAIL FROM:"));
}
