//! AUTH from outside: every mechanism against a server that was written apart from it, and every way to go wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::sasl_server::{Account, MECHANISMS, SaslServer, Trick, converse, within_tls};
use smtp_proto::sasl::{
    AuthFailure, AuthFailureKind, ChannelBindings, Choice, ChooseError, Credentials, CredentialsError, Iterations,
    Mechanism, Response, SaslError, Secret, choose,
};
use smtp_proto::{
    CloseReason, Config, Event, Extension, Parameter, ReplyError, ReversePath, State, UsageError, Utf8Reason,
};

/// Octets that both ends of a TLS connection know.
const EXPORTED: [u8; 32] = [0x5a; 32];
const CERTIFICATE_HASH: [u8; 32] = [0xc3; 32];

/// Iterations of SCRAM where time matters more than they do.
const FEW: u32 = 16;

/// The usual account, with few iterations.
fn account() -> Account {
    Account { iterations: FEW, bindings: bindings(), ..Account::default() }
}

/// The usual server with one thing wrong.
fn server_with(trick: Trick) -> SaslServer {
    SaslServer::new(Account { trick, ..account() })
}

/// What a choice of one mechanism depends on, within TLS.
fn only(name: &str) -> Choice {
    let mut choice = Choice::default();
    choice.secure = true;
    choice.nonce = (0..24).collect::<Vec<u8>>().into();
    choice.only = Some(name.into());
    choice.iterations.least = FEW;
    if name.ends_with("-PLUS") {
        choice.bindings.tls_exporter = Some(EXPORTED.to_vec());
    }
    choice
}

fn password() -> Credentials {
    Credentials::password("user", "pencil").unwrap()
}

/// The right credentials for a mechanism of the usual server, and whom it then lets in.
fn right(name: &str) -> (Credentials, &'static str) {
    match name {
        "OAUTHBEARER" | "XOAUTH2" => (Credentials::token("user", "t0ken").unwrap(), "user"),
        "EXTERNAL" => (Credentials::external(), "user"),
        "ANONYMOUS" => (Credentials::anonymous("a trace").unwrap(), "anonymous a trace"),
        _ => (password(), "user"),
    }
}

/// The server's ends of the bindings that the client has in [`only`].
fn bindings() -> Vec<(&'static str, Vec<u8>)> {
    vec![("tls-exporter", EXPORTED.to_vec()), ("tls-server-end-point", CERTIFICATE_HASH.to_vec())]
}

/// An attempt that has come to its end.
struct Attempt {
    lab: Lab,
    server: SaslServer,
    said: Vec<String>,
    events: Vec<Event>,
}

impl Attempt {
    fn new(server: SaslServer, credentials: &Credentials, choice: &Choice) -> Self {
        Self::run(smtp(), server, credentials, choice, usize::MAX)
    }

    fn run(config: Config, mut server: SaslServer, credentials: &Credentials, choice: &Choice, piece: usize) -> Self {
        let mut lab = within_tls(config, &[&server.keyword()]);
        let mechanism = choose(credentials, lab.connection.capabilities(), choice).unwrap();
        lab.connection.auth(mechanism).unwrap();
        let said = converse(&mut lab, &mut server, piece);
        let events = lab.events();
        Self { lab, server, said, events }
    }

    fn succeeded(&self) -> bool {
        let told = matches!(self.events.as_slice(), [Event::Authenticated(_)]);
        assert_eq!(told, self.lab.connection.is_authenticated());
        told
    }

    fn failure(&self) -> &AuthFailure {
        assert!(!self.lab.connection.is_authenticated());
        match self.events.first() {
            Some(Event::AuthFailed(failure)) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    /// Whether another command finds its reply.
    fn is_usable(&mut self) -> bool {
        usable(&mut self.lab)
    }
}

fn usable(lab: &mut Lab) -> bool {
    if lab.connection.noop().is_err() {
        return false;
    }
    assert_eq!(lab.says(), "NOOP\r\n");
    lab.hear("250 ok\r\n");
    matches!(lab.events().as_slice(), [Event::Reply(_)]) && lab.connection.state() == State::Ready
}

/// A connection within TLS, in the middle of an exchange of a mechanism of the test's own, which has said its first line.
fn exchanging(mechanism: Noted) -> Lab {
    let mut lab = within_tls(smtp(), &[&format!("AUTH {}", mechanism.name)]);
    lab.connection.auth(Box::new(mechanism)).unwrap();
    lab.says();
    lab
}

/// A mechanism of the test's own, which writes down what is asked of it.
struct Noted {
    name: String,
    initial: Option<Vec<u8>>,
    /// What it answers; then nothing, again and again.
    responses: VecDeque<Result<Vec<u8>, SaslError>>,
    believes: bool,
    notes: Notes,
}

/// What was written down, the end of it included.
#[derive(Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.add("dropped");
    }
}

impl Noted {
    fn new(name: &str) -> Self {
        Self { name: name.into(), initial: None, responses: VecDeque::new(), believes: true, notes: Notes::default() }
    }
}

impl Mechanism for Noted {
    fn name(&self) -> &str {
        &self.name
    }

