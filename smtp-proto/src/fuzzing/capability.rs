//! What servers say of themselves: extensions, and enhanced status codes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::both_ways;
use crate::{Capabilities, EnhancedCode, Extension, ReplyLimits, parse_reply};

const KEYWORDS: &[&str] = &[
    "250-",
    "\r\n250-",
    "\r\n250-",
    "\r\n",
    "SIZE",
    "size",
    "AUTH",
    "Auth",
    "=",
    " ",
    " ",
    "\t",
    "PLAIN",
    "login",
    "SCRAM-SHA-256-PLUS",
    "STARTTLS",
    "STARTTLSX",
    "PIPELINING",
    "LIMITS ",
    "RCPTMAX=",
    "MAILMAX=",
    "DELIVERBY ",
    "FUTURERELEASE ",
    "MT-PRIORITY ",
    "8BITMIME",
    "-",
    "_",
    "1000",
    "99999999999999999999",
    "0",
    ",",
    "é",
    "\u{a0}",
    "x",
];

/// Whatever a server says to EHLO, what is read from it is what stands there: the keywords by whole words, in order, with
/// their parameters; the size as a number; each mechanism once.
pub fn capabilities(data: &[u8]) {
    // The end of the reply is given, as the fuzzer would rarely find it.
    both_ways(data, KEYWORDS, |text| {
        let reply = [b"250-", text, b"\r\n250 x\r\n"].concat();
        let Ok(Some((reply, _))) = parse_reply(&reply, &ReplyLimits::default()) else { return };
        let offered = Capabilities::from_reply(&reply.to_owned());
        let expected: Vec<(&str, &str)> = reply.lines().skip(1).filter_map(keyword).collect();
        assert!(offered.iter().eq(expected.iter().copied()), "{offered:?} {expected:?}");
        for (name, _) in &expected {
            let last = expected.iter().rev().find(|(other, _)| other.eq_ignore_ascii_case(name));
            assert_eq!(offered.parameters(&name.to_ascii_lowercase()), last.map(|(_, parameters)| *parameters));
        }
        assert!(!offered.has("") && !offered.has("x-not-offered"));
        assert_eq!(offered.size_limit(), size(offered.parameters("SIZE")));
        check_mechanisms(&offered, &expected);
        check_others(&offered);
    });
}

/// The keyword of a line and its parameters, by the words of the line.
fn keyword(line: &[u8]) -> Option<(&str, &str)> {
    let line = core::str::from_utf8(line).ok()?;
    let first = line.split([' ', '\t', '\r']).next()?;
    let (name, glued) = match first.split_once('=') {
        Some((name, _)) => (name, true),
        None => (first, false),
    };
    let is_name = !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-'));
    if !is_name || glued && name.to_uppercase() != "AUTH" {
        return None;
    }
    Some((name, line[name.len() + usize::from(glued)..].trim()))
}

fn size(parameters: Option<&str>) -> Option<u64> {
    let digits = parameters?.split_ascii_whitespace().next()?;
    let mut number: u64 = 0;
    for digit in digits.chars() {
        number = number.saturating_mul(10).saturating_add(u64::from(digit.to_digit(10)?));
    }
    Some(number).filter(|number| *number > 0)
}

fn check_mechanisms(offered: &Capabilities, lines: &[(&str, &str)]) {
    let auth: Vec<&str> =
        lines.iter().filter(|(name, _)| name.to_uppercase() == "AUTH").map(|(_, parameters)| *parameters).collect();
    assert_eq!(offered.supports(Extension::Auth), !auth.is_empty());
    let mut expected: Vec<String> = Vec::new();
    for word in auth.iter().flat_map(|parameters| parameters.split_ascii_whitespace()).take(64) {
        let fits = (1..=20).contains(&word.len())
            && word.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_'));
        if fits && !expected.contains(&word.to_uppercase()) {
            expected.push(word.to_uppercase());
        }
    }
    let found: Vec<String> = offered.auth_mechanisms().map(str::to_uppercase).collect();
    assert_eq!(found, expected);
}

/// Numbers within what their RFCs allow.
fn check_others(offered: &Capabilities) {
    if let Some(limits) = offered.limits() {
        let known = [limits.mail_max(), limits.rcpt_max(), limits.rcpt_domain_max()];
        assert!(known.into_iter().flatten().all(|limit| (1..=999_999).contains(&limit)));
        assert!(known.into_iter().flatten().count() <= limits.iter().count());
    }
    assert!(offered.deliver_by_minimum().is_none() || offered.has("DELIVERBY"));
    assert!(offered.future_release().is_none() || offered.has("FUTURERELEASE"));
    assert!(offered.priority_profile().is_none_or(|profile| !profile.contains(' ')));
    assert!(offered.server_name().is_none_or(|name| !name.is_empty()));
}

const DIGITS: &[&str] = &["2", "4", "5", ".", ".", "0", "1", "7", "9", "10", "3", " ", "\r\n", "-", "+", "x", "٢"];

/// A text is an enhanced status code exactly if RFC 3463 section 2 says so; it prints as it was read; and a reply has one
/// only if it is of the same class as the reply's code.
pub fn enhanced_code(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else { return };
    both_ways(text, DIGITS, |text| {
        let read = EnhancedCode::parse(text);
        assert_eq!(read.map(|code| (code.class().into(), code.subject(), code.detail())), numbers(text));
        if let Some(code) = read {
            assert_eq!(code.to_string().as_bytes(), text);
        }
        let severity = 2 + choice % 4;
        let line = [format!("{severity}{:02} ", choice / 4).as_bytes(), text, b"\r\n"].concat();
        let Ok(Some((reply, _))) = parse_reply(&line, &ReplyLimits::default()) else { return };
        let first = reply.lines().next().unwrap_or_default();
        let word = first.split(|&octet| octet == b' ').next().unwrap_or_default();
        let expected = numbers(word).filter(|(class, ..)| *class == u16::from(severity));
        for enhanced in [reply.enhanced(), reply.to_owned().enhanced()] {
            assert_eq!(enhanced.map(|code| (code.class().into(), code.subject(), code.detail())), expected);
        }
    });
}

/// Three numbers between two dots, each written as it would be printed.
pub(crate) fn numbers(text: &[u8]) -> Option<(u16, u16, u16)> {
    let text = core::str::from_utf8(text).ok()?;
    let numbers: Vec<u16> = text
        .split('.')
        .map(|part| part.parse().ok().filter(|number: &u16| *number < 1000 && number.to_string() == part))
        .collect::<Option<_>>()?;
    match numbers[..] {
        [class @ (2 | 4 | 5), subject, detail] => Some((class, subject, detail)),
        _ => None,
    }
}
