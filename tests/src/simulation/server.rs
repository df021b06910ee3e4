//! A server that keeps to RFC 5321 and has troubles of its own. One command at a time, so that it can judge the client.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use super::ledger::Ledger;
use super::plan::Plan;
use crate::dice::Dice;

/// The notes of both sides.
pub(super) type Shared = Rc<RefCell<Ledger>>;

/// Why a session is over. The server need not know.
pub(super) struct Over;

pub(super) type Go<T = ()> = Result<T, Over>;

/// Runs the server's host.
///
/// # Errors
///
/// When it cannot listen.
pub(super) async fn listen(plan: Rc<Plan>, ledger: Shared) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", 25)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let session = Session::new(Rc::clone(&plan), Rc::clone(&ledger), stream);
        tokio::task::spawn_local(session.run());
    }
}

/// One session.
pub(super) struct Session {
    pub(super) plan: Rc<Plan>,
    pub(super) ledger: Shared,
    pub(super) dice: Dice,
    stream: TcpStream,
    number: u64,
    /// Octets that came and were not looked at.
    pub(super) input: Vec<u8>,
    buffer: Vec<u8>,
    /// How long it waits for the client.
    idle: Duration,
    /// Keywords offered by the last hello.
    offered: Vec<&'static str>,
    /// The last MAIL, refused or not.
    pub(super) send: usize,
    pub(super) sender: bool,
    pub(super) accepted: Vec<usize>,
    /// Content that came by BDAT.
    pub(super) chunks: Vec<u8>,
    /// A chunk was refused, so that all others are.
    pub(super) spoiled: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Also when the host crashes.
        self.ledger.borrow_mut().open -= 1;
    }
}

impl Session {
    fn new(plan: Rc<Plan>, ledger: Shared, stream: TcpStream) -> Self {
        let number = {
            let mut ledger = ledger.borrow_mut();
            ledger.open += 1;
            ledger.count("sessions");
            ledger.steps as u64 + 1
        };
        let mut dice = Dice::new(plan.seed, number << 8);
        Self {
            idle: plan.patience * dice.pick(&[1, 2, 4]),
            buffer: vec![0; dice.pick(&[100, 1000, 1 << 16]).max(plan.piece)],
            plan,
            ledger,
            dice,
            stream,
            number,
            input: Vec::new(),
            offered: Vec::new(),
            send: 0,
            sender: false,
            accepted: Vec::new(),
            chunks: Vec::new(),
            spoiled: false,
        }
    }

    async fn run(mut self) {
        if self.talk().await.is_err() {
            self.note("over");
        }
    }

    async fn talk(&mut self) -> Go {
        let greeting = if self.willing("the greeting").await? { 220 } else { self.dice.pick(&[421, 554]) };
        self.say(greeting, "greeting").await?;
        loop {
            let line = self.line().await?;
            self.note(format!("C: {line}"));
            let verb = line.split(' ').next().unwrap_or_default().to_owned();
            let pipelining = self.offers_pipelining();
            if !self.input.is_empty() && verb != "BDAT" && !(pipelining && matches!(&*verb, "MAIL" | "RCPT" | "RSET")) {
                self.violation(format!("{} octets came behind {line}", self.input.len()));
            }
            match &*verb {
                "EHLO" | "LHLO" | "HELO" => self.hello(&verb).await?,
                "MAIL" => self.mail(&line).await?,
                "RCPT" => self.rcpt(&line).await?,
                "DATA" => self.data().await?,
                "BDAT" => self.bdat(&line).await?,
                "RSET" | "NOOP" => {
                    if verb == "RSET" {
                        self.forget();
                    }
                    // A session without RSET is over, so the server is not in the mood to refuse it too often.
                    let willing = self.willing(&verb).await? || !self.dice.one_in(4);
                    self.say(if willing { 250 } else { 451 }, &verb).await?;
                }
                "QUIT" => {
                    self.willing(&verb).await?;
                    self.say(221, "bye").await?;
                    return Err(Over);
                }
                _ => self.violation(format!("the server does not know: {line}")),
            }
        }
    }

    pub(super) fn offers_pipelining(&self) -> bool {
        self.offered.contains(&"PIPELINING")
    }

    async fn hello(&mut self, verb: &str) -> Go {
        if (verb == "LHLO") != self.plan.lmtp {
            self.violation(format!("{verb} to the wrong server"));
        }
        self.forget();
        self.offered.clear();
        if !self.willing(verb).await? {
            let code = self.dice.pick(&[451, 502, 550]);
            return self.say(code, verb).await;
        }
        if verb != "HELO" {
            self.offered = self.plan.offers.clone();
        }
        let lines: String = self.offered.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
        let first = if self.offered.is_empty() { "" } else { "250-server.example\r\n" };
        self.write(format!("{first}{lines}250 XHELLO\r\n").as_bytes()).await
    }

