//! What can go wrong, in two kinds that are never mixed: [`UsageError`] is the caller's and changes nothing, [`Failure`]
//! is the summary of what a server or the network did.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use crate::capability::Extension;
use crate::date_time::DateTime;
use crate::event::{CloseReason, Phase};
use crate::outcome::{Outcome, Stage};
use crate::reply::{Reply, Severity};
use crate::report::Report;
use crate::sasl::{AuthFailure, ChooseError};
use crate::utf8::Utf8Reason;

/// The call is not possible now, or not with this server. Nothing was sent and nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// Something else is under way: wait for its event.
    #[error("the connection is busy with something else")]
    Busy,
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
    /// A hello has to be accepted first.
    #[error("a hello has to be said first")]
    NeedsHello,
    /// TLS is required, the stream is in clear, and the driver has nobody who could do the handshake.
    #[error("TLS is required and there is nobody to do the handshake")]
    NobodyUpgrades,
    /// No transaction was opened with [`Connection::mail`](crate::Connection::mail).
    #[error("no transaction is open")]
    NoTransaction,
    /// The transaction has no recipient, or none that was accepted.
    #[error("the transaction has no recipient")]
    NoRecipients,
    /// A transaction by hand takes its recipients one at a time.
    #[error("recipients of a transaction by hand are given one at a time")]
    RecipientsByHand,
    /// The message is for all or none ([`OnRefusal::Abort`](crate::OnRefusal::Abort)), and a recipient was refused.
    #[error("the message is for all or none, and a recipient was refused")]
    AllOrNone,
    /// The server does not offer the extension this needs.
    #[error("the server does not offer {}{}", .0, instead_of(*.0))]
    Missing(Extension),
    /// The server does not offer the extension of a parameter.
    #[error("the server does not offer {0}")]
    MissingKeyword(Box<str>),
    /// The server offers XFORWARD or XCLIENT, but does not take this attribute by it.
    #[error("the server does not take {attribute} by {keyword}")]
    MissingAttribute {
        /// The EHLO keyword.
        keyword: &'static str,
        /// The attribute.
        attribute: Box<str>,
    },
    /// XCLIENT is to be said of a client of which nothing is told.
    #[error("nothing is told of the client")]
    NothingTold,
    /// A parameter is given twice, or one is given that excludes another (RFC 3461 section 4.5 and others).
    #[error("the parameter {0} is given more than once")]
    Duplicate(Box<str>),
    /// A parameter of MAIL is given for RCPT, or the other way round.
    #[error("the parameter {0} belongs to the other command")]
    Misplaced(Box<str>),
    /// The server cannot be asked to deliver so soon or return the message (RFC 2852 section 4).
    #[error("the server takes no less than {minimum} seconds to deliver or return a message")]
    DeliverByTooSoon {
        /// The server's minimum in seconds.
        minimum: u32,
    },
    /// The server does not hold messages for so long (RFC 4865).
    #[error("the server holds messages for {maximum} seconds at most")]
    HoldTooLong {
        /// The server's maximum in seconds.
        maximum: u32,
    },
    /// The server does not hold messages until so late (RFC 4865).
    #[error("the server holds messages until {maximum} at the latest")]
    HoldTooLate {
        /// The server's maximum.
        maximum: DateTime,
    },
    /// A message is tracked by its envelope's identifier, and there is none (RFC 3885 section 3).
    #[error("tracking needs an envelope identifier")]
    TrackingNeedsEnvelopeId,
    /// Something is not ASCII, and SMTPUTF8 is not offered (RFC 6531), or was not asked for by the MAIL before this RCPT.
    #[error("SMTPUTF8 is needed and not available: {0}{instead}", instead = .0.instead())]
    NeedsSmtpUtf8(Utf8Reason),
    /// The message is larger than the server takes (RFC 1870 section 6.1).
    #[error("the message is larger than the {limit} octets the server takes")]
    TooLarge {
        /// The server's limit in octets.
        limit: u64,
    },
    /// The command line would be longer than RFC 5321 and the extensions offered allow.
    #[error("the command line would be longer than {limit} octets")]
    CommandTooLong {
        /// Octets allowed, CRLF included.
        limit: usize,
    },
    /// Binary content cannot be sent by DATA (RFC 3030 section 3).
    #[error("binary content needs BDAT")]
    NeedsBdat,
    /// LMTP has no HELO (RFC 2033 section 4.1).
    #[error("LMTP has no HELO")]
    NoHelo,
    /// The stream is already encrypted (RFC 3207 section 4.2).
    #[error("TLS is already active")]
    AlreadySecure,
    /// The server does not offer this mechanism.
    #[error("the server does not offer the mechanism {0}")]
    MechanismNotOffered(Box<str>),
    /// The mechanism shows a password or token to whoever listens, and the stream is not encrypted. See
    /// [`Config::danger_password_in_clear`](crate::Config::danger_password_in_clear).
    #[error("the mechanism needs TLS")]
    NeedsTls,
    /// The server takes no more messages in this session (MAILMAX, RFC 9422 section 4.1): begin another one.
    #[error("the server takes {maximum} messages a session, and has got them")]
    MailLimit {
        /// How many it takes.
        maximum: u32,
    },
    /// The server takes fewer recipients at a time (RCPTMAX, RFC 9422 section 4.2). [`Submission`](crate::Submission) splits
    /// them.
    #[error("the server takes {maximum} recipients at a time")]
    TooManyRecipients {
        /// How many it takes.
        maximum: u32,
    },
    /// The server takes recipients in fewer domains in one session (RCPTDOMAINMAX, RFC 9422 section 4.3): begin another one
    /// for the others.
    #[error("the server takes recipients in {maximum} domains a session")]
    TooManyDomains {
        /// In how many it takes them.
        maximum: u32,
    },
    /// REQUIRETLS demands TLS of every server on the way, and would be sent in clear here (RFC 8689 section 4.2.1).
    #[error("REQUIRETLS needs TLS")]
    RequireTlsInClear,
    /// Authentication is possible once in a session (RFC 4954 section 4).
    #[error("the session is already authenticated")]
    AlreadyAuthenticated,
    /// No challenge waits for an answer.
    #[error("no challenge waits for an answer")]
    NoChallenge,
    /// The server did not give the go-ahead for TLS.
    #[error("no TLS handshake is due")]
    NotUpgrading,
}

