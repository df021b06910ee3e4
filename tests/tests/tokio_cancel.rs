//! Calls of the Tokio driver that are dropped at every poll.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use smtp_conformance::lab::{smtp, transaction};
use smtp_proto::{
    Chunking, CloseReason, CommandLine, Event, Failure, ForwardPath, Outcome, Security, Setup, TlsPolicy,
};
use smtp_tokio::{Client, Error};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::runtime::{Builder, Runtime};

const MESSAGE: &[u8] = b"hello\r\n";

/// A server at the other end of a pipe that holds one octet each way. It accepts everything.
struct Server {
    stream: DuplexStream,
    heard: Vec<u8>,
    /// How much of what it heard was looked at.
    read: usize,
    unsaid: VecDeque<u8>,
    in_content: bool,
    messages: usize,
}

impl Server {
    fn new(stream: DuplexStream) -> Self {
        let unsaid = b"220 hi\r\n".iter().copied().collect();
        Self { stream, heard: Vec::new(), read: 0, unsaid, in_content: false, messages: 0 }
    }

    /// Moves an octet each way, if that can be. Whether it could.
    fn turn(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut octet = [0];
        let mut buffer = ReadBuf::new(&mut octet);
        let read = Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer).is_ready() && !buffer.filled().is_empty();
        self.heard.extend_from_slice(buffer.filled());
        self.answer();
        let (next, _) = self.unsaid.as_slices();
        let wrote = !next.is_empty() && {
            matches!(Pin::new(&mut self.stream).poll_write(&mut cx, &next[..1]), Poll::Ready(Ok(1)))
        };
        if wrote {
            self.unsaid.pop_front();
        }
        read || wrote
    }

    fn answer(&mut self) {
        let fresh = &self.heard[self.read..];
        let reply = if self.in_content {
            let Some(_) = fresh.strip_suffix(b"\r\n.\r\n") else { return };
            self.in_content = false;
            self.messages += 1;
            "250 accepted\r\n"
        } else {
            let Some(end) = fresh.iter().position(|&octet| octet == b'\n') else { return };
            let line = String::from_utf8_lossy(&fresh[..end]).into_owned();
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["EHLO", ..] => "250-hi\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
                ["DATA"] => {
                    self.in_content = true;
                    "354 go\r\n"
                }
                ["BDAT", size, ref last @ ..] => {
                    if fresh.len() < end + 1 + size.parse::<usize>().unwrap() {
                        return;
                    }
                    self.messages += usize::from(last == ["LAST"]);
                    "250 chunk\r\n"
                }
                _ => "250 ok\r\n",
            }
        };
        self.read = self.heard.len();
        self.unsaid.extend(reply.bytes());
    }

    /// Takes everything that the client has let go of.
    fn drain(&mut self) {
        while self.turn() {}
    }
}

/// Polls `future` so often, or until it is done, and moves an octet each way after each time.
fn poll<F: Future>(future: Pin<&mut F>, server: &RefCell<Server>, polls: usize) -> Option<F::Output> {
    let mut future = future;
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        server.borrow_mut().turn();
    }
    None
}

/// Gives the clock. Nothing runs in it, for its tasks may be told to wait although there is something to do.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn finish<F: Future>(future: F, server: &RefCell<Server>) -> F::Output {
    poll(pin!(future), server, 10_000).expect("it comes to an end")
}

