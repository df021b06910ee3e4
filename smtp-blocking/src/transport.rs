//! The stream that a connector makes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::stream::Stream;
#[cfg(feature = "rustls")]
use crate::tls::TlsStream;

/// A TCP stream, in clear or within TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum Transport {
    /// In clear.
    Tcp(TcpStream),
    /// Within TLS.
    #[cfg(feature = "rustls")]
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// The socket underneath.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// The TLS connection: version, cipher suite, the server's certificates, exported keying material.
    #[cfg(feature = "rustls")]
    pub fn tls(&self) -> Option<&smtp_driver::rustls::ClientConnection> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(stream) => Some(stream.tls()),
        }
    }

    /// The version of TLS, as people write it.
    pub(crate) fn tls_version(&self) -> Option<&'static str> {
        match self {
            Self::Tcp(_) => None,
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => smtp_driver::tls_version(stream.tls()),
        }
    }

    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Tcp(socket) => socket,
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => &mut **stream,
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream().read(buffer)
    }
}

impl Write for Transport {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().flush()
    }
}

impl Stream for Transport {
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.stream().set_timeouts(read, write)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream().try_read(buffer)
    }

    fn close(&mut self) {
        self.stream().close();
    }
}
