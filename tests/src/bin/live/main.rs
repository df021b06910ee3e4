//! Sends real mail to real servers by both drivers, and compares what arrived with what was sent, octet by
//! octet; sees how sessions come to TLS and authentication, or refuse to be without, and what is told of a server that
//! fails. `tests/live.sh` installs and starts the servers and then runs this.

mod auth;
mod extensions;
mod mail;
mod relays;
mod session;
mod sink;
mod sink_cases;
mod tls;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use libtest_mimic::{Arguments, Failed, Trial};
use smtp_blocking::Stream;
use smtp_conformance::app::report_lines;
use smtp_driver::{Error, Options, Tls, Transcript};
use smtp_proto::{ForwardPath, HelloName, Report, ReversePath, TlsMode, Transaction};
use smtp_tokio::Duplex;

use crate::session::{Driver, Session};

/// Where the servers are. The scripts in `tests/live/` say what each port is like. What else is given goes to the test
/// runner.
#[derive(Parser)]
struct Places {
    #[arg(long)]
    postfix: u16,
    #[arg(long)]
    postfix_tls: u16,
    #[arg(long)]
    postfix_must_starttls: u16,
    #[arg(long)]
    postfix_plain: u16,
    #[arg(long)]
    postfix_size: u16,
    #[arg(long)]
    postfix_slow: u16,
    #[arg(long)]
    postfix_idle: u16,
    #[arg(long)]
    postfix_expired: u16,
    #[arg(long)]
    postfix_certificate: u16,
    #[arg(long)]
    postfix_newline: u16,
    #[arg(long)]
    postfix_mail: PathBuf,
    #[arg(long)]
    exim: u16,
    #[arg(long)]
    exim_tls: u16,
    #[arg(long)]
    exim_must_starttls: u16,
    #[arg(long)]
    exim_slow: u16,
    #[arg(long)]
    exim_plain: u16,
    #[arg(long)]
    exim_idle: u16,
    #[arg(long)]
    exim_expired: u16,
    #[arg(long)]
    exim_wrong_name: u16,
    #[arg(long)]
    exim_size: u16,
    #[arg(long)]
    exim_mail: PathBuf,
    #[arg(long)]
    dovecot: u16,
    #[arg(long)]
    dovecot_tls: u16,
    #[arg(long)]
    dovecot_submission: u16,
    #[arg(long)]
    dovecot_submission_tls: u16,
    #[arg(long)]
    dovecot_socket: PathBuf,
    #[arg(long)]
    dovecot_mail: PathBuf,
    #[arg(long)]
    dovecot_tokens: PathBuf,
    #[arg(long)]
    aiosmtpd: u16,
    #[arg(long)]
    aiosmtpd_tls: u16,
    #[arg(long)]
    aiosmtpd_must_starttls: u16,
    #[arg(long)]
    aiosmtpd_idle: u16,
    #[arg(long)]
    aiosmtpd_lmtp: u16,
    #[arg(long)]
    aiosmtpd_socket: PathBuf,
    #[arg(long)]
    aiosmtpd_mail: PathBuf,
    /// The first of the ports for smtp-sink, which is started by the tests.
    #[arg(long)]
    sinks: u16,
    /// The throw-away certificates.
    #[arg(long)]
    certs: PathBuf,
    /// Who talks to them in the tests that are made of this.
    #[arg(skip = Driver::Blocking)]
    driver: Driver,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

fn main() {
    let mut places = Places::parse();
    let runner = std::iter::once("live".to_owned()).chain(places.runner.iter().cloned());
    let mut arguments = Arguments::from_iter(runner);
    // The tests wait for the servers most of the time.
    arguments.test_threads.get_or_insert(8);
    let mut trials = Vec::new();
    for driver in Driver::ALL {
        places.driver = driver;
        trials.extend(mail::trials(&places));
        trials.extend(extensions::trials(&places));
        trials.extend(relays::trials(&places));
        trials.extend(auth::trials(&places));
        trials.extend(tls::trials(&places));
        trials.extend(sink::trials(&places));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test of something at a target, and its name.
fn trial<T: Clone + Send + 'static>(
    target: &Target,
    name: impl AsRef<str>,
    subject: &T,
    test: impl FnOnce(&T) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let subject = subject.clone();
    Trial::test(format!("{}::{}::{}", target.driver, target.name, name.as_ref()), move || test(&subject))
}

impl Places {
    /// A server that is spoken to in clear.
    fn target(&self, name: &str, place: Place, mail: &Path) -> Target {
        Target {
            name: name.into(),
            driver: self.driver,
            place,
            lmtp: false,
            pipelining: true,
            chunking: true,
            eight_bit: true,
            dsn: true,
            utf8: true,
            login: false,
            mode: TlsMode::None,
            tls: Tls::trusting_only(&self.pem("ca.pem")).expect("the CA is a certificate"),
            mail: mail.to_owned(),
        }
    }

    fn postfix(&self, name: &str, port: u16) -> Target {
        self.target(name, Place::Port(port), &self.postfix_mail)
    }

    fn exim(&self, name: &str, port: u16) -> Target {
        self.target(name, Place::Port(port), &self.exim_mail)
    }

    fn dovecot(&self, name: &str, place: Place) -> Target {
        Target { lmtp: true, ..self.target(name, place, &self.dovecot_mail) }
    }

    fn aiosmtpd(&self, name: &str, place: Place) -> Target {
        Target { chunking: false, ..self.target(name, place, &self.aiosmtpd_mail) }
    }

    fn pem(&self, name: &str) -> Vec<u8> {
        fs::read(self.certs.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// A server, and a way to talk to it.
#[derive(Clone)]
struct Target {
    name: String,
    driver: Driver,
    place: Place,
    lmtp: bool,
    pipelining: bool,
    /// Whether the place offers CHUNKING.
    chunking: bool,
    /// Whether the place offers 8BITMIME.
    eight_bit: bool,
    /// Whether the place offers DSN.
    dsn: bool,
    /// Whether the place offers SMTPUTF8.
    utf8: bool,
    /// Whether the place takes mail only from whoever has logged in.
    login: bool,
    /// How to come to TLS.
    mode: TlsMode,
    /// Whom to trust and who to be: the throw-away CA, and nobody.
    tls: Tls,
    mail: PathBuf,
}

#[derive(Clone)]
enum Place {
    Port(u16),
    Socket(PathBuf),
}

type Test = fn(&Target) -> Result<(), Failed>;

impl Target {
    fn options(&self) -> Options {
        let options = if self.lmtp { Options::lmtp() } else { Options::smtp() };
        let options = options.hello_name(hello()).configure(|config| config.pipelining = self.pipelining);
        options.tls_mode(self.mode).tls(self.tls.clone())
    }

    /// This place, with TLS.
    fn over(&self, mode: TlsMode) -> Self {
        Self { mode, ..self.clone() }
    }

    fn trial(&self, name: &str, test: impl FnOnce(&Self) -> Result<(), Failed> + Send + 'static) -> Trial {
        trial(self, name, self, test)
    }

    /// This place, when these are trusted.
    fn trusting(&self, tls: Tls) -> Self {
        Self { tls, ..self.clone() }
    }

    /// This place, shown the client's certificate.
    fn certified(&self, places: &Places) -> Self {
        let tls = self.tls.clone().identity(&places.pem("client.chain.pem"), &places.pem("client.key"));
        Self { tls: tls.expect("a certificate and its key"), ..self.clone() }
    }

    /// Its address, if it has a port.
    fn address(&self) -> String {
        match self.place {
            Place::Port(port) => format!("127.0.0.1:{port}"),
            Place::Socket(_) => unreachable!("nothing that needs a port is tested on a socket"),
        }
    }

    /// Starts a session; with what goes over the wire in it.
    fn connect(&self, options: Options) -> (Result<Session, Error>, Lines) {
        let lines = Lines::default();
        (self.session(options.transcript(lines.hook())), lines)
    }

    fn session(&self, options: Options) -> Result<Session, Error> {
        Session::connect(self.driver, &self.address(), options)
    }

    /// Sends messages over one connection and takes leave.
    fn send_all(&self, options: Options, messages: &[(Transaction, &[u8])]) -> Vec<Result<Report, Error>> {
        fn all<B: Stream, T: Duplex>(
            client: Result<Session<B, T>, Error>,
            messages: &[(Transaction, &[u8])],
        ) -> Vec<Result<Report, Error>> {
            let mut client = match client {
                Ok(client) => client,
                Err(error) => return vec![Err(error)],
            };
            let results =
                messages.iter().map(|(transaction, message)| client.send(transaction.clone(), message)).collect();
            if client.connection().close_reason().is_none() {
                client.quit().expect("the session ends well");
            }
            results
        }
        match &self.place {
            Place::Port(_) => all(self.session(options), messages),
            Place::Socket(path) => all(Session::connect_unix(self.driver, path, options), messages),
        }
    }

    fn send(&self, transaction: Transaction, message: &[u8]) -> Result<Report, Error> {
        self.send_all(self.options(), &[(transaction, message)]).remove(0)
    }

    /// Sends a message to `user1`, who has to get exactly `expected` after its headers of the way.
    fn delivers(&self, transaction: Transaction, message: &Message, expected: &[u8]) -> Result<(), Failed> {
        let report = self.send(transaction, &message.octets)?;
        if !report.is_complete_success() {
            return Err(shown(&report).into());
        }
        self.arrived("user1", message, expected)
    }

    /// Waits for a message and compares it.
    fn arrived(&self, user: &str, message: &Message, expected: &[u8]) -> Result<(), Failed> {
        let stored = self.find(user, &message.mark).ok_or_else(|| format!("{user} never got {}", message.mark))?;
        let expected = with_lf(expected);
        let stored = with_lf(&stored);
        if stored.ends_with(&expected) {
            return Ok(());
        }
        let start = stored.len().saturating_sub(expected.len());
        let same = stored[start..].iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let around = |octets: &[u8]| {
            String::from_utf8_lossy(&octets[same.saturating_sub(40).min(octets.len())..(same + 60).min(octets.len())])
                .into_owned()
        };
        Err(format!("{user} got {:?} instead of {:?}", around(&stored[start..]), around(&expected)).into())
    }

    /// The message with that mark in a user's maildir, as soon as it is there.
    fn find(&self, user: &str, mark: &str) -> Option<Vec<u8>> {
        wait_for(|| fs::read(self.files(user, mark).first()?).ok())
    }

    /// The files in a user's maildir that have that mark near their beginning; some are too large to read all of each.
    fn files(&self, user: &str, mark: &str) -> Vec<PathBuf> {
        let marked = |path: &PathBuf| -> io::Result<bool> {
            let mut head = Vec::new();
            File::open(path)?.take(20_000).read_to_end(&mut head)?;
            Ok(head.windows(mark.len()).any(|window| window == mark.as_bytes()))
        };
        let entries = fs::read_dir(self.mail.join(user).join("new")).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| marked(path).unwrap_or(false)).collect()
    }
}

/// What goes over the wire, line by line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn hook(&self) -> impl Fn(Transcript<'_>) + Send + Sync + 'static {
        let lines = self.clone();
        move |line| lines.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_string())
    }

    /// The lines that start so.
    fn starting(&self, with: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.starts_with(with)).cloned().collect()
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        match look() {
            None if start.elapsed() < Duration::from_secs(60) => std::thread::sleep(Duration::from_millis(50)),
            found => return found,
        }
    }
}

