//! What the answers to ETRN mean.

use super::{ReplyCode, Severity};

/// What a reply to ETRN says of the mail that waits for a node (RFC 1985 section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueRun {
    /// 250 and other 2yz: the server has begun to send what waits, or will.
    Started,
    /// 251: nothing waits.
    Empty,
    /// 252: something waits, and the server has begun to send it.
    Pending,
    /// 253: the text says how much waits, and the server has begun to send it.
    Counted,
    /// 458 and other 4yz: not now.
    Unable,
    /// 459: not for this node, or not for us.
    NotAllowed,
    /// 5yz: the node is none, or the server has no ETRN.
    Refused,
}

impl QueueRun {
    pub(super) fn of(code: ReplyCode) -> Self {
        match (code.get(), code.severity()) {
            (251, _) => Self::Empty,
            (252, _) => Self::Pending,
            (253, _) => Self::Counted,
            (459, _) => Self::NotAllowed,
            (_, Severity::Completion) => Self::Started,
            (_, Severity::Transient) => Self::Unable,
            // 3yz has no meaning here.
            (_, Severity::Intermediate | Severity::Permanent) => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C-98: each reply code of ETRN is told apart.
    #[test]
    fn each_code_has_its_meaning() {
        for (code, meaning) in [
            (250, QueueRun::Started),
            (251, QueueRun::Empty),
            (252, QueueRun::Pending),
            (253, QueueRun::Counted),
            (298, QueueRun::Started),
            (354, QueueRun::Refused),
            (451, QueueRun::Unable),
            (458, QueueRun::Unable),
            (459, QueueRun::NotAllowed),
            (500, QueueRun::Refused),
            (501, QueueRun::Refused),
        ] {
            assert_eq!(QueueRun::of(ReplyCode::new(code).unwrap()), meaning, "{code}");
        }
    }
}
