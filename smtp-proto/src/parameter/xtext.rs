//! Any octets as printable ASCII that fits into a parameter (RFC 3461 section 4).
//!
//! ```
//! use smtp_proto::xtext;
//!
//! assert_eq!(xtext::encode(b"e=mc2@example.com"), "e+3Dmc2@example.com");
//! assert_eq!(xtext::decode("e+3Dmc2@example.com")?, b"e=mc2@example.com");
//! assert!(xtext::decode("e+3").is_err());
//! # Ok::<(), xtext::XtextError>(())
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// A text is not xtext: an escape is broken, or a character should have been one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not xtext at octet {offset}")]
pub struct XtextError {
    /// Octets before the character that does not belong there.
    pub offset: usize,
}

/// Writes octets as xtext: `+` and `=`, the space, controls and all beyond ASCII become `+` and two hexadecimal digits.
pub fn encode(octets: &[u8]) -> String {
    Encoded(octets).to_string()
}

/// Reads xtext. Digits may be in lower case, though nobody should write them so.
///
/// # Errors
///
/// [`XtextError`] when `+` is not followed by two hexadecimal digits, or an octet stands there that has to be escaped.
pub fn decode(text: &str) -> Result<Vec<u8>, XtextError> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Ok(octets),
            [b'+', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                octets.push(value(*high) << 4 | value(*low));
                after
            }
            [octet, after @ ..] if is_plain(*octet) => {
                octets.push(*octet);
                after
            }
            _ => return Err(XtextError { offset: text.len() - rest.len() }),
        }
    }
}

/// The value of a hexadecimal digit.
fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Whether an octet stands for itself.
pub(super) fn is_plain(octet: u8) -> bool {
    matches!(octet, b'!'..=b'~') && !matches!(octet, b'+' | b'=')
}

/// Displays octets as xtext.
pub(super) struct Encoded<'a>(pub(super) &'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&octet| {
            if is_plain(octet) { f.write_char(char::from(octet)) } else { write!(f, "+{octet:02X}") }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Parameter;
    use alloc::format;
    use alloc::vec;
    use proptest::prelude::*;

    // C-90: each octet alone; what is written is always the value of a parameter.
    #[test]
    fn every_octet() {
        for octet in 0..=u8::MAX {
            let encoded = encode(&[octet]);
            assert_eq!(decode(&encoded), Ok(vec![octet]));
            assert_eq!(encoded.len(), if octet.is_ascii_graphic() && !b"+=".contains(&octet) { 1 } else { 3 });
            assert!(Parameter::new("X", &encoded).is_ok(), "{encoded}");
            assert_eq!(decode(&format!("+{octet:02x}")), Ok(vec![octet]));
        }
        assert_eq!(encode(b"a+b =\r\n\xff"), "a+2Bb+20+3D+0D+0A+FF");
    }

    // C-90: broken escapes, and octets that should have been escaped.
    #[test]
    fn what_is_not_xtext() {
        for (text, offset) in [
            ("+", 0),
            ("+4", 0),
            ("a+G1", 1),
            ("a+1G", 1),
            ("a++41", 1),
            ("+ 41", 0),
            ("+-1", 0),
            ("a=b", 1),
            ("a b", 1),
            ("ab\r\n", 2),
            ("ab\0", 2),
            ("é", 0),
            ("+é", 0),
            ("\u{7f}", 0),
        ] {
            assert_eq!(decode(text), Err(XtextError { offset }), "{text:?}");
        }
    }

    proptest! {
        // C-90, P-19: reading is the inverse of writing, for any octets.
        #[test]
        fn encoding_and_decoding_are_inverse(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(decode(&encode(&octets)), Ok(octets));
        }

        // C-90, P-19: what can be read is written in the same way, letter case of its digits aside.
        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn decoding_loses_nothing(text in "[!-~]{0,20}") {
            if let Ok(octets) = decode(&text) {
                prop_assert_eq!(decode(&encode(&octets)), Ok(octets));
            }
        }
    }
}
