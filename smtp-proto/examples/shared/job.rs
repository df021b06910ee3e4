//! The command line of the examples.

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use smtp_proto::{Config, ForwardPath, HelloName, ReversePath, Timeouts, Transaction};

/// What the command line is like.
pub(crate) const USAGE: &str =
    "arguments: [HOST:PORT] [--connections N] [--messages M] [--size OCTETS] [--timeout SECONDS] [--to MAILBOX]...";

/// What the command line asks for.
pub(crate) struct Job {
    /// Where the server listens.
    pub(crate) address: Option<SocketAddr>,
    /// How many connections there are to be at once.
    pub(crate) connections: usize,
    /// How many messages go over each of them.
    pub(crate) messages: usize,
    /// How each connection behaves.
    pub(crate) config: Config,
    /// The envelope of each message.
    pub(crate) transaction: Transaction,
    /// The content of each message.
    pub(crate) content: Vec<u8>,
}

impl Job {
    /// Reads the command line.
    pub(crate) fn from_arguments() -> Result<Self, Box<dyn Error>> {
        let (mut address, mut connections, mut messages, mut size, mut to) = (None, 1, 1, 1000, Vec::new());
        let mut config = Config::smtp(HelloName::parse("me.example.org")?);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match argument.as_str() {
                "--connections" => connections = value()?.parse()?,
                "--messages" => messages = value()?.parse()?,
                "--size" => size = value()?.parse()?,
                // The default is what the standard asks for, minutes; who waits less sends duplicates.
                "--timeout" => config.timeouts = Timeouts::uniform(Duration::from_secs(value()?.parse()?)),
                "--to" => to.push(ForwardPath::parse(&value()?)?),
                option if option.starts_with("--") => return Err(USAGE.into()),
                _ => address = argument.to_socket_addrs()?.next(),
            }
        }
        if to.is_empty() {
            to = vec![ForwardPath::parse("alice@example.net")?, ForwardPath::parse("bob@example.net")?];
        }
        let line = ".One of many lines, and the first octet is a dot on purpose.\r\n";
        let content = format!("Subject: one of many\r\n\r\n{}", line.repeat(size / line.len())).into_bytes();
        let transaction = Transaction::new(ReversePath::parse("me@example.org")?).to_all(to).content(&content);
        Ok(Self { address, connections, messages, config, transaction, content })
    }
}