/// A message with a mark in its headers by which it is found again.
struct Message {
    mark: String,
    octets: Vec<u8>,
}

impl Message {
    /// Headers of its own, then `body` as it is.
    fn new(body: impl AsRef<[u8]>) -> Self {
        Self::with_header("", body)
    }

    fn with_header(header: &str, body: impl AsRef<[u8]>) -> Self {
        Self::with_headers(&format!("{header}Subject: live\r\n"), body)
    }

    /// With a subject of its own.
    fn about(subject: &str, body: impl AsRef<[u8]>) -> Self {
        Self::with_headers(&format!("Subject: {subject}\r\n"), body)
    }

    fn with_headers(more: &str, body: impl AsRef<[u8]>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("<live-{}-{}@client.lab.test>", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let headers = format!(
            "From: sender@lab.test\r\nTo: user1@lab.test\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: {mark}\r\n{more}\r\n"
        );
        Self { mark, octets: [headers.as_bytes(), body.as_ref()].concat() }
    }
}

fn with_lf(octets: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(octets.len());
    for (index, &octet) in octets.iter().enumerate() {
        if octet != b'\r' || octets.get(index + 1) != Some(&b'\n') {
            lines.push(octet);
        }
    }
    lines
}

fn hello() -> HelloName {
    HelloName::parse("client.lab.test").expect("a valid name")
}

fn shown(report: &Report) -> String {
    report_lines(report).collect::<Vec<_>>().join("\n")
}

fn path(user: &str) -> ForwardPath {
    ForwardPath::parse(&format!("{user}@lab.test")).expect("a valid path")
}

fn from(user: &str) -> Transaction {
    Transaction::new(ReversePath::parse(&format!("{user}@lab.test")).expect("a valid path"))
}

fn to_user1() -> Transaction {
    from("sender").to(path("user1"))
}

/// Whether two things that were to be equal are; with both in the failure.
fn same<T: PartialEq + std::fmt::Debug>(seen: T, expected: T) -> Result<(), Failed> {
    if seen == expected { Ok(()) } else { Err(format!("{seen:?} instead of {expected:?}").into()) }
}
