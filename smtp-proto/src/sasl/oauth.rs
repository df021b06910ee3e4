//! Bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2, its older relative.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::{Mechanism, Response, SaslError, Secret};

/// Separates the parts of a message.
const SEPARATOR: &str = "\x01";

/// The one message that both mechanisms are, and what the server answers when it does not like it.
#[derive(Debug)]
struct Exchange {
    message: Secret,
    token: Secret,
    refused: bool,
    /// The server's account of its refusal: JSON.
    error: Option<Vec<u8>>,
}

impl Exchange {
    fn new(prefix: &str, token: &Secret) -> Self {
        let bearer =
            [prefix.as_bytes(), b"auth=Bearer ", token.expose(), SEPARATOR.as_bytes(), SEPARATOR.as_bytes()].concat();
        Self { message: bearer.into(), token: token.clone(), refused: false, error: None }
    }

    /// A refusal comes as a challenge, which has to be answered before the refusal proper comes.
    fn refused(&mut self, challenge: &[u8], answer: &str) -> Result<Response, SaslError> {
        if core::mem::replace(&mut self.refused, true) {
            return Err(SaslError::UnexpectedChallenge);
        }
        // One that says the token again, as a server does that repeats what it was told, is for no log.
        let repeats = memchr::memmem::find(challenge, self.token.expose()).is_some();
        self.error = Some(challenge.to_vec()).filter(|_| !repeats);
        Ok(Response::Say(answer.into()))
    }

    /// Once the server has given an account of its refusal it has to refuse (RFC 7628 section 3.2.3).
    fn believe(&self) -> Result<(), SaslError> {
        if self.refused { Err(SaslError::ServerRefused) } else { Ok(()) }
    }
}

/// OAUTHBEARER, RFC 7628.
#[derive(Debug)]
pub(super) struct OAuthBearer(Exchange);

impl OAuthBearer {
    /// `server` is the host and port that the token is meant for, where the service wants to know.
    pub(super) fn new(user: &str, token: &Secret, server: Option<&(Box<str>, u16)>) -> Self {
        // A name within the GS2 header: RFC 5801 section 4.
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let mut prefix = format!("n,a={user},{SEPARATOR}");
        if let Some((host, port)) = server {
            prefix += &format!("host={host}{SEPARATOR}port={port}{SEPARATOR}");
        }
        Self(Exchange::new(&prefix, token))
    }
}

impl Mechanism for OAuthBearer {
    fn name(&self) -> &str {
        "OAUTHBEARER"
    }

    fn initial_response(&mut self) -> Option<Secret> {
        Some(self.0.message.clone())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError> {
        self.0.refused(challenge, SEPARATOR)
    }

    fn verify_success(&mut self) -> Result<(), SaslError> {
        self.0.believe()
    }

    fn server_error(&mut self) -> Option<Vec<u8>> {
        self.0.error.take()
    }
}

/// XOAUTH2, as Google and Microsoft document it.
#[derive(Debug)]
pub(super) struct XOAuth2(Exchange);

impl XOAuth2 {
    pub(super) fn new(user: &str, token: &Secret) -> Self {
        Self(Exchange::new(&format!("user={user}{SEPARATOR}"), token))
    }
}

impl Mechanism for XOAuth2 {
    fn name(&self) -> &str {
        "XOAUTH2"
    }

    fn initial_response(&mut self) -> Option<Secret> {
        Some(self.0.message.clone())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError> {
        self.0.refused(challenge, "")
    }

    fn verify_success(&mut self) -> Result<(), SaslError> {
        self.0.believe()
    }

    fn server_error(&mut self) -> Option<Vec<u8>> {
        self.0.error.take()
    }
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    // C-129: the example of RFC 7628 section 4.1, and its failure of section 4.3.
    #[test]
    fn the_example_of_oauthbearer() {
        let server = ("server.example.com".into(), 143);
        let mut mechanism =
            OAuthBearer::new("user@example.com", &"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".into(), Some(&server));
        assert_eq!(
            mechanism.initial_response().unwrap().expose(),
            b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        );
        assert_eq!(said(mechanism.respond(b"{\"status\":\"invalid_token\"}")).expose(), b"\x01");
        assert!(mechanism.respond(b"{}").is_err());
    }

    #[test]
    fn names_are_escaped_in_the_header() {
        let mut mechanism = OAuthBearer::new("a,b=c", &"t".into(), None);
        assert_eq!(mechanism.initial_response().unwrap().expose(), b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01");
    }

    #[test]
    fn xoauth2_answers_a_refusal_with_nothing() {
        let mut mechanism =
            XOAuth2::new("someuser@example.com", &"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg".into());
        assert_eq!(
            mechanism.initial_response().unwrap().expose(),
            b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"
        );
        assert_eq!(said(mechanism.respond(b"{\"status\":\"401\"}")).expose(), b"");
        assert_eq!(mechanism.verify_success(), Err(SaslError::ServerRefused));
        assert_eq!(mechanism.server_error().unwrap(), b"{\"status\":\"401\"}");
    }
}
