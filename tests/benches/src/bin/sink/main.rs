//! A server made for measuring clients: it takes every message, keeps none, and answers what came in one read by one write.
//!
//! It prints where it listens, and when its standard input ends, what it got: `Count` says what.

mod count;
mod session;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::count::Count;
use crate::session::Session;

/// Octets read at a time.
const READ: usize = 256 * 1024;

const LISTENER: Token = Token(0);
const INPUT: Token = Token(1);

/// Takes mail and keeps none.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Milliseconds that pass between what a client says and what it is told: the round trip of a long way.
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

/// One client.
struct Client {
    stream: TcpStream,
    session: Session,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(arguments.listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    // A waker that is dropped wakes nobody.
    let waker = Arc::new(Waker::new(poll.registry(), INPUT)?);
    let ended = Arc::clone(&waker);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.wake();
    });

    let delay = Duration::from_millis(arguments.delay);
    let (mut clients, mut next, mut count) = (HashMap::new(), 2, Count::default());
    let mut events = Events::with_capacity(256);
    let mut buffer = vec![0; READ];
    loop {
        let due = clients.values().filter_map(|client: &Client| client.session.due()).min();
        let patience = due.map(|due| due.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut clients, &mut next)?,
                INPUT => {
                    println!("{count}");
                    return Ok(());
                }
                token => {
                    let Some(client) = clients.get_mut(&token) else { continue };
                    if !client.turn(&mut buffer, event.is_read_closed(), delay, &mut count) {
                        clients.remove(&token);
                    }
                }
            }
        }
        if !delay.is_zero() {
            let now = Instant::now();
            clients.retain(|_, client| client.session.write(&mut client.stream, now).is_ok());
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    clients: &mut HashMap<Token, Client>,
    next: &mut usize,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        poll.registry().register(&mut stream, Token(*next), Interest::READABLE | Interest::WRITABLE)?;
        let mut session = Session::default();
        session.greet();
        // What the client is told at once; the delay begins with what it says.
        if session.write(&mut stream, Instant::now()).is_ok() {
            clients.insert(Token(*next), Client { stream, session });
        }
        *next += 1;
    }
}

impl Client {
    /// Does all that can be done without waiting, and tells whether the client is still there.
    /// `ended` when it says nothing more.
    fn turn(&mut self, buffer: &mut [u8], ended: bool, delay: Duration, count: &mut Count) -> bool {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.session.write(&mut self.stream, Instant::now()).is_ok();
                }
                Err(_) => return false,
            };
            let now = Instant::now();
            self.session.hear(&buffer[..length], now + delay, count);
            if self.session.write(&mut self.stream, now).is_err() {
                return false;
            }
            // Less than there was room for is all there was: another read would only say so, and cost the client time.
            if length < buffer.len() && !ended {
                return true;
            }
        }
    }
}
