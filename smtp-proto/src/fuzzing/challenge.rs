//! The base64 of challenges and responses.

use alloc::vec::Vec;

use super::{both_ways, events, session, smtp, transmitted};
use crate::sasl::{SaslError, Secret};
use crate::{Event, Security, Time};

const BASE64: &[&str] = &["A", "Q", "==", "=", "g", "/", "+", "9", "AAAA", "dGVz", "\n", " ", "-", "_", "\r", "é"];

/// The most challenges that an exchange may have.
const MOST: usize = 10;

/// A challenge that is base64 by RFC 4648 section 4, padding and all, comes to the caller as what it stands for, and what the
/// caller answers leaves as base64 of that; any other challenge, or one too many, is answered by `*`.
pub fn challenges(data: &[u8]) {
    both_ways(data, BASE64, |script| {
        let Some(config) = smtp() else { return };
        let mut connection = session(config, Security::Tls, &["AUTH X-FUZZ"]);
        let mut texts = script.split(|&octet| octet == b'\n');
        let initial = texts.next().unwrap_or_default();
        assert!(connection.auth_manual("x-fuzz", Some(Secret::from(initial.to_vec()))).is_ok());
        let said = transmitted(&mut connection, usize::MAX);
        let argument = said.strip_prefix(b"AUTH X-FUZZ").and_then(|rest| rest.strip_suffix(b"\r\n"));
        match argument.map(|argument| argument.strip_prefix(b" ").unwrap_or(argument)) {
            Some(b"=") => assert!(initial.is_empty()),
            // There is no room for it.
            Some(b"") => {
                assert!(initial.len() > 360);
                return;
            }
            Some(argument) => assert_eq!(decoded(argument).as_deref(), Some(initial)),
            None => panic!("{said:?}"),
        }
        for (index, text) in texts.filter(|text| !text.contains(&0)).enumerate() {
            connection.handle_input(&[b"334 ", text, b"\r\n"].concat(), Time::default());
            let events = events(&mut connection);
            let expected = decoded(text).filter(|_| index < MOST);
            let Some(octets) = expected else {
                assert!(events.is_empty());
                assert_eq!(transmitted(&mut connection, usize::MAX), b"*\r\n");
                return check_failure(
                    connection,
                    if index < MOST { SaslError::Base64 } else { SaslError::TooManyChallenges },
                );
            };
            let [Event::AuthChallenge(challenge)] = &events[..] else { panic!("{events:?}") };
            assert_eq!(challenge.expose(), octets);
            let response: Vec<u8> = octets.iter().rev().chain(text).copied().collect();
            assert!(connection.auth_respond(&Secret::from(response.clone())).is_ok());
            let said = transmitted(&mut connection, usize::MAX);
            assert_eq!(said.strip_suffix(b"\r\n").and_then(decoded), Some(response));
        }
        connection.handle_input(b"235 ok\r\n", Time::default());
        assert!(matches!(events(&mut connection)[..], [Event::Authenticated(_)]));
    });
}

fn check_failure(mut connection: crate::Connection, error: SaslError) {
    connection.handle_input(b"501 cancelled\r\n", Time::default());
    let events = events(&mut connection);
    let [Event::AuthFailed(failure)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(failure.error(), Some(error));
}

/// Base64 bit by bit.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padding = text.iter().rev().take_while(|octet| **octet == b'=').count();
    if text.len() % 4 != 0 || padding > 2 {
        return None;
    }
    let mut bits = Vec::new();
    for digit in &text[..text.len() - padding] {
        let value = DIGITS.iter().position(|octet| octet == digit)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
    }
    let octets = bits.chunks_exact(8);
    if octets.remainder().contains(&true) {
        return None;
    }
    Some(octets.map(|octet| octet.iter().fold(0, |value, bit| value << 1 | u8::from(*bit))).collect())
}
