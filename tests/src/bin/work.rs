//! What a hostile or a large input makes the core do, for a tool that counts instructions: `tests/linear.rs` has each piece of
//! work done with n and with 2n of something.

use std::hint::black_box;
use std::process::ExitCode;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Parser;
use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_conformance::sasl_server::within_tls;
use smtp_proto::message::{Message, to_seven_bit};
use smtp_proto::sasl::Secret;
use smtp_proto::{Chunking, Config, Event, ForwardPath, LineEndings, ReversePath, Submission, Transaction, xtext};

/// Does a piece of work, or without one lists all, each with what is enough to count.
#[derive(Parser)]
struct Arguments {
    /// Which one.
    work: Option<String>,
    /// How much of it.
    #[arg(default_value_t = 0)]
    count: usize,
}

/// A name, how much is enough to count, and the work.
type Work = (&'static str, usize, fn(usize));

const WORK: &[Work] = &[
    // Replies, with the limits on them lifted: endless lines, in large pieces and octet by octet, and an endless line.
    ("lines", 10_000, |n| said_to_noop(&b"250-\r\n".repeat(n), 1000)),
    ("lines-by-octets", 2_000, |n| said_to_noop(&b"250-\r\n".repeat(n), 1)),
    ("long-line", 200_000, |n| said_to_noop(&[b"250-", &*vec![b'x'; n], b"\r\n"].concat(), 100)),
    ("replies", 2_000, replies),
    ("keywords", 1_000, |n| offered(&(0..n).map(|number| format!("250-X{number} y\r\n")).collect::<String>())),
    ("mechanisms", 10_000, |n| offered(&format!("250-AUTH{}\r\n", " PLAIN".repeat(n)))),
    ("mechanism-lines", 1_000, |n| offered(&"250-AUTH X\r\n".repeat(n))),
    ("limits", 2_000, |n| offered(&format!("250-LIMITS{}\r\n", " RCPTMAX=7".repeat(n)))),
    // Content, in pieces, to a transport that takes less at a time.
    ("content", 200_000, |n| content(smtp(), &b"0123456789abcdef\r\n".repeat(n / 18))),
    ("dots", 30_000, |n| content(smtp(), &b".\r\n".repeat(n / 3))),
    ("bare-line-ends", 20_000, |n| content(smtp(), &b"\r".repeat(n))),
    ("spaces", 20_000, |n| content(space(), &b"\n".repeat(n))),
    ("chunks", 400_000, |n| content(chunked(), &vec![b'x'; n])),
    // Recipients.
    ("recipients", 500, |n| recipients(smtp(), n, "250 ok\r\n")),
    ("refused-recipients", 500, |n| recipients(smtp(), n, "550 no\r\n")),
    ("recipients-by-lmtp", 500, |n| recipients(lmtp(), n, "250 ok\r\n")),
    ("split", 200, |n| submission("RCPTMAX=1", n, |number| format!("r{number}@x.example"))),
    ("split-by-domains", 200, |n| {
        submission("RCPTMAX=1 RCPTDOMAINMAX=1", n, |number| format!("r{number}@{}.example", number % 2))
    }),
    ("domains", 500, |n| submission("RCPTDOMAINMAX=1000000", n, |number| format!("r@x{number}.example"))),
    // Messages.
    ("fields", 2_000, |n| message(&"X: y\r\n".repeat(n))),
    ("folds", 5_000, |n| message(&format!("X: y{}\r\n", "\r\n y".repeat(n)))),
    ("long-field", 100_000, |n| message(&format!("X: {}\r\n", "y".repeat(n)))),
    ("addresses", 500, |n| message(&format!("To: a@x.example{}\r\n", ",\r\n Name <b@x.example>".repeat(n)))),
    ("address-fields", 500, |n| message(&"Cc: a@x.example\r\n".repeat(n))),
    ("comments", 20_000, |n| message(&format!("To: {}{} a@x.example\r\n", "(".repeat(n), ")".repeat(n)))),
    ("groups", 5_000, |n| message(&format!("To: {} a@x.example\r\n", "g:;".repeat(n)))),
    ("quoted", 20_000, |n| message(&format!("To: \"{}\" <a@x.example>\r\n", "\\\"".repeat(n)))),
    ("words", 4_000, |n| message(&format!("To: {}<a@x.example>\r\n", "x. \"y\" ".repeat(n)))),
    ("routes", 2_000, |n| message(&format!("To: <{}:a@x.example>\r\n", vec!["@x.example"; n + 1].join(",")))),
    ("seven-bit", 20_000, |n| seven_bit(&format!("Subject: x\r\n\r\n{}", "é".repeat(n)))),
    ("parts", 500, |n| {
        let parts = "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\né\r\n".repeat(n + 1);
        seven_bit(&format!("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n"));
    }),
    // Texts of the caller's.
    ("paths", 100_000, |n| drop(black_box(ForwardPath::parse_relaxed(&format!("\"{}\"@x", "\\a".repeat(n)))))),
    ("xtext", 20_000, |n| drop(black_box(xtext::decode(&xtext::encode(&b"+=\r\n".repeat(n / 4)))))),
    // Challenges, as long as they may be.
    ("challenge", 6_000, challenge),
];

fn main() -> ExitCode {
    let Arguments { work, count } = Arguments::parse();
    let Some(name) = work else {
        WORK.iter().for_each(|(name, enough, _)| println!("{name} {enough}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, _, work)) = WORK.iter().find(|(known, ..)| *known == name) else { return ExitCode::FAILURE };
    work(count);
    ExitCode::SUCCESS
}

/// Without the limits that would end a flood early.
fn unlimited(mut config: Config) -> Config {
    let limits = &mut config.reply_limits;
    (limits.line, limits.total, limits.lines) = (usize::MAX, usize::MAX, usize::MAX);
    config
}

fn space() -> Config {
    let mut config = smtp();
    config.line_endings = LineEndings::Space;
    config
}

fn chunked() -> Config {
    let mut config = smtp();
    config.chunking = Chunking::Prefer;
    config
}

fn said_to_noop(flood: &[u8], piece: usize) {
    let mut lab = Lab::ready(unlimited(smtp()), &[]);
    lab.connection.noop().unwrap();
    lab.says();
    flood.chunks(piece).for_each(|piece| lab.hear(piece));
    lab.hear("250 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Reply(_)]));
}

fn replies(count: usize) {
    let mut lab = Lab::ready(smtp(), &[]);
    for _ in 0..count {
        lab.connection.noop().unwrap();
        lab.says();
        lab.hear("250 ok\r\n");
    }
    assert_eq!(lab.events().len(), count);
}

/// A server's offers, looked through as a session does.
fn offered(lines: &str) {
    let mut lab = Lab::new(unlimited(smtp()));
    lab.hear("220 hi\r\n");
    lab.says();
    lab.hear(format!("250-x\r\n{lines}250 STARTTLS\r\n"));
    let offered = lab.connection.capabilities();
    assert!(offered.has("STARTTLS") && offered.size_limit().is_none());
    black_box((offered.auth_mechanisms().count(), offered.limits().map(|limits| limits.iter().count())));
    assert!(lab.connection.begin(transaction(1)).is_ok());
}

fn content(config: Config, content: &[u8]) {
    let chunked = config.chunking == Chunking::Prefer;
    let mut lab = Lab::ready(config, &["PIPELINING", "CHUNKING"]);
    lab.connection.begin(transaction(1).content(content)).unwrap();
    lab.says();
    lab.hear(if chunked { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n250 ok\r\n354 go\r\n" });
    for mut piece in content.chunks(1000) {
        while !piece.is_empty() {
            let taken = lab.connection.body().unwrap().write(piece).unwrap();
            piece = &piece[taken..];
            let said = lab.transmits(if chunked { usize::MAX } else { 700 });
            let chunks = said.windows(5).filter(|window| window == b"BDAT ").count();
            (0..chunks).for_each(|_| lab.hear("250 ok\r\n"));
        }
    }
    lab.connection.body().unwrap().finish().unwrap();
    lab.says();
}

fn recipients(config: Config, count: usize, answer: &str) {
    let mut lab = Lab::ready(config, &["PIPELINING"]);
    lab.connection.begin(transaction(count + 1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n");
    for _ in 0..count {
        lab.hear(answer);
        lab.says();
    }
    lab.hear("354 go\r\n");
    lab.pours(b"hello\r\n");
    while !lab.connection.can_begin() {
        lab.hear("250 ok\r\n");
    }
    let Some(Event::Completed(report)) = lab.events().pop() else { panic!("the transaction is over") };
    assert_eq!(report.recipients().len(), count + 1);
    black_box(report.advice().count());
}

/// One message for many, a few at a time.
fn submission(limits: &str, count: usize, address: fn(usize) -> String) {
    let mut lab = Lab::ready(smtp(), &["PIPELINING", &format!("LIMITS {limits}")]);
    let recipients = (0..=count).map(|number| ForwardPath::parse(&address(number)).unwrap());
    let mut submission = Submission::new(Transaction::new(ReversePath::null()).to_all(recipients));
    while let Some(transaction) = submission.next(&lab.connection) {
        let recipients = transaction.recipients().count();
        lab.connection.begin(transaction).unwrap();
        lab.says();
        lab.hear("250 ok\r\n");
        for _ in 0..recipients {
            lab.hear("250 ok\r\n");
            lab.says();
        }
        lab.hear("354 go\r\n");
        lab.pours(b"hello\r\n");
        lab.hear("250 queued\r\n");
        let Some(Event::Completed(report)) = lab.events().pop() else { panic!("the transaction is over") };
        submission.completed(report);
    }
    assert_eq!(submission.into_report().recipients().len(), count + 1);
}

fn message(fields: &str) {
    let octets = format!("From: a@x.example\r\n{fields}Bcc: b@x.example\r\n\r\nhello\r\n");
    let message = Message::parse(octets.as_bytes()).unwrap();
    black_box((message.transaction(), message.content().into_cow()));
}

fn seven_bit(message: &str) {
    assert!(to_seven_bit(message.as_bytes()).unwrap().is_ascii());
}

fn challenge(length: usize) {
    let mut lab = within_tls(smtp(), &["AUTH X-OWN"]);
    lab.connection.auth_manual("X-OWN", None).unwrap();
    lab.says();
    let challenge = BASE64_STANDARD.encode(vec![b'x'; length]);
    lab.hear(format!("334 {challenge}\r\n"));
    lab.connection.auth_respond(&Secret::from(vec![b'y'; length])).unwrap();
    lab.says();
    let echoed = format!("{}\r\n", lab.connection.transcribe(challenge.as_bytes()));
    black_box(echoed);
}
