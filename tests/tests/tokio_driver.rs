//! The Tokio driver: what depends on waking, time and cancellation rather than on the protocol.

use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::HandshakeKind;
use smtp_conformance::lab::{smtp, transaction};
use smtp_conformance::loopback::Loopback;
use smtp_conformance::model::server::{Answers, Policy, Server};
use smtp_conformance::sasl_server::{Account, SaslServer};
use smtp_conformance::tls_server::{Authority, Leaf, Plan, Session};
use smtp_proto::sasl::{ChannelBindings, Credentials};
use smtp_proto::{
    CloseReason, Event, Failure, HelloName, Outcome, Phase, Security, Setup, TlsMode, TlsPolicy, UsageError,
};
use smtp_tokio::{Client, Error, Options, Tls};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

fn in_clear() -> Setup {
    Setup::new(TlsPolicy::None, None)
}

fn accepting() -> Server {
    Server::new(Policy::new(&["PIPELINING"], Answers::default()))
}

/// Plays the model's part of a session over a pipe.
async fn serve(mut stream: DuplexStream, mut model: Server) -> Server {
    stream.write_all(b"220 model\r\n").await.unwrap();
    let mut buffer = [0; 100];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return model,
            Ok(length) => model.hear(&buffer[..length]),
        }
        while let Some(reply) = model.answer() {
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return model;
            }
        }
    }
}

// P-21, C-76: pipes of one octet and of a thousand, a server that reads nothing while its replies are not taken, and any
// window.
#[tokio::test]
async fn small_pipes_do_not_deadlock() {
    for (capacity, recipients) in [(1, 20), (1000, 2000)] {
        for window in [1, 4096, usize::MAX] {
            let (ours, theirs) = duplex(capacity);
            let server = tokio::spawn(serve(theirs, accepting()));
            let mut config = smtp();
            config.pipeline_window = window;
            let mut client = Client::start(ours, Security::Plaintext, config, in_clear()).await.unwrap();
            let report = client.send(transaction(recipients), &b"hello\r\n.\r\n"[..]).await.unwrap();
            assert!(report.is_complete_success());
            client.quit().await.unwrap();
            let messages = server.await.unwrap().messages;
            let [message] = messages.as_slice() else { panic!("{messages:?}") };
            assert_eq!((message.content.as_slice(), message.to.len()), (&b"hello\r\n.\r\n"[..], recipients));
        }
    }
}

// Real sockets: several messages, by name, and over a Unix socket.
#[tokio::test]
async fn a_session_over_sockets() {
    let server = Loopback::smtp().unwrap();
    let target = format!("localhost:{}", server.address().port());
    let lines = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&lines);
    let options = Options::smtp().transcript(move |line| noted.lock().unwrap().push(line.to_string()));
    let mut client = Client::connect(&target, options).await.unwrap();
    assert!(client.stream().socket().nodelay().unwrap());
    assert!(client.greeting().is_some() && !client.is_secure());
    for _ in 0..3 {
        assert!(client.send(transaction(2), &b"hello\r\n"[..]).await.unwrap().is_complete_success());
    }
    assert_eq!(client.noop().await.unwrap().code().get(), 250);
    client.quit().await.unwrap();
    assert_eq!(server.stored().len(), 3);
    assert!(lines.lock().unwrap().iter().any(|line| line == "C: <7 octets of content>"));
    assert!(matches!(Client::connect("localhost:1", Options::smtp()).await, Err(Error::Connect { .. })));
    assert!(matches!(Client::connect("no-such-host.invalid", Options::smtp()).await, Err(Error::Connect { .. })));
}

// C-12: an idle connection that the server has left is noticed before a message is risked on it, also where nothing has run
// the runtime meanwhile, which is what programs do that wait for each call by block_on.
#[tokio::test]
async fn an_idle_farewell_is_noticed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (idle, becomes_idle) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        reader.get_mut().write_all(b"220 hi\r\n").unwrap();
        reader.read_line(&mut String::new()).unwrap();
        reader.get_mut().write_all(b"250 x\r\n").unwrap();
        becomes_idle.recv().unwrap();
        reader.get_mut().write_all(b"421 4.4.2 idle for too long\r\n").unwrap();
        reader
    });
    let mut client = Client::connect(&target, Options::smtp()).await.unwrap();
    idle.send(()).unwrap();
    let mut reader = server.join().unwrap();
    // Until the farewell has come in, by the system's account and not by the runtime's.
    while SockRef::from(client.stream().socket()).peek(&mut [MaybeUninit::uninit()]).is_err() {}
    // As long as a connection has to be idle before anybody looks; the runtime does not run meanwhile.
    std::thread::sleep(Duration::from_millis(150));
    for _ in 0..2 {
        let error = client.send(transaction(1), &b"hello"[..]).await.unwrap_err();
        assert!(error.is_transient() && !error.may_have_been_accepted());
        assert_eq!(error.reply().map(|reply| reply.code().get()), Some(421));
    }
    drop(client);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

