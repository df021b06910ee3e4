//! Replies from a stream that arrives in pieces.

use alloc::vec::Vec;

use memchr::memchr;

use super::framing::{self, Framing};
use super::{ReplyCode, ReplyError, ReplyLimits, ReplyRef};

/// Above this size the holder is given back after its reply, so that one long EHLO reply does not burden an idle
/// connection for the rest of its life.
const KEPT: usize = 4096;

/// Splits a stream into replies.
///
/// A reply that lies whole in the input is viewed there; only a broken-off one is copied, into a holder that never grows
/// beyond [`ReplyLimits::total`]. No octet is looked at twice, so time is linear however the stream is cut.
///
/// ```
/// use smtp_proto::{ReplyDecoder, ReplyLimits};
///
/// let mut decoder = ReplyDecoder::new(ReplyLimits::default());
/// assert_eq!(decoder.decode(b"250-mail.exa")?, (12, None));
/// let (taken, reply) = decoder.decode(b"mple\r\n250 SIZE\r\n354 go\r\n")?;
/// assert_eq!(taken, 16);
/// assert_eq!(reply.unwrap().lines().count(), 2);
/// let (taken, reply) = decoder.decode(b"354 go\r\n")?;
/// assert_eq!((taken, reply.unwrap().code().get()), (8, 354));
/// assert!(decoder.is_empty());
/// # Ok::<(), smtp_proto::ReplyError>(())
/// ```
#[derive(Debug, Default)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    framing: Framing,
    /// The beginning of a reply; its complete lines are summed up in `framing`.
    held: Vec<u8>,
    /// The holder's reply was given out and is to be dropped at the next call.
    spent: bool,
    /// The first error, given again ever after: there is no way back into step.
    failed: Option<ReplyError>,
}

impl ReplyDecoder {
    /// A decoder that refuses whatever exceeds `limits`.
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes octets up to the end of one reply: how many were taken, and the reply if it is complete.
    ///
    /// Call it again with the rest of `input` until all is taken.
    ///
    /// # Errors
    ///
    /// [`ReplyError`] when the stream is not, or cannot become, a reply within the limits; and the same again at every
    /// later call.
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Option<ReplyRef<'a>>), ReplyError> {
        if core::mem::take(&mut self.spent) {
            self.held.clear();
            self.held.shrink_to(KEPT);
            self.framing.restart();
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.advance(input) {
            Err(error) => {
                self.failed = Some(error);
                self.held = Vec::new();
                Err(error)
            }
            Ok((taken, None)) => Ok((taken, None)),
            Ok((taken, Some(code))) => {
                let whole = if self.held.is_empty() { input } else { &self.held };
                let length = if self.held.is_empty() { taken } else { self.held.len() };
                self.spent = true;
                Ok((taken, Some(framing::view(&self.framing, code, whole, length))))
            }
        }
    }

    /// Lets a line be as long as a whole reply.
    pub(crate) fn allow_long_lines(&mut self, allow: bool) {
        self.framing.long_lines = allow;
    }

    /// Whether no part of a reply is held.
    pub fn is_empty(&self) -> bool {
        self.spent || self.held.is_empty()
    }

    fn advance(&mut self, input: &[u8]) -> Result<(usize, Option<ReplyCode>), ReplyError> {
        if self.held.is_empty() {
            if let Some((code, length)) = framing::scan(&mut self.framing, input, &self.limits)? {
                return Ok((length, Some(code)));
            }
            self.keep(input);
            return Ok((input.len(), None));
        }
        let mut rest = input;
        while let Some(lf) = memchr(b'\n', rest) {
            let (piece, after) = rest.split_at(lf + 1);
            rest = after;
            self.hold(piece)?;
            let line = self.held.get(self.framing.total..).unwrap_or_default();
            let nul = memchr(0, line).is_some();
            if let Some(code) = self.framing.line(line, nul, &self.limits)? {
                return Ok((input.len() - rest.len(), Some(code)));
            }
        }
        self.hold(rest)?;
        Ok((input.len(), None))
    }

