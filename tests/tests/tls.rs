//! TLS in the blocking driver, against a server that proves nothing, misbehaves or breaks off.

use std::error::Error as _;
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, HandshakeKind, ProtocolVersion,
    SignatureScheme,
};
use smtp_blocking::{Client, Error, Options, Stream, Tls, TlsStream, Transport};
use smtp_conformance::lab::{smtp, transaction};
use smtp_conformance::tls_server::{
    Authority, Handshake, Leaf, Plan, Record, Session, SupportedProtocolVersion, TlsServer, version,
};
use smtp_proto::sasl::{ChannelBindings, ChooseError, Credentials};
use smtp_proto::{
    CloseReason, Config, Event, Failure, HelloName, Outcome, Security, Setup, StartTls, Timeouts, TlsMode, TlsPolicy,
    UsageError,
};
use socket2::{Domain, Socket, Type};

/// Long enough that nothing runs into it unless it waits for what never comes.
const LONG: Duration = Duration::from_secs(30);

/// For what is to run into it.
const SHORT: Duration = Duration::from_millis(500);

const PASSWORD: &str = "canary-of-a-password";

fn shared_authority() -> Tls {
    Tls::trusting_only(Authority::shared().pem().as_bytes()).unwrap()
}

fn options(tls: Tls) -> Options {
    Options::smtp().hello_name(HelloName::parse("client.example").unwrap()).timeout(LONG).tls(tls)
}

fn starttls() -> Options {
    options(shared_authority()).tls_mode(TlsMode::StartTls)
}

fn implicit() -> Options {
    options(shared_authority()).tls_mode(TlsMode::Implicit)
}

/// Both ways to TLS: a server, and how to connect to it.
fn both_ways(change: impl Fn(Plan) -> Plan) -> [(TlsServer, TlsMode); 2] {
    [(change(Plan::starttls()).start(), TlsMode::StartTls), (change(Plan::implicit()).start(), TlsMode::Implicit)]
}

fn credentials() -> Credentials {
    Credentials::password("user", PASSWORD).unwrap()
}

/// The reason that rustls gives.
fn reason(error: &Error) -> Option<&rustls::Error> {
    let (Error::Tls { .. } | Error::Stream { .. }) = error else { return None };
    error.source()?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// The server got a handshake that was not completed, and not an octet besides.
fn assert_nothing_but_a_handshake(record: &Record) {
    let types = record.types().expect("nothing but TLS records");
    // Handshake; then alerts, which TLS 1.3 seals as data, behind the change of ciphers that is no change.
    assert!(types.is_empty() || types[0] == 22, "{types:?}");
    assert!(types.iter().skip(1).filter(|kind| **kind != 20).count() <= 1, "{types:?}");
    assert!(matches!(&record.handshake, Some(Err(_))), "{:?}", record.handshake);
    assert!(record.within.is_empty());
    assert!(record.messages.is_empty());
    assert!(!record.clear.windows(4).any(|octets| [b"MAIL", b"AUTH", b"QUIT"].contains(&octets.try_into().unwrap())));
}

const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&version::TLS12], &[&version::TLS13]];

// C-140, C-145, C-148, S-02: by STARTTLS and from the start, by name and by address, with both versions. In clear there is
// the hello and STARTTLS, and after it nothing but TLS.
#[test]
fn a_good_certificate() {
    for versions in VERSIONS {
        for (server, mode) in both_ways(|plan| Plan { versions, ..plan }) {
            for (target, asked_for) in [(server.target(), None), (server.named_target(), Some("localhost"))] {
                let mut client = Client::connect(&target, options(shared_authority()).tls_mode(mode)).unwrap();
                assert!(client.is_secure());
                assert!(client.send(transaction(2), &b"hello\r\n.\r\n"[..]).unwrap().is_complete_success());
                client.quit().unwrap();
                let record = server.record();
                assert_eq!(record.asked_for.as_deref(), asked_for);
                assert_eq!(record.types().expect("nothing but TLS records")[0], 22);
                match mode {
                    TlsMode::Implicit => assert!(record.clear.is_empty()),
                    _ => assert_eq!(record.commands_in_clear(), ["EHLO client.example", "STARTTLS"]),
                }
                assert_eq!(record.commands()[0], "EHLO client.example");
                assert!(record.commands()[1].starts_with("MAIL FROM:<me@client.example>"), "{:?}", record.commands());
                assert_eq!(record.messages, [b"hello\r\n.\r\n"]);
            }
        }
    }
}

/// What a certificate that proves nothing is refused for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Name,
    Date,
    Issuer,
    Purpose,
}

impl Wrong {
    fn of(error: &Error) -> Option<Self> {
        match reason(error)? {
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Some(Self::Name),
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Some(Self::Date),
                CertificateError::UnknownIssuer => Some(Self::Issuer),
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    Some(Self::Purpose)
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Connects with credentials to a server that cannot prove who it is, and expects that to be the end of it.
fn assert_refused(server: &TlsServer, options: Options, target: &str, wrong: Wrong) {
    let error = Client::connect(target, options.credentials(credentials())).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }) && !error.is_transient() && !error.is_timeout(), "{error}");
    assert_eq!(Wrong::of(&error), Some(wrong), "{error}");
    let record = server.record();
    assert_nothing_but_a_handshake(&record);
    assert!(matches!(record.handshake, Some(Err(rustls::Error::AlertReceived(_)))), "{:?}", record.handshake);
}

// C-144, C-148, C-151, S-03, S-53: a server that cannot prove to be the host that was asked for gets the handshake, an alert
// that says why, and not an octet more: no QUIT, no credentials, in clear or within TLS. The reason is there to be reported.
#[test]
fn certificates_that_prove_nothing() {
    let by_name = [
        (Leaf::For(&["other.example"]), Wrong::Name),
        // What the server calls itself in its greeting.
        (Leaf::For(&["tls.example"]), Wrong::Name),
        (Leaf::For(&["127.0.0.1"]), Wrong::Name),
        (Leaf::For(&["*.localhost", "*"]), Wrong::Name),
        (Leaf::CommonNameOnly, Wrong::Name),
        (Leaf::Expired, Wrong::Date),
        (Leaf::NotYetValid, Wrong::Date),
        (Leaf::SelfSigned, Wrong::Issuer),
        (Leaf::Client, Wrong::Purpose),
    ];
    let by_address = [(Leaf::For(&["localhost"]), Wrong::Name), (Leaf::For(&["127.0.0.2"]), Wrong::Name)];
    for versions in VERSIONS {
        for (index, (leaf, wrong)) in by_name.into_iter().chain(by_address).enumerate() {
            for (server, mode) in both_ways(|plan| Plan { versions, ..plan.showing(leaf) }) {
                let target = if index < by_name.len() { server.named_target() } else { server.target() };
                assert_refused(&server, options(shared_authority()).tls_mode(mode), &target, wrong);
            }
        }
    }
}

// C-144, C-148: authorities that are not ours: one that nobody knows, and one of the same name.
#[test]
fn unknown_authorities() {
    for authority in [Authority::new("Unknown"), Authority::new("Test Authority")] {
        let identity = Arc::new(authority.issue(Leaf::Good));
        for (server, mode) in both_ways(|plan| Plan { identity: Arc::clone(&identity), ..plan }) {
            let options = options(shared_authority()).tls_mode(mode);
            let error = Client::connect(&server.target(), options.credentials(credentials())).unwrap_err();
            assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{error}");
            assert_nothing_but_a_handshake(&server.record());
        }
    }
}

