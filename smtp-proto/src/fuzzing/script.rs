//! A script of everything that can happen to a connection, and one run of it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::audit::Audit;
use super::{Input, spelled};
use crate::sasl::{Choice, Credentials, Secret, choose};
use crate::{
    Chunking, CloseReason, CommandLine, Connection, ContentUrl, Event, ForwardPath, OnRefusal, Outcome, Protocol,
    Reply, ReversePath, State, Time, Transaction,
};

const CODES: &[u16] = &[220, 250, 250, 251, 235, 334, 354, 354, 421, 450, 452, 500, 535, 550, 552, 554, 299, 353];

const KEYWORDS: &[&str] = &["PIPELINING", "CHUNKING", "8BITMIME", "STARTTLS", "AUTH PLAIN X-FUZZ", "BURL", "DSN"];

/// What texts are made of: after the dot that begins each, nothing that means anything to a client.
const TEXTS: &[&str] = &["a", "Z", "0", ".", "=", "<a@b>", "é", "\u{7f}"];

/// What a server says: as given, and with every text that should mean nothing made another.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    given: Vec<u8>,
    reworded: Vec<u8>,
}

/// How a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// What the server says comes octet by octet, and all is watched.
    Watched,
    /// It comes in the pieces that the script has.
    InPieces,
    /// The same with other texts.
    Reworded,
}

/// A connection, and what has happened to it.
pub(super) struct Run {
    connection: Connection,
    manner: Manner,
    audit: Audit,
    /// What the server says, in the order of the script; filled by the first run.
    pub(super) heard: Vec<Heard>,
    /// How much of it has been said.
    pub(super) place: usize,
    pub(super) now: Duration,
    begun: usize,
    completed: Vec<u64>,
    closed: bool,
    write_closed: bool,
    /// Events as they came, and without what texts say.
    pub(super) events: Vec<Event>,
    pub(super) told: Vec<String>,
    pub(super) sent: Vec<u8>,
    /// When TLS was established: how many events had come, octets had left, octets of the script and sayings were left.
    pub(super) secured: Option<Secured>,
}

/// Where a run stood when TLS was established.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secured {
    pub(super) told: usize,
    pub(super) sent: usize,
    pub(super) script: usize,
    pub(super) place: usize,
    pub(super) now: Duration,
}

impl Run {
    pub(super) fn new(connection: Connection, manner: Manner, heard: Vec<Heard>) -> Self {
        let lmtp = connection.config().protocol == Protocol::Lmtp;
        Self {
            audit: Audit::new(lmtp, connection.is_secure()),
            connection,
            manner,
            heard,
            place: 0,
            now: Duration::ZERO,
            begun: 0,
            completed: Vec::new(),
            closed: false,
            write_closed: false,
            events: Vec::new(),
            told: Vec::new(),
            sent: Vec::new(),
            secured: None,
        }
    }

    /// Does everything the script says.
    pub(super) fn play(&mut self, script: &[u8]) {
        let mut input = Input(script);
        while !input.0.is_empty() {
            let octet = input.octet();
            let argument = input.piece(usize::from(octet >> 4));
            self.now += Duration::from_secs(u64::from(octet));
            self.act(octet % 16, argument, input.0.len());
            self.look();
        }
    }

    /// Hears a greeting, of which nothing is told.
    pub(super) fn greet(&mut self) {
        self.connection.handle_input(b"220 hi\r\n", self.time());
        self.look();
        self.events.clear();
        self.told.clear();
    }

    fn time(&self) -> Time {
        Time::from_duration(self.now)
    }

