//! The addresses in one header field: `address-list` of RFC 5322 section 3.4, with the obsolete forms of section 4.4.
//!
//! Read here and not by a library, since those at hand lose people: `mailparse` takes whatever follows a quoted string for
//! more of the name, commas and whole addresses included, and knows no quotes within an address; others pass over what they
//! cannot read. Here, an element is a mailbox, a group or empty, or the whole field is an error. So each `@` outside quotes,
//! comments and routes is a recipient. What comes out are texts to be checked, not addresses: [`crate::ForwardPath::parse`]
//! decides.
//!
//! Beyond the RFC, `;` separates outside groups too, as Outlook has it, and names may hold words in square brackets, as
//! mailing lists have them.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::error::{self, MessageError};
use super::fields::Field;

/// The addresses in a field, in order, groups expanded.
pub(super) fn read(field: &Field<'_>) -> Result<Vec<String>, MessageError> {
    // Addresses are ASCII or UTF-8 (RFC 6532 section 3.1); in a name, anything may stand for what is neither.
    let value = String::from_utf8_lossy(field.value());
    let lossy = matches!(value, Cow::Owned(_));
    // Folds end with their line ends (RFC 5322 section 2.2.3), and a field has no others but its own.
    let value = value.replace(['\r', '\n'], "");
    let mut list = List { rest: &value, element: &value, lossy };
    list.addresses().ok_or_else(|| MessageError::NotAddresses {
        header: field.name.into(),
        text: error::excerpt(list.element.as_bytes()),
    })
}

/// What a list is made of. White space and comments only stand between tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Atom(&'a str),
    /// What is within quotation marks, with its backslashes.
    Quoted(&'a str),
    /// Square brackets and what is within.
    Literal(&'a str),
    /// One of `@ . , ; : < >`.
    Special(char),
    End,
}

/// What cannot stand in an atom. Whether the rest can stand in an address is not decided here.
fn ends_atom(c: char) -> bool {
    matches!(c, ' ' | '\t' | '(' | ')' | '<' | '>' | '[' | ']' | ':' | ';' | '@' | '\\' | ',' | '.' | '"')
}

/// A list being read. All that reads gives `None` for what cannot be read, and then nothing is read any more.
struct List<'a> {
    rest: &'a str,
    /// From the beginning of the element that is being read.
    element: &'a str,
    /// Some octets were no UTF-8 and have been replaced.
    lossy: bool,
}

impl<'a> List<'a> {
    fn addresses(&mut self) -> Option<Vec<String>> {
        let (mut addresses, mut in_group) = (Vec::new(), false);
        loop {
            self.element = self.rest;
            let (words, mut end) = self.words()?;
            match end {
                Token::Special('@') => {
                    let (address, behind) = self.address(&words)?;
                    addresses.push(address);
                    end = behind;
                }
                Token::Special('<') => {
                    addresses.push(self.angle_address()?);
                    end = self.next()?;
                }
                Token::Special(':') if !in_group && !words.is_empty() => {
                    in_group = true;
                    continue;
                }
                // An empty element (section 4.4). Words alone are nobody's address.
                _ if words.is_empty() => {}
                _ => return None,
            }
            match end {
                Token::Special(',') => {}
                Token::Special(';') => in_group = false,
                Token::End if !in_group => return Some(addresses),
                _ => return None,
            }
        }
    }

    /// Words and dots, a name or a local part, and what ends them.
    fn words(&mut self) -> Option<(Vec<Token<'a>>, Token<'a>)> {
        let mut words = Vec::new();
        loop {
            match self.next()? {
                end @ (Token::End | Token::Special('@' | ',' | ';' | ':' | '<' | '>')) => return Some((words, end)),
                word => words.push(word),
            }
        }
    }

