//! Runs the loopback server until its standard input ends. Prints where it listens, and with `--show` at the end what it got.

use std::io::{self, Read, Write};

use smtp_conformance::loopback::Loopback;

fn main() -> io::Result<()> {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    let server = if has("--lmtp") { Loopback::lmtp()? } else { Loopback::smtp()? };
    println!("{}", server.address());
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    if has("--show") {
        for message in server.stored() {
            println!("MAIL {}", message.from);
            message.to.iter().for_each(|to| println!("RCPT {to}"));
            io::stdout().write_all(&message.content)?;
        }
    }
    Ok(())
}
