//! A transcript against the bare core, in simulated time.

pub mod nonblocking;

use std::time::Duration;

use smtp_proto::record::Recorder;
use smtp_proto::{CloseReason, Connection, Event, Reply, Report, Security, Setup, State, Step, Time, UsageError};

use crate::app::{UNREADABLE, closed_line, report_lines};
use crate::peer::{Due, Peer, Pieces, random};
use crate::script::{Message, Script, Verb};

/// How a transcript is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the server's octets are cut.
    pub input: Pieces,
    /// How the transport takes the client's.
    pub output: Pieces,
    /// How the application hands over content.
    pub content: Pieces,
    /// Shuffles the order of polls and adds idle ones.
    pub polls: Option<u64>,
    /// The stream ends behind so many octets of the server's.
    pub cut_input: Option<usize>,
    /// The transport breaks behind so many octets of the client's.
    pub cut_output: Option<usize>,
    /// The loop of the examples moves the octets, over a stream that would block.
    pub readiness: Option<nonblocking::Readiness>,
    /// The session is written down.
    pub record: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            input: Pieces::Whole,
            output: Pieces::Whole,
            content: Pieces::Whole,
            polls: None,
            cut_input: None,
            cut_output: None,
            readiness: None,
            record: false,
        }
    }
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// What the client sent.
    pub sent: Vec<u8>,
    /// What the application was told, by act.
    pub told: Vec<Vec<String>>,
    /// Transactions begun.
    pub begun: usize,
    /// Every report, with how many of the server's octets had come and how many of the client's had gone by then.
    pub reports: Vec<(Report, usize, usize)>,
    /// By transaction, where in the client's octets its message ended; `usize::MAX` if it did not.
    pub terminators: Vec<usize>,
    /// What the client said too early.
    pub early: Option<String>,
    /// Whether and why the connection ended.
    pub closed: Option<CloseReason>,
    /// Whether all the server had to say was heard.
    pub heard: usize,
    /// The session, if it was to be written down.
    pub record: Option<String>,
}

/// Runs a transcript to its end, or until nothing moves any more.
pub fn run(script: &Script, plan: Plan) -> Run {
    let setup = script.setup();
    let mut config = script.config.clone();
    setup.configure(&mut config, Security::Plaintext);
    let recorder = || Recorder::new(String::new(), &config, Security::Plaintext).expect("there is room");
    Runner {
        recorder: plan.record.then(recorder),
        connection: Connection::new(config, Security::Plaintext),
        setup: Some(setup),
        peer: Peer::new(script, plan.input.clone()).cut(plan.cut_input),
        script,
        plan,
        now: Duration::ZERO,
        acts: 0,
        acting: false,
        poured: 0,
        closed_told: false,
        greeting: None,
        failed: false,
        told: Vec::new(),
        begun: 0,
        reports: Vec::new(),
        terminators: Vec::new(),
    }
    .run()
}

struct Runner<'a> {
    connection: Connection,
    recorder: Option<Recorder<String>>,
    /// Until the session is ready.
    setup: Option<Setup>,
    peer: Peer<'a>,
    script: &'a Script,
    plan: Plan,
    now: Duration,
    /// How many acts have begun.
    acts: usize,
    /// The last one is not answered yet.
    acting: bool,
    /// Octets of the message handed over.
    poured: usize,
    closed_told: bool,
    /// The greeting that XCLIENT was answered by, until hello is said again.
    greeting: Option<Reply>,
    /// There is no session, so nothing more is done or told.
    failed: bool,
    told: Vec<Vec<String>>,
    begun: usize,
    reports: Vec<(Report, usize, usize)>,
    terminators: Vec<usize>,
}

