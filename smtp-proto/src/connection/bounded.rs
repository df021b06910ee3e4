//! Small worlds of replies as a whole, seen from within.

use alloc::format;
use alloc::vec::Vec;

use super::envelope::Envelope;
use super::*;
use crate::address::{ForwardPath, HelloName, ReversePath};
use crate::outcome::{Outcome, Stage};
use crate::reply::{Reply, ReplyLimits, parse_reply};
use crate::transaction::Transaction;

/// One of each kind that a reply can be.
const CODES: [u16; 4] = [250, 353, 450, 550];

fn reply(code: u16) -> Reply {
    parse_reply(format!("{code} x\r\n").as_bytes(), &ReplyLimits::default()).unwrap().unwrap().0.to_owned()
}

/// Calls `check` for each run of so many codes.
fn each_run(length: u32, codes: &[u16], check: &mut impl FnMut(&[u16])) {
    for number in 0..codes.len().pow(length) {
        check(&(0..length).map(|place| codes[number / codes.len().pow(place) % codes.len()]).collect::<Vec<_>>());
    }
}

fn transaction() -> Transaction {
    let to = ["a@x.example", "b@x.example"].map(|path| ForwardPath::parse(path).unwrap());
    Transaction::new(ReversePath::null()).to_all(to)
}

/// How the content may be answered.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Not at all: DATA was refused.
    Data,
    /// Once, for all.
    Final,
    /// Once for each recipient.
    Finals,
    /// Once for each recipient, and then for all.
    Verdicts,
    /// While it leaves.
    Early,
}

/// A transaction, and what was seen of its outcomes.
struct Watched(Envelope, Vec<Outcome>);

impl Watched {
    fn then<T>(&mut self, step: impl FnOnce(&mut Envelope) -> T) -> T {
        let result = step(&mut self.0);
        for (seen, now) in self.1.iter_mut().zip(self.0.outcomes()) {
            assert!(*seen == Outcome::NotSent || seen == now, "{seen:?} became {now:?}");
            seen.clone_from(now);
        }
        result
    }
}

// K-09, P-10, R-01, R-02: whatever MAIL, two RCPT and the content are answered, in each way that a server has: what became of a
// recipient changes once; and whoever was refused anything, or was not answered, is not accepted.
#[test]
#[cfg_attr(miri, ignore = "a world too large")]
fn outcomes_change_once() {
    for end in [End::Data, End::Final, End::Finals, End::Verdicts, End::Early] {
        each_run(6, &CODES, &mut |codes| {
            let transaction = transaction().per_recipient_replies(true);
            let mut watched = Watched(
                Envelope::new(TransactionId(0), transaction, false),
                Vec::from([const { Outcome::NotSent }; 2]),
            );
            let mut told = [Vec::from([codes[0], codes[1]]), Vec::from([codes[0], codes[2]])];
            watched.then(|envelope| envelope.on_mail(reply(codes[0])));
            watched.then(|envelope| envelope.on_rcpt(0, &reply(codes[1])));
            watched.then(|envelope| envelope.on_rcpt(1, &reply(codes[2])));
            let mut admitted: Vec<_> = told.iter_mut().filter(|told| told.iter().all(|code| code / 100 == 2)).collect();
            let (count, answers) = (admitted.len(), &codes[3..]);
            match end {
                _ if count == 0 => {}
                End::Data => drop(watched.then(|envelope| envelope.on_data(&reply(answers[0])))),
                End::Early => watched.then(|envelope| envelope.refuse_content(Stage::Content, &reply(answers[0]))),
                End::Final => {
                    assert!(watched.then(|envelope| envelope.on_final(reply(answers[0]), false)));
                    admitted.iter_mut().for_each(|told| told.push(answers[0]));
                }
                End::Finals => {
                    for (index, (told, &code)) in admitted.iter_mut().zip(answers).enumerate() {
                        let last = watched.then(|envelope| envelope.on_final(reply(code), true));
                        assert_eq!(last, index + 1 == count);
                        told.push(code);
                    }
                }
                End::Verdicts => {
                    for (told, &code) in admitted.iter_mut().zip(answers) {
                        watched.then(|envelope| envelope.on_verdict(reply(code)));
                        // A 3yz is no refusal; the machine closes behind it.
                        told.push(if code == 353 { 250 } else { code });
                    }
                    assert!(watched.then(|envelope| envelope.on_final(reply(answers[2]), false)));
                    admitted.iter_mut().for_each(|told| told.push(answers[2]));
                }
            }
            let accepted = told.iter().map(|told| told.len() > 2 && told.iter().all(|code| code / 100 == 2));
            let seen = &watched.1;
            assert!(seen.iter().map(Outcome::is_accepted).eq(accepted), "{seen:?} after {codes:?}, {end:?}");
            watched.0.end = 5;
            let report = watched.0.into_report(5);
            for (seen, (_, told)) in seen.iter().zip(report.recipients()) {
                assert!(
                    seen == told || (seen, told) == (&Outcome::NotSent, &Outcome::InDoubt),
                    "{seen:?} became {told:?}"
                );
            }
        });
    }
}

