//! What is measured in which order, and how it is printed.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use crate::measure::{self, Run, Tool};
use crate::programs::{BASES, Load, Program};

/// A column of the first table: what is sent, but for the number of messages.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) title: &'static str,
    pub(crate) load: Load,
}

#[derive(Clone, Copy)]
pub(crate) enum Effort {
    /// Everything once.
    Smoke,
    Measure {
        rounds: usize,
        /// That a run should last.
        seconds: f64,
    },
}

/// Prints how many messages go through in a second, as a number and as multiples of the [`BASES`].
pub(crate) fn speed(
    directory: &Path,
    programs: &[Program],
    cases: &[Case],
    effort: Effort,
) -> Result<(), Box<dyn Error>> {
    let mut columns = Vec::new();
    for case in cases {
        eprintln!("{}", case.title);
        let runs = rounds(directory, programs, case.load, effort)?;
        let column: Vec<_> = (0..programs.len()).map(|row| cell(case, programs, &runs, row)).collect();
        // Not all is lost when a later one is cut short.
        programs.iter().zip(&column).for_each(|(program, cell)| eprintln!("  {}: {cell}", program.name));
        columns.push(column);
    }
    if cases.is_empty() {
        return Ok(());
    }
    if let Effort::Smoke = effort {
        println!("{} programs sent {} loads, and the server got what they say", programs.len(), cases.len());
        return Ok(());
    }
    println!("Messages a second (of 10 MiB: MB a second), and how many times that of {}:\n", BASES.join(" / "));
    let titles = cases.iter().map(|case| case.title.to_owned());
    heading(titles);
    for (row, program) in programs.iter().enumerate() {
        line(&program.name, columns.iter().map(|column| column[row].clone()));
    }
    println!();
    Ok(())
}

/// Runs of all programs in turn, so that what disturbs the machine for a while disturbs all; for each program one a round.
fn rounds(directory: &Path, programs: &[Program], load: Load, effort: Effort) -> Result<Vec<Vec<Run>>, Box<dyn Error>> {
    let probe = if load.size > 1 << 20 { 2 } else { 16.max(load.connections * 2) };
    let mut loads = vec![Load { messages: probe, ..load }; programs.len()];
    let mut rounds = 1;
    if let Effort::Measure { rounds: wanted, seconds } = effort {
        rounds = wanted;
        for (load, program) in loads.iter_mut().zip(programs) {
            // The first run is too short to tell much.
            for share in [0.1, 1.0] {
                let time = measure::run(directory, program, *load)?.count.time.as_secs_f64();
                let messages = load.messages as f64 * seconds * share / time.max(1e-6);
                load.messages = (messages as usize).clamp(probe, 10_000_000);
            }
        }
    }
    let mut runs = vec![Vec::new(); programs.len()];
    for _ in 0..rounds {
        for ((runs, program), load) in runs.iter_mut().zip(programs).zip(&loads) {
            runs.push(measure::run(directory, program, *load)?);
        }
    }
    Ok(runs)
}

fn cell(case: &Case, programs: &[Program], runs: &[Vec<Run>], row: usize) -> String {
    let rate = |run: &Run| run.count.messages as f64 / run.count.time.as_secs_f64();
    let own: Vec<f64> = runs[row].iter().map(rate).collect();
    let unit = if case.load.size > 1 << 20 { case.load.size as f64 / 1e6 } else { 1.0 };
    let mut cell = number(median(own.iter().copied()) * unit);
    let ratios: Vec<String> = BASES
        .iter()
        .filter_map(|base| programs.iter().position(|program| program.name == *base))
        // Round by round, since the machine's own speed changes between them.
        .map(|base| median(own.iter().zip(&runs[base]).map(|(own, base)| own / rate(base))))
        .map(|ratio| format!("{}x", number(ratio)))
        .collect();
    if !ratios.is_empty() {
        cell.push_str(&format!(" ({})", ratios.join(" / ")));
    }
    cell
}

