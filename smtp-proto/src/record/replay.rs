//! A record played through a connection.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Entry, Recording, What, filler};
use crate::address::{ForwardPath, ReversePath};
use crate::capability::Extension;
use crate::command::{CommandLine, ContentUrl};
use crate::connection::{Connection, Piece, State};
use crate::error::UsageError;
use crate::event::Event;
use crate::parameter::{BodyType, Parameter};
use crate::sasl::Secret;
use crate::time::Time;
use crate::transaction::{OnRefusal, Recipient, Transaction};

/// Where a replay does not say what the record says: the core has changed, or the record is of something that cannot be
/// replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Divergence {
    /// The line of the record, counted from 1.
    pub line: usize,
    /// What is different there.
    pub reason: String,
}

impl Recording {
    /// Plays the record through a connection and gives every event it told. Deadlines pass as the record's clock says.
    ///
    /// # Errors
    ///
    /// [`Divergence`] where the connection does not say what was said.
    pub fn replay(&self) -> Result<Vec<Event>, Divergence> {
        // How the caller went about each transaction shows only in what came of it, so the ways are tried in turn.
        let mut ways = Vec::new();
        loop {
            let mut player = Player::new(self, ways);
            let Err(divergence) = player.play_all() else { return Ok(player.events) };
            ways = player.ways;
            let next = ways.pop().and_then(Way::next);
            ways.push(next.ok_or(divergence)?);
        }
    }
}

/// How the caller went about a transaction.
#[derive(Clone, Copy)]
enum Way {
    Continue,
    Abort,
    ByHand,
}

impl Way {
    fn next(self) -> Option<Self> {
        match self {
            Self::Continue => Some(Self::Abort),
            Self::Abort => Some(Self::ByHand),
            Self::ByHand => None,
        }
    }
}

struct Player<'a> {
    entries: &'a [Entry],
    connection: Connection,
    now: Duration,
    events: Vec<Event>,
    /// For each transaction, and how many have begun.
    ways: Vec<Way>,
    begun: usize,
}

impl<'a> Player<'a> {
    fn new(recording: &'a Recording, ways: Vec<Way>) -> Self {
        let mut config = recording.config.clone();
        // What is said in an authentication is not what was.
        config.danger_password_in_clear = true;
        Self {
            entries: &recording.entries,
            connection: Connection::new(config, recording.security),
            now: Duration::ZERO,
            events: Vec::new(),
            ways,
            begun: 0,
        }
    }

    fn play_all(&mut self) -> Result<(), Divergence> {
        for (index, entry) in self.entries.iter().enumerate() {
            self.pass(entry.at);
            self.play(index, entry).map_err(|reason| Divergence { line: entry.line, reason })?;
            self.listen();
        }
        Ok(())
    }

    fn time(&self) -> Time {
        Time::from_duration(self.now)
    }

    /// Time passes, and deadlines with it.
    fn pass(&mut self, until: Duration) {
        while let Some(left) = self.connection.poll_timeout(self.time()) {
            let Some(due) = self.now.checked_add(left).filter(|due| *due <= until) else { break };
            self.now = due;
            self.connection.handle_timeout(Time::from_duration(due));
            self.listen();
        }
        self.now = self.now.max(until);
    }

