//! SCRAM, with a server that may be anybody.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::Digest;

use super::challenge::decoded;
use super::{Input, session, smtp};
use crate::Security;
use crate::sasl::{ChannelBindings, Choice, Credentials, Iterations, Mechanism, Response, SaslError, choose};

const PASSWORD: &str = "pencil";

/// Whatever a server says in SCRAM-SHA-256: the client proves itself exactly to a well-formed first message that continues
/// its nonce, by a proof that a server can check; and believes in success exactly if the server's signature is right.
pub fn scram(data: &[u8]) {
    let mut input = Input(data);
    let plus = input.octet() & 1 == 1;
    let Some((mut mechanism, binding)) = scram_client(plus) else { return };
    let Some(first) = mechanism.initial_response() else { panic!("nothing to begin with") };
    let first = String::from_utf8_lossy(first.expose()).into_owned();
    assert_eq!(mechanism.verify_success(), Err(SaslError::ServerUnproven));
    let header = if plus { "p=tls-exporter,," } else { "n,," };
    let Some(bare) = first.strip_prefix(header) else { panic!("{first}") };
    let Some(nonce) = bare.strip_prefix("n=user,r=") else { panic!("{first}") };

    let server_first = server_first(&mut input, nonce);
    let answer = answer(mechanism.as_mut(), server_first.as_bytes());
    let Some(Offer { combined, salt, iterations }) = Offer::read(&server_first, nonce) else {
        assert!(answer.is_none(), "{server_first:?}");
        assert_eq!(mechanism.verify_success(), Err(SaslError::ServerUnproven));
        return;
    };
    let Some(answer) = answer else { panic!("{server_first:?}") };
    let Some((without_proof, proof)) = answer.rsplit_once(",p=") else { panic!("{answer:?}") };
    let Some(bound) = without_proof.strip_suffix(&format!(",r={combined}")) else { panic!("{answer:?}") };
    let bound = bound.strip_prefix("c=").and_then(|bound| decoded(bound.as_bytes()));
    assert_eq!(bound, Some([header.as_bytes(), &binding].concat()));

    // RFC 5802 section 3, from the server's side.
    let message = format!("{bare},{server_first},{without_proof}");
    let salted = stretched(&salt, iterations);
    let stored_key = digest(&hmac(&salted, b"Client Key"));
    let client_signature = hmac(&stored_key, message.as_bytes());
    let proof = decoded(proof.as_bytes()).unwrap_or_default();
    assert_eq!(proof.len(), client_signature.len());
    let client_key: Vec<u8> = proof.iter().zip(&client_signature).map(|(a, b)| a ^ b).collect();
    assert_eq!(digest(&client_key), stored_key);
    let signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());

    assert_eq!(mechanism.verify_success(), Err(SaslError::ServerUnproven));
    let server_final = server_final(&mut input, &signature);
    let answered = mechanism.respond(server_final.as_bytes()).is_ok();
    let verifier = server_final.split(',').next().and_then(|verifier| verifier.strip_prefix("v="));
    let proven = verifier.and_then(|verifier| decoded(verifier.as_bytes())).is_some_and(|given| given == signature);
    assert_eq!(answered, proven || server_final.starts_with("e="), "{server_final:?}");
    assert_eq!(mechanism.verify_success().is_ok(), proven, "{server_final:?}");
    assert!(mechanism.respond(server_final.as_bytes()).is_err());
}

/// The client, and what it binds the exchange to.
fn scram_client(plus: bool) -> Option<(Box<dyn Mechanism>, Vec<u8>)> {
    let connection = session(smtp()?, Security::Tls, &["AUTH SCRAM-SHA-256 SCRAM-SHA-256-PLUS"]);
    let credentials = Credentials::password("user", PASSWORD).ok()?;
    let binding = if plus { alloc::vec![1; 32] } else { Vec::new() };
    let tls_exporter = Some(binding.clone()).filter(|_| plus);
    let choice = Choice {
        secure: true,
        nonce: alloc::vec![7; 18].into(),
        bindings: ChannelBindings { tls_exporter, ..ChannelBindings::default() },
        iterations: Iterations { least: 2, most: 40 },
        ..Choice::default()
    };
    let mechanism = choose(&credentials, connection.capabilities(), &choice).ok()?;
    assert_eq!(mechanism.name().ends_with("-PLUS"), plus);
    Some((mechanism, binding))
}

