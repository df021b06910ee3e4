//! When a message is delivered: BY (RFC 2852), HOLDFOR and HOLDUNTIL (RFC 4865), MT-PRIORITY (RFC 6710).

use core::fmt;

use super::{ParameterError, within};
use crate::date_time::DateTime;

/// Seconds that nine digits can tell, which is as many as RFC 2852 and RFC 4865 allow.
const NINE_DIGITS: i64 = 999_999_999;

/// How soon the message has to be delivered, and what is done when it cannot be: BY on MAIL (RFC 2852 section 4).
///
/// ```
/// use smtp_proto::DeliverBy;
///
/// assert_eq!(DeliverBy::or_return(3600)?.to_string(), "3600;R");
/// assert_eq!(DeliverBy::or_notify(-60)?.trace().to_string(), "-60;NT");
/// assert!(DeliverBy::or_return(0).is_err());
/// # Ok::<(), smtp_proto::ParameterError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliverBy {
    seconds: i32,
    give_up: bool,
    trace: bool,
}

impl DeliverBy {
    /// Within so many seconds from now, or it is returned as undeliverable: mode `R`. The server may have a minimum
    /// ([`Capabilities::deliver_by_minimum`](crate::Capabilities::deliver_by_minimum)).
    ///
    /// # Errors
    ///
    /// [`ParameterError::Range`] unless it is 1 to 999 999 999.
    pub fn or_return(seconds: u32) -> Result<Self, ParameterError> {
        let seconds = within(i64::from(seconds), 1, NINE_DIGITS)?;
        Ok(Self { seconds, give_up: true, trace: false })
    }

    /// Within so many seconds from now, or its sender is told that it is late and it is tried on: mode `N`. The time may
    /// be over already.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Range`] unless it is -999 999 999 to 999 999 999.
    pub fn or_notify(seconds: i32) -> Result<Self, ParameterError> {
        let seconds = within(i64::from(seconds), -NINE_DIGITS, NINE_DIGITS)?;
        Ok(Self { seconds, give_up: false, trace: false })
    }

    /// Asks each server on the way to report when it passes the message on to one that does not know this extension, or
    /// delivers it: flag `T`.
    #[must_use]
    pub const fn trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Seconds from the moment at which MAIL is received.
    pub const fn seconds(self) -> i32 {
        self.seconds
    }

    /// Whether the message is returned when the time is over, and not only reported as late.
    pub const fn gives_up(self) -> bool {
        self.give_up
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.give_up { "R" } else { "N" };
        write!(f, "{};{mode}{}", self.seconds, if self.trace { "T" } else { "" })
    }
}

/// How long a server of submission is to hold the message back: HOLDFOR on MAIL (RFC 4865).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldFor(u32);

impl HoldFor {
    /// So many seconds.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Range`] unless it is 1 to 999 999 999.
    pub fn seconds(seconds: u32) -> Result<Self, ParameterError> {
        within(i64::from(seconds), 1, NINE_DIGITS).map(Self)
    }

    /// The seconds.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for HoldFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message is held back for a time or until a time, not both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    For(HoldFor),
    Until(DateTime),
}

/// How the message ranks among others: MT-PRIORITY on MAIL (RFC 6710), -9 to 9. What a number means, the profile of the
/// server says ([`Capabilities::priority_profile`](crate::Capabilities::priority_profile)); 0 is what mail has otherwise.
///
/// ```
/// use smtp_proto::Priority;
///
/// assert_eq!(Priority::new(-9)?.to_string(), "-9");
/// assert!(Priority::new(10).is_err());
/// # Ok::<(), smtp_proto::ParameterError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(i8);

impl Priority {
    /// The higher, the sooner.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Range`] unless it is -9 to 9.
    pub fn new(priority: i8) -> Result<Self, ParameterError> {
        within(i64::from(priority), -9, 9).map(Self)
    }

    /// The number.
    pub const fn get(self) -> i8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const RANGE: fn(i64, i64) -> ParameterError = |minimum, maximum| ParameterError::Range { minimum, maximum };

    // C-94: nine digits; a message that is returned needs time to be tried.
    #[test]
    fn deliver_by() {
        for seconds in [0, 1_000_000_000, u32::MAX] {
            assert_eq!(DeliverBy::or_return(seconds), Err(RANGE(1, NINE_DIGITS)));
        }
        for seconds in [-1_000_000_000, 1_000_000_000, i32::MIN, i32::MAX] {
            assert_eq!(DeliverBy::or_notify(seconds), Err(RANGE(-NINE_DIGITS, NINE_DIGITS)));
        }
        assert_eq!(DeliverBy::or_return(1).unwrap().trace().to_string(), "1;RT");
        assert_eq!(DeliverBy::or_return(999_999_999).unwrap().to_string(), "999999999;R");
        assert_eq!(DeliverBy::or_notify(0).unwrap().to_string(), "0;N");
        assert_eq!(DeliverBy::or_notify(-999_999_999).unwrap().trace().to_string(), "-999999999;NT");
    }

    // C-95: nine digits, and at least a second.
    #[test]
    fn hold_for() {
        assert_eq!(HoldFor::seconds(0), Err(RANGE(1, NINE_DIGITS)));
        assert_eq!(HoldFor::seconds(1_000_000_000), Err(RANGE(1, NINE_DIGITS)));
        assert_eq!(HoldFor::seconds(999_999_999).unwrap().to_string(), "999999999");
    }

    // C-96: nineteen numbers and no more.
    #[test]
    fn priorities() {
        for number in i8::MIN..=i8::MAX {
            let priority = Priority::new(number);
            assert_eq!(priority.is_ok(), (-9..=9).contains(&number));
            assert_eq!(priority.map_or(number, Priority::get), number);
        }
    }
}
