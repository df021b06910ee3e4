//! From the greeting to a session ready for mail: TLS and authentication by policy, with the test as the driver.

use std::collections::VecDeque;
use std::fmt::Write;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::sasl_server::{Account, MECHANISMS, SaslServer, Trick};
use smtp_proto::sasl::{AuthFailureKind, ChannelBindings, Choice, ChooseError, Credentials, SaslError, Secret};
use smtp_proto::{
    CloseReason, Connection, Event, Extension, Failure, Outcome, Phase, Security, SecurityReport, Setup, StartTls,
    State, Step, Time, TlsMode, TlsPolicy, UsageError,
};

/// Iterations of SCRAM where time matters more than they do.
const FEW: u32 = 16;

/// A server, by what it says.
#[derive(Clone, Debug)]
struct Server {
    greeting: &'static str,
    /// What it offers in clear.
    offers: String,
    /// What it offers within TLS.
    within: String,
    /// What it says to EHLO in clear instead of its offers.
    ehlo: Option<&'static str>,
    helo: &'static str,
    /// The answer to STARTTLS, and whatever comes right behind it.
    starttls: &'static str,
    rset: &'static str,
    quit: &'static str,
    /// Mechanisms that it refuses, and by which code.
    refuses: Vec<(&'static str, u16)>,
    sasl: SaslServer,
    /// An exchange is under way.
    challenged: bool,
    /// A message is being received.
    content: bool,
}

impl Server {
    /// Offers only STARTTLS in clear, and `within` behind it.
    fn new(within: &[&str]) -> Self {
        let account = Account { iterations: FEW, bindings: server_bindings(), ..Account::default() };
        Self {
            greeting: "220 mail.example ESMTP\r\n",
            offers: "STARTTLS".into(),
            within: within.join("\n"),
            ehlo: None,
            helo: "250 mail.example\r\n",
            starttls: "220 go ahead\r\n",
            rset: "250 ok\r\n",
            quit: "221 bye\r\n",
            refuses: Vec::new(),
            sasl: SaslServer::new(account),
            challenged: false,
            content: false,
        }
    }

    /// Offers these in clear instead.
    fn offering(self, keywords: &[&str]) -> Self {
        Self { offers: keywords.join("\n"), ..self }
    }

    fn hear(&mut self, line: &str, secure: bool) -> String {
        if mem::take(&mut self.challenged) || line.starts_with("AUTH ") {
            let refused = self.refuses.iter().find(|(name, _)| line.split(' ').nth(1) == Some(name));
            let reply = match refused {
                Some((_, code)) => format!("{code} no\r\n"),
                None => self.sasl.hear(line),
            };
            self.challenged = reply.starts_with("334");
            return reply;
        }
        if self.content {
            self.content = line != ".";
            return if self.content { String::new() } else { "250 queued\r\n".into() };
        }
        let verb = line.split([' ', ':']).next().unwrap_or_default();
        match verb {
            "EHLO" => {
                if let (Some(reply), false) = (self.ehlo, secure) {
                    return reply.into();
                }
                let mut reply = "250-mail.example\r\n".to_owned();
                let offers = if secure { &self.within } else { &self.offers };
                offers.lines().for_each(|keyword| {
                    let _ = write!(reply, "250-{keyword}\r\n");
                });
                reply + "250 HELP\r\n"
            }
            "HELO" => self.helo.into(),
            "STARTTLS" => self.starttls.into(),
            "RSET" => self.rset.into(),
            "QUIT" => self.quit.into(),
            "MAIL" | "RCPT" | "NOOP" => "250 ok\r\n".into(),
            "DATA" => {
                self.content = true;
                "354 go\r\n".into()
            }
            other => panic!("the client said {other:?}"),
        }
    }
}

/// What both ends of the TLS connection know.
fn server_bindings() -> Vec<(&'static str, Vec<u8>)> {
    vec![("tls-exporter", vec![0x5a; 32]), ("tls-server-end-point", vec![0xc3; 32])]
}

fn client_bindings() -> ChannelBindings {
    let mut bindings = ChannelBindings::default();
    bindings.tls_exporter = Some(vec![0x5a; 32]);
    bindings
}

/// What came of it.
#[derive(Debug)]
struct Told {
    /// Whether there was a session, and if not, why.
    setup: Result<(), Failure>,
    /// Everything the client said in clear.
    clear: String,
    /// Everything it said within TLS.
    within: String,
    /// Every event, in words.
    events: Vec<String>,
    /// Whether the message that followed was accepted.
    delivered: bool,
    report: SecurityReport,
    closed: Option<CloseReason>,
    connection: Connection,
}

impl Told {
    /// The names of mechanisms that were tried, in order.
    fn tried(&self) -> Vec<&str> {
        let lines = self.clear.lines().chain(self.within.lines());
        lines.filter_map(|line| line.strip_prefix("AUTH ")?.split(' ').next()).collect()
    }

    fn auth_failure(&self) -> (AuthFailureKind, u16) {
        match &self.setup {
            Err(Failure::Auth(failure)) => (failure.kind(), failure.reply().code().get()),
            other => panic!("no failed authentication: {other:?}"),
        }
    }

    fn choose_error(&self) -> &ChooseError {
        match &self.setup {
            Err(Failure::NoMechanism(error)) => error,
            other => panic!("no choice that failed: {other:?}"),
        }
    }
}

/// How a session is run.
struct Run {
    policy: TlsPolicy,
    credentials: Option<Credentials>,
    /// Octets of the server's that come at a time.
    piece: usize,
    bindings: ChannelBindings,
    choice: fn(&mut Choice),
    /// TLS is there from the start.
    implicit: bool,
    /// The caller wants to say hello.
    hello_by_hand: bool,
}

impl Run {
    fn new(policy: TlsPolicy) -> Self {
        let choice = |choice: &mut Choice| choice.iterations.least = FEW;
        Self {
            policy,
            credentials: None,
            piece: usize::MAX,
            bindings: ChannelBindings::default(),
            choice,
            implicit: false,
            hello_by_hand: false,
        }
    }

    /// STARTTLS is a must, and so is a login.
    fn login(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..Self::new(TlsPolicy::Require) }
    }

    fn at(self, server: Server) -> Told {
        let mut setup = Setup::new(self.policy, self.credentials).entropy([7; 24]).choice(self.choice);
        let mut config = smtp();
        config.automatic_hello = !self.hello_by_hand;
        let security = if self.implicit { Security::Tls } else { Security::Plaintext };
        setup.configure(&mut config, security);
        let mut driver = Driver {
            connection: Connection::new(config, security),
            pending: server.greeting.bytes().collect(),
            server,
            secure: self.implicit,
            clear: String::new(),
            within: String::new(),
        };
        let mut result = None;
        let mut delivered = false;
        let mut events = Vec::new();
        loop {
            while let Some(event) = driver.connection.poll_event() {
                events.push(format!("{event:?}"));
                if result.is_some() {
                    delivered |= driver.use_session(&event);
                    continue;
                }
                match setup.advance(&mut driver.connection, &event) {
                    Ok(Step::Continue) => {}
                    Ok(Step::UpgradeTls) => {
                        setup.channel_bindings(self.bindings.clone());
                        driver.upgrade();
                    }
                    Ok(Step::Done) => {
                        result = Some(Ok(()));
                        driver.connection.begin(transaction(1)).expect("the session is ready for mail");
                    }
                    Err(failure) => result = Some(Err(failure)),
                }
            }
            if !driver.transmit() && !driver.receive(self.piece) {
                break;
            }
        }
        Told {
            setup: result.expect("the setup came to its end"),
            clear: driver.clear,
            within: driver.within,
            events,
            delivered,
            report: setup.report().clone(),
            closed: driver.connection.close_reason().cloned(),
            connection: driver.connection,
        }
    }
}

/// The test's driver: a connection, a server, and the octets between them.
struct Driver {
    connection: Connection,
    server: Server,
    /// Octets on their way from the server.
    pending: VecDeque<u8>,
    secure: bool,
    clear: String,
    within: String,
}

impl Driver {
    fn transmit(&mut self) -> bool {
        let Some(out) = self.connection.poll_transmit() else { return false };
        assert!(self.clear.len() + self.within.len() < 64 * 1024, "a session without end");
        let said = String::from_utf8(out.to_vec()).expect("commands are ASCII");
        let stream = if self.secure { &mut self.within } else { &mut self.clear };
        stream.push_str(&said);
        self.connection.handle_transmitted(usize::MAX, Time::default());
        for line in said.strip_suffix("\r\n").expect("whole lines").split("\r\n") {
            self.pending.extend(self.server.hear(line, self.secure).bytes());
        }
        true
    }

    fn receive(&mut self, piece: usize) -> bool {
        if self.connection.state() == State::Closed {
            return false;
        }
        let octets: Vec<u8> = self.pending.drain(..piece.min(self.pending.len())).collect();
        if octets.is_empty() {
            self.connection.handle_eof();
        } else {
            self.connection.handle_input(&octets, Time::default());
        }
        true
    }

    /// The handshake. It fails when what comes from the server is no handshake.
    fn upgrade(&mut self) {
        assert!(self.connection.poll_transmit().is_none(), "octets in clear behind STARTTLS");
        if self.pending.is_empty() {
            self.connection.handle_tls_established().expect("an upgrade is due");
            self.secure = true;
        } else {
            self.pending.clear();
            self.connection.handle_eof();
        }
    }

    /// Sends one message, says RSET, and says QUIT. Whether the message was accepted.
    fn use_session(&mut self, event: &Event) -> bool {
        match event {
            Event::BodyRequested { .. } => {
                let mut body = self.connection.body().expect("content is due");
                body.write(b"Subject: test\r\n").expect("there is room");
                self.connection.body().expect("content is due").finish().expect("the content may be sent");
            }
            Event::Completed(report) => {
                let accepted = report.recipients().all(|(_, outcome)| matches!(outcome, Outcome::Accepted(_)));
                if accepted {
                    self.connection.reset().expect("the session is ready");
                }
                return accepted;
            }
            Event::Reply(_) => {
                // Impossible where the reply to RSET ended the session.
                let _ = self.connection.quit();
            }
            _ => {}
        }
        false
    }
}

