//! Transcripts: one dialogue, what the application does in it, and what it is told.
//!
//! A transcript is a text file of lines:
//!
//! | line | meaning |
//! |---|---|
//! | `# text` | a comment; requirement ids in it are the ones the transcript proves |
//! | `@ setting` | how the connection is configured, see [`settings`](Script::config) |
//! | `S: text` | the server sends this line; escapes `\r \n \t \0 \\ \xHH`; a final `\` leaves off the CRLF |
//! | `S: <eof>` | the server closes the stream |
//! | `S: <tls>` | the server does its part of a TLS handshake, [`HANDSHAKE`], once the client has begun one |
//! | `C: text` | the client has to send exactly this line |
//! | `! verb ...` | the application does this, see [`Verb`] |
//! | `> text` | a line of the message of the `!` line above, escapes and final `\` as for `S:` |
//! | `= text` | the application is told something that begins with this |
//!
//! The server says its lines as soon as all client lines above them have come and all acts above them have begun, and the
//! application acts when what it did before is answered. The client may not say a line before all server lines above it
//! have come. How lines fall into packets is not part of a transcript: every cut has to give the same.

mod options;

use std::ops::Range;
use std::path::Path;

use smtp_proto::sasl::Credentials;
use smtp_proto::{
    BodyType, Chunking, CommandLine, Config, ContentUrl, ForwardPath, HelloName, LineEndings, LongLines, OnRefusal,
    OriginalClient, Recipient, ReversePath, Setup, TlsPolicy, Transaction,
};

/// What stands for a TLS handshake: the server's part, after which the same stream goes on as if within TLS. Anything else
/// in its place makes the handshake fail, as it would a real one.
pub const HANDSHAKE: &[u8] = b"\x16\x03\x03";

/// A transcript, read and checked.
#[derive(Clone, Debug)]
pub struct Script {
    /// The file's name without its ending.
    pub name: String,
    /// Requirement ids named in its comments.
    pub ids: Vec<String>,
    /// The configuration of the connection.
    pub config: Config,
    /// TLS is required, by STARTTLS.
    pub tls: bool,
    /// It takes long to compute, so not every cut is tried.
    pub slow: bool,
    /// Who to authenticate as.
    pub login: Option<Credentials>,
    /// Everything the server sends.
    pub server: Vec<u8>,
    /// Everything the client has to send.
    pub client: Vec<u8>,
    /// Which octets of `server` are due once the client has sent so many octets; in order.
    pub turns: Vec<Turn>,
    /// The server closes the stream at its end, once so many acts have begun.
    pub eof: Option<usize>,
    /// What the application does; the first act is to start the session.
    pub acts: Vec<Act>,
}

/// A stretch of server octets that are due at the same moment.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Octets that the client has to have sent.
    pub after: usize,
    /// Acts that have to have begun, the start of the session included.
    pub acts: usize,
    /// Handshakes that have to have begun.
    pub handshakes: usize,
    /// The stretch.
    pub octets: Range<usize>,
}

/// One thing the application does and what it is told.
#[derive(Clone, Debug)]
pub struct Act {
    /// What it does.
    pub verb: Verb,
    /// What it is told: the beginnings of lines.
    pub expected: Vec<String>,
}

/// What an application can do.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Start the session.
    Start,
    /// `! send <from> <to,to> [abort] [7bit] [8bit] [binary] [utf8] [size=N] [known] [unreadable] [ret=full|hdrs] [envid=ID]
    /// [by=SECONDS;MODE] [hold-for=SECONDS] [hold-until=TIME] [priority=N] [require-tls] [submitter=PATH] [track=SECONDS]
    /// [prdr] [KEY=VALUE]`
    Send(Transaction, Message),
    /// `! mail <from> [as for send]`
    Mail(Transaction),
    /// `! rcpt <to> [notify=CASES] [orcpt=TYPE;ADDRESS] [orcpt-unitext=TYPE;ADDRESS] [rrvs=TIME;C] [KEY=VALUE]`
    Rcpt(Recipient),
    /// `! data [unreadable]`
    Data(Message),
    /// `! bdat [unreadable]`
    Bdat(Message),
    /// `! burl URL`
    Burl(ContentUrl),
    /// `! ehlo`
    Ehlo,
    /// `! helo`
    Helo,
    /// `! noop`
    Noop,
    /// `! reset`
    Reset,
    /// `! starttls`
    StartTls,
    /// `! line VERB argument`, `! etrn node`, `! xforward name=HOST addr=IP port=N proto=NAME helo=NAME ident=ID source=local`,
    /// where a value may be `-` for what is not known.
    Line(CommandLine),
    /// `! xclient`, attributes as for `xforward` and `reverse_name=HOST login=USER destaddr=IP destport=N`, `?` for
    /// what is not known now.
    XClient(OriginalClient),
    /// `! wait`: for the server to end the session.
    Wait,
    /// `! quit`
    Quit,
}

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Its octets.
    pub octets: Vec<u8>,
    /// Whether reading it fails behind them.
    pub unreadable: bool,
}

