//! Runs the loopback server until its standard input ends. Prints where it listens.

use std::io::{self, Read, Write};

use smtp_conformance::loopback::Loopback;

fn main() -> io::Result<()> {
    let lmtp = std::env::args().any(|argument| argument == "--lmtp");
    let server = if lmtp { Loopback::lmtp()? } else { Loopback::smtp()? };
    println!("{}", server.address());
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
