//! Sends real mail to real servers through the blocking driver, and compares what arrived with what was sent, octet by
//! octet. `tests/live.sh` installs and starts the servers and then runs this.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use libtest_mimic::{Arguments, Failed, Trial};
use smtp_blocking::{Client, Connector, Error, Stream};
use smtp_conformance::app::report_lines;
use smtp_proto::{
    BodyType, Chunking, Extension, Failure, ForwardPath, HelloName, LineEndings, Outcome, Report, ReversePath, Stage,
    Transaction, UsageError,
};

/// Where the servers are. What else is given goes to the test runner.
#[derive(Parser)]
struct Places {
    #[arg(long)]
    postfix: u16,
    /// A port that offers no extension.
    #[arg(long)]
    postfix_plain: u16,
    #[arg(long)]
    postfix_mail: PathBuf,
    #[arg(long)]
    exim: u16,
    /// A port without PIPELINING that refuses whatever comes before its turn.
    #[arg(long)]
    exim_plain: u16,
    #[arg(long)]
    exim_mail: PathBuf,
    #[arg(long)]
    dovecot: u16,
    #[arg(long)]
    dovecot_socket: PathBuf,
    #[arg(long)]
    dovecot_mail: PathBuf,
    /// The throw-away certificates; not needed yet.
    #[arg(long)]
    certs: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// A server, and a way to talk to it.
#[derive(Clone)]
struct Target {
    name: &'static str,
    place: Place,
    lmtp: bool,
    pipelining: bool,
    /// Whether the place offers CHUNKING.
    chunking: bool,
    /// Whether the place offers 8BITMIME.
    eight_bit: bool,
    mail: PathBuf,
}

#[derive(Clone)]
enum Place {
    Port(u16),
    Socket(PathBuf),
}

type Test = fn(&Target) -> Result<(), Failed>;

fn main() {
    let places = Places::parse();
    let runner = std::iter::once("live".to_owned()).chain(places.runner.iter().cloned());
    let mut trials = Vec::new();
    for target in targets(&places) {
        let common: &[(&str, Test)] = &[
            ("plain_text", plain_text),
            ("leading_dots", leading_dots),
            ("no_final_line_end", no_final_line_end),
            ("bare_line_ends", bare_line_ends),
            ("long_lines", long_lines),
            ("eight_bit", eight_bit),
            ("several_messages", several_messages),
            ("by_bdat", by_bdat),
            ("a_thousand_recipients", a_thousand_recipients),
            ("ten_mebibytes", ten_mebibytes),
        ];
        let smtp: &[(&str, Test)] = &[
            ("refused_and_put_off", refused_and_put_off),
            ("all_refused", all_refused),
            ("data_refused", data_refused),
            ("content_refused", content_refused),
        ];
        let lmtp: &[(&str, Test)] =
            &[("a_final_reply_each", a_final_reply_each), ("a_recipient_twice", a_recipient_twice)];
        for (name, test) in common.iter().chain(if target.lmtp { lmtp } else { smtp }) {
            let (target, test) = (target.clone(), *test);
            trials.push(Trial::test(format!("{}::{name}", target.name), move || test(&target)));
        }
    }
    libtest_mimic::run(&Arguments::from_iter(runner), trials).exit();
}

fn targets(places: &Places) -> Vec<Target> {
    assert!(places.certs.is_dir(), "no certificates in {}", places.certs.display());
    let target = |name, place, mail: &Path| Target {
        name,
        place,
        lmtp: false,
        pipelining: true,
        chunking: true,
        eight_bit: true,
        mail: mail.to_owned(),
    };
    let (postfix, exim, dovecot) = (&places.postfix_mail, &places.exim_mail, &places.dovecot_mail);
    vec![
        target("postfix_pipelined", Place::Port(places.postfix), postfix),
        Target { pipelining: false, ..target("postfix_lock_step", Place::Port(places.postfix), postfix) },
        Target {
            chunking: false,
            eight_bit: false,
            ..target("postfix_plain", Place::Port(places.postfix_plain), postfix)
        },
        target("exim_pipelined", Place::Port(places.exim), exim),
        Target { pipelining: false, ..target("exim_lock_step", Place::Port(places.exim), exim) },
        Target { chunking: false, ..target("exim_plain", Place::Port(places.exim_plain), exim) },
        Target { lmtp: true, ..target("dovecot_lmtp", Place::Port(places.dovecot), dovecot) },
        Target { lmtp: true, ..target("dovecot_lmtp_unix", Place::Socket(places.dovecot_socket.clone()), dovecot) },
    ]
}

impl Target {
    fn connector(&self) -> Connector {
        let connector = if self.lmtp { Connector::lmtp() } else { Connector::smtp() };
        let name = HelloName::parse("client.lab.test").expect("a valid name");
        connector.hello_name(name).configure(|config| config.pipelining = self.pipelining)
    }

