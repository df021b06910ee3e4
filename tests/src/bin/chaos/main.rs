//! Sends very many messages to Postfix by both drivers, through a network that cuts, resets, closes, half-closes and stalls
//! their connections; then looks which of them Postfix has delivered, and to whom. Prints the ledger. Fails when one is not
//! where the driver says, or is there twice, or when a fault that should happen never did. `tests/live.sh` starts Postfix
//! and then runs this.

mod client;
mod ledger;
mod letter;
mod mailbox;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use smtp_conformance::dice::Dice;
use smtp_conformance::relay::{Relay, Route, Tally};
use tokio::runtime::{Builder, Runtime};

use crate::client::{Driver, Work, Worker};
use crate::ledger::Ledger;

/// Sends messages to Postfix through a network that fails.
#[derive(Parser)]
struct Arguments {
    /// Where Postfix listens, on loopback
    #[arg(long)]
    postfix: u16,
    /// Where its mailboxes are
    #[arg(long)]
    mail: PathBuf,
    /// Where its queue is
    #[arg(long)]
    queue: PathBuf,
    /// How many messages, by each driver
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// How many sessions at the same time, by each driver
    #[arg(long, default_value_t = 12)]
    sessions: usize,
    /// What decides about the messages and the network
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the drivers wait for anything, in milliseconds
    #[arg(long, default_value_t = 1000)]
    patience: u64,
}

const DRIVERS: [Driver; 2] = [Driver::Blocking, Driver::Tokio];

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let network = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let tallies = DRIVERS.map(|_| Arc::new(Tally::default()));
    let works = send(&arguments, &network, &tallies)?;
    let sent = start.elapsed();
    mailbox::await_delivery(&arguments.queue)?;
    let mut found = mailbox::read(&arguments.mail, &client::run())?;

    let mut ledgers = Vec::new();
    for ((driver, works), tally) in DRIVERS.into_iter().zip(works).zip(&tallies) {
        let mut ledger = Ledger::new(driver, arguments.seed, tally);
        works.iter().for_each(|work| ledger.judge(work, &mut found));
        ledgers.push(ledger);
    }
    ledger::print(&ledgers);
    let (sent, all) = (sent.as_secs_f64(), start.elapsed().as_secs_f64());
    println!("seed {}: sent in {sent:.1} s, {all:.1} s in all", arguments.seed);

    let violations: Vec<&String> = ledgers.iter().flat_map(|ledger| &ledger.violations).collect();
    violations.iter().take(10).for_each(|violation| eprintln!("{violation}"));
    let missing: Vec<&str> = ledgers.iter().flat_map(Ledger::missing).collect();
    if !missing.is_empty() {
        eprintln!("never happened: {}", missing.join(", "));
    }
    if !found.is_empty() {
        eprintln!("{} copies that were sent to nobody, {:?} among them", found.len(), found.keys().next());
    }
    println!("{} violations", violations.len() + found.len());
    let well = violations.is_empty() && missing.is_empty() && found.is_empty();
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends all of it, by both drivers at the same time. What the workers of each driver did, when every connection is over.
fn send(arguments: &Arguments, network: &Runtime, tallies: &[Arc<Tally>]) -> io::Result<Vec<Vec<Work>>> {
    let patience = Duration::from_millis(arguments.patience);
    let tokio = Builder::new_multi_thread().enable_all().build()?;
    let (mut relays, mut running) = (Vec::new(), Vec::new());
    for (driver, tally) in DRIVERS.into_iter().zip(tallies) {
        let mut group = Vec::new();
        for session in 0..arguments.sessions {
            let seed = Dice::new(arguments.seed, (driver as u64) << 32 | session as u64).within(0..=0xffff_ffff) as u64;
            // Longer than the driver waits.
            let route = Route { server: arguments.postfix, seed, stall: patience * 3 / 2, tally: Arc::clone(tally) };
            let relay = network.block_on(Relay::start(route))?;
            let worker = Worker {
                driver,
                port: relay.port,
                network: seed,
                seed: arguments.seed,
                letters: (session..arguments.messages).step_by(arguments.sessions).collect(),
                patience,
            };
            relays.push(relay);
            group.push(start(worker, &tokio));
        }
        running.push(group);
    }
    let works = running
        .into_iter()
        .map(|group| group.into_iter().map(|work| work.join().expect("no worker panics")).collect())
        .collect();
    for relay in relays {
        network.block_on(relay.finish());
    }
    Ok(works)
}

/// A worker in a thread of its own, which for Tokio only waits: all of its sessions share one runtime.
fn start(worker: Worker, tokio: &Runtime) -> thread::JoinHandle<Work> {
    match worker.driver {
        Driver::Blocking => thread::spawn(move || {
            // Nothing that a blocking client does is ever pending.
            let nothing = Builder::new_current_thread().build().expect("a runtime");
            nothing.block_on(worker.run())
        }),
        Driver::Tokio => {
            let task = tokio.spawn(worker.run());
            let handle = tokio.handle().clone();
            thread::spawn(move || handle.block_on(task).expect("no worker panics"))
        }
    }
}
