//! Sends what lies in a spool directory, and does the right thing with what does not arrive: keeps it and tries again later,
//! tells the sender that it is refused, or asks a person. It never sends a message twice without somebody having said so.
//!
//! ```text
//! cargo run --example queue_runner                     # with a spool and a server of its own
//! cargo run --example queue_runner -- SPOOL SERVER     # one pass; SERVER is HOST[:PORT]
//! ```
//!
//! A message is two files: `NAME.eml`, and beside it its envelope, written last, whose name says how it stands:
//!
//! - `NAME.todo`: it is to be sent, if it is due.
//! - `NAME.sending`: it is being sent. Whoever finds it when no runner is at work knows that one has died over it.
//! - `NAME.held`: nobody knows whether the recipients got it. A person renames it to `.todo`, or removes both files.
//!
//! The envelope is text: `from ADDRESS`, `to ADDRESS` for each recipient who is left, and `tries` and `due` (in seconds since
//! 1970) once it was tried. Whoever has power failures to fear syncs the directory after each rename, too.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use smtp_blocking::{Client, Options, Transport};
use smtp_conformance::loopback::Loopback;
use smtp_proto::{Advice, ForwardPath, Outcome, Report, ReversePath, State, Transaction};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many minutes to wait after each try: half an hour at first, four days in all (RFC 5321 section 4.5.4.1). Then the sender
/// is told.
const WAITS: [u64; 9] = [30, 60, 120, 240, 480, 960, 1440, 1440, 1440];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [] => demonstrate(),
        [spool, server] => run(Path::new(spool), server, now()),
        _ => Err("arguments: SPOOL SERVER".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("queue_runner: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One pass. Only one runner may be at work in a spool at a time.
fn run(spool: &Path, server: &str, now: Duration) -> Result<()> {
    for left in files(spool, "sending")? {
        println!("{}: a runner died over it, held", name(&left));
        fs::rename(&left, left.with_extension("held"))?;
    }
    // One connection for all messages, made when it is needed.
    let mut connected: Option<Client<Transport>> = None;
    for path in files(spool, "todo")? {
        let envelope = Envelope::read(&path)?;
        if envelope.due > now {
            continue;
        }
        let client = match connected.take().filter(|client| client.connection().state() == State::Ready) {
            Some(client) => client,
            // If there is none to be had, all messages stay as they are.
            None => Client::connect(server, Options::smtp())?,
        };
        fs::rename(&path, path.with_extension("sending"))?;
        let transaction = Transaction::new(envelope.from.clone()).to_all(envelope.to.clone());
        let content = || File::open(path.with_extension("eml")).map(BufReader::new);
        let result = connected.insert(client).submit(transaction, content);
        let fates = envelope.fates(&result);
        envelope.settle(&path, fates, now)?;
    }
    if let Some(client) = connected {
        let _ = client.quit();
    }
    Ok(())
}

/// What is to be done for each recipient who has not got the message, or may not have, and why.
type Fates = Vec<(ForwardPath, Advice, String)>;

struct Envelope {
    from: ReversePath,
    to: Vec<ForwardPath>,
    tries: usize,
    due: Duration,
}

impl Envelope {
    fn new(from: ReversePath, to: Vec<ForwardPath>) -> Self {
        Self { from, to, tries: 0, due: Duration::ZERO }
    }

    fn read(path: &Path) -> Result<Self> {
        let mut envelope = Self::new(ReversePath::null(), Vec::new());
        for line in fs::read_to_string(path)?.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("from", address) => envelope.from = ReversePath::parse(address)?,
                ("to", address) => envelope.to.push(ForwardPath::parse(address)?),
                ("tries", number) => envelope.tries = number.parse()?,
                ("due", seconds) => envelope.due = Duration::from_secs(seconds.parse()?),
                _ => return Err(format!("{}: {line}", path.display()).into()),
            }
        }
        Ok(envelope)
    }

    /// Writes it, whole or not at all.
    fn write(&self, path: &Path) -> Result<()> {
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        writeln!(file, "from {}\ntries {}\ndue {}", self.from.as_str(), self.tries, self.due.as_secs())?;
        self.to.iter().try_for_each(|to| writeln!(file, "to {}", to.as_str()))?;
        file.sync_all()?;
        Ok(fs::rename(unfinished, path)?)
    }

    fn fates(&self, result: &std::result::Result<Report, smtp_blocking::Error>) -> Fates {
        let error = result.as_ref().err();
        let text = error.map(ToString::to_string).unwrap_or_default();
        let all = |advice| self.to.iter().map(|to| (to.clone(), advice, text.clone())).collect();
        // For all of them: the server was not even asked, or no connection can carry the message as it is.
        if let Some(advice) = error.and_then(smtp_blocking::Error::advice) {
            return all(advice);
        }
        let Some(report) = result.as_ref().map_or_else(smtp_blocking::Error::report, Some) else {
            return all(Advice::RetryLater);
        };
        let not_accepted = report.recipients().filter(|(_, outcome)| !outcome.is_accepted());
        let fate = |((to, outcome), (_, advice)): ((&ForwardPath, &Outcome), _)| {
            (to.clone(), advice, outcome.reply().map_or(text.clone(), ToString::to_string))
        };
        not_accepted.zip(report.advice()).map(fate).collect()
    }

    /// Files what is left after a try. If this dies half-way, the next run holds the message.
    fn settle(mut self, path: &Path, fates: Fates, now: Duration) -> Result<()> {
        let wait = WAITS.get(self.tries).map(|minutes| Duration::from_secs(minutes * 60));
        (self.tries, self.due) = (self.tries + 1, now + wait.unwrap_or_default());
        let (mut later, mut held, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (to, advice, why) in fates {
            println!("{}: {to} {advice:?} ({why})", name(path));
            match advice {
                Advice::MayDuplicate => held.push(to),
                Advice::GiveUp => refused.push((to, why)),
                _ if wait.is_none() => refused.push((to, format!("given up after {} tries: {why}", self.tries))),
                // Another host, or another connection at once, is for those who have them. Here all that can pass waits.
                _ => later.push(to),
            }
        }
        let (message, sending) = (path.with_extension("eml"), path.with_extension("sending"));
        if !held.is_empty() {
            let copy = path.with_file_name(format!("{}-{}.held", name(path), self.tries));
            fs::copy(&message, copy.with_extension("eml"))?;
            Self::new(self.from.clone(), held).write(&copy)?;
        }
        if !refused.is_empty() {
            self.bounce(path, &refused)?;
        }
        if later.is_empty() {
            println!("{}: done", name(path));
            fs::remove_file(sending)?;
            return Ok(fs::remove_file(message)?);
        }
        self.to = later;
        self.write(&sending)?;
        Ok(fs::rename(sending, path)?)
    }

    /// Tells the sender, by a message in the spool. Of a bounce nobody is told (RFC 5321 section 6.1).
    fn bounce(&self, path: &Path, refused: &[(ForwardPath, String)]) -> Result<()> {
        if self.from.is_null() {
            return Ok(());
        }
        let bounce = path.with_file_name(format!("{}-bounce-{}.todo", name(path), self.tries));
        let mut text = format!(
            "From: Mail Delivery <postmaster@localhost>\nTo: <{}>\nSubject: not delivered\nAuto-Submitted: auto-replied\n\n",
            self.from.as_str()
        );
        refused.iter().for_each(|(to, why)| text += &format!("{to}: {why}\n"));
        fs::write(bounce.with_extension("eml"), text)?;
        Self::new(ReversePath::null(), vec![ForwardPath::parse(self.from.as_str())?]).write(&bounce)
    }
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The files of a kind, in the order of their names.
fn files(spool: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(spool)?.collect::<std::io::Result<Vec<_>>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    Ok(paths)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Four messages, to a server that this program starts itself, which loses some of its connections. Three passes, with half an
/// hour and an hour in between, for which nobody has to wait.
fn demonstrate() -> Result<()> {
    let server = Loopback::smtp()?;
    let spool = std::env::temp_dir().join(format!("queue-runner-{}", std::process::id()));
    fs::create_dir(&spool)?;
    for (number, to) in ["alice greylisted refused", "cut bob", "silent", "later"].into_iter().enumerate() {
        let path = spool.join(format!("{}.todo", number + 1));
        fs::write(path.with_extension("eml"), format!("From: me@example.org\nSubject: {to}\n\nhello\n"))?;
        let to = to.split(' ').map(|to| ForwardPath::parse(&format!("{to}@example.net")));
        let to = to.collect::<std::result::Result<_, _>>()?;
        Envelope::new(ReversePath::parse("me@example.org")?, to).write(&path)?;
    }
    for (pass, minutes) in [(1, 0), (2, 30), (3, 90)] {
        println!("pass {pass}:");
        run(&spool, &server.address().to_string(), now() + Duration::from_secs(minutes * 60))?;
    }
    let left: Vec<_> = files(&spool, "todo")?.into_iter().chain(files(&spool, "held")?).collect();
    let left: Vec<_> = left.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    println!("left in the spool: {}", left.join(", "));
    fs::remove_dir_all(spool)?;
    for message in server.stored() {
        println!("the server has one for {}", message.to.join(" and "));
    }
    Ok(())
}
