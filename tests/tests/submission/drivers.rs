//! The same by both drivers.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use proptest::prelude::*;
use smtp_conformance::lab::{smtp, transaction};
use smtp_proto::{
    Advice, Failure, ForwardPath, OnRefusal, Outcome, Report, ReversePath, Security, Setup, TlsPolicy, Transaction,
    UsageError, Utf8Reason,
};

/// What a server takes.
#[derive(Clone, Debug)]
struct Server {
    /// What it says of that by LIMITS.
    announces: String,
    /// Recipients in one transaction; the next one is refused by this line.
    takes: usize,
    refusal: &'static str,
    /// Messages in one session; it shuts down at the next MAIL.
    messages: usize,
    /// Recipients whose path holds this are refused for good.
    unknown: &'static str,
}

impl Default for Server {
    fn default() -> Self {
        Self { announces: String::new(), takes: 100, refusal: "452 4.5.3 too many", messages: 100, unknown: "nobody" }
    }
}

/// The recipients of each message that the server took.
type Taken = Vec<Vec<String>>;

impl Server {
    fn serve(self) -> (UnixStream, JoinHandle<Taken>) {
        let (client, server) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || {
            let mut taken = Vec::new();
            // However the client ends.
            let _ = self.session(server, &mut taken);
            taken
        });
        (client, serving)
    }

    fn session(&self, stream: UnixStream, taken: &mut Taken) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut recipients = Vec::new();
        let mut begun = 0;
        reader.get_mut().write_all(b"220 hi\r\n")?;
        let mut line = String::new();
        while {
            line.clear();
            reader.read_line(&mut line)? > 0
        } {
            let reply = match line.trim_end().split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => format!("250-x\r\n250-PIPELINING\r\n250{}\r\n", self.announces),
                "MAIL" if begun == self.messages => {
                    return reader.get_mut().write_all(b"421 4.7.0 that was enough\r\n");
                }
                "MAIL" => {
                    begun += 1;
                    recipients = Vec::new();
                    "250 ok\r\n".into()
                }
                "RCPT" if line.contains(self.unknown) => "550 5.1.1 unknown\r\n".into(),
                "RCPT" if recipients.len() == self.takes => format!("{}\r\n", self.refusal),
                "RCPT" => {
                    recipients.push(line["RCPT TO:<".len()..].trim_end_matches(">\r\n").to_owned());
                    "250 ok\r\n".into()
                }
                "DATA" if recipients.is_empty() => "554 nobody\r\n".into(),
                "DATA" => {
                    reader.get_mut().write_all(b"354 go\r\n")?;
                    while line != ".\r\n" {
                        line.clear();
                        if reader.read_line(&mut line)? == 0 {
                            return Ok(());
                        }
                    }
                    taken.push(std::mem::take(&mut recipients));
                    "250 queued\r\n".into()
                }
                _ => "250 ok\r\n".into(),
            };
            reader.get_mut().write_all(reply.as_bytes())?;
        }
        Ok(())
    }
}

fn to(paths: &[String], on_refusal: OnRefusal) -> Transaction {
    let paths = paths.iter().map(|path| ForwardPath::parse(path).unwrap());
    Transaction::new(ReversePath::null()).to_all(paths).on_refusal(on_refusal)
}

fn in_clear() -> Setup {
    Setup::new(TlsPolicy::None, None)
}

fn by_blocking(server: Server, transaction: Transaction) -> (Result<Report, smtp_blocking::Error>, Taken) {
    let (stream, serving) = server.serve();
    let mut client = smtp_blocking::Client::start(stream, Security::Plaintext, smtp(), in_clear()).unwrap();
    let result = client.submit(transaction, || Ok(&b"Subject: hi\r\n"[..]));
    drop(client);
    (result, serving.join().unwrap())
}

fn by_tokio(server: Server, transaction: Transaction) -> (Result<Report, smtp_tokio::Error>, Taken) {
    let (stream, serving) = server.serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let mut client = smtp_tokio::Client::start(stream, Security::Plaintext, smtp(), in_clear()).await.unwrap();
        client.submit(transaction, || Ok(&b"Subject: hi\r\n"[..])).await
    });
    drop(runtime);
    (result, serving.join().unwrap())
}

fn paths(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("r{index}@d{}.example", index % 3)).collect()
}

/// The outcomes as letters: accepted, refused, not sent, in doubt.
fn letters(report: &Report) -> String {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Accepted(_) => 'a',
        Outcome::Refused { .. } => 'r',
        Outcome::NotSent => 'n',
        _ => 'd',
    };
    report.recipients().map(|(_, outcome)| letter(outcome)).collect()
}

/// By both drivers: the outcomes, and how many recipients each message had.
fn submit(server: &Server, transaction: &Transaction) -> (String, Vec<usize>) {
    let told = |report: Option<Report>, taken: &Taken| {
        (report.map(|report| letters(&report)).unwrap_or_default(), taken.iter().map(Vec::len).collect::<Vec<_>>())
    };
    let (blocking, taken) = by_blocking(server.clone(), transaction.clone());
    let blocking = told(blocking.map_or_else(|error| error.report().cloned(), Some), &taken);
    let (tokio, taken) = by_tokio(server.clone(), transaction.clone());
    assert_eq!(told(tokio.map_or_else(|error| error.report().cloned(), Some), &taken), blocking);
    blocking
}

