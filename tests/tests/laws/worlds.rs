//! Every short script of replies.

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_conformance::model::client::{Client, Peer};
use smtp_conformance::model::{Letter, Parsed, Verdict, parse, verdicts_of};
use smtp_proto::{Event, State};

/// One of each kind that a reply can be.
const CLASSES: [&str; 12] = [
    "250 ok\r\n",
    "250-two\r\n250 lines\r\n",
    "251 elsewhere\r\n",
    "220 hi\r\n",
    "354 go\r\n",
    "353 soon\r\n",
    "334 \r\n",
    "421 bye\r\n",
    "450 later\r\n",
    "552 full\r\n",
    "250-a\r\n550 b\r\n",
    "nonsense\r\n",
];

/// A server that answers whatever comes with the next reply of its script, and then hangs up.
struct Script<'a> {
    replies: std::slice::Iter<'a, &'static str>,
    said: String,
    in_content: bool,
}

impl<'a> Script<'a> {
    fn new(replies: &'a [&'static str]) -> Self {
        Self { replies: replies.iter(), said: String::new(), in_content: false }
    }

    /// What comes of what was said: replies, as many as there were commands and contents. `None` is the end.
    fn hear(&mut self, said: &str) -> Option<String> {
        self.said += said;
        let mut answer = String::new();
        loop {
            let end = if self.in_content { "\r\n.\r\n" } else { "\r\n" };
            let lone_dot = self.in_content && self.said.starts_with(".\r\n");
            let end = if lone_dot { Some(3) } else { self.said.find(end).map(|at| at + end.len()) };
            let Some(end) = end else { return Some(answer) };
            let was_data = !self.in_content && self.said.starts_with("DATA");
            self.said.drain(..end);
            let Some(reply) = self.replies.next() else { return Some(answer).filter(|answer| !answer.is_empty()) };
            self.in_content = was_data && reply.starts_with("354 ");
            answer += reply;
        }
    }
}

impl Peer for Script<'_> {
    fn ask(&mut self, _: &str) -> Option<u16> {
        self.reply()
    }

    fn pour(&mut self, _: &[u8], _: bool) -> Result<(), Option<u16>> {
        Ok(())
    }

    fn reply(&mut self) -> Option<u16> {
        match parse(self.replies.next()?.as_bytes()) {
            Parsed::Reply(code, _) => Some(code),
            _ => None,
        }
    }

    fn is_ahead(&self, _: usize) -> bool {
        false
    }
}

/// What the machine tells of one message.
fn told(script: &[&'static str], is_lmtp: bool, pipelining: bool, recipients: usize) -> Vec<Verdict> {
    let offers: &[&str] = if pipelining { &["PIPELINING"] } else { &[] };
    let mut lab = Lab::ready(if is_lmtp { lmtp() } else { smtp() }, offers);
    let mut server = Script::new(script);
    lab.connection.begin(transaction(recipients)).unwrap();
    let mut verdicts = Vec::new();
    loop {
        for event in lab.events() {
            if let Event::Completed(report) = event {
                assert!(verdicts.is_empty(), "two reports");
                verdicts = verdicts_of(&report);
            }
        }
        if !verdicts.is_empty() && lab.connection.state() != State::Busy {
            return verdicts;
        }
        let mut said = lab.says();
        said += &String::from_utf8_lossy(&lab.pours(b"hello\r\n"));
        match server.hear(&said) {
            Some(replies) if !replies.is_empty() => lab.hear(replies),
            // Nothing was said, or the server has no answer to it any more.
            _ => lab.connection.handle_eof(),
        }
    }
}

fn each_script(length: usize, check: &mut impl FnMut(&[&'static str])) {
    for number in 0..CLASSES.len().pow(u32::try_from(length).unwrap()) {
        let mut rest = number;
        let mut script = [""; 4];
        for reply in &mut script[..length] {
            *reply = CLASSES[rest % CLASSES.len()];
            rest /= CLASSES.len();
        }
        check(&script[..length]);
    }
}

// P-05, C-03, C-05, C-07, C-12, C-73, R-01, R-02, R-03: every script of up to four replies, of each kind that there is:
// pipelined and in lock-step the machine tells what the naive client is told.
#[test]
fn every_short_script() {
    let mut count = 0;
    for length in 0..=4 {
        each_script(length, &mut |script| {
            count += 1;
            for recipients in [1, 2] {
                for is_lmtp in [false, true] {
                    let mut client = Client::new(Script::new(script), is_lmtp);
                    let expected = client.send(&Letter::to(recipients));
                    for pipelining in [false, true] {
                        let told = told(script, is_lmtp, pipelining, recipients);
                        assert_eq!(told, expected, "{script:?}, lmtp {is_lmtp}, pipelining {pipelining}");
                    }
                }
            }
        });
    }
    assert_eq!(count, 1 + 12 + 144 + 1728 + 20_736);
}