    /// What is within angle brackets and the bracket that closes. The route goes (RFC 5321 appendix C).
    fn angle_address(&mut self) -> Option<String> {
        let (mut words, mut end) = self.words()?;
        while words.is_empty() && end == Token::Special('@') {
            let (_, mut behind) = self.domain()?;
            while behind == Token::Special(',') {
                behind = self.next()?;
            }
            match behind {
                Token::Special('@') => {}
                Token::Special(':') => {
                    (words, end) = self.words()?;
                    break;
                }
                _ => return None,
            }
        }
        match (end, self.address(&words)?) {
            (Token::Special('@'), (address, Token::Special('>'))) => Some(address),
            _ => None,
        }
    }

    /// The address whose local part the words are and whose `@` has been read, and what ends it.
    fn address(&mut self, words: &[Token<'_>]) -> Option<(String, Token<'a>)> {
        let local = local_part(words)?;
        let (domain, end) = self.domain()?;
        let address = format!("{local}@{domain}");
        (!self.lossy || !address.contains(char::REPLACEMENT_CHARACTER)).then_some((address, end))
    }

    /// Atoms with dots between them or a literal, and what ends them. White space may stand around dots only.
    fn domain(&mut self) -> Option<(String, Token<'a>)> {
        let (mut domain, mut after_dot) = (String::new(), true);
        loop {
            match self.next()? {
                Token::Special('.') => {
                    domain.push('.');
                    after_dot = true;
                }
                Token::Atom(text) | Token::Literal(text) if after_dot => {
                    domain.push_str(text);
                    after_dot = false;
                }
                end @ (Token::Special(_) | Token::End) => return Some((domain, end)),
                _ => return None,
            }
        }
    }

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_white_space()?;
        let mut chars = self.rest.chars();
        let Some(first) = chars.next() else { return Some(Token::End) };
        match first {
            '@' | '.' | ',' | ';' | ':' | '<' | '>' => {
                self.rest = chars.as_str();
                Some(Token::Special(first))
            }
            '"' => {
                let text = chars.as_str();
                let mut escaped = false;
                let end = text.find(|c| {
                    let closes = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                })?;
                self.rest = text.get(end + 1..)?;
                text.get(..end).map(Token::Quoted)
            }
            '[' => {
                // Other brackets, quotes and separators could stand in a literal, but not in one that is of use.
                let end = chars.as_str().find(|c| ends_atom(c) && !matches!(c, ' ' | '\t' | '.' | ':'))?;
                let (literal, rest) = self.rest.split_at_checked(end + "[]".len())?;
                self.rest = rest;
                literal.ends_with(']').then_some(Token::Literal(literal))
            }
            _ => {
                let end = self.rest.find(ends_atom).unwrap_or(self.rest.len());
                let (atom, rest) = self.rest.split_at_checked(end)?;
                self.rest = rest;
                // A backslash, or a bracket that closes nothing.
                (!atom.is_empty()).then_some(Token::Atom(atom))
            }
        }
    }

    /// Skips white space and comments, which may nest (section 3.2.2).
    fn skip_white_space(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        let mut chars = self.rest.chars();
        loop {
            self.rest = chars.as_str();
            match chars.next() {
                Some('(') => depth += 1,
                Some(')') if depth > 0 => depth -= 1,
                Some('\\') if depth > 0 => drop(chars.next()?),
                Some(' ' | '\t') => {}
                Some(_) if depth > 0 => {}
                _ => return (depth == 0).then_some(()),
            }
        }
    }
}