// C-99, C-55: what the server announces and what it turns out to take decide how many transactions there are; the report is one,
// in the order given.
#[test]
fn recipients_are_split() {
    let all = to(&paths(7), OnRefusal::Continue);
    let announced = |limits: &str| Server { announces: format!(" LIMITS {limits}"), ..Server::default() };
    for (server, outcomes, sizes) in [
        (Server::default(), "aaaaaaa", vec![7]),
        (announced("RCPTMAX=3"), "aaaaaaa", vec![3, 3, 1]),
        (Server { takes: 3, ..Server::default() }, "aaaaaaa", vec![3, 3, 1]),
        (Server { takes: 3, refusal: "452 many", ..Server::default() }, "aaaaaaa", vec![3, 3, 1]),
        (Server { takes: 3, refusal: "552 5.5.3 many", ..Server::default() }, "aaaaaaa", vec![3, 3, 1]),
        // Another reason is no reason to split.
        (Server { takes: 3, refusal: "452 4.2.2 full", ..Server::default() }, "aaarrrr", vec![3]),
        (Server { takes: 3, refusal: "550 5.5.3 no", ..Server::default() }, "aaarrrr", vec![3]),
        (Server { takes: 0, ..Server::default() }, "rrrrrrr", vec![]),
        (Server { unknown: "r3", takes: 2, ..Server::default() }, "aaaraaa", vec![2, 2, 2]),
        // The session has no room for more, announced or not.
        (announced("RCPTMAX=3 MAILMAX=2"), "aaaaaan", vec![3, 3]),
        (Server { takes: 3, messages: 2, ..Server::default() }, "aaaaaar", vec![3, 3]),
        (announced("RCPTDOMAINMAX=2"), "aanaana", vec![5]),
        // Broken values are no limits.
        (announced("RCPTMAX=0 MAILMAX=x"), "aaaaaaa", vec![7]),
    ] {
        assert_eq!(submit(&server, &all), (outcomes.into(), sizes), "{server:?}");
    }
}

// C-99: all or none is not to be had in parts: it is refused, by this side where the limit is known.
#[test]
fn all_or_none_is_not_split() {
    let all = to(&paths(5), OnRefusal::Abort);
    let server = Server { takes: 3, ..Server::default() };
    let (outcomes, taken) = submit(&server, &all);
    assert!(!outcomes.contains('a') && taken.is_empty(), "{outcomes}");
    let announced = Server { announces: " LIMITS RCPTMAX=3".into(), ..Server::default() };
    let (result, taken) = by_blocking(announced, all);
    let error = result.unwrap_err();
    assert_eq!(error.failure(), Some(&Failure::Usage(UsageError::TooManyRecipients { maximum: 3 })));
    assert!(taken.is_empty());
}

