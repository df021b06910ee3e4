//! Delivers the message on the standard input by LMTP, and says by its exit code what became of it, as pipe(8) of Postfix and
//! others want to know it (sysexits.h).
//!
//! ```text
//! cargo run --example lmtp_delivery                                      # to a server of its own
//! cargo run --example lmtp_delivery -- SERVER FROM TO... < message       # SERVER is a path or HOST[:PORT]
//! ```
//!
//! In Postfix's master.cf:
//!
//! ```text
//! store  unix  -  n  n  -  -  pipe
//!   user=nobody argv=/usr/local/bin/lmtp_delivery /run/dovecot/lmtp ${sender} ${recipient}
//! ```
//!
//! By LMTP each recipient has a reply of its own, and an exit code is one for all: with some accepted and others to be tried
//! again, pipe(8) would deliver to all again. So main.cf wants `store_destination_recipient_limit = 1`.

use std::io::{BufRead, stdin};
use std::process::ExitCode;

use smtp_blocking::{Client, Error, Options, Stream};
use smtp_conformance::loopback::Loopback;
use smtp_proto::{AddressError, ForwardPath, Outcome, Report, ReversePath, Transaction};

mod exit {
    pub(super) const OK: u8 = 0;
    pub(super) const USAGE: u8 = 64;
    pub(super) const DATAERR: u8 = 65;
    pub(super) const NOINPUT: u8 = 66;
    pub(super) const NOUSER: u8 = 67;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const TEMPFAIL: u8 = 75;
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let code = match arguments.as_slice() {
        [] => demonstrate()?,
        [server, from, to @ ..] if !to.is_empty() => match envelope(from, to) {
            Ok(transaction) => deliver(server, transaction, stdin().lock()),
            Err(error) => {
                println!("{error}");
                exit::DATAERR
            }
        },
        _ => {
            eprintln!("arguments: SERVER FROM TO...");
            exit::USAGE
        }
    };
    Ok(code.into())
}

fn envelope(from: &str, to: &[String]) -> Result<Transaction, AddressError> {
    let to: Vec<_> = to.iter().map(|to| ForwardPath::parse(to)).collect::<Result<_, _>>()?;
    Ok(Transaction::new(ReversePath::parse(from)?).to_all(to))
}

/// Delivers, says what became of each recipient, and has one exit code for all.
fn deliver(server: &str, transaction: Transaction, message: impl BufRead) -> u8 {
    let error = match connect_and_send(server, transaction, message) {
        Ok(report) => return tell(&report),
        Err(error) => error,
    };
    println!("{error}");
    let of_recipients = error.report().map(tell);
    match error {
        // Nobody has got it, and trying again will not change that.
        Error::Content { .. } => exit::DATAERR,
        Error::Message { .. } => exit::NOINPUT,
        // No session, or none for this message: the mail system keeps it, and somebody can mend that.
        _ => of_recipients.unwrap_or(exit::TEMPFAIL),
    }
}

fn connect_and_send(server: &str, transaction: Transaction, message: impl BufRead) -> Result<Report, Error> {
    #[cfg(unix)]
    if server.starts_with('/') {
        return send(Client::connect_unix(server, Options::lmtp())?, transaction, message);
    }
    send(Client::connect(server, Options::lmtp())?, transaction, message)
}

fn send<S: Stream>(mut client: Client<S>, transaction: Transaction, message: impl BufRead) -> Result<Report, Error> {
    let report = client.send(transaction, message)?;
    let _ = client.quit();
    Ok(report)
}

/// A line for each recipient. The exit code is that of whoever has to be tried again, or else the worst.
fn tell(report: &Report) -> u8 {
    let codes = report.recipients().map(|(recipient, outcome)| {
        let (code, text) = match outcome {
            Outcome::Accepted(reply) => (exit::OK, reply.to_string()),
            Outcome::Refused { reply, transient: true, .. } => (exit::TEMPFAIL, reply.to_string()),
            // 5.1.x: there is no such recipient (RFC 3463 section 3.2).
            Outcome::Refused { reply, .. } if reply.enhanced().is_some_and(|code| code.subject() == 1) => {
                (exit::NOUSER, reply.to_string())
            }
            Outcome::Refused { reply, .. } => (exit::UNAVAILABLE, reply.to_string()),
            Outcome::NotSent => (exit::TEMPFAIL, "not sent".into()),
            // As mail systems decide it: rather a message twice than none (RFC 1047).
            _ => (exit::TEMPFAIL, "in doubt, and may come twice".into()),
        };
        println!("{recipient} {code}: {text}");
        code
    });
    codes.max().unwrap_or(exit::TEMPFAIL)
}

/// To a server that this program starts itself, at a Unix socket where there are such. One of three mailboxes is full.
fn demonstrate() -> Result<u8, Box<dyn std::error::Error>> {
    let (server, target) = Loopback::lmtp_local()?;
    let to = ["alice@example.net", "full@example.net", "refused@example.net"].map(String::from);
    let code = deliver(&target, envelope("me@example.org", &to)?, &b"Subject: hello\n\nIt works.\n"[..]);
    println!("the exit code would be {code}; the server stored {}", server.stored().len());
    Ok(if code == exit::TEMPFAIL { exit::OK } else { code })
}
