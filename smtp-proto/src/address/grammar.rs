//! The grammar of mailboxes: RFC 5321 section 4.1.2, widened to UTF-8 by RFC 6531 section 3.3.

use alloc::string::String;
use alloc::sync::Arc;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Octets in a local part, a domain, and a path with its angle brackets (RFC 5321 section 4.5.3.1).
const LOCAL_PART: usize = 64;
pub(super) const DOMAIN: usize = 255;
const PATH: usize = 256;

/// Why a text is not an address, or not a name to say hello with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is nothing where a mailbox or a name has to be.
    #[error("the address is empty")]
    Empty,
    /// A character stands where the grammar does not allow it. Control characters, CR, LF and NUL among them, are
    /// allowed nowhere.
    #[error("the character at octet {offset} of the address does not belong there")]
    Character {
        /// Octets before the character.
        offset: usize,
    },
    /// Angle brackets, quotation marks or square brackets do not close.
    #[error("the address ends before a bracket or a quotation mark closes")]
    Unclosed,
    /// There is no `@` with a domain behind the local part.
    #[error("the address has no domain")]
    NoDomain,
    /// Longer than RFC 5321 section 4.5.3.1 allows: local part 64, domain 255, path 256 octets.
    #[error("the address is {length} octets long where at most {limit} are allowed")]
    TooLong {
        /// Octets there are.
        length: usize,
        /// Octets there may be.
        limit: usize,
    },
    /// Square brackets hold no IP address, or an IP address has none.
    #[error("an IP address has to stand in square brackets, and nothing else")]
    Literal,
    /// The domain is not ASCII and has no form that is (RFC 5891 section 4).
    #[error("the domain has no ASCII form")]
    NoAsciiForm,
}

/// Characters beyond ASCII that may stand in an address: everything visible. Unicode's own line ends and spaces are not.
fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

/// `atext` of RFC 5322, and UTF-8.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
}

/// What may stand inside quotation marks, behind a backslash if need be.
fn is_quoted_text(c: char) -> bool {
    matches!(c, ' '..='~') || is_utf8_text(c)
}

/// The text between angle brackets, if there are any.
pub(super) fn without_brackets(text: &str) -> Result<&str, AddressError> {
    match text.strip_prefix('<') {
        Some(inner) => inner.strip_suffix('>').ok_or(AddressError::Unclosed),
        None => Ok(text),
    }
}

fn at_most(limit: usize, length: usize) -> Result<(), AddressError> {
    if length > limit { Err(AddressError::TooLong { length, limit }) } else { Ok(()) }
}

/// Reads a mailbox and gives its canonical text: no route, no brackets, no needless quoting.
pub(super) fn mailbox(text: &str) -> Result<Arc<str>, AddressError> {
    let bracketed = without_brackets(text)?;
    let bare = without_route(bracketed);
    if bare.is_empty() {
        return Err(AddressError::Empty);
    }
    let offset_of = |rest: &str| bare.len() - rest.len() + (text.len() - bare.len() - usize::from(text != bracketed));
    let (local, rest) = local_part(bare).map_err(|rest| match rest {
        Some(rest) => AddressError::Character { offset: offset_of(rest) },
        None => AddressError::Unclosed,
    })?;
    let domain = match rest.strip_prefix('@') {
        Some(domain) if !domain.is_empty() => domain,
        _ if rest.is_empty() || rest == "@" => return Err(AddressError::NoDomain),
        _ => return Err(AddressError::Character { offset: offset_of(rest) }),
    };
    if domain.starts_with('[') {
        literal(domain)?;
    } else if let Some(index) = bad_domain_character(domain, is_utf8_text) {
        return Err(AddressError::Character { offset: offset_of(domain) + index });
    }
    at_most(LOCAL_PART, local.len())?;
    at_most(DOMAIN, domain.len())?;
    at_most(PATH, local.len() + domain.len() + "<@>".len())?;
    let mut canonical = local;
    canonical.push('@');
    canonical.push_str(domain);
    Ok(canonical.into())
}

/// Drops a source route such as `@a.example,@b.example:` (RFC 5321 appendix C). What it holds does not matter, as it goes.
fn without_route(text: &str) -> &str {
    match text.split_once(':') {
        Some((route, rest)) if route.starts_with('@') && !route.contains(['"', ' ']) => rest,
        _ => text,
    }
}

/// Splits off the local part in its minimal quoting. Errors are the text from the offending character on, or `None` when
/// a quotation mark is not closed.
fn local_part(text: &str) -> Result<(String, &str), Option<&str>> {
    let Some(mut rest) = text.strip_prefix('"') else {
        return dot_string(text);
    };
    let mut content = String::new();
    loop {
        let mut chars = rest.chars();
        match chars.next().ok_or(None)? {
            '"' => return Ok((minimally_quoted(&content), chars.as_str())),
            '\\' => match chars.next().ok_or(None)? {
                c if is_quoted_text(c) => content.push(c),
                _ => return Err(Some(rest)),
            },
            c if is_quoted_text(c) => content.push(c),
            _ => return Err(Some(rest)),
        }
        rest = chars.as_str();
    }
}

