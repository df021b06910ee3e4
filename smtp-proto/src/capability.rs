//! What the server said it can do.

mod limits;

use alloc::string::String;
use core::ops::Range;

pub use self::limits::{FutureRelease, Limits};
use crate::reply::Reply;

/// A service extension that this library knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extension {
    /// 8BITMIME, RFC 6152.
    EightBitMime,
    /// AUTH, RFC 4954.
    Auth,
    /// BINARYMIME, RFC 3030.
    BinaryMime,
    /// BURL, RFC 4468.
    Burl,
    /// CHUNKING, RFC 3030.
    Chunking,
    /// DELIVERBY, RFC 2852.
    DeliverBy,
    /// DSN, RFC 3461.
    Dsn,
    /// ENHANCEDSTATUSCODES, RFC 2034.
    EnhancedStatusCodes,
    /// FUTURERELEASE, RFC 4865.
    FutureRelease,
    /// LIMITS, RFC 9422.
    Limits,
    /// MTRK, RFC 3885.
    MessageTracking,
    /// MT-PRIORITY, RFC 6710.
    MtPriority,
    /// PRDR, draft-hall-prdr-00, as Exim has it.
    PerRecipientReplies,
    /// PIPELINING, RFC 2920.
    Pipelining,
    /// REQUIRETLS, RFC 8689.
    RequireTls,
    /// SIZE, RFC 1870.
    Size,
    /// SMTPUTF8, RFC 6531.
    SmtpUtf8,
    /// STARTTLS, RFC 3207.
    StartTls,
    /// RRVS, RFC 7293.
    ValidSince,
}

impl Extension {
    const ALL: [Self; 19] = [
        Self::EightBitMime,
        Self::Auth,
        Self::BinaryMime,
        Self::Burl,
        Self::Chunking,
        Self::DeliverBy,
        Self::Dsn,
        Self::EnhancedStatusCodes,
        Self::FutureRelease,
        Self::Limits,
        Self::MessageTracking,
        Self::MtPriority,
        Self::PerRecipientReplies,
        Self::Pipelining,
        Self::RequireTls,
        Self::Size,
        Self::SmtpUtf8,
        Self::StartTls,
        Self::ValidSince,
    ];

    /// A bit of its own.
    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The keyword in the EHLO reply.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::EightBitMime => "8BITMIME",
            Self::Auth => "AUTH",
            Self::BinaryMime => "BINARYMIME",
            Self::Burl => "BURL",
            Self::Chunking => "CHUNKING",
            Self::DeliverBy => "DELIVERBY",
            Self::Dsn => "DSN",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::FutureRelease => "FUTURERELEASE",
            Self::Limits => "LIMITS",
            Self::MessageTracking => "MTRK",
            Self::MtPriority => "MT-PRIORITY",
            Self::PerRecipientReplies => "PRDR",
            Self::Pipelining => "PIPELINING",
            Self::RequireTls => "REQUIRETLS",
            Self::Size => "SIZE",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::StartTls => "STARTTLS",
            Self::ValidSince => "RRVS",
        }
    }
}

impl core::fmt::Display for Extension {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.keyword())
    }
}

/// The keywords of the last EHLO or LHLO reply, with their parameters (RFC 5321 section 4.1.1.1).
///
/// Keywords are compared as whole words without regard to letter case. The first line is the server's name and greeting,
/// never a keyword. A line that is no keyword is ignored.
///
/// ```
/// use smtp_proto::{Capabilities, Extension, ReplyLimits, parse_reply};
///
/// let reply = b"250-mail.example\r\n250-size 1000\r\n250-AUTH PLAIN\r\n250-AUTH=LOGIN\r\n250 X-NEW a b\r\n";
/// let (reply, _) = parse_reply(reply, &ReplyLimits::default())?.unwrap();
/// let capabilities = Capabilities::from_reply(&reply.to_owned());
/// assert_eq!(capabilities.server_name(), Some("mail.example"));
/// assert!(capabilities.supports(Extension::Size));
/// assert_eq!(capabilities.size_limit(), Some(1000));
/// assert_eq!(capabilities.auth_mechanisms().collect::<Vec<_>>(), ["PLAIN", "LOGIN"]);
/// assert_eq!(capabilities.parameters("x-new"), Some("a b"));
/// # Ok::<(), smtp_proto::ReplyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The lines of the reply that are UTF-8, each ended by LF.
    text: String,
    /// The greeting line within `text`.
    greeting: Range<usize>,
    /// The bits of the extensions that are offered, since several are asked for with every message.
    offered: u32,
    size_limit: Option<u64>,
}

impl Capabilities {
    /// Reads the keywords from a reply to EHLO or LHLO.
    pub fn from_reply(reply: &Reply) -> Self {
        let mut capabilities = Self { text: String::with_capacity(reply.text().len() + 1), ..Self::default() };
        for (index, line) in reply.lines().enumerate() {
            // An octet beyond UTF-8 is in no keyword and no parameter; the line is ignored, not fatal.
            if let Ok(line) = core::str::from_utf8(line) {
                capabilities.text.push_str(line);
                capabilities.text.push('\n');
            }
            if index == 0 {
                capabilities.greeting = 0..capabilities.text.len();
            }
        }
        let keywords = capabilities.iter().map(|(keyword, _)| keyword);
        capabilities.offered = keywords.flat_map(of_keyword).fold(0, |offered, extension| offered | extension.bit());
        capabilities.size_limit = capabilities.parameters_of(Extension::Size).and_then(size_limit);
        capabilities
    }

