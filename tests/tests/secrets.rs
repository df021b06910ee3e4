//! What nobody may see by accident: whatever comes out of the library is formatted, and searched for every secret that went in.

use std::fmt::{Debug, Display, Write};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use smtp_conformance::lab::{Lab, smtp};
use smtp_conformance::sasl_server::{Account, MECHANISMS, SaslServer, Trick, within_tls};
#[cfg(feature = "drivers")]
use smtp_conformance::tls_server::{Authority, Leaf};
#[cfg(feature = "drivers")]
use smtp_driver::Tls;
use smtp_proto::record::Recorder;
use smtp_proto::sasl::{ChannelBindings, Choice, Credentials, CredentialsError, Mechanism, SaslError, Secret, choose};
use smtp_proto::{Connection, Event, Failure, Security, Setup, State, TlsPolicy};

/// Secrets that are nowhere else, each with characters that some encoding has to write otherwise.
const USER: &str = "cAnary+User@q7.example";
const PASSWORD: &str = "cAnary/Password=z9 x";
const TOKEN: &str = "cAnary-Token~w3._/";
const AUTHZID: &str = "cAnary,Authzid=k5";
const TRACE: &str = "cAnary Trace v8";
const CHALLENGE: &str = "<cAnary.Challenge@m2.example>";
const ACCOUNT: &str = r#"{"status":"cAnary Account t6"}"#;

/// Every way in which `secret` may be written somewhere.
fn disguises(secret: &[u8]) -> Vec<String> {
    let mut disguises = vec![String::from_utf8_lossy(secret).into_owned()];
    for (shift, skipped) in [(0, 0), (1, 2), (2, 3)] {
        // Only the characters that depend on the secret alone.
        let encoded = BASE64_STANDARD_NO_PAD.encode([&vec![0; shift], secret].concat());
        let whole = (shift + secret.len()) * 8 / 6;
        disguises.push(encoded[skipped..whole].to_owned());
    }
    let each = |write: fn(&u8) -> String, between: &str| secret.iter().map(write).collect::<Vec<_>>().join(between);
    let percent = |write: fn(&u8) -> String| -> String {
        let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~".contains(octet);
        secret.iter().map(|octet| if plain(octet) { char::from(*octet).into() } else { write(octet) }).collect()
    };
    disguises.extend([
        each(|octet| format!("{octet:02x}"), ""),
        each(|octet| format!("{octet:02X}"), ""),
        each(|octet| format!("%{octet:02x}"), ""),
        each(|octet| format!("%{octet:02X}"), ""),
        percent(|octet| format!("%{octet:02x}")),
        percent(|octet| format!("%{octet:02X}")),
        // As `Debug` shows a slice of octets.
        each(|octet| octet.to_string(), ", "),
        String::from_utf8_lossy(secret).escape_debug().to_string(),
        String::from_utf8_lossy(secret).escape_default().to_string(),
    ]);
    disguises
}

/// Everything that was formatted.
#[derive(Default)]
struct Log(String);

impl Log {
    fn debug(&mut self, value: &dyn Debug) {
        let _ = writeln!(self.0, "{value:?}\n{value:#?}");
    }

    fn error(&mut self, error: &(impl Debug + Display)) {
        self.debug(error);
        let _ = writeln!(self.0, "{error}");
    }

    /// What a driver shows of its connection and of what is about to leave, in every cut.
    fn outgoing(&mut self, connection: &Connection) {
        self.debug(connection);
        let Some(out) = connection.poll_transmit() else { return };
        self.debug(&out);
        for length in 0..=out.len() {
            let _ = writeln!(self.0, "{:?}", out.first(length));
        }
        out.pieces().for_each(|piece| self.error(&piece));
    }

