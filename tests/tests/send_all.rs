//! Many messages, several under way at a time, by both drivers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use smtp_conformance::lab::smtp;
use smtp_driver::Error;
use smtp_proto::{
    BodyType, Chunking, Config, ForwardPath, Outcome, Report, ReversePath, Security, Setup, TlsPolicy, Transaction,
};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::Stream;

/// A server that takes messages to anybody but `nobody`, and does not take any number of them.
#[derive(Clone, Copy)]
struct Server {
    announces: &'static str,
    /// It closes the stream instead of answering the content of the message behind so many.
    messages: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self { announces: " SIZE 1000", messages: usize::MAX }
    }
}

/// What a server has seen.
#[derive(Debug, Default)]
struct Seen {
    contents: Vec<Vec<u8>>,
    /// How many times it had to wait for octets between the hello and the end.
    waits: usize,
}

/// Counts the reads.
struct Counted(UnixStream, usize);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        self.0.read(buffer)
    }
}

impl Server {
    fn serve(self) -> (UnixStream, JoinHandle<Seen>) {
        let (client, server) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || {
            let mut reader = BufReader::with_capacity(1 << 20, Counted(server, 0));
            let mut seen = Seen::default();
            // However the client ends.
            let _ = self.session(&mut reader, &mut seen);
            seen.waits = reader.get_ref().1;
            seen
        });
        (client, serving)
    }

    /// Answers go out once there is nothing left to read, as a server does that understands pipelining.
    fn session(self, reader: &mut BufReader<Counted>, seen: &mut Seen) -> io::Result<()> {
        reader.get_mut().0.write_all(b"220 hi\r\n")?;
        let (mut line, mut answers, mut taken) = (String::new(), String::new(), 0);
        let mut content = Vec::new();
        loop {
            if reader.buffer().is_empty() {
                reader.get_mut().0.write_all(answers.as_bytes())?;
                answers.clear();
            }
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut whole = false;
            match line.trim_end().split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    answers += &format!("250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250{}\r\n", self.announces);
                    reader.get_mut().1 = 0;
                }
                "MAIL" => {
                    taken = 0;
                    content.clear();
                    answers += "250 ok\r\n";
                }
                "RCPT" if line.contains("nobody") => answers += "550 5.1.1 unknown\r\n",
                "RCPT" => {
                    taken += 1;
                    answers += "250 ok\r\n";
                }
                "DATA" if taken == 0 => answers += "554 5.5.1 nobody\r\n",
                "DATA" => {
                    reader.get_mut().0.write_all((answers.clone() + "354 go\r\n").as_bytes())?;
                    answers.clear();
                    while {
                        line.clear();
                        reader.read_line(&mut line)? > 0 && line != ".\r\n"
                    } {
                        content.extend_from_slice(line.as_bytes());
                    }
                    whole = line == ".\r\n";
                }
                "BDAT" => {
                    let length = line.split_whitespace().nth(1).and_then(|length| length.parse().ok()).unwrap();
                    let mut chunk = vec![0; length];
                    reader.read_exact(&mut chunk)?;
                    content.append(&mut chunk);
                    whole = line.contains("LAST") && taken > 0;
                    match (taken, whole) {
                        (0, _) => answers += "554 5.5.1 nobody\r\n",
                        (_, false) => answers += "250 ok\r\n",
                        _ => {}
                    }
                }
                "RSET" => {
                    taken = 0;
                    answers += "250 ok\r\n";
                }
                _ => return Ok(()),
            }
            if whole && seen.contents.len() == self.messages {
                return reader.get_mut().0.write_all(answers.as_bytes());
            }
            if whole {
                seen.contents.push(std::mem::take(&mut content));
                answers += &format!("250 ok {}\r\n", seen.contents.len());
            }
        }
    }
}

/// Content is a message or what happens instead of one.
#[derive(Clone)]
struct Letter {
    to: &'static str,
    content: Vec<u8>,
    declared: u64,
    /// Reading it fails at its end.
    unreadable: bool,
}

