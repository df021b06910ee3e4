//! Sends a message from a file or the standard input, with Tokio.
//!
//! Without arguments it starts a mail server of its own on the loopback interface, sends a message there and shows what
//! happens. The command line is described in `smtp_conformance::sendmail`, which this has in common with the other driver's
//! example; what is here is all there is to using the driver.

use std::io::Cursor;
use std::pin::Pin;
use std::process::ExitCode;

use smtp_conformance::sendmail::{self, Job, Message};
use smtp_proto::{Report, Transaction};
use smtp_tokio::{Client, Duplex, Error};
use tokio::fs::File;
use tokio::io::{AsyncBufRead, BufReader, stdin};

fn main() -> ExitCode {
    sendmail::main(|job| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::unreadable)?;
        runtime.block_on(deliver(job))
    })
}

async fn deliver(job: Job) -> Result<Report, Error> {
    let message: Pin<Box<dyn AsyncBufRead>> = match job.message {
        Message::Octets(octets) => Box::pin(Cursor::new(octets)),
        Message::File(path) => Box::pin(BufReader::new(File::open(path).await.map_err(Error::unreadable)?)),
        Message::Stdin => Box::pin(BufReader::new(stdin())),
    };
    #[cfg(unix)]
    if job.server.starts_with('/') {
        return send(Client::connect_unix(&job.server, job.options).await?, job.transaction, message).await;
    }
    send(Client::connect(&job.server, job.options).await?, job.transaction, message).await
}

async fn send<S: Duplex>(
    mut client: Client<S>,
    transaction: Transaction,
    message: impl AsyncBufRead + Unpin,
) -> Result<Report, Error> {
    let report = client.send(transaction, message).await?;
    // The server has the message; how it takes the farewell changes nothing.
    let _ = client.quit().await;
    Ok(report)
}