fn dot_string(text: &str) -> Result<(String, &str), Option<&str>> {
    let end = text.find(|c| !(is_atext(c) || c == '.')).unwrap_or(text.len());
    let (local, rest) = text.split_at(end);
    // An empty atom: at the start, between two dots, or after the last one.
    let empty_atom = if local.is_empty() || local.starts_with('.') {
        Some(0)
    } else if let Some(index) = local.find("..") {
        Some(index + 1)
    } else {
        local.ends_with('.').then_some(local.len() - 1)
    };
    match empty_atom {
        Some(index) => Err(text.get(index..)),
        None => Ok((local.into(), rest)),
    }
}

/// `content` as a local part, quoted only where it has to be (RFC 5321 section 4.1.2).
fn minimally_quoted(content: &str) -> String {
    if matches!(dot_string(content), Ok((_, ""))) {
        return content.into();
    }
    let mut quoted = String::with_capacity(content.len() + 2);
    quoted.push('"');
    for c in content.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// The index of the first character that makes `domain` no sequence of dot-separated labels of letters, digits and inner
/// hyphens, at most 63 octets each; characters beyond ASCII as `beyond_ascii` says.
pub(super) fn bad_domain_character(domain: &str, beyond_ascii: impl Fn(char) -> bool) -> Option<usize> {
    let mut start = 0;
    for label in domain.split('.') {
        let bad = label.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || beyond_ascii(c)));
        if let Some(index) = bad {
            return Some(start + index);
        }
        // How long a label is that is not ASCII, its A-label says.
        if label.is_empty() || label.starts_with('-') || label.is_ascii() && label.len() > 63 {
            return Some(start);
        }
        if label.ends_with('-') {
            return Some(start + label.len() - 1);
        }
        start += label.len() + 1;
    }
    None
}

/// Checks `[192.0.2.1]`, `[IPv6:2001:db8::1]` or `[tag:text]` (RFC 5321 section 4.1.3).
pub(super) fn literal(text: &str) -> Result<(), AddressError> {
    let content = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(AddressError::Unclosed)?;
    let valid = match content.split_once(':') {
        None => content.parse::<Ipv4Addr>().is_ok(),
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => address.parse::<Ipv6Addr>().is_ok(),
        Some((tag, rest)) => {
            bad_domain_character(tag, |_| false).is_none()
                && !tag.contains('.')
                && !rest.is_empty()
                // The grammar allows angle brackets and quotation marks too, by which some server would mistake the path's end.
                && rest.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>[\\]".contains(&octet))
        }
    };
    if valid { Ok(()) } else { Err(AddressError::Literal) }
}

/// A mailbox with its domain in A-labels, or `None` when nothing has to change. The local part stays as it is, for only the
/// server it belongs to knows what it means.
#[cfg(feature = "idna")]
pub(super) fn with_ascii_domain(mailbox_text: &str) -> Result<Option<Arc<str>>, AddressError> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

    // A domain holds no `@`, a quoted local part may.
    let Some((local, domain)) = mailbox_text.rsplit_once('@').filter(|(_, domain)| !domain.is_ascii()) else {
        return Ok(None);
    };
    let ascii = Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| AddressError::NoAsciiForm)?;
    // A-labels are longer than what they stand for, so that the limits have to be met again.
    mailbox(&alloc::format!("{local}@{ascii}")).map(Some)
}