/// How a session ends up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Mail travels within TLS.
    Secure,
    /// Mail travels in clear.
    Clear,
    /// There is no session.
    None,
}

use End::{Clear, Secure};

/// One of the 57 servers: its name, how it differs from the usual one, and how a session with it ends up where TLS is required,
/// where it is opportunistic, and where it is not wanted.
type Row = (&'static str, fn(&mut Server), [End; 3]);

/// EHLO and STARTTLS are refused; the other replies are tried behind that.
fn no_ehlo(server: &mut Server) {
    server.ehlo = Some("500 what?\r\n");
}

/// The names that some server offered for mechanisms, good and bad.
const ODD_MECHANISMS: &str = "AUTH 0SNET ANONYMOUS APOP ATOKEN CRAM_MD5 CRAM-MD5 CRAM-SHA1 CRYPT DIGEST-MD5 DPLAIN EXTERNAL \
    GSSAPI LOGIN LOGIN1 LOGIN_OLD MD5 MSN NTLM OAUTHBEARER OTP PLAIN PLAIN2 PLAIN-MD5 RPA SCRAM-MD5 SCRAM-SHA-1 \
    SCRAM-SHA-256 SKEY SPA SSL-REQUIRED X-0THROOT XOAUTH XOAUTH2";

/// The set of servers by which STARTTLS is tested in clients (EAST): each reply code where it may be said, replies injected behind
/// the go-ahead, a server without EHLO, and offers that are missing or refused. `starttls-250` is of our own.
const ROWS: [Row; 57] = [
    ("greeting-220", |_| {}, [Secure, Secure, Clear]),
    ("greeting-221", |server| server.greeting = "221 bye\r\n", [Secure, Secure, Clear]),
    ("greeting-354", |server| server.greeting = "354 go on\r\n", [End::None; 3]),
    ("greeting-421", |server| server.greeting = "421 not now\r\n", [End::None; 3]),
    ("greeting-500", |server| server.greeting = "500 what?\r\n", [End::None; 3]),
    ("greeting-501", |server| server.greeting = "501 what?\r\n", [End::None; 3]),
    ("greeting-530", |server| server.greeting = "530 no\r\n", [End::None; 3]),
    ("greeting-554", |server| server.greeting = "554 no\r\n", [End::None; 3]),
    ("ehlo-220", |server| server.ehlo = Some("220 hello\r\n"), [End::None; 3]),
    ("ehlo-221", |server| server.ehlo = Some("221 bye\r\n"), [End::None, Clear, Clear]),
    ("ehlo-250-all", |server| server.offers = ODD_MECHANISMS.into(), [End::None, Clear, Clear]),
    ("ehlo-250-empty", |server| server.offers = String::new(), [End::None, Clear, Clear]),
    ("ehlo-354", |server| server.ehlo = Some("354 go on\r\n"), [End::None; 3]),
    ("ehlo-421", |server| server.ehlo = Some("421 bye\r\n"), [End::None; 3]),
    ("ehlo-500", |server| server.ehlo = Some("500 what?\r\n"), [End::None, Clear, Clear]),
    ("ehlo-501", |server| server.ehlo = Some("501 what?\r\n"), [End::None, Clear, Clear]),
    ("ehlo-502", |server| server.ehlo = Some("502 no\r\n"), [End::None, Clear, Clear]),
    ("ehlo-504", |server| server.ehlo = Some("504 no\r\n"), [End::None, Clear, Clear]),
    ("ehlo-530", |server| server.ehlo = Some("530 no\r\n"), [End::None, Clear, Clear]),
    ("ehlo-550", |server| server.ehlo = Some("550 no\r\n"), [End::None, Clear, Clear]),
    ("ehlo-500-helo-220", |server| (no_ehlo(server), server.helo = "220 hi\r\n").1, [End::None; 3]),
    ("ehlo-500-helo-221", |server| (no_ehlo(server), server.helo = "221 bye\r\n").1, [End::None, Clear, Clear]),
    ("ehlo-500-helo-354", |server| (no_ehlo(server), server.helo = "354 go\r\n").1, [End::None; 3]),
    ("ehlo-500-helo-421", |server| (no_ehlo(server), server.helo = "421 bye\r\n").1, [End::None; 3]),
    ("ehlo-500-helo-500", |server| (no_ehlo(server), server.helo = "500 what?\r\n").1, [End::None; 3]),
    ("ehlo-500-helo-501", |server| (no_ehlo(server), server.helo = "501 what?\r\n").1, [End::None; 3]),
    ("ehlo-500-helo-530", |server| (no_ehlo(server), server.helo = "530 no\r\n").1, [End::None; 3]),
    ("greeting-500-quit-220", |server| (server.greeting, server.quit) = ("500 no\r\n", "220 hi\r\n"), [End::None; 3]),
    ("greeting-500-quit-221", |server| (server.greeting, server.quit) = ("500 no\r\n", "221 bye\r\n"), [End::None; 3]),
    ("greeting-500-quit-354", |server| (server.greeting, server.quit) = ("500 no\r\n", "354 go\r\n"), [End::None; 3]),
    ("greeting-500-quit-421", |server| (server.greeting, server.quit) = ("500 no\r\n", "421 bye\r\n"), [End::None; 3]),
    ("greeting-500-quit-500", |server| (server.greeting, server.quit) = ("500 no\r\n", "500 no\r\n"), [End::None; 3]),
    ("greeting-500-quit-501", |server| (server.greeting, server.quit) = ("500 no\r\n", "501 no\r\n"), [End::None; 3]),
    ("greeting-500-quit-530", |server| (server.greeting, server.quit) = ("500 no\r\n", "530 no\r\n"), [End::None; 3]),
    ("ehlo-500-rset-220", |server| (no_ehlo(server), server.rset = "220 hi\r\n").1, [End::None, Clear, Clear]),
    ("ehlo-500-rset-221", |server| (no_ehlo(server), server.rset = "221 bye\r\n").1, [End::None, Clear, Clear]),
    ("ehlo-500-rset-354", |server| (no_ehlo(server), server.rset = "354 go\r\n").1, [End::None, Clear, Clear]),
    ("ehlo-500-rset-421", |server| (no_ehlo(server), server.rset = "421 bye\r\n").1, [End::None, Clear, Clear]),
    ("ehlo-500-rset-500", |server| (no_ehlo(server), server.rset = "500 no\r\n").1, [End::None, Clear, Clear]),
    ("ehlo-500-rset-501", |server| (no_ehlo(server), server.rset = "501 no\r\n").1, [End::None, Clear, Clear]),
    ("ehlo-500-rset-530", |server| (no_ehlo(server), server.rset = "530 no\r\n").1, [End::None, Clear, Clear]),
    ("starttls-220", |_| {}, [Secure, Secure, Clear]),
    ("starttls-221", |server| server.starttls = "221 bye\r\n", [End::None, Clear, Clear]),
    ("starttls-250", |server| server.starttls = "250 ok\r\n", [End::None, Clear, Clear]),
    ("starttls-354", |server| server.starttls = "354 go on\r\n", [End::None, End::None, Clear]),
    ("starttls-421", |server| server.starttls = "421 bye\r\n", [End::None, End::None, Clear]),
    ("starttls-454", |server| server.starttls = "454 not now\r\n", [End::None, Clear, Clear]),
    ("starttls-500", |server| server.starttls = "500 what?\r\n", [End::None, Clear, Clear]),
    ("starttls-501", |server| server.starttls = "501 what?\r\n", [End::None, Clear, Clear]),
    ("starttls-530", |server| server.starttls = "530 no\r\n", [End::None, Clear, Clear]),
    (
        "B_1: replies behind the go-ahead",
        |server| server.starttls = "220 go\r\n250-example.org\r\n250 AUTH LOGIN\r\n",
        [End::None, End::None, Clear],
    ),
    (
        "D_1: no EHLO",
        |server| (server.ehlo, server.starttls) = (Some("502 no\r\n"), "502 no\r\n"),
        [End::None, Clear, Clear],
    ),
    (
        "O_1: not offered",
        |server| (server.offers, server.starttls) = (String::new(), "502 no\r\n"),
        [End::None, Clear, Clear],
    ),
    ("O_2: offered and not known", |server| server.starttls = "502 no\r\n", [End::None, Clear, Clear]),
    ("O_3: offered and not now", |server| server.starttls = "454 not now\r\n", [End::None, Clear, Clear]),
    ("O_4: something else", |server| server.starttls = "354 do something else\r\n", [End::None, End::None, Clear]),
    (
        "X_1: mechanisms in clear",
        |server| (server.offers, server.starttls) = (ODD_MECHANISMS.into(), "502 no\r\n"),
        [End::None, Clear, Clear],
    ),
];

fn server_of((_, change, _): &Row) -> Server {
    let mut server = Server::new(&["AUTH PLAIN LOGIN"]);
    change(&mut server);
    server
}

fn password() -> Credentials {
    Credentials::password("user", "pencil").unwrap()
}

fn token() -> Credentials {
    Credentials::token("user", "t0ken").unwrap()
}

// S-03, C-143, P-14, S-50, C-120: against each of the 57 servers, with and without credentials and however the replies are cut:
// where TLS is required nothing leaves in clear but EHLO, STARTTLS and QUIT, and mail leaves within TLS or not at all.
#[test]
fn required_tls_against_57_servers() {
    let logins: [fn() -> Option<Credentials>; 3] = [|| None, || Some(password()), || Some(token())];
    for row in &ROWS {
        let (name, _, [expected, ..]) = row;
        for (login, credentials) in logins.iter().enumerate() {
            for piece in [usize::MAX, 1, 7] {
                let mut server = server_of(row);
                server.within = "AUTH PLAIN LOGIN XOAUTH2".into();
                let told = Run { credentials: credentials(), piece, ..Run::new(TlsPolicy::Require) }.at(server);
                for line in told.clear.lines() {
                    assert!(matches!(line, "EHLO client.example" | "STARTTLS" | "QUIT"), "{name}: {line}");
                }
                assert!(told.clear.matches("STARTTLS").count() <= 1);
                assert!(told.closed.is_some(), "{name}");
                match expected {
                    Secure => {
                        assert_eq!(told.setup, Ok(()), "{name}");
                        assert!(told.delivered && told.report.secure, "{name}");
                        assert_eq!(told.report.starttls, StartTls::Done);
                        assert_eq!(told.tried().len(), usize::from(login > 0));
                        assert_eq!(told.connection.is_authenticated(), login > 0);
                        assert!(told.within.starts_with("EHLO client.example\r\n"));
                    }
                    _ => {
                        assert!(told.setup.is_err(), "{name}");
                        assert!(!told.delivered && !told.report.secure);
                        assert_eq!(told.within, "", "{name}");
                    }
                }
            }
        }
    }
}

// C-143: the same servers where TLS is opportunistic: mail goes in clear where TLS cannot be had, for that is what was asked for;
// but a session whose stream was tampered with or that the server has left is none.
#[test]
fn opportunistic_tls_against_57_servers() {
    for row in &ROWS {
        let (name, _, [_, expected, _]) = row;
        for piece in [usize::MAX, 1] {
            let told = Run { piece, ..Run::new(TlsPolicy::Opportunistic) }.at(server_of(row));
            let end = match told.setup {
                Ok(()) if told.within.contains("MAIL") => Secure,
                Ok(()) if told.clear.contains("MAIL") => Clear,
                _ => End::None,
            };
            assert_eq!(end, *expected, "{name}: {:?}", told.setup);
            assert_eq!(told.delivered, end != End::None);
            assert_eq!(told.report.secure, end == Secure);
            assert_eq!(end == Secure, told.report.starttls == StartTls::Done);
            assert!(end != Secure || !told.clear.contains("MAIL"));
        }
    }
}

// C-121, C-143, P-14, S-50: and with a password or a token, opportunistic: what shows it does not leave in clear, whatever the server
// offers there; without anything else to be had there is no session.
#[test]
fn opportunistic_tls_with_credentials_against_57_servers() {
    for row in &ROWS {
        let (name, _, [_, expected, _]) = row;
        for (credentials, scram) in [(password(), true), (token(), false)] {
            let mut server = server_of(row);
            server.within = "AUTH PLAIN LOGIN XOAUTH2".into();
            let offers = server.offers.contains("SCRAM") && server.ehlo.is_none();
            let told = Run { credentials: Some(credentials), ..Run::new(TlsPolicy::Opportunistic) }.at(server);
            let clear = *expected == Clear && offers && scram;
            assert_eq!(told.setup.is_ok(), *expected == Secure || clear, "{name}: {:?}", told.setup);
            assert_eq!(told.delivered, told.setup.is_ok());
            let in_clear: Vec<_> = told.clear.lines().filter(|line| line.starts_with("AUTH")).collect();
            assert_eq!(in_clear.len(), usize::from(clear));
            assert!(in_clear.iter().all(|line| line.starts_with("AUTH SCRAM-SHA-256 ")), "{in_clear:?}");
            assert!(!told.report.password_in_clear);
        }
    }
}

// C-143, C-147: where TLS is not wanted it is not begun, and nothing else changes.
#[test]
fn no_tls_against_57_servers() {
    for row in &ROWS {
        let (name, _, [.., expected]) = row;
        let told = Run::new(TlsPolicy::None).at(server_of(row));
        assert!(!told.clear.contains("STARTTLS"));
        assert_eq!((told.delivered, told.within.as_str()), (*expected == Clear, ""), "{name}");
        assert_eq!(told.report.starttls, StartTls::NotTried);
    }
}

// S-03: the servers are as many as they should be, and all different.
#[test]
fn there_are_57_servers() {
    let mut names: Vec<_> = ROWS.iter().map(|(name, ..)| name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 57);
    let count = |start: &str| ROWS.iter().filter(|(name, ..)| name.starts_with(start)).count();
    let grids = ["greeting-500-quit", "ehlo-500-helo", "ehlo-500-rset", "starttls-", "B_", "D_", "O_", "X_"].map(count);
    assert_eq!(grids, [7, 7, 7, 9, 1, 1, 4, 1]);
    assert_eq!((count("greeting-"), count("ehlo-")), (8 + 7, 12 + 7 + 7));
}

// C-143, S-03: what STARTTLS was refused with is in the failure, a refusal for now may be another time, and QUIT is said.
#[test]
fn refusals_of_starttls() {
    for (reply, code, transient) in [
        ("454 not now\r\n", 454, true),
        ("501 what?\r\n", 501, false),
        ("502 no\r\n", 502, false),
        ("554 no\r\n", 554, false),
        ("530-no\r\n530 no\r\n", 530, false),
    ] {
        for credentials in [None, Some(password())] {
            let server = Server { starttls: reply, ..Server::new(&["AUTH PLAIN"]) };
            let told = Run { credentials, ..Run::new(TlsPolicy::Require) }.at(server);
            let Err(failure @ Failure::TlsRequired { reply: Some(reply), .. }) = &told.setup else {
                panic!("{:?}", told.setup)
            };
            assert_eq!((reply.code().get(), failure.is_transient()), (code, transient));
            assert_eq!(told.report.starttls, StartTls::Refused(reply.clone()));
            assert_eq!(told.clear, "EHLO client.example\r\nSTARTTLS\r\nQUIT\r\n");
            assert_eq!(told.closed, Some(CloseReason::Quit));
        }
    }
    for reply in ["221 bye\r\n", "250 ok\r\n", "299 ok\r\n"] {
        let told = Run::new(TlsPolicy::Require).at(Server { starttls: reply, ..Server::new(&[]) });
        assert!(matches!(told.setup, Err(Failure::TlsRequired { reply: Some(_), .. })), "{reply}");
    }
    // These end the session too, and nothing can be said any more.
    for reply in ["354 go on\r\n", "334 \r\n", "421 bye\r\n"] {
        let told = Run::new(TlsPolicy::Require).at(Server { starttls: reply, ..Server::new(&[]) });
        assert!(matches!(&told.setup, Err(failure) if failure.reply().is_some()), "{reply}: {:?}", told.setup);
        assert_eq!(told.clear, "EHLO client.example\r\nSTARTTLS\r\n");
    }
}

// C-143: what is answered after a refusal is no second refusal.
#[test]
fn a_refusal_is_told_once() {
    let mut setup = Setup::new(TlsPolicy::Opportunistic, None);
    let mut lab = Lab::new(smtp());
    let mut steps = Vec::new();
    for reply in ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "454 not now\r\n", "550 no\r\n"] {
        lab.says();
        lab.hear(reply);
        for event in lab.events() {
            steps.push(setup.advance(&mut lab.connection, &event).unwrap());
        }
        if steps.contains(&Step::Done) && lab.connection.state() == State::Ready {
            let _ = lab.connection.noop();
        }
    }
    assert_eq!(steps, [Step::Continue, Step::Continue, Step::Done, Step::Continue]);
    assert!(matches!(&setup.report().starttls, StartTls::Refused(reply) if reply.code().get() == 454));
}

