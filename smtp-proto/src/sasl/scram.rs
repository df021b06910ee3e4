//! SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, and nobody who listens learns it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use super::{Mechanism, Response, SaslError, Secret};

/// The hash that a SCRAM mechanism is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ScramHash {
    /// SCRAM-SHA-1, RFC 5802.
    Sha1,
    /// SCRAM-SHA-256, RFC 7677.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramHash {
    pub(super) const fn mechanism(self, plus: bool) -> &'static str {
        match (self, plus) {
            (Self::Sha1, false) => "SCRAM-SHA-1",
            (Self::Sha1, true) => "SCRAM-SHA-1-PLUS",
            (Self::Sha256, false) => "SCRAM-SHA-256",
            (Self::Sha256, true) => "SCRAM-SHA-256-PLUS",
            (Self::Sha512, false) => "SCRAM-SHA-512",
            (Self::Sha512, true) => "SCRAM-SHA-512-PLUS",
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        fn of<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
            // HMAC takes keys of any length.
            let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha1 => of::<Hmac<Sha1>>(key, data),
            Self::Sha256 => of::<Hmac<Sha256>>(key, data),
            Self::Sha512 => of::<Hmac<Sha512>>(key, data),
        }
    }

    fn stretch(self, password: &[u8], salt: &[u8], iterations: u32) -> Result<Box<dyn Stretch>, SaslError> {
        Ok(match self {
            Self::Sha1 => Box::new(Hi::<Hmac<Sha1>>::new(password, salt, iterations)?),
            Self::Sha256 => Box::new(Hi::<Hmac<Sha256>>::new(password, salt, iterations)?),
            Self::Sha512 => Box::new(Hi::<Hmac<Sha512>>::new(password, salt, iterations)?),
        })
    }
}

/// Iterations at a time: a few milliseconds.
const AT_A_TIME: u32 = 4096;

/// A password on its way to a key.
trait Stretch: Send {
    /// Does some iterations. The key, once all are done.
    fn go_on(&mut self) -> Option<&[u8]>;
}

/// `Hi` of RFC 5802 section 2.2: PBKDF2 whose key is one block. Here rather than from the crate of that name because a server
/// that asks for many iterations must not keep an event loop from its other connections.
struct Hi<M> {
    keyed: M,
    block: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    left: u32,
}

impl<M: Mac + KeyInit + Clone> Hi<M> {
    fn new(password: &[u8], salt: &[u8], iterations: u32) -> Result<Self, SaslError> {
        // HMAC takes keys of any length.
        let keyed = <M as KeyInit>::new_from_slice(password).map_err(|_| SaslError::Prohibited)?;
        let first = keyed.clone().chain_update(salt).chain_update(1_u32.to_be_bytes()).finalize().into_bytes();
        let block = Zeroizing::new(first.to_vec());
        Ok(Self { keyed, key: block.clone(), block, left: iterations.saturating_sub(1) })
    }
}

impl<M: Mac + Clone + Send> Stretch for Hi<M> {
    fn go_on(&mut self) -> Option<&[u8]> {
        let now = self.left.min(AT_A_TIME);
        for _ in 0..now {
            let next = self.keyed.clone().chain_update(&*self.block).finalize().into_bytes();
            self.block.copy_from_slice(&next);
            self.key.iter_mut().zip(&next).for_each(|(sum, octet)| *sum ^= octet);
        }
        self.left -= now;
        (self.left == 0).then_some(&*self.key)
    }
}

/// How the exchange is tied to the TLS connection it runs in (RFC 5802 section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Binding {
    /// This side cannot: `n`.
    #[default]
    Unsupported,
    /// This side can and the server did not offer it: `y`, so that a server that did can tell that someone took it away.
    NotOffered,
    /// By these octets of the TLS connection, of a kind with this registered name: `p=`.
    To(&'static str, Vec<u8>),
}

impl Binding {
    pub(super) fn is_plus(&self) -> bool {
        self.octets().is_some()
    }

    fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::To(_, octets) => Some(octets),
            Self::Unsupported | Self::NotOffered => None,
        }
    }

    fn flag(&self) -> String {
        match self {
            Self::Unsupported => "n".into(),
            Self::NotOffered => "y".into(),
            Self::To(name, _) => format!("p={name}"),
        }
    }
}

