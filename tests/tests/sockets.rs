//! The blocking driver over real sockets: what depends on the system rather than on the protocol.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use smtp_blocking::{Client, Error, Options, Stream};
use smtp_conformance::lab::{smtp, transaction};
use smtp_conformance::loopback::Loopback;
use smtp_proto::sasl::Credentials;
use smtp_proto::{
    CommandLine, Failure, ForwardPath, HelloName, Outcome, Phase, Security, Setup, Timeouts, TlsMode, TlsPolicy,
    UsageError, Verification,
};

/// A server that does what `serve` says with its one connection.
fn serve<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, std::thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// Says each reply after reading a line; then returns the stream.
fn answer(stream: TcpStream, replies: &[&str]) -> BufReader<TcpStream> {
    let mut reader = BufReader::new(stream);
    for (index, reply) in replies.iter().enumerate() {
        if index > 0 {
            reader.read_line(&mut String::new()).unwrap();
        }
        reader.get_mut().write_all(reply.as_bytes()).unwrap();
    }
    reader
}

const UP_TO_CONTENT: [&str; 5] = ["220 hi\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];

/// A message of so many octets that no socket buffer takes it all.
const LARGE: usize = 32 << 20;

// The whole of it in one line.
#[test]
fn one_line_sends_a_message() {
    let server = Loopback::smtp().unwrap();
    let target = server.address().to_string();
    let report =
        smtp_blocking::send_plaintext(&target, "me@x.example", ["a@x.example", "refused@x.example"], "hello\n")
            .unwrap();
    assert_eq!(report.refused().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["refused@x.example"]);
    assert_eq!(server.stored()[0].content, b"hello\r\n");
    let nobody = smtp_blocking::send_plaintext(&target, "", ["later@x.example"], "hello").unwrap_err();
    assert!(nobody.is_transient() && !nobody.may_have_been_accepted());
    assert!(matches!(nobody.failure(), Some(Failure::RecipientsRefused(_))));
    assert!(smtp_blocking::send_plaintext(&target, "a b", ["x@x"], "").is_err());
    assert_eq!(server.stored().len(), 1);
}

// Several messages over one connection, other commands between them, and by hand.
#[test]
fn a_session() {
    let server = Loopback::smtp().unwrap();
    let mut client = Client::connect(&server.address().to_string(), Options::smtp()).unwrap();
    assert_eq!(client.capabilities().size_limit(), Some(52_428_800));
    for _ in 0..3 {
        assert!(client.send(transaction(2), &b"hello\r\n"[..]).unwrap().is_complete_success());
    }
    assert_eq!(client.noop().unwrap().code().get(), 250);
    assert_eq!(client.command(&CommandLine::vrfy("a").unwrap()).unwrap().verification(), Verification::Unverified);
    assert_eq!(client.command(&CommandLine::help("").unwrap()).unwrap().code().get(), 214);
    assert_eq!(client.mail(transaction(0)).unwrap().code().get(), 250);
    assert_eq!(client.rcpt(ForwardPath::parse("refused@x.example").unwrap()).unwrap().code().get(), 550);
    assert_eq!(client.rcpt(ForwardPath::parse("a@x.example").unwrap()).unwrap().code().get(), 250);
    assert_eq!(client.data(&b"by hand"[..]).unwrap().refused().count(), 1);
    assert_eq!(client.helo().unwrap().code().get(), 250);
    assert_eq!(client.capabilities().iter().count(), 0);
    assert_eq!(client.ehlo().unwrap().code().get(), 250);
    assert_eq!(client.reset().unwrap().code().get(), 250);
    client.quit().unwrap();
    assert_eq!(server.stored().len(), 4);
}

// S-43: an answer that nobody asked for by `next_event` is not taken for the answer to the next command.
#[test]
fn an_answer_that_was_left_behind() {
    let server = Loopback::smtp().unwrap();
    let mut client = Client::connect(&server.address().to_string(), Options::smtp()).unwrap();
    client.connection_mut().noop().unwrap();
    assert!(client.ehlo().unwrap().lines().count() > 1);
}

// C-160, C-161: LMTP over a Unix socket: a final reply for each recipient.
#[test]
fn lmtp_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lmtp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let mut said = String::new();
        reader.get_mut().write_all(b"220 hi\r\n").unwrap();
        for reply in [
            "250 x\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
            "",
            "250 one\r\n552 two\r\n",
            "221 bye\r\n",
        ] {
            reader.read_line(&mut said).unwrap();
            reader.get_mut().write_all(reply.as_bytes()).unwrap();
        }
        said
    });
    let mut client = Client::connect_unix(&path, Options::lmtp()).unwrap();
    let report = client.send(transaction(2), &b"hello\r\n"[..]).unwrap();
    client.quit().unwrap();
    assert_eq!(report.recipients().filter(|(_, outcome)| outcome.is_accepted()).count(), 1);
    assert!(server.join().unwrap().starts_with("LHLO "));
}

