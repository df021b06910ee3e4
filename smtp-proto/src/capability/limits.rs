//! What the server says it will not exceed or go below: LIMITS (RFC 9422), DELIVERBY (RFC 2852), FUTURERELEASE (RFC 4865),
//! MT-PRIORITY (RFC 6710).

use super::{Capabilities, Extension};
use crate::date_time::DateTime;

/// The limits a server announces by LIMITS (RFC 9422).
///
/// ```
/// use smtp_proto::{Capabilities, ReplyLimits, parse_reply};
///
/// let reply = b"250-mail.example\r\n250 LIMITS RCPTMAX=100 MAILMAX=0 X-HOURLY=6\r\n";
/// let (reply, _) = parse_reply(reply, &ReplyLimits::default())?.unwrap();
/// let capabilities = Capabilities::from_reply(&reply.to_owned());
/// let limits = capabilities.limits().unwrap();
/// assert_eq!(limits.rcpt_max(), Some(100));
/// assert_eq!(limits.mail_max(), None);
/// assert_eq!(limits.iter().last(), Some(("X-HOURLY", Some("6"))));
/// # Ok::<(), smtp_proto::ReplyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits<'a> {
    parameters: &'a str,
}

impl<'a> Limits<'a> {
    /// Reads a list of `NAME=value` or `NAME`. One that is not well-formed says nothing at all.
    fn parse(parameters: &'a str) -> Option<Self> {
        let well_formed = |item: &str| {
            let (name, value) = item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
            let is_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
            let is_value = |octet: u8| octet.is_ascii_graphic() && octet != b';';
            !name.is_empty()
                && name.bytes().all(is_name)
                && value.is_none_or(|value| !value.is_empty() && value.bytes().all(is_value))
        };
        parameters.split_ascii_whitespace().all(well_formed).then_some(Self { parameters })
    }

    /// How many times MAIL may be said in this session: MAILMAX.
    pub fn mail_max(&self) -> Option<u32> {
        self.number("MAILMAX")
    }

    /// How many times RCPT may be said in one transaction: RCPTMAX.
    pub fn rcpt_max(&self) -> Option<u32> {
        self.number("RCPTMAX")
    }

    /// How many domains the recipients of this session may be in: RCPTDOMAINMAX.
    pub fn rcpt_domain_max(&self) -> Option<u32> {
        self.number("RCPTDOMAINMAX")
    }

    /// Every limit with its value, known or not, in the order and spelling of the server's.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let split = |item: &'a str| item.split_once('=').map_or((item, None), |(name, value)| (name, Some(value)));
        self.parameters.split_ascii_whitespace().map(split)
    }

    /// One to six digits that do not begin with 0; anything else is no limit. Of one that stands twice, the strictest:
    /// whichever was meant, it is kept.
    fn number(&self, limit: &str) -> Option<u32> {
        let values = self.iter().filter(|(name, _)| name.eq_ignore_ascii_case(limit)).filter_map(|(_, value)| value);
        values.filter(|value| value.len() <= 6 && !value.starts_with('0')).filter_map(digits).min()
    }
}

/// Digits alone, up to `u32`.
fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|octet| octet.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// How far in the future a server releases messages (RFC 4865).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FutureRelease {
    /// The longest time a message is held, in seconds. `None` when the server names none that can be read.
    pub max_interval: Option<u32>,
    /// The last moment until which a message is held, on the server's clock. `None` when it names none that can be read.
    pub max_date_time: Option<DateTime>,
}

