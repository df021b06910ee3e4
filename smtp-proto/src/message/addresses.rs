//! The addresses in one header field.
//!
//! `mailparse` reads lists, groups, display names and angle brackets. What it does not know of RFC 5322 is smoothed out
//! before: nested comments, quoted local parts and address literals without angle brackets, separators inside quoted names,
//! and empty elements of a list. What comes out of it are texts to be checked, not addresses: [`crate::ForwardPath::parse`]
//! decides.

use alloc::string::String;
use alloc::vec::Vec;

use mailparse::{MailAddr, SingleInfo};

use super::error::{self, MessageError};
use super::fields::Field;

/// The addresses in a field, in order, groups expanded.
pub(super) fn read(field: &Field<'_>) -> Result<Vec<String>, MessageError> {
    let unreadable = || MessageError::NotAddresses { header: field.name.into(), text: error::excerpt(field.value()) };
    // Addresses are ASCII or UTF-8 (RFC 6532 section 3.1); in a name, anything may stand for what is neither.
    let value = String::from_utf8_lossy(field.value());
    let lossy = matches!(value, alloc::borrow::Cow::Owned(_));
    let value = smooth(&value).ok_or_else(unreadable)?;
    let list = mailparse::addrparse(&value).map_err(|_| unreadable())?;
    let mut addresses = Vec::new();
    for entry in list.into_inner() {
        match entry {
            MailAddr::Single(single) => addresses.push(single),
            MailAddr::Group(group) => addresses.extend(group.addrs),
        }
    }
    let addresses = addresses.into_iter().map(|SingleInfo { addr, .. }| without_space(&addr));
    let addresses: Vec<String> = addresses.collect();
    if lossy && addresses.iter().any(|address| address.contains(char::REPLACEMENT_CHARACTER)) {
        return Err(unreadable());
    }
    Ok(addresses)
}

/// Where a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    /// Within quotation marks, which go back to that place.
    Quoted {
        in_angle: bool,
    },
    Angle,
    /// Within that many comments, which go back to that place.
    Comment {
        depth: usize,
        in_angle: bool,
    },
}

impl Place {
    const fn outside(in_angle: bool) -> Self {
        if in_angle { Self::Angle } else { Self::Plain }
    }
}

/// Makes of a field's value what `mailparse` reads rightly: one line, comments as a space, quoted names emptied,
/// quoted local parts and address literals within angle brackets, no empty elements. `None` if something does not close.
fn smooth(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len() + 2);
    let mut place = Place::Plain;
    // Where the element began that is being read, unless it has come to brackets; whether those are ours and open.
    let (mut element, mut bracket) = (None, false);
    // Nothing has come since the last separator. A quoted string began there, and whether the element did too.
    let (mut fresh, mut quote) = (true, None);
    let mut chars = value.chars().filter(|c| !matches!(c, '\r' | '\n')).peekable();
    while let Some(c) = chars.next() {
        match place {
            Place::Plain => {
                if bracket && matches!(c, ',' | ';' | '(' | ' ' | '\t') {
                    out.push('>');
                    bracket = false;
                }
                let was_fresh = fresh;
                fresh = match c {
                    ',' if fresh => continue,
                    ':' if bracket => false,
                    ',' | ';' | ':' => true,
                    '(' | ' ' | '\t' => fresh,
                    _ => false,
                };
                if was_fresh {
                    element = (!fresh).then_some(out.len());
                }
                match c {
                    '(' => {
                        place = Place::Comment { depth: 1, in_angle: false };
                        continue;
                    }
                    '"' => {
                        quote = Some((out.len(), was_fresh));
                        place = Place::Quoted { in_angle: false };
                    }
                    '[' if !bracket && out.ends_with('@') => {
                        if let Some(start) = element.take() {
                            out.insert(start, '<');
                            bracket = true;
                        }
                    }
                    '<' => place = Place::Angle,
                    _ => {}
                }
                out.push(c);
            }
            Place::Angle => match c {
                '(' => place = Place::Comment { depth: 1, in_angle: true },
                '"' => {
                    place = Place::Quoted { in_angle: true };
                    out.push(c);
                }
                _ => {
                    if c == '>' {
                        place = Place::Plain;
                    }
                    out.push(c);
                }
            },
            Place::Quoted { in_angle } => {
                out.push(c);
                if c == '\\' {
                    out.push(chars.next()?);
                } else if c == '"' {
                    place = Place::outside(in_angle);
                    match quote.take() {
                        Some((start, true)) if chars.peek() == Some(&'@') => {
                            out.insert(start, '<');
                            (element, bracket) = (None, true);
                        }
                        Some((start, _)) if chars.peek() != Some(&'@') => {
                            out.truncate(start);
                            out.push_str("\"\"");
                        }
                        _ => {}
                    }
                }
            }
            Place::Comment { depth, in_angle } => match c {
                '\\' => drop(chars.next()?),
                '(' => place = Place::Comment { depth: depth + 1, in_angle },
                ')' if depth > 1 => place = Place::Comment { depth: depth - 1, in_angle },
                ')' => {
                    place = Place::outside(in_angle);
                    out.push(' ');
                }
                _ => {}
            },
        }
    }
    if bracket {
        out.push('>');
    }
    (place == Place::Plain).then_some(out)
}

