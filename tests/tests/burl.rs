//! Content that the server fetches by itself.

use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::model::{Verdict, verdicts_of};
use smtp_proto::{Chunking, ContentUrl, Event, Extension, ForwardPath, Stage, State, UsageError};

// C-97, C-81: content in parts of which the server fetches one, with and without PIPELINING; a part that cannot be fetched
// is a chunk that was refused.
#[test]
fn content_that_the_server_fetches() {
    let url = ContentUrl::parse("imap://imap.example/a;urlauth=anonymous:internal:0f").unwrap();
    for (pipelining, refused) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut keywords = vec!["CHUNKING", "BURL"];
        keywords.extend(pipelining.then_some("PIPELINING"));
        let mut config = smtp();
        config.chunking = Chunking::Prefer;
        let mut lab = Lab::ready(config, &keywords);
        lab.connection.begin(transaction(1)).unwrap();
        while lab.connection.body().is_none() {
            let commands = lab.says().lines().count();
            lab.hear("250 ok\r\n".repeat(commands));
        }
        assert_eq!(lab.connection.body().unwrap().write(b"Subject: hi\r\n\r\n").unwrap(), 15);
        let mut said = String::new();
        while !lab.connection.body().unwrap().fetch(&url).unwrap() {
            said += &lab.says();
            lab.hear("250 ok\r\n");
        }
        assert_eq!(lab.connection.body().unwrap().write(b"-- \r\n").unwrap(), 5);
        let shown = format!("{:?}", lab.connection.poll_transmit().unwrap());
        assert!(shown.contains("BURL , <") && !shown.contains("urlauth"), "{shown}");
        if !refused {
            lab.connection.body().unwrap().finish().unwrap();
        }
        said += &lab.says();
        let (part, fetched) = ("BDAT 15\r\nSubject: hi\r\n\r\n", format!("BURL {}\r\n", url.expose()));
        let last = "BDAT 5 LAST\r\n-- \r\n";
        if refused {
            assert_eq!(said, format!("{part}{fetched}"));
            lab.hear(if pipelining { "250 ok\r\n554 5.6.6 no\r\n" } else { "554 5.6.6 no\r\n" });
            assert_eq!(lab.says(), "RSET\r\n");
            lab.hear("250 ok\r\n");
        } else if pipelining {
            assert_eq!(said, format!("{part}{fetched}{last}"));
            lab.hear("250 ok\r\n250 ok\r\n250 queued\r\n");
        } else {
            assert_eq!(said, format!("{part}{fetched}"));
            lab.hear("250 ok\r\n");
            assert_eq!(lab.says(), last);
            lab.hear("250 queued\r\n");
        }
        let report = lab.events().into_iter().find_map(|event| match event {
            Event::Completed(report) => Some(report),
            _ => None,
        });
        let verdict = if refused { Verdict::Refused(Stage::Content, 554) } else { Verdict::Accepted(250) };
        assert_eq!(verdicts_of(&report.unwrap()), [verdict]);
        assert_eq!(lab.connection.state(), State::Ready);
    }
}

// C-97: by DATA nothing is fetched, and what was written goes on.
#[test]
fn nothing_is_fetched_by_data() {
    let url = ContentUrl::parse("imap://imap.example/a").unwrap();
    for (keywords, error) in
        [(&["BURL"][..], UsageError::NeedsBdat), (&["CHUNKING"], UsageError::Missing(Extension::Burl))]
    {
        let mut lab = Lab::ready(smtp(), keywords);
        lab.connection.begin(transaction(1)).unwrap();
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            lab.says();
            lab.hear(reply);
        }
        assert_eq!(lab.connection.body().unwrap().fetch(&url), Err(error));
        assert_eq!(lab.pours(b"hello\r\n"), b"hello\r\n.\r\n");
    }
}

// S-60: a server that repeats the URL, or the token in it, is not shown, and of its reply the code counts.
#[test]
fn a_url_that_the_server_repeats() {
    let url = "imap://imap.example/a;urlauth=anonymous:internal:91354a473744909de610943775f92038";
    for said in [url, "91354a473744909de610943775f92038", "a473744909de", "imap.example"] {
        let mut lab = Lab::ready(smtp(), &["CHUNKING", "BURL"]);
        lab.connection.mail(transaction(0)).unwrap();
        lab.says();
        lab.hear("250 ok\r\n");
        lab.connection.rcpt(ForwardPath::parse("a@b.example").unwrap()).unwrap();
        lab.says();
        lab.hear("250 ok\r\n");
        lab.connection.burl(&ContentUrl::parse(url).unwrap()).unwrap();
        lab.says();
        let line = format!("554 5.6.6 cannot fetch {said}\r\n");
        let shown = lab.connection.transcribe(line.as_bytes()).to_string();
        lab.hear(&line);
        let events = format!("{:?}", lab.events());
        let harmless = said == "imap.example";
        assert_eq!((shown.contains(said), events.contains(said)), (harmless, harmless), "{shown} {events}");
        assert!(events.contains("554"));
    }
}
