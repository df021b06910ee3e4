//! The header block, cut into its fields.

use alloc::vec::Vec;
use core::ops::Range;

use super::error::{self, MessageError};

/// One header field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its name, without white space.
    pub(super) name: &'a str,
    /// All of it, from the name to the end of its last line.
    pub(super) octets: &'a [u8],
    /// Octets of the message before it.
    start: usize,
}

impl<'a> Field<'a> {
    /// Whether it is the field of this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Where it lies in the message.
    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.start + self.octets.len()
    }

    /// What stands behind the colon.
    pub(super) fn value(&self) -> &'a [u8] {
        let colon = memchr::memchr(b':', self.octets).unwrap_or(self.octets.len());
        self.octets.get(colon + 1..).unwrap_or_default()
    }
}

/// The fields of a message.
pub(super) fn split(message: &[u8]) -> Result<Vec<Field<'_>>, MessageError> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !matches!(rest, [] | [b'\n', ..] | [b'\r', b'\n', ..]) {
        let offset = message.len() - rest.len();
        let not_a_field = || MessageError::NotAField { offset, text: error::excerpt(first_line(rest)) };
        let (header, length) = mailparse::parse_header(rest).map_err(|_| not_a_field())?;
        let (octets, next) = rest.split_at_checked(length).ok_or_else(not_a_field)?;
        // Without a colon, the parser takes a whole line for a name.
        let key = octets.get(..header.get_key_raw().len()).filter(|key| octets.get(key.len()) == Some(&b':'));
        let name = key.and_then(name).ok_or_else(not_a_field)?;
        if let Some(index) = bare_cr(octets) {
            return Err(MessageError::BareCr { offset: offset + index });
        }
        fields.push(Field { name, octets, start: offset });
        rest = next;
    }
    Ok(fields)
}

/// Printable ASCII (RFC 5322 section 3.6.8), with white space behind it where it is obsolete (section 4.5).
fn name(key: &[u8]) -> Option<&str> {
    let name = core::str::from_utf8(key).ok()?.trim_end_matches([' ', '\t']);
    (!name.is_empty() && name.bytes().all(|octet| matches!(octet, b'!'..=b'9' | b';'..=b'~'))).then_some(name)
}

fn bare_cr(octets: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\r', octets).find(|&index| octets.get(index + 1) != Some(&b'\n'))
}

fn first_line(octets: &[u8]) -> &[u8] {
    octets.split(|&octet| octet == b'\n').next().unwrap_or_default()
}
