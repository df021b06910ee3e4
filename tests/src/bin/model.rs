//! Runs the machine against a naive server and holds what it tells against a naive client. Fails when the two differ where
//! nothing went wrong, or when the machine is not truthful where something did.

use std::panic;
use std::process::ExitCode;

use clap::Parser;
use smtp_conformance::model::judge::{self, Tally};

/// Sessions of the machine, judged by the model.
#[derive(Parser)]
struct Arguments {
    /// How many sessions, with the seeds from 0 on
    #[arg(long, default_value_t = 1_000_000)]
    runs: u64,
    /// Only the session of this seed, with everything that was said in it
    #[arg(long, conflicts_with = "runs")]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(seed),
        None => many(arguments.runs),
    }
}

fn one(seed: u64) -> ExitCode {
    let run = judge::run(seed);
    println!("{:#?}", run.plan);
    run.told.trace.lines().for_each(|line| println!("{line}"));
    println!("{:#?}\n{:#?}\n{:?}", run.told.reports, run.told.server.messages, run.told.closed);
    match run.wrong {
        Some(wrong) => {
            println!("WRONG: {wrong}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn many(runs: u64) -> ExitCode {
    let (mut tally, mut wrongs) = (Tally::default(), 0);
    for seed in 0..runs {
        // A panic that does not tell its seed is of no use.
        let wrong = match panic::catch_unwind(|| judge::run(seed)) {
            Ok(run) => {
                tally.add(&run);
                run.wrong
            }
            Err(_) => Some("panicked".to_owned()),
        };
        if let Some(wrong) = wrong {
            wrongs += 1;
            if wrongs <= 20 {
                eprintln!("seed {seed}: {wrong}");
            }
        }
    }
    let missing: Vec<&str> = tally.missing().collect();
    if !missing.is_empty() {
        eprintln!("never happened: {}", missing.join(", "));
    }
    println!("{runs} runs, {wrongs} wrong: {tally}");
    if wrongs == 0 && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
