//! smtp-tokio.

use std::process::ExitCode;

use smtp_benches::{Content, Job, Mode, Outcome, ours};
use smtp_tokio::{Client, Options};

fn main() -> ExitCode {
    Job::main_in_tasks(send)
}

async fn send(job: Job, messages: usize) -> Outcome {
    let options = Options::smtp().configure(|config| ours::configure(config, job.mode));
    let mut client = Client::connect(&job.addr.to_string(), options).await?;
    let transaction = ours::transaction(&job)?;
    let content = job.content();
    let mut accepted = 0;
    if matches!(job.mode, Mode::Chained | Mode::Window) {
        let messages = (0..messages).map(|_| (transaction.clone(), &content[..]));
        let mut results = client.send_all(tokio_stream::iter(messages)).await;
        while let Some(result) = results.next().await {
            accepted += usize::from(ours::is_accepted(&result?));
        }
        client.quit().await?;
        return Ok(accepted);
    }
    for _ in 0..messages {
        let report = if job.stream {
            client.send(transaction.clone(), Content::new(job.size)).await?
        } else {
            client.send(transaction.clone(), &content[..]).await?
        };
        accepted += usize::from(ours::is_accepted(&report));
    }
    client.quit().await?;
    Ok(accepted)
}