    fn event(&mut self, event: &Event) {
        self.debug(event);
        match event {
            Event::AuthFailed(failure) => {
                self.error(failure);
                self.error(&Failure::Auth(Box::new(failure.clone())));
                self.debug(&failure.error());
                self.error(failure.reply());
            }
            Event::Closed(reason) => {
                self.error(reason);
                self.error(&Failure::closed(reason.clone(), None));
            }
            Event::Authenticated(reply) | Event::Reply(reply) => self.error(reply),
            _ => {}
        }
    }

    #[track_caller]
    fn has_none_of(&self, secrets: &[Vec<u8>], what: &str) {
        for secret in secrets {
            for disguise in disguises(secret) {
                assert!(!self.0.contains(&disguise), "{what}: {disguise:?}");
            }
        }
    }
}

fn secrets() -> Vec<Vec<u8>> {
    [USER, PASSWORD, TOKEN, AUTHZID, TRACE].map(|secret| secret.as_bytes().to_vec()).to_vec()
}

fn account(trick: Trick) -> Account {
    Account {
        user: USER.into(),
        password: PASSWORD.into(),
        token: TOKEN.into(),
        authzid: Some(AUTHZID.into()),
        cram: CHALLENGE.into(),
        salt: CHALLENGE.into(),
        nonce: CHALLENGE.replace(['<', '>'], ""),
        iterations: 16,
        bindings: vec![("tls-exporter", b"exported".to_vec())],
        trick,
        ..Account::default()
    }
}

fn choice(name: &str) -> Choice {
    let mut choice = Choice::default();
    choice.secure = true;
    choice.danger_in_clear = true;
    choice.nonce = vec![9; 24].into();
    choice.only = Some(name.into());
    choice.iterations.least = 16;
    choice.bindings.tls_exporter = name.ends_with("-PLUS").then(|| b"exported".to_vec());
    choice
}

fn credentials(name: &str, right: bool) -> Credentials {
    let password = if right { PASSWORD.to_owned() } else { format!("{PASSWORD}wrong") };
    let token = if right { TOKEN.to_owned() } else { format!("{TOKEN}wrong") };
    let with = |credentials: Credentials| credentials.acting_as(AUTHZID).unwrap();
    match name {
        "OAUTHBEARER" | "XOAUTH2" => Credentials::token(USER, token).unwrap(),
        "EXTERNAL" => with(Credentials::external()),
        "ANONYMOUS" => Credentials::anonymous(TRACE).unwrap(),
        "CRAM-MD5" | "LOGIN" => Credentials::password(USER, password).unwrap(),
        _ => with(Credentials::password(USER, password).unwrap()),
    }
}

/// Runs one exchange to its end with each reply cut in two at `cut`, formats whatever there is at every step, and searches it.
fn watch(mut lab: Lab, mut server: SaslServer, what: &str, cut: usize) -> Vec<Event> {
    let mut log = Log::default();
    let mut transcript = String::new();
    let mut secrets = secrets();
    let mut events = Vec::new();
    loop {
        log.outgoing(&lab.connection);
        let said = if cut == 0 { lab.transmits(1) } else { lab.transmits(cut) };
        let mut line = said;
        while let Some(out) = lab.connection.poll_transmit() {
            let _ = writeln!(log.0, "{out:?}");
            line.extend(lab.transmits(cut.max(1)));
        }
        if line.is_empty() {
            break;
        }
        let line = String::from_utf8(line).unwrap();
        let line = line.strip_suffix("\r\n").unwrap();
        // What the line carries is as secret as what it was made from.
        let payload = if line.starts_with("AUTH ") { line.split(' ').nth(2).unwrap_or_default() } else { line };
        if payload.len() > 8 {
            secrets.push(payload.as_bytes().to_vec());
            secrets.push(base64::prelude::BASE64_STANDARD.decode(payload).unwrap());
        }
        let reply = server.hear(line);
        let (first, rest) = reply.split_at(cut.min(reply.len()));
        for piece in [first, rest] {
            for line in piece.as_bytes().split_inclusive(|&octet| octet == b'\n') {
                let received = lab.connection.transcribe(line);
                let _ = write!(transcript, "{received}");
                log.error(&received);
            }
            lab.hear(piece);
            log.debug(&lab.connection);
        }
        while let Some(event) = lab.connection.poll_event() {
            log.event(&event);
            events.push(event);
        }
    }
    log.has_none_of(&secrets, what);
    let challenges = [CHALLENGE, ACCOUNT, "cAnary.Challenge@m2.example"].map(|text| text.as_bytes().to_vec());
    Log(transcript).has_none_of(&challenges, what);
    events
}

