//! Time, by a clock that the tests move.

use std::time::Duration;

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_proto::{Chunking, CloseReason, Event, Outcome, Phase, State, UsageError};

const SECOND: Duration = Duration::from_secs(1);

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// The wait lasts exactly `limit` and then ends the connection for `phase`.
fn expires(lab: &mut Lab, limit: Duration, phase: Phase) {
    assert_eq!(lab.sleeps(), Some(limit), "{phase}");
    lab.pass(limit - SECOND);
    assert_eq!(lab.sleeps(), Some(SECOND));
    assert!(!lab.events().iter().any(|event| matches!(event, Event::Closed(_))));
    lab.pass(SECOND);
    assert_eq!(lab.events().last(), Some(&Event::Closed(CloseReason::TimedOut(phase))));
    assert_eq!(lab.sleeps(), None, "a deadline that stays in the past would make a busy loop");
    lab.pass(limit);
    assert!(lab.events().is_empty());
}

// C-59: the greeting has five minutes, from the first moment the driver looks at the clock.
#[test]
fn the_greeting() {
    expires(&mut Lab::new(smtp()), minutes(5), Phase::Greeting);
}

// C-59
#[test]
fn the_hello() {
    let mut lab = Lab::new(smtp());
    lab.hear("220 hi\r\n");
    lab.says();
    expires(&mut lab, minutes(5), Phase::Hello);
}

// C-59
#[test]
fn a_command() {
    let mut lab = Lab::ready(smtp(), &[]);
    assert_eq!(lab.sleeps(), None, "an idle connection waits for nothing");
    lab.connection.noop().unwrap();
    lab.says();
    expires(&mut lab, minutes(5), Phase::Command);
}

// C-59: MAIL and RCPT five minutes, the go-ahead two, the reply to the content ten; each reply starts the next wait.
#[test]
fn every_step_of_a_transaction() {
    let steps: [(&str, Duration, Phase); 4] = [
        ("", minutes(5), Phase::Mail),
        ("250 ok\r\n", minutes(5), Phase::Rcpt),
        ("250 ok\r\n250 ok\r\n", minutes(2), Phase::DataInit),
        ("250 ok\r\n250 ok\r\n354 go\r\n", minutes(10), Phase::DataDone),
    ];
    for keywords in [&["PIPELINING"][..], &[]] {
        for (replies, limit, phase) in steps {
            let mut lab = Lab::ready(smtp(), keywords);
            lab.connection.begin(transaction(1)).unwrap();
            lab.says();
            for reply in replies.split_inclusive('\n') {
                lab.pass(minutes(1));
                lab.hear(reply);
                lab.says();
            }
            if phase == Phase::DataDone {
                lab.pours(b"hello\r\n");
            }
            expires(&mut lab, limit, phase);
        }
    }
}

// C-59, S-36: three minutes for each block of content, anew with every octet the transport takes.
#[test]
fn a_block_of_content() {
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(lab.sleeps(), None, "the server waits for us now");
    let mut body = lab.connection.body().unwrap();
    body.write(b"hello\r\n").unwrap();
    body.finish().unwrap();
    for _ in 0..9 {
        assert_eq!(lab.sleeps(), Some(minutes(3)));
        lab.pass(minutes(3) - SECOND);
        assert_eq!(lab.transmits(1).len(), 1);
    }
    lab.pass(minutes(3));
    assert!(
        matches!(lab.events().as_slice(), [.., Event::Completed(report), Event::Closed(CloseReason::TimedOut(Phase::DataBlock))]
        if report.recipients().all(|(_, outcome)| *outcome == Outcome::NotSent))
    );
}

// R-07, S-36: a server that sends its reply an octet at a time gains nothing.
#[test]
fn dripping_octets_do_not_stretch_a_deadline() {
    let mut lab = Lab::ready(smtp(), &[]);
    lab.connection.noop().unwrap();
    lab.says();
    assert_eq!(lab.sleeps(), Some(minutes(5)));
    for octet in b"250-a\r\n250-b\r\n250".iter().cycle().take(300) {
        lab.pass(SECOND);
        lab.hear([*octet]);
    }
    assert!(matches!(lab.events().as_slice(), [Event::Closed(_)]));
}

// octets that the transport does not take are waited for no longer than the reply to them.
#[test]
fn a_command_that_does_not_leave() {
    let mut lab = Lab::ready(smtp(), &[]);
    lab.connection.noop().unwrap();
    assert_eq!(lab.sleeps(), Some(minutes(5)));
    lab.pass(minutes(4));
    assert_eq!(lab.transmits(2), b"NO");
    lab.pass(minutes(1));
    assert_eq!(lab.events(), [Event::Closed(CloseReason::TimedOut(Phase::Command))]);
}

