//! Runs one session of the machine and holds it against the model.

use std::collections::BTreeMap;
use std::fmt;

use smtp_proto::{LineEndings, Stage};

use super::client::{Client, LockStep, Peer};
use super::plan::{Kind, Plan};
use super::server::{Message, Server};
use super::talk::{Talk, Told};
use super::trace::Reader;
use super::{Verdict, encoder, verdicts_of};

/// What came of one session.
#[derive(Debug)]
pub struct Run {
    /// What was planned.
    pub plan: Plan,
    /// What happened.
    pub told: Told,
    /// What must not be.
    pub wrong: Option<String>,
}

/// Runs the session of `seed`.
pub fn run(seed: u64) -> Run {
    let plan = Plan::new(seed);
    let mut talk = Talk::new(plan.config.clone(), Server::new(plan.policy.clone()), &plan.letters);
    talk.capacity = plan.capacity;
    talk.dice = Some(plan.dice.clone());
    talk.trouble = plan.trouble;
    talk.lies = plan.lies;
    let told = talk.run();
    let wrong = told.wrong.clone().or_else(|| judge(&plan, &told).err());
    Run { plan, told, wrong }
}

fn client<P: Peer>(plan: &Plan, peer: P) -> Client<P> {
    let mut client = Client::new(peer, plan.policy.lmtp);
    (client.chunked, client.prdr) = (plan.is_chunked(), plan.has_verdicts());
    client
}

/// The verdicts of each message, and whether there is a session after it.
fn verdicts<P: Peer>(client: &mut Client<P>, plan: &Plan) -> Vec<(Vec<Verdict>, bool)> {
    plan.letters.iter().map(|letter| (client.send(letter), !client.over)).collect()
}

fn judge(plan: &Plan, told: &Told) -> Result<(), String> {
    let ids: Vec<u64> = told.reports.iter().map(|report| report.id().get()).collect();
    if !ids.into_iter().eq(0..told.begun as u64) || told.server.turns > told.begun {
        return Err(format!("{} begun, {} reports, {} MAILs", told.begun, told.reports.len(), told.server.turns));
    }
    for (report, letter) in told.reports.iter().zip(&plan.letters) {
        let paths = report.recipients().map(|(path, _)| path);
        if !paths.eq(letter.transaction(false).recipients()) {
            return Err(format!("a recipient is lost, doubled or out of order: {report:?}"));
        }
    }
    let reported: Vec<Vec<Verdict>> = told.reports.iter().map(verdicts_of).collect();
    let pipelines = plan.config.pipelining && plan.policy.offers.contains(&"PIPELINING");
    let mut reader = client(plan, Reader::new(&told.trace, !pipelines));
    let heard = verdicts(&mut reader, plan);
    for (number, reported) in reported.iter().enumerate() {
        compare(plan, number, reported, &heard[number].0).map_err(|what| format!("by what was heard, {what}"))?;
    }
    if reader.peer.hasty {
        return Err("something was said too early".into());
    }
    if let Some(said) = reader.peer.ended.filter(|said| reader.over && *said < told.trace.said.len()) {
        return Err(format!("{} octets after the end", told.trace.said.len() - said));
    }
    if plan.kind == Kind::Plain {
        in_lock_step(plan, told, &reported).map_err(|what| format!("in lock-step, {what}"))?;
    }
    contents(plan, told)?;
    match &told.server.out_of_order {
        // Who was told a lie is not to blame for what follows, nor can know what the server thinks.
        _ if plan.kind == Kind::Lies => Ok(()),
        Some(line) => Err(format!("said out of order: {line}")),
        None => ledger(told, &reported),
    }
}

/// Nothing went wrong, so a client that does one thing at a time has the same server do the same.
fn in_lock_step(plan: &Plan, told: &Told, reported: &[Vec<Verdict>]) -> Result<(), String> {
    let server = Server::new(plan.policy.clone());
    let hello = if plan.policy.lmtp { "LHLO me\r\n" } else { "EHLO me\r\n" };
    let mut client = client(plan, LockStep::new(server, hello));
    let expected = verdicts(&mut client, plan);
    for (number, (reported, (expected, _))) in reported.iter().zip(&expected).enumerate() {
        compare(plan, number, reported, expected)?;
    }
    let goes_on = told.begun == 0 || expected[told.begun - 1].1;
    if told.begun < plan.letters.len() && goes_on {
        return Err(format!("there were more than {} messages", told.begun));
    }
    let taken = |messages: &[Message]| -> Vec<Message> {
        messages.iter().filter(|message| !message.taken.is_empty()).cloned().collect()
    };
    if taken(&told.server.messages) != taken(&client.peer.server.messages) {
        return Err("the server takes other messages".into());
    }
    Ok(())
}