fn begun(name: &str, right: bool, initial_response: bool) -> Lab {
    let mut config = smtp();
    config.initial_response = initial_response;
    let mut lab = within_tls(config, &[&format!("AUTH {name}")]);
    let mechanism: Box<dyn Mechanism> =
        choose(&credentials(name, right), lab.connection.capabilities(), &choice(name)).unwrap();
    lab.connection.auth(mechanism).unwrap();
    lab
}

// P-15, S-60: no secret, and nothing that an exchange carries, is in anything that can be formatted, for any mechanism, in success and
// in failure, at any cut.
#[test]
fn no_secret_is_formatted() {
    for name in MECHANISMS {
        for initial_response in [true, false] {
            for cut in [0, 1, 2, 3, 4, 5, 10, 20, 40, 80, 120] {
                let what = format!("{name} {cut}");
                let events =
                    watch(begun(name, true, initial_response), SaslServer::new(account(Trick::None)), &what, cut);
                assert!(matches!(events.as_slice(), [Event::Authenticated(_)]), "{what}: {events:?}");
            }
            for trick in [
                Trick::Refuse(504),
                Trick::Refuse(421),
                Trick::RefuseCredentials(535),
                Trick::Succeed(250),
                Trick::Succeed(354),
                Trick::EarlySuccess,
                Trick::Endless,
                Trick::NoSignature,
                Trick::WrongSignature,
                Trick::ServerFirst("r={nonce}x,s=QUJD,i=4294967295".into()),
                Trick::ServerFirst("r=other,s=QUJD,i=16".into()),
                Trick::ServerFinal("e=invalid-proof".into()),
            ] {
                for right in [true, false] {
                    let what = format!("{name} {trick:?} {right}");
                    let server = SaslServer::new(account(trick.clone()));
                    let events = watch(begun(name, right, initial_response), server, &what, 7);
                    assert!(!events.is_empty(), "{what}");
                }
            }
        }
    }
}

// P-15, S-60: the search finds what there is to find.
#[test]
fn the_search_finds_secrets() {
    for secret in secrets() {
        for shift in ["", "x", "xy"] {
            let text = [shift.as_bytes(), &secret, b"tail"].concat();
            let hex: String = text.iter().map(|octet| format!("{octet:02x}")).collect();
            let base64 = BASE64_STANDARD_NO_PAD.encode(&text);
            for shown in [hex.to_uppercase(), hex, base64, format!("{text:?}"), String::from_utf8_lossy(&text).into()] {
                let found = disguises(&secret).iter().any(|disguise| shown.contains(disguise));
                assert!(found, "{shown}");
            }
        }
    }
}

