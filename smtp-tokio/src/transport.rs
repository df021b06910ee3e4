//! The stream that a client connects by.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::client::Duplex;
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

    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn Duplex> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket),
            #[cfg(feature = "rustls")]
            Self::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
