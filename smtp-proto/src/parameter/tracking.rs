//! What is asked about one recipient, or kept to ask later: RRVS (RFC 7293) and MTRK (RFC 3885).

use core::fmt;

use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::{ParameterError, within};
use crate::date_time::DateTime;

/// Delivers only if the mailbox has belonged to the same person ever since: RRVS on RCPT (RFC 7293 section 5).
///
/// ```
/// use smtp_proto::{DateTime, ValidSince};
///
/// let since = ValidSince::new(DateTime::parse("2014-04-03T23:01:00Z")?);
/// assert_eq!(since.to_string(), "2014-04-03T23:01:00Z");
/// assert_eq!(since.or_reject().to_string(), "2014-04-03T23:01:00Z;R");
/// # Ok::<(), smtp_proto::DateTimeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValidSince {
    since: DateTime,
    elsewhere: Elsewhere,
}

/// What a relay does when the next server does not offer the extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Elsewhere {
    Unsaid,
    Continue,
    Reject,
}

impl ValidSince {
    /// Since then. What a relay does when the next server does not know the extension is left to RFC 7293.
    pub const fn new(since: DateTime) -> Self {
        Self { since, elsewhere: Elsewhere::Unsaid }
    }

    /// A relay whose next server does not know the extension passes the message on, with the question in its header:
    /// `C`.
    #[must_use]
    pub const fn or_continue(mut self) -> Self {
        self.elsewhere = Elsewhere::Continue;
        self
    }

    /// A relay whose next server does not know the extension rejects the message: `R`.
    #[must_use]
    pub const fn or_reject(mut self) -> Self {
        self.elsewhere = Elsewhere::Reject;
        self
    }
}

impl fmt::Display for ValidSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elsewhere = match self.elsewhere {
            Elsewhere::Unsaid => "",
            Elsewhere::Continue => ";C",
            Elsewhere::Reject => ";R",
        };
        write!(f, "{}{elsewhere}", self.since)
    }
}

/// Asks servers to keep track of the message, for whoever knows the secret: MTRK on MAIL (RFC 3885 section 4). Needs
/// [`Transaction::envelope_id`](crate::Transaction::envelope_id), which has to be unique in the world, and so ends in `@`
/// and the name of a host of the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tracking {
    certifier: [u8; 20],
    timeout: Option<u32>,
}

impl Tracking {
    /// `certifier` is the SHA-1 of the secret, which stays with the sender until he asks.
    pub const fn new(certifier: [u8; 20]) -> Self {
        Self { certifier, timeout: None }
    }

    /// Asks that it is kept for so many seconds.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Range`] unless it is 1 to 999 999 999.
    pub fn timeout(mut self, seconds: u32) -> Result<Self, ParameterError> {
        self.timeout = Some(within(i64::from(seconds), 1, 999_999_999)?);
        Ok(self)
    }
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Padding is no part of the certifier's grammar, and could not be: `=` has no place in a value.
        Base64Display::new(&self.certifier, &BASE64_STANDARD_NO_PAD).fmt(f)?;
        self.timeout.map_or(Ok(()), |seconds| write!(f, ":{seconds}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    // C-97: the three forms of RRVS.
    #[test]
    fn valid_since() {
        let since = ValidSince::new(DateTime::parse("2026-03-01T00:30:00+01:00").unwrap());
        assert_eq!(since.to_string(), "2026-02-28T23:30:00Z");
        assert_eq!(since.or_reject().or_continue().to_string(), "2026-02-28T23:30:00Z;C");
        assert_eq!(since.or_continue().or_reject().to_string(), "2026-02-28T23:30:00Z;R");
    }

    // C-97: the certifier as base64 without padding, and nine digits of time.
    #[test]
    fn tracking() {
        let tracking = Tracking::new([0xff; 20]);
        assert_eq!(tracking.to_string(), "//////////////////////////8");
        assert_eq!(tracking.timeout(86_400).unwrap().to_string(), "//////////////////////////8:86400");
        assert!(tracking.timeout(0).is_err() && tracking.timeout(1_000_000_000).is_err());
    }
}