// C-59, C-80: a chunk that does not leave is waited for no longer than the reply to the one before it; and one that no longer
// can leave, no longer than whatever else the server has to say.
#[test]
fn a_chunk_that_does_not_leave() {
    let mut config = smtp();
    (config.chunking, config.timeouts.data_block) = (Chunking::Prefer, SECOND);
    let mut lab = Lab::ready(config, &["PIPELINING", "CHUNKING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n");
    let chunk = vec![b'x'; 16 * 1024];
    assert_eq!(lab.connection.body().unwrap().write(&chunk), Ok(chunk.len()));
    assert_eq!(lab.sleeps(), Some(SECOND), "the command of a chunk");
    assert_eq!(lab.transmits(12), b"BDAT 16384\r\n");
    assert_eq!(lab.sleeps(), Some(SECOND), "the chunk itself");
    lab.says();
    assert_eq!(lab.sleeps(), Some(minutes(10)), "its reply");
    assert_eq!(lab.connection.body().unwrap().write(&chunk), Ok(chunk.len()));
    assert_eq!(lab.sleeps(), Some(minutes(10)), "its reply, whatever is to leave behind it");
    lab.hear("250 ok\r\n");
    assert_eq!(lab.sleeps(), Some(SECOND));
    let now = lab.time();
    lab.connection.handle_write_closed(now);
    assert_eq!(lab.sleeps(), Some(5 * SECOND));
}

// C-59, C-161: in LMTP each recipient's final reply has its ten minutes.
#[test]
fn every_final_reply_has_its_own_deadline() {
    let mut lab = Lab::ready(lmtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(3)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n".repeat(4) + "354 go\r\n");
    lab.pours(b"hello\r\n");
    for _ in 0..3 {
        assert_eq!(lab.sleeps(), Some(minutes(10)));
        lab.pass(minutes(9));
        lab.hear("250 ok\r\n");
    }
    assert!(matches!(lab.events().last(), Some(Event::Completed(report)) if report.is_complete_success()));
}

// C-59, R-06: what has left in full is waited for in full, also when nothing more can leave; and nothing more is begun.
#[test]
fn a_broken_transport_does_not_shorten_the_wait_for_what_has_left() {
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    lab.pours(b"hello\r\n");
    let now = lab.time();
    lab.connection.handle_write_closed(now);
    assert_eq!(lab.sleeps(), Some(minutes(10)));
    lab.hear("250 queued\r\n");
    assert!(matches!(lab.events().last(), Some(Event::Completed(report)) if report.is_complete_success()));
    assert_eq!(lab.connection.state(), State::Busy);
    assert_eq!(lab.connection.noop(), Err(UsageError::Closed));
    assert!(!lab.connection.can_begin());
    lab.pass(5 * SECOND);
    assert_eq!(lab.events(), [Event::Closed(CloseReason::Eof)]);
}

// C-29: QUIT waits five seconds, and however it ends it is a clean end.
#[test]
fn quit_is_not_waited_for_long() {
    let mut lab = Lab::ready(smtp(), &[]);
    lab.connection.quit().unwrap();
    assert_eq!(lab.says(), "QUIT\r\n");
    assert_eq!(lab.sleeps(), Some(5 * SECOND));
    lab.pass(5 * SECOND);
    assert_eq!(lab.events(), [Event::Closed(CloseReason::Quit)]);
}

// once the transport takes no more, a reply that is due is still read, and after that whatever else the server has
// to say for five seconds.
#[test]
fn a_broken_transport_is_read_to_its_end() {
    let mut lab = Lab::ready(smtp(), &[]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    lab.says();
    let now = lab.time();
    lab.connection.handle_write_closed(now);
    assert_eq!(lab.sleeps(), Some(minutes(5)), "RCPT has left");
    assert!(lab.connection.poll_transmit().is_none());
    lab.hear("550 no\r\n");
    assert_eq!(lab.sleeps(), Some(5 * SECOND));
    lab.pass(5 * SECOND);
    let events = lab.events();
    assert!(
        matches!(events.as_slice(), [Event::Recipient { .. }, Event::Completed(report), Event::Closed(CloseReason::Eof)]
        if report.refused().count() == 1)
    );
}

// A clock that goes backwards, and calls that nobody needed, change nothing.
#[test]
fn odd_clocks_and_spurious_calls() {
    let mut lab = Lab::ready(smtp(), &[]);
    lab.pass(minutes(60));
    lab.connection.noop().unwrap();
    lab.says();
    for _ in 0..3 {
        lab.connection.handle_timeout(smtp_proto::Time::default());
        lab.connection.handle_input(b"", smtp_proto::Time::default());
        assert_eq!(lab.connection.poll_timeout(smtp_proto::Time::default()), Some(minutes(5)));
    }
    lab.hear("250 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Reply(_)]));
}