// C-148: what the platform trusts does not include our authority, unless it is added.
#[test]
fn the_platform_and_others() {
    for (server, mode) in both_ways(|plan| plan) {
        for tls in [Tls::default(), Tls::default().tls13_only()] {
            let error = Client::connect(&server.named_target(), options(tls).tls_mode(mode)).unwrap_err();
            assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{error}");
            assert_nothing_but_a_handshake(&server.record());
        }
        let also = Tls::trusting_also(Authority::shared().pem().as_bytes()).unwrap();
        Client::connect(&server.named_target(), options(also).tls_mode(mode)).unwrap().quit().unwrap();
        assert!(server.record().handshake.unwrap().is_ok());
    }
    let key = Authority::shared().issue(Leaf::Good).key_pem();
    for no_certificate in ["", "nothing to see", key.as_str(), "-----BEGIN CERTIFICATE-----\n"] {
        for made in [Tls::trusting_only(no_certificate.as_bytes()), Tls::trusting_also(no_certificate.as_bytes())] {
            assert!(matches!(made, Err(Error::Tls { .. })), "{no_certificate}");
        }
    }
}

// C-148, C-151: the certificate may have to be for another name than the host's, which is then the one asked for.
// A wildcard stands for one whole label.
#[test]
fn another_name() {
    const WILDCARD: Leaf = Leaf::For(&["*.mail.example"]);
    let cases = [
        (WILDCARD, "mx.mail.example", None),
        (WILDCARD, "MX.Mail.Example", None),
        (Leaf::For(&["mx.mail.example"]), "mx.mail.example", None),
        (Leaf::For(&["192.0.2.1"]), "192.0.2.1", None),
        (Leaf::For(&["2001:db8::1"]), "2001:db8::1", None),
        (WILDCARD, "mail.example", Some(Wrong::Name)),
        (WILDCARD, "a.b.mail.example", Some(Wrong::Name)),
        (Leaf::For(&["m*.mail.example"]), "mx.mail.example", Some(Wrong::Name)),
        (Leaf::For(&["mx.*.example"]), "mx.mail.example", Some(Wrong::Name)),
        (Leaf::For(&["192.0.2.1"]), "192.0.2.2", Some(Wrong::Name)),
        // The host connected to does not count any more.
        (Leaf::Good, "mx.mail.example", Some(Wrong::Name)),
    ];
    for (leaf, name, wrong) in cases {
        for (server, mode) in both_ways(|plan| plan.showing(leaf)) {
            let options = options(shared_authority().server_name(name).unwrap()).tls_mode(mode);
            if let Some(wrong) = wrong {
                assert_refused(&server, options, &server.named_target(), wrong);
                continue;
            }
            Client::connect(&server.named_target(), options).unwrap().quit().unwrap();
            let asked_for = server.record().asked_for.map(|name| name.to_ascii_lowercase());
            let is_address = name.parse::<IpAddr>().is_ok();
            assert_eq!(asked_for, (!is_address).then(|| name.to_ascii_lowercase()));
        }
    }
    for bad in ["", "a b", "a..b", "-", "mail.example:25", "*.mail.example"] {
        assert!(matches!(shared_authority().server_name(bad), Err(Error::Tls { .. })), "{bad}");
    }
}

// C-148: TLS 1.2 is the least, and can be refused.
#[test]
fn versions() {
    for (server, mode) in both_ways(|plan| Plan { versions: VERSIONS[0], ..plan }) {
        let error =
            Client::connect(&server.target(), options(shared_authority().tls13_only()).tls_mode(mode)).unwrap_err();
        assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{error}");
        assert_nothing_but_a_handshake(&server.record());
    }
    for (versions, name) in VERSIONS.into_iter().zip(["TLSv1.2", "TLSv1.3"]) {
        for (server, mode) in both_ways(|plan| Plan { versions, ..plan }) {
            let client = Client::connect(&server.target(), options(shared_authority()).tls_mode(mode)).unwrap();
            assert_eq!(client.security().tls_version.as_deref(), Some(name), "the report tells which");
        }
    }
    let server = Plan::implicit().start();
    let client =
        Client::connect(&server.target(), options(shared_authority().tls13_only()).tls_mode(TlsMode::Implicit));
    assert_eq!(client.unwrap().stream().tls().unwrap().protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

// A client certificate is shown to a server that demands one. Without one there is no session, whether the server says so
// in the handshake or, as TLS 1.3 allows, after it.
#[test]
fn client_certificates() {
    let authority = Authority::shared();
    let mine = authority.issue(Leaf::Client);
    for versions in VERSIONS {
        let demanding = |plan| Plan { versions, demands: Some(authority.certificate().clone()), ..plan };
        for (server, mode) in both_ways(demanding) {
            let tls = shared_authority().identity(mine.certificate_pem().as_bytes(), mine.key_pem().as_bytes());
            let tls = tls.unwrap();
            Client::connect(&server.target(), options(tls).tls_mode(mode)).unwrap().quit().unwrap();
            assert_eq!(server.record().client_certificate.as_ref(), Some(mine.certificate()));
            let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
            let error = Client::connect(&server.target(), options).unwrap_err();
            assert!(matches!(reason(&error), Some(rustls::Error::AlertReceived(_))), "{error}");
            assert!(!error.is_transient(), "{error}");
            let record = server.record();
            assert!(record.types().is_some() && record.within.is_empty());
        }
    }
    let other = authority.issue(Leaf::Client);
    let mismatched =
        shared_authority().identity(mine.certificate_pem().as_bytes(), other.key_pem().as_bytes()).unwrap();
    let server = Plan::implicit().start();
    let options = options(mismatched).tls_mode(TlsMode::Implicit);
    assert!(matches!(Client::connect(&server.target(), options), Err(Error::Tls { .. })));
    assert!(matches!(shared_authority().identity(b"", mine.key_pem().as_bytes()), Err(Error::Tls { .. })));
    assert!(matches!(shared_authority().identity(mine.certificate_pem().as_bytes(), b""), Err(Error::Tls { .. })));
}

/// Is a mail server, and hears how the client ends.
fn farewell(session: &mut Session) -> io::Result<()> {
    session.say("220 tls.example ready")?;
    session.serve()?;
    session.line().map(drop)
}

// The farewell within TLS ends with close_notify, and the next session with the same `Tls` resumes this one. Another `Tls` does not.
#[test]
fn sessions_end_and_resume() {
    let tls = shared_authority();
    for versions in VERSIONS {
        let plan = Plan { versions, ..Plan::implicit() };
        let server = plan.script(farewell).start();
        let tls = tls.clone();
        for (tls, kind) in [
            (tls.clone(), HandshakeKind::Full),
            (tls, HandshakeKind::Resumed),
            (shared_authority(), HandshakeKind::Full),
        ] {
            let client = Client::connect(&server.target(), options(tls).tls_mode(TlsMode::Implicit)).unwrap();
            assert_eq!(client.stream().tls().unwrap().handshake_kind(), Some(kind), "{versions:?}");
            client.quit().unwrap();
            assert!(server.record().close_notify);
        }
    }
}

// C-143, S-03: a stream that nobody brings within TLS hears nothing where TLS is required.
#[test]
fn tls_is_required_of_a_stream_that_has_none() {
    let (stream, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"220 hi\r\n250-x\r\n250 STARTTLS\r\n").unwrap();
    let options = Options::smtp().tls_mode(TlsMode::StartTls);
    let error = Client::over(stream, Security::Plaintext, options).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Usage(UsageError::NobodyUpgrades))), "{error}");
    // That the greeting was not read may be an error.
    assert!(!matches!(peer.read(&mut [0; 64]), Ok(1..)));
}

