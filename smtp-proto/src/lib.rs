//! SMTP and LMTP for clients, as a pure state machine.
//!
//! A [`Connection`] consumes the octets that a server sends and produces the octets to send it, events for the
//! application, and a deadline for the clock. It has no sockets, no clock, no TLS and no runtime, needs only `alloc`, and
//! does the same for the same octets however they were cut.
//!
//! # The loop
//!
//! Whoever moves octets is a driver. `smtp-blocking` and `smtp-tokio` are two; here is a third, whole:
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::time::{Duration, Instant};
//! use smtp_proto::{CloseReason, Connection, Event, Report, Time, Transaction};
//!
//! fn send(
//!     mut stream: impl Read + Write, mut connection: Connection, transaction: Transaction, mut message: &[u8],
//! ) -> Result<Report, Box<dyn std::error::Error>> {
//!     let start = Instant::now();
//!     let now = || Time::from_duration(start.elapsed());
//!     let (mut transaction, mut result, mut buffer) = (Some(transaction), None, [0; 4096]);
//!     loop {
//!         match connection.poll_event() {
//!             Some(Event::Ready) => drop(connection.begin(transaction.take().ok_or("ready twice")?)?),
//!             Some(Event::Completed(report)) => {
//!                 result = Some(report);
//!                 let _ = connection.quit(); // it may be closed already
//!             }
//!             Some(Event::Closed(reason)) => return Ok(result.ok_or(reason)?),
//!             Some(_) => {}
//!             None => {
//!                 if let Some(mut body) = connection.body() {
//!                     message = &message[body.write(message)?..];
//!                     if message.is_empty() { body.finish()? }
//!                 }
//!                 if connection.poll_timeout(now()) == Some(Duration::ZERO) {
//!                     connection.handle_timeout(now()); // a deadline, or something that takes long to compute
//!                 } else if let Some(out) = connection.poll_transmit() {
//!                     let taken = stream.write(&out)?;
//!                     connection.handle_transmitted(taken, now());
//!                 } else {
//!                     match stream.read(&mut buffer)? { // at most for `connection.poll_timeout(now())`
//!                         0 => connection.handle_eof(),
//!                         length => connection.handle_input(&buffer[..length], now()),
//!                     }
//!                 }
//!             }
//!         }
//!     }
//! }
//! #
//! # struct Canned { replies: &'static [&'static str], said: Vec<u8> }
//! # impl Read for Canned {
//! #     fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
//! #         let Some((reply, rest)) = self.replies.split_first() else { return Ok(0) };
//! #         self.replies = rest;
//! #         buffer[..reply.len()].copy_from_slice(reply.as_bytes());
//! #         Ok(reply.len())
//! #     }
//! # }
//! # impl Write for Canned {
//! #     fn write(&mut self, octets: &[u8]) -> io::Result<usize> { self.said.write(octets) }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//! # use smtp_proto::{Config, ForwardPath, HelloName, ReversePath, Security};
//! # let mut stream = Canned {
//! #     replies: &["220 hi\r\n", "250-x\r\n250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n", "221 bye\r\n"],
//! #     said: Vec::new(),
//! # };
//! # let connection = Connection::new(Config::smtp(HelloName::parse("me.example")?), Security::Plaintext);
//! # let transaction = Transaction::new(ReversePath::null()).to(ForwardPath::parse("you@example.net")?);
//! # let report = send(&mut stream, connection, transaction, b".hi")?;
//! # assert!(report.is_complete_success());
//! # assert_eq!(
//! #     String::from_utf8(stream.said)?,
//! #     "EHLO me.example\r\nMAIL FROM:<>\r\nRCPT TO:<you@example.net>\r\nDATA\r\n..hi\r\n.\r\nQUIT\r\n",
//! # );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # States
//!
//! ```text
//!  new() ──► Starting ──── greeting, EHLO ────► Ready ◄────────────────────────────────────┐
//!               ▲                                 │                                        │
//!               │ handle_tls_established()        ├─ command(), noop(), ... ─► Event::Reply ┤
//!               │                                 │                                        │
//!            Upgrading ◄─ UpgradeTls ─ starttls() ┤                                        │
//!                                                 │ begin()                                │
//!                                                 ▼                                        │
//!                       MAIL, RCPT... ──► Recipient... ── nobody accepted ──► RSET ────────┤
//!                                                 │ BodyRequested                   Event::Completed
//!                                                 ▼                                        │
//!                                    body(): write..., finish ──► final reply ─────────────┘
//!
//!  anywhere: quit(), abort(), end of stream, deadline, 421, broken protocol ──► Completed... ──► Closed
//! ```
//!
//! # What holds always
//!
//! - Each transaction ends in exactly one [`Report`], in which each recipient has exactly one [`Outcome`]. `Accepted` means
//!   that the server said so for that message; `InDoubt` that the message left in full and the answer never came.
//! - Replies answer commands by counting (RFC 2920), and a reply that nothing asked for ends the connection.
//! - What a server can make a connection hold is bounded, and so is each wait for it.
//! - No text of the caller's can say a second command, and no content can end its own message.
//!
//! # Features
//!
//! All are additive and off by default; the core without them needs `alloc` only.
//!
//! - `scram`: SCRAM, with and without channel binding.
//! - `saslprep`: non-ASCII names and passwords for SCRAM.
//! - `idna`: to a server without SMTPUTF8, an address whose local part is ASCII is sent with its domain in A-labels. The
//!   report then names the address as it was sent.
//! - `record`: sessions as text, and their replay, in the module `record`.
//! - `message`: the envelope of a message from its headers, in the module `message`. Needs the standard library.
#![no_std]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::std_instead_of_core))]

extern crate alloc;
#[cfg(any(test, feature = "message"))]
extern crate std;

mod address;
mod advice;
mod body;
#[cfg(test)]
mod bounded;
mod capability;
mod command;
mod config;
mod connection;
mod date_time;
mod echo;
mod error;
mod escape;
mod event;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "message")]
pub mod message;
mod outcome;
mod parameter;
#[cfg(feature = "record")]
pub mod record;
mod reply;
mod report;
pub mod sasl;
mod secret;
mod setup;
mod submission;
mod time;
mod transaction;
mod utf8;

pub use address::{AddressError, ForwardPath, HelloName, ReversePath};
pub use advice::Advice;
pub use body::{BodyError, DotStuffer, LineEndings, LongLines};
pub use capability::{Capabilities, Extension, FutureRelease, Limits};
pub use command::{ClientAttribute, Command, CommandError, CommandLine, ContentUrl, OriginalClient};
pub use config::{Chunking, Config, Protocol, Security, Timeouts};
pub use connection::{Body, Connection, Piece, Received, State, Transmit};
pub use date_time::{DateTime, DateTimeError};
pub use error::{Failure, UsageError};
pub use event::{Challenge, CloseReason, Event, Initiator, Phase};
pub use outcome::{Outcome, Stage};
pub use parameter::{
    BodyType, DeliverBy, EnvelopeId, HoldFor, Notify, NotifyOn, OriginalRecipient, Parameter, ParameterError, Priority,
    Ret, Tracking, ValidSince, xtext,
};
pub use reply::{
    EnhancedCode, Member, QueueRun, Reply, ReplyCode, ReplyDecoder, ReplyError, ReplyLimits, ReplyRef, Severity,
    Verification, parse_reply,
};
pub use report::Report;
pub use setup::{SecurityReport, Setup, StartTls, Step, TlsMode, TlsPolicy};
pub use submission::Submission;
pub use time::Time;
pub use transaction::{OnRefusal, Recipient, Transaction, TransactionId};
pub use utf8::Utf8Reason;
