//! A stream that never blocks, and the messages that go over it.

use std::io::{Read, Write};

use smtp_proto::Time;

use crate::mailing::Mailing;
use crate::pump::pump;

/// One stream and what is said on it.
pub(crate) struct Session<'a, S> {
    pub(crate) stream: S,
    pub(crate) mailing: Mailing<'a>,
}

impl<S: Read + Write> Session<'_, S> {
    /// Time has passed, which may give something to say: no readiness event comes for that.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.mailing.handle_timeout(now);
        if self.mailing.connection.poll_transmit().is_some() {
            self.turn(now);
        }
    }

    /// Does all that can be done without waiting, and tells whether that was anything.
    pub(crate) fn turn(&mut self, now: Time) -> bool {
        let mut moved = false;
        loop {
            self.mailing.act();
            let Mailing { connection, content, .. } = &mut self.mailing;
            if !pump(&mut self.stream, connection, now, |connection| content.feed(connection)) {
                return moved;
            }
            moved = true;
        }
    }
}