/// Believes in one public key, whoever signed it for whichever name and time.
#[derive(Debug)]
struct Pin {
    public_key: Vec<u8>,
    provider: CryptoProvider,
    /// What it was asked to verify.
    seen: Arc<Mutex<Vec<(String, usize)>>>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.seen.lock().unwrap().push((server_name.to_str().into_owned(), intermediates.len()));
        let public_key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        if public_key.as_ref() == self.public_key {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

// C-144, C-151: a verifier of the caller's, such as DANE's, sees the certificates and the name and decides alone. With
// the right public key neither chain nor dates matter; with another there is not an octet besides the handshake.
#[test]
fn a_pinned_public_key() {
    for versions in VERSIONS {
        for (leaf, authority) in [(Leaf::SelfSigned, Authority::shared()), (Leaf::Expired, &Authority::new("Unknown"))]
        {
            let identity = Arc::new(authority.issue(leaf));
            for (server, mode) in both_ways(|plan| Plan { versions, identity: Arc::clone(&identity), ..plan }) {
                for right in [true, false] {
                    let mut public_key = identity.public_key();
                    public_key[30] ^= u8::from(!right);
                    let seen = Arc::default();
                    let pin = Pin { public_key, provider: ring::default_provider(), seen: Arc::clone(&seen) };
                    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                        .with_safe_default_protocol_versions()
                        .unwrap()
                        .dangerous()
                        .with_custom_certificate_verifier(Arc::new(pin))
                        .with_no_client_auth();
                    let options = options(Tls::from_config(Arc::new(config))).tls_mode(mode);
                    let result = Client::connect(&server.named_target(), options.credentials(credentials()));
                    assert_eq!(seen.lock().unwrap().as_slice(), [("localhost".to_owned(), 0)]);
                    if right {
                        result.unwrap().quit().unwrap();
                        assert!(server.record().handshake.unwrap().is_ok());
                        continue;
                    }
                    let error = result.unwrap_err();
                    let expected = rustls::Error::from(CertificateError::ApplicationVerificationFailure);
                    assert_eq!(reason(&error), Some(&expected), "{error}");
                    assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{error}");
                    assert_nothing_but_a_handshake(&server.record());
                }
            }
        }
    }
}

// C-149: whether there is TLS, by which version and cipher, with which certificate, and what can be bound to it. The server
// exports the same octets.
#[test]
fn the_state_is_visible() {
    for (versions, expected) in VERSIONS.into_iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]) {
        for (server, mode) in both_ways(|plan| Plan { versions, ..plan }) {
            let client = Client::connect(&server.target(), options(shared_authority()).tls_mode(mode)).unwrap();
            let tls = client.stream().tls().unwrap();
            assert_eq!(tls.protocol_version(), Some(expected));
            assert!(tls.negotiated_cipher_suite().is_some());
            assert_eq!(tls.alpn_protocol(), None);
            let certificate = Plan::starttls().identity.certificate().clone();
            assert_eq!(tls.peer_certificates(), Some([certificate].as_slice()));
            assert!(client.is_secure() && client.security().secure);
            assert_eq!(client.stream().socket().peer_addr().unwrap(), server.address());
            let exported = tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(&[])).unwrap();
            let Transport::Tls(stream) = client.stream() else { panic!("no TLS") };
            let bindings = stream.channel_bindings().clone();
            client.quit().unwrap();
            let record = server.record();
            assert_eq!(record.handshake, Some(Ok(expected)));
            assert_eq!(record.exporter.as_deref(), Some(exported.as_slice()));
            // With TLS 1.2 it is only unique with an extension that is not insisted upon.
            assert_eq!(bindings.tls_exporter, (expected == ProtocolVersion::TLSv1_3).then_some(exported));
            assert_eq!(bindings.tls_server_end_point.map(|hash| hash.len()), Some(32));
        }
    }
    let server = Plan::starttls().start();
    let client = Client::connect(&server.target(), options(shared_authority()).tls_mode(TlsMode::None)).unwrap();
    assert!(client.stream().tls().is_none() && !client.is_secure() && !client.security().secure);
}

// C-141, C-145, S-05: what was offered in clear is forgotten, and told apart from what is offered now. TLS is not begun
// again, though the server offers it, nor can it be asked for.
#[test]
fn capabilities_before_and_after() {
    let plan = Plan {
        in_clear: vec!["STARTTLS", "AUTH PLAIN LOGIN", "SIZE 1", "X-EVIL"],
        within: vec!["STARTTLS", "AUTH PLAIN", "SIZE 5000000", "CHUNKING"],
        ..Plan::starttls()
    };
    let server = plan.start();
    let mut client = Client::connect(&server.target(), starttls()).unwrap();
    let offered =
        |list: &smtp_proto::Capabilities| list.iter().map(|(keyword, _)| keyword.to_owned()).collect::<Vec<_>>();
    let report = client.security();
    assert_eq!(report.starttls, StartTls::Done);
    assert!(report.secure && report.mechanism.is_none() && !report.password_in_clear);
    assert_eq!(offered(report.capabilities_in_clear.as_ref().unwrap()), ["STARTTLS", "AUTH", "SIZE", "X-EVIL", "HELP"]);
    assert_eq!(offered(&report.capabilities), ["STARTTLS", "AUTH", "SIZE", "CHUNKING", "HELP"]);
    assert_eq!(report.lost().collect::<Vec<_>>(), [("AUTH", "PLAIN LOGIN"), ("SIZE", "1"), ("X-EVIL", "")]);
    assert_eq!(report.gained().collect::<Vec<_>>(), [("AUTH", "PLAIN"), ("SIZE", "5000000"), ("CHUNKING", "")]);
    assert_eq!(client.capabilities(), &report.capabilities);
    assert_eq!(client.capabilities().auth_mechanisms().collect::<Vec<_>>(), ["PLAIN"]);
    assert_eq!(client.connection_mut().starttls(), Err(UsageError::AlreadySecure));
    client.send(transaction(1), &b"larger than what was offered in clear"[..]).unwrap();
    client.quit().unwrap();
    assert!(!server.record().commands().contains(&"STARTTLS".to_owned()));
}

// S-05: a mechanism that was offered in clear and is not within TLS is not used.
#[test]
fn mechanisms_offered_in_clear_are_forgotten() {
    let plan = Plan { in_clear: vec!["STARTTLS", "AUTH PLAIN"], within: vec!["AUTH X-OTHER"], ..Plan::starttls() };
    let server = plan.start();
    let error = Client::connect(&server.target(), starttls().credentials(credentials())).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::NoMechanism(ChooseError::NotOffered { .. }))), "{error}");
    assert_eq!(server.record().commands(), ["EHLO client.example", "QUIT"]);
}

