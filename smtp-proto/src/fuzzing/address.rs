//! Addresses, and the xtext that carries them in parameters.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::both_ways;
use crate::{ForwardPath, HelloName, ReversePath, xtext as library};

const WORDS: &[&str] = &[
    "a",
    "B",
    "user",
    "@",
    "@",
    "example",
    ".org",
    ".",
    "..",
    "\"",
    "\\",
    " ",
    "<",
    ">",
    "[",
    "]",
    ":",
    ",",
    "-",
    "_",
    "+",
    "127.0.0.1",
    "IPv6:",
    "::1",
    "é",
    "\u{a0}",
    "\u{200b}",
    "\r\n",
    "\0",
    "\u{7f}",
    "postmaster",
    "(c)",
    "xn--a",
];

/// A text is a mailbox exactly if the grammar of RFC 5321 section 4.1.2 says so. What is kept of it means the same, is read
/// as the same again, and holds nothing that could end its command or its brackets.
pub fn addresses(data: &[u8]) {
    both_ways(data, WORDS, |octets| {
        let Ok(text) = core::str::from_utf8(octets) else { return };
        let expected = bare(text).and_then(mailbox);
        let (forward, reverse) = (ForwardPath::parse(text), ReversePath::parse(text));
        let inner = text.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(text);
        let is_postmaster = inner.eq_ignore_ascii_case("postmaster");
        let is_null = matches!(text, "" | "<>");
        assert_eq!(forward.is_ok(), expected.is_some() || is_postmaster, "{text:?}");
        assert_eq!(reverse.is_ok(), expected.is_some() || is_null, "{text:?}");
        if let Ok(path) = &forward {
            check_path(path.as_str());
            assert_eq!(ForwardPath::parse(path.as_str()).as_ref(), Ok(path));
            assert_eq!(ForwardPath::parse_relaxed(path.as_str()).as_ref(), Ok(path));
            assert_eq!(path.domain().map(String::from), expected.as_ref().map(|(_, domain)| domain.clone()));
            assert_eq!(bare(path.as_str()).and_then(mailbox), expected);
            let shown = path.to_string();
            assert!(!shown.chars().any(|c| c.is_control() || c == '\u{200b}'), "{shown:?}");
        }
        if let (Ok(forward), Ok(reverse), false) = (&forward, &reverse, is_null) {
            assert_eq!(forward.as_str(), reverse.as_str());
        }
        for path in [ForwardPath::parse_relaxed(text)].iter().flatten() {
            check_path(path.as_str());
            assert_eq!(path.as_str(), inner);
        }
        let is_name = !text.is_empty() && text.len() <= 255 && text.is_ascii() && domain(text);
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_number = text.contains('.') && last.bytes().all(|octet| octet.is_ascii_digit());
        assert_eq!(HelloName::parse(text).is_ok(), is_name && !is_number, "{text:?}");
        #[cfg(feature = "idna")]
        check_ascii(forward.ok());
    });
}

/// What is to be read: without angle brackets and without a source route.
fn bare(text: &str) -> Option<&str> {
    let inner = match text.strip_prefix('<') {
        Some(inner) => inner.strip_suffix('>')?,
        None => text,
    };
    match inner.split_once(':') {
        Some((route, rest)) if inner.starts_with('@') => (!route.contains(['"', ' '])).then_some(rest),
        _ => Some(inner),
    }
}

fn beyond_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

