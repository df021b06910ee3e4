//! What is shown of a session that has secrets.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Input, smtp};
use crate::sasl::Credentials;
use crate::{Config, Connection, Security, Setup, Step, Time, TlsPolicy};

/// What a secret begins with here: nothing else that is shown holds it.
const CANARY: &str = "hunter2.Tr0ub4dor";

const OFFERED: &[&str] = &["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "X"];

const WORDS: &[&str] = &[
    "334 ",
    "334 ",
    "235 ok\r\n",
    "535 5.7.8 no\r\n",
    "421 bye\r\n",
    "\r\n",
    "VXNlcm5hbWU6",
    "r=",
    "250-",
    "250 ",
    "e=",
    "eyJzdGF0dXMiOiI0MDEifQ==",
    "\n",
    "\0",
];

/// Everything that can be shown of a session, as it goes: to no server, whatever it says and whatever it repeats, do password
/// or token, what carries them or what proves them appear in it.
pub fn secrets(data: &[u8]) {
    let mut input = Input(data);
    let (kind, offer) = (input.octet(), input.octet());
    let secret = format!("{CANARY}{:02x}", input.octet());
    let made =
        if kind & 1 == 0 { Credentials::password("user", &*secret) } else { Credentials::token("user", &*secret) };
    let (Ok(credentials), Some(mut config)) = (made, smtp()) else { return };
    config.initial_response = kind & 2 == 0;
    let security = if kind & 4 == 0 { Security::Tls } else { Security::Plaintext };
    let setup = Setup::new(TlsPolicy::None, Some(credentials)).entropy([7; 24]).choice(|choice| {
        choice.danger_in_clear = true;
        choice.server = Some(("fuzz.example".into(), 25));
    });
    let mut session = Session::new(setup, config, security, secret);
    let offered: Vec<&str> =
        OFFERED.iter().enumerate().filter(|(bit, _)| offer >> bit & 1 == 1).map(|(_, name)| *name).collect();
    session.hears(b"220 hi\r\n");
    session.hears(format!("250-fuzz\r\n250 AUTH {}\r\n", offered.join(" ")).as_bytes());
    while !input.0.is_empty() {
        let octet = input.octet();
        let argument = input.piece(usize::from(octet >> 4));
        match octet % 8 {
            0..=2 => session.hears(&super::spelled(argument, WORDS)),
            3 => session.hears(argument),
            4 => session.repeats("535 5.7.8 what is", ""),
            5 => session.repeats("334", ""),
            6 => session.repeats("500-unknown:\r\n500", "?"),
            _ => session.challenges(argument),
        }
    }
    session.connection.handle_eof();
    session.looks();
}

struct Session {
    setup: Setup,
    connection: Connection,
    secret: String,
    /// The last line said, and every one of them that was no command.
    last: Vec<u8>,
    said: Vec<String>,
    authenticating: bool,
}

impl Session {
    fn new(setup: Setup, mut config: Config, security: Security, secret: String) -> Self {
        setup.configure(&mut config, security);
        let connection = Connection::new(config, security);
        Self { setup, connection, secret, last: Vec::new(), said: Vec::new(), authenticating: false }
    }

    /// The server says what it was told: in one line, with a word before it and perhaps one behind it.
    fn repeats(&mut self, before: &str, behind: &str) {
        let last = self.last.clone();
        let lines = [before.as_bytes(), b" ", &last, behind.as_bytes(), b"\r\n"].concat();
        for line in lines.split_inclusive(|octet| *octet == b'\n') {
            // What was said in an exchange is forgotten once another command follows, perhaps that of the next exchange.
            if self.authenticating && self.last == last {
                self.hears(line);
            }
        }
    }

    /// A challenge that is one.
    fn challenges(&mut self, argument: &[u8]) {
        let nonce = self.said.last().and_then(|said| BASE64_STANDARD.decode(said).ok()).unwrap_or_default();
        let nonce = String::from_utf8_lossy(&nonce).into_owned();
        let challenge = match nonce.split_once(",r=") {
            Some((_, nonce)) => format!("r={nonce}srv,s=c2FsdA==,i=4096").into_bytes(),
            None => argument.to_vec(),
        };
        self.hears(format!("334 {}\r\n", BASE64_STANDARD.encode(challenge)).as_bytes());
    }

    fn hears(&mut self, octets: &[u8]) {
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            // Before it is taken: what it is depends on what was said.
            let received = self.connection.transcribe(line);
            self.shows(&format!("{received} {received:?}"));
            self.connection.handle_input(line, Time::default());
            self.looks();
        }
    }

    /// Shows everything there is to be shown now.
    fn looks(&mut self) {
        loop {
            let event = self.connection.poll_event();
            if let Some(event) = &event {
                self.shows(&format!("{event:?}"));
                match self.setup.advance(&mut self.connection, event) {
                    Ok(Step::Continue | Step::UpgradeTls | Step::Done) => {}
                    Err(failure) => self.shows(&format!("{failure} {failure:?}")),
                }
            }
            while self.connection.poll_timeout(Time::default()) == Some(core::time::Duration::ZERO) {
                self.connection.handle_timeout(Time::default());
                self.shows(&format!("{:?}", self.connection));
            }
            self.transmits();
            let about = format!("{:?} {:?} {:?}", self.connection, self.setup, self.setup.report());
            self.shows(&about);
            if event.is_none() {
                return;
            }
        }
    }

    fn transmits(&mut self) {
        let Some(offered) = self.connection.poll_transmit() else { return };
        let pieces: Vec<String> = offered.pieces().map(|piece| format!("{piece} {piece:?}")).collect();
        let shown = format!("{offered:?} {}", pieces.concat());
        let octets = offered.to_vec();
        self.connection.handle_transmitted(octets.len(), Time::default());
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            self.hides(line);
        }
        self.shows(&shown);
    }

    /// Takes note of what the client says in an authentication.
    fn hides(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line).trim_end().to_string();
        self.last = line.strip_suffix(b"\r\n").unwrap_or(line).to_vec();
        match text.strip_prefix("AUTH ") {
            Some(arguments) => {
                self.authenticating = true;
                self.said.extend(arguments.split(' ').nth(1).map(String::from));
                self.last = arguments.split(' ').next_back().unwrap_or_default().into();
            }
            None if self.authenticating && text != "*" && text != "QUIT" => self.said.push(text),
            None => self.authenticating = false,
        }
    }

    /// What is shown holds neither the secret nor what was said, in whatever form.
    fn shows(&self, shown: &str) {
        let secret = self.secret.as_bytes();
        let hexadecimal: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        let list = format!("{secret:?}");
        let escaped: String = secret.iter().map(|octet| format!("%{octet:02X}")).collect();
        let in_base64 = (0..3).map(|before| {
            // But for the characters that depend on what stands around it.
            let encoded = BASE64_STANDARD.encode([&b"\0\0"[..before], secret].concat());
            encoded[4..encoded.len() - 4].to_string()
        });
        let long = |said: &&String| said.len() >= 8;
        let forms = [self.secret.clone(), CANARY.into(), hexadecimal, escaped, list[1..list.len() - 1].into()];
        for form in forms.iter().chain(&in_base64.collect::<Vec<_>>()).chain(self.said.iter().filter(long)) {
            assert!(!shown.contains(form.as_str()), "{form} in {shown}");
        }
    }
}
