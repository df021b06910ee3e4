//! The connection: its public surface. What replies do stands in [`phase`].

mod body;
mod chunks;
mod deadline;
mod envelope;
mod expect;
mod outbox;
mod phase;

use alloc::collections::VecDeque;
use core::fmt;
use core::time::Duration;

pub use self::body::Body;
use self::deadline::Deadline;
use self::envelope::Envelope;
use self::expect::{Expect, Expected};
use self::outbox::Outbox;
pub use self::outbox::{Piece, Transmit};
use self::phase::{Content, Session};
use crate::address::HelloName;
use crate::capability::{Capabilities, Extension};
use crate::command::{Command, CommandLine};
use crate::config::{Chunking, Config, Protocol, Security};
use crate::error::UsageError;
use crate::event::{CloseReason, Event, Phase};
use crate::reply::ReplyDecoder;
use crate::time::Time;
use crate::transaction::{Recipient, Transaction, TransactionId};

/// One client connection to an SMTP or LMTP server.
///
/// It consumes the server's octets and produces octets for the server, events for the application and a deadline for the
/// clock; moving them is the driver's part. Its methods are of four kinds:
///
/// - **`handle_*`** take what came from the network and the clock. They never fail: what is wrong with the server's octets
///   is told by the last event, behind the facts that came before it.
/// - **`poll_*`** give what is for the network, the clock and the application. In any order, any number of times.
/// - **verbs** ([`begin`](Self::begin), [`quit`](Self::quit), ...) start something. An error means not now, and nothing
///   changed.
/// - **getters** show the state.
///
/// After [`Event::Closed`] the connection takes everything and gives nothing.
///
/// # Memory
///
/// Besides what the caller hands in, a connection holds at most one incomplete reply, the capabilities, `body_buffer` and
/// `pipeline_window`: less than 128 KiB with the default [`Config`], whatever the server does. For each recipient of an
/// open transaction comes a fixed size and [`ReplyLimits::recipient_text`](crate::ReplyLimits::recipient_text) octets, twice
/// while its event is not polled.
pub struct Connection {
    config: Config,
    secure: bool,
    /// A hello was accepted.
    greeted: bool,
    capabilities: Capabilities,
    session: Session,
    /// The transaction that is on its way to its terminator.
    current: Option<Envelope>,
    /// Transactions whose content is complete, oldest first.
    awaiting: VecDeque<Envelope>,
    next_id: u64,
    decoder: ReplyDecoder,
    expected: Expected,
    outbox: Outbox,
    /// The transport takes no more octets, but may still give some.
    write_closed: bool,
    events: VecDeque<Event>,
    now: Time,
    /// For the oldest reply that is due.
    reply_deadline: Deadline<(Phase, u64)>,
    /// For the transport to take more content.
    block_deadline: Deadline<u64>,
}

/// What may be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The greeting or the automatic hello is not answered yet.
    Starting,
    /// The verbs may be called.
    Ready,
    /// Something is under way.
    Busy,
    /// A TLS handshake is due.
    Upgrading,
    /// Over.
    Closed,
}

/// Queues a command and the expectation of its reply.
fn queue(outbox: &mut Outbox, expected: &mut Expected, command: &Command<'_>, expect: Expect) {
    let length = outbox.command(command);
    expected.push(expect, length, outbox.end());
}

impl Connection {
    /// A connection on a fresh stream, which waits for the server's greeting.
    pub fn new(config: Config, security: Security) -> Self {
        let mut expected = Expected::default();
        expected.push(Expect::Greeting, 0, 0);
        Self {
            decoder: ReplyDecoder::new(config.reply_limits.clone()),
            config,
            secure: security == Security::Tls,
            greeted: false,
            capabilities: Capabilities::default(),
            session: Session::Starting,
            current: None,
            awaiting: VecDeque::new(),
            next_id: 0,
            expected,
            outbox: Outbox::default(),
            write_closed: false,
            events: VecDeque::new(),
            now: Time::default(),
            reply_deadline: Deadline::default(),
            block_deadline: Deadline::default(),
        }
    }
}