// C-147, S-03: TLS that was asked for by name is not given up because the stream is a Unix socket: it may lead anywhere.
#[test]
fn tls_is_not_given_up_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smtp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    for mode in [TlsMode::StartTls, TlsMode::Implicit] {
        let credentials = Credentials::password("user", "password").unwrap();
        let options = Options::smtp().tls_mode(mode).credentials(credentials).timeout(SHORT);
        let error = Client::connect_unix(&path, options).unwrap_err();
        assert!(matches!(error.failure(), Some(Failure::Usage(UsageError::NobodyUpgrades))), "{error}");
        let mut said = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut said).unwrap();
        assert!(said.is_empty());
    }
}

// the server refuses a long message half-way and hangs up; that is a refusal, not a broken stream.
#[test]
fn an_early_refusal_survives_a_reset() {
    let (target, server) = serve(|stream| {
        let mut reader = answer(stream, &UP_TO_CONTENT);
        reader.read_exact(&mut vec![0; 64 * 1024]).unwrap();
        reader.get_mut().write_all(b"552 5.3.4 too large\r\n").unwrap();
        // Dropped with octets unread: the system answers further ones with a reset.
    });
    let mut client = Client::connect(&target, Options::smtp()).unwrap();
    let message = vec![b'x'; LARGE];
    let error = client.send(transaction(1), &message[..]).unwrap_err();
    server.join().unwrap();
    let refused = |error: &Error| matches!(error, Error::Failure(Failure::DataRefused { reply, .. }) if reply.code().get() == 552);
    assert!(refused(&error) && !error.is_transient(), "{error}");
}

/// A stream without sockets: reads what it was given, line by line, and then waits; takes so many octets and then no more.
struct Stub {
    lines: Vec<&'static str>,
    /// What comes only once nothing more is taken.
    late: Option<&'static str>,
    room: usize,
    /// Writes are taken and held back until a flush, which cannot send them.
    buffers: bool,
    unbounded: bool,
}

impl Stub {
    fn new(late: Option<&'static str>) -> Self {
        Self { lines: UP_TO_CONTENT.to_vec(), late, room: 200_000, buffers: false, unbounded: false }
    }
}

impl Read for Stub {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.lines.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let line = self.lines.remove(0);
        buffer[..line.len()].copy_from_slice(line.as_bytes());
        Ok(line.len())
    }
}

impl Write for Stub {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let taken = if self.buffers { octets.len() } else { octets.len().min(self.room) };
        self.room = self.room.saturating_sub(taken);
        if taken > 0 {
            return Ok(taken);
        }
        std::thread::sleep(Duration::from_millis(1));
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffers && self.room == 0 {
            std::thread::sleep(Duration::from_millis(1));
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }
}

