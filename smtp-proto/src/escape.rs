//! Text of a peer, made fit for a log or a terminal.

use core::fmt::{self, Write};

/// Displays octets of unknown origin without any control character.
///
/// Printable UTF-8 stays as it is; controls, bidirectional overrides and other invisible characters
/// become `\u{..}` (or `\r`, `\n`, `\t`, `\0`), octets that are not UTF-8 become `\xNN`.
#[derive(Clone, Copy)]
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    // `escape_debug` would put a backslash before these; they are harmless in running text.
                    '"' | '\'' | '\\' => f.write_char(c)?,
                    _ => write!(f, "{}", c.escape_debug())?,
                }
            }
            for octet in chunk.invalid() {
                write!(f, "\\x{octet:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    // C-10, S-24: nothing a terminal would obey comes through.
    #[test]
    fn controls_and_invisible_characters_are_escaped() {
        let shown = Escaped(b"ok \x1b[2J\r\n\0\xff \"caf\xc3\xa9\" \xe2\x80\xae").to_string();
        assert_eq!(shown, "ok \\u{1b}[2J\\r\\n\\0\\xff \"café\" \\u{202e}");
    }
}
