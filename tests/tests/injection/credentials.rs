//! Names, passwords, tokens, and what mechanisms of the caller's say.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use smtp_conformance::lab::{Lab, smtp};
use smtp_driver::Options;
use smtp_proto::sasl::{Choice, Credentials, CredentialsError, Mechanism, Response, SaslError, Secret, choose};
use smtp_proto::{Connection, Security, TlsMode};

use crate::shape::Shape;
use crate::{Entry, Server, attempt};

const NUL: Shape = Shape::Sasl(Some(0));
const CONTROL_A: Shape = Shape::Sasl(Some(1));
const COMMA: Shape = Shape::Sasl(Some(b','));
const ANY: Shape = Shape::Sasl(None);

pub(crate) const ENTRIES: &[Entry] = &[
    Entry {
        name: "Credentials::password",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "PLAIN", Credentials::password("user", text)),
    },
    Entry {
        name: "Credentials::password, LOGIN",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "LOGIN", Credentials::password("user", text)),
    },
    Entry {
        name: "Credentials::password, name",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "PLAIN", Credentials::password(text, "x")),
    },
    Entry {
        name: "Credentials::password, name for LOGIN",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "LOGIN", Credentials::password(text, "x")),
    },
    Entry {
        name: "Credentials::password, name for CRAM-MD5",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "CRAM-MD5", Credentials::password(text, "x")),
    },
    Entry {
        name: "Credentials::password, name for SCRAM",
        harmless: "a",
        shape: COMMA,
        say: |text, server| exchange(server, "SCRAM-SHA-256", Credentials::password(text, "x")),
    },
    Entry {
        name: "Credentials::token",
        harmless: "a",
        shape: CONTROL_A,
        say: |text, server| exchange(server, "OAUTHBEARER", Credentials::token("user", text)),
    },
    Entry {
        name: "Credentials::token, XOAUTH2",
        harmless: "a",
        shape: CONTROL_A,
        say: |text, server| exchange(server, "XOAUTH2", Credentials::token("user", text)),
    },
    Entry {
        name: "Credentials::token, name",
        harmless: "a",
        shape: CONTROL_A,
        say: |text, server| exchange(server, "OAUTHBEARER", Credentials::token(text, "x")),
    },
    Entry {
        name: "Credentials::token, name for GS2",
        harmless: "a",
        shape: COMMA,
        say: |text, server| exchange(server, "OAUTHBEARER", Credentials::token(text, "x")),
    },
    Entry {
        name: "Credentials::token, name for XOAUTH2",
        harmless: "a",
        shape: CONTROL_A,
        say: |text, server| exchange(server, "XOAUTH2", Credentials::token(text, "x")),
    },
    Entry {
        name: "Credentials::token_source",
        harmless: "a",
        shape: CONTROL_A,
        say: |text, server| {
            let token = text.to_owned();
            exchange(server, "XOAUTH2", Credentials::token_source("user", move || Some(token.as_str().into())))
        },
    },
    Entry {
        name: "Credentials::token_source, name",
        harmless: "a",
        shape: CONTROL_A,
        say: |text, server| exchange(server, "XOAUTH2", Credentials::token_source(text, || Some("x".into()))),
    },
    Entry {
        name: "Credentials::anonymous",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "ANONYMOUS", Credentials::anonymous(text)),
    },
    Entry {
        name: "Credentials::acting_as",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "PLAIN", Credentials::password("user", "x").ok()?.acting_as(text)),
    },
    Entry {
        name: "Credentials::acting_as, EXTERNAL",
        harmless: "a",
        shape: NUL,
        say: |text, server| exchange(server, "EXTERNAL", Credentials::external().acting_as(text)),
    },
    Entry {
        name: "Credentials::acting_as, SCRAM",
        harmless: "a",
        shape: COMMA,
        say: |text, server| exchange(server, "SCRAM-SHA-256", Credentials::password("user", "x").ok()?.acting_as(text)),
    },
    Entry {
        name: "Choice.server",
        harmless: "a",
        shape: CONTROL_A,
        say: |text, server| {
            let mut choice = only("OAUTHBEARER");
            choice.server = Some((text.into(), 587));
            exchange_by(server, &choice, &Credentials::token("user", "x").ok()?)
        },
    },
    Entry {
        name: "Choice.nonce",
        harmless: "012345678901234567890123",
        shape: COMMA,
        say: |text, server| {
            let mut choice = only("SCRAM-SHA-256");
            choice.nonce = text.into();
            exchange_by(server, &choice, &Credentials::password("user", "x").ok()?)
        },
    },
    Entry {
        name: "ChannelBindings.tls_exporter",
        harmless: "a",
        shape: COMMA,
        say: |text, server| {
            let mut choice = only("SCRAM-SHA-256-PLUS");
            choice.bindings.tls_exporter = Some(text.into());
            exchange_by(server, &choice, &Credentials::password("user", "x").ok()?)
        },
    },
    Entry {
        name: "ChannelBindings.tls_server_end_point",
        harmless: "a",
        shape: COMMA,
        say: |text, server| {
            let mut choice = only("SCRAM-SHA-256-PLUS");
            choice.bindings.tls_server_end_point = Some(text.into());
            exchange_by(server, &choice, &Credentials::password("user", "x").ok()?)
        },
    },
    Entry {
        name: "Choice.only",
        harmless: "PLAIN",
        shape: NUL,
        say: |text, server| exchange_by(server, &only(text), &Credentials::password("user", "x").ok()?),
    },
    Entry {
        name: "Connection::auth_manual",
        harmless: "X-OWN",
        shape: ANY,
        say: |text, server| attempt(&mut server.ready(smtp()), |connection| connection.auth_manual(text, None)),
    },
    Entry {
        name: "Connection::auth_manual, initial",
        harmless: "a",
        shape: ANY,
        say: |text, server| {
            attempt(&mut server.ready(smtp()), |connection| connection.auth_manual("X-OWN", Some(text.into())))
        },
    },
    Entry {
        name: "Connection::auth_respond",
        harmless: "a",
        shape: ANY,
        say: |text, server| {
            let mut lab = server.ready(smtp());
            let mut said = attempt(&mut lab, |connection| connection.auth_manual("X-OWN", None))?;
            lab.hear("334 \r\n");
            said.extend(attempt(&mut lab, |connection| connection.auth_respond(&text.into()))?);
            Some(said)
        },
    },
    Entry {
        name: "Mechanism::name",
        harmless: "X-OWN",
        shape: ANY,
        say: |text, server| {
            let own = Own { name: text.into(), initial: None, response: "x".into() };
            answered(server.ready(smtp()), Box::new(own))
        },
    },
    Entry {
        name: "Mechanism::initial_response",
        harmless: "a",
        shape: ANY,
        say: |text, server| {
            let own = Own { name: "X-OWN".into(), initial: Some(text.into()), response: "x".into() };
            answered(server.ready(smtp()), Box::new(own))
        },
    },
    Entry {
        name: "Mechanism::respond",
        harmless: "a",
        shape: ANY,
        say: |text, server| {
            let own = Own { name: "X-OWN".into(), initial: None, response: text.into() };
            answered(server.ready(smtp()), Box::new(own))
        },
    },
    Entry { name: "Options::plan", harmless: "x.example", shape: CONTROL_A, say: target },
];

