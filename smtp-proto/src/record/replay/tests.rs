use alloc::format;
use alloc::string::ToString;

use super::*;
use crate::event::{CloseReason, Phase};
use crate::sasl::SaslError;

const TITLE: &str = "smtp-proto record 1\n";

/// A server that offers this, up to its reply to the hello.
fn greeted(keywords: &str) -> String {
    format!("{TITLE}0 S 220 x\\r\\n\n0 C EHLO [127.0.0.1]\\r\\n\n1 S 250-x\\r\\n250 {keywords}\\r\\n\n")
}

fn replay(record: &str) -> Result<Vec<Event>, Divergence> {
    record.parse::<Recording>().unwrap().replay()
}

// C-59, R-07: a deadline passes when the record's clock says so, be it that nothing else is in the record.
#[test]
fn deadlines_pass() {
    let record = |end| format!("{TITLE}@ timeouts.greeting 1000\n{end} .\n");
    assert_eq!(replay(&record(999)), Ok(Vec::new()));
    for end in [1000, 5000] {
        assert_eq!(replay(&record(end)), Ok([Event::Closed(CloseReason::TimedOut(Phase::Greeting))].into()));
    }
}

// C-30: what came after the stream took no more is heard.
#[test]
fn a_stream_that_takes_no_more() {
    let record = format!("{TITLE}0 S 220 x\\r\\n\n1 C EHLO [1\n1 C.\n2 S 421 busy\\r\\n\n3 S.\n");
    let events = replay(&record).unwrap();
    let [Event::Greeting(_), Event::Closed(CloseReason::ServerShutdown(reply))] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(reply.to_string(), "421 busy");
    let silent = replay(&record.replace("2 S 421 busy\\r\\n\n", "")).unwrap();
    assert_eq!(silent.last(), Some(&Event::Closed(CloseReason::Eof)));
}

// C-112: challenges that are not told are as long as they were; the caller answers, or cancels with three octets.
#[test]
fn an_authentication_by_hand() {
    let challenge = "2 S 334 \n2 S? 14\n";
    let record = greeted("AUTH X")
        + "1 C AUTH X\\r\\n\n"
        + challenge
        + "3 C? 10\n"
        + challenge
        + "4 C? 3\n5 S 501 as you wish\\r\\n\n";
    let events = replay(&record).unwrap();
    let [_, Event::Ready, Event::AuthChallenge(first), Event::AuthChallenge(second), Event::AuthFailed(failure)] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((first.expose(), second.expose()), (&[0; 9][..], &[0; 9][..]));
    assert_eq!(failure.error(), Some(SaslError::Cancelled));
}

// Where the connection does not say what the record has, the replay says where that is and what is different.
#[test]
fn divergences() {
    let ready = greeted("XCLIENT NAME");
    let burl = greeted("BURL") + "2 C BURL \n2 C? 600\n2 C \\r\\n\n";
    for (record, line, reason) in [
        (
            format!("{TITLE}0 S 220 x\\r\\n\n0 C+ 5\n"),
            3,
            "EHLO [127.0.0.1] is said where the record has <5 octets of content>",
        ),
        (
            format!("{TITLE}0 S 220 x\\r\\n\n0 C HELO [127.0.0.1]\\r\\n\n"),
            3,
            "EHLO [127.0.0.1] is said where the record has HELO [127.0.0.1]",
        ),
        (format!("{TITLE}0 C NOOP\\r\\n\n"), 2, "the connection is busy with something else"),
        (format!("{ready}2 C+ 5\n"), 5, "no content is due"),
        (format!("{ready}2 C .\\r\\n\n"), 5, "no content is due"),
        (format!("{ready}2 C? 5\n"), 5, "no challenge waits for an answer"),
        (format!("{ready}2 C XCLIENT NAME=x\\r\\n\n"), 5, "XCLIENT cannot be replayed"),
        (format!("{ready}2 C BDAT 5\\r\\n\n"), 5, "no transaction is open"),
        (format!("{ready}2 C MAIL FROM:x\\r\\n\n"), 5, "no path"),
        (
            format!("{ready}2 C MAIL FROM:<>\\r\\n\n3 S 250 ok\\r\\n\n4 C DATA\\r\\n\n"),
            7,
            "the transaction has no recipient",
        ),
        (burl, 5, "no transaction is open"),
    ] {
        let divergence = replay(&record).unwrap_err();
        assert_eq!((divergence.line, divergence.reason.as_str()), (line, reason), "{record}");
        assert_eq!(divergence.to_string(), format!("line {line}: {reason}"));
    }
}
