//! Sends messages over many connections at once, on one thread: the loop for mio, or any other edge-triggered poll.
//!
//! ```text
//! cargo run -p smtp-proto --example mio -- 127.0.0.1:25 --connections 200 --messages 5
//! ```
//!
//! `shared/pump.rs` moves the octets of one connection, `shared/mailing.rs` is the application.

#[path = "shared/job.rs"]
mod job;
#[path = "shared/mailing.rs"]
mod mailing;
#[path = "shared/pump.rs"]
mod pump;
#[path = "shared/session.rs"]
mod session;

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use smtp_proto::Time;

use crate::job::{Job, USAGE};
use crate::mailing::{Mailing, Summary};
use crate::session::Session;

fn main() -> ExitCode {
    Summary::finish(run())
}

fn run() -> Result<Summary, Box<dyn Error>> {
    let job = Job::from_arguments()?;
    let address = job.address.ok_or(USAGE)?;
    let start = Instant::now();
    let now = || Time::from_duration(start.elapsed());
    let mut poll = Poll::new()?;
    let mut ready = Events::with_capacity(256);
    let mut summary = Summary::default();
    let mut clients = HashMap::new();

    for number in 0..job.connections {
        let mut stream = TcpStream::connect(address)?;
        poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let session = Session { stream, mailing: Mailing::new(&job) };
        clients.insert(Token(number), Client { session, connected: false });
    }

    while !clients.is_empty() {
        // The nearest deadline of all. The greeting's runs from here on, so it bounds the connecting too.
        let deadlines = clients.values_mut().filter_map(|client| client.session.mailing.connection.poll_timeout(now()));
        if let Err(error) = poll.poll(&mut ready, deadlines.min()) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error.into());
            }
        }
        for event in &ready {
            if let Some(client) = clients.get_mut(&event.token()) {
                client.handle_ready(now());
            }
        }
        // Tens of thousands of connections want a heap of deadlines instead of this walk.
        clients.retain(|_, client| {
            client.session.handle_timeout(now());
            let mailing = &mut client.session.mailing;
            if mailing.is_over() {
                summary.add(std::mem::take(&mut mailing.summary));
            }
            !mailing.is_over()
        });
    }
    Ok(summary)
}

struct Client<'a> {
    session: Session<'a, TcpStream>,
    /// The stream is established; before that, reading from it would be an error.
    connected: bool,
}

impl Client<'_> {
    /// The stream may be read or written again. Which of them does not matter: all is done that can be, until the stream
    /// says that it would block, for else this event was the last.
    fn handle_ready(&mut self, now: Time) {
        if !self.connected {
            match is_connected(&self.session.stream) {
                Ok(connected) => self.connected = connected,
                Err(error) => self.session.mailing.handle_no_stream(&error),
            }
        }
        if self.connected {
            self.session.turn(now);
        }
    }
}

/// Whether a stream came to be, which an event alone does not say.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
