//! What the application was told, held against what Postfix has delivered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use smtp_conformance::relay;
use smtp_proto::Outcome;

use crate::client::{Attempt, Driver, Way, Work, mark};
use crate::letter::Letter;
use crate::mailbox::Found;

/// Everything that is counted, in the order in which it is printed.
const KINDS: [&str; 23] = [
    "messages",
    "recipients",
    "attempts",
    "pipelined",
    "in lock step",
    "by BDAT",
    "by BDAT ahead",
    "accepted",
    "refused",
    "not sent",
    NOT_BEGUN,
    "in doubt and found",
    "in doubt and not found",
    GIVEN_UP,
    "connections",
    "no session",
    "timeouts",
    "resets",
    "closes",
    "half closes",
    "stalls",
    "pieces",
    "pauses",
];

/// Recipients of a call that did nothing, since the session had ended before.
const NOT_BEGUN: &str = "not begun";
/// Recipients that were not sent to, however often it was tried.
const GIVEN_UP: &str = "given up";
/// What need not happen, being rare.
const RARE: [&str; 2] = [NOT_BEGUN, GIVEN_UP];

/// The account of one driver.
#[derive(Debug)]
pub(crate) struct Ledger {
    driver: Driver,
    seed: u64,
    counts: BTreeMap<&'static str, u64>,
    /// What must not be, each with what was said.
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    pub(crate) fn new(driver: Driver, seed: u64, network: &relay::Tally) -> Self {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = [
            ("connections", read(&network.connections)),
            ("resets", read(&network.resets)),
            ("closes", read(&network.closes)),
            ("half closes", read(&network.half_closes)),
            ("stalls", read(&network.stalls)),
            ("pieces", read(&network.pieces)),
            ("pauses", read(&network.pauses)),
        ];
        Self { driver, seed, counts: counts.into(), violations: Vec::new() }
    }

    fn add(&mut self, what: &'static str, more: u64) {
        *self.counts.entry(what).or_default() += more;
    }

    /// Compares what one worker was told with what was found, which is taken away.
    pub(crate) fn judge(&mut self, work: &Work, found: &mut Found) {
        self.add("no session", work.no_session);
        self.add("timeouts", work.timeouts);
        self.add(GIVEN_UP, work.given_up);
        let mut delivered: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for attempt in &work.attempts {
            let letter = Letter::new(self.seed, attempt.letter);
            if attempt.number == 0 {
                self.add("messages", 1);
                self.add("recipients", letter.recipients.len() as u64);
            }
            self.add("attempts", 1);
            let way = match attempt.way {
                Way::Pipelined => "pipelined",
                Way::LockStep => "in lock step",
                Way::Chunks => "by BDAT",
                Way::Ahead => "by BDAT ahead",
            };
            self.add(way, 1);
            let mut wrong = Vec::new();
            for (to, outcome) in &attempt.outcomes {
                let user = &letter.recipients[*to];
                let key = (mark(self.driver, attempt.letter, attempt.number), user.clone());
                let copies = found.remove(&key).unwrap_or_default();
                let in_all = delivered.entry((attempt.letter, *to)).or_default();
                *in_all += copies.len();
                if !is_true(outcome.as_ref(), copies.len()) {
                    wrong.push(format!("{user}: {outcome:?}, found {} times", copies.len()));
                } else if *in_all > 1 {
                    wrong.push(format!("{user}: found {in_all} times in all"));
                }
                let expected: Vec<u8> = letter.body().iter().copied().filter(|&octet| octet != b'\r').collect();
                if copies.iter().any(|copy| *copy != expected) {
                    wrong.push(format!("{user}: found, and not as it was sent"));
                }
                self.add(name_of(outcome.as_ref(), !copies.is_empty()), 1);
            }
            if !wrong.is_empty() {
                self.violation(attempt, &wrong);
            }
        }
    }

    fn violation(&mut self, attempt: &Attempt, wrong: &[String]) {
        let Attempt { letter, number, log, .. } = attempt;
        let case = format!("seed {}, {}, message {letter}, attempt {number}", self.seed, self.driver);
        self.violations.push([&[case], wrong, log].concat().join("\n  "));
    }

    /// What never happened, though it should have.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &'static str> {
        KINDS.into_iter().filter(|kind| !RARE.contains(kind) && self.count(kind) == 0)
    }

    fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or_default()
    }
}

/// Whether an outcome is true of a recipient who got so many copies.
fn is_true(outcome: Option<&Outcome>, copies: usize) -> bool {
    match outcome {
        Some(Outcome::Accepted(_)) => copies == 1,
        Some(Outcome::Refused { .. } | Outcome::NotSent) | None => copies == 0,
        Some(Outcome::InDoubt) => copies <= 1,
        Some(_) => false,
    }
}

fn name_of(outcome: Option<&Outcome>, found: bool) -> &'static str {
    match (outcome, found) {
        (Some(Outcome::Accepted(_)), _) => "accepted",
        (Some(Outcome::Refused { .. }), _) => "refused",
        (Some(Outcome::NotSent), _) => "not sent",
        (None, _) => NOT_BEGUN,
        (Some(_), true) => "in doubt and found",
        (Some(_), false) => "in doubt and not found",
    }
}

/// Prints ledgers side by side.
pub(crate) fn print(ledgers: &[Ledger]) {
    let row = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
        println!("{name:<24}{cells}");
    };
    row("", ledgers.iter().map(|ledger| ledger.driver.to_string()).collect());
    for kind in KINDS {
        row(kind, ledgers.iter().map(|ledger| ledger.count(kind).to_string()).collect());
    }
}
