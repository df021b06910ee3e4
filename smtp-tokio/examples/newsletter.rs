//! Sends a newsletter: a message of one's own to each reader, over a few connections that are kept between messages, with a
//! progress bar and a line for each reader.
//!
//! ```text
//! cargo run --example newsletter                                        # to a server of its own
//! cargo run --example newsletter -- SERVER FROM READERS MESSAGE > log   # SERVER is HOST[:PORT]
//! ```
//!
//! READERS is a file with an address on each line, MESSAGE one with a message that has no To: each reader's own is put before
//! it. With SMTP_USER and SMTP_PASSWORD in the environment it authenticates, within TLS. The exit code is 0 if the server has
//! taken every message.
//!
//! In one's own program: `smtp-tokio` with the feature `pool`, and `smtp-proto`.

use std::env;
use std::error::Error;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use smtp_conformance::loopback::Loopback;
use smtp_proto::sasl::Credentials;
use smtp_proto::{Failure, ForwardPath, Outcome, Report, ReversePath, Stage, Transaction};
use smtp_tokio::{Options, Pool};
use tokio::task::JoinSet;

/// How many messages are under way at a time, each over a connection of its own. Ask the server's people before it is many.
const CONNECTIONS: usize = 4;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("newsletter: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => demonstrate().await,
        [server, from, readers, message] => {
            let readers = tokio::fs::read_to_string(readers).await?;
            let readers = readers.lines().filter(|line| !line.is_empty()).map(ForwardPath::parse);
            let readers = readers.collect::<Result<_, _>>()?;
            let mut options = Options::smtp();
            if let (Ok(user), Ok(password)) = (env::var("SMTP_USER"), env::var("SMTP_PASSWORD")) {
                options = options.credentials(Credentials::password(&user, password)?);
            }
            let message = tokio::fs::read_to_string(message).await?;
            send_to_all(server, options, &ReversePath::parse(from)?, readers, &message).await
        }
        _ => Err("arguments: SERVER FROM READERS MESSAGE".into()),
    }
}

/// Whether the server has taken all of them.
async fn send_to_all(
    server: &str,
    options: Options,
    from: &ReversePath,
    readers: Vec<ForwardPath>,
    message: &str,
) -> Result<bool, Box<dyn Error>> {
    let pool = Pool::new(server, options, CONNECTIONS)?;
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}, {eta} left")?;
    // On the standard error, and only if that is a terminal.
    let bar = ProgressBar::new(readers.len() as u64).with_style(style);
    let mut running = JoinSet::new();
    let mut waiting = readers.into_iter();
    let (mut accepted, mut others) = (0, 0);
    loop {
        while running.len() < CONNECTIONS {
            let Some(reader) = waiting.next() else { break };
            let message = format!("To: {reader}\r\n{message}");
            let transaction = Transaction::new(from.clone()).to(reader.clone()).content(message.as_bytes());
            let pool = pool.clone();
            running.spawn(async move {
                let result = pool.send(transaction, message.as_bytes()).await;
                (reader, result)
            });
        }
        let Some(done) = running.join_next().await else { break };
        let (reader, result) = done?;
        let what = match &result {
            Ok(report) => outcome_of(report),
            // A refusal of the only recipient is an error, too. Without a report nothing was begun.
            Err(error) => error.report().map_or_else(|| Err(format!("not sent: {error}")), outcome_of),
        };
        if result.is_err_and(|error| is_for_all(&error)) {
            others += waiting.len();
            waiting.by_ref().for_each(|reader| println!("{reader} not sent"));
        }
        match &what {
            Ok(_) => accepted += 1,
            Err(_) => others += 1,
        }
        bar.set_message(format!("{accepted} accepted, {others} not"));
        bar.inc(1);
        bar.suspend(|| println!("{reader} {}", what.unwrap_or_else(|text| text)));
    }
    bar.finish();
    pool.close().await;
    println!("{accepted} accepted, {others} not");
    Ok(others == 0)
}

/// What became of the one recipient. Only the last one leaves open whether sending the message again would double it.
fn outcome_of(report: &Report) -> Result<String, String> {
    match report.recipients().next() {
        Some((_, Outcome::Accepted(reply))) => Ok(format!("accepted: {reply}")),
        Some((_, Outcome::Refused { reply, transient: true, .. })) => Err(format!("may be accepted later: {reply}")),
        Some((_, Outcome::Refused { reply, stage: Stage::Rcpt, .. })) => Err(format!("take off the list: {reply}")),
        Some((_, Outcome::Refused { reply, stage, .. })) => Err(format!("refused at {stage}: {reply}")),
        Some((_, Outcome::NotSent)) | None => Err("not sent".into()),
        Some(_) => Err("in doubt: the server may have it".into()),
    }
}

/// Whether it is not about this reader, because there is no session to be had: the others would fare alike.
fn is_for_all(error: &smtp_tokio::Error) -> bool {
    error.report().is_none() && !matches!(error.failure(), Some(Failure::Usage(_)))
}

/// To a server that this program starts itself. Of its thirty readers one is unknown there, and one's mailbox is busy.
async fn demonstrate() -> Result<bool, Box<dyn Error>> {
    let server = Loopback::smtp()?;
    let names = (1..=28).map(|number| format!("reader{number}@example.net"));
    let names = names.chain(["refused@example.net".into(), "later@example.net".into()]);
    let readers = names.map(|name| ForwardPath::parse(&name)).collect::<Result<_, _>>()?;
    let from = ReversePath::parse("news-bounces@example.org")?;
    let message = "From: News <news@example.org>\r\nSubject: What is new\r\nList-Unsubscribe: <mailto:news-leave@example.org>\r\n\r\nNothing.\r\n";
    send_to_all(&server.address().to_string(), Options::smtp(), &from, readers, message).await?;
    let stored = server.stored();
    println!("the server stored {}, the first of them:", stored.len());
    if let Some(first) = stored.first() {
        print!("{}", String::from_utf8_lossy(&first.content));
    }
    Ok(stored.len() == 28)
}
