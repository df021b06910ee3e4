//! Which mechanism to use.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use super::credentials::Kind;
use super::oauth::{OAuthBearer, XOAuth2};
use super::password::{CramMd5, Login, OneMessage};
#[cfg(feature = "scram")]
use super::scram::{Binding, Iterations, Scram, ScramHash};
use super::{Credentials, Mechanism, SaslError, Secret};
use crate::capability::Capabilities;
use crate::escape::Escaped;

/// What a TLS connection can bind an exchange to. Given by whoever did the handshake.
///
/// `Debug` shows which there are, and no octets.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelBindings {
    /// 32 octets exported with label `EXPORTER-Channel-Binding` and an empty context (RFC 9266). On TLS 1.2 only with the
    /// extended master secret.
    pub tls_exporter: Option<Vec<u8>>,
    /// The hash of the server's certificate (RFC 5929 section 4.1).
    pub tls_server_end_point: Option<Vec<u8>>,
}

impl ChannelBindings {
    /// The one that is used: its registered name, and its octets.
    pub(crate) fn preferred(&self) -> Option<(&'static str, &[u8])> {
        let exporter = self.tls_exporter.as_deref().map(|octets| ("tls-exporter", octets));
        exporter.or_else(|| self.tls_server_end_point.as_deref().map(|octets| ("tls-server-end-point", octets)))
    }
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exporter = self.tls_exporter.as_ref().map(|_| "tls-exporter");
        let end_point = self.tls_server_end_point.as_ref().map(|_| "tls-server-end-point");
        f.debug_set().entries(exporter.into_iter().chain(end_point)).finish()
    }
}

/// What a choice depends on besides credentials and offers.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Choice {
    /// Whether the stream is encrypted.
    pub secure: bool,
    /// Whether a password or token may cross in clear. Default false.
    pub danger_in_clear: bool,
    /// Fresh randomness for this exchange: 18 octets or more. Without it SCRAM is not used.
    pub nonce: Secret,
    /// What TLS can bind the exchange to.
    pub bindings: ChannelBindings,
    /// Whether SCRAM has to be bound to TLS: without an offer of that, nothing is chosen.
    pub require_binding: bool,
    /// How many iterations SCRAM may cost.
    #[cfg(feature = "scram")]
    pub iterations: Iterations,
    /// The host and port of the server, told to OAUTHBEARER.
    pub server: Option<(Box<str>, u16)>,
    /// The one mechanism to use, by its name in upper case, instead of the strongest.
    pub only: Option<Box<str>>,
    /// Mechanisms not to use, by their names in upper case.
    pub without: Vec<Box<str>>,
    /// Mechanisms that were tried already, and all that come before them in the order.
    pub tried: Vec<Box<str>>,
}

/// Why no mechanism can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// The server offers none that these credentials can be used with.
    #[error("the server offers no mechanism for these credentials; it offers: {offered}")]
    NotOffered {
        /// What it offers, escaped and cut to 512 octets.
        offered: Box<str>,
    },
    /// The ones it offers would show a password or token to whoever listens.
    #[error("the mechanisms that the server offers need TLS")]
    NeedsTls,
    /// The credentials cannot be used: SASLprep refuses them, or the token source has no token.
    #[error("the credentials cannot be used: {0}")]
    Credentials(SaslError),
}

/// How much of the server's list a failure repeats.
const SHOWN: usize = 512;

/// One way to use credentials.
#[derive(Clone, Debug)]
enum Candidate {
    #[cfg(feature = "scram")]
    Scram(ScramHash, Binding),
    CramMd5,
    Plain,
    Login,
    OAuthBearer,
    XOAuth2,
    External,
    Anonymous,
}