/// Words as a local part: one, or several with dots between them, quoted or not (section 4.4). Quoted ones become one quoted
/// string, which says the same and which SMTP has.
fn local_part(words: &[Token<'_>]) -> Option<String> {
    let quoted = words.iter().any(|word| matches!(word, Token::Quoted(_)));
    let (mut text, mut after_dot) = (String::new(), true);
    for &word in words {
        match word {
            // An empty atom is an error, which is found later, unless quotes would make it none.
            Token::Special('.') if !(quoted && after_dot) => {
                text.push('.');
                after_dot = true;
            }
            Token::Atom(word) | Token::Quoted(word) if after_dot => {
                text.push_str(word);
                after_dot = false;
            }
            _ => return None,
        }
    }
    match (words, quoted) {
        ([], _) => None,
        (_, true) => (!after_dot).then(|| format!("\"{text}\"")),
        (_, false) => Some(text),
    }
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
        checked(field)
    }

    fn checked(field: &Field<'_>) -> Option<Vec<String>> {
        read(field).ok()?.iter().map(|text| Some(ForwardPath::parse(text).ok()?.as_str().into())).collect()
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
            ("<@r.example , , (c) @s: (d) a@b>", &["a@b"]),
            ("<\"a>b\"@c>, <\"@r:a\"@b>", &["\"a>b\"@c", "\"@r:a\"@b"]),
            ("\"john doe\" @x.example, D <d@e.example>", &["\"john doe\"@x.example", "d@e.example"]),
            ("\"john\r\n doe\"\r\n @x.example, D <d@e.example>", &["\"john doe\"@x.example", "d@e.example"]),
            ("\"john doe\"(c)@x.example; D <d@e.example>", &["\"john doe\"@x.example", "d@e.example"]),
            ("<\"john doe\" @x.example>, D <d@e.example>", &["\"john doe\"@x.example", "d@e.example"]),
            ("\"john\".\"doe\"@x.example, D <d@e.example>", &["john.doe@x.example", "d@e.example"]),
            ("\"john\" . doe@x.example, D <d@e.example>", &["john.doe@x.example", "d@e.example"]),
            ("j.\"\\\"d, e\"(c).f@x.example", &["\"j.\\\"d, e.f\"@x.example"]),
            ("g: a@b; c@d", &["a@b", "c@d"]),
            ("[My list] \"x\"y. z <a@b>", &["a@b"]),
            ("J\u{a0}D <a@b>", &["a@b"]),
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
            "a@x y",
            "a@x )",
            ") a@x",
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
            "a@b\u{a0}",
            "a@b.example\u{3000}",
            "\u{a0}a@b, c@d",
            // Words that are nobody's address, before somebody whose address it is.
            "\"b@x.example\", c@x.example, D <d@e.example>",
            "\"b@x.example\"; c@x.example; D <d@e.example>",
            "\"Joe\", b@x.example, g: d@e.example;",
            "g: \"Joe\", b@x.example, D <d@e.example>;",
            "a@b,\"c\" (x) , e@f, G <h@i>",
            "\"secret one\", secret2@x.example, S <s3@x.example>",
            "\"Boss\", real@me.example, X <other@evil.example>",
            "Joe \"<evil@e.example>, z\"@home <joe@l.example>",
            "x \"a(b\"@c, d@e, y \")\"@q <k@l>",
            // An `@` in a name.
            "a@b.example, c@d.example: e@f.example;",
            "a@b.example: c@d.example;",
            "a@b (c) <c@d>",
            "\"a\"@b <c@d>",
            "x@y g: a@b;",
            "[a@b] <c@d>",
            // Local parts with something else than dots between their words.
            "\"a\"b@c",
            "a\"b\"@c",
            "\"a\" \"b\"@c",
            "\"a\"..b@c",
            ".\"a\"@c",
            "\"a\".@c",
            "\"a\".[b]@c",
            "..@c",
            "a@\"b\"",
            "a@[192.0.2.1].b",
            "a@b.[192.0.2.1]",
            "a@[192.0.2.1] [192.0.2.2]",
            "<@r a@b>",
            "<@r:@s:a@b>",
            "<@r,a@b>",
            "<x@r:a@b>",
            "@r:a@b",
            "<<a@b>>",
            "<a@b, c@d>",
            "<a@b>, <c@d>>",
            ": a@b;",
            "g: a@b;;:",
            "a@b )c(",
            "(a\\",
            "(a\\) <a@b>",
        ] {
            assert_eq!(addresses(value), None, "{value:?}");
        }
    }

    // Time grows with the length, not faster, whatever the field is made of.
    #[test]
    #[cfg_attr(miri, ignore = "large on purpose")]
    fn hostile_lists_take_their_time_once() {
        for piece in [
            "(", "\"", "<", ",", ":", "a:", "a@b,", "\"a\"@b,", "=?", "\\", "(\\)", "\"a,", ". ", "@[", "a@[ ", "@[ ",
            "a: b@c;", "\r\n ", "\"a\".", "<@a,", "[a] ", "[",
        ] {
            for end in ["", ")", "\"", ">", ";"] {
                let value = format!("{}{end}", piece.repeat(200_000 / piece.len()));
                let start = Instant::now();
                let _ = addresses(&value);
                assert!(start.elapsed() < Duration::from_secs(5), "{piece:?}");
            }
        }
    }

    /// White space and comments, as they may stand between any two tokens.
    fn cfws() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            3 => Just(""),
            2 => Just(" "),
            1 => Just("\r\n\t "),
            1 => Just("(c@d, <e@f>; \" g: \\) \\\\ (())) "),
            1 => Just("\r\n (\r\n [)(>)"),
        ]
    }

    /// A mailbox as its tokens, between which white space may stand, and its address.
    fn mailbox() -> impl Strategy<Value = (Vec<String>, String)> {
        let word = || prop_oneof!["[a-z]{1,4}", "\"[a-z ,;:<>()@.]{0,6}\"", "\"(\\\\[\"\\\\a])?\\[x\\] y\""];
        let local = proptest::collection::vec(word(), 1..4);
        let domain = prop_oneof!["[a-z]{1,4}(\\.[a-z]{1,4})?", Just("[192.0.2.1]".into()), Just("[IPv6:::1]".into())];
        let name = prop_oneof![
            Just(None),
            Just(Some(&[][..])),
            Just(Some(&["N", ".", " N "][..])),
            Just(Some(&["\"x, <y@z> (\""][..])),
            Just(Some(&["a", "\"b;\"", "=?utf-8?q?=2C?=", "[d]"][..])),
        ];
        let route = prop_oneof![3 => Just(&[][..]), 1 => Just(&["@", "r", ",", "@", "[192.0.2.1]", ":"][..])];
        (local, domain, name, route).prop_map(|(local, domain, name, route)| {
            let mut tokens: Vec<String> = Vec::new();
            if let Some(name) = name {
                tokens.extend(name.iter().chain(&["<"]).chain(route).map(|&token| token.into()));
            }
            for (index, word) in local.iter().enumerate() {
                tokens.extend((index > 0).then(|| ".".into()));
                tokens.push(word.clone());
            }
            tokens.push("@".into());
            tokens.extend(if domain.starts_with('[') {
                alloc::vec![domain.clone()]
            } else {
                domain.split_inclusive('.').map(Into::into).collect()
            });
            tokens.extend(name.map(|_| ">".into()));
            let mut local_part = local.join(".");
            if local_part.contains('"') {
                let content: Vec<_> = local.iter().map(|word| word.strip_prefix('"').unwrap_or(word)).collect();
                let content: Vec<_> = content.iter().map(|word| word.strip_suffix('"').unwrap_or(word)).collect();
                local_part = format!("\"{}\"", content.join("."));
            }
            (tokens, format!("{local_part}@{domain}"))
        })
    }

    /// A list as its elements, each as its tokens, separators included, and the addresses in it.
    fn list() -> impl Strategy<Value = (Vec<Vec<String>>, Vec<String>)> {
        let group = prop_oneof![
            3 => Just(None),
            1 => Just(Some(&["g", ":"][..])),
            1 => Just(Some(&["\"g:@\"", ".", "[h]", ":"][..])),
        ];
        let element = (group, proptest::collection::vec(proptest::option::of(mailbox()), 0..4), any::<bool>());
        proptest::collection::vec(element, 0..4).prop_map(|elements| {
            let (mut written, mut addresses) = (Vec::new(), Vec::new());
            for (group, mailboxes, semicolon) in elements {
                let separator = if semicolon && group.is_none() { ";" } else { "," };
                written.extend(group.map(|name| name.iter().map(|&token| token.into()).collect()));
                for (mut tokens, address) in mailboxes.into_iter().map(Option::unwrap_or_default) {
                    addresses.extend((!tokens.is_empty()).then_some(address));
                    tokens.push(separator.into());
                    written.push(tokens);
                }
                written.extend(group.map(|_| alloc::vec![";".into(), ",".into()]));
            }
            (written, addresses)
        })
    }

    /// The input with comments, white space, quotation marks and backslashes taken out, and the `@` outside of all of them.
    /// Only for what was read.
    fn squeezed(value: &str) -> (String, usize) {
        let (mut out, mut at, mut depth, mut quoted) = (String::new(), 0, 0, false);
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    let next = chars.next().unwrap();
                    out.extend((depth == 0 && !next.is_whitespace() && !matches!(next, '"' | '\\')).then_some(next));
                }
                '"' if depth == 0 => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted => depth -= 1,
                _ if depth > 0 || c.is_whitespace() => {}
                _ => {
                    at += usize::from(c == '@' && !quoted);
                    out.push(c);
                }
            }
        }
        (out, at)
    }

    /// Nobody but who is written there, and nobody less.
    fn check_honest(octets: &[u8]) -> Result<(), TestCaseError> {
        let octets = [b"To: ", octets, b"\n"].concat();
        for field in fields::split(&octets).unwrap_or_default() {
            let Some(found) = checked(&field) else { continue };
            let (value, at) = squeezed(&String::from_utf8_lossy(field.value()));
            for address in &found {
                let literal = address.replace(['"', '\\', ' ', '\t'], "");
                prop_assert!(value.contains(&literal), "{address:?} in {value:?}");
            }
            prop_assert!(found.len() == at || value.contains("<@"), "{found:?} in {value:?}");
        }
        Ok(())
    }

    proptest! {
        // C-49: however mailboxes are written, each is found, once, and nothing else.
        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn lists_are_read_back(
            (written, addresses_in) in list(),
            spaces in proptest::collection::vec(cfws(), 1..40),
        ) {
            let mut spaces = spaces.iter().cycle();
            let mut value = String::new();
            for token in written.iter().flatten() {
                value.extend([spaces.next().unwrap(), &**token]);
            }
            value.push_str(spaces.next().unwrap());
            let expected = addresses_in.iter().map(|address| ForwardPath::parse(address).unwrap().as_str().into());
            prop_assert_eq!(addresses(&value), Some(expected.collect()), "{:?}", value);
        }

        // S-20: one element that is none, wherever it stands, and nobody is addressed.
        #[test]
        fn nothing_is_passed_over(
            (written, _) in list(),
            position in any::<proptest::sample::Index>(),
            bad in proptest::sample::select(&[
                "a", "\"a@b\"", "\"a\" (c)", "a@b c@d", "a@b <c@d>", "<a@b> c", "<a@b> <c@d>", "a <>", "a@b@c", "[a]", "a@",
                "@a", "a@b: c@d;", "g: h: a@b;;", "\"a\" b@c", "a\"b\"@c", ":", "a@b>", ")", "\\", "a@b\u{a0}", "<a@b, c@d>",
                "a \"b\"@c <d@e>", "=?utf-8?q?a=40b?=", "a.@b",
            ][..]),
        ) {
            let mut written: Vec<String> = written.iter().map(|tokens| tokens.concat()).collect();
            written.insert(position.index(written.len() + 1), format!("{bad},"));
            let value = written.concat();
            prop_assert_eq!(addresses(&value), None, "{:?}", value);
        }

        // S-20: whatever the octets, no panic, and each `@` that is no text is a recipient that stands there.
        #[test]
        fn nobody_is_made_up_and_nobody_lost(
            octets in proptest::collection::vec(any::<u8>(), 0..200),
            pieces in proptest::collection::vec(proptest::sample::select(&[
                "a@b", "c", "\"", "\"d\"", "\"e, f@g\"", "@", "@h", ",", ";", ":", "i:", "<", ">", "<j@k>", "(", ")", "(l@m)",
                ".", "\\", "[192.0.2.1]", " ", "\r\n\t", "[", "]", "ö", "\u{a0}", ", n@o, ",
            ][..]), 0..12),
        ) {
            check_honest(&octets)?;
            check_honest(pieces.concat().as_bytes())?;
        }
    }
}
