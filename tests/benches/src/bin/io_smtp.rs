//! io-smtp, blocking.

use std::net::TcpStream;
use std::process::ExitCode;

use io_smtp::client::{SmtpClient, SmtpClientStd};
use io_smtp::rfc5321::{SmtpDomain, SmtpEhloDomain, SmtpForwardPath, SmtpLocalPart, SmtpMailbox, SmtpReversePath};
use smtp_benches::{Job, Outcome, SENDER};

fn main() -> ExitCode {
    Job::main_in_threads(send)
}

fn send(job: &Job, messages: usize) -> Outcome {
    let stream = TcpStream::connect(job.addr)?;
    stream.set_nodelay(true)?;
    let mut client = SmtpClientStd::new(stream);
    client.greeting()?;
    client.ehlo(domain("me.example.org".into()))?;
    let from = SmtpReversePath::SmtpMailbox(mailbox(SENDER)?);
    let to: Vec<_> = job.to().map(|to| mailbox(&to).map(SmtpForwardPath)).collect::<Result<_, _>>()?;
    let content = job.content();
    for _ in 0..messages {
        client.send(from.clone(), to.clone(), content.clone(), Default::default())?;
    }
    client.quit()?;
    Ok(messages)
}

fn mailbox(address: &str) -> Result<SmtpMailbox<'static>, &'static str> {
    let (local, host) = address.split_once('@').ok_or("an address without @")?;
    Ok(SmtpMailbox { local_part: SmtpLocalPart(local.to_owned().into()), domain: domain(host.to_owned()) })
}

fn domain(name: String) -> SmtpEhloDomain<'static> {
    SmtpEhloDomain::SmtpDomain(SmtpDomain(name.into()))
}