    async fn mail(&mut self, line: &str) -> Go {
        if self.sender || !self.accepted.is_empty() || self.spoiled {
            self.violation(format!("{line} within a transaction"));
        }
        let number = line.strip_prefix("MAIL FROM:<m").and_then(|rest| rest.split('@').next()?.parse().ok());
        let Some(send) = number else {
            self.violation(line);
            return Err(Over);
        };
        self.send = send;
        self.ledger.borrow_mut().begun.insert(send);
        self.sender = self.willing("MAIL").await? && !self.dice.one_in(self.plan.refuses * 2);
        let code = if self.sender { 250 } else { self.refuses_all() };
        self.say(code, &format!("m{send} r* sender")).await
    }

    async fn rcpt(&mut self, line: &str) -> Go {
        let index = line.split_once('.').and_then(|(_, rest)| rest.split('@').next()?.parse().ok());
        let Some(recipient) = index else {
            self.violation(line);
            return Err(Over);
        };
        let send = self.send;
        if !self.sender {
            return self.say(503, &format!("m{send} r{recipient} has no sender")).await;
        }
        let refused = !self.willing("RCPT").await? || self.dice.one_in(self.plan.refuses);
        let code = if refused {
            self.ledger.borrow_mut().refused.insert((send, recipient));
            self.refusal()
        } else {
            self.accepted.push(recipient);
            250
        };
        self.say(code, &format!("m{send} r{recipient} recipient")).await
    }

    /// Everything of the transaction is gone.
    pub(super) fn forget(&mut self) {
        self.sender = false;
        self.accepted.clear();
        self.chunks.clear();
        self.spoiled = false;
    }

    /// Writes down that all recipients of the transaction are refused, and gives the code for it.
    pub(super) fn refuses_all(&mut self) -> u16 {
        let mut ledger = self.ledger.borrow_mut();
        let recipients = ledger.sends.get(self.send).map(|send| send.recipients.clone()).unwrap_or_default();
        ledger.refused.extend(recipients.into_iter().map(|recipient| (self.send, recipient)));
        drop(ledger);
        self.refusal()
    }

    pub(super) fn refusal(&mut self) -> u16 {
        self.dice.pick(&[450, 451, 452, 550, 552, 554])
    }

    /// What may come between a command and its answer. Whether the server is willing then.
    pub(super) async fn willing(&mut self, what: &str) -> Go<bool> {
        self.step(what);
        if self.dice.one_in(6) {
            sleep(self.dice.ticks(1..=6)).await;
        }
        if !self.dice.one_in(self.plan.temper) {
            return Ok(true);
        }
        match self.dice.within(0..=5) {
            0 => {
                self.ledger.borrow_mut().count("421");
                self.refuses_all();
                let about = format!("m{} r* {what}", self.send);
                self.say(421, &about).await?;
                Err(Over)
            }
            1 => {
                self.ledger.borrow_mut().count("hung up");
                self.note(format!("hangs up at {what}"));
                Err(Over)
            }
            2 | 3 => {
                self.ledger.borrow_mut().count("stalls");
                self.note(format!("stalls at {what}"));
                sleep(self.plan.patience * self.dice.pick(&[1, 2, 3, 6]) / 2).await;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Says one reply.
    pub(super) async fn say(&mut self, code: u16, text: &str) -> Go {
        let more = if self.dice.one_in(10) { format!("{code}-so to speak:\r\n") } else { String::new() };
        let reply = format!("{more}{code} {text}\r\n");
        self.note(format!("S: {code} {text}"));
        if !self.dice.one_in(self.plan.temper) {
            return self.write(reply.as_bytes()).await;
        }
        let (first, second) = reply.split_at(self.dice.within(0..=reply.len() - 1));
        self.write(first.as_bytes()).await?;
        self.step("half a reply");
        if self.dice.one_in(2) {
            self.ledger.borrow_mut().count("half replies");
            return Err(Over);
        }
        sleep(self.dice.ticks(1..=40)).await;
        self.write(second.as_bytes()).await
    }

    async fn write(&mut self, octets: &[u8]) -> Go {
        match timeout(self.idle, self.stream.write_all(octets)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    async fn line(&mut self) -> Go<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.fill().await?;
        }
    }

    /// Reads some octets, if the client has any patience with them.
    pub(super) async fn fill(&mut self) -> Go {
        match timeout(self.idle, self.stream.read(&mut self.buffer)).await {
            Ok(Ok(length)) if length > 0 => {
                self.input.extend_from_slice(&self.buffer[..length]);
                self.ledger.borrow_mut().steps += 1;
                Ok(())
            }
            Ok(_) => Err(Over),
            Err(_) => {
                self.ledger.borrow_mut().count("idle");
                self.say(421, "idle").await?;
                Err(Over)
            }
        }
    }

    /// Counts, so that faults can come at any point.
    pub(super) fn step(&mut self, what: &str) {
        self.ledger.borrow_mut().steps += 1;
        self.note(format!("at {what}"));
    }

    pub(super) fn note(&self, what: impl AsRef<str>) {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        self.ledger.borrow_mut().note(format!("{at:6} s{} {}", self.number, what.as_ref()));
    }

    pub(super) fn violation(&self, what: impl Into<String>) {
        self.ledger.borrow_mut().violation(what);
    }
}
