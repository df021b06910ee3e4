//! What an application is told, as lines of text that are the same whatever the driver.

#[cfg(feature = "drivers")]
use smtp_driver::Error;
use smtp_proto::{CloseReason, Outcome, Report};
#[cfg(feature = "drivers")]
use smtp_proto::{Failure, UsageError};

/// One line for each recipient.
pub fn report_lines(report: &Report) -> impl Iterator<Item = String> {
    report.recipients().map(|(path, outcome)| match outcome {
        Outcome::Accepted(reply) => format!("{path} accepted: {reply}"),
        Outcome::Refused { stage, reply, transient } => {
            let how = if *transient { "for now" } else { "for good" };
            format!("{path} refused {how} at {stage}: {reply}")
        }
        Outcome::NotSent => format!("{path} not sent"),
        Outcome::InDoubt => format!("{path} in doubt"),
        other => format!("{path} {other:?}"),
    })
}

/// The line for the end of a session.
pub fn closed_line(reason: &CloseReason) -> String {
    format!("closed: {reason}")
}

/// The line for a message that could not be read.
pub const UNREADABLE: &str = "the message cannot be read";

/// The lines for an error of a driver's. `closed` says that the end of the session was told before; then whatever is tried meets the same error.
#[cfg(feature = "drivers")]
pub fn tell_error(error: &Error, closed: bool, lines: &mut Vec<String>) {
    match error {
        _ if closed => lines.push(format!("error: {}", UsageError::Closed)),
        Error::Failure(Failure::Usage(error)) => lines.push(format!("error: {error}")),
        Error::Content { error, .. } => lines.push(format!("content: {error}")),
        Error::Message { .. } => lines.push(UNREADABLE.into()),
        _ => {}
    }
    lines.extend(error.report().into_iter().flat_map(report_lines));
}

/// Compares what the application was told, act by act, with what the transcript says.
///
/// # Errors
///
/// The first difference.
pub fn compare(script: &crate::script::Script, told: &[Vec<String>]) -> Result<(), String> {
    for (index, act) in script.acts.iter().enumerate() {
        let told = told.get(index).ok_or_else(|| format!("act {index} {:?} was never reached", act.verb))?;
        let same = told.len() == act.expected.len()
            && told.iter().zip(&act.expected).all(|(line, beginning)| line.starts_with(beginning));
        if !same {
            return Err(format!("act {index} {:?}\n  expected {:#?}\n  told {told:#?}", act.verb, act.expected));
        }
    }
    Ok(())
}

/// Compares what the client sent with what it had to send.
///
/// # Errors
///
/// The first difference.
pub fn compare_octets(script: &crate::script::Script, sent: &[u8]) -> Result<(), String> {
    if sent == script.client {
        return Ok(());
    }
    let same = sent.iter().zip(&script.client).take_while(|(a, b)| a == b).count();
    let start = script.client[..same].iter().rposition(|&octet| octet == b'\n').map_or(0, |lf| lf + 1);
    let shown = |octets: &[u8]| String::from_utf8_lossy(octets.get(start..).unwrap_or_default()).into_owned();
    Err(format!("the client had to send {:?}\n  and sent {:?}", shown(&script.client), shown(sent)))
}
