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
