//! SMTP as RFC 5321 has it, one command and one reply at a time: a naive server, a naive client, a naive encoder. Naive on
//! purpose, so that they can judge a client that is not.

pub mod client;
pub mod encoder;
pub mod judge;
pub mod plan;
pub mod server;
pub mod talk;
pub mod trace;

use smtp_proto::{OnRefusal, Outcome, Report, Stage, Transaction};

use crate::lab;

/// One message.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    /// How many recipients it is for.
    pub recipients: usize,
    /// Its octets.
    pub content: Vec<u8>,
    /// Nobody gets it where one is refused.
    pub all_or_none: bool,
    /// A verdict of each recipient is asked for, where that is offered (PRDR).
    pub verdicts: bool,
}

impl Letter {
    /// A short one.
    pub fn to(recipients: usize) -> Self {
        Self { recipients, content: b"hello\r\n".to_vec(), ..Self::default() }
    }

    /// Its envelope. `prdr` is whether the server offers it.
    pub fn transaction(&self, prdr: bool) -> Transaction {
        let on_refusal = if self.all_or_none { OnRefusal::Abort } else { OnRefusal::Continue };
        lab::transaction(self.recipients).on_refusal(on_refusal).per_recipient_replies(self.verdicts && prdr)
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

/// What octets from a server begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A reply with this code, and how many octets it has.
    Reply(u16, usize),
    /// Perhaps a reply, of which the end is missing.
    Incomplete,
    /// No reply. The octets up to and with the line that shows it.
    Nonsense(usize),
}

/// Reads one reply, line by line (RFC 5321 section 4.2).
pub fn parse(octets: &[u8]) -> Parsed {
    let mut length = 0;
    let mut first = None;
    while let Some(end) = octets[length..].iter().position(|&octet| octet == b'\n') {
        let line = &octets[length..length + end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        length += end + 1;
        let more = match line {
            [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', rest @ ..] if !rest.contains(&0) => match rest.first() {
                None | Some(b' ') => false,
                Some(b'-') => true,
                Some(_) => return Parsed::Nonsense(length),
            },
            _ => return Parsed::Nonsense(length),
        };
        let code = line[..3].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if *first.get_or_insert(code) != code {
            return Parsed::Nonsense(length);
        }
        if !more {
            return Parsed::Reply(code, length);
        }
    }
    Parsed::Incomplete
}
