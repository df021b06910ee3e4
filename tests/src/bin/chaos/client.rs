//! An application that sends its messages with care: by a new session where one has ended, and never again to whom it may
//! have reached.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use smtp_conformance::dice::Dice;
use smtp_conformance::relay;
use smtp_driver::{Error, Options};
use smtp_proto::{Chunking, HelloName, Outcome, Report, Transaction};

use crate::letter::Letter;

/// Who moves the octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Blocking,
    Tokio,
}

/// A session of either.
enum Client {
    Blocking(smtp_blocking::Client<smtp_blocking::Transport>),
    Tokio(smtp_tokio::Client<smtp_tokio::Transport>),
}

impl Client {
    async fn connect(driver: Driver, address: &str, options: Options) -> Result<Self, Error> {
        match driver {
            Driver::Blocking => smtp_blocking::Client::connect(address, options).map(Self::Blocking),
            Driver::Tokio => smtp_tokio::Client::connect(address, options).await.map(Self::Tokio),
        }
    }

    async fn send(&mut self, transaction: Transaction, message: &[u8]) -> Result<Report, Error> {
        match self {
            Self::Blocking(client) => client.send(transaction, message),
            Self::Tokio(client) => client.send(transaction, message).await,
        }
    }

    fn is_over(&self) -> bool {
        let connection = match self {
            Self::Blocking(client) => client.connection(),
            Self::Tokio(client) => client.connection(),
        };
        connection.close_reason().is_some()
    }

    async fn quit(self) -> Result<(), Error> {
        match self {
            Self::Blocking(client) => client.quit(),
            Self::Tokio(client) => client.quit().await,
        }
    }
}

/// How messages go over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Pipelined,
    LockStep,
    /// By BDAT.
    Chunks,
    /// The same, with the first chunk ahead of the replies to RCPT.
    Ahead,
}

impl Way {
    const ALL: [Self; 4] = [Self::Pipelined, Self::LockStep, Self::Chunks, Self::Ahead];
}

/// One call of `send`, and what the application was told.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) letter: usize,
    pub(crate) way: Way,
    /// Which one of this message, from 0.
    pub(crate) number: usize,
    /// To which of the recipients, each with its outcome; without one the call did nothing.
    pub(crate) outcomes: Vec<(usize, Option<Outcome>)>,
    /// The session, and everything that was said in it since the previous call.
    pub(crate) log: Vec<String>,
}

/// What one worker did.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) attempts: Vec<Attempt>,
    /// Connections that came to no session.
    pub(crate) no_session: u64,
    /// Calls that took too long, connecting included.
    pub(crate) timeouts: u64,
    /// Recipients that were not sent to in the end.
    pub(crate) given_up: u64,
}

/// What a worker needs.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) driver: Driver,
    /// The relay's port, on loopback.
    pub(crate) port: u16,
    /// The relay's seed.
    pub(crate) network: u64,
    /// The messages' seed.
    pub(crate) seed: u64,
    /// Which messages.
    pub(crate) letters: Vec<usize>,
    /// How long it waits for anything.
    pub(crate) patience: Duration,
}

/// How often a message is sent, at most.
const ATTEMPTS: usize = 20;
/// Connections that come to no session, one after the other, before it is no longer the network's doing.
const CONNECTIONS: usize = 100;
/// How many messages one session carries, at most.
const A_SESSION: usize = 12;

impl Worker {
    pub(crate) async fn run(self) -> Work {
        let mut work = Work::default();
        let mut sessions = Sessions {
            worker: &self,
            open: None,
            count: 0,
            lines: Arc::default(),
            way: Way::Pipelined,
            name: String::new(),
        };
        for &letter in &self.letters {
            self.deliver(letter, &mut sessions, &mut work).await;
        }
        sessions.leave().await;
        work
    }