fn letter(to: &'static str, number: usize) -> Letter {
    let content = format!("Subject: {number}\r\n\r\n.hello\r\n").into_bytes();
    Letter { to, declared: content.len() as u64, content, unreadable: false }
}

fn letters(count: usize) -> Vec<Letter> {
    (1..=count).map(|number| letter("you", number)).collect()
}

/// A message that can be read in either way.
struct Reader {
    content: Vec<u8>,
    taken: usize,
    unreadable: bool,
}

impl Read for Reader {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &self.content[self.taken..] {
            [] if self.unreadable => Err(io::Error::other("gone")),
            rest => Ok(rest),
        }
    }

    fn consume(&mut self, taken: usize) {
        self.taken += taken;
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl AsyncBufRead for Reader {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(self.get_mut().fill_buf())
    }

    fn consume(self: Pin<&mut Self>, taken: usize) {
        BufRead::consume(self.get_mut(), taken);
    }
}

impl Letter {
    fn transaction(self) -> (Transaction, Reader) {
        let to = ForwardPath::parse(&format!("{}@example.net", self.to)).unwrap();
        let transaction = Transaction::new(ReversePath::parse("me@example.org").unwrap()).to(to);
        let transaction = transaction.size(self.declared).body_type(BodyType::SevenBit);
        (transaction, Reader { content: self.content, taken: 0, unreadable: self.unreadable })
    }
}

fn told(result: &Result<Report, Error>) -> String {
    let report = match result {
        Ok(report) => Some(report),
        Err(error) => error.report(),
    };
    let outcome = report.and_then(|report| report.recipients().next()).map(|(_, outcome)| match outcome {
        Outcome::Accepted(reply) => reply.to_string(),
        Outcome::Refused { reply, .. } => reply.to_string(),
        Outcome::NotSent => "not sent".into(),
        _ => "in doubt".into(),
    });
    match (result, outcome) {
        (Ok(_), Some(outcome)) => outcome,
        (Err(_), Some(outcome)) => format!("! {outcome}"),
        (result, None) => format!("! {:?}", result.as_ref().err().map(ToString::to_string)),
    }
}

#[derive(Debug)]
struct Run {
    results: Vec<String>,
    /// Messages that were not taken.
    left: usize,
    /// The results of going on in the same session.
    again: Vec<String>,
    seen: Seen,
}

