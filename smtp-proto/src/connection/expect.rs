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
#[cfg_attr(test, derive(Clone))]
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// What is due, by hand: a name for each reply, the octets that count, and where its command begins and ends.
    type Due = (usize, usize, u64, u64);

    /// A queue and what it has to be.
    #[derive(Clone, Default)]
    struct Both {
        queue: Expected,
        due: Vec<Due>,
        /// Commands ever queued, octets ever queued, octets that have left, replies ever taken.
        named: usize,
        end: u64,
        left: u64,
        taken: u64,
    }

    impl Both {
        fn push(&mut self, length: usize, counts: bool) {
            let start = self.end;
            self.end += length as u64;
            let expect = Expect::Rcpt(self.named);
            if counts {
                self.queue.push(expect, length, self.end);
            } else {
                self.queue.push_content(expect, start, self.end);
            }
            self.due.push((self.named, if counts { length } else { 0 }, start, self.end));
            self.named += 1;
        }

        /// A reply comes, or the queue is emptied although none does.
        fn take(&mut self, replied: bool) {
            let due = self.due.first().copied().filter(|(.., end)| !replied || *end <= self.left);
            let told = if replied { self.queue.answer(self.left) } else { self.queue.take() };
            assert_eq!(told, due.map(|(name, ..)| Expect::Rcpt(name)));
            if due.is_some() {
                self.due.remove(0);
                self.taken += 1;
            }
        }

        fn drop_unsent(&mut self) {
            let kept = self.due.iter().take_while(|(_, _, start, _)| *start < self.left).count();
            let first = self.due.get(kept).map(|(_, _, start, _)| *start);
            assert_eq!(self.queue.drop_unsent(self.left), first);
            self.due.truncate(kept);
            self.end = first.unwrap_or(self.end);
        }

        fn check(&self) {
            let counted: usize = self.due.iter().map(|(_, counted, ..)| counted).sum();
            assert_eq!((self.queue.unanswered(), self.queue.answered()), (counted, self.taken));
            assert_eq!(self.queue.is_empty(), self.due.is_empty());
            let front = self.due.first().map(|(name, .., end)| (Expect::Rcpt(*name), *end));
            assert_eq!(self.queue.front(), front);
            assert_eq!(self.queue.front_has_begun(self.left), self.due.first().is_some_and(|due| due.2 < self.left));
            for name in 0..self.named {
                assert_eq!(self.queue.holds(Expect::Rcpt(name)), self.due.iter().any(|due| due.0 == name));
            }
        }

        /// Whatever can happen next, up to so many steps and four commands.
        fn go_on(&self, steps: usize, count: &mut u32) {
            self.check();
            *count += 1;
            if steps == 0 {
                return;
            }
            let mut then = |step: &dyn Fn(&mut Self)| {
                let mut next = self.clone();
                step(&mut next);
                next.go_on(steps - 1, count);
            };
            if self.named < 4 {
                then(&|both| both.push(1, true));
                then(&|both| both.push(2, true));
                then(&|both| both.push(2, false));
            }
            if self.left < self.end {
                then(&|both| both.left += 1);
            }
            then(&|both| both.take(true));
            then(&|both| both.take(false));
            then(&Self::drop_unsent);
        }
    }

    // K-08, C-78, C-13: whatever is queued, leaves, is answered and is dropped, in every order of up to seven steps with up to
    // four commands: replies go to commands first in, first out, none to one that has not left in full, and what is unanswered
    // is the sum of what is due.
    #[test]
    fn first_in_first_out() {
        let mut count = 0;
        Both::default().go_on(if cfg!(miri) { 3 } else { 7 }, &mut count);
        assert!(count > 100_000 || cfg!(miri), "{count}");
    }

    // K-08: one reply becomes one for each recipient and one for all, ahead of what was due before.
    #[test]
    fn verdicts_come_first() {
        for recipients in 0..4 {
            let mut queue = Expected::default();
            queue.push_content(Expect::Final, 0, 3);
            queue.push(Expect::Mail, 10, 13);
            assert_eq!(queue.answer(3), Some(Expect::Final));
            queue.insert_verdicts(recipients, 3);
            for _ in 0..recipients {
                assert_eq!(queue.answer(3), Some(Expect::Verdict));
            }
            assert_eq!(queue.unanswered(), 10);
            assert_eq!(
                [queue.answer(3), queue.answer(12), queue.answer(13)],
                [Some(Expect::Final), None, Some(Expect::Mail)]
            );
            assert_eq!((queue.unanswered(), queue.answer(13)), (0, None));
        }
    }
}
