//! Runs simulated worlds of the Tokio driver and prints what happened in them. Fails when a promise was broken, or when
//! something that should happen never did.

use std::panic;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use smtp_conformance::simulation::{self, ledger::Tally};

/// Simulated worlds of the Tokio driver.
#[derive(Parser)]
struct Arguments {
    /// How many worlds, with the seeds from 0 on
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// Only the world of this seed, with everything that happens in it
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How many threads; otherwise as many as there are cores
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed),
        None => many(arguments.seeds, arguments.threads),
    }
}

fn one(seed: u64) -> ExitCode {
    println!("{:#?}", simulation::plan::Plan::new(seed));
    let run = simulation::run(seed);
    run.log.iter().for_each(|line| println!("{line}"));
    println!("{}", run.tally);
    if run.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(seeds: u64, threads: Option<usize>) -> ExitCode {
    let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicU64::new(0);
    let all = Mutex::new((Tally::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut tally, mut violations) = (Tally::default(), Vec::new());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    // A panic that does not tell its seed is of no use.
                    match panic::catch_unwind(|| simulation::run(seed)) {
                        Ok(run) => {
                            tally.merge(&run.tally);
                            violations.extend(run.violations.into_iter().map(|violation| (seed, violation)));
                        }
                        Err(_) => violations.push((seed, "panicked".to_owned())),
                    }
                }
                let mut all = all.lock().expect("no thread panics while it holds this");
                all.0.merge(&tally);
                all.1.extend(violations);
            });
        }
    });
    let (tally, mut violations) = all.into_inner().expect("all threads are done");
    violations.sort();
    for (seed, violation) in violations.iter().take(20) {
        eprintln!("seed {seed}: {violation}");
    }
    let missing: Vec<&str> = tally.missing().collect();
    if !missing.is_empty() {
        eprintln!("never happened: {}", missing.join(", "));
    }
    println!("{seeds} seeds, {} violations: {tally}", violations.len());
    if violations.is_empty() && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