/// A message that comes an octet at a time, every other time one asks.
struct Hesitant(&'static [u8], bool);

impl AsyncRead for Hesitant {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let octet = ready!(self.as_mut().poll_fill_buf(cx))?;
        buffer.put_slice(octet);
        let length = octet.len();
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Hesitant {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        this.1 = !this.1;
        if this.1 { Poll::Pending } else { Poll::Ready(Ok(&this.0[..this.0.len().min(1)])) }
    }

    fn consume(mut self: Pin<&mut Self>, length: usize) {
        self.0 = &self.0[length..];
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    Ehlo,
    Helo,
    Noop,
    Reset,
    Command,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Send,
    SendSlowly,
    SendByBdat,
    Submit,
}

const VERBS: [Verb; 13] = {
    use Verb::*;
    [Ehlo, Helo, Noop, Reset, Command, Mail, Rcpt, Data, Bdat, Send, SendSlowly, SendByBdat, Submit]
};

impl Verb {
    async fn call(self, client: &mut Client<DuplexStream>) -> Result<(), Error> {
        match self {
            Self::Ehlo => client.ehlo().await.map(drop),
            Self::Helo => client.helo().await.map(drop),
            Self::Noop => client.noop().await.map(drop),
            Self::Reset => client.reset().await.map(drop),
            Self::Command => client.command(&CommandLine::help("MAIL").unwrap()).await.map(drop),
            Self::Mail => client.mail(transaction(0)).await.map(drop),
            Self::Rcpt => client.rcpt(ForwardPath::parse("r@x.example").unwrap()).await.map(drop),
            Self::Data => client.data(MESSAGE).await.map(drop),
            Self::Bdat => client.bdat(MESSAGE).await.map(drop),
            Self::Send | Self::SendByBdat => client.send(transaction(2), MESSAGE).await.map(drop),
            Self::Submit => client.submit(transaction(2), || Ok(MESSAGE)).await.map(drop),
            Self::SendSlowly => client.send(transaction(2), Hesitant(MESSAGE, false)).await.map(drop),
        }
    }

    /// What has to be said before it.
    fn before(self) -> &'static [Self] {
        match self {
            Self::Rcpt | Self::Reset => &[Self::Mail],
            Self::Data | Self::Bdat => &[Self::Mail, Self::Rcpt],
            _ => &[],
        }
    }

    /// Recipients of the transaction that it is about, once it has begun.
    fn recipients(self) -> Option<usize> {
        match self {
            Self::Mail | Self::Reset => Some(0),
            Self::Rcpt | Self::Data | Self::Bdat => Some(1),
            Self::Send | Self::SendSlowly | Self::SendByBdat | Self::Submit => Some(2),
            _ => None,
        }
    }
}

fn session(verb: Verb) -> (Client<DuplexStream>, RefCell<Server>) {
    let (ours, theirs) = duplex(1);
    let server = RefCell::new(Server::new(theirs));
    let mut config = smtp();
    if verb == Verb::SendByBdat {
        config.chunking = Chunking::Prefer;
    }
    let start = Client::start(ours, Security::Plaintext, config, Setup::new(TlsPolicy::None, None));
    let mut client = finish(start, &server).unwrap();
    for before in verb.before() {
        finish(before.call(&mut client), &server).unwrap();
    }
    // So long idle that the next call looks first whether the server has left.
    finish(tokio::time::advance(Duration::from_millis(150)), &server);
    (client, server)
}

fn aborted(result: Result<(), Error>) -> bool {
    let error = result.expect_err("the session is over");
    matches!(error.failure(), Some(Failure::Disconnected { reason: CloseReason::Aborted, report: None }))
}

// P-12, R-01, R-03, R-04, S-43: whatever call is dropped at whatever poll, the next one says that the session was aborted,
// nothing more is said, and a message is in doubt exactly if its last octet had left.
#[test]
fn every_call_at_every_poll() {
    let runtime = runtime();
    let _clock = runtime.enter();
    for verb in VERBS {
        let mut doubtful = 0;
        for polls in 0..10_000 {
            let (mut client, server) = session(verb);
            let before = server.borrow().heard.len();
            if poll(pin!(verb.call(&mut client)), &server, polls).is_some() {
                assert!(polls > 8, "{verb:?} took only {polls} polls");
                break;
            }
            server.borrow_mut().drain();
            let heard = server.borrow().heard.clone();
            // Any call may be the next one.
            let next = if polls < 2 { Verb::Noop } else { VERBS[polls % VERBS.len()] };
            let next = finish(next.call(&mut client), &server);
            // The first poll only has the runtime look whether the server has said something meanwhile.
            if polls < 2 {
                assert!(next.is_ok() && heard.len() == before, "{verb:?} had not begun");
                continue;
            }
            assert!(aborted(next), "{verb:?} after {polls} polls");
            let mut outcomes = None;
            while let Ok(event) = finish(client.next_event(), &server) {
                if let Event::Completed(report) = event {
                    assert_eq!(outcomes, None, "{verb:?} after {polls} polls");
                    outcomes = Some(report.recipients().map(|(_, outcome)| outcome.clone()).collect::<Vec<_>>());
                }
            }
            for verb in VERBS {
                assert!(aborted(finish(verb.call(&mut client), &server)), "{verb:?}");
            }
            drop(client);
            server.borrow_mut().drain();
            assert_eq!(server.borrow().heard, heard, "{verb:?} after {polls} polls");
            let complete = server.borrow().messages > 0;
            doubtful += usize::from(complete);
            let outcome = if complete { Outcome::InDoubt } else { Outcome::NotSent };
            // The answer to RSET ends the transaction, whoever hears of it.
            if verb != Verb::Reset || outcomes.is_some() {
                let expected = verb.recipients().map(|recipients| vec![outcome; recipients]);
                assert_eq!(outcomes, expected, "{verb:?} after {polls} polls");
            }
        }
        use Verb::{Bdat, Data, Send, SendByBdat, SendSlowly, Submit};
        assert_eq!(doubtful > 0, matches!(verb, Data | Bdat | Send | SendSlowly | SendByBdat | Submit), "{verb:?}");
    }
}

// P-12, R-04: who drops the client with the call leaves no more behind than what had left.
#[test]
fn every_call_dropped_with_its_client() {
    let runtime = runtime();
    let _clock = runtime.enter();
    for verb in VERBS {
        // What is said by who does not stop.
        let (mut client, server) = session(verb);
        finish(verb.call(&mut client), &server).unwrap();
        let whole = server.borrow().heard.clone();
        for polls in 0..10_000 {
            let (mut client, server) = session(verb);
            let done = poll(pin!(verb.call(&mut client)), &server, polls).is_some();
            drop(client);
            server.borrow_mut().drain();
            let server = server.into_inner();
            assert!(whole.starts_with(&server.heard), "{verb:?} after {polls} polls");
            assert!(server.messages == 0 || server.heard == whole, "{verb:?} after {polls} polls");
            if done {
                break;
            }
        }
    }
}

// P-12: a session that is given up before it began, or while it takes leave.
#[test]
fn start_and_quit_at_every_poll() {
    let runtime = runtime();
    let _clock = runtime.enter();
    for polls in 0..10_000 {
        let (ours, theirs) = duplex(1);
        let server = RefCell::new(Server::new(theirs));
        let start = Client::start(ours, Security::Plaintext, smtp(), Setup::new(TlsPolicy::None, None));
        let done = poll(pin!(start), &server, polls).is_some();
        server.borrow_mut().drain();
        assert!(b"EHLO client.example\r\n".starts_with(&server.borrow().heard[..]), "after {polls} polls");
        if done {
            assert!(polls > 50);
            break;
        }
    }
    for polls in 0..10_000 {
        let (client, server) = session(Verb::Noop);
        let before = server.borrow().heard.len();
        let result = poll(pin!(client.quit()), &server, polls);
        server.borrow_mut().drain();
        assert!(b"QUIT\r\n".starts_with(&server.borrow().heard[before..]), "after {polls} polls");
        if let Some(result) = result {
            result.unwrap();
            break;
        }
    }
}

// S-43: an answer that nobody waited for any more is not taken for the answer to the next command.
#[test]
fn an_answer_that_was_left_behind() {
    let runtime = runtime();
    let _clock = runtime.enter();
    let (mut client, server) = session(Verb::Noop);
    client.connection_mut().noop().unwrap();
    // The wait for it is cancelled.
    assert!(poll(pin!(client.next_event()), &server, 3).is_none());
    let reply = finish(client.ehlo(), &server).unwrap();
    assert_eq!(reply.lines().count(), 3, "{reply}");
}
