//! The part of a session that moves no octets.

use std::fmt;
use std::io;
use std::time::Duration;

use smtp_proto::{
    BodyError, Config, Connection, Event, Failure, Reply, Report, Security, SecurityReport, Setup, State, Step,
    Submission, Time, TransactionId, UsageError,
};

use crate::error::Error;
use crate::transcript::{Transcript, TranscriptHook};

/// The machine of a session, what it has told so far, and how its stream broke. A driver moves the octets and keeps the
/// clock.
pub struct Dialogue {
    /// The machine.
    pub connection: Connection,
    greeting: Option<Reply>,
    security: SecurityReport,
    /// How the stream broke.
    broken: Option<io::Error>,
    /// When the server was last heard.
    heard: Time,
    transcript: Option<TranscriptHook>,
}

/// A server that has just spoken has not left meanwhile; to look whether it has would cost more than it tells.
const FRESH: Duration = Duration::from_millis(100);

impl Dialogue {
    /// A dialogue on a fresh stream.
    pub fn new(config: Config, security: Security, transcript: Option<TranscriptHook>) -> Self {
        Self {
            connection: Connection::new(config, security),
            greeting: None,
            security: SecurityReport::default(),
            broken: None,
            heard: Time::default(),
            transcript,
        }
    }

    /// The server's greeting.
    pub fn greeting(&self) -> Option<&Reply> {
        self.greeting.as_ref()
    }

    /// How safe the session is.
    pub fn security(&self) -> &SecurityReport {
        &self.security
    }

    /// Shows everything that is sent and received from now on.
    pub fn set_transcript(&mut self, hook: TranscriptHook) {
        self.transcript = Some(hook);
    }

    /// Lets the setup act upon an event.
    ///
    /// # Errors
    ///
    /// [`Failure`] when there will be no session. There may be a QUIT to send, and then [`failed`](Self::failed) to call.
    pub fn advance(&mut self, setup: &mut Setup, event: &Event) -> Result<Step, Failure> {
        if let Event::Greeting(greeting) = event {
            self.greeting = Some(greeting.clone());
        }
        let result = setup.advance(&mut self.connection, event);
        self.security.clone_from(setup.report());
        result
    }

    fn show(&self, what: Transcript<'_>) {
        if let Some(hook) = self.transcript.as_ref().filter(|_| self.connection.close_reason().is_none()) {
            hook(what);
        }
    }

    /// The stream has taken so many octets of what there is to transmit.
    pub fn sent(&mut self, taken: usize, now: Time) {
        if let (Some(out), Some(hook)) = (self.connection.poll_transmit(), &self.transcript) {
            out.first(taken).pieces().for_each(|piece| hook(Transcript::Sent(piece)));
        }
        match taken {
            0 => {
                self.show(Transcript::WriteClosed);
                self.connection.handle_write_closed(now);
            }
            _ => self.connection.handle_transmitted(taken, now),
        }
    }

    /// The stream takes no more octets.
    pub fn write_failed(&mut self, error: io::Error, now: Time) {
        self.broken.get_or_insert(error);
        self.show(Transcript::WriteClosed);
        self.connection.handle_write_closed(now);
    }

    /// Octets have come, or with none of them the end.
    pub fn received(&mut self, octets: &[u8], now: Time) {
        self.heard = now;
        if octets.is_empty() {
            self.show(Transcript::Ended);
            return self.connection.handle_eof();
        }
        if let Some(hook) = &self.transcript {
            let lines = octets.split_inclusive(|&octet| octet == b'\n');
            lines.for_each(|line| hook(Transcript::Received(self.connection.transcribe(line))));
        }
        self.connection.handle_input(octets, now);
    }

    /// Whether the connection has been idle for so long that a verb should not be said without a look at what came.
    pub fn is_stale(&self, now: Time) -> bool {
        self.connection.state() == State::Ready && now.saturating_duration_since(self.heard) >= FRESH
    }

    /// The stream gives no more octets.
    pub fn read_failed(&mut self, error: io::Error) {
        // An end without close_notify is an end: SMTP says itself where its replies end.
        if error.kind() != io::ErrorKind::UnexpectedEof {
            self.broken.get_or_insert(error);
        }
        self.show(Transcript::Ended);
        self.connection.handle_eof();
    }

    /// Whether a verb was possible. On a session that is over the reason for that is the error, and it may be one that
    /// another session mends.
    ///
    /// # Errors
    ///
    /// [`Error`] when it was not.
    pub fn started<T>(&mut self, result: Result<T, UsageError>) -> Result<T, Error> {
        match result {
            Err(UsageError::Closed) => Err(self.over().unwrap_or_else(|| UsageError::Closed.into())),
            result => Ok(result?),
        }
    }