/// Prints what one message takes.
pub(crate) fn each(directory: &Path, programs: &[Program], effort: Effort) -> Result<(), Box<dyn Error>> {
    let (few, many) = match effort {
        Effort::Smoke => return Ok(()),
        Effort::Measure { .. } => (Load::small(160), Load { recipients: 50, ..Load::small(32) }),
    };
    println!("Each message of 1 KiB takes (at 1 / 50 recipients), and memory over that of a small message:\n");
    heading(
        ["round trips", "CPU us", "system calls", "heap calls", "user instructions", "MiB at 10 MiB"]
            .map(str::to_owned)
            .into_iter(),
    );
    let timed = rounds(directory, programs, Load::small(1), effort)?;
    for (program, runs) in programs.iter().zip(timed) {
        eprintln!("{}", program.name);
        let start = measure::run(directory, program, Load::small(1))?.cpu;
        let cpu = runs.iter().map(|run| run.cpu.saturating_sub(start).as_secs_f64() * 1e6 / run.count.messages as f64);
        let trips = runs.iter().map(|run| run.count.round_trips as f64 / run.count.messages as f64);
        let mut cells = vec![number(median(trips)), number(median(cpu))];
        for tool in [Tool::SystemCalls, Tool::HeapCalls, Tool::Instructions] {
            let both = [few, many].map(|load| measure::each(directory, program, load, tool).map(number));
            let [few, many] = both;
            cells.push(format!("{} / {}", few?, many?));
        }
        let large = Load { size: 10 << 20, ..Load::small(4) };
        let over = measure::memory(directory, program, large)?.saturating_sub(measure::memory(
            directory,
            program,
            Load::small(1),
        )?);
        cells.push(number(over as f64 / (1 << 20) as f64));
        line(&program.name, cells.into_iter());
    }
    println!();
    for program in programs.iter().filter(|program| program.streams()) {
        let small = measure::memory(directory, program, Load::small(1))?;
        let large = Load { size: 1 << 30, stream: true, ..Load::small(1) };
        let over = measure::memory(directory, program, large)?.saturating_sub(small);
        println!(
            "- {}: {} MiB more for a message of 1 GiB that is made up while it is sent",
            program.name,
            number(over as f64 / (1 << 20) as f64)
        );
    }
    println!();
    Ok(())
}

/// Prints what the inner loops take.
pub(crate) fn micro(directory: &Path, effort: Effort) -> Result<(), Box<dyn Error>> {
    let micro = |arguments: &[&str]| -> Result<String, Box<dyn Error>> {
        let output = Command::new(directory.join("micro")).args(arguments).output()?;
        let told = String::from_utf8(output.stdout)?;
        if output.status.success() { Ok(told) } else { Err(format!("micro {arguments:?} failed").into()) }
    };
    let all = micro(&[])?;
    if let Effort::Smoke = effort {
        return all.lines().try_for_each(|work| micro(&[work, "1"]).map(drop));
    }
    println!("The inner loops:\n");
    heading(["ns", "GB/s", "instructions", "heap calls"].map(str::to_owned).into_iter());
    for work in all.lines() {
        let told = micro(&[work])?;
        let (octets, time) = told.trim().split_once(' ').ok_or("micro says nothing")?;
        let (octets, time): (f64, f64) = (octets.parse()?, time.parse()?);
        let count = if octets < 1e6 { 100 } else { 1 };
        let instructions = measure::each_of_micro(directory, work, count, Tool::Instructions)?;
        let calls = measure::each_of_micro(directory, work, count, Tool::HeapCalls)?;
        line(work, [time, octets / time, instructions, calls].map(number).into_iter());
    }
    println!();
    Ok(())
}

fn heading(titles: impl Iterator<Item = String>) {
    let titles: Vec<_> = titles.collect();
    println!("| program | {} |\n|---|{}", titles.join(" | "), "---|".repeat(titles.len()));
}

fn line(name: &str, cells: impl Iterator<Item = String>) {
    println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three digits, or all before the point, in groups of three.
fn number(number: f64) -> String {
    if number < 100.0 {
        let digits = if number < 10.0 { 2 } else { 1 };
        return format!("{number:.digits$}");
    }
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