// C-141, C-149: the report of a session with TLS from the start, and of one with credentials, which travel within TLS only.
#[test]
fn the_report_of_a_session() {
    for (server, mode) in both_ways(|plan| plan) {
        let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
        let client = Client::connect(&server.target(), options).unwrap();
        let report = client.security();
        assert!(report.secure && !report.password_in_clear);
        assert_eq!(report.mechanism.as_deref(), Some("PLAIN"));
        assert_eq!(report.channel_binding, None);
        let (expected, before) = match mode {
            TlsMode::Implicit => (StartTls::NotNeeded, false),
            _ => (StartTls::Done, true),
        };
        assert_eq!(report.starttls, expected);
        assert_eq!(report.capabilities_in_clear.is_some(), before);
        assert!(client.connection().is_authenticated());
        client.quit().unwrap();
        let record = server.record();
        assert!(record.commands()[1].starts_with("AUTH PLAIN "), "{:?}", record.commands());
        assert!(!record.showed("AUTH"));
    }
}

// C-142, S-01: octets in one segment with the go-ahead: a whole reply, a line, half a line, a line end, a single octet.
// There is no session, no handshake either, and no QUIT.
#[test]
fn octets_in_one_segment_with_the_go_ahead() {
    let injected = [
        "250-EVIL\r\n250 AUTH PLAIN\r\n",
        "250 AUTH PLAIN\r\n",
        "250-SMTPUTF8 X ",
        "220 again\r\n",
        "\r\n",
        "\n",
        "2",
        "\0",
        "\x16",
        "\x16\x03\x03",
    ];
    for octets in injected {
        for head in ["220 go\r\n", "220-go\r\n220 on\r\n"] {
            let go_ahead: &str = String::leak(format!("{head}{octets}"));
            for mode in [TlsMode::StartTls, TlsMode::Opportunistic] {
                let server = Plan { go_ahead: vec![go_ahead], ..Plan::starttls() }.start();
                let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
                let error = Client::connect(&server.target(), options).unwrap_err();
                let reason = match error.failure() {
                    Some(Failure::Disconnected { reason, .. }) => reason,
                    _ => panic!("{go_ahead:?}: {error}"),
                };
                assert_eq!(*reason, CloseReason::PlaintextAfterStartTls, "{go_ahead:?}");
                let record = server.record();
                assert_eq!(record.commands_in_clear(), ["EHLO client.example", "STARTTLS"]);
                assert_eq!(record.wire, b"", "{go_ahead:?}");
            }
        }
    }
}

// C-142, S-01: a go-ahead whose last line is late, and something behind it.
#[test]
fn octets_behind_a_late_line_of_the_go_ahead() {
    for tail in ["250 AUTH PLAIN\r\n", "2"] {
        let last: &str = String::leak(format!("220 now\r\n{tail}"));
        let server = Plan { go_ahead: vec!["220-wait\r\n", last], ..Plan::starttls() }.start();
        let error = Client::connect(&server.target(), starttls().credentials(credentials())).unwrap_err();
        let expected = Failure::Disconnected { reason: CloseReason::PlaintextAfterStartTls, report: None };
        assert_eq!(error.failure(), Some(&expected), "{error}");
        assert_eq!(server.record().wire, b"");
    }
    let server = Plan { go_ahead: vec!["220-wa", "it\r\n220 n", "ow\r", "\n"], ..Plan::starttls() }.start();
    Client::connect(&server.target(), starttls()).unwrap().quit().unwrap();
}

// C-142, C-144, S-01: octets that come in clear once the handshake has begun spoil it. What was injected is never heard.
#[test]
fn octets_in_clear_in_a_later_segment() {
    for injected in ["250-EVIL\r\n250 AUTH PLAIN\r\n", "250-SMTPUTF8 X ", "\r\n", "2", "\0", "\x16", "\x16\x03"] {
        for mode in [TlsMode::StartTls, TlsMode::Opportunistic] {
            let plan = Plan::starttls().handshake(Handshake::Behind(injected.into()));
            let server = plan.start();
            let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
            let error = Client::connect(&server.target(), options.timeout(2 * SHORT)).unwrap_err();
            assert!(matches!(error, Error::Tls { .. }), "{injected:?}: {error}");
            assert_nothing_but_a_handshake(&server.record());
        }
    }
}

// C-149, S-04: an answer to STARTTLS that comes before STARTTLS was said is no answer to it.
#[test]
fn a_go_ahead_before_the_request() {
    for behind_hello in ["220 go ahead\r\n", "220-go\r\n220 ahead\r\n", "250 ok\r\n"] {
        for mode in [TlsMode::StartTls, TlsMode::Opportunistic] {
            let server = Plan { behind_hello, ..Plan::starttls() }.start();
            let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
            let error = Client::connect(&server.target(), options).unwrap_err();
            let failure = error.failure().unwrap();
            assert!(
                matches!(failure, Failure::Disconnected { reason: CloseReason::Unsolicited(_), .. }),
                "{behind_hello:?}: {error}"
            );
            assert_eq!(server.record().commands_in_clear(), ["EHLO client.example"]);
        }
    }
}

// C-143, C-147, S-03, S-07: whatever a server answers to STARTTLS, where TLS is required there is no session and nothing
// said in clear but QUIT. What it said is shown without its control characters.
#[test]
fn a_refused_starttls_where_it_is_required() {
    let replies = [
        ("250 2.0.0 ok\r\n", None),
        ("354 go\r\n", None),
        ("421 4.3.2 \x1b[31mshutting down\r\n", Some(true)),
        ("454 4.7.0 \x1b[31mTLS not available\r\n", Some(true)),
        ("454-4.7.0 TLS\r\n454 4.7.0 not available\r\n", Some(true)),
        ("501 5.5.4 \x1b[31msyntax\r\n", Some(false)),
        ("502 5.5.1 not implemented\r\n", Some(false)),
        ("503 5.5.1 bad sequence\r\n", Some(false)),
        ("554 5.7.1 no\r\n", Some(false)),
        ("999 what\r\n", None),
        ("hello\r\n", None),
    ];
    for (reply, transient) in replies {
        for with_credentials in [false, true] {
            let server =
                Plan { go_ahead: vec![reply], in_clear: vec!["STARTTLS", "AUTH PLAIN"], ..Plan::starttls() }.start();
            let mut options = starttls();
            if with_credentials {
                options = options.credentials(credentials());
            }
            let error = Client::connect(&server.target(), options).unwrap_err();
            assert!(transient.is_none_or(|transient| error.is_transient() == transient), "{reply:?}: {error}");
            assert!(!format!("{error} {error:?}").contains('\x1b'), "{error}");
            if reply.starts_with("454") || reply.starts_with('5') {
                assert!(matches!(error.failure(), Some(Failure::TlsRequired { reply: Some(_), .. })), "{error}");
            }
            let mut commands = server.record().commands_in_clear();
            commands.retain(|command| command != "QUIT");
            assert_eq!(commands, ["EHLO client.example", "STARTTLS"], "{reply:?}");
        }
    }
}

