//! From a fresh connection to one that is ready for mail: TLS and authentication, by policy.

use alloc::boxed::Box;

use crate::capability::{Capabilities, Extension};
use crate::config::{Config, Security};
use crate::connection::{Connection, State};
use crate::error::{Failure, UsageError};
use crate::event::Event;
use crate::reply::Reply;
use crate::sasl::{self, AuthFailure, AuthFailureKind, ChannelBindings, Choice, Credentials, Secret};

/// Whether a session in clear is upgraded to TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// By STARTTLS, or there is no session: nothing of a message and no credentials are sent in clear.
    #[default]
    Require,
    /// By STARTTLS if the server offers it and goes ahead. Whoever can change what is said on the way can prevent it, so this
    /// protects from nobody who tries. A handshake that was begun and fails ends the session all the same.
    Opportunistic,
    /// Never.
    None,
}

/// How a driver that connects by itself comes to TLS (RFC 8314).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// TLS from the first octet, as on port 465.
    Implicit,
    /// STARTTLS, as [`TlsPolicy::Require`].
    StartTls,
    /// STARTTLS if it can be had, as [`TlsPolicy::Opportunistic`].
    Opportunistic,
    /// None.
    None,
}

impl TlsMode {
    /// What is meant where nothing is said: TLS from the start on port 465; STARTTLS on port 587 and wherever credentials
    /// are given; elsewhere none. There is no way from one to another: what was chosen is what is done.
    pub fn default_for(port: u16, credentials: bool) -> Self {
        match port {
            465 => Self::Implicit,
            587 => Self::StartTls,
            _ if credentials => Self::StartTls,
            _ => Self::None,
        }
    }

    /// The policy for a stream that starts in clear, or in this mode does not.
    pub fn policy(self) -> TlsPolicy {
        match self {
            Self::Implicit | Self::StartTls => TlsPolicy::Require,
            Self::Opportunistic => TlsPolicy::Opportunistic,
            Self::None => TlsPolicy::None,
        }
    }
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on moving octets.
    Continue,
    /// Do the TLS handshake; give its [`ChannelBindings`] to [`Setup::channel_bindings`], then call
    /// [`Connection::handle_tls_established`].
    UpgradeTls,
    /// The session is ready for mail.
    Done,
}

/// Takes a connection through greeting, hello, TLS, hello and authentication. Does no I/O: feed it each event.
///
/// ```
/// use smtp_proto::{Setup, Step, TlsPolicy};
/// # use smtp_proto::{Config, Connection, Event, Failure, HelloName, Security, Time};
/// # let mut config = Config::smtp(HelloName::parse("me.example")?);
///
/// let mut setup = Setup::new(TlsPolicy::Require, None);
/// setup.configure(&mut config, Security::Plaintext);
/// let mut connection = Connection::new(config, Security::Plaintext);
/// # let mut hear = |connection: &mut Connection, line: &[u8]| {
/// #     connection.handle_transmitted(usize::MAX, Time::default());
/// #     connection.handle_input(line, Time::default());
/// # };
/// # hear(&mut connection, b"220 hi\r\n");
/// # hear(&mut connection, b"250 no extension at all\r\n");
/// while let Some(event) = connection.poll_event() {
///     match setup.advance(&mut connection, &event) {
///         Ok(Step::Continue) => {}
///         Ok(Step::UpgradeTls) => { /* the handshake */ }
///         Ok(Step::Done) => { /* mail */ }
///         Err(failure) => {
///             assert_eq!(failure, Failure::TlsRequired { reply: None, suspicious: false });
///             break;
///         }
///     }
/// }
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Debug)]
pub struct Setup {
    tls: TlsPolicy,
    credentials: Option<Credentials>,
    choice: Choice,
    /// The driver's randomness, from which each exchange makes a nonce of its own.
    entropy: Secret,
    attempts: u8,
    /// STARTTLS was said and not answered.
    upgrading: bool,
    /// The token source was asked for another token.
    asked_anew: bool,
    /// The mechanism that is being tried, and what binds it to TLS.
    trying: Option<(Box<str>, Option<&'static str>)>,
    report: SecurityReport,
}

impl Setup {
    /// A setup that has not begun.
    pub fn new(tls: TlsPolicy, credentials: Option<Credentials>) -> Self {
        Self {
            tls,
            credentials,
            choice: Choice::default(),
            entropy: Secret::default(),
            attempts: 0,
            upgrading: false,
            asked_anew: false,
            trying: None,
            report: SecurityReport::default(),
        }
    }

    /// Another policy.
    #[must_use]
    pub fn policy(mut self, tls: TlsPolicy) -> Self {
        self.tls = tls;
        self
    }

    /// Fresh randomness from the driver, without which SCRAM is not used: the core has none.
    #[must_use]
    pub fn entropy(mut self, octets: [u8; 24]) -> Self {
        self.entropy = octets.to_vec().into();
        self
    }

    /// Changes what the choice of a mechanism depends on. Whether the stream is secure, the nonce and what was tried are
    /// the setup's own business.
    #[must_use]
    pub fn choice(mut self, change: impl FnOnce(&mut Choice)) -> Self {
        change(&mut self.choice);
        self
    }

