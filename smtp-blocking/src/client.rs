//! A session over a blocking stream.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smtp_driver::{Dialogue, Error, Transcript, TranscriptHook};
use smtp_proto::sasl::ChannelBindings;
use smtp_proto::{
    Capabilities, CloseReason, CommandLine, Config, Connection, Event, Failure, OriginalClient, Reply, Security,
    SecurityReport, Setup, State, Step, Time, TlsPolicy, UsageError,
};

use crate::stream::Stream;

/// Octets read at a time.
const READ: usize = 16 * 1024;

/// The longest that a write may block at a time before the client looks whether the server has said something meanwhile.
const GLANCE: Duration = Duration::from_secs(1);

/// How long content may go out before the client looks whether the server has already refused it.
const LOOK: Duration = Duration::from_millis(10);

/// An SMTP or LMTP session over a stream `S`.
///
/// Dropping it closes the stream without QUIT, which is always safe: a message whose content is not complete is discarded
/// by the server. [`quit`](Self::quit) takes leave properly.
pub struct Client<S> {
    stream: S,
    pub(crate) dialogue: Dialogue,
    started: Instant,
    buffer: Box<[u8]>,
    /// What the timeout of reads is set to, if it is.
    armed: Option<Duration>,
    /// When the stream was last read from.
    looked: Time,
}

/// Sessions.
impl<S: Stream> Client<S> {
    /// Starts a session on a fresh stream: waits for the greeting, says hello unless that is left to the caller, and
    /// authenticates if `setup` has credentials. A stream that is to be upgraded to TLS is for
    /// [`start_tls`](Self::start_tls).
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses, or no session comes about otherwise.
    pub fn start(stream: S, security: Security, mut config: Config, setup: Setup) -> Result<Self, Error> {
        setup.configure(&mut config, security);
        Self::new(stream, security, config, None).establish_as_it_is(setup)
    }

