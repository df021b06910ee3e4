//! Servers that repeat what they were told, as those do that quote what they do not understand.

/// Octets that are no accident when they are said again.
const LEAST: usize = 8;

/// Whether a line of the server's repeats a secret in base64 or a like alphabet, or a part of it.
pub(crate) fn repeats(line: &[u8], secret: &[u8]) -> bool {
    let in_word = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/' | b'=');
    line.split(|octet| !in_word(octet)).any(|word| {
        word.len() >= LEAST && memchr::memmem::find(secret, word).is_some()
            || secret.len() >= LEAST && memchr::memmem::find(word, secret).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-60: the whole secret within a longer word, or eight octets of it in a row, and no less.
    #[test]
    fn what_is_no_accident() {
        for (line, secret, found) in [
            ("535 what is c2VjcmV0?", "c2VjcmV0", true),
            ("535 xxc2VjcmV0xx", "c2VjcmV0", true),
            ("535 c2VjcmV0", "AGFsaWNlc2VjcmV0Lg==", true),
            ("535 2VjcmV0", "c2VjcmV0", false),
            ("535 xxaGk=xx", "aGk=", false),
            ("535 c2Vj cmV0", "c2VjcmV0", false),
            ("535 no", "c2VjcmV0", false),
        ] {
            assert_eq!(repeats(line.as_bytes(), secret.as_bytes()), found, "{line} {secret}");
        }
    }
}