    /// Makes the configuration of a connection on such a stream fit: what has TLS or authentication to come says its hello
    /// by itself, and where extensions are a must, EHLO does not fall back to HELO.
    pub fn configure(&self, config: &mut Config, security: Security) {
        let secure = security == Security::Tls;
        config.automatic_hello |= self.has_business(secure);
        config.helo_fallback &= self.credentials.is_none() && (secure || self.tls != TlsPolicy::Require);
        config.danger_password_in_clear |= self.choice.danger_in_clear;
    }

    /// Whether there is something to do between hello and mail.
    fn has_business(&self, secure: bool) -> bool {
        self.credentials.is_some() || !secure && self.tls != TlsPolicy::None
    }

    /// For a driver that cannot bring the connection's stream within TLS: STARTTLS is then not said.
    ///
    /// # Errors
    ///
    /// [`UsageError::NobodyUpgrades`] when TLS is required and not there. Nothing has to be sent to find that out.
    pub fn without_upgrade(mut self, connection: &Connection) -> Result<Self, UsageError> {
        if !connection.is_secure() && self.tls == TlsPolicy::Require {
            return Err(UsageError::NobodyUpgrades);
        }
        self.tls = TlsPolicy::None;
        Ok(self)
    }

    /// What the TLS connection can bind an authentication to.
    pub fn channel_bindings(&mut self, bindings: ChannelBindings) {
        self.choice.bindings = bindings;
    }

    /// The version of TLS, such as `TLSv1.3`, if the driver knows it.
    pub fn tls_version(&mut self, version: Option<&str>) {
        self.report.tls_version = version.map(Into::into);
    }

    /// What is known of the session's security so far; complete after [`Step::Done`].
    pub fn report(&self) -> &SecurityReport {
        &self.report
    }

    /// Acts upon an event.
    ///
    /// # Errors
    ///
    /// [`Failure`] when there will be no session as the policy demands it. QUIT is then queued where that is possible.
    pub fn advance(&mut self, connection: &mut Connection, event: &Event) -> Result<Step, Failure> {
        self.report.password_in_clear = connection.has_exposed_password();
        let result = match event {
            Event::Greeting(_) if !connection.config().automatic_hello => self.leave_hello(connection),
            Event::Ready => self.secure(connection),
            Event::UpgradeTls => {
                self.report.capabilities_in_clear = Some(connection.capabilities().clone());
                return Ok(Step::UpgradeTls);
            }
            Event::Reply(reply) if self.upgrading => self.tls_refused(connection, reply),
            Event::Authenticated(_) => {
                if let Some((mechanism, binding)) = self.trying.take() {
                    (self.report.mechanism, self.report.channel_binding) = (Some(mechanism), binding);
                }
                Ok(Step::Done)
            }
            Event::AuthFailed(failure) => self.auth_failed(connection, failure),
            Event::Closed(reason) => Err(Failure::closed(reason.clone(), None)),
            _ => Ok(Step::Continue),
        };
        let result = match result {
            // The connection has ended behind this event. Why is told by the last one, which is still to come.
            Ok(Step::Done) | Err(Failure::Usage(UsageError::Closed)) if connection.state() == State::Closed => {
                Ok(Step::Continue)
            }
            result => result,
        };
        if result.is_err() {
            // Impossible when the connection is over or in the middle of something; then there is nothing to say.
            let _ = connection.quit();
        }
        result
    }

    /// The hello is left to the caller, and so is the session, unless there is something to do first: then somebody has
    /// forgotten [`configure`](Self::configure).
    fn leave_hello(&mut self, connection: &Connection) -> Result<Step, Failure> {
        if self.has_business(connection.is_secure()) {
            return Err(UsageError::NeedsHello.into());
        }
        self.report.secure = connection.is_secure();
        self.report.starttls = if connection.is_secure() { StartTls::NotNeeded } else { StartTls::NotTried };
        Ok(Step::Done)
    }

