//! Replies of the server: what a reply is, and how one is read from octets.
//!
//! [`ReplyRef`] views a reply where it lies; [`Reply`] owns one. [`parse_reply`] reads a whole buffer,
//! [`ReplyDecoder`] a stream in pieces; both are one piece of code underneath, so that they never disagree.

mod code;
mod decoder;
mod etrn;
mod framing;
mod member;
mod queue_id;
mod text;
mod verification;

use alloc::string::String;
use core::fmt;

pub use self::code::{EnhancedCode, ReplyCode, Severity};
pub use self::decoder::ReplyDecoder;
pub use self::etrn::QueueRun;
pub use self::framing::{ReplyError, ReplyLimits, parse_reply};
pub use self::member::Member;
use self::text::Text;
pub use self::verification::Verification;
use crate::escape::Escaped;

/// A complete reply, viewed in the buffer it was read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReplyRef<'a> {
    code: ReplyCode,
    /// Every line as received, codes and line ends included; [`framing`] has checked all of it.
    raw: &'a [u8],
    /// There is but one.
    single: bool,
}

impl<'a> ReplyRef<'a> {
    /// The reply code. All lines of the reply carried it.
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The text of each line, without code, separator and line end. Octets, since servers send what they like.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.raw.split_inclusive(|&octet| octet == b'\n').map(framing::text_of_line)
    }

    /// The enhanced status code of the first line, if it has one of the same class as the reply code (RFC 2034 section 4).
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        EnhancedCode::of_text(self.code, self.lines().next()?)
    }

    /// Copies the reply out of its buffer: one allocation where its text is longer than 62 octets, otherwise none.
    pub fn to_owned(&self) -> Reply {
        self.to_owned_up_to(usize::MAX)
    }

    /// Copies at most `limit` octets of text.
    pub(crate) fn to_owned_up_to(self, limit: usize) -> Reply {
        if self.single {
            let line = framing::text_of_line(self.raw);
            if let Some(text) = Text::short(line).filter(|_| line.len() <= limit) {
                return Reply { code: self.code, text, truncated: false };
            }
        }
        let (text, complete) = Text::joined(self.lines(), limit);
        Reply { code: self.code, text, truncated: !complete }
    }
}

impl fmt::Debug for ReplyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyRef({} {})", self.code, Escaped(self.raw))
    }
}

/// A reply that owns its text.
///
/// Cloning shares the text or, where it is short, copies it. `Display` shows code and text on one line, escaped and cut to 512 octets, so that an error
/// message cannot carry a server's control characters into a terminal.
///
/// ```
/// use smtp_proto::{ReplyLimits, parse_reply};
///
/// let (reply, length) = parse_reply(b"550-5.1.1 no such\r\n550 5.1.1 user\r\n250 next", &ReplyLimits::default())?
///     .expect("the reply is complete");
/// let reply = reply.to_owned();
/// assert_eq!(length, 35);
/// assert_eq!(reply.code().get(), 550);
/// assert_eq!(reply.lines().collect::<Vec<_>>(), [&b"5.1.1 no such"[..], b"5.1.1 user"]);
/// assert_eq!(reply.enhanced().unwrap().to_string(), "5.1.1");
/// assert_eq!(reply.to_string(), "550 5.1.1 no such / 5.1.1 user");
/// # Ok::<(), smtp_proto::ReplyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: ReplyCode,
    /// The text lines, joined by LF, which no line can contain.
    text: Text,
    truncated: bool,
}

impl Reply {
    /// The reply code.
    pub fn code(&self) -> ReplyCode {
        self.code
    }

