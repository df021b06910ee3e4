//! A stream within TLS, by rustls.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use smtp_driver::rustls::ClientConnection;
use smtp_driver::{Error, Tls, channel_bindings};
use smtp_proto::sasl::ChannelBindings;

use crate::stream::Stream;

/// A stream within TLS, over a stream `S`.
pub struct TlsStream<S> {
    connection: ClientConnection,
    stream: S,
    bindings: ChannelBindings,
}

impl<S: Stream> TlsStream<S> {
    /// Does the handshake on a stream to `host`.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when the server cannot prove who it is, or there is no handshake within `limit`. The stream is gone
    /// then, and nothing was sent on it in clear.
    pub fn handshake(tls: &Tls, mut stream: S, host: &str, limit: Duration) -> Result<Self, Error> {
        let (config, name) = tls.start(host)?;
        let exporter_is_unique = config.require_ems;
        let mut connection = ClientConnection::new(config, name).map_err(Error::tls)?;
        let start = Instant::now();
        while connection.is_handshaking() || connection.wants_write() {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Error::tls(io::Error::from(io::ErrorKind::TimedOut)));
            }
            stream.set_timeouts(Some(left), Some(left)).map_err(Error::tls)?;
            match move_once(&mut connection, &mut stream) {
                // The next round finds whether the deadline has passed.
                Err(error) if is_passing(&error) => {}
                result => result.map_err(Error::tls)?,
            }
        }
        let bindings = channel_bindings(&connection, exporter_is_unique);
        Ok(Self { connection, stream, bindings })
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

    /// Hands over decrypted octets. Where there are none it fetches records by `fetch`, once: a stream that brings them
    /// octet by octet, or none that hold any, must not keep the caller from its deadline.
    fn read_by(
        &mut self,
        buffer: &mut [u8],
        fetch: impl Fn(&mut S, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(result) = self.hand_over(buffer) {
            return result;
        }
        // What waits to be sent goes on waiting: the server may have something to say because it takes no more.
        self.connection.read_tls(&mut Source { stream: &mut self.stream, fetch: &fetch })?;
        self.hand_over(buffer).unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))
    }

    /// What the records fetched so far come to, if to anything. What came before a record that is wrong comes before its
    /// error.
    fn hand_over(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let processed = self.connection.process_new_packets();
        match (self.connection.reader().read(buffer), processed) {
            (Err(error), Ok(_)) if error.kind() == io::ErrorKind::WouldBlock => None,
            // An end without close_notify. SMTP says itself where its replies end, so a reply that is whole is whole, and
            // one that is not is lost either way.
            (Err(error), Ok(_)) if error.kind() == io::ErrorKind::UnexpectedEof => Some(Ok(0)),
            (Err(_), Err(error)) => {
                // The alert, if it can be said.
                let _ = self.send();
                Some(Err(io::Error::new(io::ErrorKind::InvalidData, error)))
            }
            (result, _) => Some(result),
        }
    }

    /// Writes out what is encrypted.
    fn send(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut self.stream)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

/// Whether an error says only to try again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Moves octets of a handshake once, so that a server that sends them one by one does not stretch the deadline.
fn move_once(connection: &mut ClientConnection, stream: &mut impl Stream) -> io::Result<()> {
    if connection.wants_write() {
        if connection.write_tls(stream)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        return stream.flush();
    }
    if connection.read_tls(stream)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    connection.process_new_packets().map(drop).map_err(|error| {
        // The alert, if it can be said.
        let _ = connection.write_tls(stream).and_then(|_| stream.flush());
        io::Error::new(io::ErrorKind::InvalidData, error)
    })
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
    /// end of the message that waits there is in doubt rather than not sent. So does all that it takes once a part has left,
    /// for that may be a whole record with the end in it; the error comes again with the next call.
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.send()?;
        let taken = self.connection.writer().write(octets)?;
        let mut left = false;
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.stream) {
                Ok(1..) => left = true,
                Ok(0) if !left => return Ok(0),
                Err(error) if !left && !is_passing(&error) => return Err(error),
                _ => break,
            }
        }
        Ok(taken)
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

    fn close(&mut self) {
        self.connection.send_close_notify();
        let _ = self.flush();
        self.stream.close();
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("version", &self.connection.protocol_version()).finish_non_exhaustive()
    }
}
