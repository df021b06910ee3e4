//! The connection: its public surface. What replies do stands in [`phase`].

mod auth;
mod body;
#[cfg(test)]
mod bounded;
mod buffer;
mod chunks;
#[cfg(test)]
mod corners;
mod deadline;
mod domains;
mod envelope;
mod expect;
mod extensions;
mod outbox;
mod phase;
mod verbs;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

pub use self::body::Body;
use self::deadline::Deadline;
pub(crate) use self::domains::Room;
use self::envelope::Envelope;
use self::expect::{Expect, Expected};
use self::outbox::Outbox;
pub use self::outbox::{Piece, Transmit};
use self::phase::Session;
use crate::capability::Capabilities;
use crate::command::Command;
use crate::config::{Config, Security};
use crate::error::UsageError;
use crate::escape::Escaped;
use crate::event::{CloseReason, Event, Phase};
use crate::reply::ReplyDecoder;
use crate::time::Time;
use crate::transaction::TransactionId;

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
/// while its event is not polled; and for each command of the caller's its reply, until that event is polled.
pub struct Connection {
    config: Config,
    secure: bool,
    /// A hello was accepted.
    greeted: bool,
    /// AUTH succeeded.
    authenticated: bool,
    /// Something that shows a password was said in clear.
    exposed_password: bool,
    /// An authentication has just ended, and no other reply has come since.
    after_auth: bool,
    capabilities: Capabilities,
    session: Session,
    /// The transaction that is on its way to its terminator.
    current: Option<Envelope>,
    /// Transactions whose content is complete, oldest first.
    awaiting: VecDeque<Envelope>,
    next_id: u64,
    /// Domains of the recipients of this session, in lower case, where the server limits them.
    domains: BTreeSet<String>,
    decoder: ReplyDecoder,
    /// How far the outgoing stream had come when the reply being read began.
    reply_began: u64,
    expected: Expected,
    outbox: Outbox,
    /// The memory of the last chunk.
    stage: Vec<u8>,
    /// The transport takes no more octets, but may still give some.
    write_closed: bool,
    events: VecDeque<Event>,
    now: Time,
    /// For the oldest reply that is due.
    reply_deadline: Deadline<(Phase, u64, u64)>,
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
    /// A SASL exchange is under way.
    Authenticating,
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
            authenticated: false,
            exposed_password: false,
            after_auth: false,
            capabilities: Capabilities::default(),
            session: Session::Starting,
            current: None,
            awaiting: VecDeque::new(),
            next_id: 0,
            domains: BTreeSet::new(),
            reply_began: 0,
            expected,
            outbox: Outbox::default(),
            stage: Vec::new(),
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
            // A challenge may be longer than any other reply (RFC 4954 section 4).
            if decoder.is_empty() {
                self.reply_began = self.outbox.transmitted();
            }
            let authenticating = matches!(self.session, Session::Authenticating(_));
            decoder.allow_long_lines(authenticating);
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
    ///
    /// With completion-based I/O an octet is taken when its write is submitted: from then on the server may have it, and its
    /// reply may be read before the completion is.
    pub fn handle_transmitted(&mut self, taken: usize, now: Time) {
        self.outbox.advance(taken);
        self.arm(now);
    }

    /// The transport takes no more octets, as after EPIPE or ECONNRESET. Whatever the server said before is still worth
    /// reading: often it is why. Keep reading until the stream ends or the deadline passes; nothing new can be started.
    pub fn handle_write_closed(&mut self, now: Time) {
        self.write_closed = true;
        self.outbox.discard();
        self.arm(now);
    }