// C-99: a single transaction over the limits is refused before anything is said.
#[test]
fn limits_hold_for_single_transactions() {
    let server = Server { announces: " LIMITS RCPTMAX=2 MAILMAX=1".into(), ..Server::default() };
    let (stream, serving) = server.serve();
    let mut client = smtp_blocking::Client::start(stream, Security::Plaintext, smtp(), in_clear()).unwrap();
    let mut send = |recipients| client.send(transaction(recipients), &b"hi\r\n"[..]);
    let usage = |error: smtp_blocking::Error| match error.failure() {
        Some(Failure::Usage(error)) => error.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(usage(send(3).unwrap_err()), UsageError::TooManyRecipients { maximum: 2 });
    assert!(send(2).is_ok());
    assert_eq!(usage(send(1).unwrap_err()), UsageError::MailLimit { maximum: 1 });
    assert_eq!(client.connection().transactions_left(), Some(0));
    drop(client);
    assert_eq!(serving.join().unwrap().len(), 1);
}

// C-55: whoever does not split is told by whom it would help.
#[test]
fn splitting_is_advised() {
    let server = Server { takes: 2, ..Server::default() };
    let (stream, serving) = server.serve();
    let mut client = smtp_blocking::Client::start(stream, Security::Plaintext, smtp(), in_clear()).unwrap();
    let report = client.send(to(&paths(3), OnRefusal::Continue), &b"hi\r\n"[..]).unwrap();
    let advice: Vec<_> = report.advice().map(|(path, advice)| (path.as_str().to_owned(), advice)).collect();
    assert_eq!(advice, [("r2@d2.example".to_owned(), Advice::SplitRecipients)]);
    drop(client);
    serving.join().unwrap();
}

// R-05, C-99: why a submission fails is told as by `send`: what is wrong with the message, with reading it, or with the stream; the
// report is that of all transactions. What can be known before anything is sent is known then.
#[test]
fn reasons_are_kept() {
    let server = Server { takes: 2, ..Server::default() };
    let all = to(&paths(3), OnRefusal::Continue);
    let start = |server: &Server| {
        let (stream, serving) = server.clone().serve();
        (smtp_blocking::Client::start(stream, Security::Plaintext, smtp(), in_clear()).unwrap(), serving)
    };
    let (mut client, serving) = start(&server);
    let error = client.submit(all.clone(), || Ok(&b"a\0b"[..])).unwrap_err();
    assert!(matches!(error, smtp_blocking::Error::Content { .. }) && !error.is_transient(), "{error}");
    assert_eq!(letters(error.report().unwrap()), "nnn");
    drop(client);
    assert!(serving.join().unwrap().is_empty());

    let (mut client, serving) = start(&server);
    let error = client.submit(all.clone(), || Err::<&[u8], _>(io::Error::other("disk on fire"))).unwrap_err();
    assert!(matches!(error, smtp_blocking::Error::Message { .. }), "{error}");
    drop(client);
    serving.join().unwrap();

    // After a part was accepted it is a success for those, and the others are not sent to.
    let (mut client, serving) = start(&server);
    let mut times = 0;
    let report = client.submit(all, || {
        times += 1;
        if times == 1 { Ok(&b"hi\r\n"[..]) } else { Err(io::Error::other("disk on fire")) }
    });
    assert_eq!(letters(&report.unwrap()), "aan");
    drop(client);
    serving.join().unwrap();

    // An address that this server cannot take, in a later part: nothing is sent.
    let mut odd = paths(3);
    odd.push("\u{fc}@x.example".into());
    let reason = Utf8Reason::Recipient(ForwardPath::parse(&odd[3]).unwrap());
    let announced = Server { announces: " LIMITS RCPTMAX=2".into(), ..Server::default() };
    let (result, taken) = by_blocking(announced, to(&odd, OnRefusal::Continue));
    assert_eq!(result.unwrap_err().failure(), Some(&Failure::Usage(UsageError::NeedsSmtpUtf8(reason))));
    assert!(taken.is_empty());
}

// C-99: domains count for the session, not for the message.
#[test]
fn domains_count_for_the_session() {
    let server = Server { announces: " LIMITS RCPTDOMAINMAX=1".into(), ..Server::default() };
    let (stream, serving) = server.serve();
    let mut client = smtp_blocking::Client::start(stream, Security::Plaintext, smtp(), in_clear()).unwrap();
    let one = |path: &str| to(&[path.to_owned()], OnRefusal::Continue);
    assert!(client.submit(one("a@one.example"), || Ok(&b"hi\r\n"[..])).is_ok());
    assert!(client.send(one("b@ONE.example"), &b"hi\r\n"[..]).is_ok());
    assert!(client.connection().is_used_up());
    let error = client.send(one("a@two.example"), &b"hi\r\n"[..]).unwrap_err();
    assert_eq!(error.failure(), Some(&Failure::Usage(UsageError::TooManyDomains { maximum: 1 })));
    assert_eq!(error.failure().and_then(Failure::advice), Some(Advice::SendAgain));
    drop(client);
    assert_eq!(serving.join().unwrap().len(), 2);
}

// C-99: whoever was too many for each transaction is not advised to be split once more.
#[test]
fn what_was_split_is_not_to_be_split() {
    // Three in the session, whatever the transactions.
    let server = Server { takes: 3, refusal: "452 4.5.3 too many", messages: 1, ..Server::default() };
    let (result, _) = by_blocking(server, to(&paths(5), OnRefusal::Continue));
    let report = result.unwrap();
    assert!(report.advice().all(|(_, advice)| advice != Advice::SplitRecipients));
    assert_eq!(report.advice().count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    // P-10, R-01: whatever the server takes, each recipient is told once what became of it, the order is the one given, and the
    // server got the message for each accepted recipient exactly once.
    #[test]
    fn nobody_is_lost_or_doubled(
        count in 1usize..30, takes in 0usize..8, messages in 0usize..6, rcpt_max in 0u32..8, domains in 0u32..4,
    ) {
        let announces = format!(" LIMITS RCPTMAX={rcpt_max} RCPTDOMAINMAX={domains}");
        let server = Server { announces, takes, messages, ..Server::default() };
        let paths = paths(count);
        let (result, taken) = by_blocking(server, to(&paths, OnRefusal::Continue));
        let report = result.as_ref().map_or_else(|error| error.report().cloned(), |report| Some(report.clone()));
        let mut taken: Vec<String> = taken.concat();
        taken.sort();
        let Some(report) = report else {
            prop_assert!(taken.is_empty());
            return Ok(());
        };
        let told: Vec<_> = report.recipients().map(|(path, _)| path.as_str().to_owned()).collect();
        prop_assert_eq!(told, paths);
        let accepted = report.recipients().filter(|(_, outcome)| outcome.is_accepted());
        let mut accepted: Vec<_> = accepted.map(|(path, _)| path.as_str().to_owned()).collect();
        accepted.sort();
        prop_assert_eq!(accepted, taken);
    }
}