    /// The text of each line, without code and line end. There is at least one line, perhaps an empty one.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|&octet| octet == b'\n')
    }

    /// All lines joined by LF, as octets: what smtplib calls the message.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// All lines joined by LF, with octets that are not UTF-8 replaced. Not escaped: the server chose every character.
    pub fn text_lossy(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// The enhanced status code of the first line, if it has one of the same class as the reply code (RFC 2034 section 4).
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        EnhancedCode::of_text(self.code, self.lines().next()?)
    }

    /// Whether text was left out because it exceeded [`ReplyLimits::recipient_text`].
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The code alone.
    pub(crate) fn without_text(self) -> Self {
        Self { text: Text::EMPTY, truncated: self.truncated || !self.text.is_empty(), ..self }
    }

    /// The path between angle brackets in a 251 or 551 reply: where the server says the recipient lives now
    /// (RFC 5321 section 3.4). The server's claim, not acted upon.
    pub fn forwarded_to(&self) -> Option<crate::ForwardPath> {
        if !matches!(self.code.get(), 251 | 551) {
            return None;
        }
        let text = core::str::from_utf8(&self.text).ok()?;
        let (_, from_open) = text.split_once('<')?;
        let (path, _) = from_open.split_once('>')?;
        crate::ForwardPath::parse(path).ok()
    }

    /// What the server calls the message, in the final reply to its content: the id in its queue, for logs and for its
    /// postmaster. In the shapes of Postfix, Exim, Exchange, Gmail, Amazon SES, Sendmail and their like; no standard has one.
    ///
    /// ```
    /// # use smtp_proto::{ReplyLimits, parse_reply};
    /// # let limits = ReplyLimits::default();
    /// let (reply, _) = parse_reply(b"250 2.0.0 Ok: queued as 4XyZ12abcd\r\n", &limits)?.expect("it is complete");
    /// assert_eq!(reply.to_owned().queue_id(), Some("4XyZ12abcd"));
    /// # Ok::<(), smtp_proto::ReplyError>(())
    /// ```
    pub fn queue_id(&self) -> Option<&str> {
        let text = core::str::from_utf8(&self.text).ok().filter(|_| self.code.severity() == Severity::Completion)?;
        let enhanced = self.enhanced().and_then(|_| text.split_once(' '));
        let name = queue_id::of_text(enhanced.map_or(text, |(_, text)| text))?;
        // The end of it may have been left out.
        if self.truncated && text.ends_with(name) { None } else { Some(name) }
    }

    /// What a reply to ETRN says (RFC 1985 section 5.3).
    pub fn queue_run(&self) -> QueueRun {
        QueueRun::of(self.code)
    }

    /// Who is on the list, by the reply to EXPN (RFC 5321 section 3.5.2): nobody unless that is 2yz.
    ///
    /// ```
    /// # use smtp_proto::{ReplyLimits, parse_reply};
    /// # let limits = ReplyLimits::default();
    /// let reply = b"250-2.1.5 Jon Postel <Postel@isi.example>\r\n250 2.1.5 <Fonebone@physics.example>\r\n";
    /// let (reply, _) = parse_reply(reply, &limits)?.expect("it is complete");
    /// let reply = reply.to_owned();
    /// let paths: Vec<_> = reply.members().filter_map(|member| member.path()).collect();
    /// assert_eq!(paths[1].as_str(), "Fonebone@physics.example");
    /// assert_eq!(reply.members().next().unwrap().name(), Some("Jon Postel"));
    /// # Ok::<(), smtp_proto::ReplyError>(())
    /// ```
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        let lines = (self.code.severity() == Severity::Completion).then(|| self.lines()).into_iter().flatten();
        lines.filter_map(|line| Member::of_line(self.without_enhanced(line)))
    }

    /// The lines of help, by the reply to HELP (RFC 5321 section 4.1.1.8); `None` unless that is 211, 214 or another 2yz.
    pub fn help(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let lines = || self.lines().map(|line| self.without_enhanced(line));
        (self.code.severity() == Severity::Completion).then(lines)
    }

    /// A line without the enhanced status code that it may begin with.
    fn without_enhanced<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        let word = line.iter().position(|&octet| octet == b' ').unwrap_or(line.len());
        match EnhancedCode::of_text(self.code, line) {
            Some(_) => line.get(word + 1..).unwrap_or_default(),
            None => line,
        }
    }

    /// What a reply to VRFY says (RFC 5321 section 3.5.3).
    pub fn verification(&self) -> Verification {
        Verification::of(self.code)
    }
}