/// What the client says to the server's first message, however long it takes.
fn answer(mechanism: &mut dyn Mechanism, challenge: &[u8]) -> Option<String> {
    let mut response = mechanism.respond(challenge);
    while matches!(response, Ok(Response::Later)) {
        response = mechanism.resume();
    }
    match response {
        Ok(Response::Say(said)) => Some(String::from_utf8_lossy(said.expose()).into_owned()),
        _ => None,
    }
}

const SCRAM: &[&str] = &[
    "r=",
    "s=",
    "i=",
    "m=",
    "v=",
    "e=",
    "x=1",
    ",",
    ",",
    "=",
    "BwcHBwcHBwcHBwcHBwcHBwcHBwcH",
    "c2FsdA==",
    "4",
    "40",
    "41",
    "0",
    "1",
    "-",
    "+",
    " ",
    "z",
    "\n",
    "é",
];

/// A first message that is as it should be but for what the script changes, or any other.
fn server_first(input: &mut Input<'_>, nonce: &str) -> String {
    let changes = input.octet();
    let change = |bit: u8| changes >> bit & 1 == 1;
    if change(0) {
        return input.text(SCRAM);
    }
    let nonce = if change(1) { &nonce[1..] } else { nonce };
    let more = if change(2) { input.text(SCRAM) } else { "server".into() };
    let salt = if change(3) { input.text(SCRAM) } else { "c2FsdA==".into() };
    let iterations = if change(4) { input.text(SCRAM) } else { format!("{}", 2 + input.below(50)) };
    let extension = if change(5) { input.text(SCRAM) } else { String::new() };
    format!("r={nonce}{more},s={salt},i={iterations}{extension}")
}

fn server_final(input: &mut Input<'_>, signature: &[u8]) -> String {
    let mut signature = signature.to_vec();
    let manner = input.octet();
    match manner % 6 {
        0 => return input.text(SCRAM),
        1 => signature[usize::from(manner / 8)] ^= 1 << (input.octet() % 8),
        2 => signature.truncate(usize::from(manner / 8)),
        3 => signature.push(0),
        _ => {}
    }
    let extension = if manner % 6 == 4 { input.text(SCRAM) } else { String::new() };
    format!("v={}{extension}", BASE64_STANDARD.encode(signature))
}

/// What a well-formed first message of the server's offers.
struct Offer {
    combined: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl Offer {
    fn read(message: &str, nonce: &str) -> Option<Self> {
        let attributes: Vec<(&str, &str)> =
            message.split(',').map(|attribute| attribute.split_once('=')).collect::<Option<_>>()?;
        let [("r", combined), ("s", salt), ("i", number), extensions @ ..] = &attributes[..] else { return None };
        let more = combined.strip_prefix(nonce)?;
        let names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
        let odd = extensions.iter().any(|(name, _)| {
            *name == "m"
                || name.len() != 1
                || !name.bytes().all(|octet| octet.is_ascii_alphabetic())
                || names.iter().filter(|other| *other == name).count() > 1
        });
        let too_long = combined.len() > 1024 || salt.len() > 1024;
        let iterations: u32 = number.parse().ok().filter(|iterations| format!("{iterations}") == *number)?;
        if odd || too_long || more.is_empty() || salt.is_empty() || !more.bytes().all(|octet| octet.is_ascii_graphic())
        {
            return None;
        }
        let salt = decoded(salt.as_bytes())?;
        (2..=40).contains(&iterations).then(|| Self { combined: (*combined).into(), salt, iterations })
    }
}

fn digest(octets: &[u8]) -> Vec<u8> {
    sha2::Sha256::digest(octets).to_vec()
}

/// RFC 2104, from the hash.
fn hmac(key: &[u8], octets: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = digest(&[&block.map(|octet| octet ^ 0x36)[..], octets].concat());
    digest(&[&block.map(|octet| octet ^ 0x5c)[..], &inner].concat())
}

/// `Hi` of RFC 5802 section 2.2.
fn stretched(salt: &[u8], iterations: u32) -> Vec<u8> {
    let mut block = hmac(PASSWORD.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
    let mut key = block.clone();
    for _ in 1..iterations {
        block = hmac(PASSWORD.as_bytes(), &block);
        key.iter_mut().zip(&block).for_each(|(sum, octet)| *sum ^= octet);
    }
    key
}
