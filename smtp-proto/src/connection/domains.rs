//! The domains that the recipients of a session are in, where the server limits how many (RFC 9422 section 4.3).

use alloc::collections::BTreeSet;
use alloc::string::String;

use super::Connection;
use crate::address::ForwardPath;
use crate::transaction::Recipient;

/// What room a session has for recipients of further domains. Recipients take it one after the other.
pub(crate) struct Room<'a> {
    /// How many domains the server takes, if it says so.
    maximum: Option<usize>,
    kept: &'a BTreeSet<String>,
    taken: BTreeSet<String>,
}

impl Room<'_> {
    /// Takes the room that a recipient needs. False when there is none.
    pub(crate) fn take(&mut self, path: &ForwardPath) -> bool {
        let Some(maximum) = self.maximum else { return true };
        let domain = domain_of(path);
        if self.kept.contains(&domain) || self.taken.contains(&domain) {
            return true;
        }
        let room = self.kept.len() + self.taken.len() < maximum;
        if room {
            self.taken.insert(domain);
        }
        room
    }

    /// Whether no recipient of another domain fits.
    pub(crate) fn is_full(&self) -> bool {
        self.maximum.is_some_and(|maximum| self.kept.len() + self.taken.len() >= maximum)
    }
}

/// In A-labels, where they are known: whether a domain is said in them depends on the server, and it is the same either way.
fn domain_of(path: &ForwardPath) -> String {
    #[cfg(feature = "idna")]
    let path = &path.to_ascii().unwrap_or_else(|_| path.clone());
    path.domain().unwrap_or_default().to_ascii_lowercase()
}

impl Connection {
    /// The limit that the server announces.
    pub(super) fn domain_limit(&self) -> Option<u32> {
        self.capabilities.limits()?.rcpt_domain_max()
    }

    /// The room that is left.
    pub(crate) fn domain_room(&self) -> Room<'_> {
        let maximum = self.domain_limit().map(|maximum| usize::try_from(maximum).unwrap_or(usize::MAX));
        Room { maximum, kept: &self.domains, taken: BTreeSet::new() }
    }

    /// Remembers whom is sent to. Where there is a limit, and so at most as many domains as it allows.
    pub(super) fn keep_domains(&mut self, recipients: &[Recipient]) {
        if self.domain_limit().is_some() {
            self.domains.extend(recipients.iter().map(|recipient| domain_of(&recipient.path)));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;

    // C-99: domains that were sent to and those that are about to be share the room.
    #[test]
    fn room_is_shared() {
        let kept = BTreeSet::from(["a.example".to_owned()]);
        let mut room = Room { maximum: Some(3), kept: &kept, taken: BTreeSet::new() };
        for (path, fits, full) in [
            ("x@A.example", true, false),
            ("x@b.example", true, false),
            ("y@b.example", true, false),
            ("x@c.example", true, true),
            ("x@d.example", false, true),
            ("z@a.example", true, true),
        ] {
            assert_eq!(room.take(&ForwardPath::parse(path).unwrap()), fits, "{path}");
            assert_eq!(room.is_full(), full, "{path}");
        }
        let mut unlimited = Room { maximum: None, kept: &kept, taken: BTreeSet::new() };
        assert!(unlimited.take(&ForwardPath::parse("x@b.example").unwrap()) && !unlimited.is_full());
    }
}
