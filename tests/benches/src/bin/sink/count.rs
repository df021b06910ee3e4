//! What the server got.

use std::fmt;
use std::time::Instant;

/// What came between the first MAIL and the last message's end, so that neither connecting nor QUIT is in it.
#[derive(Default)]
pub(crate) struct Count {
    messages: usize,
    recipients: usize,
    /// Octets of content as they were sent: with dots doubled and with the terminator.
    octets: usize,
    /// Times that the server had something to answer.
    round_trips: usize,
    /// Whether a message has ended since the last one.
    complete: bool,
    /// As many round trips as there were when the last message ended.
    until_last: usize,
    started: Option<Instant>,
    ended: Option<Instant>,
}

impl Count {
    /// A MAIL has come.
    pub(crate) fn mail(&mut self) {
        self.started.get_or_insert_with(Instant::now);
    }

    /// Content has come.
    pub(crate) fn content(&mut self, octets: usize) {
        self.octets += octets;
    }

    /// A message is complete.
    pub(crate) fn message(&mut self, recipients: usize) {
        self.messages += 1;
        self.complete = true;
        self.recipients += recipients;
    }

    /// What came at once is to be answered.
    pub(crate) fn answer(&mut self) {
        self.round_trips += usize::from(self.started.is_some());
        if std::mem::take(&mut self.complete) {
            self.until_last = self.round_trips;
            self.ended = Some(Instant::now());
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, recipients, octets, until_last, .. } = self;
        let time = self.started.zip(self.ended).map(|(started, ended)| ended.duration_since(started));
        let nanoseconds = time.unwrap_or_default().as_nanos();
        write!(
            f,
            "messages={messages} recipients={recipients} octets={octets} round-trips={until_last} nanoseconds={nanoseconds}"
        )
    }
}