/// The same by each driver.
fn runs(server: Server, config: &Config, letters: &[Letter]) -> [Run; 2] {
    let blocking = {
        let (stream, serving) = server.serve();
        let setup = Setup::new(TlsPolicy::None, None);
        let mut client = smtp_blocking::Client::start(stream, Security::Plaintext, config.clone(), setup).unwrap();
        let mut messages = letters.iter().cloned().map(Letter::transaction);
        let results = client.send_all(&mut messages).map(|result| told(&result)).collect();
        let left = messages.count();
        let again = client.send_all([letter("you", 0).transaction()]).map(|result| told(&result)).collect();
        drop(client);
        Run { results, left, again, seen: serving.join().unwrap() }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tokio = runtime.block_on(async {
        let (stream, serving) = server.serve();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let setup = Setup::new(TlsPolicy::None, None);
        let started = smtp_tokio::Client::start(stream, Security::Plaintext, config.clone(), setup);
        let mut client = started.await.unwrap();
        let mut messages = tokio_stream::iter(letters.iter().cloned().map(Letter::transaction));
        let mut results = Vec::new();
        let mut sending = client.send_all(&mut messages).await;
        while let Some(result) = sending.next().await {
            results.push(told(&result));
        }
        let mut left = 0;
        while std::future::poll_fn(|cx| Pin::new(&mut messages).poll_next(cx)).await.is_some() {
            left += 1;
        }
        let mut again = Vec::new();
        let mut sending = client.send_all(tokio_stream::iter([letter("you", 0).transaction()])).await;
        while let Some(result) = sending.next().await {
            again.push(told(&result));
        }
        drop(client);
        Run { results, left, again, seen: serving.join().unwrap() }
    });
    [blocking, tokio]
}

fn config(window: usize, chunking: Chunking) -> Config {
    let mut config = smtp();
    (config.transaction_window, config.chunking) = (window, chunking);
    config
}

const ALL: [Chunking; 3] = [Chunking::Needed, Chunking::Prefer, Chunking::Ahead];

// R-01, P-10, P-22: each message has one result, in the order given, and the server has each once, whatever the window and
// however content is sent; with a window and BDAT ahead, several go in one flight.
#[test]
fn results_come_in_order() {
    let expected: Vec<_> = (1..=40).map(|number| format!("250 ok {number}")).collect();
    for chunking in ALL {
        for window in [1, 2, 16, 100] {
            for run in runs(Server::default(), &config(window, chunking), &letters(40)) {
                assert_eq!((&run.results, run.left, &run.again[..]), (&expected, 0, &["250 ok 41".to_owned()][..]));
                let sent: Vec<_> = run.seen.contents.iter().map(|content| String::from_utf8_lossy(content)).collect();
                for (number, content) in (1..=40).zip(&sent) {
                    assert_eq!(*content, format!("Subject: {number}\r\n\r\n{}hello\r\n", dots(chunking)));
                }
                if chunking == Chunking::Ahead {
                    // One more for the last message, one for the end.
                    let flights = 40usize.div_ceil(window);
                    assert!(run.seen.waits <= 2 * flights + 4, "{} reads for {flights} flights", run.seen.waits);
                }
            }
        }
    }
}

/// What comes before the text: the server of this test does not take the doubled dot away.
fn dots(chunking: Chunking) -> &'static str {
    if chunking == Chunking::Needed { ".." } else { "." }
}

// C-55, P-10: what is refused, by the server or before anything is sent, has its place among the others.
#[test]
fn refusals_have_their_place() {
    let mut letters = letters(6);
    letters[1].to = "nobody";
    letters[3].declared = 1001;
    letters[4].to = "nobody";
    for chunking in ALL {
        for window in [1, 3, 16] {
            for run in runs(Server::default(), &config(window, chunking), &letters) {
                let too_large = "! Some(\"the message is larger than the 1000 octets the server takes\")";
                let nobody = "! 550 5.1.1 unknown";
                assert_eq!(run.results, ["250 ok 1", nobody, "250 ok 2", too_large, nobody, "250 ok 3"]);
                assert_eq!((run.left, &run.again[..]), (0, &["250 ok 4".to_owned()][..]));
            }
        }
    }
}

// R-03, P-12: when the stream ends, what was answered is accepted, what had left in full is in doubt, and what was not taken
// from the iterator is still in it.
#[test]
fn a_stream_that_ends() {
    let server = Server { messages: 5, ..Server::default() };
    for chunking in ALL {
        for window in [1, 4, 16] {
            for run in runs(server, &config(window, chunking), &letters(40)) {
                let (answered, rest) = run.results.split_at(5);
                assert_eq!(answered, ["250 ok 1", "250 ok 2", "250 ok 3", "250 ok 4", "250 ok 5"]);
                assert_eq!(rest[0], "! in doubt", "{chunking:?} {window} {rest:?}");
                assert!(rest.iter().all(|outcome| ["! in doubt", "! not sent"].contains(&outcome.as_str())));
                assert!((1..=window).contains(&rest.len()), "{chunking:?} {window} {rest:?}");
                assert_eq!(run.results.len() + run.left, 40);
                assert_eq!(run.seen.contents.len(), 5);
                assert_eq!(run.again.len(), 1);
                assert!(run.again[0].starts_with("! "), "{:?}", run.again);
            }
        }
    }
}

