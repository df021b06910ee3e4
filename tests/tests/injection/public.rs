//! The list of entries is complete: the sources are read for public functions and fields that take a text or octets.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{drivers, entries};

/// What takes a text or octets and says nothing of them to a server, and why.
const SILENT: &[(&str, &str)] = &[
    ("Body::write", "content: tests/smuggling.rs"),
    ("Capabilities::has", "looks up"),
    ("Capabilities::parameters", "looks up"),
    ("Client::bdat", "content: tests/smuggling.rs"),
    ("Client::connect", "its target is that of Options::plan"),
    ("Client::connect_unix", "names a file"),
    ("Client::data", "content: tests/smuggling.rs"),
    ("Client::send", "content: tests/smuggling.rs"),
    ("Client::submit", "content: tests/smuggling.rs"),
    ("Choice.tried", "excludes"),
    ("Choice.without", "excludes"),
    ("Connection::handle_input", "the server's octets"),
    ("Connection::transcribe", "the server's octets"),
    ("Dialogue::received", "the server's octets"),
    ("Divergence.reason", "is handed out"),
    ("Dialogue::feed", "content: tests/smuggling.rs"),
    ("DotStuffer::encode", "content: tests/smuggling.rs"),
    ("EnhancedCode::parse", "the server's octets"),
    ("Message::parse_with", "its octets are those of Message::parse"),
    ("Plan.host", "is handed out"),
    ("Pool::new", "its target is that of Options::plan"),
    ("Pool::send", "content: tests/smuggling.rs"),
    ("ReplyDecoder::decode", "the server's octets"),
    ("SecurityReport.channel_binding", "is handed out"),
    ("SecurityReport.mechanism", "is handed out"),
    ("SecurityReport.tls_version", "is handed out"),
    ("Setup::entropy", "becomes Choice.nonce"),
    ("Setup::tls_version", "is handed out"),
    ("Tls::identity", "goes into the handshake"),
    ("Tls::server_name", "goes into the handshake"),
    ("Tls::start", "goes into the handshake"),
    ("Tls::trusting_also", "goes into the handshake"),
    ("Tls::trusting_only", "goes into the handshake"),
    ("TlsStream::handshake", "goes into the handshake"),
    ("Transaction::content", "is measured"),
    ("framing::parse_reply", "the server's octets"),
    ("seven_bit::to_seven_bit", "content: tests/smuggling.rs"),
    ("xtext::decode", "gives octets, which are for other entries"),
];

/// Traits of the caller's: what they give has no argument to be found by.
const GIVEN: &[&str] = &["Mechanism::initial_response", "Mechanism::name", "Mechanism::respond"];

/// What a text or octets can be to a function.
const TEXTS: &[&str] = &[
    "str",
    "String",
    "u8",
    "Secret",
    "OsStr",
    "Path",
    "Bytes",
    "BufRead",
    "AsyncBufRead",
    "Read",
    "AsyncRead",
    "Cow",
    "char",
];

// S-20: whoever adds a public function or field for a text or octets has to say what becomes of them.
#[test]
fn every_entry_is_in_the_table() {
    let mut found: BTreeSet<String> = GIVEN.iter().map(|&name| name.to_owned()).collect();
    for folder in ["smtp-proto", "smtp-driver", "smtp-blocking", "smtp-tokio"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("src"), &mut found);
    }
    let covered = entries().map(|entry| entry.name.split(',').next().unwrap());
    let named: BTreeSet<String> = covered
        .chain(drivers::ENTRIES.iter().copied())
        .chain(SILENT.iter().map(|(name, _)| *name))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = found.difference(&named).collect();
    let gone: Vec<_> = named.difference(&found).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}, not in the sources: {gone:?}");
}

/// Finds entries in all sources of a folder but the fuzz targets, which are for nobody else.
fn read(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() && name != "fuzzing" {
            read(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !matches!(name, "fuzzing" | "tests") {
            entries_of(&fs::read_to_string(&path).unwrap(), name, found);
        }
    }
}

/// Entries of a source that is formatted as rustfmt does: `Type::function`, `module::function`, `Type.field`.
fn entries_of(source: &str, module: &str, found: &mut BTreeSet<String>) {
    // Of what the line belongs to: a type, or the module.
    let mut owner = module.to_owned();
    let source = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        match line {
            "}" => owner = module.to_owned(),
            _ if line.starts_with("impl") || line.starts_with("pub struct ") => owner = type_of(line),
            _ => {}
        }
        let Some(item) = line.trim_start().strip_prefix("pub ") else { continue };
        let item = item.trim_start_matches("const ").trim_start_matches("async ");
        if let Some(function) = item.strip_prefix("fn ") {
            let mut signature = function.to_owned();
            while !signature.contains(" {") {
                let Some(next) = lines.next() else { break };
                signature += next;
            }
            let arguments = signature.split(" -> Result").next().unwrap_or_default();
            let arguments = arguments.rsplit_once(") ->").map_or(arguments, |(arguments, _)| arguments);
            if takes_text(arguments) {
                let name = function.split(['(', '<']).next().unwrap_or_default();
                found.insert(format!("{owner}::{name}"));
            }
        } else if let Some((field, kind)) = item.split_once(": ").filter(|_| line.starts_with("    pub ")) {
            if takes_text(kind) {
                found.insert(format!("{owner}.{field}"));
            }
        }
    }
}

fn takes_text(signature: &str) -> bool {
    signature.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| TEXTS.contains(&word))
}

/// The type that an `impl` or a `pub struct` is of.
fn type_of(line: &str) -> String {
    let line = line.strip_prefix("pub struct ").unwrap_or(line);
    let line = line.strip_prefix("impl").unwrap_or(line);
    // Generic parameters of the `impl` itself.
    let line = if line.starts_with('<') { line.split_once("> ").map_or(line, |(_, rest)| rest) } else { line };
    let line = line.split_once(" for ").map_or(line, |(_, rest)| rest);
    line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
