//! A mail server with TLS on the loopback interface that notes every octet it gets, and misbehaves as it is told to.
//!
//! Its certificates are made at run time. It shares no code with the client it is there to test.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{DEFAULT_VERSIONS, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
pub use rustls::{SupportedProtocolVersion, version};

use crate::sasl_server::{Account, SaslServer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest that the server waits for anything: a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A certificate authority that nobody trusts unless told to.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let mut params = valid_now(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// The one that issues what tests share.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Authority> = LazyLock::new(|| Authority::new("Test Authority"));
        &SHARED
    }

    /// Its certificate, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.0.der()
    }

    /// A certificate and its key. The common name is always `localhost`, which must not count.
    pub fn issue(&self, leaf: Leaf) -> Identity {
        let names: &[&str] = match leaf {
            Leaf::For(names) => names,
            Leaf::CommonNameOnly => &[],
            _ => &["localhost", "127.0.0.1"],
        };
        let mut params = valid_now("localhost");
        let named = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        params.subject_alt_names = named.expect("names").subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match leaf {
            Leaf::Client => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        match leaf {
            Leaf::Expired => params.not_after = (SystemTime::now() - DAY / 24).into(),
            Leaf::NotYetValid => params.not_before = (SystemTime::now() + DAY).into(),
            _ => {}
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = match leaf {
            Leaf::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.0),
        };
        Identity { certificate: certificate.expect("a certificate"), key }
    }
}

fn valid_now(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 30 * DAY).into();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

/// What a certificate says. Unless it says otherwise it is for a server, for `localhost` and 127.0.0.1, and valid now.
#[derive(Clone, Copy, Debug)]
pub enum Leaf {
    /// All is well.
    Good,
    /// For these names and addresses.
    For(&'static [&'static str]),
    /// It was valid until an hour ago.
    Expired,
    /// It will be valid from tomorrow.
    NotYetValid,
    /// No authority has signed it.
    SelfSigned,
    /// Only its common name names the host.
    CommonNameOnly,
    /// It is for a client.
    Client,
}

/// A certificate and its private key.
#[derive(Debug)]
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The certificate, as PEM.
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key, as PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The `SubjectPublicKeyInfo`, which is what pins and TLSA records are made of.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }
}

/// What happens where the handshake is due.
#[derive(Clone, Debug)]
pub enum Handshake {
    /// It takes place.
    Done,
    /// These octets come in clear once the client has begun, then it takes place.
    Behind(Vec<u8>),
    /// These octets come instead once the client has begun, then nothing more.
    Instead(Vec<u8>),
    /// These octets come instead once the client has begun, one at a time, with such pauses.
    Drip(Vec<u8>, Duration),
    /// The server sends so many octets of its part, then closes the stream.
    CutAfter(usize),
}

/// What a server does within TLS, instead of being a mail server.
pub type Script = Arc<dyn Fn(&mut Session) -> io::Result<()> + Send + Sync>;

/// What a server does.
#[derive(Clone)]
pub struct Plan {
    /// TLS from the first octet.
    pub implicit: bool,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The versions of TLS it speaks.
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// The authority that has to have issued the client's certificate, if the server demands one.
    pub demands: Option<CertificateDer<'static>>,
    /// Keywords offered in clear.
    pub in_clear: Vec<&'static str>,
    /// Keywords offered within TLS.
    pub within: Vec<&'static str>,
    /// Said in clear in one segment with the reply to EHLO.
    pub behind_hello: &'static str,
    /// The reply to STARTTLS, in so many segments. The switch follows if it begins with 220.
    pub go_ahead: Vec<&'static str>,
    /// What happens where the handshake is due.
    pub handshake: Handshake,
    /// What it does within TLS, if it is no mail server there.
    pub script: Option<Script>,
    /// Whom it lets in; without it, everybody.
    pub account: Option<Account>,
}

