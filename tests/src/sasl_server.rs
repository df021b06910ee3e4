//! The server's side of SASL, written from the RFCs for tests. It shares no code with the client's side.

use std::mem;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use smtp_proto::Config;

use crate::lab::Lab;

/// Every mechanism the server knows, strongest first.
pub const MECHANISMS: [&str; 13] = [
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1",
    "CRAM-MD5",
    "PLAIN",
    "LOGIN",
    "OAUTHBEARER",
    "XOAUTH2",
    "EXTERNAL",
    "ANONYMOUS",
];

/// The AUTH part of a mail server that knows one account. It hears a line and says a line.
#[derive(Clone, Debug, Default)]
pub struct SaslServer {
    /// What it knows and how it behaves.
    pub account: Account,
    /// Every line it heard.
    pub heard: Vec<String>,
    /// Whom it let in.
    pub identity: Option<String>,
    stage: Stage,
}

/// The account, and how the server behaves.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account's name, as the server stores it.
    pub user: String,
    /// Its password, as the server stores it: prepared already.
    pub password: Vec<u8>,
    /// Its bearer token.
    pub token: String,
    /// Host and port that OAUTHBEARER has to name, if it matters.
    pub host: Option<(String, u16)>,
    /// An identity that the account may act as.
    pub authzid: Option<String>,
    /// What the server's end of TLS can be bound by.
    pub bindings: Vec<(&'static str, Vec<u8>)>,
    /// The mechanisms it has.
    pub offered: Vec<String>,
    /// What SCRAM adds to the client's nonce.
    pub nonce: String,
    /// The salt of SCRAM.
    pub salt: Vec<u8>,
    /// The iterations of SCRAM.
    pub iterations: u32,
    /// The challenge of CRAM-MD5.
    pub cram: String,
    /// What it does wrong.
    pub trick: Trick,
}

/// What a server can do wrong, or otherwise than usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Nothing.
    None,
    /// AUTH is refused with this code.
    Refuse(u16),
    /// Wrong credentials are refused with this code instead of 535.
    RefuseCredentials(u16),
    /// Success has this code instead of 235.
    Succeed(u16),
    /// The client's first message is answered by 235.
    EarlySuccess,
    /// This stands for the first challenge, as it is.
    Challenge(String),
    /// An empty challenge follows every response.
    Endless,
    /// SCRAM: the first message is this, with `{nonce}` for the client's nonce.
    ServerFirst(String),
    /// SCRAM: the proof is answered by 235.
    NoSignature,
    /// SCRAM: the signature is of another password.
    WrongSignature,
    /// SCRAM: the last message is this.
    ServerFinal(String),
}

/// What the next line is.
#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Command,
    /// The initial response, asked for by an empty challenge.
    Initial(String),
    LoginPassword(String),
    LoginName,
    Cram,
    Proof(Box<Scram>),
    /// The empty answer to the server's signature.
    Signed(String),
    /// The answer to the account of a refusal has to be this.
    Accounted(&'static [u8]),
    Endless,
}

/// What SCRAM remembers of its first two messages.
#[derive(Clone, Debug)]
struct Scram {
    hash: Hash,
    /// What `c=` has to be.
    binding: Vec<u8>,
    /// Both nonces.
    nonce: String,
    /// Client-first-message-bare, a comma, server-first-message.
    so_far: String,
    identity: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

/// What to say.
enum Say {
    Challenge(Vec<u8>, Stage),
    Success(String),
    WrongCredentials,
    No(u16, &'static str),
}

impl Default for Account {
    /// `user` with the password `pencil` and the token `t0ken`, at a server that has every mechanism.
    fn default() -> Self {
        Self {
            user: "user".into(),
            password: b"pencil".to_vec(),
            token: "t0ken".into(),
            host: None,
            authzid: None,
            bindings: Vec::new(),
            offered: MECHANISMS.map(str::to_owned).to_vec(),
            nonce: "3rfcNHYJY1ZVvWVs7j".into(),
            salt: b"a grain of salt".to_vec(),
            iterations: 4096,
            cram: "<1896.697170952@postoffice.example>".into(),
            trick: Trick::None,
        }
    }
}

impl SaslServer {
    /// A server that has heard nothing yet.
    pub fn new(account: Account) -> Self {
        Self { account, ..Self::default() }
    }