    fn initial_response(&mut self) -> Option<Secret> {
        self.notes.add("initial");
        self.initial.clone().map(Secret::from)
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError> {
        self.notes.add(format!("challenge of {}", challenge.len()));
        self.responses.pop_front().unwrap_or_else(|| Ok(Vec::new())).map(|octets| Secret::from(octets).into())
    }

    fn verify_success(&mut self) -> Result<(), SaslError> {
        self.notes.add("success");
        if self.believes { Ok(()) } else { Err(SaslError::ServerUnproven) }
    }
}

fn notes(notes: &Mutex<Vec<String>>) -> Vec<String> {
    notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

// C-110, C-113, C-116, C-117, C-123, C-124, C-125, C-128, C-129: every mechanism gets in, with the initial response on the
// command line or behind an empty challenge, and however the octets are cut.
#[test]
fn every_mechanism_gets_in() {
    for name in MECHANISMS {
        let (credentials, identity) = right(name);
        for (initial_response, piece, iterations) in
            [(true, usize::MAX, 4096), (false, usize::MAX, FEW), (true, 1, FEW), (false, 3, FEW)]
        {
            let mut config = smtp();
            config.initial_response = initial_response;
            let server = SaslServer::new(Account { iterations, ..account() });
            let mut attempt = Attempt::run(config, server, &credentials, &only(name), piece);
            assert!(attempt.succeeded(), "{name}: {:?}", attempt.events);
            assert_eq!(attempt.server.identity.as_deref(), Some(identity), "{name}");
            let words: Vec<_> = attempt.said[0].split(' ').collect();
            assert_eq!(words[..2], ["AUTH", name]);
            assert_eq!(words.len() == 3, initial_response && !matches!(name, "LOGIN" | "CRAM-MD5"), "{name}");
            for line in attempt.said[1..].iter().map(String::as_str).chain(words.get(2).copied()) {
                assert!(line == "=" || BASE64_STANDARD.decode(line).is_ok(), "{name}: {line}");
            }
            assert!(attempt.is_usable());
        }
    }
}

// C-118, C-129: wrong credentials are refused as such, nothing else is tried, and the connection goes on.
#[test]
fn wrong_credentials_are_told_as_such() {
    for name in MECHANISMS.into_iter().filter(|name| !matches!(*name, "EXTERNAL" | "ANONYMOUS")) {
        let wrong: &[Credentials] = match name {
            "OAUTHBEARER" | "XOAUTH2" => {
                &[Credentials::token("user", "t1ken").unwrap(), Credentials::token("nobody", "t0ken").unwrap()]
            }
            _ => &[
                Credentials::password("user", "pencil ").unwrap(),
                Credentials::password("user", "Pencil").unwrap(),
                Credentials::password("nobody", "pencil").unwrap(),
            ],
        };
        for credentials in wrong {
            for initial_response in [true, false] {
                let mut config = smtp();
                config.initial_response = initial_response;
                let server = SaslServer::new(account());
                let mut attempt = Attempt::run(config, server, credentials, &only(name), usize::MAX);
                let failure = attempt.failure();
                assert_eq!(failure.kind(), AuthFailureKind::Credentials, "{name}: {failure}");
                assert_eq!((failure.mechanism(), failure.reply().code().get(), failure.error()), (name, 535, None));
                assert!(!failure.is_transient());
                assert_eq!(attempt.said.iter().filter(|line| line.starts_with("AUTH")).count(), 1);
                assert_eq!(attempt.server.identity, None);
                assert!(attempt.is_usable(), "{name}");
            }
        }
    }
    // Who acts as somebody he may not act as is no better.
    let credentials = Credentials::external().acting_as("root").unwrap();
    let attempt = Attempt::new(SaslServer::new(account()), &credentials, &only("EXTERNAL"));
    assert_eq!(attempt.failure().kind(), AuthFailureKind::Credentials);
}

// C-123, C-124, C-126: another identity to act as goes where each mechanism has its place for it, escaped where it has to be;
// mechanisms without a place for it are not used.
#[test]
fn another_identity_has_its_place() {
    let credentials = |authzid| password().acting_as(authzid).unwrap();
    for name in MECHANISMS.into_iter().filter(|name| name.starts_with("SCRAM") || *name == "PLAIN") {
        for authzid in ["boss", "a=b,c", "bös"] {
            let server = SaslServer::new(Account { authzid: Some(authzid.into()), ..account() });
            let attempt = Attempt::new(server, &credentials(authzid), &only(name));
            assert!(attempt.succeeded(), "{name}: {:?}", attempt.events);
            assert_eq!(attempt.server.identity.as_deref(), Some(authzid));
        }
    }
    for name in ["CRAM-MD5", "LOGIN"] {
        let lab = within_tls(smtp(), &[&format!("AUTH {name}")]);
        let error = choose(&credentials("boss"), lab.connection.capabilities(), &only(name)).err();
        assert_eq!(error, Some(ChooseError::NotOffered { offered: name.into() }));
    }
    let server = SaslServer::new(Account { authzid: Some("boss".into()), ..account() });
    let credentials = Credentials::external().acting_as("boss").unwrap();
    let attempt = Attempt::new(server, &credentials, &only("EXTERNAL"));
    assert_eq!(attempt.said, ["AUTH EXTERNAL Ym9zcw=="]);
    assert_eq!(attempt.server.identity.as_deref(), Some("boss"));
}

// C-126: names and passwords with separators and beyond ASCII come out at the server as they went in, prepared by RFC 4013 for
// SCRAM, so that what a user can type in several ways is one password.
#[test]
fn names_and_passwords_beyond_ascii() {
    for name in MECHANISMS.into_iter().filter(|name| name.starts_with("SCRAM")) {
        for (typed, stored) in [
            ("p\u{e4}ss", "p\u{e4}ss"),
            ("pa\u{308}ss", "p\u{e4}ss"),
            ("\u{2168}", "IX"),
            ("I\u{ad}X", "IX"),
            ("non\u{a0}breaking", "non breaking"),
            ("=2C,=3D", "=2C,=3D"),
        ] {
            let credentials = Credentials::password(typed, typed).unwrap();
            let server = SaslServer::new(Account {
                user: stored.into(),
                password: stored.as_bytes().to_vec(),
                bindings: bindings(),
                ..account()
            });
            assert!(Attempt::new(server, &credentials, &only(name)).succeeded(), "{name}: {typed:?}");
        }
    }
    let server = SaslServer::new(Account { user: "a=b,ü".into(), ..account() });
    let credentials = Credentials::token("a=b,ü", "t0ken").unwrap();
    assert!(Attempt::new(server, &credentials, &only("OAUTHBEARER")).succeeded());
    // The others carry what they are given.
    for name in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let credentials = Credentials::password("üser", "pa\u{308}ss").unwrap();
        let server = SaslServer::new(Account { user: "üser".into(), password: "pa\u{308}ss".into(), ..account() });
        assert!(Attempt::new(server, &credentials, &only(name)).succeeded(), "{name}");
    }
    // What RFC 4013 prohibits is refused before a line is said; an octet that is no text is a password like any other.
    let lab = within_tls(smtp(), &["AUTH SCRAM-SHA-256"]);
    let credentials = Credentials::password("user", "bell\u{7}").unwrap();
    let error = choose(&credentials, lab.connection.capabilities(), &only("SCRAM-SHA-256")).err();
    assert_eq!(error, Some(ChooseError::Credentials(SaslError::Prohibited)));
    let credentials = Credentials::password("user", vec![0xff, 0xfe]).unwrap();
    let server = SaslServer::new(Account { password: vec![0xff, 0xfe], ..account() });
    assert!(Attempt::new(server, &credentials, &only("SCRAM-SHA-256")).succeeded());
}

// C-110: an empty initial response is an equals sign, an empty later one an empty line.
#[test]
fn empty_responses() {
    let attempt = Attempt::new(SaslServer::new(account()), &Credentials::external(), &only("EXTERNAL"));
    assert_eq!(attempt.said, ["AUTH EXTERNAL ="]);
    let attempt = Attempt::new(SaslServer::new(account()), &Credentials::anonymous("").unwrap(), &only("ANONYMOUS"));
    assert_eq!(attempt.said, ["AUTH ANONYMOUS ="]);
    let mut config = smtp();
    config.initial_response = false;
    let attempt =
        Attempt::run(config, SaslServer::new(account()), &Credentials::external(), &only("EXTERNAL"), usize::MAX);
    assert_eq!(attempt.said, ["AUTH EXTERNAL", ""]);
    let attempt = Attempt::new(SaslServer::new(account()), &password(), &only("SCRAM-SHA-256"));
    assert_eq!(attempt.said.last().map(String::as_str), Some(""));
    assert_eq!(attempt.said.len(), 3);
    assert!(attempt.succeeded());
}

// C-111: an AUTH line of 512 octets carries the initial response, one of 513 would not: it is held back until the server asks.
#[test]
fn long_initial_responses_are_held_back() {
    // 372 octets are 496 of base64; the name decides the rest.
    for (name, length) in [("X-FITS-8", 512), ("X-FITS-NOT", 514), ("X-9-CHARS", 513)] {
        for by_hand in [false, true] {
            let initial = vec![b'x'; 372];
            let encoded = BASE64_STANDARD.encode(&initial);
            let mut lab = within_tls(smtp(), &[&format!("AUTH {name}")]);
            if by_hand {
                lab.connection.auth_manual(name, Some(initial.into())).unwrap();
            } else {
                let mechanism = Noted { initial: Some(initial), ..Noted::new(name) };
                lab.connection.auth(Box::new(mechanism)).unwrap();
            }
            let whole = format!("AUTH {name} {encoded}\r\n");
            assert_eq!(whole.len(), length);
            if length <= 512 {
                assert_eq!(lab.says(), whole);
            } else {
                assert_eq!(lab.says(), format!("AUTH {name}\r\n"));
                lab.hear("334 \r\n");
                assert_eq!(lab.says(), format!("{encoded}\r\n"));
                assert!(lab.events().is_empty(), "the caller is not asked for what it gave already");
            }
            lab.hear("235 ok\r\n");
            assert!(lab.connection.is_authenticated());
        }
    }
    // Tokens of either kind, around the limit and far beyond it.
    for name in ["OAUTHBEARER", "XOAUTH2"] {
        for length in (340..380).chain([4_000, 9_000]) {
            let token = "t".repeat(length);
            let server = SaslServer::new(Account { token: token.clone(), ..account() });
            let credentials = Credentials::token("user", token).unwrap();
            let attempt = Attempt::new(server, &credentials, &only(name));
            assert!(attempt.succeeded());
            assert!(attempt.said[0].len() <= 510);
            let response = attempt.said[0].split(' ').nth(2).or(attempt.said.get(1).map(String::as_str)).unwrap();
            let held_back = format!("AUTH {name} {response}").len() > 510;
            assert_eq!(attempt.said.len(), if held_back { 2 } else { 1 }, "{name} {length}");
        }
    }
}

// C-112, C-113: a challenge that is not one line of strict base64 is answered by a star, the mechanism is not asked, and after
// the server's 501 the connection goes on.
#[test]
fn challenges_that_are_not_base64() {
    let malformed = [
        "334 ***",
        "334 =AAA",
        "334 AAA=BBB",
        "334 QQ",
        "334 QQ=",
        "334 QQ===",
        "334 QUI",
        "334 A A",
        "334  QUJD",
        "334 QUJD ",
        "334 QUJD\tQUJD",
        "334 QUJDRA==QUJD",
        "334 QR==",
        "334 QUJ=",
        "334 ====",
        "334 =",
        "334 QUJ\u{e9}",
        "334 QUJ-",
        "334 QUJ_",
        "334 QUJD\rQUJD",
        "334-QUJD\r\n334 QUJD",
        "334-\r\n334 ",
        "334 Username:",
    ];
    for challenge in malformed {
        let mechanism = Noted::new("X-ANY");
        let asked = Arc::clone(&mechanism.notes.0);
        let mut lab = exchanging(mechanism);
        lab.hear(format!("{challenge}\r\n"));
        assert_eq!(lab.says(), "*\r\n", "{challenge:?}");
        assert_eq!(lab.connection.state(), State::Authenticating);
        lab.hear("501 5.5.2 cancelled\r\n");
        let events = lab.events();
        let [Event::AuthFailed(failure)] = events.as_slice() else { panic!("{challenge:?}: {events:?}") };
        assert_eq!((failure.kind(), failure.error()), (AuthFailureKind::Local, Some(SaslError::Base64)));
        assert_eq!(failure.reply().code().get(), 501);
        assert_eq!(notes(&asked), ["initial", "dropped"]);
        assert!(usable(&mut lab), "{challenge:?}");
    }
    for (challenge, length) in
        [("334", 0), ("334 ", 0), ("334 QQ==", 1), ("334 QUI=", 2), ("334 QUJD", 3), ("334 ++//", 3)]
    {
        let mechanism = Noted::new("X-ANY");
        let asked = Arc::clone(&mechanism.notes.0);
        let mut lab = exchanging(mechanism);
        lab.hear(format!("{challenge}\r\n"));
        assert_eq!(lab.says(), "\r\n", "{challenge:?}");
        assert_eq!(notes(&asked)[1], format!("challenge of {length}"));
    }
    // The same from a whole server, for the mechanisms in which the server begins.
    for name in ["LOGIN", "CRAM-MD5", "SCRAM-SHA-256"] {
        let server = server_with(Trick::Challenge("334 what is your name?".into()));
        let mut attempt = Attempt::new(server, &password(), &only(name));
        assert_eq!(attempt.said[1..], ["*"]);
        assert_eq!(attempt.failure().error(), Some(SaslError::Base64));
        assert!(attempt.is_usable());
    }
}

// C-113: a response is one line, however long, of base64 with its padding.
#[test]
fn responses_are_one_line() {
    for length in [1, 2, 3, 57, 58, 200, 1_000, 9_210] {
        let secret = vec![0xfb; length];
        let mut lab = exchanging(Noted { responses: [Ok(secret.clone())].into(), ..Noted::new("X-ANY") });
        lab.hear("334 \r\n");
        let said = lab.says();
        assert_eq!(said.matches("\r\n").count(), 1);
        assert_eq!(said.len() % 4, 2, "padded");
        assert_eq!(BASE64_STANDARD.decode(said.trim_end()).unwrap(), secret);
    }
}

// C-114, S-35: a challenge of 12,288 octets is answered, one beyond 16 KiB is cancelled, and one beyond what a reply may hold ends
// the connection; whole or in pieces.
#[test]
fn long_challenges() {
    for piece in [usize::MAX, 1, 1000] {
        for (length, answer) in
            [(12_284, "\r\n"), (12_288, "\r\n"), (16_384, "\r\n"), (16_388, "*\r\n"), (20_000, "*\r\n")]
        {
            let mut lab = exchanging(Noted::new("X-ANY"));
            format!("334 {}\r\n", "A".repeat(length)).as_bytes().chunks(piece).for_each(|piece| lab.hear(piece));
            assert_eq!(lab.says(), answer, "{length}");
            lab.hear("501 no\r\n");
            lab.events();
            assert!(usable(&mut lab));
        }
        let mut lab = exchanging(Noted::new("X-ANY"));
        format!("334 {}\r\n", "A".repeat(1 << 20)).as_bytes().chunks(piece).for_each(|piece| lab.hear(piece));
        assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Malformed(ReplyError::TooLong)))));
        assert_eq!(lab.says(), "");
    }
    // Only challenges may be so long, and only while a challenge can come.
    let mut lab = exchanging(Noted::new("X-ANY"));
    lab.hear("535 no\r\n");
    lab.connection.noop().unwrap();
    lab.says();
    lab.hear(format!("250 {}\r\n", "A".repeat(4_000)));
    assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Malformed(ReplyError::LineTooLong)))));
}