// C-59, R-07, S-36: deadlines run on Tokio's clock: reading, and writing to a pipe that nobody empties.
#[tokio::test(start_paused = true)]
async fn deadlines_run_on_tokios_clock() {
    let (ours, theirs) = duplex(100);
    let error = Client::start(ours, Security::Plaintext, smtp(), in_clear()).await.unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::TimedOut { phase: Phase::Greeting, .. })));
    drop(theirs);

    let (ours, mut theirs) = duplex(100);
    let client = Client::start(ours, Security::Plaintext, smtp(), in_clear());
    let (client, ()) = tokio::join!(client, async {
        theirs.write_all(b"220 hi\r\n").await.unwrap();
        theirs.read_exact(&mut [0; "EHLO client.example\r\n".len()]).await.unwrap();
        theirs.write_all(b"250 x\r\n").await.unwrap();
    });
    let mut client = client.unwrap();
    let message = vec![b'x'; 1 << 20];
    let sending = client.send(transaction(1), &message[..]);
    let (result, ()) = tokio::join!(sending, async {
        for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(theirs.read_u8().await.unwrap());
            }
            theirs.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let error = result.unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::TimedOut { phase: Phase::DataBlock, .. })), "{error}");
    assert!(!error.may_have_been_accepted());
}

/// A stream that does as many operations as it is given leave for, so that there are as many awaits as there can be. Writes
/// take three octets, reads five. What was written is noted.
struct Choppy {
    model: Server,
    to_client: Vec<u8>,
    written: Arc<Mutex<Vec<u8>>>,
    leave: Arc<AtomicUsize>,
}

impl Choppy {
    fn new(written: &Arc<Mutex<Vec<u8>>>, leave: &Arc<AtomicUsize>) -> Self {
        Self {
            model: accepting(),
            to_client: b"220 model\r\n".to_vec(),
            written: Arc::clone(written),
            leave: Arc::clone(leave),
        }
    }

    /// Whether an operation may be done, which then counts.
    fn may(&self) -> bool {
        self.leave.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |leave| leave.checked_sub(1)).is_ok()
    }
}

impl AsyncRead for Choppy {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while let Some(reply) = self.model.answer() {
            self.to_client.extend(reply.into_bytes());
        }
        if self.to_client.is_empty() || !self.may() {
            return Poll::Pending;
        }
        let length = self.to_client.len().min(buffer.remaining()).min(5);
        let octets: Vec<u8> = self.to_client.drain(..length).collect();
        buffer.put_slice(&octets);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Choppy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if !self.may() {
            return Poll::Pending;
        }
        let octets = &octets[..octets.len().min(3)];
        self.model.hear(octets);
        self.written.lock().unwrap().extend_from_slice(octets);
        // What was said may be answered now.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

// P-12, R-04, S-43: a send that is dropped at any await is never completed: the next call says that the session was
// aborted, not an octet more is written, and the message is in doubt only if its end had left.
#[tokio::test(start_paused = true)]
async fn cancellation_at_every_await() {
    let mut cancelled = 0;
    for polls in 0.. {
        let (written, leave) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(usize::MAX)));
        let mut client =
            Client::start(Choppy::new(&written, &leave), Security::Plaintext, smtp(), in_clear()).await.unwrap();
        let before = written.lock().unwrap().len();
        {
            let mut sending = pin!(client.send(transaction(2), &b"hello\r\n"[..]));
            let mut cx = Context::from_waker(Waker::noop());
            let mut done = false;
            for _ in 0..polls {
                leave.store(1, Ordering::SeqCst);
                done = done || sending.as_mut().poll(&mut cx).is_ready();
            }
            if done {
                break;
            }
        }
        leave.store(usize::MAX, Ordering::SeqCst);
        cancelled += 1;
        let at_drop = written.lock().unwrap().clone();
        // The first await is for what has come before anything begins.
        if at_drop.len() == before && polls <= 1 {
            assert!(client.noop().await.is_ok(), "nothing had begun");
            continue;
        }
        let gone = at_drop.ends_with(b"hello\r\n.\r\n");
        let mut outcomes = Vec::new();
        let error = client.noop().await;
        while let Ok(event) = client.next_event().await {
            if let Event::Completed(report) = event {
                outcomes.extend(report.recipients().map(|(_, outcome)| outcome.clone()));
            }
        }
        let aborted =
            |error: &Error| matches!(error.failure(), Some(Failure::Disconnected { reason: CloseReason::Aborted, .. }));
        match error {
            Ok(_) => assert_eq!(at_drop.len(), before, "begun, and yet not noticed after {polls} polls"),
            Err(error) => {
                assert!(aborted(&error), "{error}");
                assert_eq!(*written.lock().unwrap(), at_drop, "after {polls} polls");
                let expected = if gone { Outcome::InDoubt } else { Outcome::NotSent };
                assert_eq!(outcomes, [expected.clone(), expected]);
                assert!(aborted(&client.send(transaction(1), &b""[..]).await.unwrap_err()));
            }
        }
    }
    assert!(cancelled > 50, "only {cancelled} awaits");
}

