//! What both sides wrote down, and what it has to add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use smtp_proto::{OnRefusal, Outcome, Report, Stage};

use super::plan::Plan;

/// What the client's side knows of one call of `send`.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It was told by a report.
    Reported(Report),
    /// The call did nothing.
    Unbegun,
    /// Whoever cancelled it did not ask.
    Unknown,
}

/// One call of `send`.
#[derive(Clone, Debug)]
pub struct Send {
    /// Which of the letters.
    pub letter: usize,
    /// To which of its recipients.
    pub recipients: Vec<usize>,
    /// What came of it; nothing while it is under way.
    pub fate: Option<Fate>,
}

/// What the server took responsibility for.
#[derive(Clone, Debug)]
pub struct Taken {
    /// By which call of `send` it came.
    pub send: usize,
    /// For which of the letter's recipients.
    pub recipient: usize,
    /// What the reply calls it.
    pub queue_id: usize,
}

/// Both sides' notes.
#[derive(Debug)]
pub struct Ledger {
    plan: Rc<Plan>,
    /// Calls of `send`, in order.
    pub sends: Vec<Send>,
    /// Written at the moment the server decides to say 250.
    pub taken: Vec<Taken>,
    /// Sends and recipients that the server refused.
    pub refused: BTreeSet<(usize, usize)>,
    /// Sends whose MAIL the server has seen.
    pub begun: BTreeSet<usize>,
    /// Sends whose content the server has seen to its end, with at least one recipient.
    pub completed: BTreeSet<usize>,
    /// Steps that the server has made.
    pub steps: usize,
    /// Queue ids given.
    pub queue_ids: usize,
    /// Sessions of the server that are not over.
    pub open: usize,
    /// What must not be.
    pub violations: Vec<String>,
    /// What happened, in order.
    pub log: Vec<String>,
    /// How often what happened.
    pub tally: Tally,
}