    fn act(&mut self, operation: u8, argument: &[u8], left: usize) {
        let time = self.time();
        let connection = &mut self.connection;
        match operation {
            0 => self.hear(|_| Heard { given: argument.to_vec(), reworded: argument.to_vec() }),
            1 | 2 => self.hear(|_| reply(argument)),
            3 => self.hear(|_| hello(argument)),
            4 => {
                self.transmit(usize::MAX);
                self.hear(|audit| Heard { given: audit.good_reply().to_vec(), reworded: audit.good_reply().to_vec() });
            }
            5 => self.transmit(argument.len()),
            6 => self.transmit(usize::MAX),
            7 => {
                self.now += Duration::from_secs(60 * argument.len() as u64);
                self.connection.handle_timeout(self.time());
            }
            8 => self.begun += usize::from(begin(connection, argument)),
            9 if argument.is_empty() => fetch(connection),
            9 => {
                // More than a chunk, or less.
                let content = argument.repeat(if argument.len() > 11 { 50 } else { 1 });
                let _ = connection.body().map(|mut body| body.write(&content));
            }
            10 => drop(connection.body().map(crate::Body::finish)),
            11 if connection.handle_tls_established().is_ok() => self.establish(left),
            11 => drop(connection.starttls()),
            12 => self.step_by_hand(argument.len()),
            13 => authenticate(connection, argument),
            14 if argument.len() > 13 => connection.handle_eof(),
            14 if argument.len() > 11 => {
                self.write_closed = true;
                connection.handle_write_closed(time);
            }
            14 if argument.len() > 10 => connection.abort(),
            14 => drop(connection.reset()),
            _ => drop(connection.quit()),
        }
    }

    /// The server says the next thing that it has to say; in the first run it makes that up.
    fn hear(&mut self, saying: impl FnOnce(&Audit) -> Heard) {
        if self.place == self.heard.len() {
            self.heard.push(saying(&self.audit));
        }
        let Heard { given, reworded } = self.heard[self.place].clone();
        self.place += 1;
        let time = self.time();
        match self.manner {
            Manner::InPieces => self.connection.handle_input(&given, time),
            Manner::Reworded => self.connection.handle_input(&reworded, time),
            Manner::Watched => {
                for octet in given {
                    if !self.closed {
                        self.audit.heard(octet);
                    }
                    self.connection.handle_input(&[octet], time);
                    self.look();
                }
            }
        }
    }

    fn transmit(&mut self, most: usize) {
        let octets = self.connection.poll_transmit().map(|offered| offered.first(most).to_vec()).unwrap_or_default();
        assert!(octets.is_empty() || !self.closed && !self.write_closed, "octets after the end");
        self.connection.handle_transmitted(octets.len(), self.time());
        if self.manner == Manner::Watched {
            self.audit.sent(&octets);
        }
        self.sent.extend(octets);
    }

    fn establish(&mut self, script: usize) {
        assert!(self.connection.is_secure() && !self.connection.is_authenticated());
        assert_eq!(self.connection.capabilities().iter().count(), 0);
        self.audit.secure = true;
        let (told, sent, place, now) = (self.told.len(), self.sent.len(), self.place, self.now);
        self.secured = Some(Secured { told, sent, script, place, now }).filter(|_| !self.write_closed);
    }

    fn step_by_hand(&mut self, step: usize) {
        let connection = &mut self.connection;
        let Ok(path) = ForwardPath::parse("r@fuzz.example") else { return };
        let _ = match step {
            0 => connection.data(),
            1 => connection.bdat(),
            2 => connection.ehlo(),
            3 => connection.helo(),
            4 => connection.noop(),
            5 => connection.mail(Transaction::new(ReversePath::null())).map(|_| self.begun += 1),
            6 => CommandLine::vrfy("x").map_or(Ok(()), |line| connection.command(&line)),
            _ => connection.rcpt(path),
        };
    }

    /// Takes the events, and holds each against what was seen.
    pub(super) fn look(&mut self) {
        let _ = self.connection.poll_timeout(self.time());
        let mut upgrading = false;
        while let Some(event) = self.connection.poll_event() {
            assert!(!self.closed, "{event:?} after the end");
            match &event {
                Event::Completed(report) => {
                    assert!(!self.completed.contains(&report.id().get()), "reported twice");
                    self.completed.push(report.id().get());
                    if self.manner == Manner::Watched {
                        self.audit.check(report);
                    }
                }
                Event::BodyRequested { accepted, .. } => {
                    let ahead = self.connection.config().chunking == Chunking::Ahead;
                    assert!(ahead || *accepted > 0, "content for nobody");
                }
                Event::UpgradeTls => upgrading = true,
                Event::Closed(reason) => {
                    assert!(!upgrading || *reason != CloseReason::PlaintextAfterStartTls, "asked for TLS all the same");
                    self.closed = true;
                }
                _ => {}
            }
            self.told.push(without_texts(&event));
            self.events.push(event);
        }
        assert!(self.completed.len() <= self.begun);
        assert_eq!(self.closed, self.connection.state() == State::Closed);
        if self.closed {
            assert!(self.completed.len() == self.begun && self.connection.body().is_none());
            assert!(self.connection.poll_transmit().is_none() && self.connection.poll_timeout(self.time()).is_none());
        }
    }
}

