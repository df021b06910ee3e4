//! What octets on the wire are, whatever the text in them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// How to look at what was said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Verbs, and how many words each line has.
    Words,
    /// Verbs; the words are the text.
    Verbs,
    /// One line.
    Line,
    /// MAIL, any number of RCPT, DATA; none with a parameter.
    Envelope,
    /// AUTH, and answers in base64; decoded, the separator is found as often.
    Sasl(Option<u8>),
}

impl Shape {
    /// Two texts that say the same have equal shapes.
    pub(crate) fn of(self, said: &[u8]) -> Result<Vec<String>, String> {
        let said = std::str::from_utf8(said).map_err(|_| "not UTF-8")?;
        let body = said.strip_suffix("\r\n").ok_or("does not end in CRLF")?;
        let lines: Vec<&str> = body.split("\r\n").collect();
        let outlaw = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if lines.iter().any(|line| line.contains(outlaw)) {
            return Err("holds a control character or a line end".into());
        }
        match self {
            Self::Words => lines.iter().map(|line| words(line)).collect(),
            Self::Verbs => Ok(lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()),
            Self::Line => Ok(vec![lines.len().to_string()]),
            Self::Envelope => envelope(&lines),
            Self::Sasl(separator) => sasl(&lines, separator),
        }
    }
}

/// Verb and number of words, but for the two that other addresses or other content bring along.
fn words(line: &str) -> Result<String, String> {
    let ours = |word: &&str| !matches!(*word, "SMTPUTF8" | "BODY=8BITMIME");
    for verb in ["MAIL FROM:<", "RCPT TO:<"] {
        if let Some(rest) = line.strip_prefix(verb) {
            let behind = behind_path(rest).ok_or("a path that does not close")?;
            let mut words = behind.split(' ');
            return match words.next() {
                Some("") => Ok(format!("{verb}> {}", words.filter(ours).count())),
                other => Err(format!("{other:?} behind a path")),
            };
        }
    }
    let verb = line.split(' ').next().unwrap_or_default();
    Ok(format!("{verb} {}", line.split(' ').filter(ours).count()))
}

/// What stands behind the angle bracket that closes a path: the first one outside quotation marks.
fn behind_path(path: &str) -> Option<&str> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, c) in path.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            '>' if !quoted => return path.get(index + 1..),
            ' ' | '<' if !quoted => return None,
            _ => {}
        }
    }
    None
}

fn envelope(lines: &[&str]) -> Result<Vec<String>, String> {
    let mut shapes = lines.iter().map(|line| words(line)).collect::<Result<Vec<_>, _>>()?;
    shapes.dedup();
    Ok(shapes)
}

fn sasl(lines: &[&str], separator: Option<u8>) -> Result<Vec<String>, String> {
    let mut found = 0;
    let mut answers = lines.to_vec();
    let command: Vec<&str> = answers.remove(0).split(' ').collect();
    let [verb, mechanism, initial @ ..] = &command[..] else { return Err("no AUTH".into()) };
    answers.splice(0..0, initial.iter().copied().filter(|initial| *initial != "="));
    if initial.len() > 1 || answers.len() > 4 {
        return Err("more than an exchange".into());
    }
    for answer in answers.into_iter().filter(|answer| *answer != "*") {
        let decoded = BASE64_STANDARD.decode(answer).map_err(|error| error.to_string())?;
        found += decoded.iter().filter(|octet| Some(**octet) == separator).count();
    }
    Ok(vec![format!("{verb} {mechanism} {found}")])
}