/// From the network and the clock.
impl Connection {
    /// Octets came from the server. All of them are taken.
    ///
    /// `now` must not go backwards, here and below; if it does, the latest time seen counts.
    pub fn handle_input(&mut self, octets: &[u8], now: Time) {
        // Out of `self`, so that a reply viewed in it can be acted upon.
        let mut decoder = core::mem::take(&mut self.decoder);
        let mut rest = octets;
        while !rest.is_empty() {
            match self.session {
                Session::Closed(_) => break,
                Session::Upgrading => {
                    self.close(CloseReason::PlaintextAfterStartTls);
                    break;
                }
                _ => {}
            }
            match decoder.decode(rest) {
                Ok((taken, reply)) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    if let Some(reply) = reply {
                        self.on_reply(reply, !rest.is_empty());
                    }
                }
                Err(error) => {
                    self.finish_quitting();
                    self.close(CloseReason::Malformed(error));
                }
            }
        }
        if !matches!(self.session, Session::Closed(_)) {
            self.decoder = decoder;
        }
        self.arm(now);
    }

    /// The server's stream has ended, or broke. After QUIT that is a clean end.
    pub fn handle_eof(&mut self) {
        self.finish_quitting();
        self.close(CloseReason::Eof);
    }

    /// The transport has taken the first `taken` octets of what [`poll_transmit`](Self::poll_transmit) offered. More than
    /// were offered counts as all of them.
    pub fn handle_transmitted(&mut self, taken: usize, now: Time) {
        self.outbox.advance(taken);
        self.arm(now);
    }

    /// The transport takes no more octets, as after EPIPE or ECONNRESET. Whatever the server said before is still worth
    /// reading: often it is why. Keep reading until the stream ends or the deadline passes.
    pub fn handle_write_closed(&mut self, now: Time) {
        self.write_closed = true;
        self.outbox.discard();
        self.arm(now);
    }

    /// Time has passed. Calling it when nothing is due does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        self.arm(now);
        let reply = self.reply_deadline.expired(self.now).map(|(phase, _)| phase);
        let block = self.block_deadline.expired(self.now).map(|_| Phase::DataBlock);
        let Some(phase) = reply.or(block) else { return };
        if self.write_closed {
            self.handle_eof();
        } else {
            self.finish_quitting();
            self.close(CloseReason::TimedOut(phase));
        }
        self.arm(now);
    }

    /// The TLS handshake that [`Event::UpgradeTls`] asked for is done. Everything the server said in clear is forgotten.
    ///
    /// # Errors
    ///
    /// [`UsageError::NotUpgrading`] when no handshake was due.
    pub fn handle_tls_established(&mut self) -> Result<(), UsageError> {
        match self.session {
            Session::Upgrading => {
                self.on_tls_established();
                Ok(())
            }
            _ => Err(UsageError::NotUpgrading),
        }
    }

    /// Follows what is waited for now.
    fn arm(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.reply_deadline.follow(self.reply_wait(), self.now);
        self.block_deadline.follow(self.block_wait(), self.now);
    }

    fn reply_wait(&self) -> Option<((Phase, u64), Duration)> {
        let transmitted = self.outbox.transmitted();
        let (phase, mark) = match (&self.session, self.expected.front()) {
            (Session::Closed(_), _) => return None,
            _ if self.write_closed => (Phase::Quit, transmitted),
            (Session::Upgrading, _) => (Phase::StartTls, transmitted),
            // Not before the content has left; until then the other deadline runs.
            (_, Some((expect, end))) if expect.is_to_content() && end > transmitted => return None,
            (_, Some((expect, end))) => (expect.phase(), end),
            (_, None) => return None,
        };
        Some(((phase, mark), self.config.timeouts.of(phase)))
    }

    fn block_wait(&self) -> Option<(u64, Duration)> {
        let transmitted = self.outbox.transmitted();
        // A chunk's command waits to leave as its content does.
        let chunk = self.expected.front().is_some_and(|(expect, end)| expect.is_to_content() && end > transmitted);
        let waiting = chunk && self.outbox.len() > 0 || self.outbox.is_sending_content();
        waiting.then_some((transmitted, self.config.timeouts.data_block))
    }
}

/// To the network, the clock and the application.
impl Connection {
    /// Octets for the server, if there are any. Write some and tell [`handle_transmitted`](Self::handle_transmitted) how
    /// many the transport took; until then they are offered again.
    #[must_use]
    pub fn poll_transmit(&self) -> Option<Transmit<'_>> {
        if self.write_closed { None } else { self.outbox.peek() }
    }

    /// How long the driver may sleep before it calls [`handle_timeout`](Self::handle_timeout); zero when that is due,
    /// `None` when nothing is waited for.
    #[must_use]
    pub fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        self.arm(now);
        let at = self.reply_deadline.at().into_iter().chain(self.block_deadline.at()).min()?;
        Some(at.saturating_duration_since(self.now))
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