/// A whole reply of one line or several.
fn reply(argument: &[u8]) -> Heard {
    let mut input = Input(argument);
    let code = CODES[input.below(CODES.len())];
    let lines = 1 + usize::from(input.octet() >> 6);
    let mut heard = Heard::default();
    for line in 1..=lines {
        let separator = if line == lines { ' ' } else { '-' };
        let text = spelled(input.piece(4), TEXTS);
        let beginning = format!("{code}{separator}.").into_bytes();
        heard.given.extend([&beginning, &*text, b"\r\n"].concat());
        heard.reworded.extend([&beginning, &*b"?".repeat(9 - text.len().min(9)), b"\r\n"].concat());
    }
    heard
}

/// A reply to a hello, or a challenge.
fn hello(argument: &[u8]) -> Heard {
    let offer = argument.first().copied().unwrap_or(1);
    let given = if offer & 128 == 128 {
        [b"334 ", &argument[1..], b"\r\n"].concat()
    } else {
        let offered = KEYWORDS.iter().enumerate().filter(|(bit, _)| offer >> bit & 1 == 1);
        let lines: String = offered.map(|(_, keyword)| format!("250-{keyword}\r\n")).collect();
        format!("250-fuzz\r\n{lines}250 x\r\n").into_bytes()
    };
    Heard { reworded: given.clone(), given }
}

fn begin(connection: &mut Connection, argument: &[u8]) -> bool {
    let Ok(path) = ForwardPath::parse("r@fuzz.example") else { return false };
    let on_refusal = if argument.len() > 7 { OnRefusal::Abort } else { OnRefusal::Continue };
    let recipients = core::iter::repeat_n(path, 1 + argument.len() % 8);
    connection.begin(Transaction::new(ReversePath::null()).to_all(recipients).on_refusal(on_refusal)).is_ok()
}

fn fetch(connection: &mut Connection) {
    let Ok(url) = ContentUrl::parse("imap://fuzz.example/x") else { return };
    let _ = connection.body().map(|mut body| body.fetch(&url));
}

fn authenticate(connection: &mut Connection, argument: &[u8]) {
    let choice = Choice { secure: connection.is_secure(), ..Choice::default() };
    match argument.len() {
        0 => drop(connection.auth_cancel()),
        1..=4 => drop(connection.auth_respond(&Secret::from(argument.to_vec()))),
        5..=9 => drop(connection.auth_manual("X-FUZZ", None)),
        _ => {
            let credentials = Credentials::password("user", "pencil").ok();
            let mechanism = credentials.and_then(|who| choose(&who, connection.capabilities(), &choice).ok());
            drop(mechanism.map(|mechanism: Box<_>| connection.auth(mechanism)));
        }
    }
}

/// An event, but for texts and for which transaction it is about.
fn without_texts(event: &Event) -> String {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Accepted(reply) => format!("accepted {}", reply.code()),
        Outcome::Refused { stage, reply, transient } => format!("refused {stage:?} {} {transient}", reply.code()),
        other => format!("{other:?}"),
    };
    match event {
        Event::Greeting(reply) => format!("greeting {}", reply.code()),
        Event::Authenticated(reply) => format!("authenticated {}", reply.code()),
        Event::AuthFailed(failure) => format!("failed {:?} {}", failure.error(), failure.reply().code()),
        Event::Recipient { index, reply, .. } => format!("recipient {index} {}", reply.code()),
        Event::BodyRequested { accepted, .. } => format!("body {accepted}"),
        Event::Completed(report) => {
            let outcomes: Vec<String> = report.recipients().map(|(_, this)| outcome(this)).collect();
            format!("completed {outcomes:?} {:?}", report.sender_refusal().map(Reply::code))
        }
        Event::Reply(reply) => format!("reply {}", reply.code()),
        Event::Closed(reason) => match (reason, reason.reply()) {
            (CloseReason::Refused { phase, reply }, _) => format!("closed: refused {phase} {}", reply.code()),
            (CloseReason::ServerShutdown(_), Some(reply)) => format!("closed: shutdown {}", reply.code()),
            (_, Some(reply)) => format!("closed: {}", reply.code()),
            (_, None) => format!("closed: {reason:?}"),
        },
        other => format!("{other:?}"),
    }
}
