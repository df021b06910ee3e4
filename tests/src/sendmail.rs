//! The sendmail examples, but for the driver: command line, exit codes, what is printed, and the demonstration.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use smtp_driver::{Error, Options, Tls};
use smtp_proto::sasl::{Credentials, Secret};
use smtp_proto::{
    Chunking, CloseReason, EnvelopeId, Failure, ForwardPath, HelloName, Notify, Outcome, Report, Ret, ReversePath,
    TlsMode, Transaction, message,
};

use crate::loopback::Loopback;

/// A message to deliver.
#[derive(Debug)]
pub struct Job {
    /// Where to: `HOST[:PORT]`, or the path of a Unix socket.
    pub server: String,
    /// How to connect.
    pub options: Options,
    /// Who it is from and for.
    pub transaction: Transaction,
    /// Where it is.
    pub message: Message,
}

/// Where a message is.
#[derive(Debug)]
pub enum Message {
    /// In memory.
    Octets(Vec<u8>),
    /// In a file.
    File(PathBuf),
    /// On the standard input.
    Stdin,
}

/// Sends a message over SMTP or LMTP, as it is: headers are the message's own business, addresses the command line's, unless
/// --message says otherwise.
///
/// Exit codes are those of sysexits.h: 0 all recipients accepted, 64 wrong usage, 65 the message may not be sent, 66 it
/// cannot be read, 68 unknown host, 69 refused for good, 75 refused for now or not known, 76 the server broke the protocol,
/// 77 authentication failed, 78 no TLS as it is required.
#[derive(Parser)]
#[command(name = "sendmail", version)]
struct Arguments {
    /// The server; for a Unix socket its path, with a slash.
    #[arg(long, value_name = "HOST[:PORT]")]
    server: String,
    /// Who gets the bounces; empty for nobody.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "message", value_parser = ReversePath::parse)]
    from: Option<ReversePath>,
    /// Who gets the message.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "message", num_args = 1.., value_parser = ForwardPath::parse)]
    to: Option<Vec<ForwardPath>>,
    /// Take the addresses that are not given from the headers of the message, and Bcc out of it.
    #[arg(long)]
    message: bool,
    /// Speak LMTP.
    #[arg(long)]
    lmtp: bool,
    /// When to report what becomes of the message: never, or some of success, failure and delay with commas between, or by
    /// the option again.
    #[arg(long, value_name = "WHEN", value_delimiter = ',')]
    dsn: Vec<String>,
    /// What a report of failure brings back of the message.
    #[arg(long, value_name = "WHAT", value_enum)]
    ret: Option<RetChoice>,
    /// A name for this sending of the message, which reports repeat.
    #[arg(long, value_name = "ID", value_parser = EnvelopeId::new)]
    envid: Option<EnvelopeId>,
    /// Ask for SMTPUTF8, because headers of the message need it; --message and addresses ask by themselves.
    #[arg(long)]
    smtputf8: bool,
    /// Send the message by BDAT where that is offered. Its lines have to end in CRLF already: it leaves as it is.
    #[arg(long)]
    bdat: bool,
    /// Tell the size of the message beforehand, so that one over the server's limit is not begun. A message that is no file
    /// is read first. --message always does.
    #[arg(long)]
    size_check: bool,
    /// The name to say hello with.
    #[arg(long, value_name = "NAME", value_parser = HelloName::parse)]
    helo: Option<HelloName>,
    /// How to come to TLS. Without it: from the start on port 465, by STARTTLS on port 587 and with --user, else not at all.
    #[arg(long, value_name = "MODE", value_enum)]
    tls: Option<TlsChoice>,
    /// Trust the certificates in this file instead of the platform's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Authenticate as this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The file whose first line is the password, or with --token the bearer token.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// The password is a bearer token.
    #[arg(long, requires = "password_file")]
    token: bool,
    /// Use this SASL mechanism instead of the strongest one offered.
    #[arg(long, value_name = "MECHANISM", requires = "user")]
    auth: Option<String>,
    /// Let a password cross without TLS.
    #[arg(long)]
    danger_password_in_clear: bool,
    /// A time limit in seconds for everything. Without it, those of RFC 5321.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Show what goes over the wire.
    #[arg(long, short)]
    verbose: bool,
    /// The message, behind -- where it would be taken for another ADDRESS; the standard input if this is - or missing.
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum TlsChoice {
    Starttls,
    Implicit,
    Opportunistic,
    None,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum RetChoice {
    Full,
    Hdrs,
}

impl From<RetChoice> for Ret {
    fn from(choice: RetChoice) -> Self {
        match choice {
            RetChoice::Full => Self::Full,
            RetChoice::Hdrs => Self::Hdrs,
        }
    }
}

impl From<TlsChoice> for TlsMode {
    fn from(choice: TlsChoice) -> Self {
        match choice {
            TlsChoice::Starttls => Self::StartTls,
            TlsChoice::Implicit => Self::Implicit,
            TlsChoice::Opportunistic => Self::Opportunistic,
            TlsChoice::None => Self::None,
        }
    }
}

/// From sysexits.h.
mod exit {
    pub(super) const USAGE: u8 = 64;
    pub(super) const DATAERR: u8 = 65;
    pub(super) const NOINPUT: u8 = 66;
    pub(super) const NOHOST: u8 = 68;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const TEMPFAIL: u8 = 75;
    pub(super) const PROTOCOL: u8 = 76;
    pub(super) const NOPERM: u8 = 77;
    pub(super) const CONFIG: u8 = 78;
}

/// Runs the program: with arguments as the tool they describe, without any as a demonstration. `deliver` is the driver's part.
pub fn main(deliver: impl FnOnce(Job) -> Result<Report, Error>) -> ExitCode {
    if std::env::args_os().len() == 1 {
        return match demonstrate(deliver) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("sendmail: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = Arguments::try_parse().and_then(|arguments| Ok((Extras::of(&arguments)?, arguments)));
    let (extras, arguments) = match arguments {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            return if wrong { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let options = match options(&arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("sendmail: {error}");
            return exit::CONFIG.into();
        }
    };
    let job = match job(arguments, &extras, options) {
        Ok(job) => job,
        Err((code, error)) => {
            eprintln!("sendmail: {error}");
            return code.into();
        }
    };
    match deliver(job) {
        Ok(report) => {
            print_outcomes(&report);
            exit_code_of(&report).into()
        }
        Err(error) => {
            eprintln!("sendmail: {error}");
            if let Some(report) = error.report() {
                print_outcomes(report);
            }
            if error.may_have_been_accepted() {
                eprintln!("sendmail: sending it again may duplicate it");
            }
            exit_code(&error).into()
        }
    }
}

/// What the envelope asks of extensions.
#[derive(Debug)]
struct Extras {
    notify: Option<Notify>,
    ret: Option<Ret>,
    envelope_id: Option<EnvelopeId>,
    smtputf8: bool,
}

impl Extras {
    /// Cases of --dsn are a set only together, so they are read behind clap; what is wrong is reported as it would.
    fn of(arguments: &Arguments) -> Result<Self, clap::Error> {
        let cases = arguments.dsn.join(",");
        let notify = (!arguments.dsn.is_empty()).then(|| Notify::parse(&cases)).transpose().map_err(|_| {
            let text =
                format!("'{cases}' for --dsn is neither never nor some of success, failure and delay, each once");
            Arguments::command().error(ErrorKind::ValueValidation, text)
        })?;
        Ok(Self {
            notify,
            ret: arguments.ret.map(Ret::from),
            envelope_id: arguments.envid.clone(),
            smtputf8: arguments.smtputf8,
        })
    }

    fn add_to(&self, mut transaction: Transaction) -> Transaction {
        if let Some(notify) = self.notify {
            transaction = transaction.map_recipients(|recipient| recipient.notify(notify));
        }
        if let Some(ret) = self.ret {
            transaction = transaction.ret(ret);
        }
        if let Some(id) = &self.envelope_id {
            transaction = transaction.envelope_id(id.clone());
        }
        // Headers that were looked at may have asked already.
        if self.smtputf8 { transaction.smtputf8(true) } else { transaction }
    }
}

/// What is to be done, or an exit code and why it cannot be.
fn job(arguments: Arguments, extras: &Extras, options: Options) -> Result<Job, (u8, String)> {
    let Arguments { server, from, to, message, verbose, size_check, file, .. } = arguments;
    let unreadable = |error| (exit::NOINPUT, format!("cannot read {file}: {error}"));
    let from_stdin = file == "-";
    let read_all = || {
        let mut octets = Vec::new();
        let read = if from_stdin {
            io::stdin().lock().read_to_end(&mut octets)
        } else {
            File::open(&file).and_then(|mut file| file.read_to_end(&mut octets))
        };
        read.map(|_| octets).map_err(unreadable)
    };
    if message {
        let octets = read_all()?;
        let parsed = message::Message::parse_with(&octets, from, to);
        let parsed = parsed.map_err(|error| (exit::DATAERR, error.to_string()))?;
        if let Some(reason) = parsed.transaction().utf8_reason().filter(|_| verbose) {
            eprintln!("sendmail: SMTPUTF8 is needed: {reason}");
        }
        let content = parsed.content().into_cow().into_owned();
        let transaction = extras.add_to(parsed.transaction());
        return Ok(Job { server, options, transaction, message: Message::Octets(content) });
    }
    // Without --message both are there.
    let transaction = Transaction::new(from.unwrap_or_default()).to_all(to.unwrap_or_default());
    let mut transaction = extras.add_to(transaction);
    // A file can be opened to see whether that works, and has a size. A pipe that has a name can be opened once.
    let size = if from_stdin {
        None
    } else {
        let found = std::fs::metadata(&file).map_err(unreadable)?;
        if found.is_file() {
            File::open(&file).map_err(unreadable)?;
        }
        found.is_file().then_some(found.len())
    };
    let message = match size {
        Some(size) => {
            if size_check {
                transaction = transaction.size(size);
            }
            Message::File(file.into())
        }
        None if size_check => {
            let octets = read_all()?;
            transaction = transaction.content(&octets);
            Message::Octets(octets)
        }
        None if from_stdin => Message::Stdin,
        None => Message::File(file.into()),
    };
    Ok(Job { server, options, transaction, message })
}

fn options(arguments: &Arguments) -> Result<Options, Box<dyn std::error::Error>> {
    let mut options = if arguments.lmtp { Options::lmtp() } else { Options::smtp() };
    if let Some(name) = &arguments.helo {
        options = options.hello_name(name.clone());
    }
    if let Some(seconds) = arguments.timeout {
        options = options.timeout(Duration::from_secs(seconds));
    }
    if arguments.verbose {
        options = options.transcript(|line| eprintln!("{line}"));
    }
    if arguments.bdat {
        options = options.configure(|config| config.chunking = Chunking::Prefer);
    }
    if let Some(mode) = arguments.tls {
        options = options.tls_mode(mode.into());
    }
    if let Some(path) = &arguments.ca {
        options = options.tls(Tls::trusting_only(&read(path)?)?);
    }
    if let Some(user) = &arguments.user {
        let secret = match &arguments.password_file {
            Some(path) => first_line(read(path)?),
            None => return Err("--user needs --password-file".into()),
        };
        let credentials =
            if arguments.token { Credentials::token(user, secret)? } else { Credentials::password(user, secret)? };
        options = options.credentials(credentials);
    }
    let only = arguments.auth.as_deref().map(|name| name.to_ascii_uppercase().into());
    Ok(options.choice(|choice| {
        choice.only = only;
        choice.danger_in_clear = arguments.danger_password_in_clear;
    }))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn first_line(mut octets: Vec<u8>) -> Secret {
    let end = octets.iter().position(|octet| matches!(octet, b'\r' | b'\n')).unwrap_or(octets.len());
    octets.truncate(end);
    octets.into()
}

fn print_outcomes(report: &Report) {
    for (recipient, outcome) in report.recipients() {
        match outcome {
            Outcome::Accepted(reply) => println!("{recipient} accepted: {reply}"),
            Outcome::Refused { stage, reply, transient: true } => {
                println!("{recipient} refused for now at {stage}: {reply}");
            }
            Outcome::Refused { stage, reply, .. } => println!("{recipient} refused at {stage}: {reply}"),
            Outcome::NotSent => println!("{recipient} not sent"),
            _ => println!("{recipient} in doubt: the server may or may not have accepted it"),
        }
    }
}

fn exit_code_of(report: &Report) -> u8 {
    let mut outcomes =
        report.recipients().map(|(_, outcome)| outcome).filter(|outcome| !outcome.is_accepted()).peekable();
    if outcomes.peek().is_none() {
        return 0;
    }
    let for_good = |outcome: &Outcome| matches!(outcome, Outcome::Refused { transient: false, .. });
    if outcomes.all(for_good) { exit::UNAVAILABLE } else { exit::TEMPFAIL }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Connect { error, .. } if error.kind() == io::ErrorKind::InvalidInput => exit::USAGE,
        Error::Connect { error, .. } if error.raw_os_error().is_none() && error.kind() != io::ErrorKind::TimedOut => {
            exit::NOHOST
        }
        Error::Tls { .. } if !error.is_transient() => exit::CONFIG,
        Error::Failure(Failure::TlsRequired { .. } | Failure::NoMechanism(_)) => exit::CONFIG,
        Error::Failure(Failure::Auth(_)) if !error.is_transient() => exit::NOPERM,
        Error::Message { .. } => exit::NOINPUT,
        Error::Content { .. } => exit::DATAERR,
        Error::Failure(Failure::Disconnected {
            reason: CloseReason::Malformed(_) | CloseReason::Unsolicited(_),
            ..
        }) => exit::PROTOCOL,
        error if error.is_transient() => exit::TEMPFAIL,
        _ => exit::UNAVAILABLE,
    }
}

/// Three recipients, one of whom is refused, at a server that this program starts itself.
fn demonstrate(deliver: impl FnOnce(Job) -> Result<Report, Error>) -> Result<(), Box<dyn std::error::Error>> {
    let server = Loopback::smtp()?;
    println!("a server of our own listens on {}\n", server.address());
    let message = b"From: me@example.org\r\nTo: friends@example.net\r\nSubject: hello\r\n\r\nIt works.\r\n.hidden dots and all\r\n";
    let transaction = Transaction::new(ReversePath::parse("me@example.org")?)
        .to(ForwardPath::parse("alice@example.net")?)
        .to(ForwardPath::parse("refused@example.net")?)
        .to(ForwardPath::parse("bob@example.net")?)
        .content(message);
    let report = deliver(Job {
        server: server.address().to_string(),
        options: Options::smtp().transcript(|line| println!("{line}")),
        transaction,
        message: Message::Octets(message.to_vec()),
    })?;

    println!("\nwhat became of it:");
    print_outcomes(&report);
    let stored = server.stored();
    let [stored] = stored.as_slice() else { return Err("the server did not store exactly one message".into()) };
    println!("\nwhat the server stored, for {}:", stored.to.join(" and "));
    print!("{}", String::from_utf8_lossy(&stored.content));
    if stored.content != message || report.refused().count() != 1 {
        return Err("that is not what was sent".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use smtp_proto::Config;

    use super::*;
    use crate::lab::Lab;

    /// What a server that offers everything hears of the envelope; or what is wrong with the command line.
    fn said(options: &str) -> Result<String, String> {
        let line = "sendmail --server x --from a@example.org --to b@example.net --to c@example.net";
        let arguments = Arguments::try_parse_from(line.split(' ').chain(options.split_whitespace()));
        let arguments = arguments.and_then(|arguments| Ok((Extras::of(&arguments)?, arguments)));
        let (extras, arguments) = arguments.map_err(|error| error.to_string())?;
        let job = job(arguments, &extras, Options::smtp()).map_err(|(_, error)| error)?;
        let config = Config::smtp(HelloName::parse("me.example").unwrap());
        let mut lab = Lab::ready(config, &["PIPELINING", "DSN", "SMTPUTF8", "8BITMIME", "SIZE"]);
        lab.connection.begin(job.transaction).unwrap();
        Ok(lab.says())
    }

    // C-91: what is asked of extensions, on the command that it belongs to and for every recipient; and no half of it.
    #[test]
    fn envelopes() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let size = std::fs::metadata(file).unwrap().len();
        let mail = |mail: &str, rcpt: &str| {
            Ok(format!(
                "MAIL FROM:<a@example.org>{mail}\r\nRCPT TO:<b@example.net>{rcpt}\r\nRCPT TO:<c@example.net>{rcpt}\r\nDATA\r\n"
            ))
        };
        assert_eq!(said(""), mail(" BODY=8BITMIME", ""));
        let all = "--dsn delay,Success --dsn failure --ret hdrs --envid a+b --smtputf8 --size-check";
        let asked = format!(" SIZE={size} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb");
        assert_eq!(said(&format!("{all} -- {file}")), mail(&asked, " NOTIFY=SUCCESS,FAILURE,DELAY"));
        assert_eq!(said("--dsn never --ret full"), mail(" BODY=8BITMIME RET=FULL", " NOTIFY=NEVER"));
        for wrong in ["--dsn never,success", "--dsn delay --dsn delay", "--dsn", "--ret all", "--envid \u{e9}"] {
            assert!(said(wrong).is_err_and(|error| error.starts_with("error: ")), "{wrong}");
        }
    }
}