    /// The usual server with one thing wrong.
    pub fn with(trick: Trick) -> Self {
        Self::new(Account { trick, ..Account::default() })
    }

    /// The EHLO keyword line.
    pub fn keyword(&self) -> String {
        format!("AUTH {}", self.account.offered.join(" "))
    }

    /// Answers a line, given and returned without and with its CRLF.
    pub fn hear(&mut self, line: &str) -> String {
        self.heard.push(line.to_owned());
        let say = match mem::replace(&mut self.stage, Stage::Command) {
            Stage::Command => self.command(line),
            _ if line == "*" => Say::No(501, "cancelled"),
            _ if line.len() + 2 > 12_288 => Say::No(500, "line too long"),
            stage => match BASE64_STANDARD.decode(line) {
                Ok(response) => self.response(stage, &response),
                Err(_) => Say::No(501, "not base64"),
            },
        };
        self.say(say)
    }

    fn say(&mut self, say: Say) -> String {
        match (say, &self.account.trick) {
            (Say::Challenge(challenge, stage), _) => {
                self.stage = stage;
                format!("334 {}\r\n", BASE64_STANDARD.encode(challenge))
            }
            (Say::Success(identity), Trick::Succeed(code)) => {
                self.identity = Some(identity);
                format!("{code} welcome\r\n")
            }
            (Say::Success(identity), _) => {
                self.identity = Some(identity);
                "235 2.7.0 welcome\r\n".into()
            }
            (Say::WrongCredentials, Trick::RefuseCredentials(code)) => format!("{code} no\r\n"),
            (Say::WrongCredentials, _) => "535 5.7.8 wrong credentials\r\n".into(),
            (Say::No(code, text), _) => format!("{code} {text}\r\n"),
        }
    }

    fn command(&mut self, line: &str) -> Say {
        let mut words = line.split(' ');
        let (verb, name, initial, end) = (words.next(), words.next(), words.next(), words.next());
        let Some(name) = name.filter(|_| verb == Some("AUTH") && end.is_none()) else {
            return Say::No(500, "this server only knows AUTH");
        };
        if line.len() + 2 > 512 {
            return Say::No(500, "line too long");
        }
        if self.identity.is_some() {
            return Say::No(503, "authenticated already");
        }
        if !self.account.offered.iter().any(|offered| offered == name) {
            return Say::No(504, "no such mechanism");
        }
        let server_begins = matches!(name, "LOGIN" | "CRAM-MD5");
        match (&self.account.trick, initial) {
            (Trick::Refuse(code), _) => Say::No(*code, "no"),
            (_, Some(_)) if server_begins => Say::No(501, "this mechanism has no initial response"),
            (_, Some("=")) => self.first(name, b""),
            (_, Some("")) => Say::No(501, "an empty argument"),
            (_, Some(encoded)) => match BASE64_STANDARD.decode(encoded) {
                Ok(initial) => self.first(name, &initial),
                Err(_) => Say::No(501, "not base64"),
            },
            (_, None) if server_begins => self.first(name, b""),
            (_, None) => Say::Challenge(Vec::new(), Stage::Initial(name.to_owned())),
        }
    }