// S-60: a transcript shows the octets of a challenge at no cut, nor what is an answer to it; what else the server says it shows.
#[test]
fn transcripts_hide_challenges_at_every_cut() {
    for name in ["CRAM-MD5", "SCRAM-SHA-256", "LOGIN", "OAUTHBEARER"] {
        for cut in 0..160 {
            let right = name != "OAUTHBEARER";
            let server = SaslServer::new(account(Trick::None));
            watch(begun(name, right, true), server, &format!("{name} {cut}"), cut);
        }
    }
    // Lines of one reply, each looked at for itself.
    let challenge = format!("334-{0}\r\n334 {0}\r\n", BASE64_STANDARD_NO_PAD.encode(CHALLENGE));
    for cut in 0..challenge.len() {
        let mut lab = within_tls(smtp(), &["AUTH X"]);
        lab.connection.auth_manual("X", None).unwrap();
        lab.says();
        let mut log = Log::default();
        let (first, rest) = challenge.split_at(cut);
        for piece in [first, rest] {
            for line in piece.as_bytes().split_inclusive(|&octet| octet == b'\n') {
                let _ = write!(log.0, "{}", lab.connection.transcribe(line));
            }
            lab.hear(piece);
        }
        log.has_none_of(&[CHALLENGE.as_bytes().to_vec()], &format!("{cut}"));
    }
    let mut lab = begun("PLAIN", true, true);
    lab.says();
    assert_eq!(lab.connection.transcribe(b"235 2.7.0 welcome\r\n").to_string(), "235 2.7.0 welcome");
    assert_eq!(lab.connection.transcribe(b"535 \x1b[2J\r\n").to_string(), "535 \\u{1b}[2J");
    lab.hear("235 ok\r\n");
    // What comes unasked right behind it may repeat what is forgotten by now. Behind another command nothing is hidden.
    assert_eq!(lab.connection.transcribe(b"500 what\r\n").to_string(), "<10 octets of an authentication>");
    lab.connection.noop().unwrap();
    lab.says();
    assert_eq!(lab.connection.transcribe(b"334 shown\r\n").to_string(), "334 shown");
}

// P-15, S-60: by hand too: what the caller gives and what it is asked is shown by size only.
#[test]
fn no_secret_by_hand_is_formatted() {
    let mut log = Log::default();
    for initial in [None, Some(Secret::from(PASSWORD))] {
        log.debug(&initial);
        let mut lab = within_tls(smtp(), &["AUTH X"]);
        lab.connection.auth_manual("X", initial).unwrap();
        log.outgoing(&lab.connection);
        lab.says();
        lab.hear(format!("334 {}\r\n", base64::prelude::BASE64_STANDARD.encode(CHALLENGE)));
        for event in lab.events() {
            log.debug(&event);
            let Event::AuthChallenge(challenge) = event else { panic!("{event:?}") };
            assert_eq!(challenge.expose(), CHALLENGE.as_bytes());
            log.debug(&challenge);
            assert_eq!(format!("{challenge:?}"), format!("Challenge(Secret({} octets))", CHALLENGE.len()));
        }
        lab.connection.auth_respond(&TOKEN.into()).unwrap();
        log.outgoing(&lab.connection);
        lab.says();
        lab.hear("334 \r\n");
        lab.events();
        lab.connection.auth_cancel().unwrap();
        log.outgoing(&lab.connection);
        lab.says();
        lab.hear("501 no\r\n");
        lab.events().iter().for_each(|event| log.event(event));
        log.debug(&lab.connection);
    }
    let mut secrets = secrets();
    secrets.push(CHALLENGE.into());
    log.has_none_of(&secrets, "by hand");
}

// P-15, S-60: credentials show their kind and no name; a setup shows nothing of them at any step, nor does its report or its failure.
#[test]
fn no_secret_of_a_setup_is_formatted() {
    let mut log = Log::default();
    for name in MECHANISMS {
        for (right, offered) in [(true, true), (false, true), (true, false)] {
            let credentials = credentials(name, right);
            log.debug(&credentials);
            log.debug(&credentials.clone());
            let mut setup = Setup::new(TlsPolicy::None, Some(credentials)).entropy([3; 24]).choice(|change| {
                *change = choice(name);
            });
            setup.channel_bindings(ChannelBindings::default());
            setup.channel_bindings(choice(name).bindings);
            let mut config = smtp();
            setup.configure(&mut config, Security::Tls);
            log.debug(&config);
            log.debug(&setup);
            let mut connection = Connection::new(config, Security::Tls);
            let mut server = SaslServer::new(account(Trick::None));
            let hello = if offered { format!("250-x\r\n250 {}\r\n", server.keyword()) } else { "250 x\r\n".into() };
            let mut reply = "220 hi\r\n".to_owned();
            loop {
                connection.handle_input(reply.as_bytes(), smtp_proto::Time::default());
                while let Some(event) = connection.poll_event() {
                    log.event(&event);
                    match setup.advance(&mut connection, &event) {
                        Ok(step) => log.debug(&step),
                        Err(failure) => log.error(&failure),
                    }
                    log.debug(&setup);
                    log.debug(setup.report());
                    log.debug(&setup.report().gained().collect::<Vec<_>>());
                }
                log.outgoing(&connection);
                let Some(said) = connection.poll_transmit().map(|out| String::from_utf8(out.to_vec()).unwrap()) else {
                    break;
                };
                connection.handle_transmitted(usize::MAX, smtp_proto::Time::default());
                reply = match said.trim_end_matches("\r\n") {
                    "EHLO client.example" => hello.clone(),
                    "QUIT" => "221 bye\r\n".into(),
                    line => server.hear(line),
                };
            }
            assert_eq!(connection.is_authenticated(), offered && (right || name == "EXTERNAL" || name == "ANONYMOUS"));
        }
    }
    log.has_none_of(&secrets(), "setup");
    assert_eq!(format!("{:?}", credentials("PLAIN", true)), "Credentials(\"password\")");
}

