//! Content on its way into DATA: line ends, transparency, and what may not be sent at all.

mod block;

use bytes::BufMut;
use memchr::{memchr2_iter, memchr3};

use self::block::{BLOCK, Before, GROWN, Needs};
use crate::parameter::BodyType;

/// What to do with a CR or LF that is not part of CRLF (RFC 5321 section 2.3.8).
///
/// There is no way to send one as it is: some server would take it for a line end, and what follows for commands, which is
/// SMTP smuggling. Sign a message after its line ends are what they will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LineEndings {
    /// It becomes CRLF, as smtplib does for text.
    #[default]
    Normalize,
    /// The message is refused, and the error says where.
    Strict,
    /// It becomes a space, as Postfix's `cleanup_replace_stray_cr_lf` does.
    Space,
}

/// What to do with a line of more than 998 octets (RFC 5321 section 4.5.3.1.6). It is never folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LongLines {
    /// It is sent as it is; most servers take it.
    #[default]
    Send,
    /// The message is refused, and the error says where.
    Strict,
}

/// Octets in a line of content without its CRLF and without a stuffed dot.
pub(crate) const LINE_LENGTH: usize = 998;

/// Why content may not be sent. Offsets count octets of the content as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// A CR or LF that is not part of CRLF, under [`LineEndings::Strict`].
    #[error("the content has a bare CR or LF at octet {offset}")]
    BareLineEnding {
        /// Octets before it.
        offset: u64,
    },
    /// A line of more than 998 octets, under [`LongLines::Strict`].
    #[error("the content has a line of more than {LINE_LENGTH} octets at octet {offset}")]
    LineTooLong {
        /// Octets before the first one that is too many.
        offset: u64,
    },
    /// A NUL (RFC 5322 section 3.5).
    #[error("the content has a NUL at octet {offset}")]
    Nul {
        /// Octets before it.
        offset: u64,
    },
    /// An octet over 127 where the content was declared 7-bit or the server takes no other (RFC 6152).
    #[error("the content has an 8-bit octet at octet {offset} and may be 7-bit only, as by quoted-printable or base64")]
    EightBit {
        /// Octets before it.
        offset: u64,
    },
}

/// Encodes content for DATA: line ends made CRLF, leading dots doubled (RFC 5321 section 4.5.2), content that may not be
/// sent refused. A pure transform that can be fed in pieces of any size.
///
/// ```
/// use smtp_proto::DotStuffer;
///
/// let mut stuffer = DotStuffer::default();
/// let mut out = Vec::new();
/// assert_eq!(stuffer.encode(b".hidden\nend", &mut out)?, 11);
/// stuffer.finish(&mut out)?;
/// assert_eq!(out, b"..hidden\r\nend\r\n.\r\n");
/// # Ok::<(), smtp_proto::BodyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DotStuffer {
    line_endings: LineEndings,
    long_lines: LongLines,
    eight_bit: bool,
    /// Octets of content taken so far.
    taken: u64,
    place: Place,
}

/// Where in a line the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// After that many octets of the line.
    Column(usize),
    /// After that many octets and a CR, taken but not yet written: an LF has to show what it is.
    AfterCr(usize),
}

const LINE_START: Place = Place::Column(0);

/// What ended a run of octets that are sent as they are.
enum Stop {
    /// The end of what was looked at; the next octet stands here.
    End(Place),
    /// A dot that has to be doubled.
    Dot,
    /// A CR or LF that is not part of CRLF, or may not be.
    LineEnding(usize),
    Nul,
    LineTooLong,
}

/// The most octets one step writes at once besides a run: a CRLF, or a dot.
const STEP: usize = 2;

/// The most octets [`DotStuffer::finish`] writes: a CRLF for a CR, a CRLF to end the last line, the terminator.
pub(crate) const FINISH: usize = 7;