// S-03: STARTTLS that is not offered, or that somebody wrote over, is told apart from one that was refused.
#[test]
fn offers_that_were_taken_away() {
    for (keywords, suspicious) in [
        (&["XXXXXXXA"][..], true),
        (&["XXXXXXXX"], true),
        (&["SIZE 1000", "XXXXXXXA", "PIPELINING"], true),
        (&[], false),
        (
            &["SIZE 1000", "X-ANYTHING", "XEXCH50", "XXX", "XXXXXXXXX", "AX", "STARTTLSX", "XSTARTTLS", "START TLS"],
            false,
        ),
    ] {
        let told = Run::login(password()).at(Server::new(&[]).offering(keywords));
        assert_eq!(told.setup, Err(Failure::TlsRequired { reply: None, suspicious }));
        assert!(!told.setup.unwrap_err().is_transient());
        assert_eq!(told.report.starttls, StartTls::NotOffered { suspicious });
        assert_eq!(told.clear, "EHLO client.example\r\nQUIT\r\n");
        let told = Run::new(TlsPolicy::Opportunistic).at(Server::new(&[]).offering(keywords));
        assert_eq!(told.report.starttls, StartTls::NotOffered { suspicious });
        assert!(told.delivered && !told.clear.contains("STARTTLS"));
    }
    let told = Run::new(TlsPolicy::Require).at(Server::new(&[]).offering(&["starttls"]));
    assert!(told.delivered && told.report.secure);
}

// C-23, S-03: EHLO that is refused leads to HELO only where nothing is needed that HELO cannot give.
#[test]
fn no_helo_where_extensions_are_a_must() {
    let refusing = || Server { ehlo: Some("502 no\r\n"), ..Server::new(&[]) };
    for (policy, credentials) in [
        (TlsPolicy::Require, None),
        (TlsPolicy::Require, Some(password())),
        (TlsPolicy::Opportunistic, Some(password())),
        (TlsPolicy::None, Some(password())),
    ] {
        let told = Run { credentials, ..Run::new(policy) }.at(refusing());
        assert!(matches!(&told.setup, Err(Failure::Hello(reply)) if reply.code().get() == 502), "{policy:?}");
        assert_eq!(told.clear, "EHLO client.example\r\nQUIT\r\n");
    }
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::None] {
        let told = Run::new(policy).at(refusing());
        assert!(told.delivered && told.clear.starts_with("EHLO client.example\r\nHELO client.example\r\nMAIL"));
    }
    // A driver that leaves HELO on all the same gets no further than that.
    let mut setup = Setup::new(TlsPolicy::Require, Some(password()));
    let mut lab = Lab::new(smtp());
    let mut results = Vec::new();
    for reply in ["220 hi\r\n", "502 no\r\n", "250 hello\r\n"] {
        lab.hear(reply);
        results.extend(lab.events().iter().map(|event| setup.advance(&mut lab.connection, event)));
        assert!(!lab.says().contains("AUTH"));
    }
    assert_eq!(results.last(), Some(&Err(Failure::TlsRequired { reply: None, suspicious: false })));
}