// S-60: what is refused as credentials is not repeated in the refusal.
#[test]
fn refused_credentials_are_not_repeated() {
    let mut log = Log::default();
    let refused: [Option<CredentialsError>; 5] = [
        Credentials::password(USER, format!("{PASSWORD}\0")).err(),
        Credentials::password(&format!("{USER}\n"), PASSWORD).err(),
        Credentials::token(USER, format!("{TOKEN}\x01")).err(),
        Credentials::external().acting_as(&format!("{AUTHZID}\r")).err(),
        Credentials::anonymous(&TRACE.repeat(20)).err(),
    ];
    refused.iter().for_each(|error| log.error(error.as_ref().unwrap()));
    let lab = within_tls(smtp(), &["AUTH SCRAM-SHA-256"]);
    let prohibited = Credentials::password(USER, format!("{PASSWORD}\u{7}")).unwrap();
    log.error(&choose(&prohibited, lab.connection.capabilities(), &choice("SCRAM-SHA-256")).err().unwrap());
    log.error(&choose(&prohibited, lab.connection.capabilities(), &choice("PLAIN")).err().unwrap());
    log.error(&SaslError::Prohibited);
    let mut lab = Lab::ready(smtp(), &["AUTH PLAIN"]);
    let mechanism = choose(&credentials("PLAIN", true), lab.connection.capabilities(), &choice("PLAIN")).unwrap();
    log.error(&lab.connection.auth(mechanism).unwrap_err());
    log.error(&lab.connection.auth_manual("PLAIN", Some(PASSWORD.into())).unwrap_err());
    log.has_none_of(&secrets(), "refused");
}

// S-62: what was transmitted is not offered again, and what is left of a line whose connection ended is not offered at all.
#[test]
fn what_has_left_is_gone() {
    for name in MECHANISMS {
        let mut lab = begun(name, true, true);
        let whole = lab.connection.poll_transmit().unwrap().to_vec();
        let mut gone = Vec::new();
        while let Some(out) = lab.connection.poll_transmit() {
            assert_eq!([&gone, &out[..]].concat(), whole, "{name}");
            gone.extend(lab.transmits(1));
        }
        assert_eq!(gone, whole);
        for length in 0..whole.len() {
            let mut lab = begun(name, true, true);
            lab.transmits(length);
            lab.connection.handle_eof();
            assert!(lab.connection.poll_transmit().is_none());
            assert_eq!(lab.connection.state(), State::Closed);
        }
    }
}

