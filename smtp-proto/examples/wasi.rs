//! Sends messages over the standard input and output: for where there are no sockets, as in WebAssembly with WASI preview 1,
//! and for where the stream is somebody else's.
//!
//! ```text
//! cargo build -p smtp-proto --example wasi --target wasm32-wasip1
//! node .ci/wasi.mjs target/wasm32-wasip1/debug/examples/wasi.wasm --messages 5 <>/dev/tcp/127.0.0.1/25 >&0
//! ```
//!
//! These streams block and know no time limit, so nothing here keeps the deadlines.

#[path = "shared/job.rs"]
mod job;
#[allow(dead_code, reason = "there is one connection, and it is there already")]
#[path = "shared/mailing.rs"]
mod mailing;

use std::error::Error;
use std::io::{ErrorKind, Read, Write, stdin, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use smtp_proto::Time;

use crate::job::Job;
use crate::mailing::{Mailing, Summary};

fn main() -> ExitCode {
    Summary::finish(run())
}

fn run() -> Result<Summary, Box<dyn Error>> {
    let job = Job::from_arguments()?;
    if job.address.is_some() || job.connections != 1 {
        return Err("the standard streams are one connection, and have no address".into());
    }
    let start = Instant::now();
    let now = || Time::from_duration(start.elapsed());
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let mut mailing = Mailing::new(&job);
    let mut buffer = [0; 4096];
    loop {
        mailing.handle_timeout(now());
        // What takes long to compute is computed in parts, and here there is nothing else to do in between.
        while mailing.connection.poll_timeout(now()) == Some(Duration::ZERO) {
            mailing.handle_timeout(now());
        }
        if mailing.is_over() {
            return Ok(mailing.summary);
        }
        mailing.content.feed(&mut mailing.connection);
        if let Some(out) = mailing.connection.poll_transmit() {
            // The standard output keeps what is no whole line, and nobody answers that.
            match output.write(&out).and_then(|length| output.flush().map(|()| length)) {
                Ok(length) => mailing.connection.handle_transmitted(length, now()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => mailing.connection.handle_write_closed(now()),
            }
        } else {
            match input.read(&mut buffer) {
                Ok(length @ 1..) => {
                    mailing.connection.handle_input(buffer.get(..length).unwrap_or_default(), now());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => mailing.connection.handle_eof(),
            }
        }
    }
}
