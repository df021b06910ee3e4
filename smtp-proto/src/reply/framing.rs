//! Where a reply ends, and whether it is one (RFC 5321 section 4.2).
//!
//! Errors depend only on the octets, never on how they were cut: a line is judged when its LF is there, and a line
//! without one is only measured. So the incremental decoder and the whole-buffer parser always agree.

use memchr::{memchr, memchr2};

use super::{ReplyCode, ReplyRef};

/// How much a server may say in one reply.
///
/// RFC 5321 section 4.5.3.1.5 allows a server 512 octets a line; real ones send more. A reply beyond these limits ends
/// the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyLimits {
    /// Octets of one line, its line end included. Default 2,048.
    pub line: usize,
    /// Octets of one reply, line ends included. Default 16 KiB; within a SASL exchange 24 KiB at least, since challenges may
    /// be long (RFC 4954 section 4).
    pub total: usize,
    /// Lines of one reply. Default 512.
    pub lines: usize,
    /// Octets of text kept of each reply to RCPT; more is cut off and [`Reply::is_truncated`](super::Reply::is_truncated)
    /// says so. Without it a server could answer each of many recipients with a whole [`total`](Self::total). Default 1,024.
    pub recipient_text: usize,
    /// Whether LF alone ends a line, as some servers send it. Default true: replies are matched to commands by counting,
    /// and nothing may follow the go-ahead for TLS, so this leniency gives an attacker nothing. A CR alone never does.
    pub bare_lf: bool,
}

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { line: 2048, total: 16 * 1024, lines: 512, recipient_text: 1024, bare_lf: true }
    }
}

/// Why octets are not a reply. The stream cannot be trusted after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The line does not begin with three digits, the first of them 2 to 5.
    #[error("a reply line does not begin with a reply code")]
    Code,
    /// The code is followed by something other than space, hyphen or the line end.
    #[error("a reply code is not followed by a space or a hyphen")]
    Separator,
    /// The lines of one reply carry different codes.
    #[error("the lines of one reply carry different codes")]
    CodeMismatch,
    /// The line holds a NUL.
    #[error("a reply line holds a NUL")]
    Nul,
    /// A line is longer than [`ReplyLimits::line`].
    #[error("a reply line is too long")]
    LineTooLong,
    /// The reply has more lines than [`ReplyLimits::lines`].
    #[error("a reply has too many lines")]
    TooManyLines,
    /// The reply is longer than [`ReplyLimits::total`].
    #[error("a reply is too long")]
    TooLong,
    /// A line ends in LF without CR and [`ReplyLimits::bare_lf`] is off.
    #[error("a reply line ends in a bare LF")]
    BareLf,
}

/// Octets of a reply within a SASL exchange: enough to tell a challenge that is too long from one that never ends.
const CHALLENGE: usize = 24 * 1024;

/// What is known of the reply being read: its complete lines, summed up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    code: Option<ReplyCode>,
    lines: usize,
    /// Octets of all complete lines.
    pub(super) total: usize,
    /// A SASL exchange is under way, in which one line may be a whole reply, and a long one.
    pub(super) long_lines: bool,
}

impl Framing {
    /// Begins the next reply.
    pub(super) fn restart(&mut self) {
        *self = Self { long_lines: self.long_lines, ..Self::default() };
    }

    /// Octets that the reply may have.
    pub(super) fn most(&self, limits: &ReplyLimits) -> usize {
        if self.long_lines { limits.total.max(CHALLENGE) } else { limits.total }
    }

    /// Checks that a line of `length` octets, ended or not, still fits.
    pub(super) fn measure(&self, length: usize, limits: &ReplyLimits) -> Result<(), ReplyError> {
        // The limit that lies nearer is the one that the octets break first.
        let most = self.most(limits);
        let left = most.saturating_sub(self.total);
        let line = if self.long_lines { most } else { limits.line };
        if length <= line.min(left) {
            Ok(())
        } else if left <= line {
            Err(ReplyError::TooLong)
        } else {
            Err(ReplyError::LineTooLong)
        }
    }