/// The process's own memory, read as a file: what is left of a secret when nobody holds it any more.
// S-60, S-63: a server that repeats what it was told, as those do that do not understand it, puts nothing secret into transcripts
// and errors; anything else that it says is shown.
#[test]
fn what_a_server_repeats_is_not_shown() {
    for (cut, repeats) in [(0, true), (12, true), (40, false)] {
        let mut lab = within_tls(smtp(), &["AUTH PLAIN"]);
        let credentials = Credentials::password("alice", "hunter2-canary").unwrap();
        let mechanism = choose(&credentials, lab.connection.capabilities(), &choice("PLAIN")).unwrap();
        lab.connection.auth(mechanism).unwrap();
        let said = lab.says();
        let shown = &said.trim_end()[..said.len() - 2 - cut.min(said.len() - 2)];
        let reply = format!("500 5.5.1 Command unrecognized: \"{shown}\"");
        let mut log = lab.connection.transcribe(reply.as_bytes()).to_string();
        lab.hear(format!("{reply}\r\n"));
        for event in lab.events() {
            log += &format!("{event:?}");
            if let Event::AuthFailed(failure) = event {
                assert_eq!(failure.reply().code().get(), 500);
                log += &Failure::Auth(Box::new(failure)).to_string();
            }
        }
        assert!(!log.contains("AGFsaWNl"), "{log}");
        assert_eq!(log.contains("Command unrecognized"), !repeats, "{log}");
    }
}

// S-60, S-63: nor where the reply ends the session, or comes when that has ended, where it is about an earlier response, where it
// comes one too many, and where it passes for the account of a refusal.
#[test]
fn what_a_server_repeats_is_nowhere_shown() {
    let encoded = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    let (plain, token) =
        (encoded("\0alice\0hunter2-canary"), encoded("user=alice\x01auth=Bearer hunter2-canary\x01\x01"));
    for (name, replies) in [
        ("PLAIN", vec![format!("421 4.7.0 too many errors: {plain}")]),
        ("PLAIN", vec![format!("350 what is {plain}")]),
        ("PLAIN", vec![format!("535 no\r\n500 unknown command {plain}")]),
        ("PLAIN", vec!["535 no".into(), format!("500 unknown command {plain}")]),
        ("PLAIN", vec!["235 yes".into(), format!("500 unknown command {plain}")]),
        ("PLAIN", vec!["what?".into(), format!("500 unknown command {plain}")]),
        ("XOAUTH2", vec!["334 e30=".into(), format!("535 5.7.8 not accepted: {token}")]),
        ("XOAUTH2", vec![format!("334 {token}"), "535 5.7.8 not accepted".into()]),
    ] {
        let mut lab = within_tls(smtp(), &[&format!("AUTH {name}")]);
        let credentials = match name {
            "PLAIN" => Credentials::password("alice", "hunter2-canary").unwrap(),
            _ => Credentials::token("alice", "hunter2-canary").unwrap(),
        };
        let mechanism = choose(&credentials, lab.connection.capabilities(), &choice(name)).unwrap();
        lab.connection.auth(mechanism).unwrap();
        let mut log = String::new();
        for reply in &replies {
            lab.says();
            for line in reply.split("\r\n") {
                log += &lab.connection.transcribe(line.as_bytes()).to_string();
                lab.hear(format!("{line}\r\n"));
            }
            for event in lab.events() {
                log += &format!("{event:?}");
                if let Event::Closed(reason) = event {
                    log += &Failure::closed(reason, None).to_string();
                }
            }
        }
        let secrets = [&plain[..12], &token[..12], "hunter2"];
        assert!(!secrets.iter().any(|secret| log.contains(secret)), "{name} {replies:?}: {log}");
    }
}

