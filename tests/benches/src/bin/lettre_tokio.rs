//! lettre on Tokio, without its pool: that may use several connections in turn, on all of which Nagle's algorithm had to be
//! switched off.

use std::process::ExitCode;

use lettre::address::Envelope;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use smtp_benches::{Job, Outcome, SENDER};
use tokio::net::TcpStream;

fn main() -> ExitCode {
    Job::main_in_tasks(send)
}

async fn send(job: Job, messages: usize) -> Outcome {
    let stream = TcpStream::connect(job.addr).await?;
    stream.set_nodelay(true)?;
    let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &ClientId::default()).await?;
    let to = job.to().map(|to| to.parse()).collect::<Result<_, _>>()?;
    let envelope = Envelope::new(Some(SENDER.parse()?), to)?;
    let content = job.content();
    let mut accepted = 0;
    for _ in 0..messages {
        accepted += usize::from(connection.send(&envelope, &content).await?.is_positive());
    }
    connection.quit().await?;
    Ok(accepted)
}
