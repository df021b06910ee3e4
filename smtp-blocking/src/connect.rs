//! From the name of a server to a session with it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use smtp_proto::sasl::{ChannelBindings, Choice, Credentials};
use smtp_proto::{Config, HelloName, Protocol, Security, Setup, Step, Timeouts, TlsMode, TlsPolicy};
#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::error::Error;
use crate::stream::Stream;
#[cfg(feature = "rustls")]
use crate::tls::Tls;
use crate::transcript::{Transcript, TranscriptHook};
use crate::transport::Transport;

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
    tls_mode: Option<TlsMode>,
    #[cfg(feature = "rustls")]
    tls: Tls,
    credentials: Option<Credentials>,
    choice: Choice,
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
        Self {
            config,
            hello: None,
            connect_timeout: Duration::from_secs(30),
            source_address: None,
            tls_mode: None,
            #[cfg(feature = "rustls")]
            tls: Tls::default(),
            credentials: None,
            choice: Choice::default(),
            transcript: None,
        }
    }

    /// The name to say hello with. Without it, the name of this host if it has a domain, else the address literal of the
    /// local end of the connection.
    #[must_use]
    pub fn hello_name(mut self, name: HelloName) -> Self {
        self.hello = Some(name);
        self
    }

    /// How long each address may take to answer. Default 30 seconds. How long the system takes to resolve a name is up to
    /// the system.
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

    /// How to come to TLS. Without it, [`TlsMode::default_for`] the port and the credentials.
    #[must_use]
    pub fn tls_mode(mut self, mode: TlsMode) -> Self {
        self.tls_mode = Some(mode);
        self
    }

    /// Whom to trust and who to be within TLS. Without it, whom the platform trusts.
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Authenticates as this. A server that does not let us is an error.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Changes what the choice of a SASL mechanism depends on.
    #[must_use]
    pub fn choice(mut self, change: impl FnOnce(&mut Choice)) -> Self {
        change(&mut self.choice);
        self
    }

    /// Connects over TCP to `host`, `host:port`, `address`, `[address]` or `[address]:port`, trying every address that the
    /// name has, and starts a session.
    ///
    /// # Errors
    ///
    /// [`Error`] when no connection or no session comes about.
    pub fn connect(mut self, target: &str) -> Result<Client<Transport>, Error> {
        let default_port = match (self.config.protocol, self.tls_mode) {
            (Protocol::Lmtp, _) => 2003,
            (Protocol::Smtp, Some(TlsMode::Implicit)) => 465,
            (Protocol::Smtp, _) => 25,
        };
        let failed = |error| Error::Connect { target: target.into(), error };
        let (host, port) = host_and_port(target, default_port).map_err(failed)?;
        if (self.config.protocol, port) == (Protocol::Lmtp, 25) {
            let reason = "LMTP must not be spoken on port 25 (RFC 2033 section 5)";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        let mode = self.tls_mode.unwrap_or_else(|| TlsMode::default_for(port, self.credentials.is_some()));
        let socket = self.dial(host, port).map_err(failed)?;
        let local = socket.local_addr().map(|address| address.ip()).ok();
        self.choice.server = Some((host.into(), port));
        let setup = self.setup(mode.policy())?;
        let handshake = self.handshake(host);
        let (stream, security, bindings) = match mode {
            TlsMode::Implicit => {
                let (stream, bindings) = handshake(Transport::Tcp(socket), self.connect_timeout)?;
                (stream, Security::Tls, bindings)
            }
            _ => (Transport::Tcp(socket), Security::Plaintext, ChannelBindings::default()),
        };
        self.start(stream, security, local, (setup, bindings), handshake)
    }

    /// Connects to a Unix socket and starts a session, without TLS: nobody is on the way, so passwords may cross.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`connect`](Self::connect).
    #[cfg(unix)]
    pub fn connect_unix(mut self, path: impl AsRef<Path>) -> Result<Client<UnixStream>, Error> {
        let path = path.as_ref();
        let failed = |error| Error::Connect { target: path.display().to_string(), error };
        let stream = dial_unix(path, self.connect_timeout).map_err(failed)?;
        self.choice.danger_in_clear = true;
        self.over(stream, Security::Plaintext)
    }

    /// Starts a session over a stream that is already connected, and already within TLS if there is to be any.
    ///
    /// # Errors
    ///
    /// [`Error`] when no session comes about.
    pub fn over<S: Stream>(self, stream: S, security: Security) -> Result<Client<S>, Error> {
        let setup = self.setup(TlsPolicy::None)?;
        let nobody = |_: S, _| Err(Error::tls("there is nobody to do the handshake"));
        self.start(stream, security, None, (setup, ChannelBindings::default()), nobody)
    }

    /// What turns a stream in clear into one within TLS.
    fn handshake(
        &self,
        host: &str,
    ) -> impl Fn(Transport, Duration) -> Result<(Transport, ChannelBindings), Error> + use<> {
        #[cfg(feature = "rustls")]
        {
            let (tls, host) = (self.tls.clone(), host.to_owned());
            move |transport, limit| match transport {
                Transport::Tcp(socket) => {
                    let stream = tls.handshake(socket, &host, limit)?;
                    let bindings = stream.channel_bindings().clone();
                    Ok((Transport::Tls(Box::new(stream)), bindings))
                }
                Transport::Tls(_) => Err(Error::tls("TLS is already active")),
            }
        }
        #[cfg(not(feature = "rustls"))]
        {
            let _ = host;
            |_, _| Err(Error::tls("built without TLS: enable the feature rustls, or use Client::start_tls"))
        }
    }

    fn setup(&self, policy: TlsPolicy) -> Result<Setup, Error> {
        let mut entropy = [0; 24];
        getrandom::fill(&mut entropy).map_err(Error::tls)?;
        let setup = Setup::new(policy, self.credentials.clone()).entropy(entropy);
        Ok(setup.choice(|choice| choice.clone_from(&self.choice)))
    }

    fn start<S: Stream>(
        self,
        stream: S,
        security: Security,
        local: Option<IpAddr>,
        (mut setup, bindings): (Setup, ChannelBindings),
        handshake: impl FnOnce(S, Duration) -> Result<(S, ChannelBindings), Error>,
    ) -> Result<Client<S>, Error> {
        let mut config = self.config;
        let name = self.hello.or_else(host_name).or_else(|| local.map(HelloName::from));
        config.hello = name.unwrap_or(config.hello);
        setup.configure(&mut config);
        setup.channel_bindings(bindings);
        let mut client = Client::new(stream, security, config, self.transcript);
        if client.establish(&mut setup)? == Step::UpgradeTls {
            let limit = client.patience();
            client = client.upgrade(&mut setup, |stream| handshake(stream, limit))?;
            client.establish(&mut setup)?;
        }
        Ok(client)
    }

    fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        self.dial_any((host, port).to_socket_addrs()?)
    }

    /// Connects to the first address that answers.
    fn dial_any(&self, addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
        let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no usable address"));
        for address in addresses {
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

#[cfg(unix)]
fn dial_unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose queue is full lets a client wait as long as it may write.
    socket.set_write_timeout(Some(timeout))?;
    socket.connect(&SockAddr::unix(path)?).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
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

    // Every address of a name is tried, and those of the wrong family are passed over.
    #[test]
    fn addresses_are_tried_until_one_answers() {
        let listen = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (server, gone) = (listen().local_addr().unwrap(), listen());
        let answering = std::net::TcpListener::bind(server).unwrap();
        let refusing = gone.local_addr().unwrap();
        drop(gone);
        let connector = Connector::smtp();
        let stream = connector.dial_any([refusing, server].into_iter()).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), server);
        assert!(connector.dial_any([refusing].into_iter()).is_err());
        let from_ipv6 = connector.source_address(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)));
        let none = from_ipv6.dial_any([server].into_iter()).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
        drop(answering);
    }

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
