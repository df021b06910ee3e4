//! A session by either driver, so that every test is written once and run by both.

use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use smtp_blocking::Stream;
use smtp_driver::rustls::ProtocolVersion;
use smtp_driver::{Error, Options};
use smtp_proto::{Capabilities, CommandLine, Connection, OriginalClient, Reply, Report, SecurityReport, Transaction};
use smtp_tokio::Duplex;
use tokio::runtime::{Builder, Runtime};

/// Who moves the octets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Driver {
    Blocking,
    Tokio,
}

impl Driver {
    pub(crate) const ALL: [Self; 2] = [Self::Blocking, Self::Tokio];
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocking => "blocking",
            Self::Tokio => "tokio",
        })
    }
}

/// A client of one driver. Tokio's has a runtime of its own, which runs only as long as a call takes: what comes in between
/// is heard with the next one, as by the blocking client.
#[derive(Debug)]
pub(crate) enum Session<B = smtp_blocking::Transport, T = smtp_tokio::Transport> {
    Blocking(smtp_blocking::Client<B>),
    Tokio(smtp_tokio::Client<T>, Runtime),
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

impl Session {
    pub(crate) fn connect(driver: Driver, address: &str, options: Options) -> Result<Self, Error> {
        match driver {
            Driver::Blocking => smtp_blocking::Client::connect(address, options).map(Self::Blocking),
            Driver::Tokio => {
                let runtime = runtime();
                let client = runtime.block_on(smtp_tokio::Client::connect(address, options))?;
                Ok(Self::Tokio(client, runtime))
            }
        }
    }

    pub(crate) fn tls_version(&self) -> Option<ProtocolVersion> {
        let tls = match self {
            Self::Blocking(client) => client.stream().tls(),
            Self::Tokio(client, _) => client.stream().tls(),
        };
        tls.and_then(|tls| tls.protocol_version())
    }
}

impl Session<UnixStream, tokio::net::UnixStream> {
    pub(crate) fn connect_unix(driver: Driver, path: &Path, options: Options) -> Result<Self, Error> {
        match driver {
            Driver::Blocking => smtp_blocking::Client::connect_unix(path, options).map(Self::Blocking),
            Driver::Tokio => {
                let runtime = runtime();
                let client = runtime.block_on(smtp_tokio::Client::connect_unix(path, options))?;
                Ok(Self::Tokio(client, runtime))
            }
        }
    }
}

impl<B: Stream, T: Duplex> Session<B, T> {
    pub(crate) fn send(&mut self, transaction: Transaction, message: &[u8]) -> Result<Report, Error> {
        match self {
            Self::Blocking(client) => client.send(transaction, message),
            Self::Tokio(client, runtime) => runtime.block_on(client.send(transaction, message)),
        }
    }

    pub(crate) fn noop(&mut self) -> Result<Reply, Error> {
        match self {
            Self::Blocking(client) => client.noop(),
            Self::Tokio(client, runtime) => runtime.block_on(client.noop()),
        }
    }

    pub(crate) fn reset(&mut self) -> Result<Reply, Error> {
        match self {
            Self::Blocking(client) => client.reset(),
            Self::Tokio(client, runtime) => runtime.block_on(client.reset()),
        }
    }

    pub(crate) fn command(&mut self, line: &CommandLine) -> Result<Reply, Error> {
        match self {
            Self::Blocking(client) => client.command(line),
            Self::Tokio(client, runtime) => runtime.block_on(client.command(line)),
        }
    }

    pub(crate) fn xclient(&mut self, original: &OriginalClient) -> Result<Reply, Error> {
        match self {
            Self::Blocking(client) => client.xclient(original),
            Self::Tokio(client, runtime) => runtime.block_on(client.xclient(original)),
        }
    }

    pub(crate) fn quit(self) -> Result<(), Error> {
        match self {
            Self::Blocking(client) => client.quit(),
            Self::Tokio(client, runtime) => runtime.block_on(client.quit()),
        }
    }

    pub(crate) fn connection(&self) -> &Connection {
        match self {
            Self::Blocking(client) => client.connection(),
            Self::Tokio(client, _) => client.connection(),
        }
    }

    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.connection().capabilities()
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.connection().is_secure()
    }

    pub(crate) fn security(&self) -> &SecurityReport {
        match self {
            Self::Blocking(client) => client.security(),
            Self::Tokio(client, _) => client.security(),
        }
    }
}
