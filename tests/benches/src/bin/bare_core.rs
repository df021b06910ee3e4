//! smtp-proto alone, over a socket of the standard library. It keeps no deadlines.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Instant;

use smtp_benches::{Job, Outcome, ours};
use smtp_proto::{CloseReason, Config, Connection, Event, HelloName, Security, Time};

fn main() -> ExitCode {
    Job::main_in_threads(send)
}

fn send(job: &Job, messages: usize) -> Outcome {
    let mut stream = TcpStream::connect(job.addr)?;
    stream.set_nodelay(true)?;
    let mut config = Config::smtp(HelloName::parse("me.example.org")?);
    ours::configure(&mut config, job.mode);
    let mut connection = Connection::new(config, Security::Plaintext);
    let started = Instant::now();
    let mut buffer = vec![0; 16 * 1024];

    let transaction = ours::transaction(job)?;
    let content = job.content();
    // What is left of the contents that the connection has not asked for in full.
    let mut rest = &content[..];
    let (mut begun, mut accepted) = (0, 0);
    loop {
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Completed(report) => accepted += usize::from(ours::is_accepted(&report)),
                Event::Closed(CloseReason::Quit) => return Ok(accepted),
                Event::Closed(reason) => return Err(reason.to_string().into()),
                _ => {}
            }
        }
        loop {
            while let Some(mut body) = connection.body() {
                let taken = body.write(rest)?;
                rest = &rest[taken..];
                if rest.is_empty() {
                    body.finish()?;
                    rest = &content;
                } else if taken == 0 {
                    break;
                }
            }
            if begun == messages || !connection.can_begin() {
                break;
            }
            connection.begin(transaction.clone())?;
            begun += 1;
        }
        if begun == messages && accepted == messages && connection.can_begin() {
            connection.quit()?;
        }
        let now = Time::from_duration(started.elapsed());
        if let Some(out) = connection.poll_transmit() {
            let written = stream.write(&out)?;
            connection.handle_transmitted(written, now);
            continue;
        }
        match stream.read(&mut buffer) {
            Ok(0) => connection.handle_eof(),
            Ok(length) => connection.handle_input(&buffer[..length], now),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
