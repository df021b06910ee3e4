//! The name a client gives itself.

use alloc::boxed::Box;
use alloc::format;
use core::fmt;
use core::net::IpAddr;

use super::grammar::{self, AddressError};

/// Who we say we are in EHLO, HELO and LHLO: a domain name or an address literal (RFC 5321 section 4.1.1.1).
///
/// A domain name should be fully qualified and resolve; that cannot be checked here. Non-ASCII names have to be given as
/// A-labels, since the hello comes before SMTPUTF8 can be known (RFC 6531 section 3.7.1).
///
/// ```
/// use core::net::{IpAddr, Ipv6Addr};
/// use smtp_proto::HelloName;
///
/// assert_eq!(HelloName::parse("mail.example.org")?.as_str(), "mail.example.org");
/// assert_eq!(HelloName::from(IpAddr::V6(Ipv6Addr::LOCALHOST)).as_str(), "[IPv6:::1]");
/// assert!(HelloName::parse("my_host").is_err());
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HelloName(Box<str>);

impl HelloName {
    /// Reads a domain name or an address literal in square brackets.
    ///
    /// # Errors
    ///
    /// [`AddressError`] when it is neither, or longer than 255 octets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > grammar::DOMAIN {
            return Err(AddressError::TooLong { length: text.len(), limit: grammar::DOMAIN });
        }
        let last_label = text.rsplit('.').next().unwrap_or_default();
        if text.starts_with('[') {
            grammar::literal(text)?;
        } else if last_label.bytes().all(|octet| octet.is_ascii_digit()) && text.contains('.') {
            // An address without its brackets; no top-level domain is a number.
            return Err(AddressError::Literal);
        } else if let Some(offset) = grammar::bad_domain_character(text, |_| false) {
            return Err(AddressError::Character { offset });
        }
        Ok(Self(text.into()))
    }

    /// The name or the literal.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The address literal of an IP address; an IPv4 address mapped into IPv6 becomes the IPv4 literal.
impl From<IpAddr> for HelloName {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => format!("[{address}]").into(),
            IpAddr::V6(address) => format!("[IPv6:{address}]").into(),
        })
    }
}

impl fmt::Display for HelloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    // C-24: domain names and literals of either family, and nothing after them.
    #[test]
    fn names_and_literals() {
        for text in
            ["localhost", "mail.example.org", "xn--bcher-kva.example", "1.example", "[192.0.2.1]", "[IPv6:2001:db8::1]"]
        {
            assert_eq!(HelloName::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "foo bar",
            "a\r\nb",
            "a\nb",
            "a\0b",
            "_x",
            "a_b.example",
            "bücher.example",
            "[192.0.2.1] x",
            "[192.0.2.1",
            "[::1]",
            "192.0.2.1 ",
            "192.0.2.1",
            "999.999.999.999",
            "a.",
            ".a",
            "-a",
            "[IPv6:]",
        ] {
            assert!(HelloName::parse(text).is_err(), "{text:?}");
        }
        assert!(HelloName::parse(&"a.".repeat(128)[1..]).is_err());
        assert!(HelloName::parse(&"a.".repeat(128)[..255]).is_ok());
        let long = "a.".repeat(128) + "a";
        assert_eq!(HelloName::parse(&long), Err(AddressError::TooLong { length: 257, limit: 255 }));
    }

    #[test]
    fn literals_of_addresses_parse() {
        for (address, literal) in
            [("192.0.2.1", "[192.0.2.1]"), ("2001:db8::1", "[IPv6:2001:db8::1]"), ("::ffff:192.0.2.1", "[192.0.2.1]")]
        {
            let name = HelloName::from(address.parse::<IpAddr>().unwrap());
            assert_eq!(name.as_str(), literal);
            assert_eq!(HelloName::parse(literal), Ok(name));
        }
    }
}