    /// Takes the next line, its LF included, and whether it holds a NUL. Gives the code once the line is the last one of its
    /// reply.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        nul: bool,
        limits: &ReplyLimits,
    ) -> Result<Option<ReplyCode>, ReplyError> {
        self.measure(line.len(), limits)?;
        self.total += line.len();
        self.lines += 1;
        if self.lines > limits.lines {
            return Err(ReplyError::TooManyLines);
        }
        let content = match line {
            [content @ .., b'\r', b'\n'] => content,
            [content @ .., b'\n'] if limits.bare_lf => content,
            _ => return Err(ReplyError::BareLf),
        };
        if nul {
            return Err(ReplyError::Nul);
        }
        let (digits, rest) = content.split_first_chunk::<3>().ok_or(ReplyError::Code)?;
        let code = ReplyCode::from_digits(*digits).ok_or(ReplyError::Code)?;
        let last = match rest.first() {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(ReplyError::Separator),
        };
        if self.code.is_some_and(|first| first != code) {
            return Err(ReplyError::CodeMismatch);
        }
        self.code = Some(code);
        Ok(last.then_some(code))
    }
}

/// The text of one raw line, which [`Framing::line`] has accepted.
pub(super) fn text_of_line(line: &[u8]) -> &[u8] {
    let content = match line {
        [content @ .., b'\r', b'\n'] | [content @ .., b'\n'] => content,
        content => content,
    };
    content.get(4..).unwrap_or_default()
}

/// Reads one reply from the start of `buffer`, without copying.
///
/// Gives the reply and its length in octets, or `None` when it is not complete yet, which is no error. Stateless: for a
/// stream that arrives in pieces use [`ReplyDecoder`](super::ReplyDecoder), which does not look twice at an octet.
///
/// # Errors
///
/// [`ReplyError`] when the octets are not, and cannot become, a reply within `limits`.
pub fn parse_reply<'a>(buffer: &'a [u8], limits: &ReplyLimits) -> Result<Option<(ReplyRef<'a>, usize)>, ReplyError> {
    let mut framing = Framing::default();
    let found = scan(&mut framing, buffer, limits)?;
    Ok(found.map(|(code, length)| (view(&framing, code, buffer, length), length)))
}

/// Runs over the lines at the start of `buffer`, which begins a line. Gives the code and the length of the reply once it
/// is complete; otherwise all complete lines are in `framing` and the rest is the start of a line.
pub(super) fn scan(
    framing: &mut Framing,
    buffer: &[u8],
    limits: &ReplyLimits,
) -> Result<Option<(ReplyCode, usize)>, ReplyError> {
    let mut rest = buffer;
    while let Some((lf, nul)) = line_end(rest) {
        let (line, after) = rest.split_at(lf + 1);
        rest = after;
        if let Some(code) = framing.line(line, nul, limits)? {
            return Ok(Some((code, buffer.len() - rest.len())));
        }
    }
    framing.measure(rest.len(), limits)?;
    Ok(None)
}

/// Where the first line of `octets` has its LF, and whether it holds a NUL; one look at both for lines that hold none.
pub(super) fn line_end(octets: &[u8]) -> Option<(usize, bool)> {
    let index = memchr2(b'\n', 0, octets)?;
    if octets.get(index) == Some(&b'\n') {
        return Some((index, false));
    }
    let behind = memchr(b'\n', octets.get(index..)?)?;
    Some((index + behind, true))
}

