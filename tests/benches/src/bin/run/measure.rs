//! One run of a program, and what is counted in it.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use wait4::Wait4;

use crate::programs::{Load, Program};
use crate::server::{Count, Server};

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) count: Count,
    /// Of the program as a whole, in user and system mode.
    pub(crate) cpu: Duration,
}

/// What a program is measured with.
#[derive(Clone, Copy)]
pub(crate) enum Tool {
    SystemCalls,
    HeapCalls,
    Instructions,
}

/// Has a program send a load, and checks that the server got what the program says it sent.
pub(crate) fn run(programs: &Path, program: &Program, load: Load) -> Result<Run, Box<dyn Error>> {
    let (run, _) = observed(programs, program, load, &[], |_| {})?;
    Ok(run)
}

/// The most memory that a program had while it sent a load, in octets.
pub(crate) fn memory(programs: &Path, program: &Program, load: Load) -> Result<u64, Box<dyn Error>> {
    let mut most = 0;
    observed(programs, program, load, &[], |child| {
        // Not what the system tells of a process that has ended: that counts what it was before it became this program.
        let path = format!("/proc/{}/status", child.id());
        while let Some(now) = fs::read_to_string(&path).ok().and_then(|status| high_water(&status)) {
            most = now;
            thread::sleep(Duration::from_millis(1));
        }
    })?;
    Ok(most)
}

/// What one message takes: the difference between so many messages and twice as many, so that what the program does once
/// is not in it.
pub(crate) fn each(programs: &Path, program: &Program, load: Load, tool: Tool) -> Result<f64, Box<dyn Error>> {
    let once = total(programs, program, load, tool)?;
    let twice = total(programs, program, Load { messages: 2 * load.messages, ..load }, tool)?;
    Ok((twice - once) / load.messages as f64)
}

fn total(programs: &Path, program: &Program, load: Load, tool: Tool) -> Result<f64, Box<dyn Error>> {
    let (_, told) = observed(programs, program, load, tool.command(), |_| {})?;
    tool.number(&told)
}

impl Tool {
    /// What to put before a command.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::SystemCalls => &["strace", "-f", "-c", "-o", "/dev/stderr"],
            Self::HeapCalls => &["valgrind", "--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"],
            Self::Instructions => &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"],
        }
    }

    /// The number in what it tells.
    fn number(self, told: &str) -> Result<f64, Box<dyn Error>> {
        let after = |text| told.lines().find_map(|line| line.split_once(text)).map(|(_, rest)| rest.trim());
        let number = match self {
            // The fourth column of the last line; there is one more where some calls failed.
            Self::SystemCalls => {
                let total = told.lines().rev().find(|line| line.trim_end().ends_with("total"));
                total.and_then(|line| line.split_ascii_whitespace().nth(3))
            }
            Self::HeapCalls => after("total heap usage: ").and_then(|rest| rest.split(' ').next()),
            Self::Instructions => after("Collected : "),
        };
        let number = number.ok_or_else(|| format!("no number in {told}"))?;
        Ok(number.replace(',', "").parse()?)
    }
}

/// What `micro` takes for a piece of work done once, again as the difference between so often and twice as often.
pub(crate) fn each_of_micro(programs: &Path, work: &str, count: usize, tool: Tool) -> Result<f64, Box<dyn Error>> {
    let total = |count: usize| {
        let (valgrind, arguments) = tool.command().split_first().ok_or("no tool")?;
        let mut command = Command::new(valgrind);
        let output = command.args(arguments).arg(programs.join("micro")).args([work, &count.to_string()]).output()?;
        tool.number(&String::from_utf8_lossy(&output.stderr))
    };
    Ok((total(2 * count)? - total(count)?) / count as f64)
}

/// Runs a program by `tool`, and returns also what came on its standard error.
fn observed(
    programs: &Path,
    program: &Program,
    load: Load,
    tool: &[&str],
    watch: impl FnOnce(&Child),
) -> Result<(Run, String), Box<dyn Error>> {
    let server = Server::start(programs, load.delay)?;
    let mut command = tool.iter().map(Into::into).chain(program.command(programs, load, &server.address));
    let mut child = Command::new(command.next().ok_or("no program")?)
        .args(command)
        // Python's own small allocator would hide its calls.
        .env("PYTHONMALLOC", if tool.is_empty() { "default" } else { "malloc" })
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    watch(&child);
    let (mut said, mut told) = (String::new(), String::new());
    let pipes = child.stdout.take().zip(child.stderr.take());
    let (mut output, mut errors) = pipes.ok_or("a program without an output")?;
    output.read_to_string(&mut said)?;
    errors.read_to_string(&mut told)?;
    let used = child.wait4()?;
    let count = server.finish()?;

    let name = &program.name;
    if !used.status.success() {
        return Err(format!("{name} failed: {told}").into());
    }
    let wanted = (load.messages, load.messages * load.recipients);
    if (count.messages, count.recipients) != wanted || count.octets < load.messages * load.size {
        return Err(format!("{name} was to send {load:?}, and the server has {count:?}").into());
    }
    if program.claims() && said.trim().parse() != Ok(load.messages) {
        return Err(format!("{name} was to send {load:?}, and says {said}").into());
    }
    let cpu = used.rusage.utime + used.rusage.stime;
    Ok((Run { count, cpu }, told))
}

/// The most memory that a process has had, in octets.
fn high_water(status: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let number: u64 = kibibytes.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(number * 1024)
}