// Thin is a promise: no verb and no reply code in any driver. What they need to know of SMTP, the core tells.
#[test]
fn drivers_know_no_smtp() {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let verbs =
        ["EHLO", "HELO", "LHLO", "MAIL FROM", "RCPT TO", "DATA", "BDAT", "RSET", "STARTTLS", "AUTH", "QUIT", "NOOP"];
    let codes = "211 214 220 221 235 250 251 252 334 354 421 432 450 451 452 454 455 500 501 502 503 504 521 530 534 535 538 550 551 552 553 554 555 556";
    let codes: Vec<&str> = codes.split(' ').collect();
    for driver in ["smtp-blocking", "smtp-tokio", "smtp-driver"] {
        for entry in std::fs::read_dir(workspace.join(driver).join("src")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let (program, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
            for line in program.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let strings = line.split('"').skip(1).step_by(2);
                for string in strings {
                    assert!(!verbs.iter().any(|verb| string.contains(verb)), "{}: {line}", path.display());
                }
                let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
                let code = words.any(|word| codes.contains(&word)) && !line.contains("from_millis");
                assert!(!code, "{}: {line}", path.display());
            }
        }
    }
}

fn within_tls(mode: TlsMode) -> Options {
    let tls = Tls::trusting_only(Authority::shared().pem().as_bytes()).unwrap();
    Options::smtp().hello_name(HelloName::parse("client.example").unwrap()).tls(tls).tls_mode(mode)
}

// C-148, C-144: a server that cannot prove who it is hears nothing but the beginning of the handshake.
#[tokio::test]
async fn certificates_that_prove_nothing() {
    let bad = [Leaf::For(&["mail.example"]), Leaf::Expired, Leaf::NotYetValid, Leaf::SelfSigned, Leaf::CommonNameOnly];
    for leaf in bad {
        for (plan, mode, in_clear) in [
            (Plan::implicit(), TlsMode::Implicit, [].as_slice()),
            (Plan::starttls(), TlsMode::StartTls, ["EHLO client.example", "STARTTLS"].as_slice()),
        ] {
            let server = plan.showing(leaf).start();
            let error = Client::connect(&server.target(), within_tls(mode)).await.unwrap_err();
            assert!(matches!(error, Error::Tls { .. }) && !error.is_transient(), "{leaf:?}: {error}");
            let record = server.record();
            assert_eq!(record.commands_in_clear(), in_clear, "{leaf:?}");
            assert!(record.commands().is_empty(), "{leaf:?}");
        }
    }
    for (plan, mode) in [(Plan::implicit(), TlsMode::Implicit), (Plan::starttls(), TlsMode::StartTls)] {
        let server = plan.start();
        let mut client = Client::connect(&server.target(), within_tls(mode)).await.unwrap();
        assert_eq!(client.security().tls_version.as_deref(), Some("TLSv1.3"));
        assert!(client.send(transaction(1), &b"hello\r\n"[..]).await.unwrap().is_complete_success());
        client.quit().await.unwrap();
        assert_eq!(server.record().messages.len(), 1);
    }
}

// C-148: a server that demands a client certificate gets ours, and gives no session without one.
#[tokio::test]
async fn client_certificates() {
    let authority = Authority::shared();
    let mine = authority.issue(Leaf::Client);
    for (plan, mode) in [(Plan::implicit(), TlsMode::Implicit), (Plan::starttls(), TlsMode::StartTls)] {
        let server = Plan { demands: Some(authority.certificate().clone()), ..plan }.start();
        let tls = Tls::trusting_only(authority.pem().as_bytes()).unwrap();
        let tls = tls.identity(mine.certificate_pem().as_bytes(), mine.key_pem().as_bytes()).unwrap();
        let client = Client::connect(&server.target(), within_tls(mode).tls(tls)).await.unwrap();
        client.quit().await.unwrap();
        assert_eq!(server.record().client_certificate.as_ref(), Some(mine.certificate()));
        Client::connect(&server.target(), within_tls(mode)).await.unwrap_err();
        assert!(server.record().within.is_empty());
    }
}

