//! A deadline that only progress moves.

use core::time::Duration;

use crate::time::Time;

/// At most one deadline, and what it is for. It is armed anew only when that changes, so that octets without progress
/// cannot stretch it.
#[derive(Debug)]
pub(super) struct Deadline<K>(Option<(K, Time)>);

impl<K> Default for Deadline<K> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K: Copy + PartialEq> Deadline<K> {
    /// Sets the deadline for what is waited for now, counting from `now` if that is new.
    pub(super) fn follow(&mut self, wait: Option<(K, Duration)>, now: Time) {
        self.0 = match (self.0, wait) {
            (Some((armed, at)), Some((key, _))) if armed == key => Some((armed, at)),
            (_, Some((key, duration))) => Some((key, now + duration)),
            (_, None) => None,
        };
    }

    pub(super) fn at(&self) -> Option<Time> {
        self.0.map(|(_, at)| at)
    }

    /// What is overdue.
    pub(super) fn expired(&self, now: Time) -> Option<K> {
        self.0.filter(|(_, at)| *at <= now).map(|(key, _)| key)
    }
}
