//! The server that a program sends to.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running sink.
pub(crate) struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) address: String,
}

/// What a server got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) messages: usize,
    pub(crate) recipients: usize,
    pub(crate) octets: usize,
    pub(crate) round_trips: usize,
    /// From the first MAIL to the end of the last message.
    pub(crate) time: Duration,
}

impl Server {
    pub(crate) fn start(programs: &Path, delay: u64) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(programs.join("sink"))
            .args(["--delay", &delay.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("a sink without an output")?);
        let mut address = String::new();
        output.read_line(&mut address)?;
        Ok(Self { child, output, address: address.trim_end().into() })
    }

    /// Ends it and asks it what it got.
    pub(crate) fn finish(mut self) -> Result<Count, Box<dyn Error>> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        self.child.wait()?;
        let mut count = Count::default();
        for (name, number) in line.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
            match name {
                "messages" => count.messages = number.parse()?,
                "recipients" => count.recipients = number.parse()?,
                "octets" => count.octets = number.parse()?,
                "round-trips" => count.round_trips = number.parse()?,
                "nanoseconds" => count.time = Duration::from_nanos(number.parse()?),
                _ => return Err(format!("the sink said {line}").into()),
            }
        }
        Ok(count)
    }
}

/// A sink whose program failed has nobody to end it.
impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
