//! Which command the next reply answers.

use alloc::collections::VecDeque;

use crate::event::Phase;

/// A reply that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Greeting,
    /// EHLO or LHLO.
    Ehlo,
    Helo,
    StartTls,
    XClient,
    /// AUTH, or a response within its exchange.
    Auth,
    /// MAIL of the current transaction.
    Mail,
    /// RCPT of the current transaction's recipient with that index.
    Rcpt(usize),
    /// DATA of the current transaction.
    Data,
    /// A chunk of content that is not the last: of the oldest complete transaction, or else of the current one.
    Chunk,
    /// The lone dot of the current transaction, after DATA that should not have been granted.
    LoneDot,
    /// One recipient's answer to the content of the oldest complete transaction, ahead of the one for all (PRDR).
    Verdict,
    /// The end of content of the oldest complete transaction; in LMTP one for each accepted recipient.
    Final,
    /// RSET of the core's, ending the current transaction.
    Cleanup,
    /// RSET of the core's between a transaction that may have failed by then and the next.
    Between,
    /// RSET of the caller's.
    Reset,
    Command,
    Quit,
}

impl Expect {
    /// What the wait for this reply is called.
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Greeting => Phase::Greeting,
            Self::Ehlo | Self::Helo => Phase::Hello,
            Self::StartTls => Phase::StartTls,
            Self::Auth => Phase::Auth,
            Self::Mail => Phase::Mail,
            Self::Rcpt(_) => Phase::Rcpt,
            Self::Data => Phase::DataInit,
            Self::Chunk | Self::LoneDot | Self::Verdict | Self::Final => Phase::DataDone,
            Self::XClient | Self::Cleanup | Self::Between | Self::Reset | Self::Command => Phase::Command,
            Self::Quit => Phase::Quit,
        }
    }

    /// Whether this is the reply to content.
    pub(super) fn is_to_content(self) -> bool {
        matches!(self, Self::Chunk | Self::LoneDot | Self::Verdict | Self::Final)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    expect: Expect,
    /// Octets of commands that count for the window; none for the greeting and for content.
    counted: usize,
    /// The stream offset at which the command or the content begins.
    start: u64,
    /// The stream offset at which it ends. A reply before that is no reply to it.
    end: u64,
}

/// The replies that are due, oldest first. A reply answers the oldest, whatever it says (RFC 2920 section 3.1).
#[derive(Debug, Default)]
pub(super) struct Expected {
    queue: VecDeque<Entry>,
    /// The sum of all lengths.
    unanswered: usize,
    /// Replies taken so far.
    answered: u64,
}

impl Expected {
    /// The reply to a command of `length` octets that ends at `end`.
    pub(super) fn push(&mut self, expect: Expect, length: usize, end: u64) {
        self.queue.push_back(Entry { expect, counted: length, start: end - length as u64, end });
        self.unanswered += length;
    }

    /// The reply to content from `start` to `end`.
    pub(super) fn push_content(&mut self, expect: Expect, start: u64, end: u64) {
        self.queue.push_back(Entry { expect, counted: 0, start, end });
    }

    /// Instead of the reply that was just taken, one for each of `recipients` recipients and one for all of them are due to
    /// the content that ended at `end`.
    pub(super) fn insert_verdicts(&mut self, recipients: usize, end: u64) {
        // As if from the beginning: what has left cannot be dropped.
        let entry = |expect| Entry { expect, counted: 0, start: 0, end };
        self.queue.push_front(entry(Expect::Final));
        for _ in 0..recipients {
            self.queue.push_front(entry(Expect::Verdict));
        }
    }

    /// Takes off what the next reply answers: nothing when no command has left in full.
    pub(super) fn answer(&mut self, transmitted: u64) -> Option<Expect> {
        self.queue.front().filter(|entry| entry.end <= transmitted)?;
        self.take()
    }

    /// Takes off the oldest, whether its command has left or not.
    pub(super) fn take(&mut self) -> Option<Expect> {
        let entry = self.queue.pop_front()?;
        self.unanswered -= entry.counted;
        self.answered += 1;
        Some(entry.expect)
    }

    /// Drops what no octet has left of, and says where in the stream the first of it would have begun.
    pub(super) fn drop_unsent(&mut self, transmitted: u64) -> Option<u64> {
        let mut start = None;
        while let Some(entry) = self.queue.back().filter(|entry| entry.start >= transmitted).copied() {
            self.queue.pop_back();
            self.unanswered -= entry.counted;
            start = Some(entry.start);
        }
        start
    }

    /// Whether a reply to a chunk or to the end of content is due.
    pub(super) fn holds(&self, expect: Expect) -> bool {
        self.queue.iter().any(|entry| entry.expect == expect)
    }

    /// The oldest reply that is due, and where its command ends.
    pub(super) fn front(&self) -> Option<(Expect, u64)> {
        self.queue.front().map(|entry| (entry.expect, entry.end))
    }

    /// Whether the oldest reply that is due is to octets of which the first had left when the stream had come so far.
    pub(super) fn front_has_begun(&self, transmitted: u64) -> bool {
        self.queue.front().is_some_and(|entry| entry.start < transmitted)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many replies have been taken.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// Octets of commands that no reply has answered.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