/// How many iterations of the hash a server may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Iterations {
    /// Fewer would let whoever plays the server guess at the password. Default 4,096 (RFC 7677 section 4).
    pub least: u32,
    /// More would cost this side more time than the server's honesty is worth. Default 1,000,000: a few seconds at most.
    pub most: u32,
}

impl Default for Iterations {
    fn default() -> Self {
        Self { least: 4096, most: 1_000_000 }
    }
}

/// Octets of a server's nonce or salt that are believed to be one.
const LONGEST: usize = 1024;

/// SCRAM with any hash, with or without channel binding.
#[derive(Debug)]
pub(super) struct Scram {
    hash: ScramHash,
    binding: Binding,
    iterations: Iterations,
    password: Secret,
    gs2_header: String,
    client_first_bare: String,
    nonce: String,
    state: State,
    /// The server's account of its refusal, `e=`.
    refusal: Option<Vec<u8>>,
}

enum State {
    /// Nothing was received yet.
    First,
    /// The proof takes long to compute.
    Proving(Proving),
    /// The proof was sent; the server has to answer with this signature.
    Proven(Secret),
    /// The server has proven itself.
    Done,
    Failed,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "First",
            Self::Proving(_) => "Proving",
            Self::Proven(_) => "Proven",
            Self::Done => "Done",
            Self::Failed => "Failed",
        })
    }
}

/// What the proof is made of.
struct Proving {
    salted: Box<dyn Stretch>,
    /// The client's last message but for the proof.
    without_proof: String,
    auth_message: String,
}

impl Scram {
    /// `nonce` has to be fresh randomness for each exchange: 18 octets or more.
    ///
    /// # Errors
    ///
    /// [`SaslError::Prohibited`] when the name or the password cannot be prepared (RFC 4013; needs feature `saslprep`,
    /// without which they are taken as they are).
    pub(super) fn new(
        hash: ScramHash,
        authzid: Option<&str>,
        authcid: &str,
        password: &Secret,
        nonce: &[u8],
        binding: Binding,
        iterations: Iterations,
    ) -> Result<Self, SaslError> {
        let authzid = authzid.map(|name| format!("a={}", escaped(name))).unwrap_or_default();
        let nonce = BASE64_STANDARD.encode(nonce);
        Ok(Self {
            hash,
            gs2_header: format!("{},{authzid},", binding.flag()),
            client_first_bare: format!("n={},r={nonce}", escaped(&prepared(authcid)?)),
            binding,
            iterations,
            password: prepared_password(password)?,
            nonce,
            state: State::First,
            refusal: None,
        })
    }

    /// Answers the server's first message with the proof (RFC 5802 section 3).
    fn begin_proof(&mut self, server_first: &str) -> Result<Response, SaslError> {
        let ServerFirst { nonce, salt, iterations } = ServerFirst::parse(server_first)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(SaslError::MalformedChallenge);
        }
        if !(self.iterations.least..=self.iterations.most).contains(&iterations) {
            return Err(SaslError::Iterations(iterations));
        }
        let header = [self.gs2_header.as_bytes(), self.binding.octets().unwrap_or_default()].concat();
        let without_proof = format!("c={},r={nonce}", BASE64_STANDARD.encode(header));
        let auth_message = format!("{},{server_first},{without_proof}", self.client_first_bare);

        let salted = self.hash.stretch(self.password.expose(), &salt, iterations)?;
        Ok(self.prove(Proving { salted, without_proof, auth_message }))
    }

    fn prove(&mut self, mut proving: Proving) -> Response {
        let Proving { salted, without_proof, auth_message } = &mut proving;
        let Some(salted) = salted.go_on() else {
            self.state = State::Proving(proving);
            return Response::Later;
        };
        let client_key = Zeroizing::new(self.hash.hmac(salted, b"Client Key"));
        let client_signature = self.hash.hmac(&self.hash.digest(&client_key), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&client_signature).map(|(a, b)| a ^ b).collect();
        let server_key = Zeroizing::new(self.hash.hmac(salted, b"Server Key"));
        let server_signature = self.hash.hmac(&server_key, auth_message.as_bytes());
        self.state = State::Proven(server_signature.into());
        Response::Say(format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)).into())
    }

    /// Checks the server's last message.
    fn check(&self, signature: &Secret, server_final: &str) -> Result<(), SaslError> {
        let attribute = server_final.split(',').next().and_then(|attribute| attribute.split_once('='));
        let Some(("v", verifier)) = attribute else { return Err(SaslError::MalformedChallenge) };
        let verifier = BASE64_STANDARD.decode(verifier).map_err(|_| SaslError::MalformedChallenge)?;
        // In the same time wherever they differ: as keyed hashes of each other's equal, not octet by octet.
        let key = self.nonce.as_bytes();
        let same = self.hash.hmac(key, &verifier) == self.hash.hmac(key, signature.expose());
        if same { Ok(()) } else { Err(SaslError::ServerUnproven) }
    }
}

