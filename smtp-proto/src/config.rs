//! What a connection is told once, at its start.

use core::time::Duration;

use crate::address::HelloName;
use crate::body::{LineEndings, LongLines};
use crate::capability::{Capabilities, Extension};
use crate::event::Phase;
use crate::reply::ReplyLimits;

/// The protocol spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// SMTP with its extensions, RFC 5321.
    #[default]
    Smtp,
    /// LMTP, RFC 2033: LHLO, and a final reply for each accepted recipient.
    Lmtp,
}

/// What the stream is when the connection starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// Octets travel in clear.
    Plaintext,
    /// TLS is already established, as on port 465 (RFC 8314).
    Tls,
}

/// By which command content is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Chunking {
    /// By DATA, except where a transaction needs BDAT ([`BodyType::BinaryMime`](crate::BodyType::BinaryMime)).
    #[default]
    Needed,
    /// By BDAT wherever it is offered (RFC 3030). The content leaves octet by octet as it is given: line ends have to be CRLF
    /// already, since nothing is normalized.
    Prefer,
    /// As [`Prefer`](Self::Prefer), and where PIPELINING is offered too the first chunk follows RCPT without waiting to hear
    /// who is accepted: a message no longer than that takes one round trip. The price is that it is sent in vain if nobody
    /// is. Not in LMTP and not with [`OnRefusal::Abort`](crate::OnRefusal::Abort), where the replies have to be known first.
    Ahead,
}

/// How a connection behaves. Start from [`smtp`](Self::smtp) or [`lmtp`](Self::lmtp) and change fields.
///
/// ```
/// use smtp_proto::{Config, HelloName, LineEndings};
///
/// let mut config = Config::smtp(HelloName::parse("me.example.org")?);
/// config.line_endings = LineEndings::Strict;
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The name said in the hello.
    pub hello: HelloName,
    /// The protocol spoken.
    pub protocol: Protocol,
    /// Whether EHLO or LHLO is said by itself after the greeting and after TLS. Default true; without it, say it with
    /// [`Connection::ehlo`](crate::Connection::ehlo) or [`helo`](crate::Connection::helo).
    pub automatic_hello: bool,
    /// Whether an automatic EHLO that is refused with 5yz is followed by HELO. Default true. Where an extension is a must,
    /// switch it off: HELO has none.
    pub helo_fallback: bool,
    /// Whether AUTH carries the first response where the mechanism has one and there is room for it (RFC 4954 section 4).
    /// Default true.
    pub initial_response: bool,
    /// Whether mechanisms that show a password or token to whoever listens may run without TLS. Default false.
    pub danger_password_in_clear: bool,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How much a server may say in one reply.
    pub reply_limits: ReplyLimits,
    /// Whether to use PIPELINING where it is offered (RFC 2920). Default true; without it every command waits for the
    /// reply to the one before it.
    pub pipelining: bool,
    /// Octets of commands that may be unanswered at a time, so that neither side can block the other with full buffers
    /// (RFC 2920 section 3.1). Default 4,096. A single command may exceed it.
    pub pipeline_window: usize,
    /// Transactions that may be open at a time where PIPELINING is offered. Default 1. With more, `begin` may be called
    /// again as soon as the content of the transaction before is complete. It saves round trips; the price is that a
    /// connection that breaks leaves up to so many messages in doubt.
    pub transaction_window: usize,
    /// By which command content is sent.
    pub chunking: Chunking,
    /// Octets of encoded content held at a time, and with BDAT half as much again. Default 32 KiB; less than 1 KiB counts as
    /// that, more than 16 MiB as 16 MiB. With BDAT a chunk is half of it.
    pub body_buffer: usize,
    /// What to do with bare CR and LF in content sent by DATA.
    pub line_endings: LineEndings,
    /// What to do with over-long lines in content sent by DATA.
    pub long_lines: LongLines,
}

impl Config {
    /// SMTP, greeting the server as `hello`.
    pub fn smtp(hello: HelloName) -> Self {
        Self {
            hello,
            protocol: Protocol::Smtp,
            automatic_hello: true,
            helo_fallback: true,
            initial_response: true,
            danger_password_in_clear: false,
            timeouts: Timeouts::default(),
            reply_limits: ReplyLimits::default(),
            pipelining: true,
            pipeline_window: 4096,
            transaction_window: 1,
            chunking: Chunking::default(),
            body_buffer: 32 * 1024,
            line_endings: LineEndings::default(),
            long_lines: LongLines::default(),
        }
    }

    /// LMTP, greeting the server as `hello`.
    pub fn lmtp(hello: HelloName) -> Self {
        Self { protocol: Protocol::Lmtp, ..Self::smtp(hello) }
    }

    /// Whether commands may leave before those ahead of them are answered.
    pub(crate) fn pipelines(&self, offered: &Capabilities) -> bool {
        self.pipelining && offered.supports(Extension::Pipelining)
    }

    /// Octets of encoded content held at a time.
    pub(crate) fn content_buffer(&self) -> usize {
        self.body_buffer.clamp(1024, 16 * 1024 * 1024)
    }
}

/// How long to wait for what. The defaults are those of RFC 5321 section 4.5.3.2; shorter ones cause duplicates.
///
/// Each is one deadline for a whole reply: a server that sends it octet by octet gains nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The greeting: 5 minutes.
    pub greeting: Duration,
    /// The reply to any command that has no field here: 5 minutes.
    pub command: Duration,
    /// The reply to MAIL: 5 minutes.
    pub mail: Duration,
    /// The reply to RCPT: 5 minutes.
    pub rcpt: Duration,
    /// The go-ahead after DATA: 2 minutes.
    pub data_init: Duration,
    /// Until the transport takes more content, starting anew with all it takes: 3 minutes (RFC 5321 section 4.5.3.2.5). A
    /// server that takes an octet now and then is bounded by nothing but the caller.
    pub data_block: Duration,
    /// The reply to the end of the content: 10 minutes.
    pub data_done: Duration,
    /// The reply to QUIT, and what a server may still have to say once it takes no more octets: 5 seconds.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            greeting: minutes(5),
            command: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data_init: minutes(2),
            data_block: minutes(3),
            data_done: minutes(10),
            quit: Duration::from_secs(5),
        }
    }
}

impl Timeouts {
    /// The same time for everything, as smtplib's single `timeout`.
    pub fn uniform(duration: Duration) -> Self {
        Self {
            greeting: duration,
            command: duration,
            mail: duration,
            rcpt: duration,
            data_init: duration,
            data_block: duration,
            data_done: duration,
            quit: duration,
        }
    }

    /// How long `phase` may last.
    pub fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Greeting => self.greeting,
            Phase::Hello | Phase::StartTls | Phase::Auth | Phase::Command => self.command,
            Phase::Mail => self.mail,
            Phase::Rcpt => self.rcpt,
            Phase::DataInit => self.data_init,
            Phase::DataBlock => self.data_block,
            Phase::DataDone => self.data_done,
            Phase::Quit => self.quit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R-09: the buffer for content is as large as it says, and has bounds.
    #[test]
    fn the_buffer_has_bounds() {
        let mut config = Config::smtp(HelloName::parse("client.example").unwrap());
        assert_eq!(config.body_buffer, 32_768);
        for (asked, held) in [(0, 1024), (1024, 1024), (5000, 5000), (usize::MAX, 16_777_216)] {
            config.body_buffer = asked;
            assert_eq!(config.content_buffer(), held);
        }
    }
}
