//! Octets that nobody sees by accident.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

/// A password, a token, or what was made from one.
///
/// `Debug` shows only how long it is, in every build; there is no `Display`. The octets are overwritten when it is dropped.
/// That is the best that can be had without `unsafe`: copies that the caller or the allocator made before are out of reach.
///
/// ```
/// use smtp_proto::sasl::Secret;
///
/// let secret = Secret::from("pässwörd");
/// assert_eq!(format!("{secret:?}"), "Secret(10 octets)");
/// assert_eq!(secret.expose(), "pässwörd".as_bytes());
/// ```
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The octets. Whoever calls this answers for where they go.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // P-15
    #[test]
    fn only_its_length_is_shown() {
        assert_eq!(alloc::format!("{:?}", Secret::from("hunter2")), "Secret(7 octets)");
    }
}