// C-140, S-02: nothing is said between STARTTLS and the handshake, whatever the server offers and whatever is called.
#[test]
fn nothing_behind_starttls() {
    let mut lab = Lab::ready(smtp(), &["STARTTLS", "PIPELINING", "AUTH PLAIN"]);
    lab.connection.starttls().unwrap();
    let tried = |lab: &mut Lab| {
        assert!(lab.connection.begin(transaction(1)).is_err());
        assert!(lab.connection.noop().is_err());
        assert!(lab.connection.starttls().is_err());
        assert!(lab.connection.auth_manual("PLAIN", Some("x".into())).is_err());
        assert!(lab.connection.ehlo().is_err());
        assert!(lab.connection.quit().is_err());
    };
    tried(&mut lab);
    assert_eq!(lab.says(), "STARTTLS\r\n");
    tried(&mut lab);
    lab.hear("220 go\r\n");
    tried(&mut lab);
    assert_eq!(lab.says(), "");
    // It is offered, or it is not said; and where it is done, it is not done again.
    for keywords in [&[][..], &["STARTTLSX"], &["XXXXXXXA"]] {
        let mut lab = Lab::ready(smtp(), keywords);
        assert_eq!(lab.connection.starttls(), Err(UsageError::Missing(Extension::StartTls)));
        assert_eq!(lab.says(), "");
    }
}

// C-144: a handshake that fails ends everything: not an octet more in clear, not even QUIT, and the connection is closed.
#[test]
fn a_failed_handshake_ends_in_silence() {
    for policy in [TlsPolicy::Require, TlsPolicy::Opportunistic] {
        for credentials in [None, Some(password())] {
            let mut setup = Setup::new(policy, credentials);
            let mut lab = Lab::new(smtp());
            let mut upgrade = false;
            for reply in ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n"] {
                lab.hear(reply);
                for event in lab.events() {
                    upgrade |= setup.advance(&mut lab.connection, &event).unwrap() == Step::UpgradeTls;
                }
                lab.says();
            }
            assert!(upgrade);
            // The driver has no TLS to give and drops the stream.
            assert_eq!(lab.connection.quit(), Err(UsageError::Busy));
            lab.connection.handle_eof();
            let events = lab.events();
            assert_eq!(events, [Event::Closed(CloseReason::Eof)]);
            let failure = setup.advance(&mut lab.connection, &events[0]).unwrap_err();
            assert!(matches!(failure, Failure::Disconnected { reason: CloseReason::Eof, .. }));
            assert_eq!(lab.connection.handle_tls_established(), Err(UsageError::NotUpgrading));
            assert_eq!((lab.says().as_str(), lab.connection.is_secure()), ("", false));
            assert!(!setup.report().secure && setup.report().starttls != StartTls::Done);
        }
    }
    // One that takes for ever is over in time.
    let mut lab = Lab::ready(smtp(), &["STARTTLS"]);
    lab.connection.starttls().unwrap();
    lab.says();
    lab.hear("220 go\r\n");
    lab.events();
    lab.pass(Duration::from_secs(301));
    assert_eq!(lab.events(), [Event::Closed(CloseReason::TimedOut(Phase::StartTls))]);
}

// C-149: TLS is active when a handshake was done, and at no moment before; and a go-ahead that comes before STARTTLS has left is none.
#[test]
fn tls_is_seen() {
    let mut lab = Lab::ready(smtp(), &["STARTTLS"]);
    assert!(!lab.connection.is_secure());
    lab.connection.starttls().unwrap();
    assert!(!lab.connection.is_secure());
    assert_eq!(lab.connection.handle_tls_established(), Err(UsageError::NotUpgrading));
    lab.says();
    assert_eq!(lab.connection.handle_tls_established(), Err(UsageError::NotUpgrading));
    lab.hear("220 go\r\n");
    assert!(!lab.connection.is_secure());
    lab.connection.handle_tls_established().unwrap();
    assert!(lab.connection.is_secure());
    assert_eq!(lab.connection.handle_tls_established(), Err(UsageError::NotUpgrading));

    let begun = |replies: &[&str]| {
        let mut setup = Setup::new(TlsPolicy::Require, None);
        let mut lab = Lab::new(smtp());
        let mut last = Ok(Step::Continue);
        for reply in replies {
            lab.says();
            lab.hear(reply);
            for event in lab.events() {
                last = setup.advance(&mut lab.connection, &event);
            }
        }
        assert!(!lab.connection.is_secure());
        last
    };
    let hello = "250-x\r\n250 STARTTLS\r\n";
    assert_eq!(begun(&["220 hi\r\n", hello, "220 go\r\n"]), Ok(Step::UpgradeTls));
    for early in
        [&["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n220 go\r\n"][..], &["220 hi\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n"]]
    {
        let ended = begun(early);
        assert!(matches!(ended, Err(Failure::Disconnected { reason: CloseReason::Unsolicited(_), .. })), "{ended:?}");
    }
}

// C-145: within TLS STARTTLS is not said again, though the server offers it; TLS from the start needs none at all.
#[test]
fn tls_is_begun_once() {
    for policy in [TlsPolicy::Require, TlsPolicy::Opportunistic] {
        let told = Run::new(policy).at(Server::new(&["STARTTLS"]));
        assert!(told.delivered && !told.within.contains("STARTTLS"));
    }
    for policy in [TlsPolicy::Require, TlsPolicy::Opportunistic, TlsPolicy::None] {
        let run = Run { implicit: true, credentials: Some(password()), ..Run::new(policy) };
        let told = run.at(Server::new(&["STARTTLS", "AUTH PLAIN"]));
        assert!(told.delivered && !told.within.contains("STARTTLS"));
        assert_eq!((told.clear.as_str(), told.report.starttls), ("", StartTls::NotNeeded));
        assert_eq!(told.report.mechanism.as_deref(), Some("PLAIN"));
        assert!(told.report.secure && told.report.capabilities_in_clear.is_none());
    }
}

// C-140, C-145: nor is it by hand, and where hellos are the caller's, one has to be said within TLS before anything else.
#[test]
fn hellos_by_hand_around_tls() {
    let mut config = smtp();
    config.automatic_hello = false;
    let mut lab = Lab::new(config);
    lab.hear("220 hi\r\n");
    let hello = |lab: &mut Lab| {
        lab.connection.ehlo().unwrap();
        assert_eq!(lab.says(), "EHLO client.example\r\n");
        lab.hear("250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n");
    };
    hello(&mut lab);
    lab.connection.starttls().unwrap();
    assert_eq!(lab.says(), "STARTTLS\r\n");
    lab.hear("220 go\r\n");
    lab.connection.handle_tls_established().unwrap();
    assert_eq!(lab.says(), "");
    assert!(!lab.connection.can_begin());
    assert_eq!(lab.connection.begin(transaction(1)), Err(UsageError::NeedsHello));
    assert_eq!(lab.connection.auth_manual("PLAIN", None), Err(UsageError::Missing(Extension::Auth)));
    hello(&mut lab);
    assert_eq!(lab.connection.starttls(), Err(UsageError::AlreadySecure));
    assert_eq!(lab.says(), "");
    lab.connection.begin(transaction(1)).unwrap();
}

// C-120, C-121, C-143, S-03: a hello that is left to the caller is said all the same where TLS or a login has to come before mail,
// and otherwise ends the setup.
#[test]
fn a_hello_by_hand_is_no_way_around_tls() {
    let run = |policy, credentials| Run { hello_by_hand: true, credentials, ..Run::new(policy) };
    for login in [None, Some(password())] {
        let authenticated = login.is_some();
        let told = run(TlsPolicy::Require, login).at(Server::new(&["AUTH PLAIN"]));
        assert!(told.delivered && told.clear == "EHLO client.example\r\nSTARTTLS\r\n");
        assert_eq!(told.connection.is_authenticated(), authenticated);
    }
    let told = run(TlsPolicy::Require, None).at(Server::new(&[]).offering(&[]));
    assert_eq!(told.setup, Err(Failure::TlsRequired { reply: None, suspicious: false }));
    let told = run(TlsPolicy::Opportunistic, None).at(Server::new(&[]));
    assert!(told.delivered && told.report.secure);
    let told = run(TlsPolicy::None, Some(password())).at(Server::new(&[]).offering(&["AUTH CRAM-MD5"]));
    assert!(told.delivered && told.connection.is_authenticated());
    // Nothing to do: the session is the caller's from the greeting on, in clear and within TLS.
    for (policy, security) in [(TlsPolicy::None, Security::Plaintext), (TlsPolicy::Require, Security::Tls)] {
        let mut setup = Setup::new(policy, None);
        let mut config = smtp();
        config.automatic_hello = false;
        setup.configure(&mut config, security);
        let mut connection = Connection::new(config, security);
        connection.handle_input(b"220 hi\r\n", Time::default());
        let event = connection.poll_event().unwrap();
        assert_eq!(setup.advance(&mut connection, &event), Ok(Step::Done));
        assert_eq!(setup.report().secure, security == Security::Tls);
        connection.ehlo().unwrap();
    }
}

// S-50, C-120: the report names the mechanism that has authenticated the session, and none before it has.
#[test]
fn nothing_is_reported_before_it_is_so() {
    let mut setup = Setup::new(TlsPolicy::None, Some(password())).choice(|choice| choice.danger_in_clear = true);
    let mut config = smtp();
    setup.configure(&mut config, Security::Plaintext);
    let mut lab = Lab::new(config);
    for reply in ["220 hi\r\n", "250-x\r\n250 AUTH LOGIN\r\n"] {
        lab.says();
        lab.hear(reply);
        for event in lab.events() {
            setup.advance(&mut lab.connection, &event).unwrap();
        }
    }
    lab.connection.handle_eof();
    for event in lab.events() {
        assert!(setup.advance(&mut lab.connection, &event).is_err());
    }
    assert_eq!((setup.report().mechanism.as_deref(), setup.report().password_in_clear), (None, false));
}

