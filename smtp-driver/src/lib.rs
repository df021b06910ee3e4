//! What the drivers of [`smtp_proto`] share: where to connect to and how, what can go wrong on the way, whom to trust within
//! TLS, and what to show of a session. Programs use it by way of `smtp-blocking` or `smtp-tokio`, which hand it on.
//!
//! It moves no octets and knows no SMTP.

mod dialogue;
mod error;
mod options;
#[cfg(feature = "record")]
mod record;
mod sequence;
mod target;
#[cfg(feature = "rustls")]
mod tls;
mod transcript;

pub use dialogue::{Dialogue, Fed, Spoilt};
pub use error::Error;
pub use options::{Options, Plan, Session};
#[cfg(feature = "rustls")]
pub use rustls;
pub use sequence::{Heard, Sequence};
#[cfg(feature = "rustls")]
pub use tls::{Tls, channel_bindings, tls_version};
pub use transcript::{Transcript, TranscriptHook};