/// A mechanism that says whatever it is told to.
struct Own {
    name: String,
    initial: Option<Secret>,
    response: Secret,
}

impl Mechanism for Own {
    fn name(&self) -> &str {
        &self.name
    }

    fn initial_response(&mut self) -> Option<Secret> {
        self.initial.clone()
    }

    fn respond(&mut self, _: &[u8]) -> Result<Response, SaslError> {
        Ok(self.response.clone().into())
    }
}

fn only(name: &str) -> Choice {
    let mut choice = Choice::default();
    choice.secure = true;
    choice.nonce = vec![7; 24].into();
    choice.only = Some(name.into());
    choice
}

fn exchange(server: Server, mechanism: &str, credentials: Result<Credentials, CredentialsError>) -> Option<Vec<u8>> {
    exchange_by(server, &only(mechanism), &credentials.ok()?)
}

fn exchange_by(server: Server, choice: &Choice, credentials: &Credentials) -> Option<Vec<u8>> {
    let lab = server.ready(smtp());
    let mechanism = choose(credentials, lab.connection.capabilities(), choice).ok()?;
    answered(lab, mechanism)
}

/// What is said without being asked, and to two challenges.
fn answered(mut lab: Lab, mechanism: Box<dyn Mechanism>) -> Option<Vec<u8>> {
    let said = attempt(&mut lab, |connection| connection.auth(mechanism))?;
    Some([said, challenged(&mut lab)].concat())
}

fn challenged(lab: &mut Lab) -> Vec<u8> {
    let mut said = Vec::new();
    for _ in 0..2 {
        // Behind a cancellation there are none.
        if !said.ends_with(b"*\r\n") {
            lab.hear("334 PGE+\r\n");
            said.extend(lab.transmits(usize::MAX));
        }
    }
    said
}

/// The host of a target, as OAUTHBEARER names it. A target is no URL: nothing in it is decoded.
fn target(text: &str, _: Server) -> Option<Vec<u8>> {
    let credentials = Credentials::token("user", "x").ok()?;
    let mut options = Options::smtp().tls_mode(TlsMode::None).credentials(credentials);
    options.plan(text).ok()?;
    let mut session = options.session(Security::Tls, None).unwrap();
    let mut lab = Lab::new(session.config.clone());
    lab.connection = Connection::new(session.config, Security::Tls);
    lab.hear("220 hi\r\n");
    lab.transmits(usize::MAX);
    lab.hear("250-x\r\n250 AUTH OAUTHBEARER\r\n");
    let advanced = lab.events().iter().all(|event| session.setup.advance(&mut lab.connection, event).is_ok());
    let mut said = lab.transmits(usize::MAX);
    if advanced {
        said.extend(challenged(&mut lab));
    } else {
        assert_eq!(said, b"QUIT\r\n");
    }
    advanced.then_some(said)
}

// S-23: nothing is configured by a URL: what looks like one is no target, and a percent sign in a host is a percent sign.
#[test]
fn targets_are_not_decoded() {
    for text in ["smtp://x.example", "x.example:25%0d%0a", "x.example:%32%35", "[::1%0d%0aQUIT"] {
        assert!(Options::smtp().tls_mode(TlsMode::None).plan(text).is_err(), "{text}");
    }
    for host in ["x.example%0d%0aQUIT", "x%01auth=Bearer%20y%01%01", "%00", "u%3ap@x.example"] {
        let said = target(host, Server::Utf8).unwrap();
        let initial = said.strip_prefix(b"AUTH OAUTHBEARER ").unwrap().split(|octet| *octet == b'\r').next().unwrap();
        let message = String::from_utf8(BASE64_STANDARD.decode(initial).unwrap()).unwrap();
        assert_eq!(message, format!("n,a=user,\x01host={host}\x01port=25\x01auth=Bearer x\x01\x01"));
    }
}
