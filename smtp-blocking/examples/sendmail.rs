//! Sends a message from a file or the standard input.
//!
//! Without arguments it starts a mail server of its own on the loopback interface, sends a message there and shows what
//! happens. The command line is described in `smtp_conformance::sendmail`, which this has in common with the other driver's
//! example; what is here is all there is to using the driver.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, stdin};
use std::process::ExitCode;

use smtp_blocking::{Client, Error, Stream};
use smtp_conformance::sendmail::{self, Job, Message};
use smtp_proto::{Report, Transaction};

fn main() -> ExitCode {
    sendmail::main(deliver)
}

fn deliver(job: Job) -> Result<Report, Error> {
    let message: Box<dyn BufRead> = match job.message {
        Message::Octets(octets) => Box::new(Cursor::new(octets)),
        Message::File(path) => Box::new(BufReader::new(File::open(path).map_err(Error::unreadable)?)),
        Message::Stdin => Box::new(stdin().lock()),
    };
    #[cfg(unix)]
    if job.server.starts_with('/') {
        return send(Client::connect_unix(&job.server, job.options)?, job.transaction, message);
    }
    send(Client::connect(&job.server, job.options)?, job.transaction, message)
}

fn send<S: Stream>(mut client: Client<S>, transaction: Transaction, message: impl BufRead) -> Result<Report, Error> {
    let report = client.send(transaction, message)?;
    // The server has the message; how it takes the farewell changes nothing.
    let _ = client.quit();
    Ok(report)
}