/// An address without the white space that may surround its dots and its `@` (RFC 5322 section 4.4), where comments stood.
/// What stands elsewhere stays and makes it no address.
fn without_space(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    let mut quoted = false;
    let mut chars = address.trim_matches([' ', '\t']).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                out.push(c);
                out.extend(chars.next());
                continue;
            }
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                while chars.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
                if out.ends_with(['.', '@']) || matches!(chars.peek(), Some('.' | '@')) {
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ForwardPath;
    use crate::message::fields;
    use alloc::format;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    /// What is read, checked, or `None`.
    fn addresses(value: &str) -> Option<Vec<String>> {
        let text = format!("To: {value}\r\n");
        let fields = fields::split(text.as_bytes()).unwrap();
        let [field] = fields.as_slice() else { panic!("{value:?}") };
        let addresses = read(field).ok()?;
        addresses.iter().map(|text| Some(ForwardPath::parse(text).ok()?.as_str().into())).collect()
    }

    // C-49: names, comments, quotes, groups and folding, as RFC 5322 has them and as it had them.
    #[test]
    fn lists_of_addresses() {
        for (value, expected) in [
            ("", &[][..]),
            ("a@b.example", &["a@b.example"]),
            (" <a@b.example> ", &["a@b.example"]),
            ("A B <a@b>, c@d,\r\n\te@f", &["a@b", "c@d", "e@f"]),
            ("\"Last, First\" <a@b>, \"x@y\" <c@d>", &["a@b", "c@d"]),
            ("First \"Nick, or so\" Last <a@b>", &["a@b"]),
            ("\"a \\\"b\\\" <x@y>\" <a@b>", &["a@b"]),
            ("=?utf-8?q?x=40y=2C_z?= <a@b>, =?utf-8?B?w6Q=?= <c@d>", &["a@b", "c@d"]),
            ("[List] x <a@b>, y [z] <c@d>", &["a@b", "c@d"]),
            ("Jörg <a@b>, ö@d", &["a@b", "ö@d"]),
            ("\"john doe\"@a.example, <\"a\\\"@b\"@c>", &["\"john doe\"@a.example", "\"a\\\"@b\"@c"]),
            ("\"a,b\"@[IPv6:2001:db8::1];\"c\"@d", &["\"a,b\"@[IPv6:2001:db8::1]", "c@d"]),
            ("X <\"a, (b)\"@c>", &["\"a, (b)\"@c"]),
            ("joe@x (comment), (c) a@b (d (e) \\) f)", &["joe@x", "a@b"]),
            ("(a@b)", &[]),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", &["pete@silly.test"]),
            ("a . b(c)@(d)c\r\n .d", &["a.b@c.d"]),
            ("undisclosed-recipients:;", &[]),
            ("g: a@b, \"x y\"@d; , h@i", &["a@b", "\"x y\"@d", "h@i"]),
            ("\"g: h\": A <a@b>;, i:;, c@d", &["a@b", "c@d"]),
            (
                "A Group(Some people)\r\n :Chris Jones <c@(Chris's host.)public.example>,\r\n joe@example.org,\r\n \
                 John <jdoe@one.test> (my dear friend); (the end of the group)",
                &["c@public.example", "joe@example.org", "jdoe@one.test"],
            ),
            ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", &[]),
            (",, a@b,\r\n , ,c@d,,", &["a@b", "c@d"]),
            ("<@r.example,@[192.0.2.1]:a@b>", &["a@b"]),
            ("a@[IPv6:::1], g: b@[192.0.2.1](c); <c@[IPv6:::2]>", &["a@[IPv6:::1]", "b@[192.0.2.1]", "c@[IPv6:::2]"]),
        ] {
            assert_eq!(
                addresses(value).as_deref(),
                Some(&*expected.iter().map(|&text| text.into()).collect::<Vec<String>>()),
                "{value:?}"
            );
        }
    }

    // S-20, S-21: what is no list is not made one by guessing.
    #[test]
    fn lists_that_are_none() {
        for value in [
            "a",
            "postmaster",
            "<>",
            "Joe <a@b",
            "a@b <c@d",
            "a@b (c",
            "a@b, (c@d",
            "\"a@b",
            "a@b>",
            "a@b c@d",
            "a@b (c) d@e",
            "a(c)b@d",
            "a@b\r\n c@d",
            "<a@b> <c@d>",
            "<a@b> c@d",
            "a@b@c",
            "Last, First <a@b>",
            "\"q@x\"",
            "\"q@x\" (c)",
            "\"q@x\", a@b",
            "x \"a\"@b",
            // Within the grammar, but the library ends at the first `>`.
            "<\"a>b\"@c>",
            "x a@[192.0.2.1]",
            "a@[192.0.2.1] x",
            "a@[IPv6:::1",
            "[192.0.2.1]",
            "=?utf-8?q?a=40b?=",
            "=?utf-8?q?a=40b?= (c)",
            "g: h: a@b;;",
            "g: a@b",
            "a@b> SIZE=1",
            "<a@b> SIZE=1",
            "<a@b SIZE=1>",
            "a@b\u{2028}c",
            "a\\@b@c",
            "a@b.",
        ] {
            assert_eq!(addresses(value), None, "{value:?}");
        }
    }

    // Time grows with the length, not faster, whatever the field is made of.
    #[test]
    fn hostile_lists_take_their_time_once() {
        for piece in [
            "(", "\"", "<", ",", ":", "a:", "a@b,", "\"a\"@b,", "=?", "\\", "(\\)", "\"a,", ". ", "@[", "a@[ ", "@[ ",
            "a: b@c;", "\r\n ",
        ] {
            for end in ["", ")", "\"", ">", ";"] {
                let value = format!("{}{end}", piece.repeat(200_000 / piece.len()));
                let start = Instant::now();
                let _ = addresses(&value);
                assert!(start.elapsed() < Duration::from_secs(5), "{piece:?}");
            }
        }
    }

    fn mailbox() -> impl Strategy<Value = (String, String)> {
        let local = prop_oneof!["[a-z]{1,4}(\\.[a-z]{1,3})?", "\"[a-z ,;:<()@]{0,6}\"", "\"(\\\\[\"\\\\a])?x y\""];
        let domain = prop_oneof!["[a-z]{1,4}(\\.[a-z]{1,4})?", Just("[192.0.2.1]".into()), Just("[IPv6:::1]".into())];
        let shape = prop_oneof![
            Just("%"),
            Just("<%>"),
            Just("N. N <%>"),
            Just("\"x, <y@z> (\" <%>"),
            Just("a \"b;\" =?utf-8?q?=2C?= <%> (c, (d))"),
            Just("(c@d, \\)) %\r\n (e)"),
            Just("g: %;"),
            Just("\"g:\" : N\r\n\t<%>, (c) ;"),
        ];
        (local, domain, shape).prop_map(|(local, domain, shape)| {
            let address = format!("{local}@{domain}");
            (shape.replace('%', &address), address)
        })
    }

    proptest! {
        // C-49: however mailboxes are written, each is found, once, and nothing else.
        #[test]
        fn lists_are_read_back(
            mailboxes in proptest::collection::vec((mailbox(), "(\r\n)? {0,2},( \r\n ,)?\t?"), 0..6),
        ) {
            let (mut value, mut expected) = (String::new(), Vec::new());
            for ((written, address), separator) in mailboxes {
                value.push_str(&written);
                value.push_str(&separator.replace("\r\n", "\r\n "));
                expected.push(ForwardPath::parse(&address).unwrap().as_str().into());
            }
            prop_assert_eq!(addresses(&value), Some(expected), "{:?}", value);
        }
    }
}