impl Plan {
    /// An honest server with STARTTLS.
    pub fn starttls() -> Self {
        static GOOD: LazyLock<Arc<Identity>> = LazyLock::new(|| Arc::new(Authority::shared().issue(Leaf::Good)));
        Self {
            implicit: false,
            identity: Arc::clone(&GOOD),
            versions: DEFAULT_VERSIONS,
            demands: None,
            in_clear: vec!["STARTTLS"],
            within: vec!["PIPELINING", "8BITMIME", "SIZE 52428800", "AUTH PLAIN"],
            behind_hello: "",
            go_ahead: vec!["220 2.0.0 go ahead\r\n"],
            handshake: Handshake::Done,
            script: None,
            account: None,
        }
    }

    /// An honest server with TLS from the first octet.
    pub fn implicit() -> Self {
        Self { implicit: true, ..Self::starttls() }
    }

    /// With another certificate of the shared authority.
    #[must_use]
    pub fn showing(mut self, leaf: Leaf) -> Self {
        self.identity = Arc::new(Authority::shared().issue(leaf));
        self
    }

    /// With something else where the handshake is due.
    #[must_use]
    pub fn handshake(mut self, handshake: Handshake) -> Self {
        self.handshake = handshake;
        self
    }

    /// Doing something else within TLS.
    #[must_use]
    pub fn script(mut self, script: impl Fn(&mut Session) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.script = Some(Arc::new(script));
        self
    }

    /// Starts it on a free port.
    pub fn start(self) -> TlsServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        self.start_on(listener)
    }

    /// Starts it.
    pub fn start_on(self, listener: TcpListener) -> TlsServer {
        let address = listener.local_addr().expect("the listener's address");
        let flags = Arc::new(Flags::default());
        let (sender, records) = channel();
        let for_acceptor = Arc::clone(&flags);
        // One for all connections, so that sessions can be resumed.
        let config = self.config();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if for_acceptor.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let (plan, sender, flags) = (self.clone(), sender.clone(), Arc::clone(&for_acceptor));
                let config = Arc::clone(&config);
                std::thread::spawn(move || Session::run(stream, plan, config, &sender, flags));
            }
        });
        TlsServer { address, records, flags }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(self.versions).expect("versions with cipher suites");
        let builder = match &self.demands {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone()).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let chain = vec![self.identity.certificate().clone()];
        Arc::new(builder.with_single_cert(chain, self.identity.key()).expect("a certificate and its key"))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("implicit", &self.implicit).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Flags {
    /// No more connections.
    stopping: AtomicBool,
    /// Those that are held may end.
    released: AtomicBool,
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct TlsServer {
    address: SocketAddr,
    records: Receiver<Record>,
    flags: Arc<Flags>,
}

impl TlsServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a target.
    pub fn target(&self) -> String {
        self.address.to_string()
    }

    /// The same with its name.
    pub fn named_target(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// What the next connection to end has left. Lets go of what [`Session::hold`] holds.
    pub fn record(&self) -> Record {
        self.flags.released.store(true, Ordering::SeqCst);
        let record = self.records.recv_timeout(PATIENCE).expect("the connection ends");
        self.flags.released.store(false, Ordering::SeqCst);
        record
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.flags.stopping.store(true, Ordering::SeqCst);
        self.flags.released.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to stop.
        let _ = TcpStream::connect(self.address);
    }
}

/// What a server got on one connection.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Everything before the switch to TLS.
    pub clear: Vec<u8>,
    /// Everything after the switch, as it came.
    pub wire: Vec<u8>,
    /// Everything after the switch, decrypted.
    pub within: Vec<u8>,
    /// The content of each message, without stuffed dots.
    pub messages: Vec<Vec<u8>>,
    /// How the handshake went, if there was one: the version, or what was wrong.
    pub handshake: Option<Result<ProtocolVersion, rustls::Error>>,
    /// The host that the client asked for.
    pub asked_for: Option<String>,
    /// What the client showed.
    pub client_certificate: Option<CertificateDer<'static>>,
    /// 32 octets exported for RFC 9266.
    pub exporter: Option<Vec<u8>>,
    /// The client ended TLS by close_notify.
    pub close_notify: bool,
}

