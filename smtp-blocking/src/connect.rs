//! From the name of a server to a session with it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use smtp_proto::{Config, HelloName, Protocol, Security, Timeouts};
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::error::Error;
use crate::stream::Stream;
use crate::transcript::{Transcript, TranscriptHook};

/// How a server is connected to.
///
/// ```no_run
/// use std::time::Duration;
/// use smtp_blocking::Connector;
///
/// let client = Connector::smtp()
///     .connect_timeout(Duration::from_secs(10))
///     .transcript(|line| eprintln!("{line}"))
///     .connect("localhost:25")?;
/// client.quit()?;
/// # Ok::<(), smtp_blocking::Error>(())
/// ```
pub struct Connector {
    config: Config,
    hello: Option<HelloName>,
    connect_timeout: Duration,
    source_address: Option<SocketAddr>,
    transcript: Option<TranscriptHook>,
}

impl Connector {
    /// SMTP; port 25 unless the target names another.
    pub fn smtp() -> Self {
        Self::new(Config::smtp(HelloName::from(IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }

    /// LMTP; port 2003, smtplib's, unless the target names another.
    pub fn lmtp() -> Self {
        Self::new(Config::lmtp(HelloName::from(IpAddr::V4(Ipv4Addr::LOCALHOST))))
    }

    fn new(config: Config) -> Self {
        Self { config, hello: None, connect_timeout: Duration::from_secs(30), source_address: None, transcript: None }
    }

    /// The name to say hello with. Without it, the name of this host if it has a domain, else the address literal of the
    /// local end of the connection.
    #[must_use]
    pub fn hello_name(mut self, name: HelloName) -> Self {
        self.hello = Some(name);
        self
    }

    /// How long each address may take to answer. Default 30 seconds.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// One time limit for everything, as smtplib's `timeout`. The default ones are those of RFC 5321; a shorter one for the
    /// reply to a message risks sending it twice.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeouts = Timeouts::uniform(timeout);
        self.connect_timeout(timeout)
    }

    /// The local address to connect from; port 0 leaves the port to the system. Addresses of the server that are of the
    /// other family are passed over.
    #[must_use]
    pub fn source_address(mut self, address: SocketAddr) -> Self {
        self.source_address = Some(address);
        self
    }

    /// Changes anything else about the session. Its `hello` is decided by [`hello_name`](Self::hello_name).
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Calls `hook` for everything that is sent and received. Nothing secret is among it.
    #[must_use]
    pub fn transcript(mut self, hook: impl FnMut(Transcript<'_>) + Send + 'static) -> Self {
        self.transcript = Some(Box::new(hook));
        self
    }

    /// Connects over TCP to `host`, `host:port`, `address`, `[address]` or `[address]:port`, trying every address that the
    /// name has, and starts a session in clear.
    ///
    /// # Errors
    ///
    /// [`Error`] when no connection or no session comes about.
    pub fn connect(self, target: &str) -> Result<Client<TcpStream>, Error> {
        let default_port = match self.config.protocol {
            Protocol::Smtp => 25,
            Protocol::Lmtp => 2003,
        };
        let stream = host_and_port(target, default_port)
            .and_then(|(host, port)| self.dial(host, port))
            .map_err(|error| Error::Connect { target: target.into(), error })?;
        let local = stream.local_addr().map(|address| address.ip()).ok();
        self.start(stream, Security::Plaintext, local)
    }

    /// Connects to a Unix socket and starts a session.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`connect`](Self::connect).
    #[cfg(unix)]
    pub fn connect_unix(self, path: impl AsRef<Path>) -> Result<Client<UnixStream>, Error> {
        let path = path.as_ref();
        let stream =
            UnixStream::connect(path).map_err(|error| Error::Connect { target: path.display().to_string(), error })?;
        self.start(stream, Security::Plaintext, None)
    }

    /// Starts a session over a stream that is already connected.
    ///
    /// # Errors
    ///
    /// [`Error`] when no session comes about.
    pub fn over<S: Stream>(self, stream: S, security: Security) -> Result<Client<S>, Error> {
        self.start(stream, security, None)
    }

    fn start<S: Stream>(self, stream: S, security: Security, local: Option<IpAddr>) -> Result<Client<S>, Error> {
        let mut config = self.config;
        let name = self.hello.or_else(host_name).or_else(|| local.map(HelloName::from));
        config.hello = name.unwrap_or(config.hello);
        Client::start_with(stream, security, config, self.transcript)
    }

    fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no usable address"));
        for address in (host, port).to_socket_addrs()? {
            if self.source_address.is_some_and(|source| source.is_ipv4() != address.is_ipv4()) {
                continue;
            }
            result = self.dial_address(address);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn dial_address(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Some(source) = self.source_address {
            socket.bind(&source.into())?;
        }
        socket.connect_timeout(&address.into(), self.connect_timeout)?;
        // Every flight is one write; waiting for more would only delay it.
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }
}

/// This host's name, if it has a domain and may be said in a hello.
fn host_name() -> Option<HelloName> {
    let name = gethostname::gethostname();
    let name = name.to_str().filter(|name| name.contains('.'))?;
    HelloName::parse(name).ok()
}

/// Splits a target. More than one colon without brackets is an IPv6 address.
fn host_and_port(target: &str, default_port: u16) -> io::Result<(&str, u16)> {
    let (host, port) = match target.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the bracket is not closed")),
        },
        None => match target.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (target, None),
        },
    };
    if host.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no host is named"));
    }
    match port.map(str::parse) {
        None => Ok((host, default_port)),
        Some(Ok(port)) => Ok((host, port)),
        Some(Err(_)) => Err(io::Error::new(io::ErrorKind::InvalidInput, "the port is not a number up to 65535")),
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (target, expected) in [
            ("mail.example", ("mail.example", 25)),
            ("mail.example:587", ("mail.example", 587)),
            ("192.0.2.1:26", ("192.0.2.1", 26)),
            ("::1", ("::1", 25)),
            ("[::1]", ("::1", 25)),
            ("[::1]:26", ("::1", 26)),
        ] {
            assert_eq!(host_and_port(target, 25).unwrap(), expected, "{target}");
        }
        for target in ["", ":25", "mail.example:", "mail.example:smtp", "mail.example:65536", "[::1", "[::1]x", "[]:25"]
        {
            assert_eq!(host_and_port(target, 25).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{target}");
        }
    }
}