impl Script {
    /// Reads all transcripts of a folder, in the order of their names.
    ///
    /// # Panics
    ///
    /// When there are none, or one is not well-formed: the tests are broken then.
    pub fn all(folder: &Path) -> Vec<Self> {
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "smtp"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{} holds no transcripts", folder.display());
        let read = |path: &std::path::PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
            Self::parse(&name, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        paths.iter().map(read).collect()
    }

    /// Reads one transcript.
    ///
    /// # Errors
    ///
    /// What is wrong, and in which line.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut script = Self {
            name: name.into(),
            ids: Vec::new(),
            config: Config::smtp(HelloName::parse("client.example").map_err(|error| error.to_string())?),
            tls: false,
            slow: false,
            login: None,
            server: Vec::new(),
            client: Vec::new(),
            turns: Vec::new(),
            eof: None,
            acts: vec![Act { verb: Verb::Start, expected: Vec::new() }],
        };
        // The message's lines follow their verb, so a verb is read when the next line of another kind comes.
        let mut pending: Option<(String, Vec<u8>)> = None;
        for (index, line) in text.lines().chain([""]).enumerate() {
            let (kind, rest) = line.split_at_checked(1).unwrap_or(("", ""));
            let rest = rest.strip_prefix(':').unwrap_or(rest);
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let at = |error: String| format!("line {}: {error}", index + 1);
            if kind == ">" {
                let (_, message) = pending.as_mut().ok_or_else(|| at("a message line without a verb".into()))?;
                message.extend(unescaped(rest));
                continue;
            }
            if let Some((verb, message)) = pending.take() {
                let verb = verb_of(&verb, message).map_err(at)?;
                script.acts.push(Act { verb, expected: Vec::new() });
            }
            match kind {
                "" => {}
                "#" => script.ids.extend(ids_in(rest)),
                "@" => script.configure(rest).map_err(at)?,
                "S" if rest == "<eof>" => script.eof = Some(script.acts.len()),
                "S" if rest == "<tls>" => script.server_says(HANDSHAKE, 1),
                "S" => script.server_says(&unescaped(rest), 0),
                "C" => script.client.extend(unescaped(rest)),
                "!" => pending = Some((rest.to_owned(), Vec::new())),
                "=" => script.acts.last_mut().ok_or_else(|| at("no act".into()))?.expected.push(rest.into()),
                _ => return Err(at(format!("not a transcript line: {line}"))),
            }
        }
        Ok(script)
    }

    /// `lmtp`, `lock-step`, `manual-hello`, `no-helo`, `strict` (line ends), `space` (for bare line ends), `strict-lines`,
    /// `strict-replies`, `bdat` (where it is offered), `bdat=ahead`, `buffer=N` (octets), `window=N`, `transactions=N`, `tls` (required, by
    /// STARTTLS), `slow` (to compute), `login=NAME:PASSWORD`.
    fn configure(&mut self, setting: &str) -> Result<(), String> {
        let number = |text: &str| text.parse::<usize>().map_err(|error| error.to_string());
        match setting.split_once('=').unwrap_or((setting, "")) {
            ("lmtp", _) => self.config.protocol = smtp_proto::Protocol::Lmtp,
            ("lock-step", _) => self.config.pipelining = false,
            ("manual-hello", _) => self.config.automatic_hello = false,
            ("no-helo", _) => self.config.helo_fallback = false,
            ("strict", _) => self.config.line_endings = LineEndings::Strict,
            ("space", _) => self.config.line_endings = LineEndings::Space,
            ("strict-lines", _) => self.config.long_lines = LongLines::Strict,
            ("strict-replies", _) => self.config.reply_limits.bare_lf = false,
            ("bdat", "ahead") => self.config.chunking = Chunking::Ahead,
            ("bdat", _) => self.config.chunking = Chunking::Prefer,
            ("tls", _) => self.tls = true,
            ("slow", _) => self.slow = true,
            ("login", value) => {
                let (name, password) = value.split_once(':').ok_or("a name and a password")?;
                self.login = Some(Credentials::password(name, password).map_err(|error| error.to_string())?);
            }
            ("buffer", value) => self.config.body_buffer = number(value)?,
            ("window", value) => self.config.pipeline_window = number(value)?,
            ("transactions", value) => self.config.transaction_window = number(value)?,
            _ => return Err(format!("unknown setting {setting}")),
        }
        Ok(())
    }

    /// From a fresh connection to the session that the transcript wants.
    pub fn setup(&self) -> Setup {
        let policy = if self.tls { TlsPolicy::Require } else { TlsPolicy::None };
        Setup::new(policy, self.login.clone()).entropy([7; 24])
    }

    fn server_says(&mut self, octets: &[u8], handshakes: usize) {
        let handshakes = handshakes + self.turns.last().map_or(0, |turn| turn.handshakes);
        let start = self.server.len();
        self.server.extend_from_slice(octets);
        let (after, acts, end) = (self.client.len(), self.acts.len(), self.server.len());
        match self.turns.last_mut() {
            Some(turn) if (turn.after, turn.acts, turn.handshakes) == (after, acts, handshakes) => {
                turn.octets.end = end;
            }
            _ => self.turns.push(Turn { after, acts, handshakes, octets: start..end }),
        }
    }
}

