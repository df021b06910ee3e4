//! The programs that are measured.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use smtp_benches::{Mode, RECIPIENT, SENDER};

/// The system's, for which it has libcurl too.
const PYTHON: &str = "/usr/bin/python3";

/// A program, and how it is to behave.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// As it is called in the tables.
    pub(crate) name: String,
    binary: Binary,
    mode: Option<Mode>,
}

#[derive(Clone, Copy, Debug)]
enum Binary {
    /// One of this package.
    Own(&'static str),
    /// One of this package's scripts.
    Python(&'static str),
    SmtpSource,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    pub(crate) size: usize,
    pub(crate) recipients: usize,
    pub(crate) connections: usize,
    /// Milliseconds of a round trip, besides what it takes here.
    pub(crate) delay: u64,
    /// Whether the message is made up while it is sent.
    pub(crate) stream: bool,
}

impl Load {
    /// Some messages of 1 KiB to one recipient each.
    pub(crate) const fn small(messages: usize) -> Self {
        Self { messages, size: 1024, recipients: 1, connections: 1, delay: 0, stream: false }
    }
}

/// What the others are compared with.
pub(crate) const BASES: [&str; 2] = ["smtp-source", "lettre +nd"];

impl Program {
    /// All of them; the other libraries only where they are built.
    pub(crate) fn all(programs: &Path) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |name: &str, binary, modes: &[Mode]| {
            let with = |mode: Mode| {
                let value = mode.to_possible_value();
                let name = format!("{name}, {}", value.as_ref().map_or("", |value| value.get_name()));
                Self { name, binary, mode: Some(mode) }
            };
            if modes.is_empty() {
                all.push(Self { name: name.into(), binary, mode: None });
            } else {
                all.extend(modes.iter().copied().map(with));
            }
        };
        let ours = Mode::value_variants();
        add("ideal", Binary::Own("ideal"), ours);
        add("smtp-proto", Binary::Own("bare-core"), ours);
        add("smtp-blocking", Binary::Own("blocking"), ours);
        add("smtp-tokio", Binary::Own("tokio-driver"), ours);
        add("smtp-source", Binary::SmtpSource, &[]);
        if cfg!(feature = "peers") {
            add("lettre +nd", Binary::Own("lettre-sync"), &[]);
            add("lettre on Tokio +nd", Binary::Own("lettre-tokio"), &[]);
            add("mail-send +nd", Binary::Own("mail-send"), &[]);
            add("async-smtp", Binary::Own("async-smtp"), &[]);
            add("io-smtp", Binary::Own("io-smtp"), &[]);
            add("libcurl", Binary::Python("send_by_libcurl.py"), &[]);
        }
        add("smtplib", Binary::Python("send_by_smtplib.py"), &[]);
        all.retain(|program| program.is_there(programs));
        all
    }

    /// Whether it can be run here.
    fn is_there(&self, programs: &Path) -> bool {
        match self.binary {
            Binary::Own(name) => programs.join(name).exists(),
            Binary::Python(script) => {
                let import = if script == "send_by_libcurl.py" { "import pycurl" } else { "import smtplib" };
                Command::new(PYTHON).args(["-c", import]).status().is_ok_and(|status| status.success())
            }
            Binary::SmtpSource => Command::new("smtp-source").output().is_ok(),
        }
    }

    /// Whether it can send what it does not have in memory.
    pub(crate) fn streams(&self) -> bool {
        matches!(self.binary, Binary::Own("blocking" | "tokio-driver"))
    }

    /// Whether it prints how many messages were accepted.
    pub(crate) fn claims(&self) -> bool {
        !matches!(self.binary, Binary::SmtpSource)
    }

    /// Program and arguments that send so much to `address`.
    pub(crate) fn command(&self, programs: &Path, load: Load, address: &str) -> Vec<OsString> {
        let Load { messages, size, recipients, connections, delay: _, stream } = load;
        let mut command: Vec<OsString> = Vec::new();
        match self.binary {
            Binary::SmtpSource => {
                let to = format!("you@{RECIPIENT}");
                let options =
                    format!("-d -m {messages} -l {size} -r {recipients} -s {connections} -f {SENDER} -t {to}");
                command.push("smtp-source".into());
                command.extend(options.split(' ').map(OsString::from));
                command.push(address.into());
                return command;
            }
            Binary::Own(name) => command.push(programs.join(name).into()),
            Binary::Python(script) => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/python").join(script);
                command.extend([PYTHON.into(), script.into()]);
            }
        }
        let options =
            [("--messages", messages), ("--size", size), ("--recipients", recipients), ("--connections", connections)];
        command.extend(["--addr".into(), address.into()]);
        options.iter().for_each(|(name, number)| command.extend([name.into(), number.to_string().into()]));
        if let Some(mode) = self.mode.and_then(|mode| mode.to_possible_value()) {
            command.extend(["--mode".into(), mode.get_name().into()]);
        }
        if stream {
            command.push("--stream".into());
        }
        command
    }
}

/// Which versions the others have, as far as they are here.
pub(crate) fn versions() -> String {
    let mut versions = Vec::new();
    if cfg!(feature = "peers") {
        let mut lines = include_str!("../../../Cargo.lock").lines();
        while let Some(line) = lines.next() {
            let Some(name) = line.strip_prefix("name = ") else { continue };
            let version = lines.next().and_then(|line| line.strip_prefix("version = ")).unwrap_or_default();
            let (name, version) = (name.trim_matches('"'), version.trim_matches('"'));
            if ["async-smtp", "io-smtp", "lettre", "mail-send", "tokio"].contains(&name) {
                versions.push(format!("{name} {version}"));
            }
        }
    }
    let libcurl = "import pycurl; print('libcurl', pycurl.version_info()[1], 'by pycurl')";
    let smtplib = "import platform; print('smtplib of Python', platform.python_version())";
    let asked = [("postconf", ["-dh", "mail_version"]), (PYTHON, ["-c", libcurl]), (PYTHON, ["-c", smtplib])];
    for (program, arguments) in asked {
        let Ok(output) = Command::new(program).args(arguments).output() else { continue };
        if output.status.success() {
            let of = if program == "postconf" { "smtp-source of Postfix " } else { "" };
            versions.push(format!("{of}{}", String::from_utf8_lossy(&output.stdout).trim()));
        }
    }
    versions.join(", ")
}