    /// Sends messages over one connection and takes leave.
    fn send_all(&self, connector: Connector, messages: &[(Transaction, &[u8])]) -> Vec<Result<Report, Error>> {
        fn all<S: Stream>(
            client: Result<Client<S>, Error>,
            messages: &[(Transaction, &[u8])],
        ) -> Vec<Result<Report, Error>> {
            let mut client = match client {
                Ok(client) => client,
                Err(error) => return vec![Err(error)],
            };
            let results =
                messages.iter().map(|(transaction, message)| client.send(transaction.clone(), *message)).collect();
            if client.connection().close_reason().is_none() {
                client.quit().expect("the session ends well");
            }
            results
        }
        match &self.place {
            Place::Port(port) => all(connector.connect(&format!("127.0.0.1:{port}")), messages),
            Place::Socket(path) => all(connector.connect_unix(path), messages),
        }
    }

    fn send(&self, transaction: Transaction, message: &[u8]) -> Result<Report, Error> {
        self.send_all(self.connector(), &[(transaction, message)]).remove(0)
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
        let folder = self.mail.join(user).join("new");
        wait_for(|| {
            let files = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            let contents = files.filter_map(|file| fs::read(file.path()).ok());
            { contents }
                .find(|content| content.windows(mark.len()).take(20_000).any(|window| window == mark.as_bytes()))
        })
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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("<live-{}-{}@client.lab.test>", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let headers = format!(
            "From: sender@lab.test\r\nTo: user1@lab.test\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: {mark}\r\n{header}Subject: live\r\n\r\n"
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

fn plain_text(target: &Target) -> Result<(), Failed> {
    let message = Message::new("hello\r\n\r\nworld\r\n");
    target.delivers(to_user1().content(&message.octets), &message, &message.octets)
}

fn leading_dots(target: &Target) -> Result<(), Failed> {
    let message = Message::new(".\r\n..\r\n.hidden\r\na.b\r\n\r\n.\r\n...\r\n");
    target.delivers(to_user1(), &message, &message.octets)
}

fn no_final_line_end(target: &Target) -> Result<(), Failed> {
    let message = Message::new("the last line has no end");
    let ended = [&message.octets[..], b"\r\n"].concat();
    target.delivers(to_user1().content(&message.octets), &message, &ended)
}

/// Bare CR and LF leave as line ends, or, strictly, not at all.
fn bare_line_ends(target: &Target) -> Result<(), Failed> {
    let message = Message::new("one\ntwo\rthree\n.\nfour\r\n");
    let strict = target.connector().configure(|config| config.line_endings = LineEndings::Strict);
    let refused = target.send_all(strict, &[(to_user1(), &message.octets)]).remove(0);
    if !matches!(refused, Err(Error::Content { .. })) {
        return Err(format!("strict line ends let {refused:?} through").into());
    }
    let end = message.octets.len() - "one\ntwo\rthree\n.\nfour\r\n".len();
    let normalized = [&message.octets[..end], b"one\r\ntwo\r\nthree\r\n.\r\nfour\r\n"].concat();
    target.delivers(to_user1().content(&message.octets), &message, &normalized)
}

/// Lines of 998 octets arrive everywhere; what a server does with longer ones is its own affair, so only that it takes
/// them is tested.
fn long_lines(target: &Target) -> Result<(), Failed> {
    let message = Message::new(format!("{}\r\n.{}\r\n", "x".repeat(998), "y".repeat(997)));
    target.delivers(to_user1(), &message, &message.octets)?;
    let longer = Message::new(format!("{}\r\n", "x".repeat(1500)));
    let report = target.send(to_user1(), &longer.octets)?;
    same(report.is_complete_success(), true)
}

fn eight_bit(target: &Target) -> Result<(), Failed> {
    let message = Message::new("gr\u{fc}\u{df}e \u{2014} \u{65e5}\u{672c}\r\n".as_bytes());
    let declared = to_user1().content(&message.octets);
    if !target.eight_bit {
        // Not offered, so not sent.
        let refused = target.send(declared, &message.octets);
        let missing = UsageError::Missing(Extension::EightBitMime);
        same(matches!(&refused, Err(Error::Failure(Failure::Usage(error))) if *error == missing), true)?;
        let undeclared = target.send(to_user1().body_type(BodyType::SevenBit), &message.octets);
        return same(matches!(undeclared, Err(Error::Content { .. })), true);
    }
    target.delivers(declared, &message, &message.octets)
}

/// The same content by BDAT, in one chunk and in many, where that is offered; elsewhere by DATA all the same.
fn by_bdat(target: &Target) -> Result<(), Failed> {
    let small = Message::new(".\r\n..\r\nby BDAT\r\n");
    let large = Message::new(".0123456789\r\n".repeat(100_000));
    let connector = target.connector().configure(|config| config.chunking = Chunking::Prefer);
    let offered = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&offered);
    let connector = connector.transcript(move |line| {
        seen.fetch_or(line.to_string().starts_with("C: BDAT"), Ordering::Relaxed);
    });
    for result in target.send_all(connector, &[(to_user1(), &small.octets), (to_user1(), &large.octets)]) {
        same(result?.is_complete_success(), true)?;
    }
    same(offered.load(Ordering::Relaxed), target.chunking)?;
    target.arrived("user1", &small, &small.octets)?;
    target.arrived("user1", &large, &large.octets)
}

fn several_messages(target: &Target) -> Result<(), Failed> {
    let messages: Vec<Message> = (0..5).map(|number| Message::new(format!("message {number}\r\n"))).collect();
    let all: Vec<_> = messages.iter().map(|message| (to_user1(), &message.octets[..])).collect();
    for result in target.send_all(target.connector(), &all) {
        same(result?.is_complete_success(), true)?;
    }
    messages.iter().try_for_each(|message| target.arrived("user1", message, &message.octets))
}

fn a_thousand_recipients(target: &Target) -> Result<(), Failed> {
    let message = Message::new("to a thousand\r\n");
    let transaction = from("sender").to_all((0..1000).map(|number| path(&format!("bulk{number}"))));
    let report = target.send(transaction, &message.octets)?;
    same(report.recipients().filter(|(_, outcome)| outcome.is_accepted()).count(), 1000)?;
    (0..1000).try_for_each(|number| target.arrived(&format!("bulk{number}"), &message, &message.octets))
}

fn ten_mebibytes(target: &Target) -> Result<(), Failed> {
    let mut body = String::new();
    for number in 0..(10 << 20) / 64 {
        body += &format!("{number:07} {}\r\n", ".".repeat(54));
    }
    let message = Message::new(body);
    target.delivers(to_user1().content(&message.octets), &message, &message.octets)
}

fn refused_and_put_off(target: &Target) -> Result<(), Failed> {
    let message = Message::new("for one of three\r\n");
    let transaction = from("sender").to(path("refused")).to(path("user1")).to(path("tempfail"));
    let report = target.send(transaction, &message.octets)?;
    let outcomes: Vec<_> = report.recipients().map(|(_, outcome)| outcome.clone()).collect();
    match outcomes.as_slice() {
        [
            Outcome::Refused { stage: Stage::Rcpt, transient: false, .. },
            Outcome::Accepted(_),
            Outcome::Refused { stage: Stage::Rcpt, transient: true, .. },
        ] => target.arrived("user1", &message, &message.octets),
        _ => Err(shown(&report).into()),
    }
}

/// Nobody gets it, and the session is good for the next message.
fn all_refused(target: &Target) -> Result<(), Failed> {
    let (lost, message) = (Message::new("for nobody\r\n"), Message::new("for somebody\r\n"));
    let nobody = from("sender").to(path("refused")).to(path("tempfail"));
    let results = target.send_all(target.connector(), &[(nobody, &lost.octets), (to_user1(), &message.octets)]);
    match results.as_slice() {
        [Err(Error::Failure(Failure::RecipientsRefused(report))), Ok(_)] => same(report.refused().count(), 2)?,
        other => return Err(format!("{other:?}").into()),
    }
    target.arrived("user1", &message, &message.octets)
}

fn data_refused(target: &Target) -> Result<(), Failed> {
    let message = Message::new("never\r\n");
    let results = target.send_all(
        target.connector(),
        &[(from("nodata").to(path("user1")), &message.octets), (to_user1(), &message.octets)],
    );
    match results.as_slice() {
        [Err(Error::Failure(Failure::DataRefused { reply, .. })), Ok(_)] => same(reply.code().get(), 554),
        other => Err(format!("{other:?}").into()),
    }
}

fn content_refused(target: &Target) -> Result<(), Failed> {
    let message = Message::with_header("X-Lab: reject-eod\r\n", "never\r\n");
    let error = target.send(to_user1(), &message.octets).err().ok_or("the content was not refused")?;
    let Some(Failure::DataRefused { report, .. }) = error.failure() else { return Err(error.into()) };
    let stage = report.recipients().map(|(_, outcome)| outcome.clone()).next();
    same(matches!(stage, Some(Outcome::Refused { stage: Stage::Content, transient: false, .. })), true)
}

fn a_final_reply_each(target: &Target) -> Result<(), Failed> {
    let message = Message::new("each by themselves\r\n");
    let transaction = from("sender")
        .to(path("nobody"))
        .to(path("overquota"))
        .to(path("user1"))
        .to(path("tempfail"))
        .to(path("user2"));
    let report = target.send(transaction, &message.octets)?;
    let outcomes: Vec<_> = report.recipients().map(|(_, outcome)| outcome.clone()).collect();
    match outcomes.as_slice() {
        [
            Outcome::Refused { stage: Stage::Rcpt, transient: false, .. },
            Outcome::Refused { stage: Stage::Content, transient: false, .. },
            Outcome::Accepted(_),
            Outcome::Refused { stage: Stage::Content, transient: true, .. },
            Outcome::Accepted(_),
        ] => {}
        _ => return Err(shown(&report).into()),
    }
    target.arrived("user1", &message, &message.octets)?;
    target.arrived("user2", &message, &message.octets)
}

fn a_recipient_twice(target: &Target) -> Result<(), Failed> {
    let message = Message::new("twice\r\n");
    let report = target.send(to_user1().to(path("user1")), &message.octets)?;
    same(report.recipients().filter(|(_, outcome)| outcome.is_accepted()).count(), 2)?;
    target.arrived("user1", &message, &message.octets)
}