// C-143: whether it helps to try again is the server's refusal of TLS to say, also where it is only the credentials that need TLS.
#[test]
fn refusals_of_tls_and_trying_again() {
    for (starttls, transient) in [("454 not now\r\n", true), ("502 no\r\n", false), ("250 ok\r\n", false)] {
        for policy in [TlsPolicy::Require, TlsPolicy::Opportunistic] {
            let mut server = Server::new(&["AUTH PLAIN"]);
            server.starttls = starttls;
            let failure = Run { credentials: Some(password()), ..Run::new(policy) }.at(server).setup.unwrap_err();
            assert!(matches!(failure, Failure::TlsRequired { reply: Some(_), suspicious: false }), "{failure}");
            assert_eq!(failure.is_transient(), transient, "{starttls:?}");
        }
    }
    let mut server = Server::new(&[]);
    server.starttls = "220 go\r\n250 ok\r\n";
    let failure = Run::new(TlsPolicy::Require).at(server).setup.unwrap_err();
    assert!(!failure.is_transient(), "{failure}");
    let failure = Run::new(TlsPolicy::Require).at(Server::new(&[]).offering(&["XXXXXXXX"])).setup.unwrap_err();
    assert_eq!(failure, Failure::TlsRequired { reply: None, suspicious: true });
}

// C-120, S-03: who does not configure the connection by the setup gets no session without what the setup is for.
#[test]
fn a_setup_that_did_not_configure_fails_closed() {
    for (policy, credentials) in [(TlsPolicy::Require, None), (TlsPolicy::None, Some(password()))] {
        let mut setup = Setup::new(policy, credentials);
        let mut config = smtp();
        config.automatic_hello = false;
        let mut lab = Lab::new(config);
        lab.hear("220 hi\r\n");
        let event = lab.events().remove(0);
        let failure = setup.advance(&mut lab.connection, &event).unwrap_err();
        assert_eq!(failure, Failure::Usage(UsageError::NeedsHello));
        assert_eq!(lab.says(), "QUIT\r\n");
    }
}

// C-143, S-03: a driver that nobody brings within TLS finds out before a word is said.
#[test]
fn a_stream_that_nobody_upgrades() {
    let connection = |security| Connection::new(smtp(), security);
    let clear = connection(Security::Plaintext);
    let required = Setup::new(TlsPolicy::Require, None).without_upgrade(&clear);
    assert!(matches!(required, Err(UsageError::NobodyUpgrades)));
    assert!(Setup::new(TlsPolicy::Require, None).without_upgrade(&connection(Security::Tls)).is_ok());
    let mut setup = Setup::new(TlsPolicy::Opportunistic, None).without_upgrade(&clear).unwrap();
    let mut lab = Lab::new(smtp());
    for reply in ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n"] {
        lab.says();
        lab.hear(reply);
    }
    let last = lab.events().iter().map(|event| setup.advance(&mut lab.connection, event)).last();
    assert_eq!(last, Some(Ok(Step::Done)));
    assert_eq!(lab.says(), "");
}

// C-146: no greeting is awaited within TLS: one that comes before EHLO has left is nobody's reply, and one that comes behind it offers
// nothing and leaves a reply too many. Neither gets to hear a password.
#[test]
fn a_greeting_within_tls() {
    for left in [false, true] {
        let mut setup = Setup::new(TlsPolicy::Require, Some(password()));
        let mut lab = Lab::new(smtp());
        let mut last = Ok(Step::Continue);
        let mut advance = |lab: &mut Lab| {
            for event in lab.events() {
                last = setup.advance(&mut lab.connection, &event);
            }
            last.clone()
        };
        for reply in ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n"] {
            lab.says();
            lab.hear(reply);
            advance(&mut lab).unwrap();
        }
        lab.connection.handle_tls_established().unwrap();
        if left {
            assert_eq!(lab.says(), "EHLO client.example\r\n");
        }
        lab.hear("220 hi again\r\n250-x\r\n250 AUTH PLAIN\r\n");
        let ended = advance(&mut lab);
        assert!(ended.is_err(), "{ended:?}");
        assert!(matches!(lab.connection.close_reason(), Some(CloseReason::Unsolicited(_))));
        assert_eq!(lab.says(), "");
    }
}

// C-147: nothing but TLS is a default where it matters, opportunistic is none anywhere, and no mode turns into another.
#[test]
fn defaults_of_tls() {
    assert_eq!(TlsPolicy::default(), TlsPolicy::Require);
    assert_eq!(TlsMode::default_for(465, false), TlsMode::Implicit);
    assert_eq!(TlsMode::default_for(465, true), TlsMode::Implicit);
    assert_eq!(TlsMode::default_for(587, false), TlsMode::StartTls);
    assert_eq!(TlsMode::default_for(587, true), TlsMode::StartTls);
    for port in (0..=u16::MAX).filter(|port| !matches!(port, 465 | 587)) {
        assert_eq!(TlsMode::default_for(port, true), TlsMode::StartTls);
        assert_eq!(TlsMode::default_for(port, false), TlsMode::None);
    }
    assert_eq!(TlsMode::Implicit.policy(), TlsPolicy::Require);
    assert_eq!(TlsMode::StartTls.policy(), TlsPolicy::Require);
    assert_eq!(TlsMode::Opportunistic.policy(), TlsPolicy::Opportunistic);
    assert_eq!(TlsMode::None.policy(), TlsPolicy::None);
}

// S-01, C-142: replies behind the go-ahead, however many octets and however cut, end the session; what the server offers afterwards is
// only what it says within TLS.
#[test]
fn replies_behind_the_go_ahead() {
    for starttls in [
        "220 go\r\n250-EVIL\r\n250 AUTH PLAIN\r\n",
        "220 go\r\n250-SMTPUTF8 X ",
        "220 go\r\n2",
        "220 go\r\n\r\n",
        "220 go\r\n\r",
        "220 go\r\n\0",
        "220-go\r\n220 on\r\n250 x\r\n",
        "220 go\n250 x\n",
    ] {
        for policy in [TlsPolicy::Require, TlsPolicy::Opportunistic] {
            for piece in 1..=starttls.len() {
                let server = Server { starttls, ..Server::new(&["AUTH PLAIN"]) };
                let told = Run { piece, credentials: Some(password()), ..Run::new(policy) }.at(server);
                assert!(told.setup.is_err(), "{starttls:?} {piece}");
                assert_eq!((told.clear.as_str(), told.within.as_str()), ("EHLO client.example\r\nSTARTTLS\r\n", ""));
            }
        }
    }
    // A go-ahead of several lines, the last of them late, is one go-ahead.
    for piece in [usize::MAX, 1, 5] {
        let server = Server { starttls: "220-go\r\n220-on\r\n220 now\r\n", ..Server::new(&["SIZE 5"]) };
        let told = Run { piece, ..Run::new(TlsPolicy::Require) }.at(server);
        assert!(told.delivered);
        assert_eq!(told.report.capabilities.iter().collect::<Vec<_>>(), [("SIZE", "5"), ("HELP", "")]);
    }
}

