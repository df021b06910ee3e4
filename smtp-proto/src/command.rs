//! Commands, as octets on the wire. The one place where a verb is written and a command line is ended.

mod content_url;
mod original_client;

use alloc::boxed::Box;
use alloc::string::ToString;
use core::fmt::{self, Write};

use bytes::BufMut;

pub use self::content_url::ContentUrl;
pub use self::original_client::{ClientAttribute, OriginalClient};
pub(crate) use self::original_client::{XCLIENT, XFORWARD};
use crate::address::HelloName;
use crate::parameter::{BodyType, Parameter, Typed};
use crate::transaction::{Recipient, Transaction};

/// Octets of a command line, its CRLF included, before extensions add to it (RFC 5321 section 4.5.3.1.4).
pub(crate) const LINE_LIMIT: usize = 512;

/// A command, ready to be encoded. Verbs are upper case; every part has been checked where it was made.
///
/// ```
/// use smtp_proto::{Command, ForwardPath, Recipient};
///
/// let recipient = Recipient::new(ForwardPath::parse("MiXed@Example.org")?);
/// let mut line = Vec::new();
/// Command::Rcpt(&recipient).encode(&mut line);
/// assert_eq!(line, b"RCPT TO:<MiXed@Example.org>\r\n");
/// assert_eq!(Command::Rcpt(&recipient).length(), line.len());
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Command<'a> {
    /// EHLO, RFC 5321 section 4.1.1.1.
    Ehlo(&'a HelloName),
    /// HELO, RFC 5321 section 4.1.1.1.
    Helo(&'a HelloName),
    /// LHLO, RFC 2033 section 4.1.
    Lhlo(&'a HelloName),
    /// MAIL with the parameters the transaction declares, RFC 5321 section 4.1.1.2.
    Mail(&'a Transaction),
    /// RCPT, RFC 5321 section 4.1.1.3.
    Rcpt(&'a Recipient),
    /// DATA, RFC 5321 section 4.1.1.4.
    Data,
    /// RSET, RFC 5321 section 4.1.1.5.
    Rset,
    /// NOOP, RFC 5321 section 4.1.1.9.
    Noop,
    /// QUIT, RFC 5321 section 4.1.1.10.
    Quit,
    /// STARTTLS, RFC 3207.
    StartTls,
    /// A line of the caller's.
    Line(&'a CommandLine),
}

impl Command<'_> {
    /// Appends the command line, CRLF included.
    pub fn encode(&self, out: &mut impl BufMut) {
        self.write(|octets| out.put_slice(octets));
    }

    /// Octets of the command line, CRLF included.
    pub fn length(&self) -> usize {
        let mut length = 0;
        self.write(|octets| length += octets.len());
        length
    }

    fn write(&self, mut put: impl FnMut(&[u8])) {
        match self {
            Self::Ehlo(name) => hello(&mut put, b"EHLO ", name),
            Self::Helo(name) => hello(&mut put, b"HELO ", name),
            Self::Lhlo(name) => hello(&mut put, b"LHLO ", name),
            Self::Mail(transaction) => mail(&mut put, transaction),
            Self::Rcpt(recipient) => {
                put(b"RCPT TO:<");
                put(recipient.path.as_str().as_bytes());
                put(b">");
                if !recipient.is_plain() {
                    typed(&mut put, recipient.typed());
                    parameters(&mut put, &recipient.parameters);
                }
            }
            Self::Data => put(b"DATA"),
            Self::Rset => put(b"RSET"),
            Self::Noop => put(b"NOOP"),
            Self::Quit => put(b"QUIT"),
            Self::StartTls => put(b"STARTTLS"),
            Self::Line(line) => put(line.as_str().as_bytes()),
        }
        put(b"\r\n");
    }
}

fn hello(put: &mut impl FnMut(&[u8]), verb: &[u8], name: &HelloName) {
    put(verb);
    put(name.as_str().as_bytes());
}

fn mail(put: &mut impl FnMut(&[u8]), transaction: &Transaction) {
    put(b"MAIL FROM:<");
    put(transaction.from.as_str().as_bytes());
    put(b">");
    if let Some(size) = transaction.size {
        // Writing to a sink that takes everything cannot fail.
        let _ = write!(Sink(&mut *put), " SIZE={size}");
    }
    match transaction.body_type {
        Some(BodyType::EightBitMime) => put(b" BODY=8BITMIME"),
        Some(BodyType::BinaryMime) => put(b" BODY=BINARYMIME"),
        Some(BodyType::SevenBit) | None => {}
    }
    if transaction.utf8.is_some() {
        put(b" SMTPUTF8");
    }
    if !transaction.is_plain() {
        typed(put, transaction.typed());
        parameters(put, &transaction.parameters);
    }
}

fn typed<'a>(put: &mut impl FnMut(&[u8]), parameters: impl Iterator<Item = Typed<'a>>) {
    for Typed { keyword, value, .. } in parameters {
        let _ = match value {
            Some(value) => write!(Sink(&mut *put), " {keyword}={value}"),
            None => write!(Sink(&mut *put), " {keyword}"),
        };
    }
}

fn parameters(put: &mut impl FnMut(&[u8]), parameters: &[Parameter]) {
    for parameter in parameters {
        put(b" ");
        put(parameter.keyword().as_bytes());
        if let Some(value) = parameter.value() {
            put(b"=");
            put(value.as_bytes());
        }
    }
}

struct Sink<P>(P);

impl<P: FnMut(&[u8])> Write for Sink<P> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.0)(text.as_bytes());
        Ok(())
    }
}