// C-152, R-02: a whole final reply counts, although a record that nobody can decrypt came in the same segment.
#[tokio::test]
async fn a_final_reply_in_front_of_a_forged_record() {
    let script = |session: &mut Session| {
        session.say("220 hi")?;
        session.serve_until("DATA")?;
        session.say("354 go")?;
        session.content()?;
        let mut segment = session.seal(b"250 ok\r\n");
        let mut forged = session.seal(b"250 another\r\n");
        *forged.last_mut().unwrap() ^= 1;
        segment.extend(forged);
        session.beneath(&segment)
    };
    let server = Plan::implicit().script(script).start();
    let mut client = Client::connect(&server.target(), within_tls(TlsMode::Implicit)).await.unwrap();
    assert!(client.send(transaction(1), &b"hello\r\n"[..]).await.unwrap().is_complete_success());
    let error = client.send(transaction(1), &b"another\r\n"[..]).await.unwrap_err();
    assert!(!error.may_have_been_accepted(), "{error}");
    drop(client);
    assert_eq!(server.record().messages.len(), 1);
}

// A configuration of the caller's is used as it is or not at all.
#[tokio::test]
async fn a_configuration_is_not_half_used() {
    let (config, _) = Tls::trusting_only(Authority::shared().pem().as_bytes()).unwrap().start("localhost").unwrap();
    let options = within_tls(TlsMode::Implicit).tls(Tls::from_config(config).tls13_only());
    // Nobody listens there, and nobody was asked.
    let error = Client::connect("localhost:1", options).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}

// The farewell within TLS ends with close_notify, and the next session with the same `Tls` resumes this one.
#[tokio::test]
async fn sessions_end_and_resume() {
    let tls = Tls::trusting_only(Authority::shared().pem().as_bytes()).unwrap();
    let server = Plan::implicit()
        .script(|session| {
            session.say("220 tls.example ready")?;
            session.serve()?;
            session.line().map(drop)
        })
        .start();
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let options = within_tls(TlsMode::Implicit).tls(tls.clone());
        let client = Client::connect(&server.target(), options).await.unwrap();
        assert_eq!(client.stream().tls().unwrap().handshake_kind(), Some(kind));
        client.quit().await.unwrap();
        assert!(server.record().close_notify);
    }
}

// C-143, S-03: a stream that nobody brings within TLS hears nothing where TLS is required.
#[tokio::test]
async fn tls_is_required_of_a_stream_that_has_none() {
    let (stream, mut peer) = duplex(1024);
    peer.write_all(b"220 hi\r\n250-x\r\n250 STARTTLS\r\n").await.unwrap();
    let options = Options::smtp().tls_mode(TlsMode::StartTls);
    let error = Client::over(stream, Security::Plaintext, options).await.unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Usage(UsageError::NobodyUpgrades))), "{error}");
    assert_eq!(peer.read(&mut [0; 64]).await.unwrap(), 0);
}

// C-148, S-43: a handshake of the caller's has the time that STARTTLS has.
#[tokio::test(start_paused = true)]
async fn a_handshake_of_the_callers_has_a_limit() {
    let (stream, mut peer) = duplex(1024);
    peer.write_all(b"220 hi\r\n").await.unwrap();
    let server = async {
        for reply in ["250-x\r\n250 STARTTLS\r\n", "220 go\r\n"] {
            assert!(peer.read(&mut [0; 64]).await.unwrap() > 0);
            peer.write_all(reply.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await
    };
    let client = Client::start_tls(stream, smtp(), in_clear(), async |_| {
        std::future::pending::<Result<(DuplexStream, ChannelBindings), io::Error>>().await
    });
    tokio::select! {
        () = server => unreachable!(),
        result = client => assert!(result.unwrap_err().is_timeout()),
    }
}

/// A stream that always has something to read which comes to nothing, as TLS has for a server that sends tickets without end.
struct Busy(DuplexStream);

impl AsyncRead for Busy {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.0).poll_read(cx, buffer) {
            return Poll::Ready(result);
        }
        // Until Tokio wants another task to have its turn.
        while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
        Poll::Pending
    }
}

impl AsyncWrite for Busy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

