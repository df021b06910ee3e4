//! Reply codes and enhanced status codes.

use core::fmt;

/// A three-digit reply code, 200 to 599 (RFC 5321 section 4.2.1).
///
/// The set of codes is open: decide by [`severity`](Self::severity), not by comparing numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// The code `number`, if it is one: 200 to 599.
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            200..=599 => Some(Self(number)),
            _ => None,
        }
    }

    /// Reads three ASCII digits, the first of them 2 to 5.
    pub(crate) fn from_digits(digits: [u8; 3]) -> Option<Self> {
        match digits {
            [first @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9'] => {
                let value = |digit: u8| u16::from(digit - b'0');
                Some(Self(value(first) * 100 + value(second) * 10 + value(third)))
            }
            _ => None,
        }
    }

    /// The code as a number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    pub const fn severity(self) -> Severity {
        match self.0 {
            0..=299 => Severity::Completion,
            300..=399 => Severity::Intermediate,
            400..=499 => Severity::Transient,
            _ => Severity::Permanent,
        }
    }

    /// Whether the first digit is 5.
    pub const fn is_permanent(self) -> bool {
        matches!(self.severity(), Severity::Permanent)
    }

    /// Whether the first digit is 4 or 5.
    pub const fn is_refusal(self) -> bool {
        matches!(self.severity(), Severity::Transient | Severity::Permanent)
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The meaning of a reply code's first digit (RFC 5321 section 4.2.1). These four are all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// 2yz: the action was done.
    Completion,
    /// 3yz: the server waits for more.
    Intermediate,
    /// 4yz: not done, the same request may succeed later.
    Transient,
    /// 5yz: not done, the same request will fail again.
    Permanent,
}

/// An enhanced status code such as `5.1.1` (RFC 3463). The registry is open, so any subject and detail is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

impl EnhancedCode {
    /// Reads `class.subject.detail` and nothing else: class 2, 4 or 5, the others one to three digits without leading
    /// zeros (RFC 3463 section 2).
    ///
    /// ```
    /// use smtp_proto::EnhancedCode;
    ///
    /// assert_eq!(EnhancedCode::parse(b"4.3.2").unwrap().subject(), 3);
    /// assert_eq!(EnhancedCode::parse(b"5.01.1"), None);
    /// ```
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (class, rest) = match text {
            [class @ (b'2' | b'4' | b'5'), b'.', rest @ ..] => (class - b'0', rest),
            _ => return None,
        };
        let dot = rest.iter().position(|&octet| octet == b'.')?;
        let (subject, detail) = rest.split_at_checked(dot)?;
        Some(Self { class, subject: component(subject)?, detail: component(detail.get(1..)?)? })
    }

    /// The code at the start of a reply's text, if its class agrees with the reply code.
    pub(crate) fn of_text(code: ReplyCode, text: &[u8]) -> Option<Self> {
        let end = text.iter().position(|&octet| octet == b' ').unwrap_or(text.len());
        let enhanced = Self::parse(text.get(..end)?)?;
        (u16::from(enhanced.class) == code.get() / 100).then_some(enhanced)
    }

    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub const fn class(self) -> u8 {
        self.class
    }

    /// What the code is about: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy.
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The condition within the subject.
    pub const fn detail(self) -> u16 {
        self.detail
    }
}

/// One to three digits, no leading zero.
fn component(digits: &[u8]) -> Option<u16> {
    let well_formed = match digits {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    well_formed.then(|| digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0')))
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnhancedCode({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    // C-05: the first digit alone decides, for every code there is.
    #[test]
    fn severity_is_the_first_digit() {
        for number in 0..1000 {
            let severity = ReplyCode::new(number).map(ReplyCode::severity);
            let expected = match number / 100 {
                2 => Some(Severity::Completion),
                3 => Some(Severity::Intermediate),
                4 => Some(Severity::Transient),
                5 => Some(Severity::Permanent),
                _ => None,
            };
            assert_eq!(severity, expected, "{number}");
        }
    }

    // C-04: the digits are ASCII digits, the first of them 2 to 5; agrees with the number over all triples of interest.
    #[test]
    fn digits_agree_with_numbers() {
        for number in 0..1000_u16 {
            let text = format!("{number:03}");
            let digits: [u8; 3] = text.as_bytes().try_into().unwrap();
            assert_eq!(ReplyCode::from_digits(digits), ReplyCode::new(number));
        }
        for digits in [*b"2_5", *b"+25", *b" 25", *b"25 ", *b"25\0", *b"2\xb25"] {
            assert_eq!(ReplyCode::from_digits(digits), None);
        }
    }

    // What is shown of a code is the code; which kinds are refusals, and which for good.
    #[test]
    fn codes_are_shown_and_judged() {
        for (number, refusal, permanent) in
            [(250, false, false), (354, false, false), (421, true, false), (599, true, true)]
        {
            let code = ReplyCode::new(number).unwrap();
            assert_eq!((code.is_refusal(), code.is_permanent()), (refusal, permanent));
            assert_eq!(
                (code.get(), code.to_string(), format!("{code:?}")),
                (number, format!("{number}"), format!("{number}"))
            );
        }
        let enhanced = EnhancedCode::parse(b"5.7.128").unwrap();
        assert_eq!((enhanced.class(), enhanced.subject(), enhanced.detail()), (5, 7, 128));
        assert_eq!(format!("{enhanced:?}"), "EnhancedCode(5.7.128)");
    }

    // C-92, C-93: class must agree, numbers are well formed, the registry is open.
    #[test]
    fn enhanced_codes() {
        let of = |code, text: &[u8]| EnhancedCode::of_text(ReplyCode::new(code).unwrap(), text).map(|e| e.to_string());
        assert_eq!(of(250, b"2.0.0 ok").as_deref(), Some("2.0.0"));
        assert_eq!(of(250, b"2.0.0").as_deref(), Some("2.0.0"));
        assert_eq!(of(550, b"5.7.999 x").as_deref(), Some("5.7.999"));
        for (code, text) in [
            (550, &b"2.1.1 x"[..]),
            (354, b"3.0.0 x"),
            (550, b"5.1.1000 x"),
            (550, b"5.01.1 x"),
            (550, b"5.1.1x y"),
            (550, b"5.1"),
            (550, b"5..1"),
            (550, b"5.1."),
            (550, b""),
        ] {
            assert_eq!(of(code, text), None);
        }
    }
}