// C-143, C-147, S-03, S-53: a server that offers no STARTTLS gets no credentials, and where TLS is required no mail: that
// is what is meant with credentials where nothing is said. A keyword that was crossed out does not change it.
#[test]
fn no_starttls_where_it_is_required() {
    for in_clear in [vec![], vec!["AUTH PLAIN LOGIN CRAM-MD5"], vec!["XXXXXXXX", "AUTH PLAIN"], vec!["STARTTLSX"]] {
        let server = Plan { in_clear: in_clear.clone(), ..Plan::starttls() }.start();
        let by_default = options(shared_authority()).credentials(credentials());
        for options in [starttls(), starttls().credentials(credentials()), by_default] {
            let error = Client::connect(&server.target(), options).unwrap_err();
            let crossed_out = in_clear.contains(&"XXXXXXXX");
            let expected = Failure::TlsRequired { reply: None, suspicious: crossed_out };
            assert_eq!(error.failure(), Some(&expected));
            assert!(!error.is_transient());
            let record = server.record();
            assert_eq!(record.commands_in_clear(), ["EHLO client.example", "QUIT"], "{in_clear:?}");
        }
    }
}

// C-147: opportunistic is only ever what the caller asked for. Then a session in clear is better than none, its report says
// so, and a password still does not cross.
#[test]
fn opportunistic_goes_on_in_clear_when_told() {
    let refused = vec!["454 4.7.0 TLS not available\r\n"];
    let cases = [
        (Plan { in_clear: vec!["AUTH PLAIN"], ..Plan::starttls() }, StartTls::NotOffered { suspicious: false }),
        (
            Plan { in_clear: vec!["XXXXXXXA", "AUTH PLAIN"], ..Plan::starttls() },
            StartTls::NotOffered { suspicious: true },
        ),
        (Plan { in_clear: vec!["STARTTLS", "AUTH PLAIN"], go_ahead: refused, ..Plan::starttls() }, StartTls::NotTried),
    ];
    for (plan, expected) in cases {
        let server = plan.start();
        let options = || options(shared_authority()).tls_mode(TlsMode::Opportunistic);
        let mut client = Client::connect(&server.target(), options()).unwrap();
        let report = client.security();
        assert!(!report.secure && report.capabilities_in_clear.is_none());
        match (&report.starttls, expected) {
            (StartTls::Refused(reply), StartTls::NotTried) => assert_eq!(reply.code().get(), 454),
            (told, expected) => assert_eq!(*told, expected),
        }
        assert_eq!(report.gained().count() + report.lost().count(), 0);
        assert!(client.send(transaction(1), &b"in clear"[..]).unwrap().is_complete_success());
        client.quit().unwrap();
        let record = server.record();
        assert_eq!(record.messages.len(), 1);
        assert!(record.handshake.is_none());

        let error = Client::connect(&server.target(), options().credentials(credentials())).unwrap_err();
        // Where TLS was refused, that is the reason.
        let reason = error.failure().unwrap();
        assert!(
            matches!(reason, Failure::NoMechanism(ChooseError::NeedsTls) | Failure::TlsRequired { reply: Some(_), .. }),
            "{error}"
        );
        assert!(!server.record().commands_in_clear().iter().any(|command| command.starts_with("AUTH")));
    }
    let server = Plan::starttls().start();
    let client =
        Client::connect(&server.target(), options(shared_authority()).tls_mode(TlsMode::Opportunistic)).unwrap();
    assert!(client.is_secure());
    client.quit().unwrap();
}

// C-144: a handshake that failed ends the connection also where TLS was not required.
#[test]
fn opportunistic_does_not_survive_a_failed_handshake() {
    let garbage = Handshake::Instead(b"250 never mind\r\n".to_vec());
    for plan in [Plan::starttls().showing(Leaf::SelfSigned), Plan::starttls().handshake(garbage)] {
        let server = plan.start();
        let options = options(shared_authority()).tls_mode(TlsMode::Opportunistic);
        let error = Client::connect(&server.named_target(), options).unwrap_err();
        assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{error}");
        assert_nothing_but_a_handshake(&server.record());
    }
}

// C-147: TLS from the start on 465, STARTTLS on 587 and with credentials, none elsewhere unless asked for.
#[test]
fn default_modes() {
    for credentials in [false, true] {
        assert_eq!(TlsMode::default_for(465, credentials), TlsMode::Implicit);
        assert_eq!(TlsMode::default_for(587, credentials), TlsMode::StartTls);
    }
    for port in [25, 2525, 24, 0] {
        assert_eq!(TlsMode::default_for(port, false), TlsMode::None);
        assert_eq!(TlsMode::default_for(port, true), TlsMode::StartTls);
    }
    for mode in [TlsMode::Implicit, TlsMode::StartTls] {
        assert_eq!(mode.policy(), TlsPolicy::Require);
    }
    let server = Plan::starttls().start();
    let client = Client::connect(&server.target(), options(shared_authority())).unwrap();
    assert!(!client.is_secure() && client.security().starttls == StartTls::NotTried);
    client.quit().unwrap();
    assert_eq!(server.record().commands_in_clear(), ["EHLO client.example", "QUIT"]);
    let client = Client::connect(&server.target(), options(shared_authority()).credentials(credentials())).unwrap();
    assert!(client.is_secure() && client.connection().is_authenticated());
}

// C-147: the same by the ports themselves, where this test may listen on them.
#[test]
fn default_modes_by_port() {
    let address = "127.0.25.1";
    for (port, plan) in [(465, Plan::implicit()), (587, Plan::starttls())] {
        let Ok(listener) = TcpListener::bind((address, port)) else { continue };
        let plan = plan.showing(Leaf::For(&["127.0.25.1"]));
        let server = plan.start_on(listener);
        let client = Client::connect(&server.target(), options(shared_authority())).unwrap();
        assert!(client.is_secure());
        client.quit().unwrap();
        if port == 465 {
            // The port of that mode where the target names none.
            Client::connect(address, implicit()).unwrap().quit().unwrap();
        }
        drop(server);
    }
}

/// A stream that counts the calls to it.
struct Counted<S> {
    stream: S,
    calls: Arc<AtomicUsize>,
}

impl<S: Stream> Read for Counted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.stream.read(buffer)
    }
}

impl<S: Stream> Write for Counted<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S: Stream> Stream for Counted<S> {
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.stream.set_timeouts(read, write)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.stream.try_read(buffer)
    }
}

/// A warning alert that says `close_notify`, a fatal one that says `handshake_failure`, and one that says
/// `internal_error`.
const CLOSE_NOTIFY: &[u8] = b"\x15\x03\x03\0\x02\x01\0";
const HANDSHAKE_FAILURE: &[u8] = b"\x15\x03\x03\0\x02\x02\x28";
const INTERNAL_ERROR: &[u8] = b"\x15\x03\x03\0\x02\x02\x50";

/// The beginning of a record that holds a long handshake message, which never comes to its end.
const UNENDING: &[u8] = b"\x16\x03\x03\x40\0\x02\0\x3f\xf0\x03\x03";

