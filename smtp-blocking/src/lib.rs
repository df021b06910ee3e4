//! Sends mail over blocking streams: a thin driver around [`smtp_proto`], which holds all of the protocol.
//!
//! One line, for a server that wants neither TLS nor credentials:
//!
//! ```no_run
//! let report = smtp_blocking::send_plaintext(
//!     "localhost:25",
//!     "me@example.org",
//!     ["a@example.net", "b@example.net"],
//!     b"Subject: hi\r\n\r\nhello\r\n",
//! )?;
//! for (recipient, reply) in report.refused() {
//!     eprintln!("{recipient}: {reply}");
//! }
//! # Ok::<(), smtp_blocking::Error>(())
//! ```
//!
//! Several messages over one connection, streamed from files:
//!
//! ```no_run
//! use std::{fs::File, io::BufReader};
//! use smtp_blocking::{Client, Options};
//! use smtp_proto::{ForwardPath, ReversePath, Transaction};
//!
//! let mut client = Client::connect("localhost", Options::smtp())?;
//! for name in ["one.eml", "two.eml"] {
//!     let transaction = Transaction::new(ReversePath::parse("me@example.org")?).to(ForwardPath::parse("you@example.net")?);
//!     let report = client.send(transaction, BufReader::new(File::open(name)?))?;
//!     for (recipient, outcome) in report.recipients() {
//!         println!("{recipient}: {outcome:?}");
//!     }
//! }
//! client.quit()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Whoever knows Python's smtplib finds each of its names, and what differs, in [`from_smtplib`].

mod client;
mod connect;
#[doc = include_str!("from_smtplib.md")]
pub mod from_smtplib {}
mod messages;
mod stream;
#[cfg(feature = "rustls")]
mod tls;
mod transport;

use smtp_proto::{ForwardPath, Report, ReversePath, TlsMode, Transaction};

pub use client::Client;
pub use messages::SendAll;
pub use smtp_driver::{Error, Options, Transcript};
#[cfg(feature = "rustls")]
pub use smtp_driver::{Tls, rustls};
pub use stream::Stream;
#[cfg(feature = "rustls")]
pub use tls::TlsStream;
pub use transport::Transport;

/// Sends one message over one connection in clear, and closes it. For a server on this host or in this network that wants
/// neither TLS nor credentials; `server` as in [`Client::connect`], `from` empty for a message that must not bounce.
///
/// The report tells what became of each recipient; at least one was accepted.
///
/// # Errors
///
/// [`Error`] when nobody was accepted.
pub fn send_plaintext<T: AsRef<str>>(
    server: &str,
    from: &str,
    to: impl IntoIterator<Item = T>,
    message: impl AsRef<[u8]>,
) -> Result<Report, Error> {
    let message = message.as_ref();
    let wrong = |address: &str, error| Error::Address { address: address.into(), error };
    let from = ReversePath::parse(from).map_err(|error| wrong(from, error))?;
    let mut transaction = Transaction::new(from).content(message);
    for recipient in to {
        let recipient = recipient.as_ref();
        transaction = transaction.to(ForwardPath::parse(recipient).map_err(|error| wrong(recipient, error))?);
    }
    let mut client = Client::connect(server, Options::smtp().tls_mode(TlsMode::None))?;
    let report = client.send(transaction, message)?;
    // The server has the message; how it takes the farewell changes nothing.
    let _ = client.quit();
    Ok(report)
}
