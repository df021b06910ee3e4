//! A point in time that the caller supplies, because the core has no clock.

use core::ops::Add;
use core::time::Duration;

/// A monotonic point in time, counted from an epoch of the caller's choosing.
///
/// The core only compares these and adds to them; it never asks what time it is.
/// A driver usually makes them from `Instant::elapsed`, a test from plain numbers.
///
/// ```
/// use core::time::Duration;
/// use smtp_proto::Time;
///
/// let start = Time::from_duration(Duration::from_secs(7));
/// let later = start + Duration::from_secs(3);
/// assert_eq!(later.saturating_duration_since(start), Duration::from_secs(3));
/// assert_eq!(start.saturating_duration_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Duration);

impl Time {
    /// The point that lies `since_epoch` after the caller's epoch.
    pub const fn from_duration(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// How long after `earlier` this point lies; zero when it does not.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates at the largest representable time instead of overflowing.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}
