//! What is told of smtp-sink, Postfix's server for faults, in each of its fault modes. The tests start it: each has its own.

use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use smtp_conformance::app::report_lines;
use smtp_driver::{Error, Options};
use smtp_proto::{CommandLine, ForwardPath, Reply, Report, ReversePath, Transaction};

use crate::session::{Driver, Session};
use crate::sink_cases::{CASES, Case};
use crate::{Places, hello, same};

pub(crate) fn trials(places: &Places) -> Vec<Trial> {
    let driver = places.driver;
    let first = places.sinks + u16::try_from(CASES.len() * driver as usize).expect("few cases");
    let trial = |(port, case): (u16, &'static Case)| {
        let name = format!("{driver}::smtp_sink::{}", case.name());
        Trial::test(name, move || case.run(driver, port))
    };
    (first..).zip(CASES).map(trial).collect()
}

/// An smtp-sink; it ends when this is dropped.
struct Sink(Child);

impl Sink {
    fn start(modes: &str, port: u16) -> Result<Self, Failed> {
        let mut command = Command::new("smtp-sink");
        command.args(["-u", "nobody", "-B", "500 5.3.0 no", "-b", "450 4.3.0 later"]).args(arguments(modes));
        command.arg(format!("127.0.0.1:{port}")).arg("50");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().map_err(|error| format!("smtp-sink, of the package postfix: {error}"))?))
    }

    /// Connects as soon as it listens.
    fn connect(&mut self, driver: Driver, port: u16, options: &Options) -> Result<Result<Session, Error>, Failed> {
        let start = Instant::now();
        loop {
            match Session::connect(driver, &format!("127.0.0.1:{port}"), options.clone()) {
                Err(Error::Connect { error, .. }) if error.kind() == ErrorKind::ConnectionRefused => {}
                session => return Ok(session),
            }
            if let Some(status) = self.0.try_wait()? {
                return Err(format!("smtp-sink ended: {status}").into());
            }
            if start.elapsed() > Duration::from_secs(30) {
                return Err("smtp-sink does not listen".into());
            }
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may be gone already, which is one of its faults.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Words, of which one in quotes may hold spaces.
fn arguments(modes: &str) -> impl Iterator<Item = &str> {
    let parts = modes.split('\'').enumerate();
    parts.flat_map(|(index, part)| if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
}

impl Case {
    fn name(&self) -> String {
        let how = [(!self.pipelining, "_in_lock_step"), (self.lines > 1, "_large")];
        let how: String = how.iter().filter_map(|(is, name)| is.then_some(*name)).collect();
        if self.modes.is_empty() { "plain".into() } else { self.modes.replace(' ', "_") + &how }
    }

    fn options(&self) -> Options {
        let options = if arguments(self.modes).any(|word| word == "-L") { Options::lmtp() } else { Options::smtp() };
        let options = options.hello_name(hello()).configure(|config| config.pipelining = self.pipelining);
        match self.patience {
            Some(patience) => options.timeout(patience),
            None => options,
        }
    }

    // C-11, C-12, C-21, C-22, C-30, C-163, R-01, R-03, R-06, R-07, S-36: what is told is the same by both drivers, and true.
    fn run(&self, driver: Driver, port: u16) -> Result<(), Failed> {
        let mut sink = Sink::start(self.modes, port)?;
        let session = sink.connect(driver, port, &self.options())?;
        let told = self.converse(session);
        same(told, self.told())
    }

    /// Two messages, the first one to two recipients, and every other command; up to whatever ends the session.
    fn converse(&self, session: Result<Session, Error>) -> Vec<String> {
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return vec![error.to_string()],
        };
        let mut told = Vec::new();
        let message = b"Subject: sink\r\n\r\n.hello\r\n".repeat(self.lines);
        let to = |names: &[&str]| {
            let from = ReversePath::parse("me@x").expect("a valid path");
            let path = |name: &&str| ForwardPath::parse(&format!("{name}@x")).expect("a valid path");
            Transaction::new(from).to_all(names.iter().map(path))
        };
        type Step<'a> = dyn Fn(&mut Session, &mut Vec<String>) + 'a;
        let steps: [&Step<'_>; 5] = [
            &|session, told| tell_sent(session.send(to(&["a", "b"]), &message), told),
            &|session, told| {
                sleep(self.silence);
                tell_sent(session.send(to(&["c"]), &message), told);
            },
            &|session, told| tell_reply("NOOP", session.noop(), told),
            &|session, told| tell_reply("VRFY", session.command(&vrfy()), told),
            &|session, told| tell_reply("RSET", session.reset(), told),
        ];
        for step in steps {
            step(&mut session, &mut told);
            if session.connection().close_reason().is_some() {
                return told;
            }
        }
        told.push(session.quit().map_or_else(|error| format!("QUIT: {error}"), |()| "QUIT".into()));
        told
    }
}

fn vrfy() -> CommandLine {
    CommandLine::vrfy("a@x").expect("a valid argument")
}

fn tell_sent(result: Result<Report, Error>, told: &mut Vec<String>) {
    let report = match &result {
        Ok(report) => Some(report),
        Err(error) => {
            told.push(error.to_string());
            error.report()
        }
    };
    told.extend(report.into_iter().flat_map(report_lines));
}

fn tell_reply(verb: &str, result: Result<Reply, Error>, told: &mut Vec<String>) {
    told.push(result.map_or_else(|error| format!("{verb}: {error}"), |reply| format!("{verb}: {reply}")));
}
