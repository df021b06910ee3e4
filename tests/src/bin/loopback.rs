//! Runs the loopback server until its standard input ends. Prints where it listens, and with `--show` at the end what it got.
//! `--tls FILE` runs the one with TLS instead, which knows one account, and writes the certificate of its authority to FILE.

use std::io::{self, Read, Write};

use smtp_conformance::loopback::Loopback;
use smtp_conformance::sasl_server::Account;
use smtp_conformance::tls_server::{Authority, Plan};

fn main() -> io::Result<()> {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    if let Some(file) = std::env::args().skip_while(|argument| argument != "--tls").nth(1) {
        std::fs::write(file, Authority::shared().pem())?;
        let mut plan = Plan::starttls();
        plan.within = vec!["PIPELINING", "8BITMIME", "SIZE 52428800", "AUTH PLAIN XOAUTH2 OAUTHBEARER"];
        plan.account = Some(Account::default());
        let server = plan.start();
        return until_the_end(server.address());
    }
    let server = if has("--lmtp") { Loopback::lmtp()? } else { Loopback::smtp()? };
    until_the_end(server.address())?;
    if has("--show") {
        for message in server.stored() {
            println!("MAIL {}", message.from);
            message.to.iter().for_each(|to| println!("RCPT {to}"));
            io::stdout().write_all(&message.content)?;
        }
    }
    Ok(())
}

fn until_the_end(address: std::net::SocketAddr) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