impl Stream for Stub {
    fn set_timeouts(&mut self, _: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        assert!(write.is_some(), "a write without a limit");
        if self.unbounded { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.late.filter(|_| self.room == 0) {
            Some(line) => {
                self.late = None;
                buffer[..line.len()].copy_from_slice(line.as_bytes());
                Ok(line.len())
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

fn start(stub: Stub, timeout: Duration) -> Result<Client<Stub>, Error> {
    let mut config = smtp();
    config.timeouts = Timeouts::uniform(timeout);
    Client::start(stub, Security::Plaintext, config, Setup::new(TlsPolicy::None, None))
}

// the server refuses and reads no more, without hanging up: the client, blocked in writing, notices and says so.
#[test]
fn an_early_refusal_is_noticed_while_writing_blocks() {
    let stub = Stub::new(Some("452 4.3.1 full\r\n"));
    let error =
        start(stub, Duration::from_secs(600)).unwrap().send(transaction(1), &vec![b'x'; LARGE][..]).unwrap_err();
    assert!(
        matches!(error, Error::Failure(Failure::DataRefused { ref reply, .. }) if reply.code().get() == 452),
        "{error}"
    );
    assert!(error.is_transient());
}

// octets that a stream holds back, as TLS does, have a deadline too.
#[test]
fn flushing_has_a_deadline() {
    for late in [None, Some("452 4.3.1 full\r\n")] {
        let stub = Stub { buffers: true, ..Stub::new(late) };
        let error = start(stub, SHORT).unwrap().send(transaction(1), &vec![b'x'; LARGE][..]).unwrap_err();
        assert_eq!(error.reply().is_some(), late.is_some(), "{error}");
        assert!(error.is_transient());
    }
}

// A stream whose waits cannot be bounded is no stream for a client with deadlines.
#[test]
fn a_stream_without_timeouts_is_an_error() {
    let stub = Stub { unbounded: true, ..Stub::new(None) };
    assert!(
        matches!(start(stub, SHORT), Err(Error::Stream { error, .. }) if error.kind() == io::ErrorKind::Unsupported)
    );
}

const SHORT: Duration = Duration::from_millis(300);

// R-07, C-59, S-36: reads end at their deadline, silence or drip.
#[test]
fn reads_have_a_deadline() {
    for drip in [false, true] {
        let (target, server) = serve(move |mut stream| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(10) && (!drip || stream.write_all(b"220-x\r\n").is_ok()) {
                std::thread::sleep(SHORT / 10);
                if !drip {
                    // Ends when the client does.
                    let _ = stream.read(&mut [0]);
                    break;
                }
            }
        });
        let error = Client::connect(&target, Options::smtp().timeout(SHORT)).unwrap_err();
        assert!(error.is_timeout() && error.is_transient(), "{error}");
        server.join().unwrap();
    }
}

// R-07, C-59, S-36: writes do, too: a server that takes no content is left after the time for a block.
#[test]
fn writes_have_a_deadline() {
    let (target, server) = serve(|stream| answer(stream, &UP_TO_CONTENT));
    let mut client =
        Client::connect(&target, Options::smtp().configure(|config| config.timeouts.data_block = 4 * SHORT)).unwrap();
    let error = client.send(transaction(1), &vec![b'x'; LARGE][..]).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::TimedOut { phase: Phase::DataBlock, .. })), "{error}");
    assert!(!error.may_have_been_accepted());
    drop(server.join());
}

// A server whose queue is full does not answer; the client gives up in time.
#[test]
fn connecting_has_a_deadline() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let filler: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, SHORT)).collect();
    let error = Client::connect(&address.to_string(), Options::smtp().connect_timeout(SHORT)).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.is_timeout(), "{error}");
    drop(filler);
}