/// Requirement ids such as `C-12`, `R-03` or `P-06`.
pub fn ids_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_id = |word: &&str| match word.split_once('-') {
        Some(("C" | "R" | "S" | "P" | "K", number)) => {
            !number.is_empty() && number.bytes().all(|octet| octet.is_ascii_digit())
        }
        _ => false,
    };
    words.filter(is_id).map(str::to_owned).collect()
}

/// A line's octets: escapes resolved, CRLF added unless the line ends in a backslash.
fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => {
                octets.extend_from_slice(b"\r\n");
                return octets;
            }
            [b'\\'] => return octets,
            [b'\\', b'x', high, low, after @ ..] => {
                let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                octets.push(digit(high).unwrap_or_default() * 16 + digit(low).unwrap_or_default());
                rest = after;
            }
            [b'\\', escape, after @ ..] => {
                octets.push(match escape {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    other => *other,
                });
                rest = after;
            }
            [octet, after @ ..] => {
                octets.push(*octet);
                rest = after;
            }
        }
    }
}

fn verb_of(line: &str, octets: Vec<u8>) -> Result<Verb, String> {
    let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
    let mut words = arguments.split(' ').filter(|word| !word.is_empty());
    let unreadable = arguments.split(' ').any(|word| word == "unreadable");
    let message = Message { octets, unreadable };
    Ok(match verb {
        "send" => {
            let mut transaction = Transaction::new(reverse_path(words.next())?);
            for path in words.next().unwrap_or_default().split_terminator(',') {
                transaction = transaction.to(forward_path(Some(path))?);
            }
            Verb::Send(options(transaction, words, &message)?, message)
        }
        "mail" => Verb::Mail(options(Transaction::new(reverse_path(words.next())?), words, &message)?),
        "rcpt" => {
            let recipient = Recipient::new(forward_path(words.next())?);
            Verb::Rcpt(words.try_fold(recipient, options::for_rcpt)?)
        }
        "data" => Verb::Data(message),
        "bdat" => Verb::Bdat(message),
        "burl" => Verb::Burl(ContentUrl::parse(arguments).map_err(|error| error.to_string())?),
        "ehlo" => Verb::Ehlo,
        "helo" => Verb::Helo,
        "noop" => Verb::Noop,
        "reset" => Verb::Reset,
        "starttls" => Verb::StartTls,
        "etrn" => Verb::Line(CommandLine::etrn(arguments).map_err(|error| error.to_string())?),
        "xclient" => Verb::XClient(words.try_fold(OriginalClient::new(), options::for_client)?),
        "xforward" => {
            let client = words.try_fold(OriginalClient::new(), options::for_client)?;
            let [line] = &*client.xforward() else { return Err("not one line".into()) };
            Verb::Line(line.clone())
        }
        "line" => Verb::Line(CommandLine::new(arguments).map_err(|error| error.to_string())?),
        "wait" => Verb::Wait,
        "quit" => Verb::Quit,
        _ => return Err(format!("unknown verb {verb}")),
    })
}

fn options<'a>(
    mut transaction: Transaction,
    words: impl Iterator<Item = &'a str>,
    message: &Message,
) -> Result<Transaction, String> {
    for word in words {
        transaction = match word {
            "abort" => transaction.on_refusal(OnRefusal::Abort),
            "7bit" => transaction.body_type(BodyType::SevenBit),
            "8bit" => transaction.body_type(BodyType::EightBitMime),
            "binary" => transaction.body_type(BodyType::BinaryMime),
            "utf8" => transaction.smtputf8(true),
            "known" => transaction.content(&message.octets),
            "unreadable" => transaction,
            _ => match word.strip_prefix("size=") {
                Some(size) => transaction.size(size.parse().map_err(|error| format!("{error}"))?),
                None => options::for_mail(transaction, word)?,
            },
        };
    }
    Ok(transaction)
}

fn reverse_path(word: Option<&str>) -> Result<ReversePath, String> {
    ReversePath::parse(word.unwrap_or_default()).map_err(|error| error.to_string())
}

fn forward_path(word: Option<&str>) -> Result<ForwardPath, String> {
    ForwardPath::parse(word.unwrap_or_default()).map_err(|error| error.to_string())
}