    /// Starts a session in clear, has `upgrade` turn the stream into one within TLS after STARTTLS, and starts anew there.
    /// Each read and write of the handshake is bounded by the time that STARTTLS may take; `upgrade` may bound the whole.
    /// The setup's policy counts as [`TlsPolicy::Require`](smtp_proto::TlsPolicy::Require), for without TLS there is no `T`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses TLS, the handshake fails, or no session comes about otherwise. Nothing but the
    /// hello was then said in clear.
    pub fn start_tls<T: Stream, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        stream: S,
        mut config: Config,
        setup: Setup,
        upgrade: impl FnOnce(S) -> Result<(T, ChannelBindings), E>,
    ) -> Result<Client<T>, Error> {
        let mut setup = setup.policy(TlsPolicy::Require);
        setup.configure(&mut config, Security::Plaintext);
        let mut client = Self::new(stream, Security::Plaintext, config, None);
        match client.establish(&mut setup)? {
            Step::UpgradeTls => {}
            _ => return Err(Failure::TlsRequired { reply: None, suspicious: false }.into()),
        }
        let limit = client.patience();
        let mut client = client.upgrade(&mut setup, |mut stream| {
            stream.set_timeouts(Some(limit), Some(limit)).map_err(Error::tls)?;
            upgrade(stream).map_err(Error::tls)
        })?;
        client.establish(&mut setup)?;
        Ok(client)
    }

    pub(crate) fn new(stream: S, security: Security, config: Config, transcript: Option<TranscriptHook>) -> Self {
        Self {
            stream,
            dialogue: Dialogue::new(config, security, transcript),
            started: Instant::now(),
            buffer: vec![0; READ].into(),
            armed: None,
            looked: Time::default(),
        }
    }

    /// Drives the setup on a stream that nobody upgrades.
    pub(crate) fn establish_as_it_is(mut self, setup: Setup) -> Result<Self, Error> {
        let mut setup = setup.without_upgrade(&self.dialogue.connection)?;
        self.establish(&mut setup)?;
        Ok(self)
    }

    /// Drives the setup until the session is ready or the stream is to be upgraded.
    pub(crate) fn establish(&mut self, setup: &mut Setup) -> Result<Step, Error> {
        loop {
            let event = self.next_event()?;
            match self.dialogue.advance(setup, &event) {
                Ok(Step::Continue) => {}
                Ok(step) => return Ok(step),
                Err(failure) => {
                    // QUIT, perhaps.
                    self.transmit();
                    return Err(self.dialogue.failed(failure));
                }
            }
        }
    }

    /// Goes on over another stream, which is within TLS.
    pub(crate) fn upgrade<T: Stream>(
        self,
        setup: &mut Setup,
        upgrade: impl FnOnce(S) -> Result<(T, ChannelBindings), Error>,
    ) -> Result<Client<T>, Error> {
        let Self { stream, mut dialogue, started, buffer, armed: _, looked } = self;
        let (stream, bindings) = upgrade(stream)?;
        setup.channel_bindings(bindings);
        dialogue.connection.handle_tls_established()?;
        Ok(Client { stream, dialogue, started, buffer, armed: None, looked })
    }

    /// How long the handshake may take.
    pub(crate) fn patience(&mut self) -> Duration {
        let now = self.now();
        // Never zero, which sockets take for an error.
        self.dialogue.connection.poll_timeout(now).map_or(Duration::MAX, |left| left.max(Duration::from_millis(1)))
    }

    /// Takes leave with QUIT and closes the stream.
    ///
    /// # Errors
    ///
    /// [`Error`] when the session was already over. How the server takes the QUIT does not matter.
    pub fn quit(mut self) -> Result<(), Error> {
        self.prepare();
        let started = self.dialogue.connection.quit();
        self.dialogue.started(started)?;
        loop {
            match self.next_event()? {
                Event::Closed(CloseReason::Quit) => {
                    self.stream.close();
                    return Ok(());
                }
                Event::Closed(reason) => return Err(self.dialogue.failed(Failure::closed(reason, None))),
                _ => {}
            }
        }
    }

    /// Calls `hook` for everything that is sent and received from now on. Nothing secret is among it.
    pub fn set_transcript(&mut self, hook: impl Fn(Transcript<'_>) + Send + Sync + 'static) {
        self.dialogue.set_transcript(Arc::new(hook));
    }

    /// What the server offers.
    pub fn capabilities(&self) -> &Capabilities {
        self.dialogue.connection.capabilities()
    }

    /// The server's greeting.
    pub fn greeting(&self) -> Option<&Reply> {
        self.dialogue.greeting()
    }

    /// How safe the session is.
    pub fn security(&self) -> &SecurityReport {
        self.dialogue.security()
    }

    /// Whether the session runs within TLS.
    pub fn is_secure(&self) -> bool {
        self.dialogue.connection.is_secure()
    }

    /// The protocol machine.
    pub fn connection(&self) -> &Connection {
        &self.dialogue.connection
    }

    /// The protocol machine, to start what this type has no method for; [`next_event`](Self::next_event) then drives it. Its
    /// events have to be heard before another method is called, which drops what is left of them.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.dialogue.connection
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

/// Single commands.
impl<S: Stream> Client<S> {
    /// Says EHLO (in LMTP, LHLO) again or for the first time.
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be said, or no reply comes. A refusal is a reply.
    pub fn ehlo(&mut self) -> Result<Reply, Error> {
        self.ask(Connection::ehlo)
    }

    /// Says HELO.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub fn helo(&mut self) -> Result<Reply, Error> {
        self.ask(Connection::helo)
    }

    /// Says NOOP.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub fn noop(&mut self) -> Result<Reply, Error> {
        self.ask(Connection::noop)
    }

    /// Says RSET, giving up a transaction by hand.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub fn reset(&mut self) -> Result<Reply, Error> {
        self.ask(Connection::reset)
    }

    /// Says a command of the caller's: [`CommandLine::vrfy`], [`expn`](CommandLine::expn), [`help`](CommandLine::help), or
    /// any other.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub fn command(&mut self, line: &CommandLine) -> Result<Reply, Error> {
        self.ask(|connection| connection.command(line))
    }

    /// Says XCLIENT and, if the server takes this client for the other one, hello again, unless that is left to the caller:
    /// see [`Connection::xclient`]. The reply is the new greeting, or the refusal.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo), and when the server accepts it but then refuses the hello.
    pub fn xclient(&mut self, client: &OriginalClient) -> Result<Reply, Error> {
        self.ask(|connection| connection.xclient(client))
    }

    /// Starts something that a reply answers, and waits for that.
    pub(crate) fn ask(
        &mut self,
        start: impl FnOnce(&mut Connection) -> Result<(), UsageError>,
    ) -> Result<Reply, Error> {
        self.prepare();
        let started = start(&mut self.dialogue.connection);
        self.dialogue.started(started)?;
        // An answer that nobody has heard of until now is the answer to something else.
        while self.dialogue.connection.poll_event().is_some() {}
        let mut greeting = None;
        loop {
            let event = self.next_event()?;
            if let Some(reply) = self.dialogue.answer(event, &mut greeting) {
                return Ok(reply);
            }
        }
    }
}

