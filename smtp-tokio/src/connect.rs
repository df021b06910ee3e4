//! From the name of a server to a session with it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use smtp_driver::{Error, Options, Plan};
use smtp_proto::sasl::ChannelBindings;
use smtp_proto::{Security, Step};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::client::{Client, Duplex};
#[cfg(feature = "rustls")]
use crate::tls::TlsStream;
use crate::transport::Transport;

impl Client<Transport> {
    /// Connects over TCP to `host`, `host:port`, `address`, `[address]` or `[address]:port` and starts a session. The
    /// addresses of a name are tried in parallel, each a little after the one before (RFC 8305).
    ///
    /// # Errors
    ///
    /// [`Error`] when no connection or no session comes about.
    pub async fn connect(target: &str, mut options: Options) -> Result<Self, Error> {
        let plan = options.plan(target)?;
        let failed = |error| Error::Connect { target: target.into(), error };
        let socket = dial(&plan).await.map_err(failed)?;
        let local = socket.local_addr().map(|address| address.ip()).ok();
        let security = plan.security();
        let mut session = named(options).await?.session(security, local)?;
        let mut stream = Transport::Tcp(socket);
        if security == Security::Tls {
            let bindings;
            (stream, bindings) = handshake(&plan, stream, plan.connect_timeout).await?;
            session.setup.channel_bindings(bindings);
            session.setup.tls_version(stream.tls_version());
        }
        let mut client = Self::new(stream, security, session.config, session.transcript);
        if client.establish(&mut session.setup).await? == Step::UpgradeTls {
            let limit = client.patience();
            client = client.upgrade(&mut session.setup, async |stream| handshake(&plan, stream, limit).await).await?;
            session.setup.tls_version(client.stream().tls_version());
            client.establish(&mut session.setup).await?;
        }
        Ok(client)
    }
}

#[cfg(unix)]
impl Client<UnixStream> {
    /// Connects to a Unix socket and starts a session, without TLS: nobody is on the way, so passwords may cross. Options that
    /// ask for TLS by name are an error.
    ///
    /// # Errors
    ///
    /// [`Error`] when no connection or no session comes about.
    pub async fn connect_unix(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |error| Error::Connect { target: path.display().to_string(), error };
        let stream = UnixStream::connect(path).await.map_err(failed)?;
        Self::over(stream, Security::Plaintext, options.on_this_host()).await
    }
}

impl<S: Duplex> Client<S> {
    /// Starts a session over a stream that is already connected, and already within TLS if there is to be any.
    ///
    /// # Errors
    ///
    /// [`Error`] when no session comes about.
    pub async fn over(stream: S, security: Security, options: Options) -> Result<Self, Error> {
        let session = named(options).await?.session(security, None)?;
        let client = Self::new(stream, security, session.config, session.transcript);
        client.establish_as_it_is(session.setup).await
    }
}

/// Finds out this host's name where that blocks nobody.
async fn named(options: Options) -> Result<Options, Error> {
    let target = "the name of this host".to_owned();
    spawn_blocking(|| options.named()).await.map_err(|error| Error::Connect { target, error: error.into() })
}

/// Turns a stream in clear into one within TLS.
#[cfg(feature = "rustls")]
async fn handshake(plan: &Plan, stream: Transport, limit: Duration) -> Result<(Transport, ChannelBindings), Error> {
    let Transport::Tcp(socket) = stream else { return Err(Error::tls("TLS is already active")) };
    let late = |_| Error::tls(io::Error::from(io::ErrorKind::TimedOut));
    let stream = timeout(limit, TlsStream::handshake(&plan.tls, socket, &plan.host)).await.map_err(late)??;
    let bindings = stream.channel_bindings().clone();
    Ok((Transport::Tls(Box::new(stream)), bindings))
}

#[cfg(not(feature = "rustls"))]
async fn handshake(_: &Plan, _: Transport, _: Duration) -> Result<(Transport, ChannelBindings), Error> {
    Err(Error::tls("built without TLS: enable the feature rustls, or use Client::start_tls"))
}

/// How long an address is waited for before the next one is tried too (RFC 8305 section 8).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first address that answers.
async fn dial(plan: &Plan) -> io::Result<TcpStream> {
    let found = lookup_host((plan.host.as_str(), plan.port)).await?;
    let usable = found.filter(|address| plan.can_reach(address));
    let mut addresses = alternating(usable.collect());
    let mut attempts = JoinSet::new();
    let mut result = io::Error::new(io::ErrorKind::NotFound, "the name has no usable address");
    loop {
        if let Some(address) = addresses.pop_front() {
            let (source, limit) = (plan.source_address, plan.connect_timeout);
            attempts.spawn(async move {
                let late = |_| io::Error::from(io::ErrorKind::TimedOut);
                timeout(limit, dial_address(address, source)).await.map_err(late)?
            });
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                // Dropping the set ends the attempts that are still under way.
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => result = error,
                Err(error) => result = error.into(),
            },
            () = sleep(HEAD_START), if !addresses.is_empty() => {}
            else => return Err(result),
        }
    }
}

async fn dial_address(address: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(source)?;
    }
    let stream = socket.connect(address).await?;
    // Every flight is one write; waiting for more would only delay it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One family after the other, in the resolver's order and beginning with its choice (RFC 8305 section 4).
fn alternating(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_ipv4);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = VecDeque::new();
    while first.len() + second.len() > 0 {
        order.extend(first.next().into_iter().chain(second.next()));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let expected = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        assert_eq!(alternating(found), expected);
        assert!(alternating(Vec::new()).is_empty());
    }
}
