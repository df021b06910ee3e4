//! Measures these crates against other programs that send mail, each as a whole process against a server made for it, and
//! prints tables in Markdown. Only ratios within one run mean anything.

mod measure;
mod programs;
mod server;
mod tables;

use std::env;
use std::error::Error;
use std::process::Command;

use clap::Parser;

use crate::programs::{Load, Program};
use crate::tables::{Case, Effort};

/// Measures programs that send mail against each other.
#[derive(Parser)]
struct Arguments {
    /// Only shows that everything runs: few messages, one round, no counting tools.
    #[arg(long)]
    smoke: bool,
    /// How often each program is run; the tables have medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// About how many seconds each run lasts.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Only programs whose names contain one of these.
    #[arg(long)]
    program: Vec<String>,
    /// Only columns whose titles contain one of these; "each" is what is counted for each message, "micro" the
    /// inner loops.
    #[arg(long)]
    case: Vec<String>,
}

const CASES: &[Case] = &[
    Case { title: "1 KiB", load: Load::small(1) },
    Case { title: "50 recipients", load: Load { recipients: 50, ..Load::small(1) } },
    Case { title: "10 MiB", load: Load { size: 10 << 20, ..Load::small(1) } },
    Case { title: "20 ms away", load: Load { delay: 20, ..Load::small(1) } },
    Case { title: "100 connections", load: Load { connections: 100, ..Load::small(1) } },
];

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { smoke, rounds, seconds, program, case } = Arguments::parse();
    build()?;
    let own = env::current_exe()?;
    let directory = own.parent().ok_or("a program in no directory")?;
    let mut programs = Program::all(directory);
    let wanted =
        |title: &str, only: &[String]| only.is_empty() || only.iter().any(|part| title.contains(part.as_str()));
    programs.retain(|one| wanted(&one.name, &program));
    let cases: Vec<_> = CASES.iter().copied().filter(|one| wanted(one.title, &case)).collect();
    let effort = if smoke { Effort::Smoke } else { Effort::Measure { rounds, seconds } };

    tables::speed(directory, &programs, &cases, effort)?;
    if wanted("each", &case) {
        tables::each(directory, &programs, effort)?;
    }
    if wanted("micro", &case) {
        tables::micro(directory, effort)?;
    }
    println!("\"+nd\": with TCP_NODELAY, which it does not set itself. {}.", programs::versions());
    Ok(())
}

/// Builds the programs as this one was built.
fn build() -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--bins", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    if cfg!(not(debug_assertions)) {
        cargo.arg("--release");
    }
    if cfg!(feature = "peers") {
        cargo.args(["--features", "peers"]);
    }
    if cargo.status()?.success() { Ok(()) } else { Err("the programs could not be built".into()) }
}