// R-07: a server that says nothing in the handshake, or not enough, is left at the deadline. Waiting costs no time of the
// processor: there are few calls to the stream. That holds also behind an alert that ends nothing, which is no end of file.
#[test]
fn a_stalled_handshake_ends_at_the_deadline() {
    for octets in [b"", &UNENDING[..1], UNENDING, CLOSE_NOTIFY] {
        for (server, mode) in both_ways(|plan| plan.handshake(Handshake::Instead(octets.into()))) {
            let start = Instant::now();
            let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
            let error = Client::connect(&server.target(), options.timeout(2 * SHORT)).unwrap_err();
            assert!(matches!(error, Error::Tls { .. }), "{error}");
            assert!(error.is_timeout() && error.is_transient(), "{error}");
            assert!(start.elapsed() < LONG / 3);
            assert_nothing_but_a_handshake(&server.record());
        }
        let server = Plan::implicit().handshake(Handshake::Instead(octets.into())).start();
        let calls = Arc::default();
        let stream = Counted { stream: TcpStream::connect(server.address()).unwrap(), calls: Arc::clone(&calls) };
        let error = TlsStream::handshake(&shared_authority(), stream, "localhost", SHORT).unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(calls.load(Ordering::SeqCst) < 20, "{calls:?}");
        drop(server.record());
    }
}

// C-144: whatever comes instead of a handshake, there is no session and nothing follows in clear.
#[test]
fn garbage_instead_of_a_handshake() {
    let cases: [(&[u8], Option<AlertDescription>); 8] = [
        (b"220 tls.example ready\r\n", None),
        (b"554 5.7.1 no TLS here\r\n", None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None),
        (b"\0\0\0\0\0\0\0\0", None),
        // A record longer than any.
        (b"\x16\x03\x03\xff\xff\x02", None),
        // Data before there are keys.
        (b"\x17\x03\x03\0\x08250 ok\r\n", None),
        (HANDSHAKE_FAILURE, Some(AlertDescription::HandshakeFailure)),
        (INTERNAL_ERROR, Some(AlertDescription::InternalError)),
    ];
    for (octets, alert) in cases {
        for (server, mode) in both_ways(|plan| plan.handshake(Handshake::Instead(octets.into()))) {
            let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
            let error = Client::connect(&server.target(), options).unwrap_err();
            assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{octets:?}: {error}");
            if let Some(alert) = alert {
                assert_eq!(reason(&error), Some(&rustls::Error::AlertReceived(alert)), "{error}");
            }
            assert_nothing_but_a_handshake(&server.record());
        }
    }
}

// C-144: a stream that ends anywhere in the handshake may do better later.
#[test]
fn a_handshake_that_is_cut_off() {
    for versions in VERSIONS {
        for limit in [0, 1, 4, 5, 6, 50, 200, 400] {
            for (server, mode) in both_ways(|plan| Plan { versions, ..plan }.handshake(Handshake::CutAfter(limit))) {
                let options = options(shared_authority()).tls_mode(mode).credentials(credentials());
                let error = Client::connect(&server.target(), options).unwrap_err();
                assert!(matches!(error, Error::Tls { .. }) && error.is_transient(), "{limit}: {error}");
                assert!(!error.is_timeout());
                assert_nothing_but_a_handshake(&server.record());
            }
        }
    }
}

/// How a server ends the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// By `close_notify`, as it should.
    Proper,
    /// Without.
    Abrupt,
    /// In the middle of a record.
    Torn,
}

/// Says these octets within TLS and ends the stream.
fn say_and_end(session: &mut Session, octets: &[u8], end: End) -> io::Result<()> {
    if !octets.is_empty() {
        session.octets(octets)?;
    }
    match end {
        End::Proper => session.close_notify(),
        End::Abrupt => Ok(()),
        End::Torn => {
            let record = session.seal(b"250 another\r\n");
            session.beneath(&record[..record.len() - 1])
        }
    }
}

// C-152, R-02, R-03: the reply to the content is cut at each octet. Until it is whole the message is in doubt; once it is,
// it counts, however the stream ends behind it.
#[test]
fn a_final_reply_that_is_cut_off() {
    const REPLY: &[u8] = b"250 ok\r\n";
    for end in [End::Proper, End::Abrupt, End::Torn] {
        for length in 0..=REPLY.len() {
            let script = move |session: &mut Session| {
                session.say("220 hi")?;
                session.serve_until("DATA")?;
                session.say("354 go")?;
                session.content()?;
                say_and_end(session, &REPLY[..length], end)
            };
            let server = Plan::implicit().script(script).start();
            let mut client = Client::connect(&server.target(), implicit()).unwrap();
            let result = client.send(transaction(1), &b"hello\r\n"[..]);
            if length == REPLY.len() {
                assert!(result.unwrap().is_complete_success());
            } else {
                let error = result.unwrap_err();
                let failure = error.failure().unwrap();
                assert!(matches!(failure, Failure::Disconnected { reason: CloseReason::Eof, .. }), "{error}");
                assert!(error.may_have_been_accepted() && error.is_transient());
                let outcomes: Vec<_> = error.report().unwrap().recipients().map(|(_, outcome)| outcome).collect();
                assert_eq!(outcomes, [&Outcome::InDoubt], "{end:?}, {length}");
            }
            assert!(client.send(transaction(1), &b"another\r\n"[..]).is_err());
            drop(client);
            assert_eq!(server.record().messages.len(), 1);
        }
    }
}

// C-152: the same for replies before the content: the message was not sent.
#[test]
fn an_earlier_reply_that_is_cut_off() {
    for (verb, octets) in [("MAIL", "250 o"), ("RCPT", ""), ("DATA", "354"), ("DATA", "354 go\r")] {
        let script = move |session: &mut Session| {
            session.say("220 hi")?;
            session.serve_until(verb)?;
            say_and_end(session, octets.as_bytes(), End::Abrupt)
        };
        let server = Plan { within: Vec::new(), ..Plan::implicit() }.script(script).start();
        let mut client = Client::connect(&server.target(), implicit()).unwrap();
        let error = client.send(transaction(1), &b"hello\r\n"[..]).unwrap_err();
        assert!(!error.may_have_been_accepted() && error.is_transient(), "{error}");
        assert!(error.report().unwrap().recipients().all(|(_, outcome)| *outcome == Outcome::NotSent));
    }
}

// C-152: after QUIT any end will do.
#[test]
fn quit_takes_any_end() {
    for end in [End::Proper, End::Abrupt, End::Torn] {
        for answer in ["", "22", "221 bye", "221 bye\r\n"] {
            let script = move |session: &mut Session| {
                session.say("220 hi")?;
                session.serve_until("QUIT")?;
                say_and_end(session, answer.as_bytes(), end)
            };
            let server = Plan::implicit().script(script).start();
            Client::connect(&server.target(), implicit()).unwrap().quit().unwrap();
            assert_eq!(server.record().commands(), ["EHLO client.example", "QUIT"]);
        }
    }
}