// C-99: a server that takes so many messages in a session is sent no more, and the rest is left.
#[test]
fn a_server_that_takes_no_more() {
    let server = Server { announces: " LIMITS MAILMAX=3", ..Server::default() };
    for window in [1, 2, 16] {
        for run in runs(server, &config(window, Chunking::Ahead), &letters(10)) {
            assert_eq!(run.results, ["250 ok 1", "250 ok 2", "250 ok 3"]);
            assert_eq!(run.left, 7);
            let [again] = &run.again[..] else { panic!("{:?}", run.again) };
            assert!(again.contains("the server takes 3 messages a session"), "{again}");
        }
    }
}

// R-03, C-41: a message that cannot be read, or may not be sent, ends the connection; those before it are in doubt or
// answered, and nobody gets it.
#[test]
fn a_message_that_cannot_be_read() {
    let (mut unreadable, mut unfit) = (letter("you", 3), letter("you", 3));
    unreadable.unreadable = true;
    unfit.content = b"caf\xe9\r\n".to_vec();
    for bad in [unreadable, unfit] {
        for chunking in ALL {
            for window in [1, 2, 16] {
                let mut letters = letters(10);
                letters[2] = bad.clone();
                for run in runs(Server::default(), &config(window, chunking), &letters) {
                    assert_eq!(run.results.len(), 3, "{chunking:?} {window} {run:?}");
                    assert_eq!((&run.results[2][..], run.left), ("! not sent", 7), "{run:?}");
                    for (number, before) in (1..).zip(&run.results[..2]) {
                        let answered = format!("250 ok {number}");
                        let known = [answered.as_str(), "! in doubt", "! not sent"].contains(&before.as_str());
                        assert!(known, "{chunking:?} {window} {run:?}");
                    }
                    assert!(run.seen.contents.len() <= 2);
                }
            }
        }
    }
}

// P-10: no messages, no results.
#[test]
fn nothing_to_send() {
    for run in runs(Server::default(), &config(16, Chunking::Ahead), &[]) {
        assert!(run.results.is_empty());
        assert_eq!(run.again, ["250 ok 1"]);
    }
}

// C-71: where commands may not be pipelined, a window is none.
#[test]
fn a_window_needs_pipelining() {
    let mut config = config(16, Chunking::Ahead);
    config.pipelining = false;
    for run in runs(Server::default(), &config, &letters(5)) {
        assert_eq!(run.results.len(), 5);
        // The one that went on, too: MAIL, RCPT and content of each.
        assert_eq!(run.seen.contents.len(), 6);
        assert!(run.seen.waits >= 6 * 3);
    }
}

// P-12: a result that nobody waited for is given later; a stream of messages that has none yet holds back none of those it
// gave, and one that was cut off is not taken up.
#[test]
fn waiting_can_be_cancelled() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (stream, serving) = Server::default().serve();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let setup = Setup::new(TlsPolicy::None, None);
        let config = config(16, Chunking::Ahead);
        let mut client = smtp_tokio::Client::start(stream, Security::Plaintext, config, setup).await.unwrap();
        let (giver, messages) = mpsc::unbounded_channel();
        let mut sending = client.send_all(tokio_stream::wrappers::UnboundedReceiverStream::new(messages)).await;
        for number in 1..=5 {
            giver.send(letter("you", number).transaction()).unwrap();
            // Each poll is cut off at once, until there is something.
            let result = loop {
                tokio::select! {
                    biased;
                    result = sending.next() => break result,
                    () = tokio::task::yield_now() => {}
                }
            };
            assert_eq!(told(&result.unwrap()), format!("250 ok {number}"));
        }
        // The last one is on its way, and whoever waits for it goes.
        giver.send(letter("you", 6).transaction()).unwrap();
        std::future::poll_fn(|cx| {
            let _ = std::pin::pin!(sending.next()).poll(cx);
            Poll::Ready(())
        })
        .await;
        drop(sending);
        let error = client.noop().await.unwrap_err();
        assert!(error.to_string().contains("aborted"), "{error}");
        drop(client);
        assert!(matches!(serving.join().unwrap().contents.len(), 5 | 6));
    });
}