    async fn deliver(&self, letter: usize, sessions: &mut Sessions<'_>, work: &mut Work) {
        let content = Letter::new(self.seed, letter);
        let mut open: Vec<usize> = (0..content.recipients.len()).collect();
        for number in 0..ATTEMPTS {
            let client = sessions.client(work).await;
            let message = content.content(&mark(self.driver, letter, number));
            let result = client.send(content.transaction(&open), &message).await;
            let error = result.as_ref().err();
            work.timeouts += u64::from(error.is_some_and(Error::is_timeout));
            let report = result.as_ref().ok().or_else(|| error?.report());
            let outcome = |(index, &to): (usize, &usize)| {
                let (path, outcome) = report?.recipients().nth(index)?;
                (*path == content.path(to)).then(|| outcome.clone())
            };
            let outcomes: Vec<_> = open.iter().copied().zip(open.iter().enumerate().map(outcome)).collect();
            // Never again to whom it may have reached, nor to whom it was refused.
            open = outcomes.iter().filter(|(_, outcome)| is_unsent(outcome.as_ref())).map(|(to, _)| *to).collect();
            let mut log = sessions.log();
            log.extend(error.map(|error| format!("error: {error}")));
            work.attempts.push(Attempt { letter, way: sessions.way, number, outcomes, log });
            if open.is_empty() {
                return;
            }
        }
        work.given_up += open.len() as u64;
    }
}

fn is_unsent(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, None | Some(Outcome::NotSent))
}

/// By which a message is found again: which one, and by which attempt it came.
pub(crate) fn mark(driver: Driver, letter: usize, number: usize) -> String {
    format!("{}{driver}-{letter}-{number}", run())
}

/// With which the marks of this run begin: the mailboxes may hold what came of another one.
pub(crate) fn run() -> String {
    format!("chaos-{}-", std::process::id())
}

struct Sessions<'a> {
    worker: &'a Worker,
    /// The open session, and how many messages it has carried.
    open: Option<(Client, usize)>,
    /// Connections so far.
    count: u64,
    /// What was said since the log was last taken.
    lines: Arc<Mutex<Vec<String>>>,
    way: Way,
    /// What the log calls the session.
    name: String,
}

impl Sessions<'_> {
    /// The open session, or a new one.
    async fn client(&mut self, work: &mut Work) -> &mut Client {
        if self.open.as_ref().is_some_and(|(client, messages)| client.is_over() || *messages == A_SESSION) {
            self.leave().await;
        }
        let mut failures = 0;
        while self.open.is_none() {
            let address = format!("127.0.0.1:{}", self.worker.port);
            let options = self.options();
            match Client::connect(self.worker.driver, &address, options).await {
                Ok(client) => self.open = Some((client, 0)),
                Err(error) => {
                    failures += 1;
                    assert!(failures < CONNECTIONS, "no session in {failures} connections, of the last one {error}");
                    work.no_session += 1;
                    work.timeouts += u64::from(error.is_timeout());
                }
            }
        }
        let (client, messages) = self.open.as_mut().expect("there is one now");
        *messages += 1;
        client
    }

    /// What the next session is like.
    fn options(&mut self) -> Options {
        let plan = relay::Plan::new(self.worker.network, self.count);
        let way = Dice::new(self.worker.network, u64::MAX - self.count).pick(&Way::ALL);
        self.way = way;
        self.name = format!("connection {} of seed {}, {way:?}: {plan}", self.count, self.worker.network);
        self.count += 1;
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let lines = Arc::clone(&self.lines);
        Options::smtp()
            .hello_name(HelloName::parse("client.lab.test").expect("a valid name"))
            .timeout(self.worker.patience)
            .configure(|config| {
                config.pipelining = way != Way::LockStep;
                config.chunking = match way {
                    Way::Pipelined | Way::LockStep => Chunking::Needed,
                    Way::Chunks => Chunking::Prefer,
                    Way::Ahead => Chunking::Ahead,
                };
            })
            .transcript(move |line| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string()))
    }

    fn log(&mut self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        std::iter::once(self.name.clone()).chain(lines).collect()
    }

    /// Takes leave, if there is still somebody to take it of.
    async fn leave(&mut self) {
        if let Some((client, _)) = self.open.take().filter(|(client, _)| !client.is_over()) {
            // However that ends: there is no message any more that it could be about.
            let _ = client.quit().await;
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking => "blocking",
            Self::Tokio => "tokio",
        })
    }
}