    /// A hello was accepted.
    fn secure(&mut self, connection: &mut Connection) -> Result<Step, Failure> {
        self.upgrading = false;
        self.report.capabilities = connection.capabilities().clone();
        self.report.secure = connection.is_secure();
        if connection.is_secure() {
            self.report.starttls = match self.report.capabilities_in_clear {
                Some(_) => StartTls::Done,
                None => StartTls::NotNeeded,
            };
            return self.authenticate(connection);
        }
        if self.tls == TlsPolicy::None {
            return self.authenticate(connection);
        }
        match connection.starttls() {
            Ok(()) => {
                self.upgrading = true;
                Ok(Step::Continue)
            }
            Err(UsageError::Missing(Extension::StartTls)) => {
                // Boxes that take the keyword away often write over it, since they cannot shorten the reply.
                let crossed_out =
                    |keyword: &str| keyword.len() == 8 && keyword.bytes().all(|octet| octet == b'X' || octet == b'A');
                let suspicious = connection.capabilities().iter().any(|(keyword, _)| crossed_out(keyword));
                self.report.starttls = StartTls::NotOffered { suspicious };
                self.in_clear(connection, None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tls_refused(&mut self, connection: &mut Connection, reply: &Reply) -> Result<Step, Failure> {
        self.upgrading = false;
        self.report.starttls = StartTls::Refused(reply.clone());
        self.in_clear(connection, Some(reply.clone()))
    }

    fn in_clear(&mut self, connection: &mut Connection, reply: Option<Reply>) -> Result<Step, Failure> {
        let suspicious = matches!(self.report.starttls, StartTls::NotOffered { suspicious: true });
        if self.tls == TlsPolicy::Require {
            return Err(Failure::TlsRequired { reply, suspicious });
        }
        self.authenticate(connection).map_err(|error| match error {
            // The credentials require it, and that it was refused is the reason.
            Failure::NoMechanism(_) if reply.is_some() => Failure::TlsRequired { reply, suspicious },
            error => error,
        })
    }

    fn authenticate(&mut self, connection: &mut Connection) -> Result<Step, Failure> {
        let Some(credentials) = self.credentials.as_ref().filter(|_| !connection.is_authenticated()) else {
            return Ok(Step::Done);
        };
        if connection.state() == State::Closed {
            return Err(UsageError::Closed.into());
        }
        self.choice.secure = connection.is_secure();
        self.choice.danger_in_clear |= connection.config().danger_password_in_clear;
        if let entropy @ [_, ..] = self.entropy.expose() {
            self.choice.nonce = [entropy, &[self.attempts]].concat().into();
        }
        self.attempts = self.attempts.saturating_add(1);
        let mechanism = sasl::choose(credentials, connection.capabilities(), &self.choice)?;
        let bound = self.choice.bindings.preferred().filter(|_| mechanism.name().ends_with("-PLUS"));
        self.trying = Some((mechanism.name().into(), bound.map(|(name, _)| name)));
        connection.auth(mechanism)?;
        Ok(Step::Continue)
    }

    fn auth_failed(&mut self, connection: &mut Connection, failure: &AuthFailure) -> Result<Step, Failure> {
        let may_change = self.credentials.as_ref().is_some_and(Credentials::may_change);
        match failure.kind() {
            // Only these say that another mechanism may do where this one did not. Anything else may be somebody who wants
            // a weaker one to be used.
            AuthFailureKind::TooWeak | AuthFailureKind::Unsupported => {
                self.choice.tried.push(failure.mechanism().into());
            }
            AuthFailureKind::Credentials if may_change && !self.asked_anew => self.asked_anew = true,
            _ => return Err(Failure::Auth(Box::new(failure.clone()))),
        }
        self.authenticate(connection).map_err(|next| match next {
            // That there is nothing else to try is no news; why this did not do is.
            Failure::NoMechanism(_) => Failure::Auth(Box::new(failure.clone())),
            other => other,
        })
    }
}

/// How safe a session is, for those who answer for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecurityReport {
    /// Whether octets travel within TLS. The driver knows with which certificate.
    pub secure: bool,
    /// The version of TLS, such as `TLSv1.3`, if the driver told it.
    pub tls_version: Option<Box<str>>,
    /// What became of STARTTLS.
    pub starttls: StartTls,
    /// What the server offered before TLS. Somebody else may have said it.
    pub capabilities_in_clear: Option<Capabilities>,
    /// What the server offers now.
    pub capabilities: Capabilities,
    /// The mechanism that authenticated the session.
    pub mechanism: Option<Box<str>>,
    /// The channel binding that tied the authentication to the TLS connection.
    pub channel_binding: Option<&'static str>,
    /// Whether a password or token that can be used again crossed the stream in clear.
    pub password_in_clear: bool,
}

/// What became of STARTTLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartTls {
    /// It was not tried.
    #[default]
    NotTried,
    /// TLS was there from the start.
    NotNeeded,
    /// TLS was established by it.
    Done,
    /// The server did not offer it.
    NotOffered {
        /// A keyword looks as if somebody had crossed STARTTLS out.
        suspicious: bool,
    },
    /// The server offered and then refused it.
    Refused(Reply),
}

impl SecurityReport {
    /// Keywords that are offered now and were not before TLS, or with other parameters.
    pub fn gained(&self) -> impl Iterator<Item = (&str, &str)> {
        differing(Some(&self.capabilities), self.capabilities_in_clear.as_ref())
    }

    /// Keywords that were offered before TLS and are not now, or with other parameters. STARTTLS itself is one.
    pub fn lost(&self) -> impl Iterator<Item = (&str, &str)> {
        differing(self.capabilities_in_clear.as_ref(), Some(&self.capabilities))
    }
}

/// What `one` has and `other` has not; nothing when there is no other to compare with.
fn differing<'a>(
    one: Option<&'a Capabilities>,
    other: Option<&'a Capabilities>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pair = one.zip(other);
    pair.into_iter().flat_map(|(one, other)| {
        // A keyword may stand on several lines.
        let same = |(keyword, parameters): &(&str, &str), (name, others): (&str, &str)| {
            name.eq_ignore_ascii_case(keyword) && others == *parameters
        };
        one.iter().filter(move |line| !other.iter().any(|offer| same(line, offer)))
    })
}
