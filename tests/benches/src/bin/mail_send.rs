//! mail-send.

use std::process::ExitCode;

use mail_send::SmtpClientBuilder;
use mail_send::smtp::message::Message;
use smtp_benches::{Job, Outcome, SENDER, force_nodelay};

fn main() -> ExitCode {
    Job::main_in_tasks(send)
}

async fn send(job: Job, messages: usize) -> Outcome {
    let builder = SmtpClientBuilder::new(job.addr.ip().to_string(), job.addr.port())?;
    let mut client = builder.connect_plain().await?;
    force_nodelay()?;
    let content = job.content();
    let to: Vec<String> = job.to().collect();
    let message = Message::new(SENDER, to.iter().map(String::as_str), &content[..]);
    for _ in 0..messages {
        client.send(message.clone()).await?;
    }
    client.quit().await?;
    Ok(messages)
}
