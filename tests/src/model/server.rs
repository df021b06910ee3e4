//! A server: one command at a time, each answered as a policy says.

use super::encoder;

/// What the server answers in one transaction. What a list does not name is 250.
#[derive(Clone, Debug)]
pub struct Answers {
    /// To MAIL.
    pub mail: u16,
    /// To each RCPT.
    pub rcpt: Vec<u16>,
    /// To DATA. Where nobody was accepted, an honest server refuses; one that says 354 all the same is meant by
    /// `grants_nobody`.
    pub data: u16,
    /// Whether DATA is granted although nobody was accepted.
    pub grants_nobody: bool,
    /// To each chunk but the last.
    pub chunks: Vec<u16>,
    /// Behind 353, to each accepted recipient, where verdicts were asked for (PRDR).
    pub verdicts: Option<Vec<u16>>,
    /// To the end of the content; in LMTP to each accepted recipient in turn.
    pub end: Vec<u16>,
    /// To RSET.
    pub reset: u16,
}

impl Default for Answers {
    /// Everything is welcome.
    fn default() -> Self {
        Self {
            mail: 250,
            rcpt: Vec::new(),
            data: 354,
            grants_nobody: false,
            chunks: Vec::new(),
            verdicts: None,
            end: Vec::new(),
            reset: 250,
        }
    }
}

/// What the server is like.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Keywords in its reply to the hello.
    pub offers: Vec<&'static str>,
    /// Whether it speaks LMTP.
    pub lmtp: bool,
    /// What it answers in each transaction; the last one also in all that come after.
    pub answers: Vec<Answers>,
    /// Texts of its replies, of which some have two lines.
    pub texts: Vec<String>,
}

impl Policy {
    /// A server that offers this and answers so.
    pub fn new(offers: &[&'static str], answers: Answers) -> Self {
        Self { offers: offers.to_vec(), answers: vec![answers], ..Self::default() }
    }
}

/// A content that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// In which transaction, counted by MAIL.
    pub turn: usize,
    /// Its octets.
    pub content: Vec<u8>,
    /// The recipients accepted before, by the order of RCPT.
    pub to: Vec<usize>,
    /// Those for whom the server took responsibility.
    pub taken: Vec<usize>,
}

/// The server in the middle of a session.
#[derive(Clone, Debug)]
pub struct Server {
    policy: Policy,
    input: Vec<u8>,
    in_content: bool,
    /// Whether MAIL was accepted, if it was said.
    sender: Option<bool>,
    asks_verdicts: bool,
    asked: usize,
    accepted: Vec<usize>,
    /// The octets and the number of the chunks of this transaction, and whether one was refused.
    chunks: (Vec<u8>, usize, bool),
    /// The last chunk of this transaction has come.
    over: bool,
    gone: bool,
    /// The transactions of which the last octet of the content has come.
    pub ended: Vec<usize>,
    /// How often MAIL was said.
    pub turns: usize,
    /// Contents that came to their end.
    pub messages: Vec<Message>,
    /// Every command line, without its CRLF.
    pub commands: Vec<String>,
    /// What no client may say where it was said.
    pub out_of_order: Option<String>,
}

impl Server {
    /// A server that has just said its greeting, `220 model`.
    pub fn new(mut policy: Policy) -> Self {
        if policy.answers.is_empty() {
            policy.answers.push(Answers::default());
        }
        Self {
            policy,
            input: Vec::new(),
            in_content: false,
            sender: None,
            asks_verdicts: false,
            asked: 0,
            accepted: Vec::new(),
            chunks: (Vec::new(), 0, false),
            over: false,
            gone: false,
            ended: Vec::new(),
            turns: 0,
            messages: Vec::new(),
            commands: Vec::new(),
            out_of_order: None,
        }
    }

