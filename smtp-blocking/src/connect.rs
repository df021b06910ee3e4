//! From the name of a server to a session with it.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use smtp_driver::{Error, Options, Plan};
use smtp_proto::sasl::ChannelBindings;
use smtp_proto::{Security, Step};
#[cfg(unix)]
use socket2::SockAddr;
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::stream::Stream;
#[cfg(feature = "rustls")]
use crate::tls::TlsStream;
use crate::transport::Transport;

impl Client<Transport> {
    /// Connects over TCP to `host`, `host:port`, `address`, `[address]` or `[address]:port`, trying every address that the
    /// name has, and starts a session.
    ///
    /// # Errors
    ///
    /// [`Error`] when no connection or no session comes about.
    pub fn connect(target: &str, mut options: Options) -> Result<Self, Error> {
        let plan = options.plan(target)?;
        let failed = |error| Error::Connect { target: target.into(), error };
        let addresses = (plan.host.as_str(), plan.port).to_socket_addrs().map_err(failed)?;
        let socket = dial_any(addresses, &plan).map_err(failed)?;
        let local = socket.local_addr().map(|address| address.ip()).ok();
        let security = plan.security();
        let mut session = options.named().session(security, local)?;
        let mut stream = Transport::Tcp(socket);
        if security == Security::Tls {
            let bindings;
            (stream, bindings) = handshake(&plan, stream, plan.connect_timeout)?;
            session.setup.channel_bindings(bindings);
            session.setup.tls_version(stream.tls_version());
        }
        let mut client = Self::new(stream, security, session.config, session.transcript);
        if client.establish(&mut session.setup)? == Step::UpgradeTls {
            let limit = client.patience();
            client = client.upgrade(&mut session.setup, |stream| handshake(&plan, stream, limit))?;
            session.setup.tls_version(client.stream().tls_version());
            client.establish(&mut session.setup)?;
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
    pub fn connect_unix(path: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |error| Error::Connect { target: path.display().to_string(), error };
        let stream = dial_unix(path, options.patience()).map_err(failed)?;
        Self::over(stream, Security::Plaintext, options.on_this_host())
    }
}

impl<S: Stream> Client<S> {
    /// Starts a session over a stream that is already connected, and already within TLS if there is to be any.
    ///
    /// # Errors
    ///
    /// [`Error`] when no session comes about.
    pub fn over(stream: S, security: Security, options: Options) -> Result<Self, Error> {
        let session = options.named().session(security, None)?;
        let client = Self::new(stream, security, session.config, session.transcript);
        client.establish_as_it_is(session.setup)
    }
}

/// Turns a stream in clear into one within TLS.
#[cfg(feature = "rustls")]
fn handshake(plan: &Plan, stream: Transport, limit: Duration) -> Result<(Transport, ChannelBindings), Error> {
    let Transport::Tcp(socket) = stream else { return Err(Error::tls("TLS is already active")) };
    let stream = TlsStream::handshake(&plan.tls, socket, &plan.host, limit)?;
    let bindings = stream.channel_bindings().clone();
    Ok((Transport::Tls(Box::new(stream)), bindings))
}

#[cfg(not(feature = "rustls"))]
fn handshake(_: &Plan, _: Transport, _: Duration) -> Result<(Transport, ChannelBindings), Error> {
    Err(Error::tls("built without TLS: enable the feature rustls, or use Client::start_tls"))
}

/// Connects to the first address that answers.
fn dial_any(addresses: impl Iterator<Item = SocketAddr>, plan: &Plan) -> io::Result<TcpStream> {
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no usable address"));
    for address in addresses.filter(|address| plan.can_reach(address)) {
        result = dial(address, plan);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn dial(address: SocketAddr, plan: &Plan) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let Some(source) = plan.source_address {
        socket.bind(&source.into())?;
    }
    socket.connect_timeout(&address.into(), plan.connect_timeout)?;
    // Every flight is one write; waiting for more would only delay it.
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;

    // Every address of a name is tried, and those of the wrong family are passed over.
    #[test]
    fn addresses_are_tried_until_one_answers() {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (answering, gone) = (listen(), listen());
        let (server, refusing) = (answering.local_addr().unwrap(), gone.local_addr().unwrap());
        drop(gone);
        let plan = Options::smtp().plan("localhost").unwrap();
        let stream = dial_any([refusing, server].into_iter(), &plan).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), server);
        assert!(dial_any([refusing].into_iter(), &plan).is_err());
        let from_ipv6 = Options::smtp().source_address(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
        let plan = { from_ipv6 }.plan("localhost").unwrap();
        let none = dial_any([server].into_iter(), &plan).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