impl Candidate {
    fn name(&self) -> &'static str {
        match self {
            #[cfg(feature = "scram")]
            Self::Scram(hash, binding) => hash.mechanism(binding.is_plus()),
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// Whether the mechanism has a place for another identity to act as.
    fn has_authzid(&self) -> bool {
        !matches!(self, Self::CramMd5 | Self::Login | Self::XOAuth2 | Self::Anonymous)
    }

    fn needs_tls(&self) -> bool {
        matches!(self, Self::Plain | Self::Login | Self::OAuthBearer | Self::XOAuth2)
    }
}

/// Picks the strongest mechanism that the server offers and these credentials allow.
///
/// For a password: SCRAM bound to TLS, SCRAM, CRAM-MD5, PLAIN, LOGIN; for a token OAUTHBEARER, XOAUTH2.
///
/// # Errors
///
/// [`ChooseError`] when there is none. That is an error and never a reason to go on without authentication.
pub fn choose(
    credentials: &Credentials,
    offered: &Capabilities,
    choice: &Choice,
) -> Result<Box<dyn Mechanism>, ChooseError> {
    let offers = |name: &str| offered.auth_mechanisms().any(|mechanism| mechanism.eq_ignore_ascii_case(name));
    let candidates = candidates(credentials, choice, &offers);
    let last_tried =
        candidates.iter().rposition(|candidate| choice.tried.iter().any(|tried| **tried == *candidate.name()));
    let mut usable = candidates
        .into_iter()
        .enumerate()
        .filter(|(_, candidate)| choice.only.as_deref().is_none_or(|only| only == candidate.name()))
        .filter(|(_, candidate)| !choice.without.iter().any(|without| **without == *candidate.name()))
        .filter(|(index, candidate)| last_tried.is_none_or(|last| *index > last) && offers(candidate.name()))
        .map(|(_, candidate)| candidate)
        .peekable();
    if usable.peek().is_none() {
        let offered: Vec<&str> = offered.auth_mechanisms().collect();
        let offered = if offered.is_empty() { "none".to_string() } else { offered.join(" ") };
        // The server chose every character.
        let offered = Escaped(offered.as_bytes().get(..SHOWN).unwrap_or(offered.as_bytes())).to_string();
        return Err(ChooseError::NotOffered { offered: offered.into() });
    }
    let safe = choice.secure || choice.danger_in_clear;
    let mut error = ChooseError::NeedsTls;
    for candidate in usable.filter(|candidate| safe || !candidate.needs_tls()) {
        match build(&candidate, credentials, choice) {
            Ok(mechanism) => return Ok(mechanism),
            // No mechanism prepares credentials but SCRAM, so another one may carry them.
            Err(SaslError::Prohibited) => error = ChooseError::Credentials(SaslError::Prohibited),
            Err(other) => return Err(ChooseError::Credentials(other)),
        }
    }
    Err(error)
}

/// Every way to use the credentials, strongest first.
fn candidates(credentials: &Credentials, choice: &Choice, offers: &dyn Fn(&str) -> bool) -> Vec<Candidate> {
    let mut candidates = match credentials.kind {
        Kind::Password { .. } => {
            let mut candidates = scram_candidates(choice, offers);
            if !choice.require_binding {
                candidates.extend([Candidate::CramMd5, Candidate::Plain, Candidate::Login]);
            }
            candidates
        }
        Kind::Token { .. } => alloc::vec![Candidate::OAuthBearer, Candidate::XOAuth2],
        Kind::External => alloc::vec![Candidate::External],
        Kind::Anonymous { .. } => alloc::vec![Candidate::Anonymous],
    };
    if credentials.authzid.is_some() {
        candidates.retain(Candidate::has_authzid);
    }
    candidates
}

#[cfg(feature = "scram")]
fn scram_candidates(choice: &Choice, offers: &dyn Fn(&str) -> bool) -> Vec<Candidate> {
    const STRONGEST_FIRST: [ScramHash; 3] = [ScramHash::Sha512, ScramHash::Sha256, ScramHash::Sha1];
    if choice.nonce.expose().len() < 18 {
        return Vec::new();
    }
    let bound = choice.bindings.preferred().map(|(name, octets)| Binding::To(name, octets.into()));
    let plus = STRONGEST_FIRST.map(|hash| hash.mechanism(true));
    let offered = plus.iter().any(|name| offers(name));
    let refused = plus.iter().any(|name| choice.tried.iter().any(|tried| **tried == **name));
    let unbound = match &bound {
        // Passed over at the caller's wish. To say that the server does not offer it would be taken for an attack.
        Some(_) if offered && !refused => Binding::Unsupported,
        // Or was refused after it had been offered, perhaps by somebody in between: the server will know.
        Some(_) => Binding::NotOffered,
        None => Binding::Unsupported,
    };
    let plus = bound.iter().flat_map(|bound| STRONGEST_FIRST.map(|hash| Candidate::Scram(hash, bound.clone())));
    let plain = STRONGEST_FIRST.map(|hash| Candidate::Scram(hash, unbound.clone()));
    plus.chain(plain.into_iter().filter(|_| !choice.require_binding)).collect()
}

#[cfg(not(feature = "scram"))]
fn scram_candidates(_: &Choice, _: &dyn Fn(&str) -> bool) -> Vec<Candidate> {
    Vec::new()
}

fn build(candidate: &Candidate, credentials: &Credentials, choice: &Choice) -> Result<Box<dyn Mechanism>, SaslError> {
    let authzid = credentials.authzid.as_deref();
    Ok(match (candidate, &credentials.kind) {
        #[cfg(feature = "scram")]
        (Candidate::Scram(hash, binding), Kind::Password { authcid, password }) => Box::new(Scram::new(
            *hash,
            authzid,
            authcid,
            password,
            choice.nonce.expose(),
            binding.clone(),
            choice.iterations,
        )?),
        (Candidate::CramMd5, Kind::Password { authcid, password }) => Box::new(CramMd5::new(authcid, password)),
        (Candidate::Plain, Kind::Password { authcid, password }) => {
            Box::new(OneMessage::plain(authzid.unwrap_or_default(), authcid, password))
        }
        (Candidate::Login, Kind::Password { authcid, password }) => Box::new(Login::new(authcid, password)),
        (Candidate::OAuthBearer, Kind::Token { user, source, .. }) => {
            if choice.server.as_ref().is_some_and(|(host, _)| host.chars().any(char::is_control)) {
                return Err(SaslError::Prohibited);
            }
            Box::new(OAuthBearer::new(
                authzid.unwrap_or(user),
                &source().ok_or(SaslError::Cancelled)?,
                choice.server.as_ref(),
            ))
        }
        (Candidate::XOAuth2, Kind::Token { user, source, .. }) => {
            Box::new(XOAuth2::new(user, &source().ok_or(SaslError::Cancelled)?))
        }
        (Candidate::Anonymous, Kind::Anonymous { trace }) => Box::new(OneMessage::anonymous(trace)),
        _ => Box::new(OneMessage::external(authzid.unwrap_or_default())),
    })
}