// C-125, S-35, S-54: the challenge of CRAM-MD5 is the server's choice, and is answered once, if it is no longer than any
// challenge may be.
#[test]
fn the_challenge_of_cram_md5_is_bounded() {
    for (length, right) in [(0, true), (1, true), (9_216, true), (12_288, true), (12_289, false), (18_000, false)] {
        let server = SaslServer::new(Account { cram: "c".repeat(length), ..account() });
        let attempt = Attempt::new(server, &password(), &only("CRAM-MD5"));
        assert_eq!(attempt.succeeded(), right, "{length}");
        assert_eq!(attempt.said[1] == "*", !right);
    }
    let server = SaslServer::new(Account { cram: "c".repeat(1 << 20), ..account() });
    let attempt = Attempt::new(server, &password(), &only("CRAM-MD5"));
    assert_eq!(attempt.said, ["AUTH CRAM-MD5"]);
    assert!(matches!(attempt.lab.connection.close_reason(), Some(CloseReason::Malformed(_))));
    // A second challenge would be a second oracle.
    let mut lab = within_tls(smtp(), &["AUTH CRAM-MD5"]);
    let mechanism = choose(&password(), lab.connection.capabilities(), &only("CRAM-MD5")).unwrap();
    lab.connection.auth(mechanism).unwrap();
    lab.says();
    lab.hear("334 PDE+\r\n");
    lab.says();
    lab.hear("334 PDI+\r\n");
    assert_eq!(lab.says(), "*\r\n");
}

// C-130, S-35: ten challenges are answered, the eleventh is cancelled; so is the one that makes it more than 64 KiB in all. A
// server that goes on even then is left.
#[test]
fn challenges_without_end() {
    for (challenge, answered) in [(String::new(), 10), ("A".repeat(16_384), 4), ("A".repeat(8_192), 8)] {
        let mut lab = exchanging(Noted::new("X-ANY"));
        for _ in 0..answered {
            lab.hear(format!("334 {challenge}\r\n"));
            assert_eq!(lab.says(), "\r\n");
        }
        lab.hear(format!("334 {challenge}\r\n"));
        assert_eq!(lab.says(), "*\r\n");
        let mut patient = exchanging(Noted::new("X-ANY"));
        for _ in 0..=answered {
            patient.hear(format!("334 {challenge}\r\n"));
            patient.says();
        }
        patient.hear("501 cancelled\r\n");
        assert!(matches!(patient.events().as_slice(),
            [Event::AuthFailed(failure)] if failure.error() == Some(SaslError::TooManyChallenges)));
        assert!(usable(&mut patient));
        lab.hear(format!("334 {challenge}\r\n"));
        assert_eq!(lab.says(), "");
        assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Unsolicited(_)))));
    }
    // No mechanism of the library's takes part for so long.
    for name in MECHANISMS {
        let server = SaslServer::new(Account { trick: Trick::Endless, ..account() });
        let attempt = Attempt::run(smtp(), server, &right(name).0, &only(name), usize::MAX);
        assert!(attempt.said.len() <= 4, "{name}: {:?}", attempt.said);
        assert!(attempt.said.contains(&"*".to_owned()));
        assert!(!attempt.lab.connection.is_authenticated());
    }
}