impl Record {
    /// The commands in clear.
    pub fn commands_in_clear(&self) -> Vec<String> {
        commands(&self.clear)
    }

    /// The commands within TLS, up to the first content.
    pub fn commands(&self) -> Vec<String> {
        commands(&self.within)
    }

    /// The content type of each TLS record after the switch. `None` if there was anything else than whole records.
    pub fn types(&self) -> Option<Vec<u8>> {
        let mut rest = self.wire.as_slice();
        let mut types = Vec::new();
        while let [kind @ 20..=23, 3, 1..=4, high, low, behind @ ..] = rest {
            types.push(*kind);
            rest = behind.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
        }
        rest.is_empty().then_some(types)
    }

    /// Whether `needle` came in clear, before the switch or after it.
    pub fn showed(&self, needle: &str) -> bool {
        [&self.clear, &self.wire].iter().any(|octets| octets.windows(needle.len()).any(|at| at == needle.as_bytes()))
    }
}

fn commands(octets: &[u8]) -> Vec<String> {
    let mut lines = String::from_utf8_lossy(octets).lines().map(str::to_owned).collect::<Vec<_>>();
    let data = lines.iter().position(|line| line == "DATA");
    lines.truncate(data.map_or(usize::MAX, |data| data + 1));
    lines
}

/// The socket, with a note of what came.
#[derive(Debug)]
struct Tap {
    socket: TcpStream,
    heard: Vec<u8>,
    /// How many octets may still be sent.
    left: usize,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.socket.read(buffer)?;
        self.heard.extend_from_slice(&buffer[..length]);
        Ok(length)
    }
}

