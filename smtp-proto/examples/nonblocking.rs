//! Sends messages over a few connections at once by nothing but the standard library: the loop for streams that do not
//! block, where nobody tells when they are ready.
//!
//! ```text
//! cargo run -p smtp-proto --example nonblocking -- 127.0.0.1:25 --connections 3 --messages 5
//! ```
//!
//! `shared/pump.rs` moves the octets of one connection, `shared/mailing.rs` is the application.

#[path = "shared/job.rs"]
mod job;
#[path = "shared/mailing.rs"]
mod mailing;
#[path = "shared/pump.rs"]
mod pump;
#[path = "shared/session.rs"]
mod session;

use std::error::Error;
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use smtp_proto::Time;

use crate::job::{Job, USAGE};
use crate::mailing::{Mailing, Summary};
use crate::session::Session;

/// How long octets may wait to be noticed.
const NAP: Duration = Duration::from_millis(2);

fn main() -> ExitCode {
    Summary::finish(run())
}

fn run() -> Result<Summary, Box<dyn Error>> {
    let job = Job::from_arguments()?;
    let address = job.address.ok_or(USAGE)?;
    let start = Instant::now();
    let now = || Time::from_duration(start.elapsed());
    let mut summary = Summary::default();
    let mut sessions = Vec::new();

    for _ in 0..job.connections {
        let mut mailing = Mailing::new(&job);
        // The standard library connects only by waiting, and those that are connected already wait with it.
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(30));
        match stream.and_then(|stream| stream.set_nonblocking(true).map(|()| stream)) {
            Ok(stream) => sessions.push(Session { stream, mailing }),
            Err(error) => {
                mailing.handle_no_stream(&error);
                summary.add(mailing.summary);
            }
        }
    }

    while !sessions.is_empty() {
        let (mut moved, mut nap) = (false, NAP);
        sessions.retain_mut(|session| {
            moved |= session.turn(now());
            session.handle_timeout(now());
            let mailing = &mut session.mailing;
            if mailing.is_over() {
                summary.add(std::mem::take(&mut mailing.summary));
                return false;
            }
            nap = nap.min(mailing.connection.poll_timeout(now()).unwrap_or(NAP));
            true
        });
        if !moved {
            std::thread::sleep(nap);
        }
    }
    Ok(summary)
}
