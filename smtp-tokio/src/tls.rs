//! A stream within TLS, by rustls.

use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use smtp_driver::rustls::ClientConnection;
use smtp_driver::{Error, Tls, channel_bindings};
use smtp_proto::sasl::ChannelBindings;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Duplex;

/// The most octets of a record (RFC 8446 section 5.1), and what rustls counts on top of them.
const RECORD: usize = 16_384;
const HEADER: usize = 5;

/// A stream within TLS, over a stream `S`.
pub struct TlsStream<S> {
    stream: tokio_rustls::client::TlsStream<S>,
    bindings: ChannelBindings,
    /// The most octets that fit one record.
    record: usize,
    /// The error that comes behind octets that were still good.
    error: Option<io::Error>,
}

impl<S: Duplex> TlsStream<S> {
    /// Does the handshake on a stream to `host`. How long it may take is for the caller to say.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when the server cannot prove who it is, or the handshake fails otherwise. The stream is gone then, and
    /// nothing was sent on it in clear.
    pub async fn handshake(tls: &Tls, stream: S, host: &str) -> Result<Self, Error> {
        let (config, name) = tls.start(host)?;
        let exporter_is_unique = config.require_ems;
        let record = config.max_fragment_size.map_or(RECORD, |size| size.saturating_sub(HEADER).max(1));
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(name, stream).await.map_err(Error::tls)?;
        let bindings = channel_bindings(stream.get_ref().1, exporter_is_unique);
        Ok(Self { stream, bindings, record, error: None })
    }

    /// The TLS connection: version, cipher suite, the server's certificates, exported keying material.
    pub fn tls(&self) -> &ClientConnection {
        self.stream.get_ref().1
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &S {
        self.stream.get_ref().0
    }

    /// What an authentication can be bound to.
    pub fn channel_bindings(&self) -> &ChannelBindings {
        &self.bindings
    }
}

impl<S: Duplex> AsyncRead for TlsStream<S> {
    /// What came before a record that is wrong comes before its error, whole replies among it.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(error) = this.error.take() {
            return Poll::Ready(Err(error));
        }
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Err(error)) => match this.stream.get_mut().1.reader().read(buffer.initialize_unfilled()) {
                Ok(length @ 1..) => {
                    buffer.advance(length);
                    this.error = Some(error);
                    Poll::Ready(Ok(()))
                }
                _ => Poll::Ready(Err(error)),
            },
            other => other,
        }
    }
}

impl<S: Duplex> AsyncWrite for TlsStream<S> {
    /// Takes one record at most. An error then means that the octets of this call cannot be read by the server, which is
    /// what the caller makes of it; of several records the first may well have left.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let octets = octets.get(..this.record).unwrap_or(octets);
        Pin::new(&mut this.stream).poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("version", &self.stream.get_ref().1.protocol_version())
            .finish_non_exhaustive()
    }
}