    /// The name the server gave itself on the first line. Its claim, not to be trusted.
    pub fn server_name(&self) -> Option<&str> {
        self.text.get(self.greeting.clone())?.split_ascii_whitespace().next()
    }

    /// Every keyword with its parameters, in the order and spelling the server used; not merged, not deduplicated.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let keywords = self.text.get(self.greeting.end..).unwrap_or_default();
        keywords.split_terminator('\n').filter_map(keyword_line)
    }

    /// Whether the server offers `keyword`.
    pub fn has(&self, keyword: &str) -> bool {
        self.parameters(keyword).is_some()
    }

    /// The parameters of `keyword`, as sent; empty when it has none. Where a keyword stands on several lines, the last.
    pub fn parameters(&self, keyword: &str) -> Option<&str> {
        self.iter().filter(|(name, _)| name.eq_ignore_ascii_case(keyword)).last().map(|(_, parameters)| parameters)
    }

    /// Whether the server offers `extension`.
    pub fn supports(&self, extension: Extension) -> bool {
        self.offered & extension.bit() != 0
    }

    /// The parameters of `extension`, looked for only where it is offered.
    fn parameters_of(&self, extension: Extension) -> Option<&str> {
        self.supports(extension).then(|| self.parameters(extension.keyword()))?
    }

    /// The largest message the server takes, in octets. `None` when it names no limit, 0, or no number (RFC 1870
    /// section 4). A number beyond `u64` is no limit in practice and saturates.
    pub fn size_limit(&self) -> Option<u64> {
        self.size_limit
    }

    /// The SASL mechanisms offered, from `AUTH` lines and the old `AUTH=` form alike, each once. Only the first 64 names
    /// are looked at, and only those that can be names: up to 20 letters, digits, hyphens and underscores (RFC 4422
    /// section 3.1).
    pub fn auth_mechanisms(&self) -> impl Iterator<Item = &str> {
        let is_name = |name: &&str| {
            name.len() <= 20 && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        };
        let words = move || self.auth_lines().flat_map(str::split_ascii_whitespace);
        let all = move || words().take(MECHANISMS).filter(is_name);
        all()
            .enumerate()
            .filter(move |(index, name)| !all().take(*index).any(|earlier| earlier.eq_ignore_ascii_case(name)))
            .map(|(_, name)| name)
    }

    fn auth_lines(&self) -> impl Iterator<Item = &str> {
        self.iter().filter_map(|(keyword, parameters)| {
            keyword.eq_ignore_ascii_case(Extension::Auth.keyword()).then_some(parameters)
        })
    }
}

fn of_keyword(keyword: &str) -> Option<Extension> {
    Extension::ALL.into_iter().find(|extension| extension.keyword().eq_ignore_ascii_case(keyword))
}

fn size_limit(parameters: &str) -> Option<u64> {
    let digits = parameters.split_ascii_whitespace().next()?;
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX)).filter(|&limit| limit > 0)
}

/// As many names of mechanisms as are believed; comparing each with each has to stay cheap.
const MECHANISMS: usize = 64;

