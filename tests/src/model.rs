//! A server as RFC 5321 has it: one command at a time, each answered as a policy says. Naive on purpose, so that it can
//! be the judge of a client that is not.

use smtp_proto::{Outcome, Report, Stage};

/// What the server answers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether it offers PIPELINING.
    pub pipelining: bool,
    /// Whether it speaks LMTP.
    pub lmtp: bool,
    /// To MAIL.
    pub mail: u16,
    /// To each RCPT.
    pub rcpt: Vec<u16>,
    /// To DATA. Where nobody was accepted, an honest server refuses; one that says 354 all the same is meant by
    /// `grants_nobody`.
    pub data: u16,
    /// Whether DATA is granted although nobody was accepted.
    pub grants_nobody: bool,
    /// To the end of the content; in LMTP to each accepted recipient in turn.
    pub end: Vec<u16>,
}

/// The server in the middle of a session.
#[derive(Clone, Debug)]
pub struct Model {
    policy: Policy,
    input: Vec<u8>,
    in_content: bool,
    sender: bool,
    asked: usize,
    accepted: usize,
    /// Contents that were complete, and how many recipients each had.
    pub messages: Vec<(Vec<u8>, usize)>,
    /// Every command line, without its CRLF.
    pub commands: Vec<String>,
}

impl Model {
    /// A server before its greeting, which is `220 model`.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            input: Vec::new(),
            in_content: false,
            sender: false,
            asked: 0,
            accepted: 0,
            messages: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// The client's octets.
    pub fn hear(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// Reads one command, or a whole content, and answers it. `None` when none is complete.
    pub fn answer(&mut self) -> Option<String> {
        if self.in_content {
            return self.content();
        }
        let end = self.input.windows(2).position(|pair| pair == b"\r\n")?;
        let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
        let line = String::from_utf8_lossy(&line).into_owned();
        let reply = self.command(&line);
        self.commands.push(line);
        Some(reply)
    }

    fn command(&mut self, line: &str) -> String {
        match line.split(' ').next().unwrap_or_default() {
            "EHLO" | "LHLO" if self.policy.pipelining => "250-model\r\n250 PIPELINING\r\n".into(),
            "EHLO" | "LHLO" | "HELO" | "NOOP" => reply(250),
            "MAIL" if self.sender => reply(503),
            "MAIL" => {
                self.sender = self.policy.mail / 100 == 2;
                reply(self.policy.mail)
            }
            "RCPT" if !self.sender => reply(503),
            "RCPT" => {
                let code = self.policy.rcpt.get(self.asked).copied().unwrap_or(250);
                self.asked += 1;
                self.accepted += usize::from(code / 100 == 2);
                reply(code)
            }
            "DATA" if self.accepted == 0 && !self.policy.grants_nobody => reply(503),
            "DATA" if self.policy.data != 354 => reply(self.policy.data),
            "DATA" => {
                self.in_content = true;
                reply(354)
            }
            "RSET" => {
                self.forget();
                reply(250)
            }
            "QUIT" => reply(221),
            _ => reply(500),
        }
    }

    fn content(&mut self) -> Option<String> {
        let lone_dot = self.input.starts_with(b".\r\n").then_some(0);
        let dot = lone_dot.or_else(|| self.input.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| at + 2))?;
        let content: Vec<u8> = self.input.drain(..dot + 3).take(dot).collect();
        self.messages.push((content, self.accepted));
        let replies = if self.policy.lmtp { self.accepted } else { 1 };
        let code = |index: usize| self.policy.end.get(index).copied().unwrap_or(250);
        let answer = (0..replies).map(|index| reply(code(index))).collect();
        self.forget();
        Some(answer)
    }

    fn forget(&mut self) {
        self.in_content = false;
        self.sender = false;
        self.asked = 0;
        self.accepted = 0;
    }
}

fn reply(code: u16) -> String {
    format!("{code} said the model\r\n")
}

impl Policy {
    /// What has to become of each of `recipients` recipients, told from the policy alone.
    pub fn verdicts(&self, recipients: usize) -> Vec<Verdict> {
        if self.mail / 100 != 2 {
            return vec![Verdict::Refused(Stage::Mail, self.mail); recipients];
        }
        let code = |index: usize| self.rcpt.get(index).copied().unwrap_or(250);
        let mut turn = 0;
        (0..recipients)
            .map(|index| match code(index) {
                accepted if accepted / 100 == 2 => {
                    let end = if self.lmtp { self.end.get(turn) } else { self.end.first() };
                    turn += 1;
                    match (self.data, end.copied().unwrap_or(250)) {
                        (354, end) if end / 100 == 2 => Verdict::Accepted(end),
                        (354, end) => Verdict::Refused(Stage::Content, end),
                        (data, _) => Verdict::Refused(Stage::Data, data),
                    }
                }
                refused => Verdict::Refused(Stage::Rcpt, refused),
            })
            .collect()
    }
}

/// What became of a recipient, as far as the model can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted with this code.
    Accepted(u16),
    /// Refused there with this code.
    Refused(Stage, u16),
    /// Not sent.
    NotSent,
    /// In doubt.
    InDoubt,
}

/// A report in the model's terms.
pub fn verdicts_of(report: &Report) -> Vec<Verdict> {
    let verdict = |outcome: &Outcome| match outcome {
        Outcome::Accepted(reply) => Verdict::Accepted(reply.code().get()),
        Outcome::Refused { stage, reply, .. } => Verdict::Refused(*stage, reply.code().get()),
        Outcome::NotSent => Verdict::NotSent,
        _ => Verdict::InDoubt,
    };
    report.recipients().map(|(_, outcome)| verdict(outcome)).collect()
}
