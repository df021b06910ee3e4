//! Sends generated messages as fast as it goes: over several connections, and on each of them many messages one behind the
//! other, without waiting for the replies in between.
//!
//! ```text
//! cargo run --release --example bulk                                              # to a server of its own
//! cargo run --release --example bulk -- SERVER FROM TO [MESSAGES [CONNECTIONS]]   # SERVER is HOST[:PORT]
//! ```
//!
//! For a server of one's own: others take this for an attack. The exit code is 0 if every message was accepted. What was not
//! sent when a connection broke is counted, not sent again; `queue_runner` shows how to do that.

use std::error::Error;
use std::io::Cursor;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smtp_blocking::{Client, Options};
use smtp_conformance::loopback::Loopback;
use smtp_proto::{Chunking, ForwardPath, Outcome, ReversePath, Transaction};

/// What is to be sent, and how much of it was begun.
struct Job {
    server: String,
    from: ReversePath,
    to: ForwardPath,
    messages: u32,
    begun: AtomicU32,
}

/// What became of the messages, each of which has one recipient.
#[derive(Debug, Default)]
struct Tally {
    accepted: u32,
    refused: u32,
    in_doubt: u32,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = match arguments.as_slice() {
        [] => demonstrate()?,
        [server, from, to, numbers @ ..] if numbers.len() <= 2 => {
            let numbers = numbers.iter().map(|number| number.parse()).collect::<Result<Vec<u32>, _>>()?;
            let messages = numbers.first().copied().unwrap_or(10_000);
            run(&Job::new(server, from, to, messages)?, numbers.get(1).copied().unwrap_or(4))
        }
        _ => return Err("arguments: SERVER FROM TO [MESSAGES [CONNECTIONS]]".into()),
    };
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends all and says how fast that was. Whether all were accepted.
fn run(job: &Job, connections: u32) -> bool {
    let start = Instant::now();
    let tallies = thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(|| job.work())).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect::<Vec<_>>()
    });
    let took = start.elapsed().max(Duration::from_millis(1));
    let sum = |count: fn(&Tally) -> u32| tallies.iter().map(count).sum::<u32>();
    let accepted = sum(|tally| tally.accepted);
    let (refused, in_doubt) = (sum(|tally| tally.refused), sum(|tally| tally.in_doubt));
    let not_sent = job.messages - accepted - refused - in_doubt;
    println!("{accepted} accepted, {refused} refused, {in_doubt} in doubt, {not_sent} not sent");
    println!("{:.0} accepted a second over {connections} connections", f64::from(accepted) / took.as_secs_f64());
    accepted == job.messages
}

impl Job {
    fn new(server: &str, from: &str, to: &str, messages: u32) -> Result<Self, Box<dyn Error>> {
        let (from, to) = (ReversePath::parse(from)?, ForwardPath::parse(to)?);
        Ok(Self { server: server.into(), from, to, messages, begun: AtomicU32::new(0) })
    }

    /// What one connection does, and the next one if the server ends it.
    fn work(&self) -> Tally {
        let options = Options::smtp().configure(|config| {
            // As many messages at a time as the server may have taken, or not, when the connection breaks.
            config.transaction_window = 32;
            // The content goes with the envelope, where the server takes BDAT.
            config.chunking = Chunking::Ahead;
        });
        let mut tally = Tally::default();
        while self.begun.load(Ordering::Relaxed) < self.messages {
            if let Err(error) = self.session(options.clone(), &mut tally) {
                eprintln!("{error}");
                break;
            }
        }
        tally
    }

    fn session(&self, options: Options, tally: &mut Tally) -> Result<(), smtp_blocking::Error> {
        let mut client = Client::connect(&self.server, options)?;
        let messages = std::iter::from_fn(|| self.next());
        let mut not_begun = None;
        // To the end, whatever comes: behind a result that is bad there may be others that are good.
        for result in client.send_all(messages) {
            // A refusal of the only recipient is an error, too.
            let report = result.as_ref().map_or_else(smtp_blocking::Error::report, Some);
            match report.and_then(|report| report.recipients().next()) {
                Some((_, Outcome::Accepted(_))) => tally.accepted += 1,
                Some((_, Outcome::Refused { .. })) => tally.refused += 1,
                Some((_, Outcome::InDoubt)) => tally.in_doubt += 1,
                Some(_) => {}
                // The session was over already, or the message is not for this server.
                None => not_begun = result.err(),
            }
        }
        let _ = client.quit();
        not_begun.map_or(Ok(()), Err)
    }

    /// The next message, if there is one left.
    fn next(&self) -> Option<(Transaction, Cursor<String>)> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let message = format!(
            "From: <{}>\r\nTo: {}\r\nSubject: {number} of {}\r\n\r\n{}",
            self.from.as_str(),
            self.to,
            self.messages,
            "The quick brown fox jumps over the lazy dog.\r\n".repeat(20)
        );
        let transaction = Transaction::new(self.from.clone()).to(self.to.clone()).content(message.as_bytes());
        (number < self.messages).then(|| (transaction, Cursor::new(message)))
    }
}

/// To a server that this program starts itself.
fn demonstrate() -> Result<bool, Box<dyn Error>> {
    let server = Loopback::smtp()?;
    let job = Job::new(&server.address().to_string(), "me@example.org", "you@example.net", 2000)?;
    let all = run(&job, 4);
    println!("the server stored {}", server.stored().len());
    Ok(all && server.stored().len() == 2000)
}