    /// Copies into the holder, which grows by doubling, but not beyond what a reply can be.
    fn keep(&mut self, piece: &[u8]) {
        let (length, capacity) = (self.held.len() + piece.len(), self.held.capacity());
        if length > capacity {
            let wanted = length.max(capacity.saturating_mul(2).min(self.framing.most(&self.limits)));
            self.held.reserve_exact(wanted - self.held.len());
        }
        self.held.extend_from_slice(piece);
    }

    /// Adds to the line being held, unless it grows too long by that.
    fn hold(&mut self, piece: &[u8]) -> Result<(), ReplyError> {
        let line = self.held.len() - self.framing.total + piece.len();
        self.framing.measure(line, &self.limits)?;
        self.keep(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_reply;
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use proptest::prelude::*;

    /// What a decoder makes of a stream cut into `pieces`.
    fn decode(pieces: &[&[u8]], limits: &ReplyLimits) -> Vec<Result<String, ReplyError>> {
        let mut decoder = ReplyDecoder::new(limits.clone());
        let mut seen = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                match decoder.decode(rest) {
                    Ok((taken, reply)) => {
                        seen.extend(reply.map(|reply| Ok(reply.to_owned().to_string())));
                        rest = &rest[taken..];
                    }
                    Err(error) => {
                        seen.push(Err(error));
                        return seen;
                    }
                }
            }
        }
        seen
    }

    /// The same by the whole-buffer parser.
    fn parse(mut buffer: &[u8], limits: &ReplyLimits) -> Vec<Result<String, ReplyError>> {
        let mut seen = Vec::new();
        loop {
            match parse_reply(buffer, limits) {
                Ok(Some((reply, length))) => {
                    seen.push(Ok(reply.to_owned().to_string()));
                    buffer = &buffer[length..];
                }
                Ok(None) => return seen,
                Err(error) => {
                    seen.push(Err(error));
                    return seen;
                }
            }
        }
    }

    const STREAM: &[u8] = b"220-a\r\n220 b\r\n250\r\n250-x\n250-\r\n250 y\r\n550 5.1.1 no\r\n2x0 bad\r\n";

    // C-01, C-77, P-06: byte by byte, and split at every offset, a stream is the same replies.
    #[test]
    fn every_split_of_a_stream_gives_the_same_replies() {
        let limits = ReplyLimits::default();
        let whole = decode(&[STREAM], &limits);
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[4], Err(ReplyError::Code));
        for cut in 0..=STREAM.len() {
            let (head, tail) = STREAM.split_at(cut);
            assert_eq!(decode(&[head, tail], &limits), whole, "split at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(decode(&bytes, &limits), whole);
    }

    #[test]
    fn errors_are_sticky() {
        let mut decoder = ReplyDecoder::new(ReplyLimits::default());
        assert_eq!(decoder.decode(b"nonsense\r\n"), Err(ReplyError::Code));
        assert_eq!(decoder.decode(b"250 ok\r\n"), Err(ReplyError::Code));
    }

    // S-30: the holder stays within the limit for a reply of any length.
    #[test]
    fn the_holder_is_bounded() {
        let limits = ReplyLimits { total: 1000, ..ReplyLimits::default() };
        let mut decoder = ReplyDecoder::new(limits);
        let flood = vec![b'5'; 7];
        let mut held = 0;
        while decoder.decode(&flood).is_ok() {
            held += flood.len();
            assert!(held <= 1000);
        }
        assert_eq!(decoder.decode(b""), Err(ReplyError::TooLong));
    }

    proptest! {
        // P-06: for any octets and any cuts, decoder and parser agree, errors included.
        #[test]
        fn any_cut_agrees_with_the_parser(
            tokens in prop::collection::vec(prop::sample::select(vec![
                "250", "550", "2", "5", "-", " ", "\r\n", "\n", "\r", "x", "\0", "250 ok\r\n", "250-a\r\n",
            ]), 0..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            bare_lf in any::<bool>(),
        ) {
            let limits = ReplyLimits { line: 12, total: 30, lines: 3, bare_lf, ..ReplyLimits::default() };
            let stream = tokens.concat().into_bytes();
            let mut offsets: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            offsets.extend([0, stream.len()]);
            offsets.sort_unstable();
            let pieces: Vec<&[u8]> = offsets.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&pieces, &limits), parse(&stream, &limits));
        }
    }
}