/// What to do where the message itself needs an extension that the server does not offer.
const fn instead_of(extension: Extension) -> &'static str {
    match extension {
        Extension::EightBitMime => ": let the message be made anew in 7 bits, by quoted-printable or base64",
        _ => "",
    }
}

impl UsageError {
    /// Whether the same call may be possible later, or in another session.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Busy | Self::Closed | Self::MailLimit { .. } | Self::TooManyDomains { .. })
    }
}

/// Why a session could not be set up, or a message reached nobody: the summary that drivers return as an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The call was not possible. Nothing was sent.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The server refused the connection in its greeting.
    #[error("the server refused the connection: {0}")]
    Greeting(Reply),
    /// The server refused our hello.
    #[error("the server refused the hello: {0}")]
    Hello(Reply),
    /// TLS is a must, and the server does not offer it, or refused it. Nothing of the message and no credentials were sent.
    #[error("TLS is required and {}", why_no_tls(.reply.as_ref(), *.suspicious))]
    TlsRequired {
        /// The refusal, if STARTTLS was offered.
        reply: Option<Reply>,
        /// It was not offered, and a keyword looks as if somebody on the way had crossed it out.
        suspicious: bool,
    },
    /// The server refused the credentials, or the exchange failed.
    #[error("{0}")]
    Auth(Box<AuthFailure>),
    /// The server offers no mechanism that can be used. The session is not authenticated.
    #[error(transparent)]
    NoMechanism(#[from] ChooseError),
    /// The server refused the sender.
    #[error("the server refused the sender: {reply}")]
    SenderRefused {
        /// What the server said.
        reply: Reply,
        /// The outcome of each recipient.
        report: Box<Report>,
    },
    /// The server refused every recipient, or some of them under [`OnRefusal::Abort`](crate::OnRefusal::Abort).
    #[error("the server refused recipients")]
    RecipientsRefused(Box<Report>),
    /// The server refused the content, before or after it was sent.
    #[error("the server refused the message: {reply}")]
    DataRefused {
        /// What the server said.
        reply: Reply,
        /// The outcome of each recipient.
        report: Box<Report>,
    },
    /// The server did not answer in time.
    #[error("timed out waiting for {phase}")]
    TimedOut {
        /// What was waited for.
        phase: Phase,
        /// The outcome of each recipient, when a message was under way.
        report: Option<Box<Report>>,
    },
    /// The connection ended for another reason.
    #[error("{reason}")]
    Disconnected {
        /// Why.
        reason: CloseReason,
        /// The outcome of each recipient, when a message was under way.
        report: Option<Box<Report>>,
    },
}

fn why_no_tls(reply: Option<&Reply>, suspicious: bool) -> String {
    match reply {
        Some(reply) => format!("the server refused it: {reply}"),
        None if suspicious => "the server does not offer it; somebody seems to have crossed it out".into(),
        None => "the server does not offer it".into(),
    }
}

impl Failure {
    /// The failure that the end of a connection amounts to, with the report of the message that was under way.
    pub fn closed(reason: CloseReason, report: Option<Report>) -> Self {
        let report = report.map(Box::new);
        match reason {
            CloseReason::Refused { phase: Phase::Greeting, reply } => Self::Greeting(reply),
            CloseReason::Refused { phase: Phase::Hello, reply } => Self::Hello(reply),
            CloseReason::TimedOut(phase) => Self::TimedOut { phase, report },
            reason => Self::Disconnected { reason, report },
        }
    }

