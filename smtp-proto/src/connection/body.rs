//! The content of a message, while the server waits for it.

use super::Connection;
use super::envelope::require;
use super::phase::{Content, Session};
use crate::body::{BodyError, FINISH};
use crate::capability::Extension;
use crate::command::ContentUrl;
use crate::error::UsageError;
use crate::event::CloseReason;

/// Takes the content of the message that the server is ready for. From [`Connection::body`].
///
/// Dropping it changes nothing: the body stays open and `body()` gives it again.
#[derive(Debug)]
pub struct Body<'a> {
    pub(super) connection: &'a mut Connection,
}

impl Body<'_> {
    /// Octets of encoded content that fit now. When 0, transmit first; with nothing to transmit, BDAT without PIPELINING
    /// waits for a reply.
    pub fn capacity(&self) -> usize {
        let buffer = self.connection.config.content_buffer();
        match &self.connection.session {
            Session::Content(Content::Chunks(chunks)) => (buffer / 2).saturating_sub(chunks.len()),
            _ => buffer.saturating_sub(self.connection.outbox.len() + FINISH),
        }
    }

    /// Encodes as much of `chunk` as fits and returns how many octets of it were taken. With 0 for a chunk that is not
    /// empty, see [`capacity`](Self::capacity). An empty chunk does nothing; only [`finish`](Self::finish) ends the message.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content may not be sent. There is no clean way out of half a message, so the connection is
    /// closed as by [`Connection::abort`]: the server discards what it has, and the report says `NotSent`.
    pub fn write(&mut self, chunk: &[u8]) -> Result<usize, BodyError> {
        let capacity = self.capacity();
        let buffer = self.connection.config.content_buffer();
        let written = match &mut self.connection.session {
            Session::Content(Content::Lines(stuffer)) => {
                self.connection.outbox.content(capacity, |out| stuffer.encode(chunk, out))
            }
            Session::Content(Content::Chunks(chunks)) => chunks.take(chunk, buffer / 2),
            _ => Ok(0),
        };
        self.connection.pump_chunks();
        if written.is_err() {
            self.connection.close(CloseReason::Aborted);
        }
        written
    }

    /// Has the server fetch what comes next from elsewhere (BURL, RFC 4468), where the content goes by BDAT. False when that
    /// has to wait, as a [`write`](Self::write) of which nothing was taken has to; then what was written before may have
    /// become a chunk.
    ///
    /// What is fetched is not looked at: whether its line ends and octets are as they were declared is for the caller to
    /// know.
    ///
    /// # Errors
    ///
    /// [`UsageError`] when the server does not offer it or the content goes by DATA. Nothing was sent, and the body goes on.
    pub fn fetch(&mut self, url: &ContentUrl) -> Result<bool, UsageError> {
        require(Extension::Burl, &self.connection.capabilities)?;
        match &self.connection.session {
            Session::Content(Content::Lines(_)) => Err(UsageError::NeedsBdat),
            _ => Ok(self.connection.fetch_chunk(url)),
        }
    }

    /// Ends the message. From the moment that the transport has taken the last octet until the server has answered, its
    /// recipients are in doubt.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content ends with a bare CR under [`LineEndings::Strict`](crate::LineEndings::Strict); the
    /// connection is closed as in [`write`](Self::write).
    pub fn finish(self) -> Result<(), BodyError> {
        match &mut self.connection.session {
            Session::Content(Content::Lines(stuffer)) => {
                let stuffer = stuffer.clone();
                let start = self.connection.outbox.end();
                let finished = self.connection.outbox.content(FINISH, |out| stuffer.finish(out));
                match finished {
                    Ok(()) => {
                        self.connection.outbox.end_content();
                        self.connection.on_content_complete(start);
                    }
                    Err(_) => self.connection.close(CloseReason::Aborted),
                }
                finished
            }
            Session::Content(Content::Chunks(chunks)) => {
                chunks.finished = true;
                self.connection.pump_chunks();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