// C-115: AUTH where it may not be said is refused here, and not an octet leaves.
#[test]
fn auth_out_of_place() {
    fn refused(lab: &mut Lab, expected: &UsageError) {
        let before = lab.connection.state();
        assert_eq!(lab.connection.auth(Box::new(Noted::new("X-ANY"))), Err(expected.clone()));
        assert_eq!(lab.connection.auth_manual("X-ANY", None), Err(expected.clone()));
        assert_eq!(lab.connection.auth_respond(&"x".into()), Err(UsageError::NoChallenge));
        assert_eq!(lab.connection.auth_cancel(), Err(UsageError::NoChallenge));
        assert_eq!(lab.says(), "");
        assert_eq!(lab.connection.state(), before);
    }
    let secure = || within_tls(smtp(), &["AUTH X-ANY"]);

    let mut lab = exchanging(Noted::new("X-ANY"));
    refused(&mut lab, &UsageError::Busy);
    lab.hear("235 ok\r\n");
    lab.events();
    refused(&mut lab, &UsageError::AlreadyAuthenticated);
    lab.connection.ehlo().unwrap();
    lab.says();
    lab.hear("250-server.example\r\n250 AUTH X-ANY\r\n");
    lab.events();
    refused(&mut lab, &UsageError::AlreadyAuthenticated);

    let mut lab = secure();
    lab.connection.mail(transaction(0)).unwrap();
    lab.says();
    refused(&mut lab, &UsageError::Busy);
    lab.hear("250 ok\r\n");
    refused(&mut lab, &UsageError::Busy);

    let mut lab = secure();
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        refused(&mut lab, &UsageError::Busy);
        lab.hear(reply);
        lab.says();
    }
    refused(&mut lab, &UsageError::Busy);
    lab.pours(b"x\r\n");
    refused(&mut lab, &UsageError::Busy);
    lab.hear("250 ok\r\n");
    lab.connection.auth(Box::new(Noted::new("X-ANY"))).unwrap();

    refused(&mut within_tls(smtp(), &[]), &UsageError::Missing(Extension::Auth));
    for offer in ["AUTH PLAIN LOGIN", "AUTH X-AN X-ANYTHING", "AUTH"] {
        refused(&mut within_tls(smtp(), &[offer]), &UsageError::MechanismNotOffered("X-ANY".into()));
    }
    let mut lab = secure();
    lab.connection.noop().unwrap();
    lab.says();
    refused(&mut lab, &UsageError::Busy);
    lab.hear("250 ok\r\n");
    lab.connection.quit().unwrap();
    lab.says();
    refused(&mut lab, &UsageError::Closed);
    lab.hear("221 bye\r\n");
    refused(&mut lab, &UsageError::Closed);

    let mut upgrading = Lab::ready(smtp(), &["STARTTLS", "AUTH X-ANY"]);
    upgrading.connection.starttls().unwrap();
    upgrading.says();
    refused(&mut upgrading, &UsageError::Busy);
    upgrading.hear("220 go\r\n");
    refused(&mut upgrading, &UsageError::Busy);

    let mut config = smtp();
    config.automatic_hello = false;
    let mut lab = Lab::new(config);
    refused(&mut lab, &UsageError::Busy);
    lab.hear("220 hi\r\n");
    refused(&mut lab, &UsageError::Missing(Extension::Auth));
}

// C-115: a refused attempt does not use up the session's one success.
#[test]
fn another_attempt_after_a_failure() {
    let mut lab = exchanging(Noted::new("X-ANY"));
    lab.hear("535 no\r\n");
    lab.connection.auth(Box::new(Noted::new("x-any"))).unwrap();
    lab.says();
    lab.hear("235 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::AuthFailed(_), Event::Authenticated(_)]));
}

// C-121, S-50, P-14: what shows a password does not leave in clear, whatever the server offers there; only a caller who accepts
// the danger by name sends it.
#[test]
fn no_password_in_clear() {
    let clear = |danger| {
        let mut config = smtp();
        config.danger_password_in_clear = danger;
        Lab::ready(config, &[&format!("AUTH {}", MECHANISMS.join(" "))])
    };
    for name in ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"] {
        let (credentials, _) = right(name);
        let mut lab = clear(false);
        let mut honest = only(name);
        honest.secure = false;
        let error = choose(&credentials, lab.connection.capabilities(), &honest).err();
        assert_eq!(error, Some(ChooseError::NeedsTls), "{name}");
        // Nor does it by a choice that took the stream for encrypted.
        let mechanism = choose(&credentials, lab.connection.capabilities(), &only(name)).unwrap();
        assert!(mechanism.exposes_password());
        assert_eq!(lab.connection.auth(mechanism), Err(UsageError::NeedsTls), "{name}");
        assert_eq!(lab.connection.auth_manual(name, Some("secret".into())), Err(UsageError::NeedsTls));
        assert_eq!(lab.says(), "");
        assert!(usable(&mut lab));

        let mut lab = clear(true);
        honest.danger_in_clear = true;
        let mechanism = choose(&credentials, lab.connection.capabilities(), &honest).unwrap();
        lab.connection.auth(mechanism).unwrap();
        assert!(
            converse(&mut lab, &mut SaslServer::new(account()), usize::MAX)[0].starts_with(&format!("AUTH {name}"))
        );
        assert!(lab.connection.is_authenticated());
    }
    for name in MECHANISMS.into_iter().filter(|name| !name.ends_with("-PLUS")) {
        let (credentials, _) = right(name);
        let mechanism = choose(&credentials, clear(false).connection.capabilities(), &only(name)).unwrap();
        if mechanism.exposes_password() {
            continue;
        }
        let mut lab = clear(false);
        lab.connection.auth(mechanism).unwrap();
        let said = converse(&mut lab, &mut SaslServer::new(account()), usize::MAX);
        assert!(lab.connection.is_authenticated(), "{name}");
        let decoded = said.iter().filter_map(|line| BASE64_STANDARD.decode(line.rsplit(' ').next()?).ok());
        assert!(decoded.into_iter().all(|octets| !String::from_utf8_lossy(&octets).contains("pencil")));
    }
    // A mechanism that says nothing of itself is taken to show the password.
    let mut lab = Lab::ready(smtp(), &["AUTH X-ANY"]);
    assert_eq!(lab.connection.auth(Box::new(Noted::new("X-ANY"))), Err(UsageError::NeedsTls));
    assert_eq!(lab.says(), "");
}

// C-116, S-52: SCRAM has succeeded once the server's signature was verified and 235 has come, and not before: a 235 that comes
// earlier ends the connection at once.
#[test]
fn scram_needs_the_servers_proof() {
    for name in MECHANISMS.into_iter().filter(|name| name.starts_with("SCRAM")) {
        for trick in [Trick::EarlySuccess, Trick::NoSignature] {
            let server = SaslServer::new(Account { trick: trick.clone(), ..account() });
            let mut attempt = Attempt::run(smtp(), server, &password(), &only(name), usize::MAX);
            assert!(
                matches!(attempt.events.as_slice(),
                    [Event::AuthFailed(failure), Event::Closed(CloseReason::ServerUnproven)]
                        if failure.error() == Some(SaslError::ServerUnproven)
                            && failure.kind() == AuthFailureKind::Local
                            && !failure.is_transient()),
                "{name} {trick:?}: {:?}",
                attempt.events
            );
            assert!(!attempt.lab.connection.is_authenticated());
            assert_eq!(attempt.lab.says(), "");
            assert_eq!(attempt.lab.connection.noop(), Err(UsageError::Closed));
        }
        for (trick, error) in [
            (Trick::WrongSignature, SaslError::ServerUnproven),
            (Trick::ServerFinal("v=".into()), SaslError::ServerUnproven),
            (Trick::ServerFinal("v=AAAA".into()), SaslError::ServerUnproven),
            (Trick::ServerFinal(String::new()), SaslError::MalformedChallenge),
            (Trick::ServerFinal("v".into()), SaslError::MalformedChallenge),
            (Trick::ServerFinal("v=*".into()), SaslError::MalformedChallenge),
            (Trick::ServerFinal("x=1,v=AAAA".into()), SaslError::MalformedChallenge),
        ] {
            let server = SaslServer::new(Account { trick: trick.clone(), ..account() });
            let mut attempt = Attempt::run(smtp(), server, &password(), &only(name), usize::MAX);
            assert_eq!(attempt.said[2..], ["*"], "{name} {trick:?}");
            assert_eq!(attempt.failure().error(), Some(error));
            assert!(attempt.is_usable());
        }
    }
    // A refusal within the exchange is answered, and the refusal proper follows with what it was for.
    let server = SaslServer::new(Account { trick: Trick::ServerFinal("e=invalid-proof".into()), ..account() });
    let mut attempt = Attempt::run(smtp(), server, &password(), &only("SCRAM-SHA-256"), usize::MAX);
    assert_eq!(attempt.said[2..], [""]);
    assert_eq!((attempt.failure().error(), attempt.failure().server_error()), (None, Some(&b"invalid-proof"[..])));
    assert_eq!(attempt.failure().kind(), AuthFailureKind::Credentials);
    assert!(attempt.is_usable());
    // Who is told that the exchange is over and claims success all the same is not believed either.
    let mut lab = within_tls(smtp(), &["AUTH SCRAM-SHA-256"]);
    let mechanism = choose(&password(), lab.connection.capabilities(), &only("SCRAM-SHA-256")).unwrap();
    lab.connection.auth(mechanism).unwrap();
    lab.says();
    lab.hear("334 eD0x\r\n");
    assert_eq!(lab.says(), "*\r\n");
    lab.hear("235 welcome\r\n");
    assert!(!lab.connection.is_authenticated());
    assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Unsolicited(_)))));
}