/// Why a text is not a command line of the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It does not begin with a verb: a letter, then letters, digits and hyphens.
    #[error("a command line has to begin with a verb")]
    Verb,
    /// It holds a control character, CR, LF and NUL among them, or one of Unicode's own line ends.
    #[error("a command line holds a control character or a line end at octet {offset}")]
    Control {
        /// Octets before the character.
        offset: usize,
    },
    /// It is longer than 512 octets with its CRLF (RFC 5321 section 4.5.3.1.4).
    #[error("a command line is longer than {LINE_LIMIT} octets")]
    TooLong,
    /// It is not a domain, nor one behind `@`, nor the name of a queue behind `#` (RFC 1985 section 5.1).
    #[error("not a node of ETRN")]
    Node,
    /// It is not an absolute URL (RFC 3986 section 4.3).
    #[error("not an absolute URL")]
    Url,
    /// The verb changes the state of the session, which the core has to know of.
    #[error("{verb} changes the state of the session: use {instead}")]
    Reserved {
        /// The verb.
        verb: &'static str,
        /// The method that says it.
        instead: &'static str,
    },
}

/// Verbs that change the state of the session, and the method that says each.
const RESERVED: &[(&str, &str)] = &[
    ("EHLO", "Connection::ehlo"),
    ("HELO", "Connection::helo"),
    ("LHLO", "Connection::ehlo"),
    ("MAIL", "Connection::begin or Connection::mail"),
    ("RCPT", "Connection::begin or Connection::rcpt"),
    ("DATA", "Connection::begin or Connection::data"),
    ("BDAT", "Connection::begin"),
    ("BURL", "Connection::burl"),
    ("RSET", "Connection::reset"),
    ("STARTTLS", "Connection::starttls"),
    ("AUTH", "a method for authentication"),
    ("QUIT", "Connection::quit"),
    (XCLIENT, "Connection::xclient"),
];

/// A command line of the caller's own, for verbs that leave the state of the session alone: VRFY, EXPN, HELP, private ones.
///
/// ```
/// use smtp_proto::{CommandError, CommandLine};
///
/// assert_eq!(CommandLine::new("X-FLUSH now")?.as_str(), "X-FLUSH now");
/// assert!(matches!(CommandLine::new("NOOP\r\nQUIT"), Err(CommandError::Control { offset: 4 })));
/// assert!(matches!(CommandLine::new("data"), Err(CommandError::Reserved { verb: "DATA", .. })));
/// # Ok::<(), CommandError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    line: Box<str>,
    /// The EHLO keyword that permits it, if one has to.
    extension: Option<&'static str>,
}