    /// What the server said that made it fail; of several refused recipients, the first one's.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Greeting(reply)
            | Self::Hello(reply)
            | Self::SenderRefused { reply, .. }
            | Self::DataRefused { reply, .. } => Some(reply),
            Self::RecipientsRefused(report) => report.refused().map(|(_, reply)| reply).next(),
            Self::Disconnected { reason, .. } => reason.reply(),
            Self::TlsRequired { reply, .. } => reply.as_ref(),
            Self::Auth(failure) => Some(failure.reply()),
            Self::Usage(_) | Self::NoMechanism(_) | Self::TimedOut { .. } => None,
        }
    }

    /// Puts another report in the place of the one it has, if it has one: that of all transactions of a message, for that of
    /// the last one.
    pub fn replace_report(&mut self, merged: Report) {
        match self {
            Self::SenderRefused { report, .. } | Self::RecipientsRefused(report) | Self::DataRefused { report, .. } => {
                **report = merged;
            }
            Self::TimedOut { report: Some(report), .. } | Self::Disconnected { report: Some(report), .. } => {
                **report = merged;
            }
            _ => {}
        }
    }

    /// The outcome of each recipient, when a message was under way.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::SenderRefused { report, .. } | Self::RecipientsRefused(report) | Self::DataRefused { report, .. } => {
                Some(report)
            }
            Self::TimedOut { report, .. } | Self::Disconnected { report, .. } => report.as_deref(),
            _ => None,
        }
    }

    /// Whether the same may succeed later: a 4yz reply, a lost connection, time that ran out. With several recipients,
    /// whether it may for at least one of them.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Usage(error) => error.passes(),
            Self::NoMechanism(_) => false,
            Self::Auth(failure) => failure.is_transient(),
            Self::TlsRequired { reply, .. } => {
                reply.as_ref().is_some_and(|reply| reply.code().severity() == Severity::Transient)
            }
            Self::Disconnected { reason: CloseReason::Aborted | CloseReason::Quit, .. } => false,
            // Nobody whom to meet again makes it better.
            Self::Disconnected {
                reason: CloseReason::PlaintextAfterStartTls | CloseReason::ServerUnproven, ..
            } => false,
            Self::SenderRefused { reply, report } if report.recipients.is_empty() => !reply.code().is_permanent(),
            Self::SenderRefused { report, .. } | Self::RecipientsRefused(report) | Self::DataRefused { report, .. } => {
                let for_good = |outcome: &Outcome| matches!(outcome, Outcome::Refused { transient: false, .. });
                !report.recipients().all(|(_, outcome)| for_good(outcome) || outcome.is_accepted())
            }
            Self::Disconnected { reason: CloseReason::Refused { reply, .. }, .. }
            | Self::Greeting(reply)
            | Self::Hello(reply) => !reply.code().is_permanent(),
            Self::Disconnected { .. } | Self::TimedOut { .. } => true,
        }
    }

    /// Whether time ran out.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    /// Whether a recipient may have got the message, so that sending it again may duplicate it.
    pub fn may_have_been_accepted(&self) -> bool {
        self.report().is_some_and(Report::may_have_been_accepted)
    }
}

/// Here rather than beside [`Report`], which need not know of failures.
impl Report {
    /// The report as a success if at least one recipient was accepted, otherwise as the failure it amounts to: smtplib's
    /// rule. `closed` is why the connection ended, if it has ([`Connection::close_reason`](crate::Connection::close_reason)).
    ///
    /// # Errors
    ///
    /// [`Failure`] with the report inside, when no recipient was accepted.
    pub fn into_result(self, closed: Option<&CloseReason>) -> Result<Self, Failure> {
        if self.recipients().any(|(_, outcome)| outcome.is_accepted()) {
            return Ok(self);
        }
        if let Some(reply) = self.sender_refusal.clone() {
            return Err(Failure::SenderRefused { reply, report: Box::new(self) });
        }
        let refused_later = self.recipients().find_map(|(_, outcome)| match outcome {
            Outcome::Refused { stage: Stage::Data | Stage::Content, reply, .. } => Some(reply.clone()),
            _ => None,
        });
        match (refused_later, closed) {
            (Some(reply), _) => Err(Failure::DataRefused { reply, report: Box::new(self) }),
            // Whoever was neither refused nor accepted lost the connection.
            (None, Some(reason)) if self.refused().count() < self.recipients.len() => {
                Err(Failure::closed(reason.clone(), Some(self)))
            }
            (None, _) => Err(Failure::RecipientsRefused(Box::new(self))),
        }
    }
}

#[cfg(test)]
mod tests;