impl Write for Tap {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.socket.shutdown(Shutdown::Both)?;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let length = self.socket.write(&octets[..octets.len().min(self.left)])?;
        self.left -= length;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// One connection, as its server sees it. A script that returns `Ok` closes the stream at once, without `close_notify`.
#[derive(Debug)]
pub struct Session {
    plan: Plan,
    config: Arc<ServerConfig>,
    tap: Tap,
    tls: Option<ServerConnection>,
    /// What came and is not used yet.
    buffer: Vec<u8>,
    record: Record,
    flags: Arc<Flags>,
}

impl Session {
    fn run(socket: TcpStream, plan: Plan, config: Arc<ServerConfig>, sender: &Sender<Record>, flags: Arc<Flags>) {
        let ready = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(PATIENCE)));
        ready.and_then(|()| socket.set_write_timeout(Some(PATIENCE))).expect("a socket with options");
        let tap = Tap { socket, heard: Vec::new(), left: usize::MAX };
        let mut session = Self { plan, config, tap, tls: None, buffer: Vec::new(), record: Record::default(), flags };
        if session.converse().is_err() {
            session.drain();
        }
        let Self { tap, tls, mut record, .. } = session;
        match (&tls, &record.handshake) {
            (None, None) => record.clear = tap.heard,
            _ => record.wire = tap.heard,
        }
        drop(tap.socket);
        let _ = sender.send(record);
    }

    fn converse(&mut self) -> io::Result<()> {
        if !self.plan.implicit {
            self.say("220 tls.example ready")?;
            self.serve_until("STARTTLS")?;
        }
        self.switch()?;
        if let Some(script) = self.plan.script.clone() {
            return script(self);
        }
        if self.plan.implicit {
            self.say("220 tls.example ready")?;
        }
        self.serve()
    }

    /// Goes over to TLS.
    fn switch(&mut self) -> io::Result<()> {
        self.record.clear = std::mem::take(&mut self.tap.heard);
        self.record.handshake = Some(Err(rustls::Error::HandshakeNotComplete));
        match self.plan.handshake.clone() {
            Handshake::Done => {}
            Handshake::Behind(octets) => {
                self.await_beginning()?;
                self.tap.write_all(&octets)?;
            }
            Handshake::Instead(octets) => {
                self.await_beginning()?;
                self.tap.write_all(&octets)?;
                return Err(io::ErrorKind::Unsupported.into());
            }
            Handshake::Drip(octets, pause) => {
                self.await_beginning()?;
                self.drip(&octets, pause)?;
                return Err(io::ErrorKind::Unsupported.into());
            }
            Handshake::CutAfter(limit) => self.tap.left = limit,
        }
        let mut tls = ServerConnection::new(Arc::clone(&self.config)).expect("a configuration");
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut self.tap) {
                if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
                    self.record.handshake = Some(Err(error.clone()));
                }
                self.record.asked_for = tls.server_name().map(str::to_owned);
                return Err(error);
            }
        }
        self.record.handshake = tls.protocol_version().map(Ok);
        self.record.asked_for = tls.server_name().map(str::to_owned);
        self.record.client_certificate = tls.peer_certificates().and_then(<[_]>::first).cloned();
        let exported = tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
        self.record.exporter = exported.ok();
        self.tls = Some(tls);
        Ok(())
    }

    /// Waits until the client begins the handshake, and so has read all that came before.
    fn await_beginning(&self) -> io::Result<()> {
        self.tap.socket.peek(&mut [0]).map(drop)
    }

    /// Is a mail server until QUIT.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn serve(&mut self) -> io::Result<()> {
        self.serve_until("QUIT")?;
        self.say("221 2.0.0 bye")
    }

    /// Is a mail server until the client says a command with this verb, which is left to be answered.
    ///
    /// # Errors
    ///
    /// Those of the stream, and its end.
    pub fn serve_until(&mut self, last: &str) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "STARTTLS" if self.tls.is_none() => {
                    let segments = self.plan.go_ahead.clone();
                    for (index, segment) in segments.iter().enumerate() {
                        if index > 0 {
                            std::thread::sleep(Duration::from_millis(50));
                        }
                        self.octets(segment.as_bytes())?;
                    }
                    if segments.concat().starts_with("220") {
                        return Ok(());
                    }
                }
                verb if verb == last => return Ok(()),
                "EHLO" => self.hello()?,
                "HELO" => self.say("250 tls.example")?,
                "AUTH" => self.authenticate(line)?,
                "MAIL" | "RCPT" | "NOOP" | "RSET" => self.say("250 2.0.0 ok")?,
                "DATA" => {
                    self.say("354 end with a dot on a line of its own")?;
                    self.content()?;
                    self.say("250 2.0.0 stored")?;
                }
                "QUIT" => {
                    self.say("221 2.0.0 bye")?;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                _ => self.say("502 5.5.2 not implemented")?,
            }
        }
    }

    fn authenticate(&mut self, mut line: String) -> io::Result<()> {
        let Some(account) = &self.plan.account else { return self.say("235 2.7.0 welcome") };
        let mut server = SaslServer::new(account.clone());
        loop {
            let reply = server.hear(&line);
            self.octets(reply.as_bytes())?;
            if !reply.starts_with("334") {
                return Ok(());
            }
            line = self.line()?;
        }
    }

    fn hello(&mut self) -> io::Result<()> {
        let (keywords, behind) = match self.tls {
            Some(_) => (&self.plan.within, ""),
            None => (&self.plan.in_clear, self.plan.behind_hello),
        };
        let lines: String = keywords.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
        self.octets(format!("250-tls.example\r\n{lines}250 HELP\r\n{behind}").as_bytes())
    }

    /// Reads the content of a message to its end, and notes it.
    ///
    /// # Errors
    ///
    /// Those of the stream, and its end.
    pub fn content(&mut self) -> io::Result<()> {
        const END: &[u8] = b"\r\n.\r\n";
        let mut content = b"\r\n".to_vec();
        let end = loop {
            let searched = content.len().saturating_sub(END.len());
            content.append(&mut self.buffer);
            if let Some(at) = content[searched..].windows(END.len()).position(|at| at == END) {
                break searched + at;
            }
            self.fill()?;
        };
        self.buffer = content.split_off(end + END.len());
        let lines = content[2..end + 2].split_inclusive(|&octet| octet == b'\n');
        let message = lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line)).copied().collect();
        self.record.messages.push(message);
        Ok(())
    }

    /// Reads a line, without its line end.
    ///
    /// # Errors
    ///
    /// Those of the stream, and its end.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&octet| octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.fill()?;
        }
    }

    /// Reads so many octets at least.
    ///
    /// # Errors
    ///
    /// Those of the stream, and its end.
    pub fn take(&mut self, least: usize) -> io::Result<()> {
        while self.buffer.len() < least {
            self.fill()?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Reads once. In clear one octet, so that none behind STARTTLS is taken for clear.
    fn fill(&mut self) -> io::Result<()> {
        let mut octets = vec![0; if self.tls.is_some() { 16 * 1024 } else { 1 }];
        let length = match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.tap).read(&mut octets)?,
            None => self.tap.read(&mut octets)?,
        };
        if length == 0 {
            // Without close_notify that is an error.
            self.record.close_notify = self.tls.is_some();
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.tls.is_some() {
            self.record.within.extend_from_slice(&octets[..length]);
        }
        self.buffer.extend_from_slice(&octets[..length]);
        Ok(())
    }

    /// Says a line.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        self.octets(format!("{line}\r\n").as_bytes())
    }

    /// Says these octets, in one TLS record if they are few.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn octets(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls, &mut self.tap);
                stream.write_all(octets)?;
                stream.flush()
            }
            None => self.tap.write_all(octets),
        }
    }

    /// Encrypts these octets, for [`beneath`](Self::beneath). The next ones will only be understood once these were sent.
    ///
    /// # Panics
    ///
    /// In clear.
    pub fn seal(&mut self, octets: &[u8]) -> Vec<u8> {
        let tls = self.tls.as_mut().expect("TLS");
        tls.writer().write_all(octets).expect("room");
        self.pending()
    }

    /// Says `close_notify`.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    ///
    /// # Panics
    ///
    /// In clear.
    pub fn close_notify(&mut self) -> io::Result<()> {
        self.tls.as_mut().expect("TLS").send_close_notify();
        let alert = self.pending();
        self.beneath(&alert)
    }

    /// Changes the keys and asks the client to do so, too.
    ///
    /// # Errors
    ///
    /// Those of TLS.
    ///
    /// # Panics
    ///
    /// In clear.
    pub fn change_keys(&mut self) -> Result<(), rustls::Error> {
        self.tls.as_mut().expect("TLS").refresh_traffic_keys()
    }

    /// What TLS has to send.
    fn pending(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        let tls = self.tls.as_mut().expect("TLS");
        while tls.wants_write() {
            tls.write_tls(&mut records).expect("memory");
        }
        records
    }

    /// Sends these octets as they are, beneath TLS.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn beneath(&mut self, octets: &[u8]) -> io::Result<()> {
        self.tap.write_all(octets)
    }

    /// Sends these octets as they are, one at a time with such pauses, until the client goes.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn drip(&mut self, octets: &[u8], pause: Duration) -> io::Result<()> {
        octets.chunks(1).try_for_each(|octet| {
            std::thread::sleep(pause);
            self.beneath(octet)
        })
    }

    /// Reads nothing and says nothing until [`TlsServer::record`] is called.
    pub fn hold(&mut self) {
        while !self.flags.released.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Notes whatever still comes.
    pub fn drain(&mut self) {
        let mut octets = vec![0; 16 * 1024];
        while self.tap.read(&mut octets).is_ok_and(|length| length > 0) {}
    }
}