// S-60, S-61: of what is hidden a record shows the code of a reply, and that only where one begins. A connection shows its state.
#[test]
fn a_record_shows_no_more_than_a_code() {
    let mut lab = within_tls(smtp(), &["AUTH X"]);
    lab.connection.auth_manual("X", Some(Secret::from("hunter2-canary"))).unwrap();
    lab.says();
    assert_eq!(format!("{:?}", lab.connection), "Connection { state: Authenticating, secure: true, .. }");
    let shown = |lab: &Lab, line: &str| {
        let received = lab.connection.transcribe(line.as_bytes());
        assert_eq!(format!("{received:?}"), received.to_string());
        let mut recorder = Recorder::new(String::new(), lab.connection.config(), Security::Tls).unwrap();
        let settings = recorder.get_mut().lines().count();
        recorder.received(Duration::ZERO, received).unwrap();
        recorder.get_mut().lines().skip(settings).collect::<Vec<_>>().join("; ")
    };
    let said = BASE64_STANDARD_NO_PAD.encode("hunter2-canary");
    assert_eq!(shown(&lab, "334 dGVzdA==\r\n"), "0 S 334 ; 0 S? 10");
    assert_eq!(shown(&lab, "334-dGVzdA==\r\n"), "0 S 334-; 0 S? 10");
    assert_eq!(shown(&lab, "334"), "0 S? 3");
    assert_eq!(shown(&lab, &format!("what {said}")), format!("0 S? {}", 5 + said.len()));
    assert_eq!(shown(&lab, &format!("wha {said}")), format!("0 S? {}", 4 + said.len()));
    assert_eq!(shown(&lab, "500 what\r\n"), "0 S 500 what\\r\\n");
    lab.hear("334 dG");
    assert_eq!(shown(&lab, "123 VzdA==\r\n"), "0 S? 12");
}

// S-60: a private key whose line ends were lost, as happens in variables of an environment, is not in the error that says so.
#[cfg(feature = "drivers")]
#[test]
fn no_key_is_in_an_error() {
    let identity = Authority::shared().issue(Leaf::Client);
    let pem = identity.key_pem();
    let in_one_line = pem.trim().replace("\r\n", "\n").replace('\n', " ");
    let escaped = pem.replace("\r\n", "\n").replace('\n', "\\n");
    let unfinished = pem.replace("-----END", "-----");
    for key in [&in_one_line, &escaped, &unfinished] {
        for result in [
            Tls::default().identity(identity.certificate_pem().as_bytes(), key.as_bytes()),
            Tls::default().identity(key.as_bytes(), pem.as_bytes()),
            Tls::trusting_only(key.as_bytes()),
        ] {
            let error = result.unwrap_err();
            let shown = format!("{error} {error:?}");
            let octets = shown.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
            let decoded = String::from_utf8(octets).unwrap_or_default();
            let body = pem.lines().nth(1).unwrap();
            assert!(!shown.contains(body) && !decoded.contains(body), "{shown}");
        }
    }
}

#[cfg(target_os = "linux")]
mod memory {
    use std::fs::{File, read_to_string};
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Kept in a form in which the memory does not hold it.
    struct Hidden(Vec<u8>);

    impl Hidden {
        fn new(tag: u8) -> Self {
            Self((0..24_u8).map(|index| (b'A' + (index * 7 + tag) % 26) ^ 0x80).collect())
        }

        fn reveal(&self) -> Vec<u8> {
            self.0.iter().map(|octet| octet ^ 0x80).collect()
        }

        /// The same of its base64, aligned as in `prefix` and the secret.
        fn encoded(&self, prefix: &[u8]) -> Self {
            let mut text = [prefix, &self.reveal()].concat();
            let mut encoded = BASE64_STANDARD_NO_PAD.encode(&text).into_bytes();
            let hidden =
                encoded[prefix.len() * 8 / 6 + 1..text.len() * 8 / 6].iter().map(|octet| octet ^ 0x80).collect();
            text.fill(0);
            encoded.fill(0);
            std::hint::black_box((&text, &encoded));
            Self(hidden)
        }

        fn is_at(&self, memory: &[u8]) -> bool {
            memory.len() >= self.0.len() && self.0.iter().zip(memory).all(|(hidden, octet)| hidden ^ 0x80 == *octet)
        }
    }

