//! The messages, all of them from a seed.

use smtp_conformance::dice::Dice;
use smtp_proto::{ForwardPath, ReversePath, Transaction};

/// Mailboxes that mail is sent to, `bulk0` and so on.
const MAILBOXES: usize = 1000;

/// One message.
#[derive(Debug)]
pub(crate) struct Letter {
    /// The local parts of those it is for.
    pub(crate) recipients: Vec<String>,
    sender: &'static str,
    refused: bool,
    body: Vec<u8>,
}

impl Letter {
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        let dice = &mut Dice::new(seed, number as u64);
        let first = dice.within(0..=MAILBOXES - 1);
        let count = dice.pick(&[1, 1, 1, 1, 2, 4]);
        // Next to each other, so that they are different ones.
        let mut recipients: Vec<String> =
            (first..first + count).map(|mailbox| format!("bulk{}", mailbox % MAILBOXES)).collect();
        // Whom Postfix refuses.
        if dice.one_in(8) {
            let at = dice.within(0..=count);
            recipients.insert(at, dice.pick(&["refused", "tempfail", "overquota"]).into());
        }
        Self {
            recipients,
            sender: if dice.one_in(40) { "nodata" } else { "sender" },
            refused: dice.one_in(40),
            body: body(dice),
        }
    }

    /// To some of its recipients.
    pub(crate) fn transaction(&self, to: &[usize]) -> Transaction {
        let from = ReversePath::parse(&format!("{}@lab.test", self.sender)).expect("a valid path");
        Transaction::new(from).to_all(to.iter().map(|&recipient| self.path(recipient)))
    }

    pub(crate) fn path(&self, recipient: usize) -> ForwardPath {
        ForwardPath::parse(&format!("{}@lab.test", self.recipients[recipient])).expect("a valid path")
    }

    /// The message, with a mark by which it is found again.
    pub(crate) fn content(&self, mark: &str) -> Vec<u8> {
        let refused = if self.refused { "X-Lab: reject-eod\r\n" } else { "" };
        let headers = format!(
            "From: sender@lab.test\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: <{mark}@client.lab.test>\r\n\
             {refused}Subject: chaos\r\n\r\n"
        );
        [headers.as_bytes(), &self.body].concat()
    }

    /// What is under the headers.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

fn body(dice: &mut Dice) -> Vec<u8> {
    let length = match dice.within(0..=99) {
        0 => dice.within(20_000..=100_000),
        1..=9 => dice.within(1000..=10_000),
        _ => dice.within(0..=600),
    };
    let lines: [&[u8]; 5] = [b"\r\n", b".\r\n", b"..QUIT\r\n", b"MAIL FROM:<>\r\n", b"\r\n.\r\n"];
    let mut body = Vec::new();
    while body.len() < length {
        if dice.one_in(3) {
            body.extend_from_slice(dice.pick(&lines));
        } else {
            body.extend(std::iter::repeat_n(dice.pick(b"abcdefgh"), dice.within(0..=900).min(length)));
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(b"the end\r\n");
    body
}