/// The loop.
impl<S: Stream> Client<S> {
    /// Moves octets until something happens. Needed only with [`connection_mut`](Self::connection_mut). Where nothing is due,
    /// as on an idle connection or while the server waits for content, it waits for the server without a limit.
    ///
    /// # Errors
    ///
    /// [`Error`] when the session is over and has told everything.
    pub fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.dialogue.connection.poll_event() {
                return Ok(event);
            }
            if let Some(error) = self.dialogue.over() {
                return Err(error);
            }
            self.turn();
        }
    }

    /// Before a verb: lets the core finish what it does by itself, and notices what an idle connection has missed. Content
    /// that is owed only the caller can finish.
    pub(crate) fn prepare(&mut self) {
        while self.dialogue.connection.state() == State::Busy && self.dialogue.connection.body().is_none() {
            self.turn();
        }
        if self.dialogue.is_stale(self.now()) {
            self.glance();
        }
    }

    /// Moves octets once: out if there are any, else in.
    pub(crate) fn turn(&mut self) {
        if self.dialogue.connection.poll_transmit().is_some() {
            self.transmit();
        } else {
            self.receive();
        }
    }

    /// Writes until the core has nothing to send.
    pub(crate) fn transmit(&mut self) {
        while self.dialogue.connection.poll_transmit().is_some() && self.arm() {
            let Some(out) = self.dialogue.connection.poll_transmit() else { break };
            let result = self.stream.write(&out);
            let now = self.now();
            match result {
                Ok(taken) => self.dialogue.sent(taken, now),
                Err(error) if is_timeout(&error) => {
                    self.armed = None;
                    self.dialogue.connection.handle_timeout(now);
                    self.glance();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.dialogue.write_failed(error, now),
            }
        }
        self.flush();
    }

    /// Has a stream that holds octets back, as TLS does, send them. To the core these have left, so their deadline is kept
    /// here: as long as a block of content may take.
    fn flush(&mut self) {
        let start = self.now();
        while self.dialogue.connection.state() != State::Closed {
            match self.stream.flush() {
                Ok(()) => return,
                Err(error) if is_timeout(&error) => {
                    self.armed = None;
                    let now = self.now();
                    if now.saturating_duration_since(start) >= self.dialogue.connection.config().timeouts.data_block {
                        return self.dialogue.write_failed(io::ErrorKind::TimedOut.into(), now);
                    }
                    self.dialogue.connection.handle_timeout(now);
                    self.glance();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.dialogue.write_failed(error, self.now()),
            }
        }
    }

    /// Reads once, as long as the deadline allows.
    pub(crate) fn receive(&mut self) {
        if self.arm() {
            let result = self.stream.read(&mut self.buffer);
            if result.as_ref().is_err_and(is_timeout) {
                self.armed = None;
            }
            self.take(result);
        }
    }

    /// Reads what has already come.
    pub(crate) fn glance(&mut self) {
        let result = self.stream.try_read(&mut self.buffer);
        self.take(result);
    }

    /// As [`glance`](Self::glance), but not again and again: it takes three system calls.
    pub(crate) fn glance_now_and_then(&mut self) {
        if self.now().saturating_duration_since(self.looked) >= LOOK {
            self.glance();
        }
    }

    fn take(&mut self, result: io::Result<usize>) {
        let now = self.now();
        self.looked = now;
        match result {
            Ok(length) => self.dialogue.received(self.buffer.get(..length).unwrap_or(&self.buffer), now),
            Err(error) if is_timeout(&error) => self.dialogue.connection.handle_timeout(now),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.dialogue.read_failed(error),
        }
    }

    /// Sets the stream's timeouts so that no read or write outlasts the deadline. False when the deadline has passed, or the
    /// stream cannot be bounded.
    ///
    /// A system call for each wait would cost more than the wait, so timeouts are only ever set to powers of two and kept
    /// while they are short enough: a call that ends early for it is simply made again.
    fn arm(&mut self) -> bool {
        let now = self.now();
        let left = self.dialogue.connection.poll_timeout(now);
        if left.is_some_and(|left| left.is_zero()) {
            self.dialogue.connection.handle_timeout(now);
            return false;
        }
        if self.armed.is_some_and(|armed| left.is_none_or(|left| armed <= left)) {
            return true;
        }
        // Where nothing is due a read may take for ever; a write never may.
        let read = left.map(power_of_two);
        let write = read.map_or(GLANCE, |read| read.min(GLANCE));
        if let Err(error) = self.stream.set_timeouts(read, Some(write)) {
            self.dialogue.read_failed(error);
            return false;
        }
        self.armed = read;
        true
    }

    fn now(&self) -> Time {
        Time::from_duration(self.started.elapsed())
    }
}

/// The largest power of two in milliseconds within `duration`; one millisecond at least.
fn power_of_two(duration: Duration) -> Duration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(1 << millis.ilog2())
}

/// How a socket says that its timeout has passed: the one on Unix, the other on Windows.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &self.dialogue.connection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_powers_of_two_within_the_deadline() {
        for (left, set) in [(0, 1), (1, 1), (1000, 512), (1024, 1024), (300_000, 262_144)] {
            assert_eq!(power_of_two(Duration::from_millis(left)), Duration::from_millis(set));
        }
        assert!(power_of_two(Duration::MAX) > Duration::from_secs(u64::MAX / 2000));
    }
}
