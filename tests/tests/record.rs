//! Sessions that a driver wrote down, replayed.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use smtp_conformance::lab::transaction;
use smtp_driver::Options;
use smtp_proto::record::Recording;
use smtp_proto::sasl::Credentials;
use smtp_proto::{CloseReason, Event, HelloName, Outcome, Phase, Report, TlsMode, Transaction};
use tokio::runtime::Builder;

/// A file in memory.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl Write for File {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server of one session that answers each line that begins so, in turn, and is silent from then on.
fn server(dialogue: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        (&stream).write_all(b"220 mail.example\r\n").unwrap();
        for (line, reply) in dialogue {
            lines.by_ref().map_while(Result::ok).find(|said| said.starts_with(line));
            if (&stream).write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
        lines.for_each(drop);
    });
    address
}

const PASSWORD: &str = "correct horse battery staple";
const SUBJECT: &str = "Subject: nobody else's business\r\n";

/// Sends a message by either driver, and gives the record and what the application was told.
fn recorded(tokio: bool, dialogue: &'static [(&'static str, &'static str)]) -> (String, Vec<Outcome>) {
    let (file, address) = (File::default(), server(dialogue));
    let record = file.clone();
    let options = Options::smtp()
        .hello_name(HelloName::parse("me.example").unwrap())
        .tls_mode(TlsMode::None)
        .credentials(Credentials::password("user", PASSWORD).unwrap())
        .choice(|choice| choice.danger_in_clear = true)
        .timeout(Duration::from_secs(5))
        .configure(|config| config.timeouts.data_done = Duration::from_millis(700))
        .record(move || Ok(record.clone()));
    let send = |transaction: Transaction| -> Result<Report, smtp_driver::Error> {
        if !tokio {
            return smtp_blocking::Client::connect(&address, options)?.send(transaction, SUBJECT.as_bytes());
        }
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            smtp_tokio::Client::connect(&address, options).await?.send(transaction, SUBJECT.as_bytes()).await
        })
    };
    let result = send(transaction(2));
    let report = result.as_ref().unwrap_or_else(|error| error.report().expect("it was begun"));
    let outcomes = report.recipients().map(|(_, outcome)| outcome.clone()).collect();
    let text = String::from_utf8(file.0.lock().unwrap().clone()).unwrap();
    (text, outcomes)
}

const LOGIN: [(&str, &str); 2] =
    [("EHLO", "250-mail.example\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"), ("AUTH PLAIN ", "235 welcome\r\n")];

// A session that went well and one whose server fell silent behind the message come to the same, by either driver: what was
// accepted, refused and in doubt, and the deadline that passed. No password and no content is written down.
#[test]
fn sessions_are_replayed() {
    const TAKEN: &[(&str, &str)] = &[
        LOGIN[0],
        LOGIN[1],
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("RCPT", "550 5.1.1 no\r\n"),
        ("DATA", "354 go\r\n"),
        (".", "250 queued\r\n"),
    ];
    for (dialogue, silent) in [(TAKEN, false), (&TAKEN[..6], true)] {
        for tokio in [false, true] {
            let (record, outcomes) = recorded(tokio, dialogue);
            assert!(record.contains("C RCPT TO:<r0@x.example>\\r\\n") && !record.contains("business"), "{record}");
            let replayed =
                record.parse::<Recording>().unwrap().replay().unwrap_or_else(|error| panic!("{error}\n{record}"));
            let reports = replayed.iter().filter_map(|event| match event {
                Event::Completed(report) => Some(report.recipients().map(|(_, outcome)| outcome.clone()).collect()),
                _ => None,
            });
            assert_eq!(reports.collect::<Vec<Vec<_>>>(), std::slice::from_ref(&outcomes));
            assert_eq!(outcomes[0] == Outcome::InDoubt, silent);
            let end = Event::Closed(CloseReason::TimedOut(Phase::DataDone));
            assert_eq!(replayed.last() == Some(&end), silent, "{replayed:?}");
        }
    }
}

// S-60: of a password there is nothing but how long it was, in no encoding.
#[test]
fn a_record_holds_no_password() {
    const REFUSING: &[(&str, &str)] =
        &[LOGIN[0], LOGIN[1], ("MAIL", "550 no\r\n503 no\r\n503 no\r\n503 no\r\n"), ("RSET", "250 ok\r\n")];
    let (record, _) = recorded(false, REFUSING);
    assert!(record.contains("C AUTH PLAIN \n"), "{record}");
    for word in PASSWORD.split(' ').chain(["dXNlc", "AHVzZX"]) {
        assert!(!record.contains(word), "{record}");
    }
}

// A session without its record is not begun.
#[test]
fn a_record_that_cannot_be_opened() {
    let options = Options::smtp().record(|| Err::<File, _>(io::Error::other("disk full")));
    let error = smtp_blocking::Client::connect(&server(&LOGIN), options).unwrap_err();
    assert_eq!(error.to_string(), "cannot open the record: disk full");
}