/// A session that counts what it says.
struct Counted {
    connection: Connection,
    said: Vec<u8>,
    /// Replies to it so far.
    answered: usize,
    window: usize,
}

impl Counted {
    /// At a server that pipelines, with nothing said that counts.
    fn new(window: usize) -> Self {
        let mut config = Config::smtp(HelloName::parse("me.example").unwrap());
        config.pipeline_window = window;
        let mut connection = Connection::new(config, Security::Plaintext);
        for octets in ["220 x\r\n", "250-x\r\n250 PIPELINING\r\n"] {
            connection.handle_input(octets.as_bytes(), Time::default());
            connection.handle_transmitted(usize::MAX, Time::default());
        }
        Self { connection, said: Vec::new(), answered: 0, window }
    }

    /// The transport takes so many octets at most.
    fn transmits(&mut self, most: usize) {
        if let Some(out) = self.connection.poll_transmit() {
            let taken = out.first(most).to_vec();
            self.said.extend_from_slice(&taken);
            self.connection.handle_transmitted(taken.len(), Time::default());
        }
        self.check();
    }

    fn check(&self) {
        let waiting = self.connection.poll_transmit().map(|out| out.to_vec()).unwrap_or_default();
        let queued = [&self.said[..], &waiting].concat();
        let lines: Vec<usize> = queued.split_inclusive(|&octet| octet == b'\n').map(<[u8]>::len).collect();
        let unanswered: usize = lines[self.answered..].iter().sum();
        assert_eq!(self.connection.expected.unanswered(), unanswered);
        let alone = lines.len() - self.answered <= 1;
        assert!(unanswered <= self.window || alone, "{unanswered} of {}", self.window);
    }
}

// K-10, C-79, P-21: for every window up to what MAIL, two RCPT and DATA need, however they are answered and however slowly they
// leave: what is unanswered is what was said and not answered, and never more than the window, unless it is one command.
#[test]
#[cfg_attr(miri, ignore = "a world too large")]
fn windows_are_kept() {
    let whole = "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n".len();
    for window in 0..=whole {
        each_run(4, &[250, 450, 550], &mut |codes| {
            for most in [usize::MAX, 7] {
                let mut session = Counted::new(window);
                session.connection.begin(transaction()).unwrap();
                let mut codes = codes.iter();
                while session.connection.body().is_none() && session.connection.state() == State::Busy {
                    session.transmits(most);
                    let said = session.said.split(|&octet| octet == b'\n').count() - 1;
                    if said > session.answered {
                        let line = session.said.split(|&octet| octet == b'\n').nth(session.answered);
                        let code = match line {
                            Some(b"RSET\r") => 250,
                            Some(b"DATA\r") if codes.next() == Some(&250) => 354,
                            Some(b"DATA\r") => 554,
                            _ => *codes.next().unwrap(),
                        };
                        session.answered += 1;
                        session.connection.handle_input(format!("{code} x\r\n").as_bytes(), Time::default());
                        // A lone dot is no command.
                        if session.connection.poll_transmit().is_some_and(|out| out.starts_with(b".")) {
                            return;
                        }
                        session.check();
                    }
                }
                assert_eq!(session.connection.expected.unanswered(), 0);
            }
        });
    }
}
