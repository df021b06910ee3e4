//! The application: it sends its letters, cancels some, and sends again what was refused or not sent.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use smtp_driver::Error;
use smtp_proto::{
    Config, Failure, ForwardPath, OnRefusal, Outcome, Report, ReversePath, Security, Setup, TlsPolicy, Transaction,
};
use smtp_tokio::{Client, Duplex};
use tokio::io::{BufReader, BufStream};
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use super::ledger::{Fate, Send, path};
use super::plan::Plan;
use super::server::Shared;
use super::streams::{Pieces, Source};
use crate::dice::Dice;
use crate::lab;

/// How often a letter is tried.
const TRIES: usize = 3;

pub(super) type Session = Client<Box<dyn Duplex>>;

/// What is still to be sent.
pub(super) struct Job {
    pub(super) letter: usize,
    pub(super) recipients: Vec<usize>,
    tries: usize,
}

/// The application.
pub(super) struct Post {
    pub(super) plan: Rc<Plan>,
    pub(super) ledger: Shared,
    pub(super) dice: Dice,
    jobs: VecDeque<Job>,
}

/// Runs the client's host.
///
/// # Errors
///
/// None; what is wrong stands in the ledger.
pub(super) async fn run(plan: Rc<Plan>, ledger: Shared) -> turmoil::Result {
    let all = |(letter, job): (usize, &super::plan::Letter)| Job {
        letter,
        recipients: (0..job.recipients).collect(),
        tries: 0,
    };
    let jobs = plan.letters.iter().enumerate().map(all).collect();
    let mut post = Post { dice: Dice::new(plan.seed, 2), ledger, jobs, plan };
    for _ in 0..post.plan.connections {
        if post.jobs.is_empty() {
            break;
        }
        match post.connect().await {
            Some(client) => post.session(client).await,
            None => post.note("no session"),
        }
        sleep(post.dice.ticks(0..=30)).await;
    }
    Ok(())
}

impl Post {
    fn config(&self) -> Config {
        let mut config = if self.plan.lmtp { lab::lmtp() } else { lab::smtp() };
        let timeouts = &mut config.timeouts;
        for wait in [
            &mut timeouts.greeting,
            &mut timeouts.command,
            &mut timeouts.mail,
            &mut timeouts.rcpt,
            &mut timeouts.data_init,
            &mut timeouts.data_block,
            &mut timeouts.data_done,
            &mut timeouts.quit,
        ] {
            *wait = self.plan.patience;
        }
        config.pipelining = self.plan.pipelines;
        config.pipeline_window = self.plan.window;
        config.body_buffer = self.plan.buffer;
        config.chunking = self.plan.chunking;
        config
    }

    async fn connect(&mut self) -> Option<Session> {
        let Ok(Ok(stream)) = timeout(self.plan.patience, TcpStream::connect(("server", 25))).await else {
            self.count("no connection");
            return None;
        };
        let pieces = Pieces::new(stream, self.dice.clone(), self.plan.piece);
        let stream: Box<dyn Duplex> = if self.plan.holds_back {
            Box::new(BufStream::with_capacity(4096, 4096, pieces))
        } else {
            Box::new(pieces)
        };
        let start = Client::start(stream, Security::Plaintext, self.config(), Setup::new(TlsPolicy::None, None));
        match self.maybe_cut_off(start).await? {
            Ok(client) => Some(client),
            Err(error) => {
                self.count("no session");
                if error.report().is_some() {
                    self.violation(format!("a session that did not come about has a report: {error:?}"));
                }
                None
            }
        }
    }

    async fn session(&mut self, mut client: Session) {
        while let Some(job) = self.jobs.pop_front() {
            match self.post(client, job).await {
                Some(same) => client = same,
                None => return,
            }
            // A connection that is over is sometimes tried again all the same: it has to say so.
            if client.connection().close_reason().is_some() && !self.dice.one_in(4) {
                return;
            }
            if self.dice.one_in(5) {
                sleep(self.dice.ticks(0..=60)).await;
            }
            if self.dice.one_in(8) && client.noop().await.is_err() {
                return;
            }
        }
        if !self.dice.one_in(4) {
            let quit = client.quit();
            self.maybe_cut_off(quit).await;
        }
    }