/// Splits one line into keyword and parameters. `None` when it does not begin with an `ehlo-keyword`.
fn keyword_line(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    if keyword.is_empty() || keyword.starts_with('-') {
        return None;
    }
    // `AUTH=PLAIN LOGIN` predates RFC 4954; no other keyword was ever written so.
    let parameters = match rest.strip_prefix('=') {
        Some(parameters) if keyword.eq_ignore_ascii_case(Extension::Auth.keyword()) => parameters,
        Some(_) => return None,
        None if rest.is_empty() || rest.starts_with([' ', '\t', '\r']) => rest,
        None => return None,
    };
    Some((keyword, parameters.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{ReplyLimits, parse_reply};
    use alloc::format;
    use alloc::vec::Vec;

    pub(super) fn capabilities(lines: &[&str]) -> Capabilities {
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            let separator = if index + 1 == lines.len() { ' ' } else { '-' };
            text += &format!("250{separator}{line}\r\n");
        }
        let (reply, _) = parse_reply(text.as_bytes(), &ReplyLimits::default()).unwrap().unwrap();
        Capabilities::from_reply(&reply.to_owned())
    }

    // C-25: the first line is a greeting even if it looks like a keyword.
    #[test]
    fn the_first_line_is_never_a_keyword() {
        let offered = capabilities(&["STARTTLS hello", "SIZE"]);
        assert!(!offered.supports(Extension::StartTls));
        assert_eq!(offered.server_name(), Some("STARTTLS"));
        let offered = capabilities(&["PIPELINING"]);
        assert_eq!(offered.iter().count(), 0);
        assert!(!offered.supports(Extension::Pipelining));
    }

    // C-25, P-19: each extension is known by its keyword and by no other.
    #[test]
    fn extensions_have_bits_of_their_own() {
        for extension in Extension::ALL {
            let offered = capabilities(&["x", &extension.keyword().to_ascii_lowercase()]);
            assert!(Extension::ALL.into_iter().all(|other| offered.supports(other) == (other == extension)));
            assert!(offered.has(extension.keyword()));
        }
        let bits = Extension::ALL.into_iter().fold(0, |bits, extension| bits | extension.bit());
        assert_eq!(bits.count_ones() as usize, Extension::ALL.len());
    }

    // C-25: whole words in any case; runs of spaces; unknown keywords kept; malformed lines ignored.
    #[test]
    fn keywords_are_whole_words() {
        let offered = capabilities(&[
            "mail.example",
            "pipelining",
            "STARTTLSX",
            "SIZE=100",
            "X-Foo  one   two ",
            "-BAD",
            "",
            "8BITMIME?",
            "250 x",
            "café",
        ]);
        assert!(offered.supports(Extension::Pipelining));
        assert!(!offered.supports(Extension::StartTls));
        assert!(!offered.supports(Extension::Size));
        assert!(!offered.supports(Extension::EightBitMime));
        assert_eq!(offered.parameters("x-fOO"), Some("one   two"));
        let keywords: Vec<_> = offered.iter().map(|(keyword, _)| keyword).collect();
        assert_eq!(keywords, ["pipelining", "STARTTLSX", "X-Foo", "250"]);
    }

    #[test]
    fn a_line_that_is_not_utf8_hides_no_other() {
        let bytes = b"250-x \xff\r\n250-SIZE \xff\r\n250 PIPELINING\r\n";
        let (reply, _) = parse_reply(bytes, &ReplyLimits::default()).unwrap().unwrap();
        let offered = Capabilities::from_reply(&reply.to_owned());
        assert_eq!(offered.server_name(), None);
        assert_eq!(offered.iter().collect::<Vec<_>>(), [("PIPELINING", "")]);
        assert!(offered.supports(Extension::Pipelining));
    }

    // C-25: both forms of AUTH, merged, each mechanism once.
    #[test]
    fn auth_in_both_forms() {
        assert!(capabilities(&["x", "AUTH=LOGIN"]).supports(Extension::Auth));
        let offered = capabilities(&["x", "AUTH=LOGIN PLAIN", "auth PLAIN login  CRAM-MD5"]);
        assert_eq!(offered.auth_mechanisms().collect::<Vec<_>>(), ["LOGIN", "PLAIN", "CRAM-MD5"]);
        let odd = capabilities(&["x", "AUTH X-\u{e9} A=B \u{1b}[2J 012345678901234567890 01234567890123456789 a_B-9"]);
        assert_eq!(odd.auth_mechanisms().collect::<Vec<_>>(), ["01234567890123456789", "a_B-9"]);
        let bare = capabilities(&["x", "AUTH"]);
        assert!(bare.supports(Extension::Auth));
        assert_eq!(bare.auth_mechanisms().count(), 0);
        assert!(!capabilities(&["x", "AUTHX PLAIN"]).supports(Extension::Auth));
    }

    // C-25: each extension has its keyword, and is offered where that stands.
    #[test]
    fn each_extension_has_a_keyword() {
        use Extension::*;
        let all = [
            (EightBitMime, "8BITMIME"),
            (Auth, "AUTH"),
            (BinaryMime, "BINARYMIME"),
            (Burl, "BURL"),
            (Chunking, "CHUNKING"),
            (DeliverBy, "DELIVERBY"),
            (Dsn, "DSN"),
            (EnhancedStatusCodes, "ENHANCEDSTATUSCODES"),
            (FutureRelease, "FUTURERELEASE"),
            (Limits, "LIMITS"),
            (MessageTracking, "MTRK"),
            (MtPriority, "MT-PRIORITY"),
            (PerRecipientReplies, "PRDR"),
            (Pipelining, "PIPELINING"),
            (RequireTls, "REQUIRETLS"),
            (Size, "SIZE"),
            (SmtpUtf8, "SMTPUTF8"),
            (StartTls, "STARTTLS"),
            (ValidSince, "RRVS"),
        ];
        for (extension, keyword) in all {
            assert_eq!(format!("{extension}"), keyword);
            let offered = capabilities(&["x", &keyword.to_ascii_lowercase()]);
            for (other, _) in all {
                assert_eq!(offered.supports(other), other == extension, "{keyword}");
            }
        }
    }

    // C-86: no limit, no number and too large a number are told apart and never wrap.
    #[test]
    fn size_limits() {
        for (line, limit) in [
            ("SIZE", None),
            ("SIZE 0", None),
            ("SIZE 1", Some(1)),
            ("SIZE 99999999999999999999", Some(u64::MAX)),
            ("SIZE -1", None),
            ("SIZE +1", None),
            ("SIZE 1e9", None),
            ("SIZE 10 20", Some(10)),
        ] {
            assert_eq!(capabilities(&["x", line]).size_limit(), limit, "{line}");
        }
        assert_eq!(capabilities(&["x"]).size_limit(), None);
    }
}