    /// The client's first message, or the server's turn if it begins.
    fn first(&mut self, name: &str, message: &[u8]) -> Say {
        match &self.account.trick {
            Trick::EarlySuccess => return Say::Success("nobody has proven anything".into()),
            Trick::Endless => return Say::Challenge(Vec::new(), Stage::Endless),
            _ => {}
        }
        match name {
            "LOGIN" => Say::Challenge(b"Username:".to_vec(), Stage::LoginName),
            "CRAM-MD5" => Say::Challenge(self.account.cram.clone().into_bytes(), Stage::Cram),
            "PLAIN" => self.plain(message),
            "EXTERNAL" => match std::str::from_utf8(message) {
                Ok(authzid) => self.decide(true, authzid, &self.account.user),
                Err(_) => Say::No(501, "not UTF-8"),
            },
            "ANONYMOUS" => match std::str::from_utf8(message) {
                Ok(trace) if trace.chars().count() <= 255 => Say::Success(format!("anonymous {trace}")),
                _ => Say::No(501, "no trace"),
            },
            "OAUTHBEARER" => self.oauthbearer(message),
            "XOAUTH2" => {
                let expected = format!("user={}\x01auth=Bearer {}\x01\x01", self.account.user, self.account.token);
                self.account_for(message == expected.as_bytes(), b"")
            }
            _ => self.scram_first(name, message),
        }
    }

    fn response(&mut self, stage: Stage, response: &[u8]) -> Say {
        match stage {
            Stage::Initial(name) => self.first(&name, response),
            Stage::LoginName => {
                let name = String::from_utf8_lossy(response).into_owned();
                Say::Challenge(b"Password:".to_vec(), Stage::LoginPassword(name))
            }
            Stage::LoginPassword(name) => self.decide(response == self.account.password, "", &name),
            Stage::Cram => {
                let expected = format!(
                    "{} {}",
                    self.account.user,
                    hex(&hmac::<Hmac<Md5>>(&self.account.password, self.account.cram.as_bytes()))
                );
                self.decide(response == expected.as_bytes(), "", &self.account.user)
            }
            Stage::Proof(scram) => self.scram_proof(&scram, response),
            Stage::Signed(identity) if response.is_empty() => Say::Success(identity),
            Stage::Accounted(answer) if response == answer => Say::WrongCredentials,
            Stage::Signed(_) | Stage::Accounted(_) => Say::No(501, "not the answer that was due"),
            Stage::Command | Stage::Endless => Say::Challenge(Vec::new(), Stage::Endless),
        }
    }

    /// Whether `authcid`, whose secret was right or not, may come in, and as whom.
    fn decide(&self, right: bool, authzid: &str, authcid: &str) -> Say {
        match self.identity_of(authzid, authcid) {
            Some(identity) if right => Say::Success(identity),
            _ => Say::WrongCredentials,
        }
    }

    fn identity_of(&self, authzid: &str, authcid: &str) -> Option<String> {
        let known = authcid == self.account.user;
        let identity = if authzid.is_empty() { authcid } else { authzid };
        let allowed = authzid.is_empty() || authzid == authcid || self.account.authzid.as_deref() == Some(authzid);
        (known && allowed).then(|| identity.to_owned())
    }

    /// RFC 4616.
    fn plain(&self, message: &[u8]) -> Say {
        let parts: Vec<&[u8]> = message.split(|&octet| octet == 0).collect();
        let [authzid, authcid, password] = parts[..] else { return Say::No(501, "not three parts") };
        match (std::str::from_utf8(authzid), std::str::from_utf8(authcid)) {
            (Ok(authzid), Ok(authcid)) => self.decide(password == self.account.password, authzid, authcid),
            _ => Say::No(501, "not UTF-8"),
        }
    }

    /// RFC 7628 section 3.1.
    fn oauthbearer(&self, message: &[u8]) -> Say {
        let Ok(message) = std::str::from_utf8(message) else { return Say::No(501, "not UTF-8") };
        let mut parts = message.split('\x01');
        let user = self.account.user.replace('=', "=3D").replace(',', "=2C");
        if parts.next() != Some(&format!("n,a={user},")) {
            return self.account_for(false, b"\x01");
        }
        let rest: Vec<&str> = parts.collect();
        let [pairs @ .., "", ""] = &rest[..] else { return Say::No(501, "no end") };
        let value = |key: &str| pairs.iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        let token = value("auth") == Some(&format!("Bearer {}", self.account.token));
        let place = self
            .account
            .host
            .as_ref()
            .is_none_or(|(host, port)| value("host") == Some(host) && value("port") == Some(&port.to_string()));
        self.account_for(token && place, b"\x01")
    }