    /// Time has passed. Calling it when nothing is due does nothing. Afterwards there may be events, and something to transmit.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.is_computing() {
            self.compute();
            return self.arm(now);
        }
        self.arm(now);
        let reply = self.reply_deadline.expired(self.now).map(|(phase, ..)| phase);
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

    fn reply_wait(&self) -> Option<((Phase, u64, u64), Duration)> {
        let transmitted = self.outbox.transmitted();
        let (phase, mark) = match (&self.session, self.expected.front()) {
            (Session::Closed(_), _) => return None,
            // What has left in full is waited for as ever; what has not will not be answered, but perhaps explained.
            (_, front) if self.write_closed && front.is_none_or(|(_, end)| end > transmitted) => {
                (Phase::Quit, transmitted)
            }
            (Session::Upgrading, _) => (Phase::StartTls, transmitted),
            // Not before the content has left; until then the other deadline runs.
            (_, Some((expect, end))) if expect.is_to_content() && end > transmitted => return None,
            (_, Some((expect, end))) => (expect.phase(), end),
            (_, None) => return None,
        };
        // In LMTP several replies are due to the same octets.
        Some(((phase, mark, self.expected.answered()), self.config.timeouts.of(phase)))
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
    /// `None` when nothing is waited for. It is due when a deadline has passed, and again and again while the answer to a
    /// challenge takes long to compute ([`sasl::Response::Later`](crate::sasl::Response::Later)).
    #[must_use]
    pub fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        self.arm(now);
        if self.is_computing() {
            return Some(Duration::ZERO);
        }
        let at = self.reply_deadline.at().into_iter().chain(self.block_deadline.at()).min()?;
        Some(at.saturating_duration_since(self.now))
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

/// Getters.
impl Connection {
    /// What the server offers, by the last hello. Empty before it and after HELO. Until TLS is established it is what was
    /// said in clear, and from then to the hello within TLS it is empty again.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What may be done now.
    pub fn state(&self) -> State {
        match self.session {
            Session::Closed(_) => State::Closed,
            Session::Starting => State::Starting,
            Session::Upgrading => State::Upgrading,
            Session::Authenticating(_) => State::Authenticating,
            Session::Ready if self.awaiting.is_empty() && !self.write_closed => State::Ready,
            _ => State::Busy,
        }
    }

    /// Whether [`begin`](Self::begin) may be called now: in [`State::Ready`], and with [`Config::transaction_window`] over 1
    /// also while earlier transactions wait for their final reply.
    pub fn can_begin(&self) -> bool {
        self.may_begin().is_ok()
    }

    /// How many transactions may still be begun, where the server announces a limit (MAILMAX, RFC 9422).
    pub fn transactions_left(&self) -> Option<u64> {
        let maximum = self.capabilities.limits()?.mail_max()?;
        Some(u64::from(maximum).saturating_sub(self.next_id))
    }

    /// Whether a limit that the server announces for the session is reached (RFC 9422): another message may need another
    /// session.
    pub fn is_used_up(&self) -> bool {
        self.domain_room().is_full() || self.transactions_left() == Some(0)
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

    /// Whether AUTH has succeeded.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Whether a password or token that can be used again has been said, or something that leads to it, while octets
    /// travelled in clear.
    pub fn has_exposed_password(&self) -> bool {
        self.exposed_password
    }

    /// A line that came from the server, or the part of one that came in one piece, for a transcript: escaped, and the
    /// challenges of a SASL exchange hidden, and what repeats a response of ours.
    pub fn transcribe<'a>(&self, line: &'a [u8]) -> Received<'a> {
        let challenge = !self.decoder.is_empty() || line.starts_with(b"334");
        let hidden = matches!(self.session, Session::Authenticating(_)) && challenge || self.may_repeat_secrets(line);
        Received {
            line,
            hidden,
            #[cfg(feature = "record")]
            begins: self.decoder.is_empty(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// Something received, for a transcript: `Display` shows it without control characters and without secrets.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    line: &'a [u8],
    hidden: bool,
    /// It is the beginning of a line.
    #[cfg(feature = "record")]
    begins: bool,
}

#[cfg(feature = "record")]
impl<'a> Received<'a> {
    /// The octets that may be shown, and how many behind them may not. A reply code always may.
    pub(crate) fn shown(self) -> (&'a [u8], usize) {
        let code = match self.line {
            [a, b, c, b' ' | b'-', ..] => self.begins && [a, b, c].into_iter().all(u8::is_ascii_digit),
            _ => false,
        };
        let shown = if !self.hidden {
            self.line.len()
        } else if code {
            4
        } else {
            0
        };
        (self.line.get(..shown).unwrap_or_default(), self.line.len() - shown)
    }
}

impl fmt::Display for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hidden {
            return write!(f, "<{} octets of an authentication>", self.line.len());
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(self.line);
        Escaped(line.strip_suffix(b"\r").unwrap_or(line)).fmt(f)
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Connection {
    /// The state, and nothing that was sent or received.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.state()).field("secure", &self.secure).finish_non_exhaustive()
    }
}