fn is_dot_string(text: &str) -> bool {
    let is_atext = |c: char| beyond_ascii(c) || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// What the local part of a mailbox means, and the domain.
fn mailbox(text: &str) -> Option<(String, String)> {
    let (meaning, domain_text) = if let Some(quoted) = text.strip_prefix('"') {
        let mut meaning = String::new();
        let mut chars = quoted.chars();
        loop {
            let c = match chars.next()? {
                '"' => break,
                '\\' => chars.next()?,
                c => c,
            };
            if !(beyond_ascii(c) || matches!(c, ' '..='~')) {
                return None;
            }
            meaning.push(c);
        }
        (meaning, chars.as_str().strip_prefix('@')?)
    } else {
        let (local, domain) = text.split_once('@')?;
        is_dot_string(local).then_some((local.into(), domain))?
    };
    let escapes = meaning.chars().filter(|c| matches!(c, '"' | '\\')).count();
    let length = meaning.len() + if is_dot_string(&meaning) { 0 } else { 2 + escapes };
    let fits = length <= 64 && domain_text.len() <= 255 && length + domain_text.len() + 3 <= 256;
    (fits && domain(domain_text)).then(|| (meaning, domain_text.into()))
}

fn domain(text: &str) -> bool {
    let is_label = |label: &str, wider: bool| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && (label.len() <= 63 || !label.is_ascii())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || wider && beyond_ascii(c))
    };
    let Some(literal) = text.strip_prefix('[') else { return text.split('.').all(|label| is_label(label, true)) };
    let Some(literal) = literal.strip_suffix(']') else { return false };
    match literal.split_once(':') {
        None => literal.parse::<Ipv4Addr>().is_ok(),
        Some((tag, address)) if tag.to_lowercase() == "ipv6" => address.parse::<Ipv6Addr>().is_ok(),
        Some((tag, rest)) => {
            let is_dtext = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '[' | '\\' | ']' | '<' | '>');
            is_label(tag, false) && !rest.is_empty() && rest.chars().all(is_dtext)
        }
    }
}

/// No control character anywhere, and no bracket or space but within quotation marks.
fn check_path(path: &str) {
    let mut quoted = false;
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        assert!(!c.is_control() && (quoted || !matches!(c, '<' | '>' | ' ')), "{path:?}");
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => assert!(chars.next().is_some_and(|c| !c.is_control()), "{path:?}"),
            _ => {}
        }
    }
    assert!(!quoted, "{path:?}");
}

/// The form for servers without SMTPUTF8 has the same local part and is a mailbox.
#[cfg(feature = "idna")]
fn check_ascii(path: Option<ForwardPath>) {
    let Some(path) = path else { return };
    let Ok(ascii) = path.to_ascii() else { return };
    assert_eq!(ForwardPath::parse(ascii.as_str()).as_ref(), Ok(&ascii));
    assert!(ascii.domain().is_none_or(str::is_ascii));
    let local = |path: &ForwardPath| path.domain().map(|domain| path.as_str().len() - domain.len());
    assert_eq!(local(&ascii), local(&path));
    assert!(path.domain().is_none_or(|domain| !domain.is_ascii()) || ascii == path);
}

const ESCAPES: &[&str] =
    &["+", "+", "4", "1", "a", "F", "g", "=", " ", "+41", "+2B", "+ff", "x", "~", "\r\n", "\0", "é"];

/// What is written is printable, without `=`, and read back as the same; what can be read is what the grammar of RFC 3461
/// section 4 says, and nothing else can.
pub fn xtext(data: &[u8]) {
    both_ways(data, ESCAPES, |octets| {
        let written = library::encode(octets);
        assert!(written.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'='), "{written:?}");
        assert_eq!(written.len() - octets.len(), written.bytes().filter(|octet| *octet == b'+').count() * 2);
        assert_eq!(library::decode(&written).as_deref(), Ok(octets));
        assert_eq!(read(&written).as_deref(), Some(octets));
        let Ok(text) = core::str::from_utf8(octets) else { return };
        assert_eq!(library::decode(text).ok(), read(text));
    });
}

/// Splits at each `+`, behind which the two digits stand.
fn read(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('+');
    let mut octets = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| !digits.starts_with('+'))?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend_from_slice(&part.as_bytes()[2..]);
    }
    let plain = |part: &str| part.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'=');
    text.split('+').all(plain).then_some(octets)
}
