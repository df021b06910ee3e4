//! What a connection tells the application.

use crate::reply::{Reply, ReplyError};
use crate::report::Report;
use crate::sasl::{AuthFailure, Secret};
use crate::transaction::TransactionId;

/// Something that happened, from [`Connection::poll_event`](crate::Connection::poll_event).
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server's greeting, a 2yz reply. Comes again when XCLIENT is accepted.
    Greeting(Reply),
    /// A hello was accepted and [`Connection::capabilities`](crate::Connection::capabilities) is current. Comes again after TLS and
    /// after XCLIENT.
    Ready,
    /// The server is ready for the TLS handshake: do it, then call
    /// [`Connection::handle_tls_established`](crate::Connection::handle_tls_established).
    UpgradeTls,
    /// A challenge of [`Connection::auth_manual`](crate::Connection::auth_manual): answer it with
    /// [`auth_respond`](crate::Connection::auth_respond) or [`auth_cancel`](crate::Connection::auth_cancel).
    AuthChallenge(Challenge),
    /// Authentication succeeded, and the mechanism believes it.
    Authenticated(Reply),
    /// Authentication failed. The connection goes on, unless `Closed` follows.
    AuthFailed(AuthFailure),
    /// The answer to one recipient's RCPT. Its final outcome is in the report.
    Recipient {
        /// The transaction.
        id: TransactionId,
        /// Which of its recipients, counted from 0.
        index: usize,
        /// The server's reply.
        reply: Reply,
    },
    /// It is time for the content: write it to [`Connection::body`](crate::Connection::body).
    BodyRequested {
        /// The transaction.
        id: TransactionId,
        /// How many recipients were accepted so far: at least one, unless the content goes
        /// [ahead](crate::Chunking::Ahead) of their replies.
        accepted: usize,
    },
    /// A transaction is over; exactly one for each that was begun. Unless `Closed` follows, the next one may begin.
    Completed(Report),
    /// The answer to a command of the caller's.
    Reply(Reply),
    /// The connection is over. Always the last event.
    Closed(CloseReason),
}

/// What the server asks within a SASL exchange, decoded. `Debug` shows only how long it is.
#[derive(Clone, Debug)]
pub struct Challenge(pub(crate) Secret);

impl Challenge {
    /// The octets.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl PartialEq for Challenge {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// We said QUIT. However the server took it, that is a clean end (RFC 5321 section 4.1.1.10).
    #[error("the session was ended by QUIT")]
    Quit,
    /// The server closed the stream, or it broke.
    #[error("the server closed the connection")]
    Eof,
    /// The server did not answer, or did not take our octets, in time.
    #[error("timed out waiting for {0}")]
    TimedOut(Phase),
    /// The server refused what the session cannot go on without: greeting, hello, RSET; or refused content while it was
    /// still leaving.
    #[error("the server refused at {phase}: {reply}")]
    Refused {
        /// What was being waited for.
        phase: Phase,
        /// What the server said.
        reply: Reply,
    },
    /// The server announced with 421 that it closes the connection (RFC 5321 section 3.8).
    #[error("the server is shutting the connection down: {0}")]
    ServerShutdown(Reply),
    /// A reply that answers nothing: no command was outstanding, its command had not left yet, or it asks for what is not
    /// due. Replies could no longer be told apart, so none is believed from here on. Of a 334 only the code is kept, for
    /// its text is a challenge.
    #[error("the server sent a reply that nothing had asked for: {0}")]
    Unsolicited(Reply),
    /// The server sent octets that are not SMTP.
    #[error("the server broke the protocol: {0}")]
    Malformed(ReplyError),
    /// The server claimed that authentication had succeeded without proving that it knows the password.
    #[error("the server did not prove that it knows the password")]
    ServerUnproven,
    /// Octets came in clear behind the go-ahead for TLS: someone may be injecting replies.
    #[error("octets came in clear behind the go-ahead for TLS")]
    PlaintextAfterStartTls,
    /// The caller aborted, or handed in content that may not be sent.
    #[error("the connection was aborted")]
    Aborted,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// This side.
    Local,
    /// The server.
    Remote,
    /// Neither: the stream broke or time ran out.
    Network,
}

impl CloseReason {
    pub(crate) fn unsolicited(reply: Reply) -> Self {
        let challenge = reply.code().get() == 334;
        Self::Unsolicited(if challenge { reply.without_text() } else { reply })
    }