// A message of ten mebibytes arrives as it was, by both versions.
#[test]
fn a_large_message() {
    let mut message = Vec::new();
    for number in 0.. {
        message.extend_from_slice(format!(".{number:076}\r\n").as_bytes());
        if message.len() > 10 << 20 {
            break;
        }
    }
    for versions in VERSIONS {
        for (server, mode) in both_ways(|plan| Plan { versions, ..plan }) {
            let mut client = Client::connect(&server.target(), options(shared_authority()).tls_mode(mode)).unwrap();
            assert!(client.send(transaction(1), &message[..]).unwrap().is_complete_success());
            client.quit().unwrap();
            let record = server.record();
            assert!(record.messages == [message.clone()]);
        }
    }
}

// A server that changes its keys in the middle, and asks the client to do so.
#[test]
fn a_change_of_keys() {
    let script = |session: &mut Session| {
        session.say("220 hi")?;
        session.serve_until("DATA")?;
        for _ in 0..2 {
            session.change_keys().map_err(io::Error::other)?;
        }
        session.say("354 go")?;
        session.content()?;
        session.change_keys().map_err(io::Error::other)?;
        session.say("250 ok")?;
        session.serve()
    };
    let server = Plan { versions: VERSIONS[1], ..Plan::implicit() }.script(script).start();
    let mut client = Client::connect(&server.target(), implicit()).unwrap();
    client.send(transaction(1), &vec![b'x'; 1 << 20][..]).unwrap();
    client.send(transaction(1), &b"hello\r\n"[..]).unwrap();
    client.quit().unwrap();
    assert_eq!(server.record().messages.len(), 2);
}

/// A message that no buffer takes whole.
const LARGE: usize = 32 << 20;

/// Goes as far as the content.
fn up_to_content(session: &mut Session) -> io::Result<()> {
    session.say("220 hi")?;
    session.serve_until("DATA")?;
    session.say("354 go")
}

// R-06: through TLS, too, a refusal half-way is a refusal and no broken stream: the server hangs up with octets unread, and
// the system answers further ones with a reset.
#[test]
fn an_early_refusal_survives_a_reset() {
    let script = |session: &mut Session| {
        up_to_content(session)?;
        session.take(64 * 1024)?;
        session.say("552 5.3.4 too large")
    };
    let server = Plan::implicit().script(script).start();
    let mut client = Client::connect(&server.target(), implicit()).unwrap();
    let error = client.send(transaction(1), &vec![b'x'; LARGE][..]).unwrap_err();
    assert_eq!(error.reply().map(|reply| reply.code().get()), Some(552), "{error}");
    assert!(matches!(error.failure(), Some(Failure::DataRefused { .. })) && !error.is_transient());
}

/// A listener whose connections take little before they are read, so that writing to them soon blocks.
fn narrow() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(8).unwrap();
    socket.into()
}

/// A message that counts how much of it was taken.
struct Watched {
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.left);
        buffer[..length].fill(b'x');
        self.left -= length;
        self.taken.fetch_add(length, Ordering::SeqCst);
        Ok(length)
    }
}

// R-06: the server refuses and reads no more, without hanging up: the client, which cannot write any more, notices long
// before its deadline.
#[test]
fn an_early_refusal_is_noticed_while_writing_blocks() {
    let taken: Arc<AtomicUsize> = Arc::default();
    let watch = Arc::clone(&taken);
    let script = move |session: &mut Session| {
        up_to_content(session)?;
        // Until the client is stuck.
        let mut before = usize::MAX;
        while before != watch.load(Ordering::SeqCst) {
            before = watch.load(Ordering::SeqCst);
            std::thread::sleep(4 * SHORT);
        }
        session.say("452 4.3.1 full")?;
        session.hold();
        Ok(())
    };
    let server = Plan::implicit().script(script).start_on(narrow());
    let mut client = Client::connect(&server.target(), implicit()).unwrap();
    let error = client.send(transaction(1), BufReader::new(Watched { left: LARGE, taken })).unwrap_err();
    assert_eq!(error.reply().map(|reply| reply.code().get()), Some(452), "{error}");
    drop(client);
    drop(server.record());
}

// R-07, C-59, S-36: reads end at their deadline: in silence, behind half a record, behind half a reply.
#[test]
fn reads_have_a_deadline() {
    for cut in [None, Some(0), Some(3), Some(20)] {
        let script = move |session: &mut Session| {
            session.say("220 hi")?;
            session.serve_until("MAIL")?;
            let reply = session.seal(b"250 2.0.0 half a");
            session.beneath(&reply[..cut.unwrap_or(reply.len())])?;
            session.hold();
            Ok(())
        };
        let server = Plan::implicit().script(script).start();
        let mut client =
            Client::connect(&server.target(), implicit().configure(|config| config.timeouts.mail = SHORT)).unwrap();
        let start = Instant::now();
        let error = client.mail(transaction(0)).unwrap_err();
        assert!(error.is_timeout() && error.is_transient(), "{error}");
        assert!(start.elapsed() < LONG / 3);
        drop(client);
        drop(server.record());
    }
}

// R-07, C-59, S-36: writes do, too: a server that takes no content is left after the time for a block.
#[test]
fn writes_have_a_deadline() {
    let script = |session: &mut Session| {
        up_to_content(session)?;
        session.hold();
        Ok(())
    };
    let server = Plan::implicit().script(script).start_on(narrow());
    let options = implicit().configure(|config| {
        config.timeouts.data_block = 4 * SHORT;
        config.timeouts.quit = SHORT;
    });
    let mut client = Client::connect(&server.target(), options).unwrap();
    let start = Instant::now();
    let error = client.send(transaction(1), &vec![b'x'; LARGE][..]).unwrap_err();
    assert!(error.is_timeout() && error.is_transient(), "{error}");
    assert!(!error.may_have_been_accepted());
    assert!(start.elapsed() < LONG / 2);
    drop(client);
    drop(server.record());
}

