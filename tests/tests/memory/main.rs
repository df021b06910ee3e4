//! What a hostile server can make a connection hold, by an allocator that counts.

#[cfg(feature = "drivers")]
mod drivers;
mod replies;
mod sasl;
mod transactions;

use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;
use smtp_conformance::lab::Lab;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a connection may hold with the default configuration (rustdoc of `Connection`).
const CEILING: usize = 128 * 1024;

/// What is held more than at a time before, and was at most since then.
struct Gauge {
    before: usize,
    /// One test at a time, since they share the allocator.
    _alone: MutexGuard<'static, ()>,
}

impl Gauge {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let mut gauge = Self { before: 0, _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner) };
        gauge.restart();
        gauge
    }

    /// From here on.
    fn restart(&mut self) {
        ALLOCATOR.reset_peak_usage();
        self.before = ALLOCATOR.current_usage();
    }

    #[cfg(feature = "drivers")]
    fn held(&self) -> usize {
        ALLOCATOR.current_usage().saturating_sub(self.before)
    }

    /// The most that was held at any moment, even within a call.
    fn peak(&self) -> usize {
        ALLOCATOR.peak_usage().saturating_sub(self.before)
    }

    /// Asserts that it was never more than so many octets.
    fn at_most(&self, ceiling: usize) {
        let peak = self.peak();
        assert!(peak <= ceiling, "{peak} octets held");
    }

    /// Feeds `octets` in pieces of `piece` and asserts the ceiling.
    fn flood(&self, lab: &mut Lab, octets: &[u8], piece: usize) {
        octets.chunks(piece).for_each(|piece| lab.hear(piece));
        self.at_most(CEILING);
    }
}
