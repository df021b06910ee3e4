//! Messages one behind the other, several of them under way at a time, and what became of each in the order given.

use std::collections::VecDeque;
use std::fmt;

use smtp_proto::{Event, Report, Transaction, TransactionId};

use crate::dialogue::{Dialogue, Spoilt};
use crate::error::Error;

/// Messages that were begun and whose reports have not been given out. A driver moves the octets and reads the messages.
#[derive(Default)]
pub struct Sequence {
    results: VecDeque<Place>,
    /// A message was taken, or the reason why none could be was given out.
    begun: bool,
}

enum Place {
    Awaited(TransactionId),
    Known(Result<Report, Error>),
}

impl Sequence {
    /// Whether another message may be taken now.
    pub fn has_room(&self, dialogue: &Dialogue) -> bool {
        let connection = &dialogue.connection;
        if connection.close_reason().is_some() || connection.transactions_left() == Some(0) {
            return false;
        }
        // As many results may wait to be given out as messages may be under way; some are known before any octet is sent.
        let window = connection.config().transaction_window.max(1);
        let room = self.results.len() < window.saturating_mul(2);
        // Where none is under way that could make room, the next one says what is in the way.
        room && (connection.can_begin() || self.results.is_empty())
    }

    /// Begins a message. Without an id it was refused before anything was sent, and its place is taken by the reason.
    pub fn begin(&mut self, dialogue: &mut Dialogue, transaction: Transaction) -> Option<TransactionId> {
        self.begun = true;
        let begun = dialogue.connection.begin(transaction);
        match dialogue.started(begun) {
            Ok(id) => {
                self.results.push_back(Place::Awaited(id));
                Some(id)
            }
            Err(error) => {
                self.results.push_back(Place::Known(Err(error)));
                None
            }
        }
    }

    /// What an event says of the messages: whether the content of one is wanted, or that one is over.
    pub fn hear(&mut self, dialogue: &mut Dialogue, event: Event) -> Heard {
        match event {
            Event::BodyRequested { id, .. } => Heard::Wanted(id),
            Event::Completed(report) => {
                let id = report.id();
                let result = dialogue.completed(report);
                self.settle(id, result);
                Heard::Over(id)
            }
            _ => Heard::Nothing,
        }
    }

    /// The content of a message could not be handed over, which has ended the connection: takes all events, and gives each
    /// message its result.
    pub fn spoil(&mut self, dialogue: &mut Dialogue, id: TransactionId, spoilt: Spoilt) {
        let mut own = None;
        while let Some(event) = dialogue.connection.poll_event() {
            match event {
                Event::Completed(report) if report.id() == id => own = Some(Box::new(report)),
                event => drop(self.hear(dialogue, event)),
            }
        }
        self.settle(id, Err(spoilt.into_error(own)));
    }

    fn settle(&mut self, id: TransactionId, result: Result<Report, Error>) {
        let own = |place: &&mut Place| matches!(place, Place::Awaited(awaited) if *awaited == id);
        if let Some(place) = self.results.iter_mut().find(own) {
            *place = Place::Known(result);
        }
    }

    /// The result of the oldest message, once it is there.
    pub fn pop(&mut self) -> Option<Result<Report, Error>> {
        match self.results.pop_front()? {
            Place::Known(result) => Some(result),
            awaited @ Place::Awaited(_) => {
                self.results.push_front(awaited);
                None
            }
        }
    }

    /// Whether nothing is awaited and nothing left to give out.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// Why no message was taken, once for a sequence in which none was.
    pub fn refusal(&mut self, dialogue: &mut Dialogue) -> Option<Error> {
        if std::mem::replace(&mut self.begun, true) { None } else { dialogue.unfit() }
    }
}

/// What an event meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The content of this message is wanted now.
    Wanted(TransactionId),
    /// This message is over.
    Over(TransactionId),
    /// Nothing that concerns a sequence.
    Nothing,
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequence").field("results", &self.results.len()).finish_non_exhaustive()
    }
}
