//! How a server is connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smtp_proto::sasl::{Choice, Credentials};
use smtp_proto::{Config, HelloName, Protocol, Security, Setup, Timeouts, TlsMode, TlsPolicy};

use crate::error::Error;
#[cfg(feature = "record")]
use crate::record::{self, Opener};
use crate::target;
#[cfg(feature = "rustls")]
use crate::tls::Tls;
use crate::transcript::{Transcript, TranscriptHook};

/// How a server is connected to: the same for every driver. Clones share what TLS sessions need to be resumed.
///
/// ```
/// use std::time::Duration;
/// use smtp_driver::Options;
///
/// let options = Options::smtp().connect_timeout(Duration::from_secs(10)).transcript(|line| eprintln!("{line}"));
/// ```
#[derive(Clone)]
pub struct Options {
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
    #[cfg(feature = "record")]
    record: Option<Opener>,
}

impl Options {
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
            #[cfg(feature = "record")]
            record: None,
        }
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
    pub fn transcript(mut self, hook: impl Fn(Transcript<'_>) + Send + Sync + 'static) -> Self {
        self.transcript = Some(Arc::new(hook));
        self
    }

    /// Writes each session to what `open` opens for it, as text that can be replayed: [`smtp_proto::record`]. Nothing secret
    /// and no content is in it. A session whose record cannot be opened is not begun; what cannot be written later is left
    /// out.
    ///
    /// ```no_run
    /// use std::fs::File;
    /// use smtp_driver::Options;
    ///
    /// let options = Options::smtp().record(|| File::create("session.record"));
    /// ```
    #[cfg(feature = "record")]
    #[must_use]
    pub fn record<W: io::Write + Send + 'static>(
        mut self,
        open: impl Fn() -> io::Result<W> + Send + Sync + 'static,
    ) -> Self {
        self.record = Some(Arc::new(move || open().map(|out| Box::new(out) as _)));
        self
    }

    /// Writes everything that is sent and received to `tracing`, at level TRACE and target `smtp`. Nothing secret is among it.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn traced(self) -> Self {
        self.transcript(|line| tracing::trace!(target: "smtp", "{line}"))
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
}

/// What a driver makes of options.
#[derive(Debug)]
pub struct Plan {
    /// The host to connect to, and to find in its certificate.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// How to come to TLS.
    pub mode: TlsMode,
    /// How long each address may take to answer, and a handshake that comes first.
    pub connect_timeout: Duration,
    /// The local address to connect from.
    pub source_address: Option<SocketAddr>,
    /// Whom to trust and who to be within TLS.
    #[cfg(feature = "rustls")]
    pub tls: Tls,
}

/// What a session begins with, once there is a stream.
pub struct Session {
    /// For the connection.
    pub config: Config,
    /// From the greeting to a session that is ready.
    pub setup: Setup,
    /// Called for everything that is sent and received.
    pub transcript: Option<TranscriptHook>,
}

impl Plan {
    /// Whether the session is within TLS from the start.
    pub fn security(&self) -> Security {
        if self.mode == TlsMode::Implicit { Security::Tls } else { Security::Plaintext }
    }

    /// Whether an address is of the family that the local address allows.
    pub fn can_reach(&self, address: &SocketAddr) -> bool {
        self.source_address.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    }
}

/// For drivers.
impl Options {
    /// What to connect to, for `host`, `host:port`, `address`, `[address]` or `[address]:port`. Decides what was left open
    /// by the port and by whether there are credentials.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] when `target` is none of these, [`Error::Tls`] when there can be no TLS: a key that does not fit its
    /// certificate, a name that no certificate can hold.
    pub fn plan(&mut self, target: &str) -> Result<Plan, Error> {
        let default_port = match (self.config.protocol, self.tls_mode) {
            (Protocol::Lmtp, _) => 2003,
            (Protocol::Smtp, Some(TlsMode::Implicit)) => 465,
            (Protocol::Smtp, _) => 25,
        };
        let (host, port) = target::host_and_port(target, default_port)
            .map_err(|error| Error::Connect { target: target.into(), error })?;
        if (self.config.protocol, port) == (Protocol::Lmtp, 25) {
            let reason = "LMTP must not be spoken on port 25 (RFC 2033 section 5)";
            let error = io::Error::new(io::ErrorKind::InvalidInput, reason);
            return Err(Error::Connect { target: target.into(), error });
        }
        let mode = self.tls_mode.unwrap_or_else(|| TlsMode::default_for(port, self.credentials.is_some()));
        self.tls_mode = Some(mode);
        // What cannot come to TLS is not worth a connection.
        #[cfg(feature = "rustls")]
        if mode != TlsMode::None {
            self.tls.start(host)?;
        }
        self.choice.server.get_or_insert_with(|| (host.into(), port));
        Ok(Plan {
            host: host.into(),
            port,
            mode,
            connect_timeout: self.connect_timeout,
            source_address: self.source_address,
            #[cfg(feature = "rustls")]
            tls: self.tls.clone(),
        })
    }

    /// Finds out this host's name, if no other is to be said. May ask the network, and blocks while it does.
    #[must_use]
    pub fn named(mut self) -> Self {
        self.hello = self.hello.or_else(target::host_name);
        self
    }

    /// What a session begins with, over a stream whose local end has this address. Without a [`plan`](Self::plan) the
    /// stream is taken as it is: nothing upgrades it.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when the system has no randomness to give.
    pub fn session(self, security: Security, local: Option<IpAddr>) -> Result<Session, Error> {
        let mut entropy = [0; 24];
        getrandom::fill(&mut entropy).map_err(Error::tls)?;
        let policy = self.tls_mode.map_or(TlsPolicy::None, TlsMode::policy);
        let choice = self.choice;
        let setup = Setup::new(policy, self.credentials).entropy(entropy).choice(|own| *own = choice);
        let mut config = self.config;
        let name = self.hello.or_else(|| local.map(HelloName::from));
        config.hello = name.unwrap_or(config.hello);
        setup.configure(&mut config, security);
        let transcript = self.transcript;
        #[cfg(feature = "record")]
        let transcript = match self.record {
            Some(open) => {
                let out = open().map_err(|error| Error::Record { error })?;
                Some(record::hook(out, &config, security, transcript))
            }
            None => transcript,
        };
        Ok(Session { config, setup, transcript })
    }

    /// How long connecting may take.
    pub fn patience(&self) -> Duration {
        self.connect_timeout
    }

    /// For a stream that nobody else can listen to, such as a Unix socket: passwords may cross, unless TLS was asked for.
    #[must_use]
    pub fn on_this_host(mut self) -> Self {
        self.choice.danger_in_clear = true;
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("setup", &self.setup).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The server that a token is for is the one connected to, unless the caller knows better: behind a tunnel it does.
    #[test]
    fn the_callers_server_counts() {
        let known = Some(("smtp.example.com".into(), 587));
        let mut options = Options::smtp().choice(|choice| choice.server = known.clone());
        options.plan("127.0.0.1:2525").unwrap();
        assert_eq!(options.choice.server, known);
        let mut options = Options::smtp();
        options.plan("mail.example").unwrap();
        assert_eq!(options.choice.server, Some(("mail.example".into(), 25)));
    }
}