// C-141, S-05, P-13: whatever the server says before TLS, as long as it ends in the same go-ahead, everything after it is the same.
#[test]
fn nothing_from_before_tls_has_an_effect_within() {
    let greetings = ["220 hi\r\n", "220-many\r\n220-lines\r\n220 hi\r\n", "299 \u{1b}[2J\r\n", "220\r\n", "220 x\n"];
    let offers: &[&[&str]] = &[
        &["STARTTLS"],
        &["starttls", "AUTH SCRAM-SHA-512-PLUS SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"],
        &["STARTTLS", "PIPELINING", "SIZE 1", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME", "DSN", "REQUIRETLS"],
        &["AUTH=LOGIN", "STARTTLS", "LIMITS MAILMAX=1 RCPTMAX=1", "X\u{e9}", "-", ""],
        &[
            "STARTTLS",
            "X-FILLER aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ],
    ];
    let within: &[(&[&str], Option<Credentials>)] = &[
        (&[], None),
        (&["SIZE 100", "PIPELINING"], None),
        (&["AUTH PLAIN"], Some(password())),
        (&["AUTH SCRAM-SHA-256 PLAIN"], Some(password())),
        (&["AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256"], Some(password())),
        (&["AUTH XOAUTH2"], Some(token())),
        (&["SIZE 100"], Some(password())),
    ];
    for (within, credentials) in within {
        let mut usual: Option<(String, Vec<String>, String)> = None;
        for greeting in greetings {
            for offers in offers {
                for starttls in ["220 go\r\n", "220-it\r\n220 is\r\n", "220\r\n", "220 AUTH PLAIN\r\n"] {
                    for piece in [usize::MAX, 1] {
                        let server = Server { greeting, starttls, ..Server::new(within).offering(offers) };
                        let run = Run {
                            credentials: credentials.clone(),
                            piece,
                            bindings: client_bindings(),
                            ..Run::new(TlsPolicy::Require)
                        };
                        let told = run.at(server);
                        let upgraded =
                            told.events.iter().position(|event| event == "UpgradeTls").expect("TLS was begun");
                        let mut report = told.report;
                        assert!(report.capabilities_in_clear.take().is_some());
                        let after = (
                            told.within,
                            told.events[upgraded..].to_vec(),
                            format!("{:?} {report:?} {:?}", told.setup, told.closed),
                        );
                        assert_eq!(usual.get_or_insert_with(|| after.clone()), &after, "{greeting:?} {offers:?}");
                    }
                }
            }
        }
    }
}

// S-06: a session in clear that becomes one within TLS keeps nothing: no login, no hello, no transaction, no offer.
#[test]
fn an_upgrade_keeps_nothing_of_the_session() {
    let mut lab = Lab::ready(smtp(), &["STARTTLS", "PIPELINING", "AUTH ANONYMOUS"]);
    lab.connection.begin(transaction(1)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    lab.pours(b"x\r\n");
    lab.hear("250 queued\r\n");
    let mut choice = Choice::default();
    choice.only = Some("ANONYMOUS".into());
    let credentials = Credentials::anonymous("").unwrap();
    let mechanism = smtp_proto::sasl::choose(&credentials, lab.connection.capabilities(), &choice).unwrap();
    lab.connection.auth(mechanism).unwrap();
    lab.says();
    lab.hear("235 ok\r\n");
    assert!(lab.connection.is_authenticated());
    lab.connection.mail(transaction(0)).unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    assert_eq!(lab.connection.starttls(), Err(UsageError::Busy), "not within a transaction");
    lab.connection.reset().unwrap();
    lab.says();
    lab.hear("250 ok\r\n");
    lab.events();

    lab.connection.starttls().unwrap();
    lab.says();
    lab.hear("220 go\r\n");
    lab.connection.handle_tls_established().unwrap();
    assert!(!lab.connection.is_authenticated());
    assert_eq!(lab.connection.capabilities().iter().count(), 0);
    assert!(!lab.connection.can_begin() && lab.connection.transaction().is_none());
    assert_eq!(lab.says(), "EHLO client.example\r\n");
    lab.hear("250-x\r\n250 AUTH ANONYMOUS\r\n");
    lab.connection.auth_manual("ANONYMOUS", None).unwrap();
}

// S-07, S-63: what the server says of itself is shown without its control characters and cut, wherever it ends up in a failure.
#[test]
fn server_text_is_shown_escaped_and_cut() {
    let hostile = format!("\u{1b}[31mYour password has expired\u{202e}{}\r\n", "x".repeat(1_500));
    let leak = |text: String| -> &'static str { text.leak() };
    let servers = [
        Server { greeting: leak(format!("554 {hostile}")), ..Server::new(&[]) },
        Server { greeting: leak(format!("421 {hostile}")), ..Server::new(&[]) },
        Server { ehlo: Some(leak(format!("550 {hostile}"))), ..Server::new(&[]) },
        Server { starttls: leak(format!("454 {hostile}")), ..Server::new(&[]) },
        Server { starttls: leak(format!("421 {hostile}")), ..Server::new(&[]) },
        Server { starttls: leak(format!("354 {hostile}")), ..Server::new(&[]) },
        Server::new(&[leak(format!("AUTH X {hostile}"))]),
    ];
    for server in servers {
        let told = Run::login(password()).at(server);
        let failure = told.setup.unwrap_err();
        for shown in [failure.to_string(), format!("{failure:?}")] {
            assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown}");
            assert!(shown.len() < 1_000, "{}", shown.len());
        }
        let shown = format!("{:?}", told.events);
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown}");
    }
}

// C-119, S-51: strongest first; only 504 and 534 lead to the next mechanism, and what was left behind is not tried again.
#[test]
fn mechanisms_after_504_and_534() {
    let all = || {
        let mut server = Server::new(&[&format!("AUTH {}", MECHANISMS.join(" "))]);
        server.refuses = MECHANISMS.map(|name| (name, 504)).to_vec();
        server
    };
    let told = Run { bindings: client_bindings(), ..Run::login(password()) }.at(all());
    assert_eq!(told.tried(), MECHANISMS[..9]);
    assert_eq!(told.auth_failure(), (AuthFailureKind::Unsupported, 504));
    assert_eq!(told.closed, Some(CloseReason::Quit));
    assert_eq!(told.report.mechanism, None);
    let told = Run::login(password()).at(all());
    assert_eq!(told.tried(), MECHANISMS[3..9]);
    let told = Run::login(token()).at(all());
    assert_eq!(told.tried(), ["OAUTHBEARER", "XOAUTH2"]);
    let told = Run::login(Credentials::external()).at(all());
    assert_eq!(told.tried(), ["EXTERNAL"]);

    for code in [504, 534] {
        for refused in 1..6 {
            let mut server = Server::new(&[&format!("AUTH {}", MECHANISMS.join(" "))]);
            server.refuses = MECHANISMS[3..][..refused].iter().map(|&name| (name, code)).collect();
            let told = Run::login(password()).at(server);
            assert_eq!(told.tried(), MECHANISMS[3..=3 + refused]);
            assert!(told.delivered && told.connection.is_authenticated());
            assert_eq!(told.report.mechanism.as_deref(), Some(MECHANISMS[3 + refused]));
        }
    }
}

// C-118, C-119, S-51: any other refusal ends it after one attempt, forged or not.
#[test]
fn no_second_attempt_after_other_refusals() {
    for (code, kind) in [
        (535, AuthFailureKind::Credentials),
        (454, AuthFailureKind::Temporary),
        (432, AuthFailureKind::PasswordTransition),
        (500, AuthFailureKind::LineTooLong),
        (501, AuthFailureKind::Other),
        (503, AuthFailureKind::Other),
        (530, AuthFailureKind::Other),
        (538, AuthFailureKind::NeedsTls),
        (550, AuthFailureKind::Other),
        (250, AuthFailureKind::Other),
        (421, AuthFailureKind::Temporary),
        (354, AuthFailureKind::Other),
    ] {
        for offered in [&MECHANISMS[3..9], &["PLAIN", "LOGIN"]] {
            let mut server = Server::new(&[&format!("AUTH {}", offered.join(" "))]);
            server.refuses = vec![(offered[0], code)];
            let told = Run::login(password()).at(server);
            assert_eq!(told.tried(), offered[..1]);
            assert_eq!(told.auth_failure(), (kind, code));
            assert_eq!(told.setup.unwrap_err().is_transient(), kind == AuthFailureKind::Temporary);
            assert!(!told.within.contains("MAIL"));
            assert_eq!(told.within.ends_with("QUIT\r\n"), !matches!(code, 421 | 354), "{}", told.within);
        }
    }
    let wrong = Credentials::password("user", "wrong").unwrap();
    let told = Run::login(wrong).at(Server::new(&[&format!("AUTH {}", MECHANISMS.join(" "))]));
    assert_eq!(told.tried(), ["SCRAM-SHA-512"]);
    assert_eq!(told.auth_failure().0, AuthFailureKind::Credentials);
}

// C-116, C-119, S-51, S-52: SCRAM that this side gave up, or whose server did not prove itself, does not lead to a password in clear
// text.
#[test]
fn scram_given_up_is_not_followed_by_a_weaker_mechanism() {
    for trick in [
        Trick::ServerFirst("r={nonce}x,s=QUJD,i=1".into()),
        Trick::ServerFirst("r=other,s=QUJD,i=4096".into()),
        Trick::ServerFirst(String::new()),
        Trick::WrongSignature,
        Trick::NoSignature,
        Trick::EarlySuccess,
        Trick::Endless,
        Trick::ServerFinal("e=unsupported-channel-binding-type".into()),
    ] {
        let mut server = Server::new(&["AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN"]);
        server.sasl.account.trick = trick.clone();
        let told = Run::login(password()).at(server);
        assert_eq!(told.tried(), ["SCRAM-SHA-256"], "{trick:?}");
        let refused = matches!(&trick, Trick::ServerFinal(last) if last.starts_with("e="));
        let kind = if refused { AuthFailureKind::Credentials } else { AuthFailureKind::Local };
        assert_eq!(told.auth_failure().0, kind, "{trick:?}");
        assert!(!told.within.contains("MAIL"));
        let ended = if told.closed == Some(CloseReason::ServerUnproven) { "" } else { "QUIT\r\n" };
        assert!(told.within.ends_with(ended));
    }
}

// C-120, P-14: credentials and no way to use them is a failure, never a session without a login; QUIT is said and no mail.
#[test]
fn credentials_that_cannot_be_used() {
    for (within, offered) in [
        (&[][..], "none"),
        (&["AUTH"], "none"),
        (&["AUTH GSSAPI NTLM"], "GSSAPI NTLM"),
        (&["AUTH XOAUTH2"], "XOAUTH2"),
        (&["XAUTH PLAIN"], "none"),
    ] {
        let told = Run::login(password()).at(Server::new(within));
        assert_eq!(told.choose_error(), &ChooseError::NotOffered { offered: offered.into() });
        assert_eq!(told.within, "EHLO client.example\r\nQUIT\r\n");
        assert_eq!(told.closed, Some(CloseReason::Quit));
    }
    // Offered in clear only, and gone within TLS.
    let told = Run::login(password()).at(Server::new(&["SIZE 5"]).offering(&["STARTTLS", "AUTH PLAIN"]));
    assert!(matches!(told.choose_error(), ChooseError::NotOffered { .. }));
    let told = Run::login(Credentials::password("user", "bell\u{7}").unwrap()).at(Server::new(&["AUTH SCRAM-SHA-1"]));
    assert_eq!(told.choose_error(), &ChooseError::Credentials(SaslError::Prohibited));
    assert!(told.tried().is_empty());
}

// C-120: a server may offer AUTH within TLS only, and no longer once it was used.
#[test]
fn auth_within_tls_only() {
    let told = Run::login(password()).at(Server::new(&["AUTH PLAIN"]));
    assert!(told.delivered && told.connection.is_authenticated());
    let mut lab_setup = Setup::new(TlsPolicy::Require, Some(password()));
    let mut lab = Lab::new(smtp());
    let mut last = None;
    let hello_without_auth = "250-x\r\n250 SIZE 5\r\n";
    for reply in ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n", "250-x\r\n250 AUTH PLAIN\r\n", "235 ok\r\n"]
    {
        lab.says();
        lab.hear(reply);
        for event in lab.events() {
            let step = lab_setup.advance(&mut lab.connection, &event).unwrap();
            if step == Step::UpgradeTls {
                lab.connection.handle_tls_established().unwrap();
            }
            last = Some(step);
        }
    }
    assert_eq!(last, Some(Step::Done));
    lab.connection.ehlo().unwrap();
    lab.says();
    lab.hear(hello_without_auth);
    for event in lab.events() {
        assert!(matches!(lab_setup.advance(&mut lab.connection, &event), Ok(Step::Continue | Step::Done)));
    }
    assert!(lab.connection.is_authenticated());
    assert_eq!(lab.says(), "", "no second login");
}

// C-127, C-128: where both sides can, the login is bound to the TLS connection, and the report says by what.
#[test]
fn logins_are_bound_to_tls_where_they_can_be() {
    let offered = &["AUTH SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS PLAIN"];
    let told = Run { bindings: client_bindings(), ..Run::login(password()) }.at(Server::new(offered));
    assert_eq!(told.tried(), ["SCRAM-SHA-256-PLUS"]);
    assert!(told.delivered && told.connection.is_authenticated());
    assert_eq!(told.report.mechanism.as_deref(), Some("SCRAM-SHA-256-PLUS"));
    assert_eq!(told.report.channel_binding, Some("tls-exporter"));
    let mut by_certificate = ChannelBindings::default();
    by_certificate.tls_server_end_point = Some(vec![0xc3; 32]);
    let told = Run { bindings: by_certificate, ..Run::login(password()) }.at(Server::new(offered));
    assert_eq!(told.report.channel_binding, Some("tls-server-end-point"));
    // Somebody in the middle has another TLS connection to each side.
    let mut in_the_middle = Server::new(offered);
    in_the_middle.sasl.account.bindings = vec![("tls-exporter", vec![0x77; 32])];
    let told = Run { bindings: client_bindings(), ..Run::login(password()) }.at(in_the_middle);
    assert_eq!(told.auth_failure().0, AuthFailureKind::Credentials);
    assert_eq!(told.tried(), ["SCRAM-SHA-256-PLUS"]);
    // Without bindings nothing can be bound.
    let told = Run::login(password()).at(Server::new(offered));
    assert_eq!((told.tried(), told.report.channel_binding), (vec!["SCRAM-SHA-256"], None));
}

/// The header of the first SCRAM message.
fn gs2_header(told: &Told) -> String {
    let line = told.within.lines().find(|line| line.starts_with("AUTH SCRAM")).expect("SCRAM was tried");
    let message = BASE64_STANDARD.decode(line.split(' ').nth(2).unwrap()).unwrap();
    let message = String::from_utf8(message).unwrap();
    message.split("n=").next().unwrap().to_owned()
}

// C-127, S-51: a server whose -PLUS somebody took away learns of it, and refuses; a server that has none is served without; a caller
// that insists on a binding gets one or a failure, and nothing is sent.
#[test]
fn bindings_that_were_taken_away() {
    let shortened = &["AUTH SCRAM-SHA-256 PLAIN"];
    let mut honest = Server::new(shortened);
    honest.sasl.account.offered = vec!["SCRAM-SHA-256-PLUS".into(), "SCRAM-SHA-256".into()];
    let told = Run { bindings: client_bindings(), ..Run::login(password()) }.at(honest);
    assert_eq!(gs2_header(&told), "y,,");
    assert_eq!(told.auth_failure(), (AuthFailureKind::Credentials, 535));
    assert_eq!(told.tried(), ["SCRAM-SHA-256"]);

    let mut without = Server::new(shortened);
    without.sasl.account.offered = vec!["SCRAM-SHA-256".into()];
    let told = Run { bindings: client_bindings(), ..Run::login(password()) }.at(without.clone());
    assert_eq!(gs2_header(&told), "y,,");
    assert!(told.delivered && told.connection.is_authenticated());
    let told = Run::login(password()).at(without);
    assert_eq!(gs2_header(&told), "n,,");

    // Refused although it was offered: as if it had not been, and whoever did that is found out. Passed over at the caller's
    // wish: the truth is that this side does not.
    let mut refusing = Server::new(&["AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN"]);
    refusing.refuses = vec![("SCRAM-SHA-256-PLUS", 504)];
    refusing.sasl.account.offered = vec!["SCRAM-SHA-256-PLUS".into(), "SCRAM-SHA-256".into()];
    let told = Run { bindings: client_bindings(), ..Run::login(password()) }.at(refusing.clone());
    assert_eq!(told.tried(), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    assert_eq!(told.auth_failure(), (AuthFailureKind::Credentials, 535));
    let unbound: fn(&mut Choice) = |choice| {
        choice.iterations.least = FEW;
        choice.without = vec!["SCRAM-SHA-256-PLUS".into()];
    };
    let told = Run { bindings: client_bindings(), choice: unbound, ..Run::login(password()) }.at(refusing);
    assert_eq!((gs2_header(&told).as_str(), told.delivered), ("n,,", true));

    let insisting: fn(&mut Choice) = |choice| {
        choice.iterations.least = FEW;
        choice.require_binding = true;
    };
    for offered in [&["AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"][..], &["AUTH PLAIN"], &[]] {
        let told =
            Run { bindings: client_bindings(), choice: insisting, ..Run::login(password()) }.at(Server::new(offered));
        assert!(matches!(told.choose_error(), ChooseError::NotOffered { .. }));
        assert_eq!(told.within, "EHLO client.example\r\nQUIT\r\n");
    }
    let all = &[&*format!("AUTH {}", MECHANISMS.join(" "))];
    let told = Run { choice: insisting, ..Run::login(password()) }.at(Server::new(all));
    assert!(told.tried().is_empty() && told.setup.is_err(), "there is nothing to bind to");
    let told = Run { bindings: client_bindings(), choice: insisting, ..Run::login(password()) }.at(Server::new(all));
    assert_eq!(told.report.channel_binding, Some("tls-exporter"));
    let mut refusing = Server::new(all);
    refusing.refuses = MECHANISMS.map(|name| (name, 504)).to_vec();
    let told = Run { bindings: client_bindings(), choice: insisting, ..Run::login(password()) }.at(refusing);
    assert_eq!(told.tried(), MECHANISMS[..3]);
}

// C-126: each attempt of a session has a nonce of its own; without randomness SCRAM is not used.
#[test]
fn attempts_have_nonces_of_their_own() {
    let mut server = Server::new(&["AUTH SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1"]);
    server.refuses = vec![("SCRAM-SHA-512", 504), ("SCRAM-SHA-256", 504)];
    let told = Run::login(password()).at(server);
    let mut nonces: Vec<_> = told
        .within
        .lines()
        .filter(|line| line.starts_with("AUTH"))
        .map(|line| {
            let message = BASE64_STANDARD.decode(line.split(' ').nth(2).unwrap()).unwrap();
            String::from_utf8(message).unwrap().split("r=").nth(1).unwrap().to_owned()
        })
        .collect();
    assert_eq!(nonces.len(), 3);
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 3);
    assert!(nonces.iter().all(|nonce| BASE64_STANDARD.decode(nonce).unwrap().len() >= 18));

    let mut setup = Setup::new(TlsPolicy::None, Some(password()));
    let mut lab = Lab::new(smtp());
    for reply in ["220 hi\r\n", "250-x\r\n250 AUTH SCRAM-SHA-256 CRAM-MD5\r\n"] {
        lab.says();
        lab.hear(reply);
        for event in lab.events() {
            setup.advance(&mut lab.connection, &event).unwrap();
        }
    }
    assert_eq!(lab.says(), "AUTH CRAM-MD5\r\n");
}

/// A token source that gives these in turn, and a count of how often it was asked.
fn source(tokens: &'static [Option<&'static str>]) -> (Credentials, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let next = move || tokens[count.fetch_add(1, Ordering::Relaxed)].map(Secret::from);
    (Credentials::token_source("user", next).unwrap(), asked)
}