/// Verbs.
impl Connection {
    /// Begins a transaction; exactly one [`Event::Completed`] will tell how it ended.
    ///
    /// Everything that can be known now is checked now: the server's size limit, and whether it offers what the
    /// transaction needs. With [`Config::transaction_window`] over 1 it may be called again while earlier transactions wait
    /// for their final reply.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn begin(&mut self, transaction: Transaction) -> Result<TransactionId, UsageError> {
        if transaction.recipients.is_empty() {
            return Err(UsageError::NoRecipients);
        }
        let id = self.open(transaction, false)?;
        self.start_envelope();
        Ok(id)
    }

    /// Says MAIL by hand: opens a transaction whose further steps are [`rcpt`](Self::rcpt), [`data`](Self::data) or
    /// [`bdat`](Self::bdat), and [`body`](Self::body). Each is answered by [`Event::Reply`], and the transaction as a whole by one
    /// [`Event::Completed`]. A refusal of MAIL or DATA ends it; [`reset`](Self::reset) gives it up.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. The transaction must not have recipients yet.
    pub fn mail(&mut self, transaction: Transaction) -> Result<TransactionId, UsageError> {
        if !transaction.recipients.is_empty() {
            return Err(UsageError::RecipientsByHand);
        }
        let id = self.open(transaction, true)?;
        self.step_by_hand(Expect::Mail);
        Ok(id)
    }

    /// Says RCPT by hand, within [`mail`](Self::mail).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn rcpt(&mut self, recipient: impl Into<Recipient>) -> Result<(), UsageError> {
        self.available()?;
        self.current.as_ref().ok_or(UsageError::NoTransaction)?;
        let recipient = recipient.into();
        envelope::check_recipient(&recipient, &self.capabilities)?;
        self.recipient_by_hand(recipient);
        Ok(())
    }

    /// Says DATA by hand, once at least one recipient was accepted. After the go-ahead write to [`body`](Self::body).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn data(&mut self) -> Result<(), UsageError> {
        if self.content_by_hand()?.is_binary() {
            return Err(UsageError::NeedsBdat);
        }
        self.step_by_hand(Expect::Data);
        Ok(())
    }

    /// Sends the content of a transaction by hand by BDAT (RFC 3030), once at least one recipient was accepted. There is no
    /// go-ahead: write to [`body`](Self::body) at once. Chunks are made and answered by themselves.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn bdat(&mut self) -> Result<(), UsageError> {
        self.content_by_hand()?;
        if !self.capabilities.supports(Extension::Chunking) {
            return Err(UsageError::Missing(Extension::Chunking));
        }
        self.start_chunks();
        Ok(())
    }

    /// The transaction by hand, if its content may come now.
    fn content_by_hand(&self) -> Result<&Envelope, UsageError> {
        self.available()?;
        let envelope = self.current.as_ref().ok_or(UsageError::NoTransaction)?;
        if envelope.accepted() == 0 { Err(UsageError::NoRecipients) } else { Ok(envelope) }
    }

    /// The body to write to, exactly while the server waits for content.
    pub fn body(&mut self) -> Option<Body<'_>> {
        let owed = match &self.session {
            Session::Content(Content::Lines(_)) => true,
            Session::Content(Content::Chunks(chunks)) => !chunks.finished,
            _ => false,
        };
        (owed && !self.write_closed).then_some(Body { connection: self })
    }

    /// Says EHLO, or in LMTP LHLO, again or for the first time. Answered by [`Event::Reply`] and, if accepted,
    /// [`Event::Ready`]; either way it replaces all capabilities.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn ehlo(&mut self) -> Result<(), UsageError> {
        self.idle()?;
        self.hello_by_hand(Expect::Ehlo);
        Ok(())
    }

    /// Says HELO, which leaves no capabilities. Answered as [`ehlo`](Self::ehlo).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. LMTP has no HELO.
    pub fn helo(&mut self) -> Result<(), UsageError> {
        self.idle()?;
        if self.config.protocol == Protocol::Lmtp {
            return Err(UsageError::NoHelo);
        }
        self.hello_by_hand(Expect::Helo);
        Ok(())
    }

    /// The name for hellos from here on.
    pub fn set_hello_name(&mut self, name: HelloName) {
        self.config.hello = name;
    }

    /// Says STARTTLS. A go-ahead is [`Event::UpgradeTls`], a refusal [`Event::Reply`].
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. The server has to offer it, and only once (RFC 3207 section 4.2).
    pub fn starttls(&mut self) -> Result<(), UsageError> {
        self.idle()?;
        if self.secure {
            return Err(UsageError::AlreadySecure);
        }
        if !self.capabilities.supports(Extension::StartTls) {
            return Err(UsageError::Missing(Extension::StartTls));
        }
        self.start_command(&Command::StartTls, Expect::StartTls);
        Ok(())
    }

    /// Says a command of the caller's. Answered by [`Event::Reply`].
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn command(&mut self, line: &CommandLine) -> Result<(), UsageError> {
        self.available()?;
        if !line.as_str().is_ascii() && !self.capabilities.supports(Extension::SmtpUtf8) {
            return Err(UsageError::NonAsciiAddress);
        }
        self.start_command(&Command::Line(line), Expect::Command);
        Ok(())
    }

    /// Says NOOP. Answered by [`Event::Reply`].
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn noop(&mut self) -> Result<(), UsageError> {
        self.available()?;
        self.start_command(&Command::Noop, Expect::Command);
        Ok(())
    }

    /// Says RSET, giving up a transaction by hand. Answered by [`Event::Reply`]; if the server refuses it, the connection
    /// closes. Transactions of [`begin`](Self::begin) need no RSET: the core says it after every failure.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn reset(&mut self) -> Result<(), UsageError> {
        self.available()?;
        self.start_command(&Command::Rset, Expect::Reset);
        Ok(())
    }

    /// Says QUIT. The connection ends with [`CloseReason::Quit`], however the server takes it.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn quit(&mut self) -> Result<(), UsageError> {
        self.available()?;
        self.quit_because(CloseReason::Quit);
        Ok(())
    }

    /// Ends the connection at once, without terminator and without QUIT: the stream has to be dropped. What was not sent
    /// in full never will be.
    pub fn abort(&mut self) {
        self.close(CloseReason::Aborted);
    }

    /// Opens a transaction, if that is possible now and with this server.
    fn open(&mut self, transaction: Transaction, by_hand: bool) -> Result<TransactionId, UsageError> {
        self.may_begin()?;
        if !self.greeted {
            return Err(UsageError::NeedsHello);
        }
        let transaction = envelope::prepare(transaction, &self.capabilities)?;
        let prefer = self.config.chunking == Chunking::Prefer && self.capabilities.supports(Extension::Chunking);
        let id = TransactionId(self.next_id);
        self.next_id += 1;
        let mut envelope = Envelope::new(id, transaction, by_hand);
        envelope.chunked = envelope.is_binary() || prefer;
        self.current = Some(envelope);
        Ok(id)
    }

    fn may_begin(&self) -> Result<(), UsageError> {
        match self.session {
            Session::Closed(_) | Session::Quitting(_) => Err(UsageError::Closed),
            // While a chunk may still be refused, RSET may have to come next.
            Session::Ready if self.expected.holds(Expect::Chunk) => Err(UsageError::Busy),
            Session::Ready if self.current.is_none() && self.awaiting.len() < self.transaction_window() => Ok(()),
            _ => Err(UsageError::Busy),
        }
    }

    fn transaction_window(&self) -> usize {
        let pipelining = self.config.pipelining && self.capabilities.supports(Extension::Pipelining);
        if pipelining { self.config.transaction_window.max(1) } else { 1 }
    }

    /// A command may be sent, perhaps within a transaction by hand.
    fn available(&self) -> Result<(), UsageError> {
        match self.session {
            Session::Closed(_) | Session::Quitting(_) => Err(UsageError::Closed),
            Session::Ready if self.awaiting.is_empty() => Ok(()),
            _ => Err(UsageError::Busy),
        }
    }

    /// A command may be sent and no transaction is open.
    fn idle(&self) -> Result<(), UsageError> {
        self.available()?;
        if self.current.is_some() { Err(UsageError::Busy) } else { Ok(()) }
    }
}

/// Getters.
impl Connection {
    /// What the server offers, by the last hello. Empty before it, after HELO and while TLS is being set up.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What may be done now.
    pub fn state(&self) -> State {
        match self.session {
            Session::Closed(_) => State::Closed,
            Session::Starting => State::Starting,
            Session::Upgrading => State::Upgrading,
            Session::Ready if self.awaiting.is_empty() => State::Ready,
            _ => State::Busy,
        }
    }

    /// Whether [`begin`](Self::begin) may be called now: in [`State::Ready`], and with [`Config::transaction_window`] over 1
    /// also while earlier transactions wait for their final reply.
    pub fn can_begin(&self) -> bool {
        self.greeted && self.may_begin().is_ok()
    }

    /// The transaction whose content is not complete yet, if there is one.
    pub fn transaction(&self) -> Option<TransactionId> {
        self.current.as_ref().map(Envelope::id)
    }

    /// Why the connection is over, if it is.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match &self.session {
            Session::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether octets travel within TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl fmt::Debug for Connection {
    /// The state, and nothing that was sent or received.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.state()).field("secure", &self.secure).finish_non_exhaustive()
    }
}