    /// The client's octets.
    pub fn hear(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// Reads one command, or a whole content, and answers it. `None` when none is complete.
    pub fn answer(&mut self) -> Option<String> {
        if self.in_content {
            let lone_dot = self.input.starts_with(b".\r\n") || self.input.windows(5).any(|five| five == b"\r\n.\r\n");
            let (content, rest) = lone_dot.then(|| encoder::decode(&self.input)).flatten()?;
            let rest = rest.to_vec();
            self.input = rest;
            self.in_content = false;
            self.ended.push(self.turns - 1);
            return Some(self.end(content));
        }
        let end = self.input.windows(2).position(|pair| pair == b"\r\n")? + 2;
        let line = String::from_utf8_lossy(&self.input[..end - 2]).into_owned();
        if let Some(argument) = line.strip_prefix("BDAT ") {
            let length: usize = argument.trim_end_matches(" LAST").parse().ok()?;
            if self.input.len() < end + length {
                return None;
            }
            let chunk: Vec<u8> = self.input.drain(..end + length).skip(end).collect();
            let reply = self.chunk(&chunk, argument.ends_with("LAST"));
            self.commands.push(line);
            return Some(reply);
        }
        self.input.drain(..end);
        let reply = self.command(&line);
        self.commands.push(line);
        Some(reply)
    }

    fn answers(&self) -> &Answers {
        let answers = &self.policy.answers;
        &answers[self.turns.saturating_sub(1).min(answers.len() - 1)]
    }

    fn command(&mut self, line: &str) -> String {
        let verb = line.split(' ').next().unwrap_or_default();
        self.turns += usize::from(verb == "MAIL");
        let in_order = match verb {
            _ if self.gone => false,
            "EHLO" => !self.policy.lmtp,
            "LHLO" => self.policy.lmtp,
            "MAIL" => self.sender.is_none(),
            "RCPT" => self.sender.is_some(),
            "DATA" => self.asked > 0 && self.chunks.1 == 0,
            "RSET" | "QUIT" => true,
            _ => false,
        };
        if !in_order {
            self.out_of_order.get_or_insert_with(|| line.to_owned());
            return self.reply(503);
        }
        match verb {
            "EHLO" | "LHLO" => {
                let keywords: String = self.policy.offers.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
                format!("250-model\r\n{keywords}250 HELP\r\n")
            }
            "MAIL" => {
                let code = self.answers().mail;
                self.sender = Some(code / 100 == 2);
                self.asks_verdicts = line.ends_with(" PRDR");
                self.reply(code)
            }
            "RCPT" if self.sender == Some(false) => {
                self.asked += 1;
                self.reply(503)
            }
            "RCPT" => {
                let code = at(&self.answers().rcpt, self.asked);
                if code / 100 == 2 {
                    self.accepted.push(self.asked);
                }
                self.asked += 1;
                self.reply(code)
            }
            "DATA" => {
                let code = match (self.accepted.is_empty(), self.answers().grants_nobody) {
                    (false, _) => self.answers().data,
                    (true, granted) => {
                        if granted {
                            354
                        } else {
                            503
                        }
                    }
                };
                self.in_content = code == 354;
                self.reply(code)
            }
            "RSET" => {
                self.forget();
                self.reply(self.answers().reset)
            }
            _ => {
                self.gone = true;
                self.reply(221)
            }
        }
    }

    fn chunk(&mut self, chunk: &[u8], last: bool) -> String {
        if !self.policy.offers.contains(&"CHUNKING") || self.asked == 0 || self.over {
            self.out_of_order.get_or_insert_with(|| "BDAT".into());
        }
        if last && self.asked > 0 {
            self.over = true;
            self.ended.push(self.turns - 1);
        }
        let (content, number, broken) = &mut self.chunks;
        *number += 1;
        if *broken || self.accepted.is_empty() {
            return self.reply(503);
        }
        content.extend_from_slice(chunk);
        if last {
            let content = std::mem::take(content);
            return self.end(content);
        }
        let code = at(&self.answers().chunks, self.chunks.1 - 1);
        self.chunks.2 = code / 100 != 2;
        self.reply(code)
    }

    fn end(&mut self, content: Vec<u8>) -> String {
        let to = std::mem::take(&mut self.accepted);
        let answers = self.answers();
        let codes: Vec<u16> = (0..to.len()).map(|index| at(&answers.end, index)).collect();
        let (answer, taken) = match &answers.verdicts {
            _ if self.policy.lmtp => {
                let taken = to.iter().zip(&codes).filter(|(_, code)| **code / 100 == 2).map(|(to, _)| *to).collect();
                (codes.into_iter().map(|code| self.reply(code)).collect(), taken)
            }
            // To nobody the end is an end all the same.
            _ if to.is_empty() => (self.reply(250), Vec::new()),
            Some(verdicts) if self.asks_verdicts => {
                let verdicts: Vec<u16> = (0..to.len()).map(|index| at(verdicts, index)).collect();
                let mut taken: Vec<usize> = to.clone();
                let mut verdict = verdicts.iter();
                taken.retain(|_| codes[0] / 100 == 2 && verdict.next().is_some_and(|verdict| verdict / 100 == 2));
                let all: String = verdicts.iter().copied().map(|code| self.reply(code)).collect();
                (format!("{}{all}{}", self.reply(353), self.reply(codes[0])), taken)
            }
            _ => (self.reply(codes[0]), if codes[0] / 100 == 2 { to.clone() } else { Vec::new() }),
        };
        self.messages.push(Message { turn: self.turns - 1, content, to, taken });
        self.forget();
        answer
    }

    fn reply(&self, code: u16) -> String {
        let texts = &self.policy.texts;
        let text = texts.get((usize::from(code) + self.commands.len()) % texts.len().max(1));
        match text.map(|text| (text, text.split_once('\n'))) {
            None => format!("{code} said the model\r\n"),
            Some((text, None)) => format!("{code} {text}\r\n"),
            Some((_, Some((first, second)))) => format!("{code}-{first}\r\n{code} {second}\r\n"),
        }
    }

    fn forget(&mut self) {
        self.sender = None;
        self.asked = 0;
        self.accepted.clear();
        self.chunks = (Vec::new(), 0, false);
        self.over = false;
    }
}

fn at(codes: &[u16], index: usize) -> u16 {
    codes.get(index).copied().unwrap_or(250)
}
