//! What can go wrong between a program and a server.

use std::io;

use smtp_proto::{AddressError, Advice, BodyError, CloseReason, Failure, Reply, Report, UsageError};

/// Why a call failed. What the server did is a [`Failure`]; the rest is the network's, the message's or the caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection came about: the name does not resolve, or none of its addresses answered.
    #[error("cannot connect to {target}: {error}")]
    Connect {
        /// What was to be connected to.
        target: String,
        /// What the last address tried, or the resolver, answered.
        #[source]
        error: io::Error,
    },
    /// There is no TLS: the handshake failed, the server could not prove who it is, or a certificate or key cannot be used.
    /// Nothing was sent in clear that was meant for TLS.
    #[error("TLS failed: {error}")]
    Tls {
        /// Why.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The record of the session cannot be opened (`Options::record`). No session was begun.
    #[error("cannot open the record: {error}")]
    Record {
        /// Why.
        #[source]
        error: io::Error,
    },
    /// An address is not one.
    #[error("{address:?}: {error}")]
    Address {
        /// What was taken for one.
        address: String,
        /// Why it is none.
        #[source]
        error: AddressError,
    },
    /// What the server did or failed to do, or a call that is not possible now.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The stream broke.
    #[error("{failure}: {error}")]
    Stream {
        /// What that means for the message.
        failure: Failure,
        /// How it broke.
        #[source]
        error: io::Error,
    },
    /// Reading the message failed half-way. The connection was closed without ending the message, so nobody gets it.
    #[error("the message cannot be read: {error}")]
    Message {
        /// What the reader said.
        #[source]
        error: io::Error,
        /// The outcome of each recipient.
        report: Option<Box<Report>>,
    },
    /// The message may not be sent as it is. The connection was closed without ending the message, so nobody gets it.
    #[error("{error}")]
    Content {
        /// What is wrong with it, and where.
        #[source]
        error: BodyError,
        /// The outcome of each recipient.
        report: Option<Box<Report>>,
    },
}

/// Whether the server has judged our certificate, or that there is none. By TLS 1.3 it says so only after the handshake.
#[cfg(feature = "rustls")]
fn is_verdict(error: &io::Error) -> bool {
    use rustls::AlertDescription as Alert;
    let Some(rustls::Error::AlertReceived(alert)) = error.get_ref().and_then(|error| error.downcast_ref()) else {
        return false;
    };
    matches!(
        alert,
        Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
    )
}

#[cfg(not(feature = "rustls"))]
fn is_verdict(_: &io::Error) -> bool {
    false
}

impl From<UsageError> for Error {
    fn from(error: UsageError) -> Self {
        Self::Failure(error.into())
    }
}

impl Error {
    /// A message that cannot be read at all, before any of it was sent.
    pub fn unreadable(error: io::Error) -> Self {
        Self::Message { error, report: None }
    }

    /// A failure of TLS.
    pub fn tls(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Tls { error: error.into() }
    }

    /// What the end of a connection amounts to.
    pub fn closed(reason: CloseReason, report: Option<Report>, broken: Option<io::Error>) -> Self {
        Self::from_failure(Failure::closed(reason, report), broken)
    }

    /// A failure, with how the stream broke if it did.
    pub fn from_failure(failure: Failure, broken: Option<io::Error>) -> Self {
        match (broken, &failure) {
            // How the stream broke is news only where that is why it failed.
            (Some(error), Failure::Disconnected { .. } | Failure::TimedOut { .. }) => Self::Stream { failure, error },
            _ => Self::Failure(failure),
        }
    }

    /// What the server did, if it is that.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failure(failure) | Self::Stream { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// What the server said that made it fail.
    pub fn reply(&self) -> Option<&Reply> {
        self.failure().and_then(Failure::reply)
    }

    /// The outcome of each recipient, when a message was under way.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Message { report, .. } | Self::Content { report, .. } => report.as_deref(),
            _ => self.failure().and_then(Failure::report),
        }
    }

    /// The same with another report, if it has one.
    #[must_use]
    pub(crate) fn with_report(mut self, merged: Report) -> Self {
        match &mut self {
            Self::Message { report: Some(report), .. } | Self::Content { report: Some(report), .. } => {
                **report = merged;
            }
            Self::Failure(failure) | Self::Stream { failure, .. } => failure.replace_report(merged),
            _ => {}
        }
        self
    }

    /// What can be done about the message as a whole. `None` where [`Report::advice`] of [`report`](Self::report) says it of
    /// each recipient.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Self::Failure(failure) | Self::Stream { failure, .. } => failure.advice(),
            // No connection can carry it as it is, and to no other address.
            Self::Content { .. } | Self::Address { .. } => Some(Advice::GiveUp),
            Self::Connect { error, .. } if error.kind() == io::ErrorKind::InvalidInput => Some(Advice::GiveUp),
            Self::Connect { .. } | Self::Tls { .. } => Some(Advice::TryAnotherHost),
            // Once it can be read, or the record be opened.
            Self::Message { .. } | Self::Record { .. } => Some(Advice::SendAgain),
        }
    }

    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { error, .. } => error.kind() != io::ErrorKind::InvalidInput,
            Self::Stream { error, .. } if is_verdict(error) => false,
            Self::Failure(failure) | Self::Stream { failure, .. } => failure.is_transient(),
            // A handshake that was cut off may succeed later; a certificate that is wrong stays wrong.
            Self::Tls { error } => {
                error.downcast_ref().is_some_and(|error: &io::Error| error.kind() != io::ErrorKind::InvalidData)
            }
            Self::Address { .. } | Self::Record { .. } | Self::Message { .. } | Self::Content { .. } => false,
        }
    }

    /// Whether time ran out.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Connect { error, .. } => error.kind() == io::ErrorKind::TimedOut,
            Self::Tls { error } => {
                error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::TimedOut)
            }
            // Octets that the stream held back found no way out in time.
            Self::Stream { error, .. } if error.kind() == io::ErrorKind::TimedOut => true,
            _ => self.failure().is_some_and(Failure::is_timeout),
        }
    }

    /// Whether a recipient may have got the message, so that sending it again may duplicate it.
    pub fn may_have_been_accepted(&self) -> bool {
        self.report().is_some_and(Report::may_have_been_accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp_proto::ForwardPath;

    // content that may not be sent, and what is no address, cannot be helped by another connection; the rest can.
    #[test]
    fn advice_about_the_whole() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let target = || "mail.example".to_owned();
        for (error, advice) in [
            (Error::Content { error: BodyError::Nul { offset: 0 }, report: None }, Advice::GiveUp),
            (
                Error::Address { address: "x".into(), error: ForwardPath::parse("x").expect_err("no domain") },
                Advice::GiveUp,
            ),
            (Error::Connect { target: target(), error: io(io::ErrorKind::InvalidInput) }, Advice::GiveUp),
            (Error::Connect { target: target(), error: io(io::ErrorKind::TimedOut) }, Advice::TryAnotherHost),
            (Error::tls(io(io::ErrorKind::InvalidData)), Advice::TryAnotherHost),
            (Error::unreadable(io(io::ErrorKind::UnexpectedEof)), Advice::SendAgain),
            (Error::Record { error: io(io::ErrorKind::NotFound) }, Advice::SendAgain),
            (UsageError::NoRecipients.into(), Advice::GiveUp),
        ] {
            assert_eq!(error.advice(), Some(advice), "{error:?}");
        }
    }
}
