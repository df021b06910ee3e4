//! What a server calls the message it has taken.

/// The shapes in which servers name it: what stands before it, what stands behind it, and whose shape it is. Tried in this
/// order.
const SHAPES: &[(&str, &str)] = &[
    // Postfix, and many that followed it: `2.0.0 Ok: queued as 4XyZ12abcd`.
    ("queued as ", ""),
    // Exim: `OK id=1rABcd-000000001zX-2fGh`.
    ("OK id=", ""),
    // Exchange: `2.6.0 <m@example> [InternalId=30137, Hostname=x.example] Queued mail for delivery`.
    ("[InternalId=", ","),
    // Haraka: `Message Queued (UUID)`.
    ("Queued (", ")"),
    // qmail: `ok 1700000000 qp 12345`.
    (" qp ", ""),
    // Sendmail and OpenSMTPD: `2.0.0 45AbCd78012345 Message accepted for delivery`.
    ("", " Message accepted for delivery"),
    // Gmail: `2.0.0 OK  1700000000 d9443c01a7336-1abc23 - gsmtp`.
    ("", " - gsmtp"),
    // Dovecot: `2.0.0 <user@example> AbCdEfGh== Saved`.
    ("", " Saved"),
];

/// Amazon SES has nothing around it: `Ok 0102018c2e6f7d-8a-000000`. So it has to be the last word and a long one.
const BARE: &str = "Ok ";
const BARE_LEAST: usize = 16;

/// Octets of a name that is worth to be searched for.
const LONGEST: usize = 128;

/// The name in the text of a reply, which is given without its enhanced code.
pub(super) fn of_text(text: &str) -> Option<&str> {
    let bare = text.strip_prefix(BARE).filter(|name| name.len() >= BARE_LEAST && is_name(name));
    bare.or_else(|| {
        SHAPES.iter().find_map(|(before, behind)| {
            let (_, rest) = if before.is_empty() { ("", text) } else { text.split_once(before)? };
            let name = match (before.is_empty(), behind.is_empty()) {
                // The last word before the text behind it.
                (true, _) => rest.split_once(behind)?.0.split(' ').next_back()?,
                (false, true) => rest.split([' ', '\n', ';']).next()?,
                (false, false) => rest.split_once(behind)?.0,
            };
            is_name(name).then_some(name)
        })
    })
}

/// A word such as `OK` is no name: every server puts a digit into its own. Nor is `key=value` or a mailbox.
fn is_name(word: &str) -> bool {
    word.len() <= LONGEST
        && word.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>' | b'"'))
        && word.bytes().any(|octet| octet.is_ascii_digit())
        && !word.trim_end_matches('=').contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_real_servers() {
        for (text, name) in [
            ("Ok: queued as 4XyZ12abcdz1Q", "4XyZ12abcdz1Q"),
            ("from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 9F8E7D", "9F8E7D"),
            ("OK id=1rABcd-000000001zX-2fGh", "1rABcd-000000001zX-2fGh"),
            (
                "<m@example.org> [InternalId=30137, Hostname=X.eurprd01.prod.example] 9 bytes in 0.1, 0 KB/sec Queued mail for delivery",
                "30137",
            ),
            ("OK  1700000000 d9443c01a7336-1abc23si45.6 - gsmtp", "d9443c01a7336-1abc23si45.6"),
            ("Ok 0102018c2e6f7d-8a-000000", "0102018c2e6f7d-8a-000000"),
            ("45AbCd78012345 Message accepted for delivery", "45AbCd78012345"),
            ("ok 1700000000 qp 12345", "12345"),
            ("Message Queued (9A1B2C3D-E4F5.1)", "9A1B2C3D-E4F5.1"),
            ("<user@example.org> kNqJBq1/ZWUDAAAA0J78UA Saved", "kNqJBq1/ZWUDAAAA0J78UA"),
            ("Ok: queued as 4XyZ12\nmore", "4XyZ12"),
        ] {
            assert_eq!(of_text(text), Some(name), "{text}");
        }
    }

    // S-63: what a server says at length, or with control characters, is no name; nor is a word of courtesy.
    #[test]
    fn texts_without_a_name() {
        let endless = alloc::format!("queued as {}", "a1".repeat(100));
        for text in [
            "",
            "OK",
            "Ok",
            "Ok: queued as ",
            "queued as \u{1b}[2J1",
            "Ok thanks",
            "Ok 3 recipients",
            "Ok 1.2s",
            "Ok SESSIONID=<x.example-1700000000-1>",
            "Ok 17 recipients have got the message now",
            "Saved",
            "Message accepted for delivery",
            "- gsmtp",
            &endless,
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
    }
}
