//! Whether the server offers what a transaction and its recipients ask for by extensions, and to that extent.

use super::envelope::require;
use crate::capability::Capabilities;
use crate::command::CommandLine;
use crate::error::UsageError;
use crate::parameter::{Hold, Parameter};
use crate::transaction::{Recipient, Transaction};

/// Keywords that belong to the one command and not to the other. Servers that do not know better ignore them there.
const OF_MAIL: &[&str] = &[
    "AUTH",
    "BY",
    "CONPERM",
    "ENVID",
    "HOLDFOR",
    "HOLDUNTIL",
    "MT-PRIORITY",
    "MTRK",
    "PRDR",
    "REQUIRETLS",
    "RET",
    "SOLICIT",
];
const OF_RCPT: &[&str] = &["CONNEG", "NOTIFY", "ORCPT", "RRVS"];

/// The parameters of MAIL.
pub(super) fn check_mail(transaction: &Transaction, offered: &Capabilities) -> Result<(), UsageError> {
    if transaction.is_plain() {
        return Ok(());
    }
    transaction.typed().try_for_each(|parameter| require(parameter.extension, offered))?;
    none_of(OF_RCPT, &transaction.parameters)?;
    once_each(transaction.keywords())?;
    let Some(typed) = &transaction.typed else { return Ok(()) };
    if typed.tracking.is_some() && !transaction.keywords().any(|keyword| keyword == "ENVID") {
        return Err(UsageError::TrackingNeedsEnvelopeId);
    }
    // In the other mode the time may be any.
    if let Some(deliver_by) = typed.deliver_by.filter(|deliver_by| deliver_by.gives_up()) {
        if let Some(minimum) = offered.deliver_by_minimum() {
            if i64::from(deliver_by.seconds()) < i64::from(minimum) {
                return Err(UsageError::DeliverByTooSoon { minimum });
            }
        }
    }
    let bounds = typed.hold.and_then(|_| offered.future_release());
    match (typed.hold, bounds.and_then(|to| to.max_interval), bounds.and_then(|to| to.max_date_time)) {
        (Some(Hold::For(time)), Some(maximum), _) if time.get() > maximum => Err(UsageError::HoldTooLong { maximum }),
        (Some(Hold::Until(time)), _, Some(maximum)) if time > maximum => Err(UsageError::HoldTooLate { maximum }),
        _ => Ok(()),
    }
}

/// The parameters of RCPT.
pub(super) fn check_rcpt(recipient: &Recipient, offered: &Capabilities) -> Result<(), UsageError> {
    recipient.typed().try_for_each(|parameter| require(parameter.extension, offered))?;
    none_of(OF_MAIL, &recipient.parameters)?;
    once_each(recipient.keywords())
}

/// The attributes of XFORWARD or XCLIENT, which the server names behind its keyword (XFORWARD_README, XCLIENT_README).
pub(super) fn check_attributes(
    line: &CommandLine,
    keyword: &'static str,
    offered: &Capabilities,
) -> Result<(), UsageError> {
    let taken = offered.parameters(keyword).ok_or_else(|| UsageError::MissingKeyword(keyword.into()))?;
    let is_taken = |attribute: &str| taken.split_ascii_whitespace().any(|name| name.eq_ignore_ascii_case(attribute));
    match line.attributes().find(|attribute| !is_taken(attribute)) {
        Some(attribute) => Err(UsageError::MissingAttribute { keyword, attribute: attribute.into() }),
        None => Ok(()),
    }
}

fn none_of(elsewhere: &[&str], parameters: &[Parameter]) -> Result<(), UsageError> {
    let misplaced = |parameter: &&Parameter| parameter.needs_offer() && elsewhere.contains(&parameter.keyword());
    match parameters.iter().find(misplaced) {
        Some(parameter) => Err(UsageError::Misplaced(parameter.keyword().into())),
        None => Ok(()),
    }
}

/// No parameter stands twice, whichever way it was given. One that says until when and one that says for how long are two
/// ways to say the same.
fn once_each<'a>(keywords: impl Iterator<Item = &'a str> + Clone) -> Result<(), UsageError> {
    let meaning = |keyword: &'a str| if keyword == "HOLDUNTIL" { "HOLDFOR" } else { keyword };
    for (index, keyword) in keywords.clone().enumerate() {
        if keywords.clone().take(index).any(|earlier| meaning(earlier) == meaning(keyword)) {
            return Err(UsageError::Duplicate(keyword.into()));
        }
    }
    Ok(())
}
