//! Content that some receiver takes for the end of a message (SMTP smuggling), through a whole connection.

use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_proto::message::Message;
use smtp_proto::{Chunking, CloseReason, Config, Event, LineEndings, Outcome, Report};

/// What the scanner for SMTP smuggling sends in the place of CRLF dot CRLF.
const VECTORS: [&[u8]; 9] =
    [b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\0.\r\n"];

const POLICIES: [LineEndings; 3] = [LineEndings::Normalize, LineEndings::Space, LineEndings::Strict];

/// What a receiver that takes a vector for the end would obey.
const SMUGGLED: &[u8] = b"MAIL FROM:<x@y>\r\nRCPT TO:<z@y>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n";

/// Each vector at the beginning, in the middle and at the end of a message.
fn contents() -> impl Iterator<Item = (&'static [u8], Vec<u8>)> {
    VECTORS.into_iter().flat_map(|vector| {
        let places = [(&b""[..], SMUGGLED), (b"Subject: a\r\n\r\nhead", SMUGGLED), (b"Subject: a\r\n\r\nhead", b"")];
        places.map(|(before, after)| (vector, [before, vector, after].concat()))
    })
}

/// Sends `pieces` as one message. Gives what left behind DATA's or the last RCPT's reply, and the report.
fn send(config: Config, pieces: &[&[u8]]) -> (Vec<u8>, Report) {
    let chunked = config.chunking == Chunking::Prefer;
    let mut lab = Lab::ready(config, &["PIPELINING", "8BITMIME", "CHUNKING"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear(if chunked { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n250 ok\r\n354 go\r\n" });
    let mut sent = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while let Some(mut body) = lab.connection.body().filter(|_| !rest.is_empty()) {
            let Ok(taken) = body.write(rest) else { break };
            rest = &rest[taken..];
            sent.extend(lab.transmits(usize::MAX));
        }
    }
    if let Some(body) = lab.connection.body() {
        let _ = body.finish();
        sent.extend(lab.transmits(usize::MAX));
        lab.hear("250 queued\r\n");
    }
    // Whatever else it would say, QUIT included.
    sent.extend(lab.transmits(usize::MAX));
    let mut events = lab.events();
    if lab.connection.close_reason().is_some() {
        assert!(matches!(events.pop(), Some(Event::Closed(CloseReason::Aborted))));
    }
    match events.pop() {
        Some(Event::Completed(report)) => (sent, report),
        other => panic!("no report but {other:?}"),
    }
}

fn by(line_endings: LineEndings) -> Config {
    let mut config = smtp();
    config.line_endings = line_endings;
    config
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Every way of cutting `content` in two, both ends included.
fn cuts(content: &[u8]) -> impl Iterator<Item = [&[u8]; 2]> {
    (0..=content.len()).map(|cut| [&content[..cut], &content[cut..]])
}

// S-10, S-11, P-03, C-44: nine vectors, three places, every cut in two, every policy: what leaves holds none of them, and is one
// message whose terminator is its end; or the message is refused, and then no terminator leaves, and nothing else either.
#[test]
fn no_vector_gets_out() {
    let mut sessions = 0;
    for (vector, content) in contents() {
        for policy in POLICIES {
            let refused = policy == LineEndings::Strict || vector.contains(&0);
            let mut whole = None;
            for pieces in cuts(&content) {
                let (sent, report) = send(by(policy), &pieces);
                let ended = sent.ends_with(b"\r\n.\r\n");
                assert_eq!(ended, !refused, "{policy:?} {content:?}");
                assert!(!sent.starts_with(b".\r\n"));
                let (body, _) = sent.split_at(sent.len() - if ended { 3 } else { 0 });
                for smuggled in VECTORS.iter().chain([&&b"\r\n.\r\n"[..]]) {
                    assert!(!contains(body, smuggled), "{policy:?} {content:?} {smuggled:?}");
                }
                let without_pairs = String::from_utf8(sent.clone()).unwrap().replace("\r\n", "");
                assert!(!without_pairs.contains(['\r', '\n', '\0']), "{policy:?} {content:?}");
                let outcome = report.recipients().next().unwrap().1;
                match refused {
                    true => assert_eq!(*outcome, Outcome::NotSent),
                    false => assert!(outcome.is_accepted()),
                }
                // What had been encoded when a refused message was cut off depends on the pieces, and goes nowhere.
                if !refused {
                    assert_eq!(*whole.get_or_insert_with(|| sent.clone()), sent);
                }
                sessions += 1;
            }
        }
    }
    assert!(sessions > 3000, "{sessions}");
}

/// A receiver that is not strict about what ends a line.
#[derive(Clone, Copy, Debug)]
struct Lenient {
    /// What ends a line: LF, CR, or either.
    ends: &'static [u8],
    /// What it does not even see, such as NUL.
    drops: &'static [u8],
}

impl Lenient {
    /// What it takes for the first message, if that ever ends, and for commands behind it.
    fn read(self, stream: &[u8]) -> (Option<Vec<Vec<u8>>>, Vec<u8>) {
        let mut message = Vec::new();
        let mut line = Vec::new();
        let seen: Vec<u8> = stream.iter().copied().filter(|octet| !self.drops.contains(octet)).collect();
        let mut rest = &seen[..];
        while let Some((octet, after)) = rest.split_first() {
            rest = after;
            if !self.ends.contains(octet) {
                line.push(*octet);
                continue;
            }
            // The other half of CRLF belongs to the line end.
            match octet {
                b'\r' => rest = rest.strip_prefix(b"\n").unwrap_or(rest),
                _ if line.last() == Some(&b'\r') => drop(line.pop()),
                _ => {}
            }
            match std::mem::take(&mut line) {
                dot if dot == b"." => return (Some(message), rest.to_vec()),
                stuffed => message.push(stuffed.strip_prefix(b".").map(<[u8]>::to_vec).unwrap_or(stuffed)),
            }
        }
        (None, line)
    }
}

/// LF, CR or either ends a line; NUL counts, is dropped, or even CR is.
const RECEIVERS: [Lenient; 7] = [
    Lenient { ends: b"\n", drops: b"" },
    Lenient { ends: b"\r", drops: b"" },
    Lenient { ends: b"\r\n", drops: b"" },
    Lenient { ends: b"\n", drops: b"\0" },
    Lenient { ends: b"\r", drops: b"\0" },
    Lenient { ends: b"\r\n", drops: b"\0" },
    Lenient { ends: b"\n", drops: b"\r\0" },
];

// S-12: receivers that end a line at LF, at CR or at either, or do not see NUL, all read the same one message, the end of it
// where it ends; of a message that was refused they read none.
#[test]
fn every_lenient_receiver_sees_one_message() {
    for (_, content) in contents() {
        for policy in POLICIES {
            for pieces in cuts(&content) {
                let (sent, report) = send(by(policy), &pieces);
                let strict: Vec<Vec<u8>> = sent
                    .strip_suffix(b".\r\n")
                    .unwrap_or(&sent)
                    .split_inclusive(|octet| *octet == b'\n')
                    .filter_map(|line| line.strip_suffix(b"\r\n"))
                    .map(|line| line.strip_prefix(b".").unwrap_or(line).to_vec())
                    .collect();
                for receiver in RECEIVERS {
                    let (message, commands) = receiver.read(&sent);
                    if report.is_complete_success() {
                        assert_eq!(message.as_ref(), Some(&strict), "{receiver:?} {policy:?} {content:?}");
                        assert!(commands.is_empty(), "{receiver:?} {policy:?} {content:?}");
                    } else {
                        assert_eq!(message, None, "{receiver:?} {policy:?} {content:?}");
                    }
                }
            }
        }
    }
    // The receivers are as lenient as they should be: each is fooled by some vector that is sent as it is.
    for receiver in RECEIVERS {
        let fooled =
            |vector: &&[u8]| receiver.read(&[b"x", *vector, SMUGGLED, b".\r\n"].concat()).1.starts_with(b"MAIL");
        assert!(VECTORS.iter().any(fooled), "{receiver:?}");
    }
}

// S-10, C-80, C-44: by BDAT the same contents leave octet by octet, since the server counts; no octet of them is a command.
#[test]
fn chunks_carry_every_vector_as_it_is() {
    for (_, content) in contents() {
        for pieces in cuts(&content) {
            let mut config = smtp();
            config.chunking = Chunking::Prefer;
            let (sent, report) = send(config, &pieces);
            assert!(report.is_complete_success());
            let (mut rest, mut received, mut last) = (&sent[..], Vec::new(), false);
            while !rest.is_empty() {
                assert!(!last, "nothing behind the last chunk");
                let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap();
                let command = std::str::from_utf8(&rest[..end]).unwrap().strip_prefix("BDAT ").unwrap();
                last = command.ends_with(" LAST");
                let length: usize = command.trim_end_matches(" LAST").parse().unwrap();
                received.extend_from_slice(&rest[end + 2..][..length]);
                rest = &rest[end + 2 + length..];
            }
            assert!(last);
            assert_eq!(received, content);
        }
    }
}

// S-25: the core builds no header, and changes none unless it is asked for 7 bits: one that a builder was tricked into is sent as it stands, and is nothing but
// text to the envelope, encoded line ends and addresses in other fields included.
#[test]
fn headers_are_the_business_of_whoever_builds_them() {
    let content = b"From: a@x.example\r\nTo: b@x.example\r\nSubject: =?utf-8?q?x=0D=0ABcc:_c@x.example?=\r\n\
        List-Unsubscribe: <mailto:d@x.example%0D%0ABcc:%20e@x.example>\r\n\tRCPT TO:<f@x.example>\r\n\r\n\
        Bcc: g@x.example\r\n";
    let message = Message::parse(content).unwrap();
    assert_eq!(message.recipients().iter().map(|path| path.as_str()).collect::<Vec<_>>(), ["b@x.example"]);
    assert_eq!(message.content().into_cow(), &content[..]);
    let (sent, report) = send(smtp(), &[content]);
    assert!(report.is_complete_success());
    assert_eq!(sent, [&content[..], b".\r\n"].concat());
}
