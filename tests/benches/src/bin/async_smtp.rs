//! async-smtp.

use std::process::ExitCode;

use async_smtp::{EmailAddress, Envelope, SendableEmail, SmtpClient, SmtpTransport};
use smtp_benches::{Job, Outcome, SENDER};
use tokio::io::BufStream;
use tokio::net::TcpStream;

fn main() -> ExitCode {
    Job::main_in_tasks(send)
}

async fn send(job: Job, messages: usize) -> Outcome {
    let stream = TcpStream::connect(job.addr).await?;
    stream.set_nodelay(true)?;
    let mut transport = SmtpTransport::new(SmtpClient::new(), BufStream::new(stream)).await?;
    let to = job.to().map(EmailAddress::new).collect::<Result<_, _>>()?;
    let envelope = Envelope::new(Some(EmailAddress::new(SENDER.into())?), to)?;
    let content = job.content();
    let mut accepted = 0;
    for _ in 0..messages {
        let email = SendableEmail::new(envelope.clone(), &content[..]);
        accepted += usize::from(transport.send(email).await?.is_positive());
    }
    transport.quit().await?;
    Ok(accepted)
}
