//! What a program is asked to send.

use std::error::Error;
use std::io::{self, BufRead, Read};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::thread;

use clap::{Parser, ValueEnum};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

/// The sender of every message.
pub const SENDER: &str = "me@example.org";

/// The domain of every recipient.
pub const RECIPIENT: &str = "example.net";

/// Transactions under way at a time in [`Mode::Window`].
pub const WINDOW: usize = 16;

/// Whether a program could do what it was asked for, and how many messages were accepted.
pub type Outcome = Result<usize, Box<dyn Error + Send + Sync>>;

/// Sends messages to a server and prints how many it accepted.
#[derive(Clone, Debug, Parser)]
pub struct Job {
    /// Where the server listens.
    #[arg(long)]
    pub addr: SocketAddr,
    /// Messages, over all connections.
    #[arg(long, default_value_t = 1)]
    pub messages: usize,
    /// Octets of each message.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub recipients: usize,
    /// Connections at a time.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// How many round trips a message takes, for programs that have a choice.
    #[arg(long, default_value = "pipelined")]
    pub mode: Mode,
    /// Makes up the message while it is sent, for programs that need not have it in memory.
    #[arg(long)]
    pub stream: bool,
}

/// How many round trips a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One for each command, and one for the content.
    LockStep,
    /// Two: the envelope with DATA, and the content.
    Pipelined,
    /// One, and one more for them all: the next envelope goes with the content.
    Chained,
    /// One: envelope and content by BDAT.
    Bdat,
    /// A fraction of one: [`WINDOW`] transactions at a time.
    Window,
}

impl Job {
    /// Reads the command line, has `send` send the messages, and prints how many were accepted.
    pub fn main(send: impl FnOnce(&Self) -> Outcome) -> ExitCode {
        match send(&Self::parse()) {
            Ok(accepted) => {
                println!("{accepted}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    }

    /// As [`main`](Self::main) for a program that blocks: `send` is called in a thread for each connection, with the number
    /// of messages that go over it.
    pub fn main_in_threads(send: impl Fn(&Self, usize) -> Outcome + Sync) -> ExitCode {
        Self::main(|job| {
            // A thread would only be another thing that is measured.
            if job.connections == 1 {
                return send(job, job.messages);
            }
            thread::scope(|scope| {
                let threads: Vec<_> = job
                    .shares()
                    .map(|messages| {
                        scope.spawn({
                            let send = &send;
                            move || send(job, messages)
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?).sum()
            })
        })
    }

    /// As [`main`](Self::main) for a program that does not block: `send` is called for each connection, with the number of
    /// messages that go over it. All run in this thread, as the server does with one.
    pub fn main_in_tasks<F: Future<Output = Outcome> + 'static>(send: impl Fn(Self, usize) -> F) -> ExitCode {
        Self::main(|job| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let tasks = LocalSet::new();
            let all: Vec<_> = job.shares().map(|messages| tasks.spawn_local(send(job.clone(), messages))).collect();
            tasks.block_on(&runtime, async {
                let mut accepted = 0;
                for task in all {
                    accepted += task.await??;
                }
                Ok(accepted)
            })
        })
    }

    /// How many messages go over each connection.
    pub fn shares(&self) -> impl Iterator<Item = usize> {
        let (messages, connections) = (self.messages, self.connections);
        (0..connections).map(move |number| messages / connections + usize::from(number < messages % connections))
    }

    /// The addresses of the recipients.
    pub fn to(&self) -> impl Iterator<Item = String> {
        (0..self.recipients).map(|number| format!("recipient-{number}@{RECIPIENT}"))
    }

    /// The message: a short header and lines of 76 octets, of the size that was asked for.
    pub fn content(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.size);
        // Reading what is made up here never fails.
        let _ = Content::new(self.size).read_to_end(&mut octets);
        octets
    }
}

/// A message that is made up while it is read.
#[derive(Clone, Debug)]
pub struct Content {
    /// Whole lines, over and over.
    page: Vec<u8>,
    /// Octets of `page` read already.
    read: usize,
    /// Octets not read yet, without the CRLF that ends the message.
    left: usize,
    end: &'static [u8],
}

impl Content {
    /// A message of so many octets, but no less than its header takes.
    pub fn new(size: usize) -> Self {
        let header = "Subject: one of many\r\n\r\n";
        let line = "The quick brown fox jumps over the lazy dog, and over the next one as well.\r\n";
        let page = format!("{header}{}", line.repeat(200)).into_bytes();
        Self { page, read: 0, left: size.saturating_sub(2), end: b"\r\n" }
    }
}

impl BufRead for Content {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(self.end);
        }
        if self.read == self.page.len() {
            // The header is not repeated.
            self.read = 24;
        }
        let rest = &self.page[self.read..];
        Ok(&rest[..rest.len().min(self.left)])
    }

    fn consume(&mut self, amount: usize) {
        if self.left == 0 {
            self.end = &self.end[amount..];
        } else {
            self.read += amount;
            self.left -= amount;
        }
    }
}

impl AsyncBufRead for Content {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Poll::Ready(self.get_mut().fill_buf())
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        BufRead::consume(self.get_mut(), amount);
    }
}

impl AsyncRead for Content {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.get_mut().read(buffer.initialize_unfilled())?;
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let octets = self.fill_buf()?;
        let length = octets.len().min(buffer.len());
        buffer[..length].copy_from_slice(&octets[..length]);
        BufRead::consume(self, length);
        Ok(length)
    }
}
