//! What the programs of these crates have in common.

use smtp_proto::{AddressError, Chunking, Config, ForwardPath, Report, ReversePath, Transaction};

use crate::{Job, Mode, SENDER, WINDOW};

/// Makes a message take as many round trips as `mode` says.
pub fn configure(config: &mut Config, mode: Mode) {
    match mode {
        Mode::LockStep => config.pipelining = false,
        Mode::Pipelined => {}
        Mode::Chained => config.transaction_window = 2,
        Mode::Bdat => config.chunking = Chunking::Ahead,
        Mode::Window => {
            config.chunking = Chunking::Ahead;
            config.transaction_window = WINDOW;
        }
    }
}

/// The envelope of every message.
///
/// # Errors
///
/// None that could occur here.
pub fn transaction(job: &Job) -> Result<Transaction, AddressError> {
    let to: Vec<_> = job.to().map(|to| ForwardPath::parse(&to)).collect::<Result<_, _>>()?;
    Ok(Transaction::new(ReversePath::parse(SENDER)?).to_all(to))
}

/// Whether the server has the message for all.
pub fn is_accepted(report: &Report) -> bool {
    report.recipients().all(|(_, outcome)| outcome.is_accepted())
}
