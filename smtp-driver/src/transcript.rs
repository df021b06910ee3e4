//! What goes over the wire, for people to read.

use std::fmt;
use std::sync::Arc;

use smtp_proto::{Piece, Received};

/// Something that was sent or received: smtplib's `set_debuglevel`, without what is secret.
///
/// `Display` writes one line without a line end, every control character escaped.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Transcript<'a> {
    /// This was sent: `C: MAIL FROM:<me@example.org>`, or `C: <512 octets of content>`.
    Sent(Piece<'a>),
    /// This line, or the part of one that came in one piece, was received: `S: 250 ok`.
    Received(Received<'a>),
    /// The server's stream ended, or broke: `S: <end>`.
    Ended,
    /// The stream took no more octets: `C: <end>`.
    WriteClosed,
}

/// Called for everything that is sent and received. Many sessions may share one.
pub type TranscriptHook = Arc<dyn Fn(Transcript<'_>) + Send + Sync>;

impl fmt::Display for Transcript<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(piece) => write!(f, "C: {piece}"),
            Self::Received(line) => write!(f, "S: {line}"),
            Self::Ended => f.write_str("S: <end>"),
            Self::WriteClosed => f.write_str("C: <end>"),
        }
    }
}
