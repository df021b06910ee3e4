//! A bare connection on a bench: tests feed it replies and look at what it says.

use std::time::Duration;

use smtp_proto::{Config, Connection, Event, ForwardPath, HelloName, ReversePath, Security, Time, Transaction};

/// A connection, and a clock that only the test moves.
#[derive(Debug)]
pub struct Lab {
    /// The connection.
    pub connection: Connection,
    now: Duration,
}

impl Lab {
    /// A fresh connection, told nothing yet.
    pub fn new(config: Config) -> Self {
        Self { connection: Connection::new(config, Security::Plaintext), now: Duration::ZERO }
    }

    /// A connection that is ready, at a server that offers `keywords`.
    pub fn ready(config: Config, keywords: &[&str]) -> Self {
        let mut lab = Self::new(config);
        lab.hear("220 server.example\r\n");
        lab.says();
        let lines: String = keywords.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
        lab.hear(format!("250-server.example\r\n{lines}250 HELP\r\n"));
        assert!(matches!(lab.events().as_slice(), [Event::Greeting(_), Event::Ready]));
        lab
    }

    /// Octets come from the server.
    pub fn hear(&mut self, octets: impl AsRef<[u8]>) {
        let now = self.time();
        self.connection.handle_input(octets.as_ref(), now);
    }

    /// Everything the connection has to say, and the transport takes it.
    pub fn says(&mut self) -> String {
        String::from_utf8_lossy(&self.transmits(usize::MAX)).into_owned()
    }

    /// The transport takes at most `limit` octets.
    pub fn transmits(&mut self, limit: usize) -> Vec<u8> {
        let mut said = Vec::new();
        while let Some(out) = self.connection.poll_transmit().filter(|_| said.len() < limit) {
            let taken = out.len().min(limit - said.len());
            said.extend_from_slice(&out[..taken]);
            self.connection.handle_transmitted(taken, Time::from_duration(self.now));
        }
        said
    }

    /// Everything that has happened.
    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.connection.poll_event()).collect()
    }

    /// The time by the test's clock.
    pub fn time(&self) -> Time {
        Time::from_duration(self.now)
    }

    /// How long the connection would sleep.
    pub fn sleeps(&mut self) -> Option<Duration> {
        let now = self.time();
        self.connection.poll_timeout(now)
    }

    /// Time passes, and the connection is told.
    pub fn pass(&mut self, duration: Duration) {
        self.now += duration;
        let now = self.time();
        self.connection.handle_timeout(now);
    }

    /// Hands over a whole message and has the transport take it. Returns what was said.
    pub fn pours(&mut self, mut content: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        while let Some(mut body) = self.connection.body() {
            if content.is_empty() {
                body.finish().expect("the content may be sent");
                break;
            }
            let taken = body.write(content).expect("the content may be sent");
            content = &content[taken..];
            if taken == 0 {
                said.extend(self.transmits(usize::MAX));
            }
        }
        said.extend(self.transmits(usize::MAX));
        said
    }
}

/// The configuration most tests use.
pub fn smtp() -> Config {
    Config::smtp(hello_name())
}

/// The same for LMTP.
pub fn lmtp() -> Config {
    Config::lmtp(hello_name())
}

fn hello_name() -> HelloName {
    HelloName::parse("client.example").expect("a valid name")
}

/// A transaction from `me@client.example` to so many recipients `r0@x.example`, `r1@x.example`, ...
pub fn transaction(recipients: usize) -> Transaction {
    let from = ReversePath::parse("me@client.example").expect("a valid path");
    let to = |number| ForwardPath::parse(&format!("r{number}@x.example")).expect("a valid path");
    Transaction::new(from).to_all((0..recipients).map(to))
}
