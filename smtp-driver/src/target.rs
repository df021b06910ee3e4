//! Names: of the server, and of this host.

use std::io;

use dns_lookup::AddrInfoHints;
use smtp_proto::HelloName;

/// This host's name with its domain, if it has one: the system's name for it, or what that resolves to (smtplib's
/// `getfqdn`). May ask the network.
pub(crate) fn host_name() -> Option<HelloName> {
    /// `AI_CANONNAME`, the same on all systems that have it.
    const CANONICAL_NAME: i32 = 2;
    let name = gethostname::gethostname();
    let name = name.to_str()?;
    let qualified = |name: &str| name.contains('.').then(|| HelloName::parse(name).ok()).flatten();
    qualified(name).or_else(|| {
        let hints = AddrInfoHints { flags: CANONICAL_NAME, ..AddrInfoHints::default() };
        let found = dns_lookup::getaddrinfo(Some(name), None, Some(hints)).ok()?;
        { found }.find_map(|address| qualified(&address.ok()?.canonname?))
    })
}

/// Splits a target. More than one colon without brackets is an IPv6 address.
pub(crate) fn host_and_port(target: &str, default_port: u16) -> io::Result<(&str, u16)> {
    let (host, port) = match target.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the bracket is not closed")),
        },
        None => match target.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (target, None),
        },
    };
    if host.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no host is named"));
    }
    match port.map(str::parse) {
        None => Ok((host, default_port)),
        Some(Ok(port)) => Ok((host, port)),
        Some(Err(_)) => Err(io::Error::new(io::ErrorKind::InvalidInput, "the port is not a number up to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (target, expected) in [
            ("mail.example", ("mail.example", 25)),
            ("mail.example:587", ("mail.example", 587)),
            ("192.0.2.1:26", ("192.0.2.1", 26)),
            ("::1", ("::1", 25)),
            ("[::1]", ("::1", 25)),
            ("[::1]:26", ("::1", 26)),
        ] {
            assert_eq!(host_and_port(target, 25).unwrap(), expected, "{target}");
        }
        for target in ["", ":25", "mail.example:", "mail.example:smtp", "mail.example:65536", "[::1", "[::1]x", "[]:25"]
        {
            assert_eq!(host_and_port(target, 25).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{target}");
        }
    }
}