    /// Who ended the connection.
    pub fn initiator(&self) -> Initiator {
        match self {
            // An end without farewell may be the server's or the network's doing; nobody can tell.
            Self::Eof | Self::TimedOut(_) => Initiator::Network,
            Self::Refused { .. } | Self::ServerShutdown(_) => Initiator::Remote,
            _ => Initiator::Local,
        }
    }

    /// What the server said, if that is the reason.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused { reply, .. } | Self::ServerShutdown(reply) | Self::Unsolicited(reply) => Some(reply),
            _ => None,
        }
    }
}

/// What a connection waits for, which decides how long (RFC 5321 section 4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The greeting.
    Greeting,
    /// The reply to EHLO, HELO or LHLO.
    Hello,
    /// The reply to STARTTLS and the handshake after it.
    StartTls,
    /// The next step of authentication.
    Auth,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Rcpt,
    /// The go-ahead after DATA.
    DataInit,
    /// The transport to take more of the content.
    DataBlock,
    /// The reply to the end of the content.
    DataDone,
    /// The reply to another command.
    Command,
    /// The reply to QUIT.
    Quit,
}

impl core::fmt::Display for Phase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Greeting => "the greeting",
            Self::Hello => "the reply to the hello",
            Self::StartTls => "TLS",
            Self::Auth => "the next step of authentication",
            Self::Mail => "the reply to MAIL",
            Self::Rcpt => "the reply to RCPT",
            Self::DataInit => "the go-ahead for the content",
            Self::DataBlock => "the server to take the content",
            Self::DataDone => "the reply to the content",
            Self::Command => "the reply to a command",
            Self::Quit => "the reply to QUIT",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{ReplyLimits, parse_reply};
    use alloc::format;
    use alloc::string::ToString;

    fn reply(line: &str) -> Reply {
        parse_reply(line.as_bytes(), &ReplyLimits::default()).unwrap().unwrap().0.to_owned()
    }

    // C-12, C-29, C-30: who ended a connection, and what the server said if that is why.
    #[test]
    fn who_ended_it() {
        let no = || reply("554 no\r\n");
        for (reason, initiator, said) in [
            (CloseReason::Quit, Initiator::Local, None),
            (CloseReason::Eof, Initiator::Network, None),
            (CloseReason::TimedOut(Phase::Mail), Initiator::Network, None),
            (CloseReason::Refused { phase: Phase::Hello, reply: no() }, Initiator::Remote, Some(no())),
            (CloseReason::ServerShutdown(no()), Initiator::Remote, Some(no())),
            (CloseReason::unsolicited(no()), Initiator::Local, Some(no())),
            (CloseReason::Malformed(ReplyError::Nul), Initiator::Local, None),
            (CloseReason::ServerUnproven, Initiator::Local, None),
            (CloseReason::PlaintextAfterStartTls, Initiator::Local, None),
            (CloseReason::Aborted, Initiator::Local, None),
        ] {
            assert_eq!((reason.initiator(), reason.reply()), (initiator, said.as_ref()), "{reason}");
        }
    }

    // S-60, P-15: a challenge that nothing asked for is not told, and of one that was asked for only how long it is.
    #[test]
    fn challenges_are_not_shown() {
        let reason = CloseReason::unsolicited(reply("334 c2VjcmV0\r\n"));
        assert_eq!(reason.reply().map(ToString::to_string).as_deref(), Some("334 ..."));
        let challenge = |text: &str| Challenge(text.into());
        assert_eq!(format!("{:?}", challenge("secret")), "Challenge(Secret(6 octets))");
        assert_eq!(challenge("secret").expose(), b"secret");
        assert_eq!(challenge("secret"), challenge("secret"));
        assert_ne!(challenge("secret"), challenge("secreT"));
    }

    // C-59: what was waited for has a name of its own at each step.
    #[test]
    fn phases_have_names() {
        for (phase, name) in [
            (Phase::Greeting, "the greeting"),
            (Phase::Hello, "the reply to the hello"),
            (Phase::StartTls, "TLS"),
            (Phase::Auth, "the next step of authentication"),
            (Phase::Mail, "the reply to MAIL"),
            (Phase::Rcpt, "the reply to RCPT"),
            (Phase::DataInit, "the go-ahead for the content"),
            (Phase::DataBlock, "the server to take the content"),
            (Phase::DataDone, "the reply to the content"),
            (Phase::Command, "the reply to a command"),
            (Phase::Quit, "the reply to QUIT"),
        ] {
            assert_eq!(CloseReason::TimedOut(phase).to_string(), format!("timed out waiting for {name}"));
        }
    }
}