    /// Lets in, or says why not before the refusal proper.
    fn account_for(&self, right: bool, answer: &'static [u8]) -> Say {
        match right {
            true => Say::Success(self.account.user.clone()),
            false => Say::Challenge(br#"{"status":"invalid_token"}"#.to_vec(), Stage::Accounted(answer)),
        }
    }

    /// RFC 5802 section 7, client-first-message.
    fn scram_first(&self, name: &str, message: &[u8]) -> Say {
        let plus = name.ends_with("-PLUS");
        let hash = match name.trim_end_matches("-PLUS") {
            "SCRAM-SHA-1" => Hash::Sha1,
            "SCRAM-SHA-256" => Hash::Sha256,
            "SCRAM-SHA-512" => Hash::Sha512,
            _ => return Say::No(504, "no such mechanism"),
        };
        let Ok(message) = std::str::from_utf8(message) else { return Say::No(501, "not UTF-8") };
        let mut parts = message.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Say::No(501, "no header");
        };
        let could_bind = self.account.offered.iter().any(|offered| offered.ends_with("-PLUS"));
        let bound = match (flag, flag.strip_prefix("p=")) {
            (_, Some(kind)) if plus => {
                let Some((_, octets)) = self.account.bindings.iter().find(|(name, _)| *name == kind) else {
                    return Say::No(535, "no such channel binding");
                };
                octets.clone()
            }
            ("n", _) if !plus => Vec::new(),
            // The client saw no -PLUS, and there was one: somebody took it away (section 6).
            ("y", _) if could_bind => return Say::No(535, "downgraded"),
            ("y", _) if !plus => Vec::new(),
            _ => return Say::No(501, "no such flag"),
        };
        let authzid = match authzid.strip_prefix("a=") {
            Some(escaped) => saslname(escaped),
            None if authzid.is_empty() => Some(String::new()),
            None => None,
        };
        let (name, nonce) = match bare.split_once(',') {
            Some((name, nonce)) => (name.strip_prefix("n=").and_then(saslname), nonce.strip_prefix("r=")),
            None => (None, None),
        };
        let (Some(authzid), Some(name), Some(client_nonce)) = (authzid, name, nonce.filter(|nonce| nonce.len() >= 18))
        else {
            return Say::No(501, "a part is malformed");
        };
        let nonce = format!("{client_nonce}{}", self.account.nonce);
        let server_first = match &self.account.trick {
            Trick::ServerFirst(text) => text.replace("{nonce}", client_nonce),
            _ => format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&self.account.salt), self.account.iterations),
        };
        let header = &message[..message.len() - bare.len()];
        let scram = Scram {
            hash,
            binding: [header.as_bytes(), &bound].concat(),
            nonce,
            so_far: format!("{bare},{server_first}"),
            identity: self.identity_of(&authzid, &name),
        };
        Say::Challenge(server_first.into_bytes(), Stage::Proof(Box::new(scram)))
    }

