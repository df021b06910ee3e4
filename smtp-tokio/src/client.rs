//! A session over an asynchronous stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use smtp_driver::{Dialogue, Error, Transcript, TranscriptHook};
use smtp_proto::sasl::ChannelBindings;
use smtp_proto::{
    Capabilities, CloseReason, CommandLine, Config, Connection, Event, Failure, OriginalClient, Reply, Security,
    SecurityReport, Setup, State, Step, Time, TlsPolicy, UsageError,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// Octets read at a time.
const READ: usize = 16 * 1024;

/// A stream that octets can be read from and written to.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

/// An SMTP or LMTP session over a stream `S`.
///
/// Dropping it closes the stream without QUIT, which is always safe: a message whose content is not complete is discarded
/// by the server. [`quit`](Self::quit) takes leave properly.
///
/// Every method may be cancelled. Afterwards the next one ends the connection and says that it was aborted, unless nothing
/// had begun.
pub struct Client<S> {
    stream: S,
    pub(crate) dialogue: Dialogue,
    started: Instant,
    sleep: Pin<Box<Sleep>>,
    /// When the stream last took octets, if a flush has not yet sent them on their way.
    unflushed: Option<Time>,
    /// An exchange has begun and not come to its end: whoever began it was cancelled, if nobody is at it.
    pub(crate) begun: bool,
    /// The caller has changed what the options had made of the session, or could have.
    touched: bool,
}

/// Sessions.
impl<S: Duplex> Client<S> {
    /// Starts a session on a fresh stream: waits for the greeting, says hello unless that is left to the caller, and
    /// authenticates if `setup` has credentials. A stream that is to be upgraded to TLS is for
    /// [`start_tls`](Self::start_tls).
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses, or no session comes about otherwise.
    pub async fn start(stream: S, security: Security, mut config: Config, setup: Setup) -> Result<Self, Error> {
        setup.configure(&mut config, security);
        Self::new(stream, security, config, None).establish_as_it_is(setup).await
    }

    /// Starts a session in clear, has `upgrade` turn the stream into one within TLS after STARTTLS, and starts anew there.
    /// It has the time that STARTTLS may take. The setup's policy counts as [`TlsPolicy::Require`], for without TLS there is
    /// no `T`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the server refuses TLS, the handshake fails, or no session comes about otherwise. Nothing but the
    /// hello was then said in clear.
    pub async fn start_tls<T: Duplex, E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        stream: S,
        mut config: Config,
        setup: Setup,
        upgrade: impl AsyncFnOnce(S) -> Result<(T, ChannelBindings), E>,
    ) -> Result<Client<T>, Error> {
        let mut setup = setup.policy(TlsPolicy::Require);
        setup.configure(&mut config, Security::Plaintext);
        let mut client = Self::new(stream, Security::Plaintext, config, None);
        match client.establish(&mut setup).await? {
            Step::UpgradeTls => {}
            _ => return Err(Failure::TlsRequired { reply: None, suspicious: false }.into()),
        }
        let limit = client.patience();
        let mut client = client
            .upgrade(&mut setup, async |stream| {
                let late = |_| Error::tls(io::Error::from(io::ErrorKind::TimedOut));
                timeout(limit, upgrade(stream)).await.map_err(late)?.map_err(Error::tls)
            })
            .await?;
        client.establish(&mut setup).await?;
        Ok(client)
    }

    pub(crate) fn new(stream: S, security: Security, config: Config, transcript: Option<TranscriptHook>) -> Self {
        Self {
            stream,
            dialogue: Dialogue::new(config, security, transcript),
            started: Instant::now(),
            sleep: Box::pin(sleep(Duration::ZERO)),
            unflushed: None,
            begun: false,
            touched: false,
        }
    }

    /// Drives the setup on a stream that nobody upgrades.
    pub(crate) async fn establish_as_it_is(mut self, setup: Setup) -> Result<Self, Error> {
        let mut setup = setup.without_upgrade(&self.dialogue.connection)?;
        self.establish(&mut setup).await?;
        Ok(self)
    }

    /// Drives the setup until the session is ready or the stream is to be upgraded.
    pub(crate) async fn establish(&mut self, setup: &mut Setup) -> Result<Step, Error> {
        loop {
            let event = self.next_event().await?;
            match self.dialogue.advance(setup, &event) {
                Ok(Step::Continue) => {}
                Ok(step) => return Ok(step),
                Err(failure) => {
                    // QUIT, perhaps.
                    while self.dialogue.connection.poll_transmit().is_some() {
                        self.turn().await;
                    }
                    return Err(self.dialogue.failed(failure));
                }
            }
        }
    }

    /// Goes on over another stream, which is within TLS.
    pub(crate) async fn upgrade<T: Duplex>(
        self,
        setup: &mut Setup,
        upgrade: impl AsyncFnOnce(S) -> Result<(T, ChannelBindings), Error>,
    ) -> Result<Client<T>, Error> {
        let Self { stream, mut dialogue, started, sleep, .. } = self;
        let (stream, bindings) = upgrade(stream).await?;
        setup.channel_bindings(bindings);
        dialogue.connection.handle_tls_established()?;
        Ok(Client { stream, dialogue, started, sleep, unflushed: None, begun: false, touched: false })
    }

    /// How long the handshake may take.
    pub(crate) fn patience(&mut self) -> Duration {
        let now = self.now();
        self.dialogue.connection.poll_timeout(now).unwrap_or(Duration::MAX)
    }

    /// Takes leave with QUIT and closes the stream.
    ///
    /// # Errors
    ///
    /// [`Error`] when the session was already over. How the server takes the QUIT does not matter.
    pub async fn quit(mut self) -> Result<(), Error> {
        self.prepare().await;
        let started = self.dialogue.connection.quit();
        self.dialogue.started(started)?;
        loop {
            match self.next_event().await? {
                Event::Closed(CloseReason::Quit) => {
                    // What goes wrong with a stream that is dropped anyway does not matter.
                    let limit = self.dialogue.connection.config().timeouts.quit;
                    let _ = timeout(limit, poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx))).await;
                    return Ok(());
                }
                Event::Closed(reason) => return Err(self.dialogue.failed(Failure::closed(reason, None))),
                _ => {}
            }
        }
    }

    /// Calls `hook` for everything that is sent and received from now on. Nothing secret is among it.
    pub fn set_transcript(&mut self, hook: impl Fn(Transcript<'_>) + Send + Sync + 'static) {
        self.touched = true;
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
        self.touched = true;
        &mut self.dialogue.connection
    }

    /// Whether another message may follow: nothing is unfinished, and the session is as the options made it.
    #[cfg(feature = "pool")]
    pub(crate) fn is_reusable(&self) -> bool {
        let idle = self.dialogue.connection.state() == State::Ready && self.dialogue.connection.transaction().is_none();
        idle && !self.begun && !self.touched && !self.dialogue.connection.is_used_up()
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

/// Single commands.
impl<S: Duplex> Client<S> {
    /// Says EHLO (in LMTP, LHLO) again or for the first time.
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be said, or no reply comes. A refusal is a reply.
    pub async fn ehlo(&mut self) -> Result<Reply, Error> {
        self.touched = true;
        self.ask(Connection::ehlo).await
    }

    /// Says HELO.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub async fn helo(&mut self) -> Result<Reply, Error> {
        self.touched = true;
        self.ask(Connection::helo).await
    }

    /// Says NOOP.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub async fn noop(&mut self) -> Result<Reply, Error> {
        self.ask(Connection::noop).await
    }

    /// Says RSET, giving up a transaction by hand.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub async fn reset(&mut self) -> Result<Reply, Error> {
        self.ask(Connection::reset).await
    }

    /// Says a command of the caller's: [`CommandLine::vrfy`], [`expn`](CommandLine::expn), [`help`](CommandLine::help), or
    /// any other.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo).
    pub async fn command(&mut self, line: &CommandLine) -> Result<Reply, Error> {
        self.touched = true;
        self.ask(|connection| connection.command(line)).await
    }

    /// Says XCLIENT and, if the server takes this client for the other one, hello again, unless that is left to the caller:
    /// see [`Connection::xclient`]. The reply is the new greeting, or the refusal.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`ehlo`](Self::ehlo), and when the server accepts it but then refuses the hello.
    pub async fn xclient(&mut self, client: &OriginalClient) -> Result<Reply, Error> {
        self.touched = true;
        self.ask(|connection| connection.xclient(client)).await
    }

    /// Starts something that a reply answers, and waits for that.
    pub(crate) async fn ask(
        &mut self,
        start: impl FnOnce(&mut Connection) -> Result<(), UsageError>,
    ) -> Result<Reply, Error> {
        self.prepare().await;
        let started = start(&mut self.dialogue.connection);
        self.dialogue.started(started)?;
        // An answer that nobody has heard of until now is the answer to something else.
        while self.dialogue.connection.poll_event().is_some() {}
        self.begun = true;
        let mut greeting = None;
        let reply = loop {
            let event = self.next_event().await?;
            if let Some(reply) = self.dialogue.answer(event, &mut greeting) {
                break reply;
            }
        };
        self.begun = false;
        Ok(reply)
    }
}

