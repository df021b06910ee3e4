//! What the answers to EXPN name.

use core::fmt;

use crate::address::ForwardPath;
use crate::escape::Escaped;

/// One member of a list, as a line of the reply to EXPN names him (RFC 5321 section 3.5.2): by a path in angle brackets,
/// with a full name before it or not, or by an address alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Member<'a>(&'a str);

impl<'a> Member<'a> {
    pub(super) fn of_line(line: &'a [u8]) -> Option<Self> {
        core::str::from_utf8(line).ok().map(str::trim).filter(|line| !line.is_empty()).map(Self)
    }

    /// The line as the server wrote it, without its codes.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// What stands before the angle brackets.
    pub fn name(&self) -> Option<&'a str> {
        let (name, _) = self.0.rsplit_once('<')?;
        Some(name.trim()).filter(|name| !name.is_empty())
    }

    /// The address, if it can be read as one. The server's claim.
    pub fn path(&self) -> Option<ForwardPath> {
        let path = match self.0.rsplit_once('<') {
            Some((_, path)) => path.split_once('>')?.0,
            None => self.0,
        };
        ForwardPath::parse(path).ok()
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", Escaped(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    // C-31: the forms of RFC 5321, and what is neither.
    #[test]
    fn members() {
        for (line, name, path) in [
            ("Jon Postel <Postel@isi.example>", Some("Jon Postel"), Some("Postel@isi.example")),
            ("<Fonebone@physics.example>", None, Some("Fonebone@physics.example")),
            ("jones@x.example", None, Some("jones@x.example")),
            (" \"A < B\" <\"a b\"@x.example> ", Some("\"A < B\""), Some("\"a b\"@x.example")),
            ("Jones <jones", Some("Jones"), None),
            ("somebody", None, None),
        ] {
            let member = Member::of_line(line.as_bytes()).unwrap();
            assert_eq!((member.name(), member.as_str()), (name, line.trim()));
            assert_eq!(member.path().as_ref().map(ForwardPath::as_str), path, "{line}");
        }
        assert_eq!(format!("{:?}", Member("\u{1b}[2J")), "Member(\\u{1b}[2J)");
        for none in [&b""[..], b" ", b"\xff"] {
            assert_eq!(Member::of_line(none), None);
        }
    }
}
