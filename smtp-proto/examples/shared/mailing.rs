//! The messages that go over one connection, and what becomes of them. It knows nothing of streams and loops.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Display};
use std::process::ExitCode;

use smtp_proto::{CloseReason, Connection, Event, Outcome, Security, Time};

use crate::job::Job;

/// A connection and the messages that go over it, one after another.
pub(crate) struct Mailing<'a> {
    pub(crate) connection: Connection,
    pub(crate) content: Content<'a>,
    /// What became of the messages so far.
    pub(crate) summary: Summary,
    job: &'a Job,
    /// Messages not begun yet.
    waiting: usize,
}

/// The content of the message that is under way: what was not handed over yet.
pub(crate) struct Content<'a>(&'a [u8]);

impl Content<'_> {
    /// Hands over what the connection takes now.
    pub(crate) fn feed(&mut self, connection: &mut Connection) {
        let Some(mut body) = connection.body() else { return };
        // Content that may not be sent closes the connection, and the report says `NotSent`.
        let Ok(taken) = body.write(self.0) else { return };
        self.0 = self.0.get(taken..).unwrap_or_default();
        if self.0.is_empty() {
            let _ = body.finish();
        }
    }
}

impl<'a> Mailing<'a> {
    pub(crate) fn new(job: &'a Job) -> Self {
        Self {
            connection: Connection::new(job.config.clone(), Security::Plaintext),
            content: Content(&[]),
            summary: Summary::default(),
            job,
            waiting: job.messages,
        }
    }

    /// Hears what happened, and starts what comes next.
    pub(crate) fn act(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Completed(report) => {
                    report.recipients().for_each(|(path, outcome)| self.summary.recipient(path, outcome));
                }
                Event::Closed(reason) => {
                    // What this side did itself needs no telling.
                    if !matches!(reason, CloseReason::Quit | CloseReason::Aborted) {
                        self.summary.count(format!("connections: {reason}"));
                    }
                    self.give_up();
                }
                _ => {}
            }
        }
        while self.connection.can_begin() {
            if self.waiting == 0 {
                // What may begin a transaction may also quit.
                let _ = self.connection.quit();
                return;
            }
            match self.connection.begin(self.job.transaction.clone()) {
                Ok(_) => {
                    self.content = Content(&self.job.content);
                    self.waiting -= 1;
                }
                Err(error) => {
                    // As when the message is larger than the server takes. The others here are the same message again.
                    self.summary.count(format!("connections: {error}"));
                    self.give_up();
                }
            }
        }
    }

    /// Time has passed; only the connection knows whether that matters.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.connection.handle_timeout(now);
        self.act();
    }

    /// The stream could not be made.
    pub(crate) fn handle_no_stream(&mut self, error: &std::io::Error) {
        self.summary.count(format!("connections: {error}"));
        self.connection.abort();
        self.act();
    }

    /// Whether the stream may be dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// What has not begun never will.
    fn give_up(&mut self) {
        for _ in 0..std::mem::take(&mut self.waiting) {
            self.job.transaction.recipients().for_each(|path| self.summary.recipient(path, &Outcome::NotSent));
        }
    }
}

/// What became of all recipients: each line that there is to say, and how often.
#[derive(Default)]
pub(crate) struct Summary {
    lines: BTreeMap<String, usize>,
    failed: bool,
}

impl Summary {
    fn recipient(&mut self, path: impl Display, outcome: &Outcome) {
        self.failed |= !outcome.is_accepted();
        self.count(match outcome {
            // The rest of this reply is another one for each message.
            Outcome::Accepted(reply) => format!("{path} accepted: {}", reply.code()),
            Outcome::Refused { stage, reply, transient: false } => format!("{path} refused at {stage}: {reply}"),
            Outcome::Refused { stage, reply, .. } => format!("{path} refused for now at {stage}: {reply}"),
            Outcome::NotSent => format!("{path} not sent"),
            // Whoever sends it again may send it twice.
            Outcome::InDoubt => format!("{path} in doubt"),
            other => format!("{path} {other:?}"),
        });
    }

    fn count(&mut self, line: String) {
        *self.lines.entry(line).or_default() += 1;
    }

    /// Adds what another connection has to say.
    pub(crate) fn add(&mut self, other: Self) {
        self.failed |= other.failed;
        for (line, count) in other.lines {
            *self.lines.entry(line).or_default() += count;
        }
    }

    /// Prints it, to where a program that talks to the server by its standard output can print too. Anything but acceptance
    /// of every message for every recipient is a failure.
    pub(crate) fn finish(result: Result<Self, Box<dyn Error>>) -> ExitCode {
        match result {
            Ok(summary) => {
                eprint!("{summary}");
                if summary.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(line, count)| writeln!(f, "{count:>7} {line}"))
    }
}