// A name that does not resolve, a port that nobody listens on, and what is no target at all are told apart.
#[test]
fn targets_that_are_not_there() {
    let server = Loopback::smtp().unwrap();
    let client = Client::connect(&format!("localhost:{}", server.address().port()), Options::smtp()).unwrap();
    assert!(client.stream().socket().nodelay().unwrap());
    client.quit().unwrap();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let refused = Client::connect(&free.to_string(), Options::smtp()).unwrap_err();
    assert!(matches!(refused, Error::Connect { .. }) && refused.is_transient());
    let unknown = Client::connect("no-such-host.invalid:25", Options::smtp()).unwrap_err();
    assert!(matches!(unknown, Error::Connect { .. }));
    assert!(!Client::connect("localhost:port", Options::smtp()).unwrap_err().is_transient());
    // C-160
    let lmtp = Client::connect("localhost:25", Options::lmtp()).unwrap_err();
    assert!(lmtp.to_string().contains("port 25") && !lmtp.is_transient());
}

// Connecting to a Unix socket has a deadline, too.
#[test]
fn connecting_to_a_unix_socket_has_a_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lmtp.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    // One waits in the queue, which is then full.
    let waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let error = Client::connect_unix(&path, Options::lmtp().timeout(SHORT)).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    drop(waiting);
}

// A client asked for something while the content of a transaction is owed says that it is busy, and does not wait for ever.
#[test]
fn content_that_is_owed_makes_busy() {
    let mut client = start(Stub::new(None), SHORT).unwrap();
    client.connection_mut().begin(transaction(1)).unwrap();
    while !matches!(client.next_event().unwrap(), smtp_proto::Event::BodyRequested { .. }) {}
    assert!(matches!(client.noop(), Err(Error::Failure(Failure::Usage(UsageError::Busy)))));
}

// smtplib's source_address; addresses of the other family are passed over.
#[test]
fn the_source_address_is_the_callers() {
    let (target, server) = serve(|stream| {
        let peer = stream.peer_addr().unwrap();
        answer(stream, &["220 hi\r\n", "250 x\r\n"]);
        peer
    });
    let source = SocketAddr::from(([127, 0, 0, 2], 0));
    let client = Client::connect(&target, Options::smtp().source_address(source)).unwrap();
    assert_eq!(server.join().unwrap().ip(), source.ip());
    drop(client);
    let other_family = Options::smtp().source_address(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    assert!(matches!(Client::connect(&target, other_family), Err(Error::Connect { .. })));
}

/// What the client says in its hello to a server at `address`.
fn hello_to(address: SocketAddr, options: Options) -> String {
    let listener = TcpListener::bind(address).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        reader.get_mut().write_all(b"220 hi\r\n").unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        reader.get_mut().write_all(b"250 x\r\n").unwrap();
        line
    });
    drop(Client::connect(&target, options).unwrap());
    server.join().unwrap()
}

// C-24: the host's name if it has a domain, else the address literal of this end, of either family.
#[test]
fn the_hello_names_this_host() {
    let host = gethostname::gethostname().into_string().unwrap_or_default();
    let literals = [
        (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "[127.0.0.1]"),
        (SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), "[IPv6:::1]"),
    ];
    for (address, literal) in literals {
        let name = if host.contains('.') && HelloName::parse(&host).is_ok() { &host } else { literal };
        if TcpListener::bind(address).is_ok() {
            assert_eq!(hello_to(address, Options::smtp()), format!("EHLO {name}\r\n"));
        }
    }
    let named = Options::smtp().hello_name(HelloName::parse("me.example").unwrap());
    assert_eq!(hello_to(literals[0].0, named), "EHLO me.example\r\n");
}