// C-118, C-129: after a refused token the source is asked once more, and only once; not after another failure.
#[test]
fn token_sources_are_asked_once_more() {
    for offered in ["AUTH OAUTHBEARER", "AUTH XOAUTH2"] {
        for (tokens, asked_for, right) in [
            (&[Some("t0ken")][..], 1, true),
            (&[Some("stale"), Some("t0ken")], 2, true),
            (&[Some("stale"), Some("stale")], 2, false),
            (&[Some("stale"), None], 2, false),
            (&[None], 1, false),
        ] {
            let (credentials, asked) = source(tokens);
            let told = Run::login(credentials).at(Server::new(&[offered]));
            assert_eq!(asked.load(Ordering::Relaxed), asked_for);
            assert_eq!(told.delivered, right, "{tokens:?}: {:?}", told.setup);
            assert_eq!(told.tried().len(), tokens.iter().flatten().count());
        }
        for code in [454, 534, 501, 421] {
            let (credentials, asked) = source(&[Some("t0ken"), Some("t0ken")]);
            let mut server = Server::new(&[offered]);
            server.refuses = vec![(offered.split(' ').nth(1).unwrap(), code)];
            let told = Run::login(credentials).at(server);
            assert_eq!((asked.load(Ordering::Relaxed), told.auth_failure().1), (1, code));
        }
    }
}

// C-149: the report says what the server offered before and within TLS, what came and what went.
#[test]
fn the_report_compares_offers() {
    let server = Server::new(&["SIZE 2000", "AUTH PLAIN", "8BITMIME"]).offering(&["SIZE 1000", "STARTTLS", "8bitmime"]);
    let told = Run::login(password()).at(server);
    let report = &told.report;
    let in_clear = report.capabilities_in_clear.as_ref().unwrap();
    assert!(in_clear.supports(Extension::StartTls) && !in_clear.supports(Extension::Auth));
    assert!(!report.capabilities.supports(Extension::StartTls) && report.capabilities.supports(Extension::Auth));
    assert_eq!(report.gained().collect::<Vec<_>>(), [("SIZE", "2000"), ("AUTH", "PLAIN")]);
    assert_eq!(report.lost().collect::<Vec<_>>(), [("SIZE", "1000"), ("STARTTLS", "")]);
    assert_eq!((report.mechanism.as_deref(), report.password_in_clear), (Some("PLAIN"), false));
    assert_eq!(report.starttls, StartTls::Done);

    let told = Run::new(TlsPolicy::None).at(Server::new(&[]).offering(&["SIZE 1000"]));
    assert_eq!((told.report.gained().count(), told.report.lost().count()), (0, 0));
    assert!(told.report.capabilities.has("SIZE") && told.report.capabilities_in_clear.is_none());
}