impl Ledger {
    /// An empty one.
    pub fn new(plan: Rc<Plan>) -> Self {
        Self {
            plan,
            sends: Vec::new(),
            taken: Vec::new(),
            refused: BTreeSet::new(),
            begun: BTreeSet::new(),
            completed: BTreeSet::new(),
            steps: 0,
            queue_ids: 0,
            open: 0,
            violations: Vec::new(),
            log: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Writes down what happened.
    pub fn note(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    /// Writes down what must not be.
    pub fn violation(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.log.push(format!("VIOLATION: {what}"));
        self.violations.push(what);
    }

    /// Counts.
    pub fn count(&mut self, what: &'static str) {
        self.tally.add(what, 1);
    }

    /// The server has the whole content of a message.
    pub fn complete(&mut self, send: usize, content: &[u8], chunked: bool) {
        let letter = self.sends.get(send).map(|send| &self.plan.letters[send.letter]);
        let Some(letter) = letter else { return self.violation(format!("m{send} was never sent")) };
        let mut expected = letter.content.clone();
        if !chunked && !expected.is_empty() && !expected.ends_with(b"\r\n") {
            expected.extend_from_slice(b"\r\n");
        }
        let cut = letter.fails_at.is_some();
        if content != expected {
            self.violation(format!("m{send}: {} octets came of {}", content.len(), expected.len()));
        }
        if cut {
            self.violation(format!("m{send} came to an end, and its source did not"));
        }
        if !self.completed.insert(send) {
            self.violation(format!("m{send} came twice"));
        }
    }

    /// The server takes responsibility.
    pub fn take(&mut self, send: usize, recipients: &[usize]) -> usize {
        self.queue_ids += 1;
        let queue_id = self.queue_ids;
        self.taken.extend(recipients.iter().map(|&recipient| Taken { send, recipient, queue_id }));
        queue_id
    }

    /// Compares both sides when all is over.
    pub fn judge(&mut self) {
        let mut violations = Vec::new();
        let mut delivered: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (number, send) in self.sends.iter().enumerate() {
            let Some(fate) = &send.fate else {
                violations.push(format!("m{number} has no end"));
                continue;
            };
            let taken = |recipient: usize| {
                self.taken.iter().filter(move |taken| taken.send == number && taken.recipient == recipient)
            };
            for &recipient in &send.recipients {
                let count = taken(recipient).count();
                *delivered.entry((send.letter, recipient)).or_default() += count;
                if count > 1 {
                    violations.push(format!("m{number} r{recipient}: delivered {count} times"));
                }
            }
            match fate {
                Fate::Unknown => self.tally.add("unknown", 1),
                Fate::Unbegun => {
                    self.tally.add("not begun", 1);
                    if self.begun.contains(&number) {
                        violations.push(format!("m{number} did nothing, and the server saw its MAIL"));
                    }
                }
                Fate::Reported(report) => {
                    let expected = send.recipients.iter().map(|recipient| path(send.letter, *recipient));
                    if !report.recipients().map(|(path, _)| path.as_str().to_owned()).eq(expected) {
                        violations.push(format!("m{number}: the report is about others: {report:?}"));
                    }
                    for (&recipient, (_, outcome)) in send.recipients.iter().zip(report.recipients()) {
                        let queue_ids: Vec<usize> = taken(recipient).map(|taken| taken.queue_id).collect();
                        let refused = self.refused.contains(&(number, recipient));
                        if let Some(wrong) = compare(number, recipient, outcome, &queue_ids, refused) {
                            violations.push(format!("m{number} r{recipient}: {wrong}: {outcome:?}"));
                        }
                        self.tally.add(name_of(outcome, !queue_ids.is_empty()), 1);
                    }
                    let of = |stages: &[Stage]| {
                        report.recipients().any(
                            |(_, outcome)| matches!(outcome, Outcome::Refused { stage, .. } if stages.contains(stage)),
                        )
                    };
                    let all_or_none = self.plan.letters[send.letter].on_refusal == OnRefusal::Abort;
                    if all_or_none && of(&[Stage::Mail, Stage::Rcpt]) && self.completed.contains(&number) {
                        violations.push(format!("m{number} was for all or none"));
                    }
                    let not_sent = report.recipients().any(|(_, outcome)| *outcome == Outcome::NotSent);
                    if not_sent && self.completed.contains(&number) {
                        violations.push(format!("m{number} was not sent, and came to an end"));
                    }
                }
            }
        }
        // Only what was refused or not sent was sent again.
        for ((letter, recipient), count) in delivered {
            if count > 1 {
                violations.push(format!("letter {letter} r{recipient}: delivered {count} times in all"));
            }
        }
        violations.into_iter().for_each(|violation| self.violation(violation));
    }
}

/// The address of a recipient.
pub fn path(letter: usize, recipient: usize) -> String {
    format!("r{letter}.{recipient}@x.example")
}

/// What is wrong with an outcome. The text of every reply tells what it answers.
fn compare(send: usize, recipient: usize, outcome: &Outcome, taken: &[usize], refused: bool) -> Option<&'static str> {
    let text = outcome.reply().map(ToString::to_string).unwrap_or_default();
    let says = |word: &str| text.split_whitespace().any(|said| said == word);
    let about = says(&format!("m{send}")) && (says(&format!("r{recipient}")) || says("r*"));
    match (outcome, taken) {
        (Outcome::Accepted(_), [queue_id]) if about && says(&format!("q{queue_id}")) => None,
        (Outcome::Accepted(_), [_]) => Some("accepted by the reply to something else"),
        (Outcome::Accepted(_), _) => Some("accepted by nobody"),
        (Outcome::Refused { .. } | Outcome::NotSent, [_, ..]) => Some("delivered all the same"),
        // Whoever hangs up on an idle client does not know what it is about to say.
        (Outcome::Refused { .. }, []) if says("idle") => None,
        (Outcome::Refused { .. }, []) if !about => Some("refused by the reply to something else"),
        (Outcome::Refused { .. }, []) if !refused => Some("refused by nobody"),
        _ => None,
    }
}

fn name_of(outcome: &Outcome, delivered: bool) -> &'static str {
    match (outcome, delivered) {
        (Outcome::Accepted(_), _) => "accepted",
        (Outcome::Refused { stage: Stage::Mail, .. }, _) => "refused at MAIL",
        (Outcome::Refused { stage: Stage::Rcpt, .. }, _) => "refused at RCPT",
        (Outcome::Refused { stage: Stage::Data, .. }, _) => "refused at DATA",
        (Outcome::Refused { stage: Stage::Content, .. }, _) => "refused content",
        (Outcome::NotSent, _) => "not sent",
        (_, true) => "in doubt and delivered",
        (_, false) => "in doubt and not delivered",
    }
}

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Everything that has to happen at least once in a long run.
    pub const KINDS: [&'static str; 36] = [
        "sessions",
        "sends",
        "accepted",
        "refused at MAIL",
        "refused at RCPT",
        "refused at DATA",
        "refused content",
        "not sent",
        "in doubt and delivered",
        "in doubt and not delivered",
        "not begun",
        "unknown",
        "cancelled",
        "aborted",
        "cancelled in vain",
        "sources failed",
        "resets",
        "never flushed",
        "contents by DATA",
        "contents by BDAT",
        "contents for nobody",
        "chunks for nobody",
        "early refusals",
        "421",
        "hung up",
        "stalls",
        "half replies",
        "idle",
        "no connection",
        "no session",
        "partitions",
        "deaf links",
        "mute links",
        "holds",
        "crashes",
        "power cuts",
    ];

    /// Counts.
    pub fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| self.add(what, *times));
    }

    /// What never happened.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        Self::KINDS.into_iter().filter(|kind| !self.0.contains_key(kind))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Self::KINDS.iter().map(|kind| format!("{} {kind}", self.0.get(kind).unwrap_or(&0)));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}
