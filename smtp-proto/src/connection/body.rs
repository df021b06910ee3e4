//! The content of a message, while the server waits for it.

use bytes::BufMut;

use super::Connection;
use super::phase::Session;
use crate::body::{BodyError, FINISH};
use crate::event::CloseReason;

/// The least that [`Config::body_buffer`](crate::Config::body_buffer) can be.
const LEAST: usize = 1024;

/// Takes the content of the message that the server is ready for. From [`Connection::body`].
///
/// Dropping it changes nothing: the body stays open and `body()` gives it again.
#[derive(Debug)]
pub struct Body<'a> {
    pub(super) connection: &'a mut Connection,
}

impl Body<'_> {
    /// Octets of encoded content that fit now; when 0, transmit first.
    pub fn capacity(&self) -> usize {
        let held = self.connection.outbox.len() + FINISH;
        self.connection.config.body_buffer.max(LEAST).saturating_sub(held)
    }

    /// Encodes as much of `chunk` as fits and returns how many octets of it were taken. With 0 for a chunk that is not
    /// empty, transmit first. An empty chunk does nothing; only [`finish`](Self::finish) ends the message.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content may not be sent. There is no clean way out of half a message, so the connection is
    /// closed as by [`Connection::abort`]: the server discards what it has, and the report says `NotSent`.
    pub fn write(&mut self, chunk: &[u8]) -> Result<usize, BodyError> {
        let capacity = self.capacity();
        let Session::Content(stuffer) = &mut self.connection.session else { return Ok(0) };
        let written = self.connection.outbox.content(|buffer| stuffer.encode(chunk, &mut buffer.limit(capacity)));
        if written.is_err() {
            self.connection.close(CloseReason::Aborted);
        }
        written
    }

    /// Ends the message. From the moment that the transport has taken the last octet until the server has answered, its
    /// recipients are in doubt.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content ends with a bare CR under [`LineEndings::Strict`](crate::LineEndings::Strict); the
    /// connection is closed as in [`write`](Self::write).
    pub fn finish(self) -> Result<(), BodyError> {
        let Session::Content(stuffer) = &self.connection.session else { return Ok(()) };
        let stuffer = stuffer.clone();
        let finished = self.connection.outbox.content(|buffer| stuffer.finish(buffer));
        match finished {
            Ok(()) => self.connection.on_content_complete(),
            Err(_) => self.connection.close(CloseReason::Aborted),
        }
        finished
    }
}