/// What single extensions announce.
impl Capabilities {
    /// The limits the server announces (RFC 9422). `None` when it announces none, or its list is not well-formed.
    pub fn limits(&self) -> Option<Limits<'_>> {
        self.parameters_of(Extension::Limits).and_then(Limits::parse)
    }

    /// The shortest time in seconds in which the server may be asked to deliver a message or return it (RFC 2852
    /// section 4). `None` when it names none.
    pub fn deliver_by_minimum(&self) -> Option<u32> {
        let parameters = self.parameters_of(Extension::DeliverBy)?;
        let minimum = parameters.split([',', ' ']).next().filter(|minimum| minimum.len() <= 9);
        minimum.and_then(digits).filter(|&minimum| minimum > 0)
    }

    /// How far in the future the server releases messages (RFC 4865). `None` when it does not offer to.
    pub fn future_release(&self) -> Option<FutureRelease> {
        let mut words = self.parameters_of(Extension::FutureRelease)?.split_ascii_whitespace();
        let max_interval = words.next().filter(|interval| interval.len() <= 9).and_then(digits);
        let max_date_time = words.next().and_then(|time| DateTime::parse(time).ok());
        Some(FutureRelease { max_interval, max_date_time })
    }

    /// The profile that says what the server's priorities mean, such as `MIXER` or `STANAG4406` (RFC 6710). `None` when it
    /// names none, or offers no priorities.
    pub fn priority_profile(&self) -> Option<&str> {
        self.parameters_of(Extension::MtPriority)?.split_ascii_whitespace().next()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::capabilities;
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    // C-99: broken values say nothing, other names are kept, a broken list counts for nothing.
    #[test]
    fn limits() {
        for (list, mail, rcpt, domains) in [
            ("MAILMAX=1000 RCPTMAX=1 RCPTDOMAINMAX=999999", Some(1000), Some(1), Some(999_999)),
            ("mailmax=5  RcptMax=7", Some(5), Some(7), None),
            ("MAILMAX=0 RCPTMAX=abc RCPTDOMAINMAX=1000000", None, None, None),
            ("MAILMAX RCPTMAX=01 RCPTDOMAINMAX=+1", None, None, None),
            ("MAILMAX=1=2 RCPTMAX=-1 RCPTDOMAINMAX=4", None, None, Some(4)),
            ("RCPTMAX=9 RCPTMAX=3 RCPTMAX=x", None, Some(3), None),
            ("X-OTHER RCPTMAX=9 Y_=a:b=c", None, Some(9), None),
            ("", None, None, None),
        ] {
            let offered = capabilities(&["x", &format!("LIMITS {list}")]);
            let limits = offered.limits().unwrap();
            assert_eq!(
                (limits.mail_max(), limits.rcpt_max(), limits.rcpt_domain_max()),
                (mail, rcpt, domains),
                "{list}"
            );
        }
        let offered = capabilities(&["x", "LIMITS X-OTHER RCPTMAX=9 Y_=a:b=c"]);
        let all: Vec<_> = offered.limits().unwrap().iter().collect();
        assert_eq!(all, [("X-OTHER", None), ("RCPTMAX", Some("9")), ("Y_", Some("a:b=c"))]);
        for broken in ["RCPTMAX=9 =3", "RCPTMAX=", "RCPTMAX=9;8", "RCPTMAX=9 a.b=1", "RCPTMAX=9 é=1", "RCPTMAX=9 a=é"]
        {
            assert_eq!(capabilities(&["x", &format!("LIMITS {broken}")]).limits(), None, "{broken}");
        }
        assert_eq!(capabilities(&["x", "LIMITSX RCPTMAX=9"]).limits(), None);
    }

    // C-94, C-95, C-96: what cannot be read is no bound.
    #[test]
    fn bounds() {
        for (line, minimum) in [
            ("DELIVERBY 240", Some(240)),
            ("DELIVERBY 240,X,Y", Some(240)),
            ("DELIVERBY ,X", None),
            ("DELIVERBY", None),
            ("DELIVERBY 0", None),
            ("DELIVERBY -5", None),
            ("DELIVERBY 1000000000", None),
        ] {
            assert_eq!(capabilities(&["x", line]).deliver_by_minimum(), minimum, "{line}");
        }
        for (line, interval, time) in [
            ("FUTURERELEASE 86400 2026-03-01T00:00:00Z", Some(86_400), Some(1_772_323_200)),
            ("FUTURERELEASE 86400", Some(86_400), None),
            ("FUTURERELEASE x 2026-03-01T00:00:00Z", None, Some(1_772_323_200)),
            ("FUTURERELEASE 9999999999 tomorrow", None, None),
            ("FUTURERELEASE", None, None),
        ] {
            let release = capabilities(&["x", line]).future_release().unwrap();
            assert_eq!(release.max_interval, interval, "{line}");
            assert_eq!(release.max_date_time.map(DateTime::unix), time, "{line}");
        }
        assert_eq!(capabilities(&["x"]).future_release(), None);
        assert_eq!(capabilities(&["x", "MT-PRIORITY MIXER"]).priority_profile(), Some("MIXER"));
        assert_eq!(capabilities(&["x", "MT-PRIORITY"]).priority_profile(), None);
    }
}