// S-36, S-43, C-59: deadlines hold against a stream that never comes to rest.
#[tokio::test(start_paused = true)]
async fn a_busy_stream_does_not_stop_the_clock() {
    let (stream, _peer) = duplex(64);
    let mut config = smtp();
    config.timeouts.greeting = Duration::from_secs(3);
    // On the clock that only this moves, for nothing is ever idle.
    let clock = async {
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        result = Client::start(Busy(stream), Security::Plaintext, config, in_clear()) => {
            assert!(result.unwrap_err().is_timeout());
        }
        () = clock => panic!("the deadline has passed long ago"),
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// S-60, S-61: what goes over the wire goes to `tracing`, at its level and under its name, without content.
#[tokio::test]
async fn transcripts_are_traced() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    let subscriber = subscriber.with_ansi(false).without_time().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Loopback::smtp().unwrap();
    let options = Options::smtp().hello_name(HelloName::parse("client.example").unwrap()).traced();
    let mut client = Client::connect(&server.address().to_string(), options).await.unwrap();
    client.send(transaction(1), &b"Subject: a canary\r\n"[..]).await.unwrap();
    client.quit().await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for line in ["TRACE smtp: S: 220 ", "TRACE smtp: C: EHLO client.example\n", "TRACE smtp: C: QUIT\n"] {
        assert!(log.contains(line), "{log}");
    }
    assert!(!log.contains("canary"), "{log}");
}

// S-37: a server that has a password hashed for long does not keep the other tasks of a runtime from their turns.
#[tokio::test]
async fn long_hashing_leaves_others_their_turns() {
    const ITERATIONS: u32 = 200_000;
    let (stream, server) = duplex(4096);
    tokio::spawn(async move {
        let mut sasl = SaslServer::new(Account { iterations: ITERATIONS, ..Account::default() });
        let mut server = tokio::io::BufReader::new(server);
        let mut reply = "220 hi\r\n".to_owned();
        loop {
            let mut line = String::new();
            server.write_all(reply.as_bytes()).await.unwrap();
            if server.read_line(&mut line).await.unwrap() == 0 {
                return;
            }
            reply = match line.trim_end() {
                "EHLO client.example" => "250-x\r\n250 AUTH SCRAM-SHA-256\r\n".into(),
                line => sasl.hear(line),
            };
        }
    });
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    let setup = Setup::new(TlsPolicy::None, Some(Credentials::password("user", "pencil").unwrap())).entropy([7; 24]);
    let client = Client::start(stream, Security::Plaintext, smtp(), setup).await.unwrap();
    assert!(client.connection().is_authenticated());
    // A turn for every few milliseconds at least.
    assert!(turns.load(Ordering::SeqCst) > usize::try_from(ITERATIONS / 4096).unwrap());
}

/// A stream that holds octets back, up to some, and lets go of a few each second: TLS over a slow line.
struct Slow {
    held: usize,
    let_go: Pin<Box<tokio::time::Sleep>>,
    replies: DuplexStream,
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.replies).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let _ = self.as_mut().poll_flush(cx);
        let room = (64 * 1024 - self.held).min(octets.len());
        self.held += room;
        if room == 0 { Poll::Pending } else { Poll::Ready(Ok(room)) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.let_go.as_mut().poll(cx).is_ready() {
            self.held = self.held.saturating_sub(2048);
            let next = self.let_go.deadline() + Duration::from_secs(1);
            self.let_go.as_mut().reset(next);
        }
        if self.held == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

// C-59, R-07: a long message over a slow line within TLS takes its time: octets that the stream holds back have a deadline as long
// as none leaves, and not the message as a whole.
#[tokio::test(start_paused = true)]
async fn a_slow_stream_is_not_a_dead_one() {
    let (replies, mut server) = duplex(4096);
    server.write_all(b"220 hi\r\n").await.unwrap();
    let slow = Slow { held: 0, let_go: Box::pin(tokio::time::sleep(Duration::from_secs(1))), replies };
    // Nobody reads what is said: the server knows by the time that has passed.
    tokio::spawn(async move {
        for reply in ["250 x\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            tokio::time::sleep(Duration::from_secs(2)).await;
            server.write_all(reply.as_bytes()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(700)).await;
        server.write_all(b"250 queued\r\n").await.unwrap();
        std::future::pending::<()>().await
    });
    let mut client = Client::start(slow, Security::Plaintext, smtp(), in_clear()).await.unwrap();
    let message = b"a line of a long message\r\n".repeat(40_000);
    let report = client.send(transaction(1), &message[..]).await.unwrap();
    assert!(report.is_complete_success());
}