impl Mechanism for Scram {
    fn name(&self) -> &str {
        self.hash.mechanism(self.binding.is_plus())
    }

    fn initial_response(&mut self) -> Option<Secret> {
        Some(format!("{}{}", self.gs2_header, self.client_first_bare).into())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError> {
        let challenge = core::str::from_utf8(challenge).map_err(|_| SaslError::MalformedChallenge)?;
        match core::mem::replace(&mut self.state, State::Failed) {
            State::First => self.begin_proof(challenge),
            // What it was refused for. The refusal proper comes once that is answered.
            State::Proven(_) if challenge.starts_with("e=") => {
                self.refusal = challenge.get(2..).map(|account| account.as_bytes().to_vec());
                Ok(Secret::default().into())
            }
            State::Proven(signature) => {
                self.check(&signature, challenge)?;
                self.state = State::Done;
                Ok(Secret::default().into())
            }
            State::Proving(_) | State::Done | State::Failed => Err(SaslError::UnexpectedChallenge),
        }
    }

    fn resume(&mut self) -> Result<Response, SaslError> {
        match core::mem::replace(&mut self.state, State::Failed) {
            State::Proving(proving) => Ok(self.prove(proving)),
            _ => Err(SaslError::UnexpectedChallenge),
        }
    }

    fn verify_success(&mut self) -> Result<(), SaslError> {
        if matches!(self.state, State::Done) { Ok(()) } else { Err(SaslError::ServerUnproven) }
    }

    fn exposes_password(&self) -> bool {
        false
    }

    fn server_error(&mut self) -> Option<Vec<u8>> {
        self.refusal.take()
    }
}

/// The server's first message: `r=nonce,s=salt,i=iterations` and perhaps extensions.
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// A mandatory extension (`m=`), an attribute out of order, or one given twice is refused.
    fn parse(message: &'a str) -> Result<Self, SaslError> {
        let malformed = SaslError::MalformedChallenge;
        let mut attributes = message.split(',');
        let mut next = |name: &str| {
            let (key, value) = attributes.next()?.split_once('=')?;
            (key == name && !value.is_empty() && value.len() <= LONGEST).then_some(value)
        };
        let nonce = next("r").filter(|nonce| nonce.bytes().all(|octet| octet.is_ascii_graphic())).ok_or(malformed)?;
        let salt = BASE64_STANDARD.decode(next("s").ok_or(malformed)?).map_err(|_| malformed)?;
        let iterations = next("i").ok_or(malformed)?;
        if iterations.starts_with('0') || !iterations.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(malformed);
        }
        let mut seen = vec!["r", "s", "i", "m"];
        for attribute in attributes {
            let (key, _) = attribute.split_once('=').ok_or(malformed)?;
            if key.len() != 1 || !key.bytes().all(|octet| octet.is_ascii_alphabetic()) || seen.contains(&key) {
                return Err(malformed);
            }
            seen.push(key);
        }
        // A number too large for u32 is too large for us.
        Ok(Self { nonce, salt, iterations: iterations.parse().unwrap_or(u32::MAX) })
    }
}

/// `saslname` of RFC 5802 section 5.1.
fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(feature = "saslprep")]
fn prepared(text: &str) -> Result<Box<str>, SaslError> {
    match stringprep::saslprep(text) {
        Ok(prepared) if !prepared.is_empty() => Ok(prepared.into()),
        _ => Err(SaslError::Prohibited),
    }
}

#[cfg(not(feature = "saslprep"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature with and without the feature")]
fn prepared(text: &str) -> Result<Box<str>, SaslError> {
    Ok(text.into())
}

/// A password that is not text is taken as it is.
fn prepared_password(password: &Secret) -> Result<Secret, SaslError> {
    match core::str::from_utf8(password.expose()) {
        Ok(text) => prepared(text).map(|text| String::from(text).into()),
        Err(_) => Ok(password.clone()),
    }
}

#[cfg(test)]
mod tests;
