//! A stream within TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use rustls::ClientConnection;
use smtp_proto::sasl::ChannelBindings;

use super::channel_bindings;
use crate::stream::Stream;

/// A stream within TLS, over a stream `S`.
pub struct TlsStream<S> {
    connection: ClientConnection,
    stream: S,
    bindings: ChannelBindings,
}

impl<S: Stream> TlsStream<S> {
    pub(super) fn new(connection: ClientConnection, stream: S, exporter_is_unique: bool) -> Self {
        let bindings = channel_bindings(&connection, exporter_is_unique);
        Self { connection, stream, bindings }
    }

    /// The TLS connection: version, cipher suite, the server's certificates, exported keying material.
    pub fn tls(&self) -> &ClientConnection {
        &self.connection
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What an authentication can be bound to.
    pub fn channel_bindings(&self) -> &ChannelBindings {
        &self.bindings
    }

    /// Hands over decrypted octets, fetching records by `fetch` as long as there are none.
    fn read_by(
        &mut self,
        buffer: &mut [u8],
        fetch: impl Fn(&mut S, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without close_notify. SMTP says itself where its replies end, so a reply that is whole is whole,
                // and one that is not is lost either way.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            // Such as the answer to a key update.
            self.send()?;
            let mut source = Source { stream: &mut self.stream, fetch: &fetch };
            self.connection.read_tls(&mut source)?;
            if let Err(error) = self.connection.process_new_packets() {
                // The alert, if it can be said.
                let _ = self.send();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Writes out what is encrypted.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.stream)?;
        }
        Ok(())
    }
}

/// A stream of records, by way of a function.
struct Source<'a, S, F> {
    stream: &'a mut S,
    fetch: &'a F,
}

impl<S, F: Fn(&mut S, &mut [u8]) -> io::Result<usize>> Read for Source<'_, S, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.fetch)(self.stream, buffer)
    }
}

impl<S: Stream> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_by(buffer, S::read)
    }
}

impl<S: Stream> Write for TlsStream<S> {
    /// Takes octets only once those before are on their way. What it takes may wait within TLS, which counts as sent: an
    /// end of the message that waits there is in doubt rather than not sent.
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.send()?;
        let taken = self.connection.writer().write(octets)?;
        match self.send() {
            Ok(()) => Ok(taken),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(taken),
            Err(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        self.stream.flush()
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.stream.set_timeouts(read, write)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_by(buffer, S::try_read)
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("version", &self.connection.protocol_version()).finish_non_exhaustive()
    }
}