impl Runner<'_> {
    fn run(mut self) -> Run {
        self.begin_act();
        loop {
            let mut moved = false;
            let mut order = [0, 1, 2, 3];
            if let Some(seed) = &mut self.plan.polls {
                order.sort_by_key(|_| random(seed));
            }
            for step in order {
                moved |= match step {
                    0 => self.hear_events(),
                    1 if self.plan.readiness.is_some() => self.pump(),
                    _ if self.plan.readiness.is_some() => false,
                    1 => self.pour(),
                    2 => self.transmit(),
                    // What is due is heard only once nothing is left to say, as a lock-step of both sides.
                    _ => self.connection.poll_transmit().is_none() && self.receive(),
                };
                // Polling for time at any moment changes nothing. Where it is due at once, something takes long to compute.
                if self.connection.poll_timeout(self.time()) == Some(Duration::ZERO) {
                    self.connection.handle_timeout(self.time());
                    moved = true;
                }
            }
            if !moved && !self.is_woken() && !self.act() {
                break;
            }
        }
        assert!(self.connection.poll_event().is_none());
        if self.connection.state() == State::Closed {
            assert!(self.connection.poll_transmit().is_none(), "octets after the end");
        }
        Run {
            sent: self.peer.received,
            told: self.told,
            begun: self.begun,
            reports: self.reports,
            terminators: self.terminators,
            early: self.peer.early,
            closed: self.connection.close_reason().cloned(),
            heard: self.peer.sent,
            record: self.recorder.map(|mut recorder| std::mem::take(recorder.get_mut())),
        }
    }

    fn time(&self) -> Time {
        Time::from_duration(self.now)
    }

    fn tell(&mut self, line: String) {
        self.told.last_mut().expect("an act has begun").push(line);
    }

    fn begin_act(&mut self) {
        self.acts += 1;
        self.peer.acts = self.acts;
        self.acting = true;
        self.poured = 0;
        self.told.push(Vec::new());
    }

    fn verb(&self) -> &Verb {
        &self.script.acts[self.acts - 1].verb
    }

    /// Does the next thing, when the last one is answered.
    fn act(&mut self) -> bool {
        let idle = matches!(self.connection.state(), State::Ready | State::Closed | State::Upgrading);
        if self.failed || self.acting || !idle || self.acts == self.script.acts.len() {
            return false;
        }
        self.begin_act();
        let script = self.script;
        let started = match &script.acts[self.acts - 1].verb {
            Verb::Start | Verb::Wait => Ok(()),
            Verb::Send(transaction, _) => self.connection.begin(transaction.clone()).map(|_| self.begun += 1),
            Verb::Mail(transaction) => self.connection.mail(transaction.clone()).map(|_| self.begun += 1),
            Verb::Rcpt(recipient) => self.connection.rcpt(recipient.clone()),
            Verb::Data(_) => self.connection.data(),
            Verb::Bdat(_) => self.connection.bdat(),
            Verb::Burl(url) => self.connection.burl(url).map(|()| self.content_complete()),
            Verb::Ehlo => self.connection.ehlo(),
            Verb::Helo => self.connection.helo(),
            Verb::Noop => self.connection.noop(),
            Verb::Reset => self.connection.reset(),
            Verb::StartTls => self.connection.starttls(),
            Verb::Line(line) => self.connection.command(line),
            Verb::XClient(client) => self.connection.xclient(client),
            Verb::Quit => self.connection.quit(),
        };
        match started {
            Ok(()) => self.acting = !matches!((self.verb(), self.connection.state()), (Verb::Wait, State::Closed)),
            Err(error) => self.refuse(&error),
        }
        true
    }

    /// All of a message is queued.
    fn content_complete(&mut self) {
        let pending = self.connection.poll_transmit().map_or(0, |out| out.len());
        self.terminators.resize(self.begun, usize::MAX);
        self.terminators[self.begun - 1] = self.peer.received.len() + pending;
    }

    fn refuse(&mut self, error: &UsageError) {
        self.tell(format!("error: {error}"));
        self.acting = false;
    }

    fn hear_events(&mut self) -> bool {
        let mut heard = false;
        while let Some(event) = self.connection.poll_event() {
            heard = true;
            if self.failed {
                continue;
            }
            if let Some(setup) = &mut self.setup {
                match setup.advance(&mut self.connection, &event) {
                    Ok(Step::Continue) => {}
                    Ok(Step::UpgradeTls) => self.upgrade(),
                    Ok(Step::Done) => {
                        self.setup = None;
                        self.acting = false;
                    }
                    Err(failure) => {
                        self.failed = true;
                        self.tell(format!("failed: {failure}"));
                    }
                }
                continue;
            }
            let done = match (event, self.verb()) {
                (Event::Reply(reply), Verb::Rcpt(_) | Verb::Mail(_) | Verb::Ehlo | Verb::Helo | Verb::Noop)
                | (Event::Reply(reply), Verb::Reset | Verb::StartTls | Verb::Line(_) | Verb::XClient(_)) => {
                    self.tell(format!("reply: {reply}"));
                    true
                }
                (Event::UpgradeTls, _) => {
                    self.tell("upgrade".into());
                    self.upgrade();
                    false
                }
                (Event::Ready, Verb::StartTls) => true,
                (Event::Greeting(reply), Verb::XClient(_)) if self.script.config.automatic_hello => {
                    self.greeting = Some(reply);
                    false
                }
                (Event::Greeting(reply), Verb::XClient(_)) => {
                    self.tell(format!("reply: {reply}"));
                    true
                }
                (Event::Ready, Verb::XClient(_)) => {
                    let greeting = self.greeting.take().expect("a greeting came before");
                    self.tell(format!("reply: {greeting}"));
                    true
                }
                (Event::Completed(report), verb) => {
                    let told = matches!(verb, Verb::Send(..) | Verb::Data(_) | Verb::Bdat(_) | Verb::Burl(_));
                    if told {
                        let lines: Vec<_> = report_lines(&report).collect();
                        self.told.last_mut().expect("an act has begun").extend(lines);
                    }
                    self.reports.push((report, self.peer.sent, self.peer.received.len()));
                    told
                }
                (Event::Closed(reason), _) => {
                    self.tell(closed_line(&reason));
                    assert!(!self.closed_told, "closed twice");
                    self.closed_told = true;
                    true
                }
                _ => false,
            };
            if done {
                self.acting = false;
            }
        }
        heard
    }

    fn upgrade(&mut self) {
        if self.peer.handshake() {
            self.connection.handle_tls_established().expect("an upgrade is due");
        } else {
            if self.setup.is_some() {
                self.failed = true;
                self.tell("failed: no handshake".into());
            }
            self.connection.abort();
        }
    }

    fn pour(&mut self) -> bool {
        let script = self.script;
        let Some(Message { octets, unreadable }) = (match &script.acts[self.acts - 1].verb {
            Verb::Send(_, message) | Verb::Data(message) | Verb::Bdat(message) => Some(message),
            _ => None,
        }) else {
            return false;
        };
        let Some(mut body) = self.connection.body() else { return false };
        let rest = &octets[self.poured..];
        if rest.is_empty() && *unreadable {
            self.connection.abort();
            self.tell(UNREADABLE.into());
            return true;
        }
        let poured = if rest.is_empty() {
            body.finish().map(|()| 0)
        } else {
            let length = self.plan.content.next(self.poured, rest);
            body.write(&rest[..length])
        };
        match poured {
            Ok(0) if rest.is_empty() => {
                self.content_complete();
                true
            }
            Ok(taken) => {
                self.poured += taken;
                taken > 0
            }
            Err(error) => {
                self.tell(format!("content: {error}"));
                true
            }
        }
    }

    fn transmit(&mut self) -> bool {
        let now = self.time();
        let Some(out) = self.connection.poll_transmit() else { return false };
        let gone = self.peer.received.len();
        let mut length = self.plan.output.next(gone, &out);
        if let Some(cut) = self.plan.cut_output {
            length = length.min(cut - gone);
            if length == 0 {
                self.record(|recorder, at, _| recorder.ended(at));
                self.connection.handle_eof();
                return true;
            }
        }
        let octets = out[..length].to_vec();
        self.record(|recorder, at, connection| {
            let pieces = connection.poll_transmit().map(|out| out.first(length).pieces());
            pieces.into_iter().flatten().try_for_each(|piece| recorder.sent(at, piece))
        });
        self.peer.receive(&octets);
        self.connection.handle_transmitted(length, now);
        true
    }

    fn receive(&mut self) -> bool {
        self.now += Duration::from_millis(1);
        let now = self.time();
        if self.connection.state() == State::Closed {
            return false;
        }
        match self.peer.due() {
            Due::Octets(octets) => {
                // Counted first: an event of the last octet's is told when that octet has come.
                self.peer.send(octets.len());
                self.record(|recorder, at, connection| {
                    let mut lines = octets.split_inclusive(|&octet| octet == b'\n');
                    lines.try_for_each(|line| recorder.received(at, connection.transcribe(line)))
                });
                self.connection.handle_input(octets, now);
                true
            }
            Due::Eof => {
                self.record(|recorder, at, _| recorder.ended(at));
                self.connection.handle_eof();
                true
            }
            Due::Nothing => false,
        }
    }

    fn record(&mut self, write: impl FnOnce(&mut Recorder<String>, Duration, &Connection) -> std::fmt::Result) {
        if let Some(recorder) = &mut self.recorder {
            write(recorder, self.now, &self.connection).expect("there is room");
        }
    }
}