    fn listen(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            self.events.push(event);
        }
    }

    fn play(&mut self, index: usize, entry: &Entry) -> Result<(), String> {
        let now = self.time();
        match &entry.what {
            What::Heard(octets) => self.connection.handle_input(octets, now),
            What::HeardHidden(length) => {
                let line = filler(length.saturating_sub(2)) + "\r\n";
                self.connection.handle_input(line.get(..*length).unwrap_or(&line).as_bytes(), now);
            }
            What::Ended => self.connection.handle_eof(),
            What::WriteClosed => self.connection.handle_write_closed(now),
            What::Finished => {}
            What::Said(octets) => return self.said(index, &Piece::Command(octets)),
            What::Content(length) => return self.said(index, &Piece::Content(*length)),
            What::Secret(length) => return self.said(index, &Piece::Secret(*length)),
        }
        Ok(())
    }

    /// The connection has to say this: by itself, or because the caller now does what leads to it.
    fn said(&mut self, index: usize, piece: &Piece<'_>) -> Result<(), String> {
        // The octets of a handshake are not recorded; it was done if anything was said behind it.
        if self.connection.state() == State::Upgrading {
            self.connection.handle_tls_established().map_err(shown)?;
        }
        // Of a line that was cut short nobody can tell what it would have been.
        if matches!(piece, Piece::Command(_)) && self.is_cut_short(index) {
            return Ok(());
        }
        let mut taken = 0;
        let length = match piece {
            Piece::Command(octets) => octets.len(),
            Piece::Content(length) | Piece::Secret(length) => *length,
        };
        while taken < length {
            if self.connection.poll_transmit().is_none() {
                self.cause(index, piece, taken)?;
                self.listen();
            }
            let out = self.connection.poll_transmit().ok_or("nothing is said here")?;
            let offered = out.pieces().next();
            let now = self.time();
            let fits = match (offered, piece) {
                (Some(Piece::Command(line)), Piece::Command(octets)) => {
                    let rest = octets.get(taken..).unwrap_or_default();
                    let fits = line.len().min(rest.len());
                    if line.get(..fits) == rest.get(..fits) { fits } else { 0 }
                }
                (Some(Piece::Content(there)), Piece::Content(_)) | (Some(Piece::Secret(there)), Piece::Secret(_)) => {
                    there.min(length - taken)
                }
                _ => 0,
            };
            if fits == 0 {
                let offered = offered.map_or_else(|| "nothing".to_owned(), |piece| piece.to_string());
                return Err(alloc::format!("{offered} is said where the record has {piece}"));
            }
            self.connection.handle_transmitted(fits, now);
            taken += fits;
        }
        Ok(())
    }

    /// Does what the caller did so that this would be said.
    fn cause(&mut self, index: usize, piece: &Piece<'_>, taken: usize) -> Result<(), String> {
        match piece {
            Piece::Command(_) => {}
            Piece::Content(_) => return self.content(index, taken),
            Piece::Secret(_) => {
                let caused = match self.secret_from(index) {
                    3 => self.connection.auth_cancel(),
                    length => self.connection.auth_respond(&response(length)),
                };
                return caused.map_err(shown);
            }
        }
        let line = self.line_from(index);
        let line = line.trim_end_matches(['\r', '\n']);
        let verb = line.split(' ').next().unwrap_or_default();
        let caused = match verb {
            "." => return self.end_content(),
            "EHLO" | "LHLO" => self.connection.ehlo(),
            "HELO" => self.connection.helo(),
            "STARTTLS" => self.connection.starttls(),
            "AUTH" => {
                let name = line.split(' ').nth(1).unwrap_or_default();
                let initial = Some(self.secret_behind(index)).filter(|length| *length > 0).map(response);
                self.connection.auth_manual(name, initial)
            }
            "MAIL" => return self.mail(index, line),
            "RCPT" => self.connection.rcpt(recipient(line)?),
            "DATA" => self.connection.data(),
            "BDAT" => return self.chunk(line),
            "BURL" => self.burl(index),
            "RSET" => self.connection.reset(),
            "QUIT" => self.connection.quit(),
            "XCLIENT" => return Err("XCLIENT cannot be replayed".into()),
            _ => {
                let command = CommandLine::new(line).map_err(|error| error.to_string())?;
                self.connection.command(&command)
            }
        };
        caused.map_err(shown)
    }

    fn from(&self, index: usize) -> impl Iterator<Item = &'a What> + use<'a> {
        self.entries.iter().skip(index).map(|entry| &entry.what)
    }

    /// The command line that begins there, whole if it left whole.
    fn line_from(&self, index: usize) -> String {
        let mut line = Vec::new();
        for what in self.from(index) {
            let What::Said(octets) = what else { break };
            line.extend_from_slice(octets);
            if line.ends_with(b"\r\n") {
                break;
            }
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Whether the command that begins or goes on there never left whole.
    fn is_cut_short(&self, index: usize) -> bool {
        !self.line_from(index).ends_with('\n') && self.secret_behind(index) == 0
    }

    /// How long what is not told from there on is.
    fn secret_from(&self, index: usize) -> usize {
        let length = |what: &What| if let What::Secret(length) = what { Some(*length) } else { None };
        self.from(index).map_while(length).sum()
    }

    /// How long what is not told behind a command is.
    fn secret_behind(&self, index: usize) -> usize {
        let commands = self.from(index).take_while(|what| matches!(what, What::Said(_))).count();
        self.secret_from(index + commands)
    }

    fn burl(&mut self, index: usize) -> Result<(), UsageError> {
        let length = self.secret_behind(index);
        let url = "a:".to_owned() + &filler(length.saturating_sub("a:".len()).max(1));
        match ContentUrl::parse(&url) {
            Ok(url) => self.connection.burl(&url),
            Err(_) => Err(UsageError::NoTransaction),
        }
    }

    /// Begins the transaction whose envelope the record tells from here on, or begins one by hand.
    fn mail(&mut self, index: usize, line: &str) -> Result<(), String> {
        let way = *self.ways.get(self.begun).unwrap_or(&Way::Continue);
        if self.ways.len() == self.begun {
            self.ways.push(way);
        }
        self.begun += 1;
        let transaction = with_parameters(line, Transaction::new(path(line, ReversePath::parse)?))?;
        if let Way::ByHand = way {
            return self.connection.mail(transaction).map(drop).map_err(shown);
        }
        let mut said = Vec::new();
        for what in self.from(index) {
            if let What::Said(octets) = what {
                said.extend_from_slice(octets);
            }
        }
        let said = String::from_utf8_lossy(&said);
        let lines = said.split_inclusive('\n').skip(1).filter_map(|line| line.strip_suffix("\r\n"));
        let to: Result<Vec<_>, _> = lines.take_while(|line| line.starts_with("RCPT ")).map(recipient).collect();
        let on_refusal = if let Way::Abort = way { OnRefusal::Abort } else { OnRefusal::Continue };
        self.connection.begin(transaction.to_all(to?).on_refusal(on_refusal)).map(drop).map_err(shown)
    }

    /// Writes the content that leaves from there on before anything else is said, but for what was taken of it already.
    fn content(&mut self, index: usize, taken: usize) -> Result<(), String> {
        let length = |what: &What| if let What::Content(length) = what { *length } else { 0 };
        let length =
            self.from(index).take_while(|what| !matches!(what, What::Said(_))).map(length).sum::<usize>() - taken;
        let ends = self.from(index).any(|what| matches!(what, What::Said(_)));
        let mut text = Vec::with_capacity(length);
        while text.len() < length {
            // Lines that end where the content does, if it does, and of which none is a line end alone.
            let left = length - text.len();
            let line = if left > 82 { 80 } else { left };
            let end = if ends || left > line { line.min(2) } else { 0 };
            text.resize(text.len() + line - end, b'A');
            text.extend_from_slice(b"\r\n".get(..end).unwrap_or_default());
        }
        let mut body = self.connection.body().ok_or("no content is due")?;
        body.write(&text).map(drop).map_err(|error| error.to_string())
    }

    fn end_content(&mut self) -> Result<(), String> {
        let body = self.connection.body().ok_or("no content is due")?;
        body.finish().map_err(|error| error.to_string())
    }

    /// Writes a chunk, after saying by hand that chunks come if that was not so yet.
    fn chunk(&mut self, line: &str) -> Result<(), String> {
        if self.connection.body().is_none() && self.connection.state() == State::Ready {
            self.connection.bdat().map_err(shown)?;
        }
        let mut words = line.split(' ').skip(1);
        let length = words.next().and_then(|length| length.parse().ok()).ok_or("a chunk without a length")?;
        let last = words.next().is_some();
        let text = filler(length);
        let mut body = self.connection.body().ok_or("no content is due")?;
        body.write(text.as_bytes()).map_err(|error| error.to_string())?;
        if last { body.finish().map_err(|error| error.to_string()) } else { Ok(()) }
    }
}

fn shown(error: UsageError) -> String {
    error.to_string()
}

/// A response whose base64 and CRLF have that length, at least where they were cut short.
fn response(length: usize) -> Secret {
    Secret::from(filler(length.saturating_sub(2).div_ceil(4) * 3))
}

fn path<P, E: ToString>(line: &str, parse: impl FnOnce(&str) -> Result<P, E>) -> Result<P, String> {
    let (path, _) = path_and_rest(line).ok_or("no path")?;
    parse(path).map_err(|error| error.to_string())
}

/// What stands between the angle brackets, and behind them. In a quoted local part a bracket is none.
fn path_and_rest(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(":<")?;
    let (mut quoted, mut escaped) = (false, false);
    let end = rest.find(|c| {
        let ends = c == '>' && !quoted;
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

/// Keywords and values behind the path.
fn parameters(line: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let rest = path_and_rest(line).map_or("", |(_, rest)| rest);
    let words = rest.split(' ').filter(|word| !word.is_empty());
    words.map(|word| word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value))))
}

/// As it was said: what is checked when it is made was.
fn raw(keyword: &str, value: Option<&str>) -> Result<Parameter, String> {
    let parameter = value.map_or_else(|| Parameter::flag(keyword), |value| Parameter::new(keyword, value));
    parameter.map(Parameter::danger_unadvertised).map_err(|error| error.to_string())
}

fn recipient(line: &str) -> Result<Recipient, String> {
    let recipient = Recipient::new(path(line, ForwardPath::parse)?);
    parameters(line).try_fold(recipient, |recipient, (keyword, value)| Ok(recipient.parameter(raw(keyword, value)?)))
}

fn with_parameters(line: &str, transaction: Transaction) -> Result<Transaction, String> {
    // What is not declared was known to be 7-bit.
    let transaction = transaction.body_type(BodyType::SevenBit);
    parameters(line).try_fold(transaction, |transaction, (keyword, value)| {
        Ok(match (keyword, value) {
            ("SIZE", Some(size)) => transaction.size(size.parse().map_err(|_| "not a size")?),
            ("BODY", Some("8BITMIME")) => transaction.body_type(BodyType::EightBitMime),
            ("BODY", Some("BINARYMIME")) => transaction.body_type(BodyType::BinaryMime),
            ("SMTPUTF8", None) => transaction.smtputf8(true),
            (keyword, None) if keyword == Extension::PerRecipientReplies.keyword() => {
                transaction.per_recipient_replies(true)
            }
            _ => transaction.parameter(raw(keyword, value)?),
        })
    })
}

#[cfg(test)]
mod tests;