// C-121, S-50: a password in clear is sent only by who accepts the danger by name, and then the report says that it was.
#[test]
fn a_password_in_clear_is_reported() {
    let accepting: fn(&mut Choice) = |choice| {
        choice.iterations.least = FEW;
        choice.danger_in_clear = true;
    };
    let cautious: fn(&mut Choice) = |choice| choice.iterations.least = FEW;
    for (policy, choice, offered, credentials, mechanism) in [
        (TlsPolicy::None, accepting, "AUTH PLAIN", password(), Some("PLAIN")),
        (TlsPolicy::None, accepting, "AUTH LOGIN", password(), Some("LOGIN")),
        (TlsPolicy::None, accepting, "AUTH XOAUTH2", token(), Some("XOAUTH2")),
        (TlsPolicy::Opportunistic, accepting, "AUTH PLAIN", password(), Some("PLAIN")),
        (TlsPolicy::None, accepting, "AUTH SCRAM-SHA-1 PLAIN", password(), Some("SCRAM-SHA-1")),
        (TlsPolicy::None, cautious, "AUTH PLAIN CRAM-MD5", password(), Some("CRAM-MD5")),
        (TlsPolicy::None, cautious, "AUTH PLAIN LOGIN", password(), None),
        (TlsPolicy::Opportunistic, cautious, "AUTH PLAIN LOGIN", password(), None),
        (TlsPolicy::None, cautious, "AUTH OAUTHBEARER XOAUTH2", token(), None),
        (TlsPolicy::Require, accepting, "AUTH PLAIN", password(), None),
    ] {
        let run = Run { credentials: Some(credentials), choice, ..Run::new(policy) };
        let told = run.at(Server::new(&[]).offering(&[offered]));
        assert_eq!(told.report.mechanism.as_deref(), mechanism, "{offered}");
        assert_eq!(told.delivered, mechanism.is_some());
        let shows = matches!(mechanism, Some("PLAIN" | "LOGIN" | "XOAUTH2"));
        assert_eq!(told.report.password_in_clear, shows, "{offered}");
        if mechanism.is_none() {
            assert!(told.tried().is_empty());
            let failure = match policy {
                TlsPolicy::Require => Failure::TlsRequired { reply: None, suspicious: false },
                _ => Failure::NoMechanism(ChooseError::NeedsTls),
            };
            assert_eq!(told.setup.as_ref().err(), Some(&failure));
        }
    }
    // A mechanism that was refused before it had said anything has shown nothing.
    for (offered, shows) in [("AUTH LOGIN", false), ("AUTH PLAIN", true)] {
        let mut server = Server::new(&[]).offering(&[offered]);
        server.refuses = vec![("LOGIN", 504), ("PLAIN", 504)];
        let run = Run { credentials: Some(password()), choice: accepting, ..Run::new(TlsPolicy::None) };
        assert_eq!(run.at(server).report.password_in_clear, shows, "{offered}");
    }
    // The connection's configuration may accept the danger as well.
    let mut setup = Setup::new(TlsPolicy::None, Some(password()));
    let mut config = smtp();
    config.danger_password_in_clear = true;
    setup.configure(&mut config, Security::Plaintext);
    let mut lab = Lab::new(config);
    for reply in ["220 hi\r\n", "250-x\r\n250 AUTH PLAIN\r\n"] {
        lab.says();
        lab.hear(reply);
        for event in lab.events() {
            setup.advance(&mut lab.connection, &event).unwrap();
        }
    }
    assert!(lab.says().starts_with("AUTH PLAIN "));
    // Within TLS the same choice is no danger.
    let told = Run { choice: accepting, ..Run::login(password()) }.at(Server::new(&["AUTH PLAIN"]));
    assert!(told.delivered && !told.report.password_in_clear);
}

// S-51: a forged list or forged refusals in clear get at most what does not show the password.
#[test]
fn forged_refusals_in_clear() {
    let mut server = Server::new(&[]).offering(&[&format!("AUTH {}", MECHANISMS.join(" "))]);
    server.refuses = MECHANISMS.map(|name| (name, 504)).to_vec();
    let run = Run { credentials: Some(password()), ..Run::new(TlsPolicy::None) };
    let told = run.at(server);
    assert_eq!(told.tried(), ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]);
    assert_eq!(told.auth_failure(), (AuthFailureKind::Unsupported, 504));
    assert!(!told.report.password_in_clear && !told.delivered);
}

// C-147: the mode that was chosen is the one that is done: a server that is silent, or that ends the stream, at any point of the setup
// gets no second try in another way.
#[test]
fn a_setup_that_is_cut_off() {
    let replies =
        ["220 hi\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n", "250-x\r\n250 AUTH LOGIN\r\n", "334 VXNlcg==\r\n"];
    let phases = [Phase::Greeting, Phase::Hello, Phase::StartTls, Phase::Hello, Phase::Auth, Phase::Auth];
    for (heard, phase) in phases.into_iter().enumerate() {
        for silent in [true, false] {
            let mut setup = Setup::new(TlsPolicy::Require, Some(password()));
            let mut lab = Lab::new(smtp());
            let mut last = Ok(Step::Continue);
            let mut act = |lab: &mut Lab| {
                for event in lab.events() {
                    last = setup.advance(&mut lab.connection, &event);
                    if last == Ok(Step::UpgradeTls) {
                        lab.connection.handle_tls_established().unwrap();
                    }
                }
                last.clone()
            };
            for reply in &replies[..heard] {
                lab.says();
                lab.hear(reply);
                act(&mut lab).unwrap();
            }
            lab.says();
            if silent {
                lab.pass(Duration::ZERO);
                lab.pass(Duration::from_secs(301));
                assert_eq!(act(&mut lab), Err(Failure::TimedOut { phase, report: None }), "{heard}");
            } else {
                lab.connection.handle_eof();
                assert_eq!(act(&mut lab), Err(Failure::Disconnected { reason: CloseReason::Eof, report: None }));
            }
            assert_eq!(lab.says(), "");
        }
    }
}

// C-12, C-143: a server that leaves at STARTTLS, or cannot be followed any more, has not refused TLS alone: there is no session, and
// the failure says why, also where TLS is opportunistic.
#[test]
fn a_server_that_leaves_at_starttls() {
    for credentials in [None, Some(password())] {
        for (starttls, transient) in [("421 bye\r\n", true), ("354 go on\r\n", true)] {
            let server = Server { starttls, ..Server::new(&[]).offering(&["STARTTLS", "AUTH SCRAM-SHA-1"]) };
            let run = Run { credentials: credentials.clone(), ..Run::new(TlsPolicy::Opportunistic) };
            let told = run.at(server);
            let Err(failure) = told.setup else { panic!("a session with a server that has left") };
            assert!(
                matches!(
                    &failure,
                    Failure::Disconnected { reason: CloseReason::ServerShutdown(_) | CloseReason::Unsolicited(_), .. }
                ),
                "{failure:?}"
            );
            assert_eq!(failure.is_transient(), transient);
            assert_eq!(told.clear, "EHLO client.example\r\nSTARTTLS\r\n");
        }
    }
}

// C-149: what a driver says of TLS is reported.
#[test]
fn the_version_of_tls_is_reported() {
    let mut setup = Setup::new(TlsPolicy::Require, None);
    assert_eq!(setup.report().tls_version, None);
    setup.tls_version(Some("TLSv1.3"));
    assert_eq!(setup.report().tls_version.as_deref(), Some("TLSv1.3"));
}

// C-149: a keyword on several lines that is the same before and within TLS has neither come nor gone.
#[test]
fn keywords_on_several_lines_are_compared_line_by_line() {
    let lines = ["AUTH PLAIN", "AUTH=LOGIN", "X-MANY a", "x-many b"];
    let server = Server::new(&lines).offering(&[&lines[..], &["STARTTLS"]].concat());
    let told = Run::new(TlsPolicy::Require).at(server);
    assert_eq!(told.report.gained().collect::<Vec<_>>(), []);
    assert_eq!(told.report.lost().collect::<Vec<_>>(), [("STARTTLS", "")]);
    let server = Server::new(&lines[1..]).offering(&[&lines[..], &["STARTTLS"]].concat());
    let told = Run::new(TlsPolicy::Require).at(server);
    assert_eq!(told.report.lost().collect::<Vec<_>>(), [("AUTH", "PLAIN"), ("STARTTLS", "")]);
}

// C-118: a token that was given once is not tried twice, since it cannot have become another.
#[test]
fn a_fixed_token_is_tried_once() {
    let wrong = Credentials::token("user", "wrong").unwrap();
    for offered in ["AUTH OAUTHBEARER", "AUTH XOAUTH2", "AUTH OAUTHBEARER XOAUTH2"] {
        let told = Run::login(wrong.clone()).at(Server::new(&[offered]));
        assert_eq!(told.tried().len(), 1);
        assert_eq!(told.auth_failure(), (AuthFailureKind::Credentials, 535));
    }
}

// C-12, C-141: an end that comes in the same octets as the reply before it is told as what it is, and never as a session or as a
// mistake of the caller's.
#[test]
fn an_end_right_behind_a_reply() {
    let hello = |keyword: &str| format!("250-x\r\n250 {keyword}\r\n");
    for (policy, login, replies) in [
        (TlsPolicy::None, false, vec![hello("SIZE")]),
        (TlsPolicy::None, true, vec![hello("SIZE")]),
        (TlsPolicy::None, true, vec![hello("AUTH SCRAM-SHA-1")]),
        (TlsPolicy::Require, false, vec![hello("STARTTLS")]),
        (TlsPolicy::Require, true, vec![hello("STARTTLS")]),
        (TlsPolicy::Opportunistic, true, vec![hello("STARTTLS"), "454 not now\r\n".into()]),
        (TlsPolicy::Opportunistic, false, vec![hello("STARTTLS"), "454 not now\r\n".into()]),
        (TlsPolicy::None, true, vec![hello("AUTH ANONYMOUS CRAM-MD5 SCRAM-SHA-1"), "504 no\r\n".into()]),
        (TlsPolicy::None, true, vec![hello("AUTH CRAM-MD5"), "334 \r\n".into(), "235 ok\r\n".into()]),
    ] {
        for (end, shutdown) in [("421 bye\r\n", true), ("what?\r\n", false)] {
            let mut setup = Setup::new(policy, login.then(password)).entropy([7; 24]);
            let mut lab = Lab::new(smtp());
            lab.hear("220 hi\r\n");
            let (last, before) = replies.split_last().unwrap();
            let mut results = Vec::new();
            for reply in before.iter().cloned().chain([format!("{last}{end}")]) {
                lab.says();
                lab.hear(reply);
                results.extend(lab.events().iter().map(|event| setup.advance(&mut lab.connection, event)));
            }
            let first = results.into_iter().find(|result| *result != Ok(Step::Continue));
            let told = matches!(&first, Some(Err(Failure::Disconnected { reason, .. }))
                if matches!(reason, CloseReason::ServerShutdown(_)) == shutdown);
            assert!(told, "{policy:?} {replies:?} {end:?}: {first:?}");
        }
    }
}