/// The loop.
impl<S: Duplex> Client<S> {
    /// Moves octets until something happens. Needed only with [`connection_mut`](Self::connection_mut). Where nothing is due,
    /// as on an idle connection or while the server waits for content, it waits for the server without a limit.
    ///
    /// # Errors
    ///
    /// [`Error`] when the session is over and has told everything.
    pub async fn next_event(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.dialogue.connection.poll_event() {
                return Ok(event);
            }
            if let Some(error) = self.dialogue.over() {
                return Err(error);
            }
            if self.turn().await {
                // The core may be computing, a few milliseconds at a time: others may have their turn in between.
                yield_now().await;
            }
        }
    }

    /// Before a verb: ends what was cut off, lets the core finish what it does by itself, and notices what an idle
    /// connection has missed.
    pub(crate) async fn prepare(&mut self) {
        if self.begun {
            self.dialogue.connection.abort();
        }
        // Content that is owed only the caller can finish.
        while self.dialogue.connection.state() == State::Busy && self.dialogue.connection.body().is_none() {
            self.turn().await;
        }
        // A runtime that did nothing meanwhile, as between two calls of `block_on`, has yet to hear of what came. It does while
        // this task yields.
        if self.dialogue.is_stale(self.now()) && !self.glance().await {
            yield_now().await;
            self.glance().await;
        }
    }

    /// Reads what has already come, as far as the runtime knows. Whether that was anything.
    async fn glance(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.poll_receive(cx))).await
    }

    /// Moves octets in both directions, whichever goes, so that neither side can block the other. Ends when some have moved
    /// or time has run out; each octet is accounted for before it waits, so that it can be dropped while it does. Whether
    /// time had run out.
    pub(crate) async fn turn(&mut self) -> bool {
        poll_fn(|cx| self.poll_turn(cx)).await
    }

    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let wrote = self.poll_transmit(cx);
        let read = self.poll_receive(cx);
        let late = self.poll_deadline(cx);
        if wrote || read || late { Poll::Ready(late) } else { Poll::Pending }
    }

    /// Writes what can be written. Whether that was anything.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some(out) = self.dialogue.connection.poll_transmit() {
            let Poll::Ready(result) = Pin::new(&mut self.stream).poll_write(cx, &out) else { break };
            moved = true;
            let now = self.now();
            match result {
                Ok(taken) => {
                    // What such a stream holds back is bounded, so that it takes more says that some has left.
                    self.unflushed = (taken > 0).then_some(now).or(self.unflushed);
                    self.dialogue.sent(taken, now);
                }
                Err(error) => self.write_failed(error),
            }
        }
        if self.unflushed.is_some() {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = None,
                Poll::Ready(Err(error)) => {
                    self.write_failed(error);
                    moved = true;
                }
            }
        }
        moved
    }

    fn write_failed(&mut self, error: io::Error) {
        self.unflushed = None;
        self.dialogue.write_failed(error, self.now());
    }

    /// Reads once, if anything has come. Whether it had.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> bool {
        // On the stack: a buffer of its own would be most of what an idle client holds.
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, &mut buffer) else { return false };
        match result {
            Ok(()) => self.dialogue.received(buffer.filled(), self.now()),
            Err(error) => self.dialogue.read_failed(error),
        }
        true
    }

    /// Whether time has run out: the core's, or that of octets which a stream such as TLS holds back. To the core these have
    /// left, so their deadline is kept here: as long as a block of content may take.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let elapsed = self.started.elapsed();
        let now = Time::from_duration(elapsed);
        let block = self.dialogue.connection.config().timeouts.data_block;
        let held_back = self.unflushed.map(|since| (since + block).saturating_duration_since(now));
        let Some(left) = self.dialogue.connection.poll_timeout(now).into_iter().chain(held_back).min() else {
            // A timer that went on would keep the memory of the task that waited for it, which may be over.
            self.sleep.set(sleep(Duration::ZERO));
            return false;
        };
        // A time that no clock reaches is none.
        let Some(deadline) = self.started.checked_add(elapsed.saturating_add(left)) else { return false };
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        // Time that has run out is not asked for: a stream without end uses up what Tokio lets a task do at a time, and the
        // timer would answer that it has no time.
        if !left.is_zero() && self.sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = self.now();
        if self.unflushed.is_some_and(|since| now.saturating_duration_since(since) >= block) {
            self.write_failed(io::ErrorKind::TimedOut.into());
        }
        self.dialogue.connection.handle_timeout(now);
        true
    }

    fn now(&self) -> Time {
        Time::from_duration(self.started.elapsed())
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &self.dialogue.connection).finish_non_exhaustive()
    }
}
