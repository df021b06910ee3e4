//! lettre on Tokio.

use std::process::ExitCode;

use lettre::address::Envelope;
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use smtp_benches::{Job, Outcome, SENDER, force_nodelay};

fn main() -> ExitCode {
    Job::main_in_tasks(send)
}

async fn send(job: Job, messages: usize) -> Outcome {
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(job.addr.ip().to_string())
        .port(job.addr.port())
        .pool_config(PoolConfig::new().max_size(1))
        .build();
    let to = job.to().map(|to| to.parse()).collect::<Result<_, _>>()?;
    let envelope = Envelope::new(Some(SENDER.parse()?), to)?;
    let content = job.content();
    // It connects now, and keeps the connection.
    transport.test_connection().await?;
    force_nodelay()?;
    let mut accepted = 0;
    for _ in 0..messages {
        accepted += usize::from(transport.send_raw(&envelope, &content).await?.is_positive());
    }
    Ok(accepted)
}
