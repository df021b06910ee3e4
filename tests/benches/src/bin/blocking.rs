//! smtp-blocking.

use std::process::ExitCode;

use smtp_benches::{Content, Job, Mode, Outcome, ours};
use smtp_blocking::{Client, Options};

fn main() -> ExitCode {
    Job::main_in_threads(send)
}

fn send(job: &Job, messages: usize) -> Outcome {
    let options = Options::smtp().configure(|config| ours::configure(config, job.mode));
    let mut client = Client::connect(&job.addr.to_string(), options)?;
    let transaction = ours::transaction(job)?;
    let content = job.content();
    let mut accepted = 0;
    if matches!(job.mode, Mode::Chained | Mode::Window) {
        for result in client.send_all((0..messages).map(|_| (transaction.clone(), &content[..]))) {
            accepted += usize::from(ours::is_accepted(&result?));
        }
        client.quit()?;
        return Ok(accepted);
    }
    for _ in 0..messages {
        let report = if job.stream {
            client.send(transaction.clone(), Content::new(job.size))?
        } else {
            client.send(transaction.clone(), &content[..])?
        };
        accepted += usize::from(ours::is_accepted(&report));
    }
    client.quit()?;
    Ok(accepted)
}