/// The first `length` octets of `buffer` as the reply they were found to be.
pub(super) fn view<'a>(framing: &Framing, code: ReplyCode, buffer: &'a [u8], length: usize) -> ReplyRef<'a> {
    ReplyRef { code, raw: buffer.get(..length).unwrap_or(buffer), single: framing.lines == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn parse(buffer: &[u8]) -> Result<Option<(u16, usize)>, ReplyError> {
        let parsed = parse_reply(buffer, &ReplyLimits::default())?;
        Ok(parsed.map(|(reply, length)| (reply.code().get(), length)))
    }

    // C-01, C-77: any number of lines is one reply, and it ends where it ends.
    #[test]
    fn one_reply_is_taken_and_no_more() {
        assert_eq!(parse(b"250 ok\r\n250 more\r\n"), Ok(Some((250, 8))));
        assert_eq!(parse(b"250-a\r\n250 b\r\n250 c\r\n"), Ok(Some((250, 14))));
        assert_eq!(parse(b"354-\r\n354 go\r\n"), Ok(Some((354, 14))));
        assert_eq!(parse(b"250-a\r\n250 b\r"), Ok(None));
        assert_eq!(parse(b""), Ok(None));
    }

    // C-02
    #[test]
    fn a_code_alone_is_a_reply() {
        for bytes in [&b"250\r\n"[..], b"250 \r\n", b"250-\r\n250\r\n"] {
            assert_eq!(parse(bytes), Ok(Some((250, bytes.len()))));
        }
    }

    // C-03: neither the first nor the last code wins.
    #[test]
    fn codes_of_one_reply_agree() {
        assert_eq!(parse(b"250-a\r\n550 b\r\n"), Err(ReplyError::CodeMismatch));
        assert_eq!(parse(b"550-a\r\n250 b\r\n"), Err(ReplyError::CodeMismatch));
    }

    // C-04
    #[test]
    fn codes_are_three_ascii_digits() {
        for line in ["2_5 x", "+25 x", " 25 x", "25  x", "999 x", "150 x", "٢٥٠ x", "25", "", "x", "HTTP/1.1 400"] {
            assert_eq!(parse(alloc::format!("{line}\r\n").as_bytes()), Err(ReplyError::Code), "{line}");
        }
        assert_eq!(parse(b"25\0 x\r\n"), Err(ReplyError::Nul));
        assert_eq!(parse(b"2500 x\r\n"), Err(ReplyError::Separator));
        assert_eq!(parse(b"250\tx\r\n"), Err(ReplyError::Separator));
        assert_eq!(parse(b"289 an invented code\r\n"), Ok(Some((289, 22))));
    }

    // C-09: a bare CR ends nothing; a bare LF does unless it is switched off.
    #[test]
    fn line_ends() {
        assert_eq!(parse(b"250 a\r250 b"), Ok(None));
        assert_eq!(parse(b"250-a\r250 b\r\n250 c\r\n"), Ok(Some((250, 20))));
        assert_eq!(parse(b"250-a\n250 b\n"), Ok(Some((250, 12))));
        let strict = ReplyLimits { bare_lf: false, ..ReplyLimits::default() };
        assert_eq!(parse_reply(b"250-a\n250 b\r\n", &strict), Err(ReplyError::BareLf));
        assert_eq!(parse_reply(b"250-a\n250 b\r", &strict), Err(ReplyError::BareLf));
    }

    // C-10
    #[test]
    fn a_nul_is_refused_and_other_octets_are_not() {
        assert_eq!(parse(b"250 a\0b\r\n"), Err(ReplyError::Nul));
        assert_eq!(parse(b"250 \x1b[2J \xff\x80\r\n"), Ok(Some((250, 13))));
    }

    // C-08: up to the limit and not an octet more, whether the LF ever comes or not.
    #[test]
    fn limits_are_exact() {
        for length in [512, 2048, 2049] {
            let mut line = vec![b'x'; length];
            line[..4].copy_from_slice(b"250 ");
            let expected = if length <= 2048 { Ok(None) } else { Err(ReplyError::LineTooLong) };
            assert_eq!(parse(&line), expected, "{length} without LF");
            line[length - 2..].copy_from_slice(b"\r\n");
            let expected = expected.map(|_| Some((250, length)));
            assert_eq!(parse(&line), expected, "{length} with LF");
        }
    }

    // S-30: endless replies stop at the cap on lines, and at the cap on octets.
    #[test]
    fn endless_replies_are_cut() {
        assert_eq!(parse(&b"250-\r\n".repeat(513)), Err(ReplyError::TooManyLines));
        let line = [&b"250-"[..], &[b'x'; 1994], b"\r\n"].concat();
        assert_eq!(parse(&line.repeat(8)), Ok(None));
        assert_eq!(parse(&line.repeat(9)), Err(ReplyError::TooLong));
        assert_eq!(parse(&[&line.repeat(8)[..], &[b'x'; 385]].concat()), Err(ReplyError::TooLong));
    }
}
