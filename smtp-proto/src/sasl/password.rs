//! Mechanisms that are one or two messages: PLAIN, LOGIN, CRAM-MD5, EXTERNAL, ANONYMOUS.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::{Mechanism, Response, SaslError, Secret};

/// A mechanism that is one message, to which the server has nothing to answer.
#[derive(Debug)]
pub(super) struct OneMessage {
    name: &'static str,
    message: Secret,
    exposes_password: bool,
}

impl OneMessage {
    /// PLAIN, RFC 4616: the password itself, as `authzid` NUL `authcid` NUL `password`. No part may hold a NUL;
    /// [`Credentials`](super::Credentials) sees to that.
    pub(super) fn plain(authzid: &str, authcid: &str, password: &Secret) -> Self {
        let message = [authzid.as_bytes(), authcid.as_bytes(), password.expose()].join(&0).into();
        Self { name: "PLAIN", message, exposes_password: true }
    }

    /// EXTERNAL, RFC 4422 appendix A: the server knows us by other means, such as a client certificate.
    pub(super) fn external(authzid: &str) -> Self {
        Self { name: "EXTERNAL", message: authzid.into(), exposes_password: false }
    }

    /// ANONYMOUS, RFC 4505: nobody, with a trace for the log.
    pub(super) fn anonymous(trace: &str) -> Self {
        Self { name: "ANONYMOUS", message: trace.into(), exposes_password: false }
    }
}

impl Mechanism for OneMessage {
    fn name(&self) -> &str {
        self.name
    }

    fn initial_response(&mut self) -> Option<Secret> {
        Some(self.message.clone())
    }

    fn respond(&mut self, _: &[u8]) -> Result<Response, SaslError> {
        Err(SaslError::UnexpectedChallenge)
    }

    fn exposes_password(&self) -> bool {
        self.exposes_password
    }
}

/// LOGIN, never standardized: name, then password. The server's prompts differ, so they are counted and not read.
#[derive(Debug)]
pub(super) struct Login {
    authcid: Box<str>,
    password: Secret,
    prompts: usize,
}

impl Login {
    pub(super) fn new(authcid: &str, password: &Secret) -> Self {
        Self { authcid: authcid.into(), password: password.clone(), prompts: 0 }
    }
}

impl Mechanism for Login {
    fn name(&self) -> &str {
        "LOGIN"
    }

    fn respond(&mut self, _: &[u8]) -> Result<Response, SaslError> {
        self.prompts += 1;
        match self.prompts {
            1 => Ok(Response::Say(self.authcid.as_bytes().to_vec().into())),
            2 => Ok(Response::Say(self.password.clone())),
            _ => Err(SaslError::UnexpectedChallenge),
        }
    }
}

/// CRAM-MD5, RFC 2195: proof of the password by a keyed hash of the challenge. Does not show the password, but lets whoever
/// chose the challenge guess at it.
#[derive(Debug)]
pub(super) struct CramMd5 {
    authcid: Box<str>,
    password: Secret,
    answered: bool,
}

impl CramMd5 {
    pub(super) fn new(authcid: &str, password: &Secret) -> Self {
        Self { authcid: authcid.into(), password: password.clone(), answered: false }
    }
}

impl Mechanism for CramMd5 {
    fn name(&self) -> &str {
        "CRAM-MD5"
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError> {
        if core::mem::replace(&mut self.answered, true) {
            return Err(SaslError::UnexpectedChallenge);
        }
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Md5>::new_from_slice(self.password.expose()).map_err(|_| SaslError::Prohibited)?;
        mac.update(challenge);
        let digest: Vec<_> = mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Response::Say(format!("{} {}", self.authcid, digest.concat()).into()))
    }

    fn exposes_password(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::*;

    // C-125: the example of RFC 2195 section 2.
    #[test]
    fn the_example_of_cram_md5() {
        let mut mechanism = CramMd5::new("tim", &"tanstaaftanstaaf".into());
        assert!(mechanism.initial_response().is_none());
        let response = said(mechanism.respond(b"<1896.697170952@postoffice.reston.mci.net>"));
        assert_eq!(response.expose(), b"tim b913a602c7eda7a495b4e6e7334d3890");
        assert_eq!(mechanism.respond(b"again").unwrap_err(), SaslError::UnexpectedChallenge);
        assert!(!mechanism.exposes_password());
    }

    // C-123: the examples of RFC 4616 section 4.
    #[test]
    fn the_examples_of_plain() {
        let mut mechanism = OneMessage::plain("", "tim", &"tanstaaftanstaaf".into());
        assert_eq!(mechanism.initial_response().unwrap().expose(), b"\0tim\0tanstaaftanstaaf");
        let mut mechanism = OneMessage::plain("Ursel", "Kurt", &"xipj3plmq".into());
        assert_eq!(mechanism.initial_response().unwrap().expose(), b"Ursel\0Kurt\0xipj3plmq");
        assert!(mechanism.exposes_password());
    }

    #[test]
    fn login_counts_its_prompts() {
        let mut mechanism = Login::new("üser", &"pässword".into());
        assert_eq!(said(mechanism.respond(b"Password:")).expose(), "üser".as_bytes());
        assert_eq!(said(mechanism.respond(b"")).expose(), "pässword".as_bytes());
        assert!(mechanism.respond(b"Username:").is_err());
    }
}
