//! The streams a client can run over.

use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A blocking stream whose reads and writes can be bounded in time.
///
/// Reads must not be buffered: what has come is handed over at once, so that nothing can hide between the stream and the
/// protocol when TLS begins.
pub trait Stream: Read + Write {
    /// Bounds each later read and write, a flush included. One that takes longer fails with `WouldBlock` or `TimedOut`; the
    /// octets that it took by then count as written. A stream that cannot block need not do anything.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()>;

    /// Reads what has already come, without waiting.
    ///
    /// A stream that cannot do so may always answer `WouldBlock`, as the default does; then a server's early refusal of a
    /// long message, or its farewell on an idle connection, is noticed later.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing has come, else those of reading.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = buffer;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Says that nothing more will be written, where the stream has a way to say so, as TLS does by close_notify. It is about
    /// to be dropped, so what goes wrong does not matter.
    fn close(&mut self) {}
}

/// The standard library's sockets all have these methods, but no trait for them.
macro_rules! socket {
    ($type:ty) => {
        impl Stream for $type {
            fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
                // In case the caller left it otherwise: timeouts are those of blocking calls.
                self.set_nonblocking(false)?;
                self.set_read_timeout(read)?;
                self.set_write_timeout(write)
            }

            fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.set_nonblocking(true)?;
                let result = self.read(buffer);
                self.set_nonblocking(false)?;
                result
            }
        }
    };
}

socket!(TcpStream);
#[cfg(unix)]
socket!(UnixStream);

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        (**self).set_timeouts(read, write)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).try_read(buffer)
    }

    fn close(&mut self) {
        (**self).close();
    }
}
