//! SMTP and LMTP for clients, as a pure state machine.
#![no_std]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::std_instead_of_core))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod body;
mod capability;
mod command;
mod config;
mod connection;
mod error;
mod escape;
mod event;
mod outcome;
mod parameter;
mod reply;
mod report;
mod time;
mod transaction;

pub use address::{AddressError, ForwardPath, HelloName, ReversePath};
pub use body::{BodyError, DotStuffer, LineEndings, LongLines};
pub use capability::{Capabilities, Extension};
pub use command::{Command, CommandError, CommandLine};
pub use config::{Config, Protocol, Security, Timeouts};
pub use connection::{Body, Connection, Piece, State, Transmit};
pub use error::{Failure, UsageError};
pub use event::{CloseReason, Event, Initiator, Phase};
pub use outcome::{Outcome, Stage};
pub use parameter::{BodyType, Parameter, ParameterError};
pub use reply::{
    EnhancedCode, Reply, ReplyCode, ReplyDecoder, ReplyError, ReplyLimits, ReplyRef, Severity, Verification,
    parse_reply,
};
pub use report::Report;
pub use time::Time;
pub use transaction::{OnRefusal, Recipient, Transaction, TransactionId};