    /// RFC 5802 section 3: verifies the proof by the stored key alone.
    fn scram_proof(&self, scram: &Scram, message: &[u8]) -> Say {
        let Ok(message) = std::str::from_utf8(message) else { return Say::No(501, "not UTF-8") };
        let Some((without_proof, proof)) = message.split_once(",p=") else { return Say::No(501, "no proof") };
        let expected = format!("c={},r={}", BASE64_STANDARD.encode(&scram.binding), scram.nonce);
        if without_proof != expected {
            return Say::No(535, "header, channel binding or nonce differ");
        }
        let Ok(proof) = BASE64_STANDARD.decode(proof) else { return Say::No(501, "not base64") };
        let hash = scram.hash;
        let salted = hash.stretched(&self.account.password, &self.account.salt, self.account.iterations);
        let stored_key = hash.digest(&hash.hmac(&salted, b"Client Key"));
        let auth_message = format!("{},{without_proof}", scram.so_far);
        let client_signature = hash.hmac(&stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&client_signature).map(|(one, other)| one ^ other).collect();
        let right = proof.len() == client_signature.len() && hash.digest(&client_key) == stored_key;
        let identity = match &scram.identity {
            Some(identity) if right => identity.clone(),
            _ => return Say::WrongCredentials,
        };
        let mut signature = hash.hmac(&hash.hmac(&salted, b"Server Key"), auth_message.as_bytes());
        let last = match &self.account.trick {
            Trick::NoSignature => return Say::Success(identity),
            Trick::ServerFinal(text) => text.clone(),
            Trick::WrongSignature => {
                signature[0] ^= 1;
                format!("v={}", BASE64_STANDARD.encode(signature))
            }
            _ => format!("v={}", BASE64_STANDARD.encode(signature)),
        };
        let refused = last.starts_with("e=");
        Say::Challenge(last.into_bytes(), if refused { Stage::Accounted(b"") } else { Stage::Signed(identity) })
    }
}

/// RFC 5802 section 5.1: `=2C` is a comma, `=3D` an equals sign, and no other equals sign is allowed.
fn saslname(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) =
            part.strip_prefix("2C").map(|rest| (',', rest)).or_else(|| Some(('=', part.strip_prefix("3D")?)))?;
        name.push(character);
        name.push_str(rest);
    }
    (!name.is_empty()).then_some(name)
}

fn hmac<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

impl Hash {
    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => hmac::<Hmac<Sha1>>(key, data),
            Self::Sha256 => hmac::<Hmac<Sha256>>(key, data),
            Self::Sha512 => hmac::<Hmac<Sha512>>(key, data),
        }
    }

    /// `Hi` of RFC 5802 section 2.2, spelled out.
    fn stretched(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut block = self.hmac(password, &[salt, &[0, 0, 0, 1]].concat());
        let mut sum = block.clone();
        for _ in 1..iterations {
            block = self.hmac(password, &block);
            sum.iter_mut().zip(&block).for_each(|(sum, octet)| *sum ^= octet);
        }
        sum
    }
}

/// A connection within TLS at a server that offers `keywords` there, and nothing but STARTTLS before.
pub fn within_tls(config: Config, keywords: &[&str]) -> Lab {
    let mut lab = Lab::ready(config, &["STARTTLS"]);
    lab.connection.starttls().expect("STARTTLS is offered");
    lab.says();
    lab.hear("220 go\r\n");
    lab.connection.handle_tls_established().expect("an upgrade is due");
    lab.says();
    let lines: String = keywords.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
    lab.hear(format!("250-server.example\r\n{lines}250 HELP\r\n"));
    lab.events();
    lab
}