    /// How often each is found in writable memory. What the search itself reads is overwritten as it goes.
    fn found(hidden: &[&Hidden]) -> Vec<usize> {
        let memory = File::open("/proc/self/mem").unwrap();
        let mut counts = vec![0; hidden.len()];
        let mut buffer = vec![0; 1 << 16];
        for line in read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains(" rw-p ")) {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            let mut at = start;
            while at < end {
                let Ok(length) = memory.read_at(&mut buffer, at) else { break };
                let seen = &buffer[..length.min(usize::try_from(end - at).unwrap())];
                for (count, hidden) in counts.iter_mut().zip(hidden) {
                    let first = hidden.0[0] ^ 0x80;
                    let places = seen.iter().enumerate().filter(|(_, octet)| **octet == first);
                    *count += places.filter(|(index, _)| hidden.is_at(&seen[*index..])).count();
                }
                let step = seen.len() as u64;
                at += if step > 64 && at + step < end { step - 64 } else { step };
                buffer.fill(0);
            }
        }
        counts
    }

    /// An exchange whose octets nobody else copies.
    fn exchange(lab: &mut Lab, replies: &[&str]) {
        let now = lab.time();
        for reply in replies {
            while let Some(length) = lab.connection.poll_transmit().map(|out| out.len()) {
                lab.connection.handle_transmitted(length.min(5), now);
            }
            lab.hear(reply);
        }
        while let Some(length) = lab.connection.poll_transmit().map(|out| out.len()) {
            lab.connection.handle_transmitted(length, now);
        }
        lab.events();
    }

    // S-62: when an exchange is over and the credentials are dropped, neither the secret nor its base64 is left in memory; and while
    // the connection lives on, nothing of it is left in the connection.
    #[test]
    fn no_secret_is_left_in_memory() {
        let mut broken = 0;
        for (tag, name, prefix, replies) in [
            (0, "PLAIN", &b"\0user\0"[..], &[][..]),
            (8, "PLAIN", b"\0user\0", &["dropped"]),
            (7, "OAUTHBEARER", b"n,a=user,\x01auth=Bearer ", &[]),
            (1, "PLAIN", b"\0user\0", &["235 ok\r\n"]),
            (2, "PLAIN", b"\0user\0", &["535 no\r\n"]),
            (3, "LOGIN", b"", &["334 \r\n", "334 \r\n", "235 ok\r\n"]),
            (4, "XOAUTH2", b"user=user\x01auth=Bearer ", &["235 ok\r\n"]),
            (5, "XOAUTH2", b"user=user\x01auth=Bearer ", &["334 e30=\r\n", "535 no\r\n"]),
            (6, "OAUTHBEARER", b"n,a=user,\x01auth=Bearer ", &["235 ok\r\n"]),
        ] {
            let hidden = Hidden::new(tag);
            let encoded = hidden.encoded(prefix);
            let mut lab = within_tls(smtp(), &[&format!("AUTH {name}")]);
            let secret = hidden.reveal();
            let credentials = match name {
                "PLAIN" | "LOGIN" => Credentials::password("user", secret).unwrap(),
                _ => Credentials::token("user", secret).unwrap(),
            };
            assert_ne!(found(&[&hidden]), [0], "the search works");
            let mechanism = choose(&credentials, lab.connection.capabilities(), &choice(name)).unwrap();
            lab.connection.auth(mechanism).unwrap();
            assert_eq!(found(&[&encoded]) != [0], name != "LOGIN", "the search works in what is about to leave");
            if replies == ["dropped"] {
                // Whoever waited for it was cancelled within the line.
                lab.connection.handle_transmitted(8, lab.time());
                drop(std::mem::replace(&mut lab, Lab::new(smtp())));
            } else if replies.is_empty() {
                // The stream breaks within the line.
                lab.connection.handle_transmitted(30, lab.time());
                if broken > 0 {
                    lab.connection.handle_write_closed(lab.time());
                }
                lab.connection.handle_eof();
                broken += 1;
                lab.events();
            } else {
                exchange(&mut lab, replies);
            }
            drop(credentials);
            assert_eq!(found(&[&hidden, &encoded]), [0, 0], "{tag} {name}");
            drop(lab);
        }
    }
}
