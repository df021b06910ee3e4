//! What the answers to VRFY mean.

use super::{ReplyCode, Severity};

/// What a reply to VRFY says of an address (RFC 5321 sections 3.5.3 and 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verification {
    /// 250 and other 2yz: the address is good.
    Verified,
    /// 251: not local, the server will forward.
    WillForward,
    /// 252: the server does not say, but would accept the message and try. Not a confirmation.
    Unverified,
    /// 551: not local, the server will not forward.
    NotLocal,
    /// 553: ambiguous, or not a valid address.
    Ambiguous,
    /// 550 and other 5yz: no such address, or VRFY is not available.
    Refused,
    /// 4yz: ask again later.
    Transient,
}

impl Verification {
    pub(super) fn of(code: ReplyCode) -> Self {
        match (code.get(), code.severity()) {
            (251, _) => Self::WillForward,
            (252, _) => Self::Unverified,
            (551, _) => Self::NotLocal,
            (553, _) => Self::Ambiguous,
            (_, Severity::Completion) => Self::Verified,
            (_, Severity::Transient) => Self::Transient,
            // 3yz has no meaning here; it confirms nothing.
            (_, Severity::Intermediate | Severity::Permanent) => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-31: 252 is not a confirmation, and the refusals are told apart.
    #[test]
    fn each_code_has_its_meaning() {
        for (code, meaning) in [
            (250, Verification::Verified),
            (251, Verification::WillForward),
            (252, Verification::Unverified),
            (299, Verification::Verified),
            (354, Verification::Refused),
            (450, Verification::Transient),
            (502, Verification::Refused),
            (550, Verification::Refused),
            (551, Verification::NotLocal),
            (553, Verification::Ambiguous),
        ] {
            assert_eq!(Verification::of(ReplyCode::new(code).unwrap()), meaning, "{code}");
        }
    }
}
