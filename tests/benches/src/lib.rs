//! What the programs that are measured have in common: the command line, the message, threads, and sockets that do not wait.

mod job;
mod nodelay;
pub mod ours;

pub use job::{Content, Job, Mode, Outcome, RECIPIENT, SENDER, WINDOW};
pub use nodelay::force_nodelay;