impl Default for DotStuffer {
    /// Normalizes line ends and lets long lines and 8-bit octets pass.
    fn default() -> Self {
        Self::new(LineEndings::Normalize, LongLines::Send, true)
    }
}

impl DotStuffer {
    /// An encoder at the start of a message. `eight_bit` permits octets over 127.
    pub fn new(line_endings: LineEndings, long_lines: LongLines, eight_bit: bool) -> Self {
        Self { line_endings, long_lines, eight_bit, taken: 0, place: LINE_START }
    }

    /// Encodes as much of `input` as `out` has room for and returns how many octets of it were taken.
    ///
    /// # Errors
    ///
    /// [`BodyError`] when the content may not be sent. What was written to `out` must then never be ended with a
    /// terminator.
    pub fn encode(&mut self, input: &[u8], out: &mut impl BufMut) -> Result<usize, BodyError> {
        let mut rest = input;
        // A block that needs a closer look is not looked at as a block again before that has come to its end.
        let mut closer_until = self.taken;
        while let Some(&next) = rest.first() {
            if out.remaining_mut() < STEP {
                break;
            }
            if let Place::AfterCr(column) = self.place {
                if next == b'\n' {
                    out.put_slice(b"\r\n");
                    self.place = LINE_START;
                    self.take(&mut rest, 1);
                } else {
                    self.bare_line_ending(column, self.taken - 1, out)?;
                }
                continue;
            }
            if self.long_lines == LongLines::Send && self.taken >= closer_until {
                let taken = self.taken;
                closer_until = self.blocks(&mut rest, out);
                if self.taken > taken {
                    continue;
                }
            }
            if self.place == LINE_START && next == b'.' {
                // Only the added dot; the other one begins the run below.
                out.put_u8(b'.');
            }
            let window = rest.get(..out.remaining_mut()).unwrap_or(rest);
            let (length, stop) = self.run(window);
            let (run, _) = window.split_at(length);
            if !self.eight_bit && !run.is_ascii() {
                let index = run.iter().position(|octet| !octet.is_ascii()).unwrap_or_default();
                return Err(BodyError::EightBit { offset: self.taken + index as u64 });
            }
            out.put_slice(run);
            self.take(&mut rest, length);
            match stop {
                Stop::End(place @ Place::AfterCr(_)) => {
                    self.place = place;
                    self.take(&mut rest, 1);
                }
                Stop::End(place) => self.place = place,
                Stop::Dot => self.place = LINE_START,
                Stop::LineEnding(column) => {
                    if out.remaining_mut() < STEP {
                        self.place = Place::Column(column);
                        break;
                    }
                    self.bare_line_ending(column, self.taken, out)?;
                    self.take(&mut rest, 1);
                }
                Stop::Nul => return Err(BodyError::Nul { offset: self.taken }),
                Stop::LineTooLong => return Err(BodyError::LineTooLong { offset: self.taken }),
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Encodes whole blocks as long as nothing in them needs a closer look, where lines may be of any length. Gives how far the
    /// one does that comes next, in octets of the content.
    fn blocks(&mut self, rest: &mut &[u8], out: &mut impl BufMut) -> u64 {
        let mut grown = [0; GROWN];
        while let Place::Column(column) = self.place {
            let before = if column == 0 { Before::LineEnd } else { Before::Other };
            let room = out.remaining_mut();
            let mut block = rest.get(..BLOCK.min(room)).unwrap_or(rest);
            let written = match block::needs(block, before, self.eight_bit) {
                Needs::Nothing => block,
                Needs::Much if self.line_endings == LineEndings::Normalize => {
                    block = block.get(..room / 3).unwrap_or(block);
                    let length = block::insert(block, before, &mut grown);
                    grown.get(..length).unwrap_or_default()
                }
                Needs::Lines | Needs::Much => return self.taken + block.len() as u64,
            };
            // Of the column only its beginning matters here.
            let Some(&last) = block.last() else { break };
            self.place = match last {
                b'\r' => Place::AfterCr(1),
                b'\n' => LINE_START,
                _ => Place::Column(1),
            };
            let held_back = usize::from(last == b'\r');
            out.put_slice(written.get(..written.len() - held_back).unwrap_or_default());
            self.take(rest, block.len());
        }
        self.taken
    }

    /// Ends the content: a CRLF if the last line has none, then the terminator, seven octets at most.
    ///
    /// # Errors
    ///
    /// [`BodyError::BareLineEnding`] when the content ended with a CR under [`LineEndings::Strict`]; nothing is written.
    pub fn finish(mut self, out: &mut impl BufMut) -> Result<(), BodyError> {
        if let Place::AfterCr(column) = self.place {
            self.bare_line_ending(column, self.taken - 1, out)?;
        }
        if self.place != LINE_START {
            out.put_slice(b"\r\n");
        }
        out.put_slice(b".\r\n");
        Ok(())
    }

    fn take(&mut self, rest: &mut &[u8], length: usize) {
        self.taken += length as u64;
        *rest = rest.get(length..).unwrap_or_default();
    }

    /// Writes what stands for a bare CR or LF at `offset`, in a line of `column` octets so far.
    fn bare_line_ending(&mut self, column: usize, offset: u64, out: &mut impl BufMut) -> Result<(), BodyError> {
        match self.line_endings {
            LineEndings::Normalize => {
                out.put_slice(b"\r\n");
                self.place = LINE_START;
            }
            LineEndings::Space if self.long_lines == LongLines::Strict && column >= LINE_LENGTH => {
                return Err(BodyError::LineTooLong { offset });
            }
            LineEndings::Space => {
                out.put_u8(b' ');
                self.place = Place::Column(column + 1);
            }
            LineEndings::Strict => return Err(BodyError::BareLineEnding { offset }),
        }
        Ok(())
    }

    /// How many octets at the start of `window` are sent as they are, and what stands behind them.
    fn run(&self, window: &[u8]) -> (usize, Stop) {
        let Place::Column(mut column) = self.place else { return (0, Stop::End(self.place)) };
        let mut line = window;
        loop {
            let length = memchr3(b'\r', b'\n', b'\0', line).unwrap_or(line.len());
            let start = window.len() - line.len();
            if self.long_lines == LongLines::Strict && column + length > LINE_LENGTH {
                return (start + LINE_LENGTH.saturating_sub(column), Stop::LineTooLong);
            }
            let end = start + length;
            column += length;
            match line.get(length..).unwrap_or_default() {
                [] => return (end, Stop::End(Place::Column(column))),
                [b'\r'] => return (end, Stop::End(Place::AfterCr(column))),
                [b'\r', b'\n', b'.', ..] => return (end + 2, Stop::Dot),
                [b'\r', b'\n', next @ ..] => {
                    line = next;
                    column = 0;
                }
                [b'\0', ..] => return (end, Stop::Nul),
                _ => return (end, Stop::LineEnding(column)),
            }
        }
    }
}

/// What a message at hand will be on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Octets with line ends as CRLF, the last line ended, before dot-stuffing (RFC 1870 section 3).
    pub(crate) size: u64,
    eight_bit: bool,
}

impl Survey {
    pub(crate) fn of(message: &[u8]) -> Self {
        let bare = memchr2_iter(b'\r', b'\n', message).filter(|&index| match message.get(index) {
            Some(b'\r') => message.get(index + 1) != Some(&b'\n'),
            _ => index.checked_sub(1).and_then(|before| message.get(before)) != Some(&b'\r'),
        });
        let unended = !matches!(message.last(), None | Some(b'\r' | b'\n'));
        let added = bare.count() + if unended { 2 } else { 0 };
        Self { size: message.len() as u64 + added as u64, eight_bit: !message.is_ascii() }
    }

    pub(crate) fn body_type(self) -> BodyType {
        if self.eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit }
    }
}

#[cfg(test)]
mod tests;
