//! Sends a message with an OAuth 2.0 access token (OAUTHBEARER or XOAUTH2, as the server has them), and gets another token when
//! the server refuses the one it has: access tokens live for an hour or so.
//!
//! ```text
//! cargo run --example oauth2_sender                                                     # to a server of its own
//! cargo run --example oauth2_sender -- SERVER USER TOKEN COMMAND FROM TO... < message
//! ```
//!
//! For a real server, say `smtp.gmail.com:587` or `smtp.office365.com:587`. TOKEN is a file that keeps the token from one run
//! to the next and need not be there yet, COMMAND a program that prints a fresh one, such as `oama access me@example.org`. The
//! library takes care of TLS: no token ever crosses in clear.

use std::error::Error;
use std::io::{Read, stdin};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use smtp_blocking::{Client, Options, Tls};
use smtp_conformance::sasl_server::Account;
use smtp_conformance::tls_server::{Authority, Plan};
use smtp_proto::sasl::{Credentials, CredentialsError, Secret};
use smtp_proto::{ForwardPath, ReversePath, Transaction};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oauth2_sender: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => demonstrate(),
        [server, user, file, command, from, to @ ..] if !to.is_empty() => {
            let (file, command) = (file.clone(), command.clone());
            let kept = fs::read_to_string(&file).ok().map(|token| token.trim().to_owned());
            let tokens = Tokens::new(kept, move || fetch(&file, &command));
            let mut message = Vec::new();
            stdin().lock().read_to_end(&mut message)?;
            let to = to.iter().map(|to| ForwardPath::parse(to)).collect::<Result<Vec<_>, _>>()?;
            let transaction = Transaction::new(ReversePath::parse(from)?).to_all(to);
            send(server, Options::smtp(), tokens.credentials(user)?, transaction, &message)
        }
        _ => Err("arguments: SERVER USER TOKEN COMMAND FROM TO...".into()),
    }
}

fn send(
    server: &str,
    options: Options,
    credentials: Credentials,
    transaction: Transaction,
    message: &[u8],
) -> Result<(), Box<dyn Error>> {
    // Without a transcript nothing of this is shown; with one, no token is.
    let options = options.credentials(credentials).transcript(|line| eprintln!("{line}"));
    // Asks for a token, and for another one if the server says 535 to that.
    let mut client = Client::connect(server, options)?;
    println!("authenticated by {}", client.security().mechanism.as_deref().unwrap_or("nothing"));
    let report = client.send(transaction.content(message), message)?;
    for (recipient, outcome) in report.recipients() {
        println!("{recipient}: {outcome:?}");
    }
    let _ = client.quit();
    Ok(())
}

/// The token that was good the last time, and how to get another one.
struct Tokens {
    kept: Mutex<Option<String>>,
    fetch: Box<dyn Fn() -> io::Result<String> + Send + Sync>,
}

impl Tokens {
    fn new(kept: Option<String>, fetch: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::new(kept), fetch: Box::new(fetch) })
    }

    /// For one session. The library asks for a token when it authenticates, and again only if the server refused that one, so
    /// the kept one is given once.
    fn credentials(self: &Arc<Self>, user: &str) -> Result<Credentials, CredentialsError> {
        let (tokens, first) = (Arc::clone(self), AtomicBool::new(true));
        Credentials::token_source(user, move || {
            let mut kept = tokens.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if !first.swap(false, Ordering::Relaxed) {
                *kept = None;
            }
            if kept.is_none() {
                // Without a token there is no session, and the error says so.
                let fetched = (tokens.fetch)().inspect_err(|error| eprintln!("no token: {error}"));
                *kept = fetched.ok();
            }
            kept.as_deref().map(Secret::from)
        })
    }
}

/// Runs the command that prints a token, and keeps that for the next time.
fn fetch(file: &str, command: &str) -> io::Result<String> {
    let output = Command::new("sh").args(["-c", command]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{command}: {}", output.status)));
    }
    let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // Whoever reads it can send mail as this user.
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    io::Write::write_all(&mut options.open(file)?, token.as_bytes())?;
    Ok(token)
}

/// Two sessions with a server that this program starts itself, and which takes the kept token no more.
fn demonstrate() -> Result<(), Box<dyn Error>> {
    let mut plan = Plan::starttls();
    plan.within = vec!["PIPELINING", "AUTH PLAIN XOAUTH2"];
    plan.account = Some(Account { token: "fresh-t0ken".into(), offered: vec!["XOAUTH2".into()], ..Account::default() });
    let server = plan.start();
    let options = Options::smtp().tls(Tls::trusting_only(Authority::shared().pem().as_bytes())?);

    let tokens = Tokens::new(Some("expired-t0ken".into()), || {
        println!("a fresh token is fetched");
        Ok("fresh-t0ken".into())
    });
    for session in [1, 2] {
        println!("session {session}:");
        let transaction = Transaction::new(ReversePath::parse("user@example.org")?);
        let transaction = transaction.to(ForwardPath::parse("you@example.net")?);
        let message = b"From: user@example.org\r\nTo: you@example.net\r\nSubject: hello\r\n\r\nIt works.\r\n";
        send(&server.named_target(), options.clone(), tokens.credentials("user")?, transaction, message)?;
    }
    Ok(())
}