// C-116: 235 is the only success; any other code that begins with 2 is none, and 3yz other than 334 ends the connection.
#[test]
fn only_235_is_success() {
    for code in (200..300).filter(|&code| code != 235) {
        let mut attempt = Attempt::new(server_with(Trick::Succeed(code)), &password(), &only("PLAIN"));
        let failure = attempt.failure();
        assert_eq!((failure.kind(), failure.reply().code().get()), (AuthFailureKind::Other, code));
        assert!(!failure.is_transient());
        assert!(attempt.is_usable());
    }
    for name in MECHANISMS {
        let server = SaslServer::new(Account { trick: Trick::Succeed(250), ..account() });
        let attempt = Attempt::run(smtp(), server, &right(name).0, &only(name), usize::MAX);
        assert_eq!(attempt.failure().kind(), AuthFailureKind::Other, "{name}");
    }
    for code in (300..400).filter(|&code| code != 334) {
        let attempt = Attempt::new(server_with(Trick::Succeed(code)), &password(), &only("PLAIN"));
        assert_eq!(attempt.failure().reply().code().get(), code);
        assert!(matches!(attempt.events[1..], [Event::Closed(CloseReason::Unsolicited(_))]));
    }
}

// C-116, C-149: an answer that comes before its line has left in full answers nothing.
#[test]
fn answers_that_come_too_early() {
    let line = "AUTH X-ANY\r\n";
    for gone in 0..line.len() {
        for reply in ["235 ok\r\n", "334 \r\n", "535 no\r\n"] {
            let mut lab = within_tls(smtp(), &["AUTH X-ANY"]);
            lab.connection.auth(Box::new(Noted::new("X-ANY"))).unwrap();
            lab.transmits(gone);
            lab.hear(reply);
            assert!(matches!(lab.events().as_slice(), [Event::Closed(CloseReason::Unsolicited(_))]), "{gone} {reply}");
            assert!(!lab.connection.is_authenticated());
            assert_eq!(lab.says(), "");
        }
    }
    for (replies, authenticated) in
        [("334 \r\n235 ok\r\n", false), ("235 ok\r\n250 ok\r\n", true), ("535 no\r\n235 ok\r\n", false)]
    {
        let mut lab = exchanging(Noted::new("X-ANY"));
        lab.hear(replies);
        assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Unsolicited(_)))), "{replies}");
        assert_eq!(lab.connection.is_authenticated(), authenticated);
    }
}