impl CommandLine {
    /// Checks a line, given without its CRLF.
    ///
    /// # Errors
    ///
    /// [`CommandError`] when it could be more than one command, is too long, or its verb is the core's business.
    pub fn new(line: &str) -> Result<Self, CommandError> {
        let ends_lines = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if let Some((offset, _)) = line.char_indices().find(|(_, c)| ends_lines(*c)) {
            return Err(CommandError::Control { offset });
        }
        let verb = line.split(' ').next().unwrap_or_default();
        let well_formed = verb.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        if !well_formed || !verb.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(CommandError::Verb);
        }
        if line.len() + "\r\n".len() > LINE_LIMIT {
            return Err(CommandError::TooLong);
        }
        match RESERVED.iter().find(|(reserved, _)| verb.eq_ignore_ascii_case(reserved)) {
            Some(&(verb, instead)) => Err(CommandError::Reserved { verb, instead }),
            None => Ok(Self { line: line.into(), extension: None }),
        }
    }

    /// VRFY: is this an address here? The answer's meaning is [`Reply::verification`](crate::Reply::verification).
    ///
    /// # Errors
    ///
    /// [`CommandError`] as for [`new`](Self::new).
    pub fn vrfy(address: &str) -> Result<Self, CommandError> {
        // RFC 6531 section 3.7.4.2.
        let parameter = if address.is_ascii() { "" } else { " SMTPUTF8" };
        Self::new(&["VRFY ", address, parameter].concat())
    }

    /// EXPN: who is on this list? The answer names them: [`Reply::members`](crate::Reply::members).
    ///
    /// # Errors
    ///
    /// [`CommandError`] as for [`new`](Self::new).
    pub fn expn(list: &str) -> Result<Self, CommandError> {
        let parameter = if list.is_ascii() { "" } else { " SMTPUTF8" };
        Self::new(&["EXPN ", list, parameter].concat())
    }

    /// ETRN: please send what waits for `node` (RFC 1985): a domain, `@` and a domain for all its hosts, or `#` and the name of
    /// a queue. The answer's meaning is [`Reply::queue_run`](crate::Reply::queue_run). Said only if the server offers ETRN.
    ///
    /// # Errors
    ///
    /// [`CommandError::Node`] when `node` is none of these, else as for [`new`](Self::new).
    pub fn etrn(node: &str) -> Result<Self, CommandError> {
        let is_node = match node.strip_prefix('#') {
            Some(queue) => !queue.is_empty() && queue.bytes().all(|octet| octet.is_ascii_graphic()),
            None => HelloName::parse(node.strip_prefix('@').unwrap_or(node))
                .is_ok_and(|name| !name.as_str().starts_with('[')),
        };
        if !is_node {
            return Err(CommandError::Node);
        }
        Ok(Self { extension: Some("ETRN"), ..Self::new(&["ETRN ", node].concat())? })
    }

    /// HELP, on a topic or, if that is empty, in general. The answer's text is [`Reply::help`](crate::Reply::help).
    ///
    /// # Errors
    ///
    /// [`CommandError`] as for [`new`](Self::new).
    pub fn help(topic: &str) -> Result<Self, CommandError> {
        if topic.is_empty() { Self::new("HELP") } else { Self::new(&["HELP ", topic].concat()) }
    }

    /// The line without its CRLF.
    pub fn as_str(&self) -> &str {
        &self.line
    }

    pub(crate) fn extension(&self) -> Option<&'static str> {
        self.extension
    }

    /// The name of each attribute that an [`OriginalClient`] is told by.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.line.split(' ').filter_map(|word| word.split_once('=')).map(|(name, _)| name)
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::escape::Escaped(self.line.as_bytes()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{ForwardPath, ReversePath};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn encoded(command: Command<'_>) -> alloc::string::String {
        let mut out = Vec::new();
        command.encode(&mut out);
        assert_eq!(out.len(), command.length());
        alloc::string::String::from_utf8(out).unwrap()
    }

    // S-24: a line of the caller's is shown escaped.
    #[test]
    fn lines_are_shown_escaped() {
        let line = CommandLine::new("X-FOO a\u{202e}b").unwrap();
        assert_eq!(alloc::format!("{line}"), "X-FOO a\\u{202e}b");
        assert_eq!(line.as_str(), "X-FOO a\u{202e}b");
    }

    // C-28: verbs in upper case, paths untouched.
    #[test]
    fn commands_on_the_wire() {
        let name = HelloName::parse("me.example").unwrap();
        let transaction = Transaction::new(ReversePath::parse("Me@Example.org").unwrap())
            .size(1234)
            .body_type(BodyType::EightBitMime)
            .smtputf8(true)
            .parameter(Parameter::new("ret", "HDRS").unwrap())
            .parameter(Parameter::flag("REQUIRETLS").unwrap());
        let recipient = Recipient::new(ForwardPath::parse("\"a b\"@c").unwrap())
            .parameter(Parameter::new("NOTIFY", "NEVER").unwrap());
        let line = CommandLine::new("X-Foo Bar").unwrap();
        for (command, expected) in [
            (Command::Ehlo(&name), "EHLO me.example\r\n"),
            (Command::Helo(&name), "HELO me.example\r\n"),
            (Command::Lhlo(&name), "LHLO me.example\r\n"),
            (
                Command::Mail(&transaction),
                "MAIL FROM:<Me@Example.org> SIZE=1234 BODY=8BITMIME SMTPUTF8 RET=HDRS REQUIRETLS\r\n",
            ),
            (Command::Mail(&Transaction::new(ReversePath::null())), "MAIL FROM:<>\r\n"),
            (Command::Rcpt(&recipient), "RCPT TO:<\"a b\"@c> NOTIFY=NEVER\r\n"),
            (Command::Data, "DATA\r\n"),
            (Command::Rset, "RSET\r\n"),
            (Command::Noop, "NOOP\r\n"),
            (Command::Quit, "QUIT\r\n"),
            (Command::StartTls, "STARTTLS\r\n"),
            (Command::Line(&line), "X-Foo Bar\r\n"),
        ] {
            assert_eq!(encoded(command), expected);
        }
    }

    // The verbs that a free line may not begin with, in any letter case; a longer verb is another verb.
    #[test]
    fn reserved_verbs() {
        for (verb, _) in RESERVED {
            for line in [verb.to_ascii_lowercase(), alloc::format!("{verb} x")] {
                assert!(matches!(CommandLine::new(&line), Err(CommandError::Reserved { .. })), "{line}");
            }
            assert!(CommandLine::new(&alloc::format!("{verb}X")).is_ok());
        }
    }

    // S-20: nothing that anybody takes for the end of a line: control characters, and Unicode's own line ends.
    #[test]
    fn lines_hold_no_line_end() {
        for c in (0..0x20).chain(0x7f..0xa0).chain([0x2028, 0x2029]).filter_map(char::from_u32) {
            let argument = alloc::format!("é{c}QUIT");
            let line = |verb| Err(CommandError::Control { offset: alloc::format!("{verb} é").len() });
            assert_eq!(CommandLine::new(&alloc::format!("X {argument}")), line("X"), "{c:?}");
            assert_eq!(CommandLine::vrfy(&argument), line("VRFY"), "{c:?}");
            assert_eq!(CommandLine::expn(&argument), line("EXPN"), "{c:?}");
            assert_eq!(CommandLine::help(&argument), line("HELP"), "{c:?}");
        }
    }

    // C-98: and the arguments of lines with a constructor of their own.
    #[test]
    fn lines_that_are_no_command() {
        for line in ["", " NOOP", "1X", "X_Y", "é", "-X"] {
            assert_eq!(CommandLine::new(line), Err(CommandError::Verb), "{line}");
        }
        assert!(CommandLine::vrfy(&"a".repeat(505)).is_ok());
        assert_eq!(CommandLine::vrfy(&"a".repeat(506)), Err(CommandError::TooLong));
        assert_eq!(CommandLine::help("").unwrap().as_str(), "HELP");
        assert_eq!(CommandLine::expn("staff").unwrap().as_str(), "EXPN staff");
        // C-98: a node of ETRN is a domain, with or without `@`, or a queue.
        for node in ["example.org", "@example.org", "#queue-1"] {
            assert_eq!(CommandLine::etrn(node).unwrap().as_str(), alloc::format!("ETRN {node}"));
        }
        for node in ["", "@", "#", "a b", "#a b", "@@a", "a@b", "[192.0.2.1]", "x\r\nQUIT", "#x\r\nQUIT"] {
            assert_eq!(CommandLine::etrn(node), Err(CommandError::Node), "{node:?}");
        }
    }

    proptest! {
        // P-01: whatever text went in, one command has one CR and one LF, at its end.
        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn every_command_is_one_line(text in any::<alloc::string::String>()) {
            let mut lines: Vec<alloc::string::String> = Vec::new();
            if let Ok(name) = HelloName::parse(&text) {
                lines.push(encoded(Command::Ehlo(&name)));
            }
            if let Ok(from) = ReversePath::parse_relaxed(&text) {
                lines.push(encoded(Command::Mail(&Transaction::new(from))));
            }
            if let Ok(path) = ForwardPath::parse_relaxed(&text) {
                lines.push(encoded(Command::Rcpt(&Recipient::new(path))));
            }
            let free = [CommandLine::new(&text), CommandLine::vrfy(&text), CommandLine::expn(&text), CommandLine::help(&text)];
            for line in free.iter().flatten() {
                lines.push(encoded(Command::Line(line)));
            }
            for line in lines {
                let content = line.strip_suffix("\r\n").unwrap();
                prop_assert!(!content.chars().any(char::is_control), "{:?}", line);
            }
        }
    }
}
