//! A server that does one thing after the other, each as a policy says.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Mail,
    Rcpt(usize),
    Data,
    /// A chunk that is not the last.
    Chunk,
    /// The end of the content; in LMTP for one recipient.
    End(usize),
}

/// How a server answers, as a function of the step alone, so that it does not depend on how the client comes to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy<'a> {
    pub(super) lmtp: bool,
    pub(super) chunking: bool,
    /// DATA is granted even if nobody was accepted.
    pub(super) grants_nobody: bool,
    /// An octet for each step of each transaction.
    pub(super) choices: &'a [u8],
}

/// Steps that one transaction has.
const STEPS: usize = 16;

impl Policy<'_> {
    /// The code for a step of a transaction.
    pub(super) fn code(&self, transaction: usize, step: Step) -> u16 {
        let place = match step {
            Step::Mail => 0,
            Step::Data => 1,
            Step::Chunk => 2,
            Step::Rcpt(index) => 3 + index,
            Step::End(index) => 9 + index,
        };
        let choice = self.choices.get(transaction * STEPS + place).copied().unwrap_or_default();
        let codes: &[u16] = match step {
            // What is not clean here cannot end alike, however it is sent: chunks behind it may have left, or not.
            Step::Chunk if self.lmtp => &[250],
            Step::Chunk => &[250, 250, 250, 251, 451, 452, 552, 554],
            Step::Data => &[354, 354, 354, 354, 250, 421, 451, 554, 334, 399],
            _ => &[250, 250, 250, 250, 251, 299, 421, 450, 452, 550, 552, 554, 334, 354],
        };
        codes[usize::from(choice) % codes.len()]
    }
}

/// The server in the middle of a session.
pub(super) struct Server<'a> {
    policy: Policy<'a>,
    pipelining: bool,
    input: Vec<u8>,
    /// MAIL commands seen.
    mails: usize,
    sender: bool,
    asked: usize,
    accepted: Vec<usize>,
    in_content: bool,
    /// Content that came in chunks; nothing once one of them was refused.
    chunks: Option<Vec<u8>>,
    closed: bool,
    /// Who got what: by transaction and recipient.
    pub(super) delivered: BTreeMap<(usize, usize), Vec<u8>>,
}

impl<'a> Server<'a> {
    pub(super) fn new(policy: Policy<'a>, pipelining: bool) -> Self {
        Self {
            policy,
            pipelining,
            input: Vec::new(),
            mails: 0,
            sender: false,
            asked: 0,
            accepted: Vec::new(),
            in_content: false,
            chunks: Some(Vec::new()),
            closed: false,
            delivered: BTreeMap::new(),
        }
    }

    pub(super) fn is_lmtp(&self) -> bool {
        self.policy.lmtp
    }

    pub(super) fn hear(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// Takes one command, or a whole content, and answers it. `None` when none is there.
    pub(super) fn answer(&mut self) -> Option<String> {
        if self.closed {
            return None;
        }
        if !self.in_content && (self.input.starts_with(b"EHLO ") || self.input.starts_with(b"LHLO ")) {
            return self.hello();
        }
        let replies = if self.in_content { self.content()? } else { self.command()? };
        self.closed = replies.contains(&421) || replies.contains(&221);
        Some(replies.iter().map(|code| format!("{code} said\r\n")).collect())
    }

    /// What the server is called and can do.
    fn hello(&mut self) -> Option<String> {
        let end = self.input.windows(2).position(|pair| pair == b"\r\n")?;
        self.input.drain(..end + 2);
        let keyword = |keyword: &str, offered| if offered { format!("250-{keyword}\r\n") } else { String::new() };
        let chunking = keyword("CHUNKING", self.policy.chunking);
        Some(format!("250-server\r\n{}{chunking}250 8BITMIME\r\n", keyword("PIPELINING", self.pipelining)))
    }

    fn command(&mut self) -> Option<Vec<u16>> {
        let end = self.input.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        if verb == "BDAT" {
            let length: usize = words.next().and_then(|length| length.parse().ok()).unwrap_or_default();
            let chunk = self.input.get(end + 2..end + 2 + length)?.to_vec();
            self.input.drain(..end + 2 + length);
            return Some(self.chunk(&chunk, words.next() == Some("LAST")));
        }
        self.input.drain(..end + 2);
        Some(alloc::vec![match verb {
            "RSET" => {
                self.forget();
                250
            }
            "QUIT" => 221,
            "MAIL" if self.sender => 503,
            "MAIL" => {
                self.mails += 1;
                let code = self.code(Step::Mail);
                self.sender = code / 100 == 2;
                code
            }
            "RCPT" if !self.sender => 503,
            "RCPT" => {
                let code = self.code(Step::Rcpt(self.asked));
                if code / 100 == 2 {
                    self.accepted.push(self.asked);
                }
                self.asked += 1;
                code
            }
            "DATA" if self.accepted.is_empty() && !self.policy.grants_nobody => 503,
            "DATA" => {
                let code = if self.accepted.is_empty() { 354 } else { self.code(Step::Data) };
                self.in_content = code == 354;
                code
            }
            _ => 500,
        }])
    }

    fn code(&self, step: Step) -> u16 {
        self.policy.code(self.mails.saturating_sub(1), step)
    }

    fn chunk(&mut self, chunk: &[u8], last: bool) -> Vec<u16> {
        if self.accepted.is_empty() {
            return alloc::vec![503];
        }
        match &mut self.chunks {
            None => alloc::vec![503],
            Some(chunks) => {
                chunks.extend_from_slice(chunk);
                if last {
                    let content = core::mem::take(chunks);
                    return self.end(&content);
                }
                let code = self.code(Step::Chunk);
                if code / 100 != 2 {
                    self.chunks = None;
                }
                alloc::vec![code]
            }
        }
    }

    fn content(&mut self) -> Option<Vec<u16>> {
        let dot = match self.input.strip_prefix(b".\r\n") {
            Some(_) => 0,
            None => self.input.windows(5).position(|window| window == b"\r\n.\r\n")? + 2,
        };
        let stuffed: Vec<u8> = self.input.drain(..dot + 3).take(dot).collect();
        let lines = stuffed.split_inclusive(|octet| *octet == b'\n');
        let content: Vec<u8> = lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect();
        if self.accepted.is_empty() {
            self.forget();
            return Some(alloc::vec![554]);
        }
        Some(self.end(&content))
    }

    /// The content is complete: one reply to it, or in LMTP one for each recipient, up to the one that closes.
    fn end(&mut self, content: &[u8]) -> Vec<u16> {
        let groups: Vec<Vec<usize>> = match self.policy.lmtp {
            true => self.accepted.iter().map(|index| alloc::vec![*index]).collect(),
            false => alloc::vec![self.accepted.clone()],
        };
        let mut codes = Vec::new();
        for (turn, group) in groups.iter().enumerate() {
            let code = self.code(Step::End(turn));
            codes.push(code);
            if code == 421 {
                break;
            }
            if code / 100 == 2 {
                self.delivered.extend(group.iter().map(|index| ((self.mails - 1, *index), content.to_vec())));
            }
        }
        self.forget();
        codes
    }

    fn forget(&mut self) {
        self.sender = false;
        self.asked = 0;
        self.accepted.clear();
        self.in_content = false;
        self.chunks = Some(Vec::new());
    }
}
