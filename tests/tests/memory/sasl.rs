//! Challenges without end.

use smtp_conformance::lab::{Lab, smtp};
use smtp_conformance::sasl_server::within_tls;
use smtp_proto::State;
use smtp_proto::sasl::{Choice, Credentials, Mechanism, Response, SaslError, Secret, choose};

use crate::{CEILING, Gauge};

/// Answers whatever it is asked.
struct Patient;

impl Mechanism for Patient {
    fn name(&self) -> &str {
        "X-OWN"
    }

    fn respond(&mut self, _: &[u8]) -> Result<Response, SaslError> {
        Ok(Secret::from("x").into())
    }
}

/// Exchanges that have begun: by hand, by a mechanism that never tires, and by each that credentials come to.
fn exchanges() -> Vec<(&'static str, Lab)> {
    let offered = || within_tls(smtp(), &["AUTH X-OWN CRAM-MD5 LOGIN PLAIN SCRAM-SHA-256 XOAUTH2"]);
    let mut by_hand = offered();
    by_hand.connection.auth_manual("X-OWN", None).unwrap();
    let mut patient = offered();
    patient.connection.auth(Box::new(Patient)).unwrap();
    let mut exchanges = vec![("by hand", by_hand), ("patient", patient)];
    let (password, token) = (Credentials::password("user", "pencil"), Credentials::token("user", "t0ken"));
    for (name, credentials) in [
        ("CRAM-MD5", &password),
        ("LOGIN", &password),
        ("PLAIN", &password),
        ("SCRAM-SHA-256", &password),
        ("XOAUTH2", &token),
    ] {
        let mut lab = offered();
        let mut choice = Choice::default();
        (choice.secure, choice.only, choice.nonce) = (true, Some(name.into()), vec![7; 24].into());
        let mechanism = choose(credentials.as_ref().unwrap(), lab.connection.capabilities(), &choice).unwrap();
        lab.connection.auth(mechanism).unwrap();
        exchanges.push((name, lab));
    }
    exchanges
}

// S-35, P-09: challenges one after the other for ever, each as long as any may be; nobody polls, or the caller answers each.
#[test]
fn challenges_without_end() {
    let mut gauge = Gauge::new();
    for length in [0, 4, 8_192, 16_384] {
        let challenge = format!("334 {}\r\n", "A".repeat(length));
        for answers in [false, true] {
            gauge.restart();
            for (name, mut lab) in exchanges() {
                gauge.restart();
                lab.says();
                for _ in 0..1000 {
                    gauge.flood(&mut lab, challenge.as_bytes(), 1000);
                    if answers {
                        lab.events();
                        // Where no challenge waits there is nothing to answer.
                        let _ = lab.connection.auth_respond(&Secret::from("x"));
                    }
                    lab.says();
                    gauge.at_most(CEILING);
                }
                assert_eq!(lab.connection.state(), State::Closed, "{name}");
            }
        }
    }
}

// S-35, P-09: one challenge without end: as a line, and as lines.
#[test]
fn a_challenge_without_end() {
    let mut gauge = Gauge::new();
    for flood in ["A".repeat(1 << 20), "\r\n334-".repeat(1 << 18), ["\r\n334-", &"A".repeat(2000)].concat().repeat(500)]
    {
        for piece in [1, 1000, 65_536] {
            for (name, mut lab) in exchanges() {
                gauge.restart();
                lab.says();
                gauge.flood(&mut lab, b"334-", piece);
                gauge.flood(&mut lab, flood.as_bytes(), piece);
                assert_eq!(lab.connection.state(), State::Closed, "{name}");
            }
        }
    }
}
