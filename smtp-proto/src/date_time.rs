//! Points in time as extensions of SMTP write them.

use core::fmt;

/// The seconds of Unix time that four digits of a year can tell: 0000-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
const RANGE: core::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

const DAY: i64 = 86_400;

/// A text is no date and time, or one outside the years 0000 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date and time of RFC 3339")]
pub struct DateTimeError;

/// A point in time, to the second. Displayed in UTC, as RFC 3339 section 5.6 has it.
///
/// The core has no clock and does not compare it with the present.
///
/// ```
/// use smtp_proto::DateTime;
///
/// let time = DateTime::parse("2026-03-01T00:30:00.75+01:00")?;
/// assert_eq!(time.to_string(), "2026-02-28T23:30:00Z");
/// assert_eq!(DateTime::from_unix(time.unix())?, time);
/// assert!(DateTime::parse("2026-02-29T12:00:00Z").is_err());
/// # Ok::<(), smtp_proto::DateTimeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DateTime {
    unix: i64,
}

impl DateTime {
    /// Reads `2026-03-01T12:00:00Z`, or the same with an offset from UTC and fractions of a second. Fractions are dropped,
    /// and a leap second is the one after it.
    ///
    /// # Errors
    ///
    /// [`DateTimeError`] when it is not a `date-time` of RFC 3339 section 5.6, or no day of the calendar.
    pub fn parse(text: &str) -> Result<Self, DateTimeError> {
        parse(text.as_bytes()).ok_or(DateTimeError).and_then(Self::from_unix)
    }

    /// The point in time so many seconds after 1970-01-01T00:00:00Z, or before it; leap seconds are not counted.
    ///
    /// # Errors
    ///
    /// [`DateTimeError`] outside the years 0000 to 9999.
    pub fn from_unix(seconds: i64) -> Result<Self, DateTimeError> {
        if RANGE.contains(&seconds) { Ok(Self { unix: seconds }) } else { Err(DateTimeError) }
    }

    /// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    pub const fn unix(self) -> i64 {
        self.unix
    }
}

fn parse(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't', rest @ ..] = text else { return None };
    let [h1, h2, b':', n1, n2, b':', s1, s2, rest @ ..] = rest else { return None };
    let (year, month, day) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    let rest = match rest {
        [b'.', b'0'..=b'9', fraction @ ..] => {
            let end = fraction.iter().position(|octet| !octet.is_ascii_digit())?;
            fraction.get(end..)?
        }
        rest => rest,
    };
    let ahead = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let known = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !known || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days_before(year, month, day) * DAY + hour * 3600 + minute * 60 + second - ahead)
}

fn number(digits: &[u8]) -> Option<i64> {
    let well_formed = digits.iter().all(u8::is_ascii_digit);
    well_formed.then(|| digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date. Years are counted from March, so that a leap day is the last of its year, and in
/// cycles of 400, after which the calendar repeats.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    cycle * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

/// The way back: year, month and day.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (cycle, days) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (days - days / 1_460 + days / 36_524 - days / 146_096) / 365;
    let day_of_year = days - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + i64::from(month <= 2), month, day)
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.unix.div_euclid(DAY));
        let second = self.unix.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DateTime({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn texts_and_numbers() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59z", 951_868_799),
            ("2038-01-19t03:14:08Z", 2_147_483_648),
            ("1990-12-31T15:59:60-08:00", 662_688_000),
            ("1970-01-01T23:59:00+23:59", 0),
            ("0000-01-01T00:00:00Z", *RANGE.start()),
            ("9999-12-31T23:59:59.999999999999999999999Z", *RANGE.end()),
        ] {
            assert_eq!(DateTime::parse(text).unwrap().unix(), unix, "{text}");
        }
        assert_eq!(DateTime::from_unix(-1).unwrap().to_string(), "1969-12-31T23:59:59Z");
        assert_eq!(alloc::format!("{:?}", DateTime::from_unix(-1).unwrap()), "DateTime(1969-12-31T23:59:59Z)");
    }

    #[test]
    fn texts_that_are_none() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00Z",
            "2026-03-01 12:00:00Z",
            "2026-3-01T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "1900-02-29T12:00:00Z",
            "2026-03-00T12:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:60:00Z",
            "2026-03-01T12:00:61Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00.5",
            "2026-03-01T12:00:00+1:00",
            "2026-03-01T12:00:00+24:00",
            "2026-03-01T12:00:00+01:60",
            "2026-03-01T12:00:00ZZ",
            "2026-03-01T12:00:00Z\r\nRSET",
            "+026-03-01T12:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(DateTime::parse(text), Err(DateTimeError), "{text:?}");
        }
    }

    // P-19: the calendar, day by day, until it repeats.
    #[test]
    fn each_day_has_its_date() {
        let (mut year, mut month, mut day) = (2000, 1, 1);
        for days in 10_957..10_957 + 146_097 {
            assert_eq!((date_of(days), days_before(year, month, day)), ((year, month, day), days));
            day += 1;
            if day > days_of(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (2400, 1, 1));
    }

    proptest! {
        // P-19: what is printed reads as the same point in time, for every second there is.
        #[test]
        fn printing_and_parsing_are_inverse(unix in RANGE) {
            let time = DateTime::from_unix(unix).unwrap();
            prop_assert_eq!(DateTime::parse(&time.to_string()), Ok(time));
        }
    }
}