    /// Why the session is over, if it is.
    pub fn over(&mut self) -> Option<Error> {
        let reason = self.connection.close_reason()?.clone();
        Some(Error::closed(reason, None, self.broken.take()))
    }

    /// A failure, with how the stream broke if it did.
    pub fn failed(&mut self, failure: Failure) -> Error {
        Error::from_failure(failure, self.broken.take())
    }

    /// The report as a success if at least one recipient was accepted.
    ///
    /// # Errors
    ///
    /// [`Error`] when none was.
    pub fn completed(&mut self, report: Report) -> Result<Report, Error> {
        report.into_result(self.connection.close_reason()).map_err(|failure| self.failed(failure))
    }

    /// One of a message's several transactions has come to its end. If that ends the whole, why.
    pub fn part_completed(&self, submission: &mut Submission, result: Result<Report, Error>) -> Option<Error> {
        let error = match result {
            Ok(report) => {
                submission.completed(report);
                return None;
            }
            Err(error) => error,
        };
        let Some(report) = error.report() else { return Some(error) };
        submission.completed(report.clone());
        // After a refusal the others may fare better; on a session that is over nobody does.
        self.connection.close_reason().is_some().then_some(error)
    }

    /// The reply that an event is to a verb, if it is one. The reply to XCLIENT is the new greeting, and the verb is done when
    /// the hello behind it is; until then it waits in `greeting`.
    pub fn answer(&self, event: Event, greeting: &mut Option<Reply>) -> Option<Reply> {
        match event {
            Event::Reply(reply) => Some(reply),
            Event::Greeting(reply) if self.connection.config().automatic_hello => {
                *greeting = Some(reply);
                None
            }
            Event::Greeting(reply) => Some(reply),
            Event::Ready => greeting.take(),
            _ => None,
        }
    }

    /// The report of one message's several transactions, of which the last one may have failed in a way that ended it.
    ///
    /// # Errors
    ///
    /// [`Error`] when nobody was accepted.
    pub fn merged(&mut self, report: Report, failed: Option<Error>) -> Result<Report, Error> {
        match failed {
            Some(error) if !report.recipients().any(|(_, outcome)| outcome.is_accepted()) => {
                Err(error.with_report(report))
            }
            _ => self.completed(report),
        }
    }

    /// Hands over the next octets of a message, or its end where there are none.
    ///
    /// # Errors
    ///
    /// [`Spoilt`] when they may not be sent, which ends the connection.
    pub fn feed(&mut self, octets: &[u8]) -> Result<Fed, Spoilt> {
        let Some(mut body) = self.connection.body() else { return Ok(Fed::Unwanted) };
        if octets.is_empty() {
            return body.finish().map(|()| Fed::Whole).map_err(Spoilt::Unfit);
        }
        match body.write(octets).map_err(Spoilt::Unfit)? {
            0 => Ok(Fed::Full),
            taken => Ok(Fed::Taken(taken)),
        }
    }

    /// The content of a message could not be handed over, which has ended the connection. Takes all events.
    pub fn spoil(&mut self, id: TransactionId, spoilt: Spoilt) -> Error {
        let mut events = std::iter::from_fn(|| self.connection.poll_event());
        let report = events.find_map(|event| match event {
            Event::Completed(report) if report.id() == id => Some(Box::new(report)),
            _ => None,
        });
        spoilt.into_error(report)
    }

    /// A message cannot be read on, so the connection has to end without it.
    pub fn unreadable(&mut self, error: io::Error) -> Spoilt {
        self.connection.abort();
        Spoilt::Unreadable(error)
    }

    /// Why no transaction can be begun any more on this session, if so.
    pub(crate) fn unfit(&mut self) -> Option<Error> {
        let limits = self.connection.capabilities().limits();
        let used_up =
            limits.and_then(|limits| limits.mail_max()).filter(|_| self.connection.transactions_left() == Some(0));
        self.over().or_else(|| used_up.map(|maximum| UsageError::MailLimit { maximum }.into()))
    }
}

/// What became of octets of a message.
#[derive(Debug)]
pub enum Fed {
    /// So many were taken.
    Taken(usize),
    /// None was taken: octets have to move first.
    Full,
    /// It was the end, and the message is whole.
    Whole,
    /// No content is wanted: the server has refused early, or the stream broke. The events tell.
    Unwanted,
}

/// Why the content of a message could not be handed over.
#[derive(Debug)]
pub enum Spoilt {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It may not be sent.
    Unfit(BodyError),
}

impl Spoilt {
    pub(crate) fn into_error(self, report: Option<Box<Report>>) -> Error {
        match self {
            Self::Unreadable(error) => Error::Message { error, report },
            Self::Unfit(error) => Error::Content { error, report },
        }
    }
}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue").field("connection", &self.connection).finish_non_exhaustive()
    }
}