/// Counts the writes to a stream, and notes what was read and written.
struct Counted {
    stream: TcpStream,
    writes: Arc<Mutex<Vec<usize>>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Counted {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.writes.lock().unwrap().push(octets.len());
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream for Counted {
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.stream.set_timeouts(read, write)
    }
}

// One write a flight: hello, envelope, content, QUIT, at any number of recipients that fit the window.
#[test]
fn one_write_a_flight() {
    let server = Loopback::smtp().unwrap();
    let writes = Arc::new(Mutex::new(Vec::new()));
    let stream = Counted { stream: TcpStream::connect(server.address()).unwrap(), writes: Arc::clone(&writes) };
    let mut client = Client::start(stream, Security::Plaintext, smtp(), Setup::new(TlsPolicy::None, None)).unwrap();
    client.send(transaction(50), &b"hello\r\n"[..]).unwrap();
    client.quit().unwrap();
    assert_eq!(writes.lock().unwrap().len(), 4, "{writes:?}");
}

// Dropping says nothing; a message that is not complete is never ended.
#[test]
fn dropping_says_nothing() {
    let (target, server) = serve(|stream| {
        let mut reader = answer(stream, &["220 hi\r\n", "250 x\r\n"]);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        rest
    });
    drop(Client::connect(&target, Options::smtp()).unwrap());
    assert_eq!(server.join().unwrap(), "");
}

// a message that cannot be read to its end is never ended on the wire, and nobody gets it.
#[test]
fn an_unreadable_message_is_not_sent() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the disk is gone"));
            }
            let length = buffer.len().min(self.0);
            buffer[..length].fill(b'x');
            self.0 -= length;
            Ok(length)
        }
    }
    let server = Loopback::smtp().unwrap();
    let mut client = Client::connect(&server.address().to_string(), Options::smtp()).unwrap();
    let error = client.send(transaction(1), BufReader::new(Broken(1 << 20))).unwrap_err();
    assert!(matches!(&error, Error::Message { report: Some(report), .. }
        if report.recipients().all(|(_, outcome)| *outcome == Outcome::NotSent)));
    assert!(matches!(client.send(transaction(1), &b""[..]), Err(Error::Failure(_))));
    drop(client);
    assert!(server.stored().is_empty());
}

// C-12: an idle connection that the server has left is noticed before a message is risked on it.
#[test]
fn an_idle_farewell_is_noticed() {
    let (target, server) = serve(|stream| {
        let mut reader = answer(stream, &["220 hi\r\n", "250 x\r\n"]);
        reader.get_mut().write_all(b"421 4.4.2 idle for too long\r\n").unwrap();
        reader
    });
    let mut client = Client::connect(&target, Options::smtp()).unwrap();
    let reader = server.join().unwrap();
    // Until the farewell has come in, which on the loopback interface is at once, but not for certain.
    while client.stream().socket().peek(&mut [0]).is_err() {}
    // As long as a connection has to be idle before anybody looks.
    std::thread::sleep(Duration::from_millis(150));
    for _ in 0..2 {
        let error = client.send(transaction(1), &b"hello"[..]).unwrap_err();
        assert!(error.is_transient() && !error.may_have_been_accepted());
        assert_eq!(error.reply().map(|reply| reply.code().get()), Some(421));
    }
    drop(client);
    let mut said = String::new();
    BufReader::new(reader).read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

// S-61: smtplib's set_debuglevel: what goes over the wire is shown to a hook and to nobody else, the content only by its size.
#[test]
fn a_transcript() {
    let server = Loopback::smtp().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&lines);
    let options = Options::smtp().transcript(move |line| noted.lock().unwrap().push(line.to_string()));
    let mut client = Client::connect(&server.address().to_string(), options).unwrap();
    client.send(transaction(1), &b"canary\r\n"[..]).unwrap();
    let shown = format!("{client:?}");
    assert!(!shown.contains("x.example") && !shown.contains("canary"), "{shown}");
    client.quit().unwrap();
    let lines = lines.lock().unwrap();
    for line in
        ["S: 220 loopback.example ready", "C: RCPT TO:<r0@x.example>", "C: <8 octets of content>", "S: 221 2.0.0 bye"]
    {
        assert!(lines.iter().any(|noted| noted == line), "{line} is not in {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("canary")));
}