    /// Sends one letter. Gives the client back if it can still be asked.
    async fn post(&mut self, mut client: Session, job: Job) -> Option<Session> {
        let number = self.register(job.letter, &job.recipients);
        let (transaction, source) = self.letter(number, &job);
        let sending = client.send(transaction, source);
        match self.maybe_cut_off(sending).await {
            Some(result) => {
                self.settle(number, job, result);
                Some(client)
            }
            None if self.dice.one_in(4) => {
                self.close(number, Fate::Unknown);
                None
            }
            None => self.after_cancellation(client, number, job).await,
        }
    }

    /// What is handed to `send`.
    pub(super) fn letter(&self, number: usize, job: &Job) -> (Transaction, BufReader<Source>) {
        let letter = self.plan.letters[job.letter].clone();
        let transaction = transaction(number, job, letter.on_refusal);
        let transaction = if letter.declared { transaction.content(&letter.content) } else { transaction };
        let source = Source::new(letter.content, letter.piece, letter.pause, letter.fails_at);
        (transaction, BufReader::with_capacity(letter.piece, source))
    }

    /// A call of `send` came back.
    pub(super) fn settle(&mut self, number: usize, job: Job, result: Result<Report, Error>) {
        let report = match result {
            Ok(report) => report,
            Err(error) => {
                self.note(format!("m{number}: {error}"));
                match &error {
                    Error::Message { .. } => self.count("sources failed"),
                    Error::Stream { error, .. } if error.kind() == io::ErrorKind::TimedOut => {
                        self.count("never flushed")
                    }
                    Error::Stream { .. } => self.count("resets"),
                    _ => {}
                }
                let Some(report) = error.report() else {
                    self.close(number, Fate::Unbegun);
                    // What was wrong with the call is still wrong the next time.
                    if !matches!(error.failure(), Some(Failure::Usage(_))) {
                        self.again(job, |_| true);
                    }
                    return;
                };
                if report.recipients().any(|(_, outcome)| outcome.is_accepted()) {
                    self.violation(format!("m{number} was accepted, and failed: {error}"));
                }
                report.clone()
            }
        };
        let outcomes: Vec<Outcome> = report.recipients().map(|(_, outcome)| outcome.clone()).collect();
        self.note(format!("m{number}: {outcomes:?}"));
        self.close(number, Fate::Reported(report));
        self.again(job, |place| {
            matches!(outcomes.get(place), Some(Outcome::NotSent | Outcome::Refused { transient: true, .. }))
        });
    }

    /// Tries those recipients once more whose places are to be.
    pub(super) fn again(&mut self, job: Job, wanted: impl Fn(usize) -> bool) {
        let recipients = job.recipients.iter().enumerate().filter(|(place, _)| wanted(*place));
        let recipients: Vec<usize> = recipients.map(|(_, recipient)| *recipient).collect();
        if job.tries + 1 < TRIES && !recipients.is_empty() {
            self.jobs.push_back(Job { recipients, tries: job.tries + 1, ..job });
        }
    }

    pub(super) fn register(&mut self, letter: usize, recipients: &[usize]) -> usize {
        let mut ledger = self.ledger.borrow_mut();
        ledger.count("sends");
        ledger.sends.push(Send { letter, recipients: recipients.to_vec(), fate: None });
        ledger.sends.len() - 1
    }

    pub(super) fn close(&mut self, number: usize, fate: Fate) {
        self.ledger.borrow_mut().sends[number].fate = Some(fate);
    }

    pub(super) fn count(&self, what: &'static str) {
        self.ledger.borrow_mut().count(what);
    }

    fn note(&self, what: impl AsRef<str>) {
        let at: Duration = turmoil::sim_elapsed().unwrap_or_default();
        self.ledger.borrow_mut().note(format!("{:6} client {}", at.as_millis(), what.as_ref()));
    }

    pub(super) fn violation(&self, what: impl Into<String>) {
        self.ledger.borrow_mut().violation(what);
    }
}

/// The envelope names the call and the recipients, so that the server knows both.
fn transaction(number: usize, job: &Job, on_refusal: OnRefusal) -> Transaction {
    let from = ReversePath::parse(&format!("m{number}@client.example")).expect("a valid path");
    let to = |recipient: &usize| ForwardPath::parse(&path(job.letter, *recipient)).expect("a valid path");
    Transaction::new(from).to_all(job.recipients.iter().map(to)).on_refusal(on_refusal)
}