/// How much of a server's text an error message repeats.
const SHOWN: usize = 512;

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        let shown = self.text.get(..SHOWN).unwrap_or(&self.text);
        for (index, line) in shown.split(|&octet| octet == b'\n').enumerate() {
            let separator = match (index, line) {
                (0, []) => "",
                (0, _) => " ",
                _ => " / ",
            };
            write!(f, "{separator}{}", Escaped(line))?;
        }
        if self.truncated || shown.len() < self.text.len() {
            f.write_str(" ...")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    fn reply(bytes: &[u8]) -> Reply {
        parse_reply(bytes, &ReplyLimits::default()).unwrap().unwrap().0.to_owned()
    }

    // C-02: the text may be missing, with or without the space before it.
    #[test]
    fn a_code_without_text_has_one_empty_line() {
        for bytes in [&b"250\r\n"[..], b"250 \r\n"] {
            let reply = reply(bytes);
            assert_eq!(reply.lines().collect::<Vec<_>>(), [b""]);
            assert_eq!(reply.to_string(), "250");
        }
        assert_eq!(reply(b"250-\r\n250\r\n").lines().count(), 2);
    }

    // C-10, S-63: any octets in the text are kept, shown escaped, and shown only so far.
    #[test]
    fn display_escapes_and_caps() {
        let hostile = reply(b"550 \x1b[2J\xff\r\n");
        assert_eq!(hostile.text(), b"\x1b[2J\xff");
        assert_eq!(hostile.to_string(), "550 \\u{1b}[2J\\xff");

        let mut long = b"550 ".to_vec();
        long.resize(1900, b'x');
        long.extend_from_slice(b"\r\n");
        let shown = reply(&long).to_string();
        assert!(shown.len() < 530 && shown.ends_with("x ..."));
    }

    // C-31: help is told apart from its absence, and is the text without the codes.
    #[test]
    fn help_and_members() {
        let help = reply(b"214-2.0.0 Commands:\r\n214-2.0.0\r\n214 HELO\r\n");
        assert_eq!(help.help().unwrap().collect::<Vec<_>>(), [&b"Commands:"[..], b"", b"HELO"]);
        assert!(reply(b"502 5.5.1 no help\r\n").help().is_none());
        assert_eq!(reply(b"550 <a@x.example>\r\n").members().count(), 0);
        assert_eq!(reply(b"250-a@x.example\r\n250 \r\n").members().count(), 1);
    }

    // C-10: what a reply is in a log, viewed or owned; as text, octets that are not UTF-8 are replaced.
    #[test]
    fn replies_in_a_log() {
        let line = b"451-4.3.0 a\r\n451 4.3.0 \xff\x07\r\n";
        let (view, _) = parse_reply(line, &ReplyLimits::default()).unwrap().unwrap();
        assert_eq!(alloc::format!("{view:?}"), r"ReplyRef(451 451-4.3.0 a\r\n451 4.3.0 \xff\u{7}\r\n)");
        assert_eq!((view.code(), view.enhanced()), (reply(line).code(), reply(line).enhanced()));
        assert_eq!(view.enhanced().unwrap().to_string(), "4.3.0");
        let owned = view.to_owned();
        assert_eq!(alloc::format!("{owned:?}"), r"Reply(451 4.3.0 a / 4.3.0 \xff\u{7})");
        assert_eq!(owned.text_lossy(), "4.3.0 a\n4.3.0 \u{fffd}\u{7}");
        assert!(!owned.is_truncated());
    }

    // S-60: without its text a reply says that there was one, if there was.
    #[test]
    fn a_reply_without_its_text() {
        let bare = reply(b"535 dXNlcg==\r\n").without_text();
        assert_eq!((bare.to_string().as_str(), bare.is_truncated()), ("535 ...", true));
        let silent = reply(b"535\r\n").without_text();
        assert_eq!((silent.to_string().as_str(), silent.is_truncated()), ("535", false));
        let cut = parse_reply(b"535 no\r\n", &ReplyLimits::default()).unwrap().unwrap().0.to_owned_up_to(0);
        assert!(cut.without_text().is_truncated());
    }

    // C-31, C-98: what the answers to VRFY and ETRN say is told by their codes. The name of a message in a queue is believed
    // only of a 2yz, and where it may go on no further.
    #[test]
    fn meanings() {
        assert_eq!(reply(b"252 perhaps\r\n").verification(), Verification::of(ReplyCode::new(252).unwrap()));
        assert_eq!(reply(b"251 nothing\r\n").queue_run(), QueueRun::Empty);
        let queued = b"250 2.0.0 Ok: queued as 4XyZ12abcd\r\n";
        assert_eq!(reply(queued).queue_id(), Some("4XyZ12abcd"));
        assert_eq!(reply(b"250 Ok: queued as 4XyZ12abcd\r\n").queue_id(), Some("4XyZ12abcd"));
        assert_eq!(reply(b"450 2.0.0 Ok: queued as 4XyZ12abcd\r\n").queue_id(), None);
        assert_eq!(reply(b"250 Ok: queued as 4XyZ12\xff\r\n").queue_id(), None);
        let (view, _) = parse_reply(queued, &ReplyLimits::default()).unwrap().unwrap();
        assert_eq!(view.to_owned_up_to(view.to_owned().text().len() - 1).queue_id(), None);
    }

    // C-54: the forwarding path of 251 and 551 is offered, never obeyed; garbage gives none.
    #[test]
    fn forwarding_paths() {
        let moved = reply(b"551 5.1.6 user not local; please try <user1@lab.test>\r\n");
        assert_eq!(moved.forwarded_to().unwrap().as_str(), "user1@lab.test");
        assert_eq!(reply(b"251 will forward to <a b>\r\n").forwarded_to(), None);
        assert_eq!(reply(b"250 <a@b>\r\n").forwarded_to(), None);
    }

    #[test]
    fn a_copy_can_be_bounded() {
        let bytes = b"550-aaaa\r\n550 bbbb\r\n";
        let (whole, _) = parse_reply(bytes, &ReplyLimits::default()).unwrap().unwrap();
        for (limit, text) in
            [(0, &b""[..]), (3, b"aaa"), (4, b"aaaa"), (5, b"aaaa\n"), (7, b"aaaa\nbb"), (9, b"aaaa\nbbbb")]
        {
            let copy = whole.to_owned_up_to(limit);
            assert_eq!(copy.text(), text);
            assert_eq!(copy.is_truncated(), limit < 9);
        }
    }
}