/// Checks only that `text` stays one path within one command line.
pub(super) fn relaxed(text: &str) -> Result<Arc<str>, AddressError> {
    let bare = without_brackets(text)?;
    if bare.is_empty() {
        return Err(AddressError::Empty);
    }
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in bare.char_indices() {
        let allowed = match c {
            '<' | '>' | ' ' => quoted,
            _ => is_quoted_text(c),
        };
        if !allowed {
            return Err(AddressError::Character { offset: index + usize::from(text != bare) });
        }
        match c {
            _ if escaped => escaped = false,
            '"' => quoted = !quoted,
            '\\' => escaped = quoted,
            _ => {}
        }
    }
    if quoted { Err(AddressError::Unclosed) } else { Ok(bare.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn canonical(text: &str) -> Option<String> {
        mailbox(text).ok().map(|mailbox| (*mailbox).into())
    }

    // C-49, C-28: the forms that are mailboxes, with letter case and needed quoting kept.
    #[test]
    fn mailboxes_and_their_canonical_form() {
        for (text, expected) in [
            ("a@b", "a@b"),
            ("<MiXed@Ex.Org>", "MiXed@Ex.Org"),
            ("a.b+c!#$%&'*/=?^_`{|}~-@x-1.example", "a.b+c!#$%&'*/=?^_`{|}~-@x-1.example"),
            ("\"a b\"@c", "\"a b\"@c"),
            ("\"joe\"@c", "joe@c"),
            ("\"a\\b\"@c", "ab@c"),
            ("\"a\\\"b\\\\\"@c", "\"a\\\"b\\\\\"@c"),
            ("\"\"@c", "\"\"@c"),
            ("\".a\"@c", "\".a\"@c"),
            ("\"<>\"@c", "\"<>\"@c"),
            ("<@relay.example,@[192.0.2.1]:a@b>", "a@b"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
            ("a@[x-tag:any!thing]", "a@[x-tag:any!thing]"),
            ("δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@παράδειγμα.δοκιμή"),
            ("不@例.example", "不@例.example"),
            ("a@例例例例例例例例例例例例例例例例例例例例例例", "a@例例例例例例例例例例例例例例例例例例例例例例"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    // C-49: what is wrong, and where.
    #[test]
    fn faults_are_found_where_they_are() {
        let at = |offset| AddressError::Character { offset };
        for (text, strict, relaxed) in [
            ("a@", Some(AddressError::NoDomain), None),
            ("<a@>", Some(AddressError::NoDomain), None),
            ("ab.@c", Some(at(2)), None),
            ("ab..c@d", Some(at(3)), None),
            ("a@b-.c", Some(at(3)), None),
            ("a@b._", Some(at(4)), None),
            ("a b@c", Some(at(1)), Some(at(1))),
            ("<a b@c>", Some(at(2)), Some(at(2))),
            ("<@x:a b@c>", Some(at(5)), Some(at(5))),
            ("\"a b@c", Some(AddressError::Unclosed), Some(AddressError::Unclosed)),
        ] {
            assert_eq!(mailbox(text).err(), strict, "{text}");
            assert_eq!(super::relaxed(text).err(), relaxed, "{text}");
        }
    }

    // C-49, S-20, S-21: the forms that are not.
    #[test]
    fn texts_that_are_no_mailbox() {
        for text in [
            "",
            "<>",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "<a@b",
            "a@b>",
            "<a@b> SIZE=1",
            "a@b> SIZE=1",
            "a b@c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a@.b",
            "a@b.",
            "a@b..c",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a@b c",
            "\"a@b",
            "\"a\"b@c",
            "\"a\\",
            "a<b@c",
            "a@<b",
            "a@[192.0.2]",
            "a@[192.0.2.1",
            "a@[IPv6:x]",
            "a@[]",
            "a@[tag:]",
            "a@[tag:a]b]",
            "a@[tag:a>b]",
            "a@[tag:<]",
            "a@[tag:\"]",
            "a\\b@c",
            "a@b\u{2028}",
            "joe@x (comment)",
            "Joe <joe@x>",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
        for c in (0..=0x1f).chain([0x7f, 0x80, 0x85, 0xa0, 0x2028, 0x2029]).filter_map(char::from_u32) {
            for text in [
                format!("a{c}b@c"),
                format!("a@b{c}c"),
                format!("\"a{c}\"@b"),
                format!("\"\\{c}\"@b"),
                format!("a@b{c}"),
            ] {
                assert_eq!(canonical(&text), None, "{text:?}");
                assert!(relaxed(&text).is_err(), "{text:?}");
            }
        }
    }

    // C-50: octets, not characters; each part has its own limit.
    #[test]
    fn lengths() {
        let domain = |length: usize| format!("{}{}", "b23456789.".repeat(length / 10), &"c23456789"[..length % 10]);
        let local = "a".repeat(64);
        assert!(mailbox(&format!("{local}@b")).is_ok());
        assert_eq!(mailbox(&format!("{local}a@b")), Err(AddressError::TooLong { length: 65, limit: 64 }));
        assert_eq!(mailbox(&format!("{}@b", "é".repeat(33))), Err(AddressError::TooLong { length: 66, limit: 64 }));
        assert!(mailbox(&format!("a@{}", domain(252))).is_ok());
        assert_eq!(mailbox(&format!("a@{}", domain(253))), Err(AddressError::TooLong { length: 257, limit: 256 }));
        assert_eq!(mailbox(&format!("a@{}", domain(256))), Err(AddressError::TooLong { length: 256, limit: 255 }));
        assert!(relaxed(&format!("{local}a@{}", domain(299))).is_ok());
        assert!(mailbox(&format!("a@{}", "b".repeat(64))).is_err());
    }

    // The offset points into the text as it was given.
    #[test]
    fn errors_point_at_the_character() {
        for (text, offset) in
            [("a b@c", 1), ("<a b@c>", 2), ("a@b_c", 3), ("<@r:a@b_c>", 7), ("a..b@c", 2), ("\"a\"b@c", 3)]
        {
            assert_eq!(mailbox(text), Err(AddressError::Character { offset }), "{text}");
        }
        assert_eq!(mailbox("a"), Err(AddressError::NoDomain));
        assert_eq!(mailbox("\"a"), Err(AddressError::Unclosed));
    }

    // The relaxed form is verbatim, and still one path.
    #[test]
    fn relaxed_paths() {
        for text in ["user", "a@b_c", "\"a <> b\"@c", "\"\\\"\"@c", "a..b@c", "a\"b c\"d"] {
            assert_eq!(relaxed(text).as_deref(), Ok(text));
        }
        for text in ["", "a b", "a>b", "<a", "\"a", "\"\\\"", "a\\\" b", "a\tb"] {
            assert!(relaxed(text).is_err(), "{text}");
        }
    }
}