// R-07, S-36: a server that drips octets of a record, in the handshake or after it, does not stretch the deadline.
#[test]
fn dripping_does_not_stretch_deadlines() {
    const PAUSE: Duration = Duration::from_millis(25);
    let unending = [UNENDING, &[0; 1200]].concat();
    for (server, mode) in both_ways(|plan| plan.handshake(Handshake::Drip(unending.clone(), PAUSE))) {
        let start = Instant::now();
        let options = options(shared_authority()).tls_mode(mode).timeout(2 * SHORT);
        let error = Client::connect(&server.target(), options).unwrap_err();
        assert!(matches!(error, Error::Tls { .. }) && error.is_timeout(), "{error}");
        assert!(start.elapsed() < LONG / 3);
        drop(server.record());
    }
    let script = |session: &mut Session| {
        session.say("220 hi")?;
        session.serve_until("MAIL")?;
        let reply = session.seal(format!("250 {}", "x".repeat(1200)).as_bytes());
        session.drip(&reply, PAUSE)
    };
    let server = Plan::implicit().script(script).start();
    let mut client =
        Client::connect(&server.target(), implicit().configure(|config| config.timeouts.mail = SHORT)).unwrap();
    let start = Instant::now();
    let error = client.mail(transaction(0)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(start.elapsed() < LONG / 3);
    drop(client);
    drop(server.record());
}

// C-152, R-02: a reply that is whole counts, though the record behind it is none and came with it.
#[test]
fn a_final_reply_before_a_record_that_is_wrong() {
    const FORGED: &[u8] = b"\x17\x03\x03\0\x18twenty-four octets of it";
    let script = |session: &mut Session| {
        up_to_content(session)?;
        session.content()?;
        let reply = session.seal(b"250 ok\r\n");
        session.beneath(&[&reply, FORGED].concat())?;
        session.drain();
        Ok(())
    };
    let server = Plan::implicit().script(script).start();
    let mut client = Client::connect(&server.target(), implicit()).unwrap();
    assert!(client.send(transaction(1), &b"hello\r\n"[..]).unwrap().is_complete_success());
    let error = client.send(transaction(1), &b"another\r\n"[..]).unwrap_err();
    assert!(!error.may_have_been_accepted(), "{error}");
    drop(client);
    assert_eq!(server.record().messages.len(), 1);
}

/// A stream that takes so many more octets, then none.
struct Limited {
    stream: TcpStream,
    left: Arc<AtomicUsize>,
    /// What it says then.
    then: fn() -> io::Result<usize>,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Limited {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return (self.then)();
        }
        let length = self.stream.write(&octets[..octets.len().min(left)])?;
        self.left.fetch_sub(length, Ordering::SeqCst);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for Limited {
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.stream.set_timeouts(read, write)
    }
}

/// A session from the first octet within TLS over a stream that can be stopped, and the means to do so.
fn stoppable(
    server: &TlsServer,
    then: fn() -> io::Result<usize>,
    change: impl FnOnce(&mut Config),
) -> (Client<TlsStream<Limited>>, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let stream = Limited { stream: TcpStream::connect(server.address()).unwrap(), left: Arc::clone(&left), then };
    let stream = TlsStream::handshake(&shared_authority(), stream, "localhost", LONG).unwrap();
    let mut config = smtp();
    config.timeouts = Timeouts::uniform(LONG);
    change(&mut config);
    (Client::start(stream, Security::Tls, config, Setup::new(TlsPolicy::Require, None)).unwrap(), left)
}

// A stream that takes no more octets, which is no error and no progress, ends the handshake and the session, without turning
// in circles.
#[test]
fn a_stream_that_takes_nothing() {
    let server = Plan::implicit().start();
    let calls = Arc::default();
    let stream = TcpStream::connect(server.address()).unwrap();
    let full = Limited { stream, left: Arc::default(), then: || Ok(0) };
    let stream = Counted { stream: full, calls: Arc::clone(&calls) };
    let error = TlsStream::handshake(&shared_authority(), stream, "localhost", SHORT).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    assert!(calls.load(Ordering::SeqCst) < 20, "{calls:?}");
    drop(server.record());
    let (mut client, left) = stoppable(&server, || Ok(0), |config| config.timeouts.quit = SHORT);
    left.store(0, Ordering::SeqCst);
    let error = client.noop().unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Disconnected { .. })), "{error}");
}

// R-03: the stream breaks between two records. The end of the message was in the first, which the server has got, so the
// message is in doubt, though not all that was written with it has left.
#[test]
fn a_break_between_two_records() {
    /// Octets of plaintext in a record, and what TLS 1.3 adds.
    const RECORD: usize = 16 * 1024;
    const OVERHEAD: usize = 5 + 1 + 16;
    let server = Plan { versions: VERSIONS[1], ..Plan::implicit() }.start();
    let (mut client, left) = stoppable(
        &server,
        || Err(io::ErrorKind::BrokenPipe.into()),
        |config| {
            config.transaction_window = 2;
            config.timeouts = Timeouts::uniform(3 * SHORT);
        },
    );
    let connection = client.connection_mut();
    let first = connection.begin(transaction(1)).unwrap();
    while !matches!(client.next_event().unwrap(), Event::BodyRequested { .. }) {}
    let content = vec![b'x'; RECORD - b"\r\n.\r\n".len()];
    let connection = client.connection_mut();
    let mut body = connection.body().unwrap();
    assert_eq!(body.write(&content).unwrap(), content.len());
    body.finish().unwrap();
    // In the same write, and so in a record of its own.
    connection.begin(transaction(1)).unwrap();
    left.store(RECORD + OVERHEAD, Ordering::SeqCst);
    let mut outcomes = Vec::new();
    while let Ok(event) = client.next_event() {
        if let Event::Completed(report) = event {
            outcomes.extend(report.recipients().map(|(_, outcome)| (report.id() == first, outcome.clone())));
        }
    }
    drop(client);
    assert_eq!(server.record().messages.len(), 1);
    let (is_first, outcome) = &outcomes[0];
    assert!(*is_first && matches!(outcome, Outcome::InDoubt | Outcome::Accepted(_)), "{outcomes:?}");
    assert_eq!(outcomes[1], (false, Outcome::NotSent));
}

// A limit so long that no clock reaches it is none.
#[test]
fn the_longest_limit() {
    for (server, mode) in both_ways(|plan| plan) {
        let options = options(shared_authority()).tls_mode(mode).timeout(Duration::MAX);
        Client::connect(&server.target(), options).unwrap().quit().unwrap();
    }
}

/// By a closure, as for any other TLS.
fn start_tls<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    server: &TlsServer,
    upgrade: impl FnOnce(TcpStream) -> Result<(TlsStream<TcpStream>, ChannelBindings), E>,
) -> Result<Client<TlsStream<TcpStream>>, Error> {
    let stream = TcpStream::connect(server.address()).unwrap();
    // The policy is one that would do without.
    let setup = Setup::new(TlsPolicy::None, Some(credentials()));
    Client::start_tls(stream, smtp(), setup, upgrade)
}

// C-144, C-147: a closure of the caller's does the handshake. It is not called before the go-ahead, and no session comes
// about without it, whatever the policy of the setup. Its error is the error.
#[test]
fn tls_by_a_closure() {
    let server = Plan::starttls().start();
    let mut client = start_tls(&server, |stream| {
        let stream = TlsStream::handshake(&shared_authority(), stream, "localhost", LONG)?;
        let bindings = stream.channel_bindings().clone();
        Ok::<_, Error>((stream, bindings))
    })
    .unwrap();
    assert!(client.is_secure() && client.connection().is_authenticated());
    assert!(client.stream().tls().protocol_version().is_some());
    assert_eq!(client.security().starttls, StartTls::Done);
    client.send(transaction(1), &b"hello\r\n"[..]).unwrap();
    client.quit().unwrap();
    assert_eq!(server.record().messages.len(), 1);

    let error = start_tls(&server, |_| Err("no")).unwrap_err();
    assert!(matches!(&error, Error::Tls { error } if error.to_string() == "no"));
    let record = server.record();
    assert_eq!((record.commands_in_clear().len(), record.wire.as_slice()), (2, b"".as_slice()));

    for (in_clear, go_ahead) in [(vec![], "220 go\r\n"), (vec!["STARTTLS"], "454 4.7.0 not now\r\n")] {
        let server = Plan { in_clear, go_ahead: vec![go_ahead], ..Plan::starttls() }.start();
        let error = start_tls::<Error>(&server, |_| panic!("there is no go-ahead")).unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::TlsRequired { .. })), "{error}");
        let record = server.record();
        assert!(!record.commands_in_clear().iter().any(|command| command.starts_with("AUTH")));
    }
}