/// Carries lines between a connection and a server until neither has more to say, in pieces of at most so many octets.
/// What the client said, line by line.
pub fn converse(lab: &mut Lab, server: &mut SaslServer, piece: usize) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut said = Vec::new();
        while lab.connection.poll_transmit().is_some() {
            said.extend(lab.transmits(piece));
        }
        if said.is_empty() {
            return lines;
        }
        let said = String::from_utf8(said).expect("lines of ASCII");
        for line in said.strip_suffix("\r\n").expect("a whole line").split("\r\n") {
            lines.push(line.to_owned());
            let mut reply = server.hear(line);
            if let (Trick::Challenge(text), true) =
                (&server.account.trick, reply.starts_with("334") && lines.len() == 1)
            {
                reply = format!("{text}\r\n");
            }
            reply.as_bytes().chunks(piece).for_each(|piece| lab.hear(piece));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(reply: &str) -> String {
        let text = reply.strip_prefix("334 ").and_then(|text| text.strip_suffix("\r\n")).expect(reply);
        String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap()
    }

    fn command(name: &str, message: &str) -> String {
        format!("AUTH {name} {}", BASE64_STANDARD.encode(message))
    }

    // RFC 5802 section 5 and RFC 7677 section 3, from the server's side.
    #[test]
    fn the_examples_of_scram() {
        for (name, nonce, added, salt, proof, signature) in [
            (
                "SCRAM-SHA-1",
                "fyko+d2lbbFgONRv9qkxdawL",
                "3rfcNHYJY1ZVvWVs7j",
                "QSXCR+Q6sek8bf92",
                "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                "SCRAM-SHA-256",
                "rOprNGfwEbeRWgbNEkqO",
                "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let salt_octets = BASE64_STANDARD.decode(salt).unwrap();
            let mut server = SaslServer::new(Account { nonce: added.into(), salt: salt_octets, ..Account::default() });
            let first = server.hear(&command(name, &format!("n,,n=user,r={nonce}")));
            assert_eq!(challenge(&first), format!("r={nonce}{added},s={salt},i=4096"));
            let mut refusing = server.clone();
            let last = server.hear(&BASE64_STANDARD.encode(format!("c=biws,r={nonce}{added},p={proof}")));
            assert_eq!(challenge(&last), format!("v={signature}"));
            assert_eq!(server.hear(""), "235 2.7.0 welcome\r\n");
            assert_eq!(server.identity.as_deref(), Some("user"));
            assert!(server.hear("AUTH PLAIN").starts_with("503"));
            let changed =
                BASE64_STANDARD.encode(format!("c=biws,r={nonce}{added},p={}", proof.replacen(&proof[..1], "x", 1)));
            assert!(refusing.hear(&changed).starts_with("535"));
        }
    }

    // RFC 4616 section 4, RFC 2195 section 2, RFC 7628 section 4.
    #[test]
    fn the_examples_of_the_others() {
        let server = SaslServer::new(Account {
            user: "tim".into(),
            password: b"tanstaaftanstaaf".to_vec(),
            cram: "<1896.697170952@postoffice.reston.mci.net>".into(),
            ..Account::default()
        });
        for last in ["tim b913a602c7eda7a495b4e6e7334d3890", "tim b913a602c7eda7a495b4e6e7334d3891"] {
            let mut server = server.clone();
            assert_eq!(challenge(&server.hear("AUTH CRAM-MD5")), server.account.cram);
            let right = last.ends_with('0');
            assert_eq!(server.hear(&BASE64_STANDARD.encode(last)).starts_with("235"), right);
        }
        for (message, code) in [
            ("\0tim\0tanstaaftanstaaf", "235"),
            ("tim\0tim\0tanstaaftanstaaf", "235"),
            ("Ursel\0tim\0tanstaaftanstaaf", "535"),
            ("\0tim\0tanstaaf", "535"),
            ("tim\0tanstaaftanstaaf", "501"),
        ] {
            assert!(server.clone().hear(&command("PLAIN", message)).starts_with(code), "{message:?}");
        }
        let mut server = SaslServer::new(Account {
            user: "user@example.com".into(),
            token: "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".into(),
            host: Some(("server.example.com".into(), 143)),
            ..Account::default()
        });
        let example = "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        assert!(server.clone().hear(&command("OAUTHBEARER", example)).starts_with("235"));
        let refused = server.hear(&command("OAUTHBEARER", &example.replace("143", "144")));
        assert_eq!(challenge(&refused), r#"{"status":"invalid_token"}"#);
        assert!(server.clone().hear("").starts_with("501"));
        assert!(server.hear("AQ==").starts_with("535"));
    }

    #[test]
    fn names_in_headers() {
        assert_eq!(saslname("a=2Cb=3D=3D").as_deref(), Some("a,b=="));
        for bad in ["", "a=", "a=2c", "a=20"] {
            assert_eq!(saslname(bad), None, "{bad}");
        }
    }
}