/// What the server got as a whole is what was given, and it got nothing twice.
fn contents(plan: &Plan, told: &Told) -> Result<(), String> {
    let mut turns = Vec::new();
    for message in told.server.messages.iter().filter(|message| !message.to.is_empty()) {
        let letter = &plan.letters[message.turn];
        let stream = encoder::encode(&letter.content, LineEndings::Normalize).unwrap_or_default();
        let lines = encoder::decode(&stream).map(|(content, _)| content);
        let given = if plan.is_chunked() { Some(&letter.content) } else { lines.as_ref() };
        // To a client that was lied to it may look as if nobody was accepted, and its lone dot to the server like a message.
        let nobody = plan.kind == Kind::Lies && message.content.is_empty();
        if Some(&message.content) != given && !nobody {
            return Err(format!("message {} came as {:?}", message.turn, String::from_utf8_lossy(&message.content)));
        }
        if turns.contains(&message.turn) {
            return Err(format!("message {} came twice", message.turn));
        }
        turns.push(message.turn);
    }
    Ok(())
}

/// Whom the server wrote down has the message, and nobody else.
fn ledger(told: &Told, reported: &[Vec<Verdict>]) -> Result<(), String> {
    for (number, verdicts) in reported.iter().enumerate() {
        let message = told.server.messages.iter().find(|message| message.turn == number && !message.to.is_empty());
        for (index, verdict) in verdicts.iter().enumerate() {
            let complete = message.is_some_and(|message| message.to.contains(&index));
            let taken = message.is_some_and(|message| message.taken.contains(&index));
            let truthful = match verdict {
                Verdict::Accepted(_) => taken,
                Verdict::Refused(Stage::Content, _) => !taken,
                Verdict::Refused(..) | Verdict::NotSent => !complete,
                Verdict::InDoubt => told.server.ended.contains(&number),
            };
            if !truthful {
                return Err(format!("message {number} recipient {index}: {verdict:?}, and taken is {taken}"));
            }
        }
    }
    Ok(())
}

fn compare(plan: &Plan, number: usize, reported: &[Verdict], expected: &[Verdict]) -> Result<(), String> {
    let first_refusal = expected.iter().position(|verdict| matches!(verdict, Verdict::Refused(Stage::Rcpt, _)));
    for (index, (reported, expected)) in reported.iter().zip(expected).enumerate() {
        // In lock-step those behind the first refusal are not asked any more.
        let unasked = plan.letters[number].all_or_none && first_refusal.is_some_and(|first| first < index);
        let refused_early =
            |verdict: &Verdict| matches!(verdict, Verdict::NotSent | Verdict::Refused(Stage::Content, _));
        // What comes before a chunk may refuse it if it is queued already, which nobody sees from outside.
        let early = plan.kind == Kind::Lies && plan.is_chunked() && refused_early(reported) && refused_early(expected);
        let fits = reported == expected || early || unasked && matches!(reported, Verdict::Refused(Stage::Rcpt, _));
        if !fits {
            return Err(format!("message {number} recipient {index}: {reported:?} should be {expected:?}"));
        }
    }
    Ok(())
}

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// Everything that has to happen at least once in a long run.
    const OUTCOMES: [&'static str; 7] = [
        "accepted",
        "refused at MAIL",
        "refused at RCPT",
        "refused at DATA",
        "refused content",
        "not sent",
        "in doubt",
    ];

    /// Counts what came of a session.
    pub fn add(&mut self, run: &Run) {
        for verdict in run.told.reports.iter().flat_map(verdicts_of) {
            let outcome = match verdict {
                Verdict::Accepted(_) => 0,
                Verdict::Refused(Stage::Mail, _) => 1,
                Verdict::Refused(Stage::Rcpt, _) => 2,
                Verdict::Refused(Stage::Data, _) => 3,
                Verdict::Refused(..) => 4,
                Verdict::NotSent => 5,
                Verdict::InDoubt => 6,
            };
            self.count(Self::OUTCOMES[outcome]);
        }
        let closed = format!("{:?}", run.told.closed);
        let name: String = closed.trim_start_matches("Some(").chars().take_while(char::is_ascii_alphabetic).collect();
        self.count(&format!("ended by {name}"));
    }

    fn count(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(what.into(), 1)),
        }
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// What never happened.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        Self::OUTCOMES.into_iter().filter(|outcome| !self.0.contains_key(*outcome))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
        f.write_str(&counts.join(", "))
    }
}