// C-126, S-34: whatever is wrong with the server's first message, no proof is given; and an absurd number of iterations costs
// no time.
#[test]
fn a_wrong_first_message_gets_no_proof() {
    let begun = Instant::now();
    let mut usual_bounds = only("SCRAM-SHA-256");
    usual_bounds.iterations = Iterations::default();
    for (first, error) in [
        ("r={nonce}more,s=QUJD,i=4294967295", SaslError::Iterations(u32::MAX)),
        ("r={nonce}more,s=QUJD,i=99999999999999999999", SaslError::Iterations(u32::MAX)),
        ("r={nonce}more,s=QUJD,i=1000001", SaslError::Iterations(1_000_001)),
        ("r={nonce}more,s=QUJD,i=4095", SaslError::Iterations(4095)),
        ("r={nonce}more,s=QUJD,i=1", SaslError::Iterations(1)),
        ("r={nonce}more,s=QUJD,i=0", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=-4096", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=+4096", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=4096.0", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i= 4096", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD", SaslError::MalformedChallenge),
        ("r={nonce}more,s=,i=4096", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJ,i=4096", SaslError::MalformedChallenge),
        ("r={nonce}more,i=4096", SaslError::MalformedChallenge),
        ("r={nonce}more,i=4096,s=QUJD", SaslError::MalformedChallenge),
        ("s=QUJD,r={nonce}more,i=4096", SaslError::MalformedChallenge),
        ("r={nonce},s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("r=,s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("r=more,s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("r=more{nonce},s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("r={nonce}mo re,s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("r={nonce}m\u{f6}re,s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("m=x,r={nonce}more,s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=4096,m=x", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=4096,r={nonce}more", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,s=QUJD,i=4096", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=4096,", SaslError::MalformedChallenge),
        ("r={nonce}more,s=QUJD,i=4096,i=4096", SaslError::MalformedChallenge),
        ("e=other-error", SaslError::MalformedChallenge),
        ("", SaslError::MalformedChallenge),
    ] {
        let mut attempt = Attempt::new(server_with(Trick::ServerFirst(first.into())), &password(), &usual_bounds);
        assert_eq!(attempt.said[1..], ["*"], "{first}");
        assert_eq!(attempt.failure().error(), Some(error), "{first}");
        assert!(attempt.is_usable());
    }
    let long = "x".repeat(1_025);
    for first in [format!("r={{nonce}}{long},s=QUJD,i=4096"), format!("r={{nonce}}x,s={}=,i=4096", "QUJD".repeat(300))]
    {
        let attempt = Attempt::new(server_with(Trick::ServerFirst(first)), &password(), &only("SCRAM-SHA-256"));
        assert_eq!(attempt.said[1..], ["*"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // The bounds are the caller's to move; they themselves are within.
    for (announced, least, most, right) in [(4096, 4096, 4096, true), (4097, 4096, 4096, false), (100, 100, 200, true)]
    {
        let mut choice = only("SCRAM-SHA-256");
        (choice.iterations.least, choice.iterations.most) = (least, most);
        let server = SaslServer::new(Account { iterations: announced, ..account() });
        assert_eq!(Attempt::new(server, &password(), &choice).events.len(), 1);
        let server = SaslServer::new(Account { iterations: announced, ..account() });
        assert_eq!(Attempt::new(server, &password(), &choice).succeeded(), right, "{announced}");
    }
}

// C-126: a password that cannot be prepared for SCRAM is carried by a mechanism that prepares nothing, or is an error.
#[test]
fn passwords_that_cannot_be_prepared() {
    let mut choice = Choice::default();
    choice.nonce = vec![9; 24].into();
    for password in ["pass\u{1f511}word", "tab\tbed"] {
        let credentials = Credentials::password("user", password).unwrap();
        let mut chosen = |offered: &str| {
            choice.secure = true;
            let lab = within_tls(smtp(), &[offered]);
            choose(&credentials, lab.connection.capabilities(), &choice).map(|mechanism| mechanism.name().to_owned())
        };
        assert_eq!(chosen("AUTH SCRAM-SHA-256 PLAIN").as_deref(), Ok("PLAIN"));
        assert_eq!(chosen("AUTH SCRAM-SHA-256"), Err(ChooseError::Credentials(SaslError::Prohibited)));
    }
}

// C-126: each exchange has the nonce it was given, all of it.
#[test]
fn nonces_are_those_given() {
    let first = |nonce: &[u8]| {
        let mut choice = only("SCRAM-SHA-256");
        choice.nonce = nonce.to_vec().into();
        let attempt = Attempt::new(SaslServer::new(account()), &password(), &choice);
        let initial = attempt.said[0].split(' ').nth(2).unwrap();
        String::from_utf8(BASE64_STANDARD.decode(initial).unwrap()).unwrap()
    };
    for length in [18, 24, 32] {
        let nonce: Vec<u8> = (0..length).collect();
        assert_eq!(first(&nonce), format!("n,,n=user,r={}", BASE64_STANDARD.encode(&nonce)));
    }
    // Fewer octets could be guessed, and SCRAM is not used.
    let lab = within_tls(smtp(), &["AUTH SCRAM-SHA-256"]);
    let mut choice = only("SCRAM-SHA-256");
    choice.nonce = vec![9; 17].into();
    let error = choose(&password(), lab.connection.capabilities(), &choice).err();
    assert!(matches!(error, Some(ChooseError::NotOffered { .. })));
}

// C-127, C-128: both ends agree on what binds the exchange to TLS, or there is no success; `tls-exporter` before
// `tls-server-end-point`.
#[test]
fn channel_bindings_have_to_agree() {
    let bound = |exporter: Option<[u8; 32]>, end_point: Option<[u8; 32]>| {
        let mut bindings = ChannelBindings::default();
        bindings.tls_exporter = exporter.map(|octets| octets.to_vec());
        bindings.tls_server_end_point = end_point.map(|octets| octets.to_vec());
        bindings
    };
    for name in ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"] {
        for (client, header, right) in [
            (bound(Some(EXPORTED), None), "p=tls-exporter,,", true),
            (bound(None, Some(CERTIFICATE_HASH)), "p=tls-server-end-point,,", true),
            (bound(Some(EXPORTED), Some(CERTIFICATE_HASH)), "p=tls-exporter,,", true),
            (bound(Some(CERTIFICATE_HASH), None), "p=tls-exporter,,", false),
            (bound(None, Some(EXPORTED)), "p=tls-server-end-point,,", false),
        ] {
            let mut choice = only(name);
            choice.bindings = client;
            let server = SaslServer::new(account());
            let attempt = Attempt::new(server, &password(), &choice);
            assert_eq!(attempt.said[0].split(' ').nth(1), Some(name));
            let initial = BASE64_STANDARD.decode(attempt.said[0].split(' ').nth(2).unwrap()).unwrap();
            assert!(initial.starts_with(header.as_bytes()));
            if right {
                assert!(attempt.succeeded(), "{name} {header}");
            } else {
                assert_eq!(attempt.failure().kind(), AuthFailureKind::Credentials);
            }
        }
        // Without anything to bind to there is no such mechanism.
        let mut choice = only(name);
        choice.bindings = ChannelBindings::default();
        let lab = within_tls(smtp(), &[&format!("AUTH {name}")]);
        assert!(choose(&password(), lab.connection.capabilities(), &choice).is_err());
    }
}

// C-12, C-118: each refusal has its kind, at the command and at a later step; only those of 4yz that say so may go away by themselves.
#[test]
fn refusals_have_their_kinds() {
    for (code, kind, transient) in [
        (432, AuthFailureKind::PasswordTransition, false),
        (450, AuthFailureKind::Temporary, true),
        (454, AuthFailureKind::Temporary, true),
        (500, AuthFailureKind::LineTooLong, false),
        (501, AuthFailureKind::Other, false),
        (503, AuthFailureKind::Other, false),
        (504, AuthFailureKind::Unsupported, false),
        (530, AuthFailureKind::Other, false),
        (534, AuthFailureKind::TooWeak, false),
        (535, AuthFailureKind::Credentials, false),
        (538, AuthFailureKind::NeedsTls, false),
        (550, AuthFailureKind::Other, false),
    ] {
        let wrong = Credentials::password("user", "wrong").unwrap();
        for name in ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1"] {
            for trick in [Trick::Refuse(code), Trick::RefuseCredentials(code)] {
                let mut attempt = Attempt::new(server_with(trick), &wrong, &only(name));
                let failure = attempt.failure();
                assert_eq!((failure.kind(), failure.is_transient()), (kind, transient), "{code}");
                assert_eq!((failure.reply().code().get(), failure.mechanism()), (code, name));
                assert_eq!((failure.error(), failure.server_error()), (None, None));
                assert!(failure.to_string().starts_with(&format!("{name} was refused: {code}")), "{failure}");
                assert_eq!(attempt.events.len(), 1);
                assert_eq!(attempt.said.iter().filter(|line| line.starts_with("AUTH")).count(), 1);
                assert!(attempt.is_usable());
            }
        }
    }
    // A server that leaves has refused for now.
    let attempt = Attempt::new(server_with(Trick::Refuse(421)), &password(), &only("PLAIN"));
    assert_eq!(attempt.failure().kind(), AuthFailureKind::Temporary);
    assert!(matches!(attempt.events[1..], [Event::Closed(CloseReason::ServerShutdown(_))]));
}

// C-129: the account that the server gives of its refusal is answered as the mechanism wants it, and is in the failure; S-63: what
// is shown of it is escaped and short.
#[test]
fn the_account_of_a_refused_token() {
    let wrong = Credentials::token("user", "wrong").unwrap();
    for (name, answer) in [("OAUTHBEARER", "AQ=="), ("XOAUTH2", "")] {
        let attempt = Attempt::new(SaslServer::new(account()), &wrong, &only(name));
        assert_eq!(attempt.said[1..], [answer]);
        let failure = attempt.failure();
        assert_eq!(failure.kind(), AuthFailureKind::Credentials);
        assert_eq!(failure.server_error(), Some(&br#"{"status":"invalid_token"}"#[..]));
        assert!(failure.to_string().ends_with(r#"({"status":"invalid_token"})"#), "{failure}");

        let mut lab = within_tls(smtp(), &[&format!("AUTH {name}")]);
        let mechanism = choose(&wrong, lab.connection.capabilities(), &only(name)).unwrap();
        lab.connection.auth(mechanism).unwrap();
        lab.says();
        let hostile = [b"\x1b[2J\r\n\xff\xe2\x80\xae".to_vec(), vec![b'x'; 10_000]].concat();
        lab.hear(format!("334 {}\r\n", BASE64_STANDARD.encode(&hostile)));
        assert_eq!(lab.says(), format!("{answer}\r\n"));
        lab.hear("334 \r\n");
        assert_eq!(lab.says(), "*\r\n", "one account is enough");
        lab.hear("535 no\r\n");
        let events = lab.events();
        let [Event::AuthFailed(failure)] = events.as_slice() else { panic!("{events:?}") };
        let shown = failure.to_string();
        assert!(shown.len() < 1_000 && !shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown}");
    }
    // Host and port, where the service wants to know them.
    for (server, said) in [(Some(("mail.example".into(), 587)), true), (None, false)] {
        let mut choice = only("OAUTHBEARER");
        choice.server = server;
        let account = SaslServer::new(Account { host: Some(("mail.example".into(), 587)), ..account() });
        let attempt = Attempt::new(account, &right("OAUTHBEARER").0, &choice);
        assert_eq!(attempt.said.len() == 1, said);
    }
}

// C-123, C-124, C-129, S-22: what would end a part of a message early, or is empty where it must not be, is refused before there
// is a connection.
#[test]
fn credentials_that_no_mechanism_can_carry() {
    for octet in (0..=0x1f).chain([0x7f]) {
        let bad = format!("a{}b", char::from(octet));
        assert_eq!(Credentials::password(&bad, "x").err(), Some(CredentialsError::Control), "{bad:?}");
        assert_eq!(Credentials::token(&bad, "x").err(), Some(CredentialsError::Control), "{bad:?}");
        assert_eq!(password().acting_as(&bad).err(), Some(CredentialsError::Control), "{bad:?}");
        assert_eq!(Credentials::anonymous(&bad).err(), Some(CredentialsError::Control), "{bad:?}");
        assert_eq!(Credentials::token("user", bad.as_str()).err(), Some(CredentialsError::Token), "{bad:?}");
    }
    for bad in ["", "a b", "tök", "a\u{7f}"] {
        assert!(Credentials::token("user", bad).is_err(), "{bad:?}");
    }
    assert_eq!(Credentials::password("user", "a\0b").err(), Some(CredentialsError::Control));
    assert_eq!(Credentials::password("user", "").err(), Some(CredentialsError::Empty));
    assert_eq!(Credentials::password("", "x").err(), Some(CredentialsError::Empty));
    assert_eq!(Credentials::external().acting_as("").err(), Some(CredentialsError::Empty));
    assert_eq!(Credentials::anonymous(&"x".repeat(256)).err(), Some(CredentialsError::TooLong));
    assert!(Credentials::anonymous(&"x".repeat(255)).is_ok());
    // A source is held to the same when it is asked.
    for bad in ["", "a\x01b", "a\r\nb"] {
        let credentials = Credentials::token_source("user", move || Some(bad.into())).unwrap();
        for name in ["OAUTHBEARER", "XOAUTH2"] {
            let lab = within_tls(smtp(), &[&format!("AUTH {name}")]);
            let error = choose(&credentials, lab.connection.capabilities(), &only(name)).err();
            assert_eq!(error, Some(ChooseError::Credentials(SaslError::Cancelled)), "{bad:?}");
        }
    }
}

// C-119, C-125, S-51, S-54: of what is offered the strongest is chosen, in whatever order and case the server names it; CRAM-MD5
// comes after every SCRAM and before what shows the password.
#[test]
fn the_strongest_is_chosen() {
    fn chosen(credentials: &Credentials, offered: &str, bound: bool, tried: &[&str]) -> Result<String, ChooseError> {
        let lab = within_tls(smtp(), &[&format!("AUTH {offered}")]);
        let mut choice = only("");
        choice.only = None;
        choice.bindings.tls_exporter = bound.then(|| EXPORTED.to_vec());
        choice.tried = tried.iter().map(|&name| name.into()).collect();
        choose(credentials, lab.connection.capabilities(), &choice).map(|mechanism| mechanism.name().to_owned())
    }
    let order = &MECHANISMS[..9];
    for (index, name) in order.iter().enumerate() {
        let mut offered = order[index..].to_vec();
        for _ in 0..offered.len() {
            offered.rotate_left(1);
            assert_eq!(chosen(&password(), &offered.join(" "), true, &[]).as_deref(), Ok(*name));
            assert_eq!(chosen(&password(), &offered.join(" ").to_lowercase(), true, &[]).as_deref(), Ok(*name));
        }
        let next = order.get(index + 1).copied();
        let after = chosen(&password(), &MECHANISMS.join(" "), true, &[name]);
        assert_eq!(after.ok().as_deref(), next, "what comes before the one that was tried is not gone back to");
    }
    assert_eq!(chosen(&password(), &MECHANISMS.join(" "), false, &[]).as_deref(), Ok("SCRAM-SHA-512"));
    let token = Credentials::token("user", "t").unwrap();
    assert_eq!(chosen(&token, "XOAUTH2 OAUTHBEARER PLAIN", true, &[]).as_deref(), Ok("OAUTHBEARER"));
    assert_eq!(chosen(&token, "XOAUTH2 PLAIN", true, &[]).as_deref(), Ok("XOAUTH2"));
    // A token is no password and a password no token; and nothing is better than the wrong thing.
    assert_eq!(
        chosen(&token, "PLAIN LOGIN", true, &[]),
        Err(ChooseError::NotOffered { offered: "PLAIN LOGIN".into() })
    );
    assert_eq!(chosen(&password(), "XOAUTH2", true, &[]), Err(ChooseError::NotOffered { offered: "XOAUTH2".into() }));
    assert_eq!(
        chosen(&Credentials::external(), "PLAIN ANONYMOUS", true, &[]),
        Err(ChooseError::NotOffered { offered: "PLAIN ANONYMOUS".into() })
    );
    for unknown in ["SCRAM-SHA-256X", "XPLAIN", "PLAIN2", "CRAM_MD5", "SCRAM-SHA-224", "DIGEST-MD5", "NTLM", ""] {
        assert!(chosen(&password(), unknown, true, &[]).is_err(), "{unknown}");
    }
}

// C-125: who wants no CRAM-MD5 names the one mechanism to use.
#[test]
fn one_mechanism_only() {
    let lab = within_tls(smtp(), &["AUTH CRAM-MD5 PLAIN LOGIN"]);
    for name in ["CRAM-MD5", "PLAIN", "LOGIN"] {
        let mechanism = choose(&password(), lab.connection.capabilities(), &only(name)).unwrap();
        assert_eq!(mechanism.name(), name);
    }
    let error = choose(&password(), lab.connection.capabilities(), &only("SCRAM-SHA-256")).err();
    assert_eq!(error, Some(ChooseError::NotOffered { offered: "CRAM-MD5 PLAIN LOGIN".into() }));
}

// C-117: by hand each challenge comes as an event and each answer goes as it is given; base64, the equals sign and the limits are
// the connection's.
#[test]
fn by_hand() {
    let offer = &["AUTH CRAM-MD5 PLAIN X-ANY"];
    let mut lab = within_tls(smtp(), offer);
    lab.connection.auth_manual("cram-md5", None).unwrap();
    assert_eq!(lab.says(), "AUTH CRAM-MD5\r\n");
    assert_eq!(lab.connection.state(), State::Authenticating);
    assert_eq!(lab.connection.auth_respond(&"early".into()), Err(UsageError::NoChallenge));
    assert_eq!(lab.connection.auth_cancel(), Err(UsageError::NoChallenge));
    lab.hear("334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n");
    let events = lab.events();
    let [Event::AuthChallenge(challenge)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(challenge.expose(), b"<1896.697170952@postoffice.reston.mci.net>");
    assert_eq!(lab.says(), "");
    lab.connection.auth_respond(&"tim b913a602c7eda7a495b4e6e7334d3890".into()).unwrap();
    assert_eq!(lab.connection.auth_respond(&"twice".into()), Err(UsageError::NoChallenge));
    assert_eq!(lab.says(), "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n");
    lab.hear("334 \r\n");
    assert!(matches!(lab.events().as_slice(), [Event::AuthChallenge(challenge)] if challenge.expose().is_empty()));
    lab.connection.auth_respond(&Secret::default()).unwrap();
    assert_eq!(lab.says(), "\r\n");
    lab.hear("235 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::Authenticated(_)]));
    assert!(lab.connection.is_authenticated());

    for (initial, line) in [
        (None, "AUTH PLAIN\r\n"),
        (Some(Secret::default()), "AUTH PLAIN =\r\n"),
        (Some("\0tim\0tanstaaftanstaaf".into()), "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"),
    ] {
        let mut lab = within_tls(smtp(), offer);
        lab.connection.auth_manual("PLAIN", initial).unwrap();
        assert_eq!(lab.says(), line);
    }

    // A challenge that cannot be decoded is not the caller's to answer.
    let mut lab = within_tls(smtp(), offer);
    lab.connection.auth_manual("X-ANY", None).unwrap();
    lab.says();
    lab.hear("334 ?\r\n");
    assert_eq!(lab.says(), "*\r\n");
    assert!(lab.events().is_empty());
    lab.hear("501 no\r\n");
    assert!(
        matches!(lab.events().as_slice(), [Event::AuthFailed(failure)] if failure.error() == Some(SaslError::Base64))
    );
    // Nor are more than ten.
    lab.connection.auth_manual("X-ANY", None).unwrap();
    for _ in 0..10 {
        lab.says();
        lab.hear("334 \r\n");
        lab.connection.auth_respond(&"again".into()).unwrap();
    }
    lab.says();
    lab.hear("334 \r\n");
    assert_eq!(lab.says(), "*\r\n");
}

// C-112: an exchange that the caller gives up ends in a star, the server's answer to it, and a failure that says whose doing it
// was.
#[test]
fn given_up() {
    for answer in ["501 5.7.0 cancelled\r\n", "535 no\r\n", "454 later\r\n", "250 whatever\r\n"] {
        let mut lab = within_tls(smtp(), &["AUTH X-ANY"]);
        lab.connection.auth_manual("X-ANY", None).unwrap();
        lab.says();
        lab.hear("334 \r\n");
        lab.connection.auth_cancel().unwrap();
        assert_eq!(lab.says(), "*\r\n");
        assert_eq!(lab.connection.auth_cancel(), Err(UsageError::NoChallenge));
        assert_eq!(lab.connection.auth_respond(&"x".into()), Err(UsageError::NoChallenge));
        lab.hear(answer);
        let events = lab.events();
        let [Event::AuthChallenge(_), Event::AuthFailed(failure)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((failure.kind(), failure.error()), (AuthFailureKind::Local, Some(SaslError::Cancelled)));
        assert_eq!(failure.to_string(), "X-ANY failed: cancelled by the caller");
        assert!(usable(&mut lab));
    }
    for answer in ["235 welcome\r\n", "334 \r\n"] {
        let mut lab = within_tls(smtp(), &["AUTH X-ANY"]);
        lab.connection.auth_manual("X-ANY", None).unwrap();
        lab.says();
        lab.hear("334 \r\n");
        lab.connection.auth_cancel().unwrap();
        lab.says();
        lab.hear(answer);
        assert!(matches!(lab.events().last(), Some(Event::Closed(CloseReason::Unsolicited(_)))));
        assert!(!lab.connection.is_authenticated());
    }
}

// S-55: a mechanism takes part in one exchange: what it answers is what is said, in order, and once the exchange has succeeded,
// failed or broken off it is dropped and asked nothing more.
#[test]
fn a_mechanism_of_ones_own() {
    let mechanism =
        Noted { initial: Some(b"one".to_vec()), responses: [Ok(b"two".to_vec())].into(), ..Noted::new("X-OWN") };
    let asked = Arc::clone(&mechanism.notes.0);
    let mut lab = within_tls(smtp(), &["AUTH X-OWN"]);
    lab.connection.auth(Box::new(mechanism)).unwrap();
    assert_eq!(lab.says(), "AUTH X-OWN b25l\r\n");
    lab.hear("334 AAAA\r\n");
    assert_eq!(lab.says(), "dHdv\r\n");
    lab.hear("235 ok\r\n");
    assert_eq!(notes(&asked), ["initial", "challenge of 3", "success", "dropped"]);

    type Ending = fn(&mut Lab);
    let endings: [(&str, Ending); 7] = [
        ("refused", |lab| lab.hear("535 no\r\n")),
        ("refused, then more", |lab| lab.hear("535 no\r\n334 AAAA\r\n")),
        ("shut down", |lab| lab.hear("421 bye\r\n")),
        ("garbage", |lab| lab.hear("what?\r\n")),
        ("the end of the stream", |lab| lab.connection.handle_eof()),
        ("given up", |lab| lab.connection.abort()),
        ("silence", |lab| lab.pass(Duration::from_secs(301))),
    ];
    for (ending, end) in endings {
        let mechanism = Noted::new("X-OWN");
        let asked = Arc::clone(&mechanism.notes.0);
        let mut lab = exchanging(mechanism);
        lab.hear("334 AAAA\r\n");
        lab.says();
        end(&mut lab);
        assert_eq!(notes(&asked), ["initial", "challenge of 3", "dropped"], "{ending}");
    }

    // One that fails is not asked again either, whatever the server says to the star.
    for answer in ["501 no\r\n", "334 AAAA\r\n", "235 ok\r\n"] {
        let mechanism = Noted { responses: [Err(SaslError::MalformedChallenge)].into(), ..Noted::new("X-OWN") };
        let asked = Arc::clone(&mechanism.notes.0);
        let mut lab = exchanging(mechanism);
        lab.hear("334 AAAA\r\n");
        assert_eq!(lab.says(), "*\r\n");
        lab.hear(answer);
        assert_eq!(notes(&asked), ["initial", "challenge of 3", "dropped"]);
        assert!(!lab.connection.is_authenticated());
    }

    // It has the last word on success.
    let mechanism = Noted { believes: false, ..Noted::new("X-OWN") };
    let mut lab = exchanging(mechanism);
    lab.hear("235 ok\r\n");
    assert!(matches!(lab.events().as_slice(), [Event::AuthFailed(_), Event::Closed(CloseReason::ServerUnproven)]));
}

// C-115: the parameter AUTH of MAIL, and AUTH itself, belong to the session they were offered in: a server that no longer offers
// AUTH once it was used has not taken the success back.
#[test]
fn an_offer_that_vanishes_after_success() {
    let mut lab = exchanging(Noted::new("X-ANY"));
    lab.hear("235 ok\r\n");
    lab.connection.ehlo().unwrap();
    lab.says();
    lab.hear("250 server.example\r\n");
    assert!(lab.connection.is_authenticated());
    assert!(!lab.connection.capabilities().supports(Extension::Auth));
    assert_eq!(lab.connection.auth(Box::new(Noted::new("X-ANY"))), Err(UsageError::AlreadyAuthenticated));
    lab.connection.begin(transaction(1)).unwrap();
}

// C-122: the parameter AUTH of MAIL is sent where AUTH is offered and nowhere else; its value is xtext, in which no equals sign and
// no space can stand. A mailbox outside ASCII needs SMTPUTF8, as it does anywhere.
#[test]
fn the_parameter_auth_of_mail() {
    for (submitter, line) in [
        ("<>", "MAIL FROM:<me@client.example> AUTH=<>\r\n"),
        ("e=mc2@example.com", "MAIL FROM:<me@client.example> AUTH=e+3Dmc2@example.com\r\n"),
        ("\"a b\"@x.example", "MAIL FROM:<me@client.example> AUTH=\"a+20b\"@x.example\r\n"),
    ] {
        let submitted = || transaction(1).submitter(ReversePath::parse(submitter).unwrap());
        let mut lab = within_tls(smtp(), &["AUTH PLAIN"]);
        lab.connection.begin(submitted()).unwrap();
        assert_eq!(lab.says(), line);
        let mut lab = within_tls(smtp(), &["SIZE 5"]);
        assert_eq!(lab.connection.begin(submitted()), Err(UsageError::Missing(Extension::Auth)));
        assert_eq!(lab.says(), "");
        let raw = Parameter::new("AUTH", "e+3Dmc2@example.com").unwrap();
        let error = lab.connection.begin(transaction(1).parameter(raw));
        assert_eq!(error, Err(UsageError::MissingKeyword("AUTH".into())));
        assert_eq!(lab.says(), "");
    }
    let mut lab = within_tls(smtp(), &["AUTH PLAIN"]);
    let submitter = ReversePath::parse("é@x.example").unwrap();
    let reason = Utf8Reason::Submitter(submitter.clone());
    let submitted = transaction(1).submitter(submitter);
    assert_eq!(lab.connection.begin(submitted.clone()), Err(UsageError::NeedsSmtpUtf8(reason)));
    let mut lab = within_tls(smtp(), &["AUTH PLAIN", "8BITMIME", "SMTPUTF8"]);
    lab.connection.begin(submitted).unwrap();
    assert_eq!(lab.says(), "MAIL FROM:<me@client.example> BODY=8BITMIME SMTPUTF8 AUTH=+C3+A9@x.example\r\n");
    for bad in ["e=mc2@example.com", "a b", "", "a\r\nRCPT"] {
        assert!(Parameter::new("AUTH", bad).is_err(), "{bad:?}");
    }
}

// C-125: CRAM-MD5 can be switched off and the order of the rest stays.
#[test]
fn mechanisms_that_are_not_wanted() {
    let lab = within_tls(smtp(), &[&format!("AUTH {}", MECHANISMS.join(" "))]);
    let mut choice = only("");
    choice.only = None;
    choice.without = vec!["CRAM-MD5".into()];
    choice.tried = vec!["SCRAM-SHA-1".into()];
    assert_eq!(choose(&password(), lab.connection.capabilities(), &choice).unwrap().name(), "PLAIN");
    let lab = within_tls(smtp(), &["AUTH CRAM-MD5"]);
    choice.tried.clear();
    let error = choose(&password(), lab.connection.capabilities(), &choice).err();
    assert_eq!(error, Some(ChooseError::NotOffered { offered: "CRAM-MD5".into() }));
}

// C-129: who acts as another says so in every mechanism that is used, or the mechanism is not used.
#[test]
fn another_identity_is_never_left_out() {
    let token = Credentials::token("user", "t0ken").unwrap().acting_as("boss").unwrap();
    let anonymous = Credentials::anonymous("trace").unwrap().acting_as("boss").unwrap();
    let lab = within_tls(smtp(), &[&format!("AUTH {}", MECHANISMS.join(" "))]);
    let mut mechanism = choose(&token, lab.connection.capabilities(), &only("OAUTHBEARER")).unwrap();
    assert!(mechanism.initial_response().unwrap().expose().starts_with(b"n,a=boss,\x01"));
    assert!(choose(&token, lab.connection.capabilities(), &only("XOAUTH2")).is_err());
    assert!(choose(&anonymous, lab.connection.capabilities(), &only("ANONYMOUS")).is_err());
}

// S-63: the account of a refusal is cut in `Debug` too.
#[test]
fn the_account_of_a_refusal_is_cut_everywhere() {
    let mut lab = within_tls(smtp(), &["AUTH XOAUTH2"]);
    let mechanism = choose(&right("XOAUTH2").0, lab.connection.capabilities(), &only("XOAUTH2")).unwrap();
    lab.connection.auth(mechanism).unwrap();
    lab.says();
    lab.hear(format!("334 {}\r\n", BASE64_STANDARD.encode(vec![b'x'; 10_000])));
    lab.says();
    lab.hear("535 no\r\n");
    let shown = format!("{:?}", lab.events());
    assert!(shown.len() < 1_000, "{}", shown.len());
}

// C-129, S-22: the host that OAUTHBEARER names ends no part of the message early either.
#[test]
fn hosts_with_separators() {
    let lab = within_tls(smtp(), &["AUTH OAUTHBEARER"]);
    for bad in ["a\x01auth=Bearer other\x01\x01", "a\r\nb", "a\0b"] {
        let mut choice = only("OAUTHBEARER");
        choice.server = Some((bad.into(), 587));
        let error = choose(&right("OAUTHBEARER").0, lab.connection.capabilities(), &choice).err();
        assert_eq!(error, Some(ChooseError::Credentials(SaslError::Prohibited)), "{bad:?}");
    }
}
