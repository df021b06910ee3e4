//! The envelope that follows from header fields.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::addresses;
use super::error::{self, MessageError};
use super::fields::Field;
use crate::address::{AddressError, ForwardPath, ReversePath};

/// Fields that a block of Resent- fields has once at most.
const RESENT: [&str; 6] = ["Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Bcc"];

/// The sender and the recipients: those given, else those of the fields.
pub(super) fn complete(
    fields: &[Field<'_>],
    from: Option<ReversePath>,
    to: Option<Vec<ForwardPath>>,
) -> Result<(ReversePath, Vec<ForwardPath>), MessageError> {
    let headers = Headers { fields, prefix: if from.is_some() && to.is_some() { "" } else { prefix(fields)? } };
    let from = from.map_or_else(|| headers.sender(), Ok)?;
    let to = each_once(to.map_or_else(|| headers.recipients(), Ok)?);
    if to.is_empty() { Err(MessageError::NoRecipients) } else { Ok((from, to)) }
}

/// What the names of the fields begin with that count.
fn prefix(fields: &[Field<'_>]) -> Result<&'static str, MessageError> {
    let counts = RESENT.map(|name| fields.iter().filter(|field| field.is(name)).count());
    let [dates, ..] = counts;
    match (dates, counts.into_iter().max()) {
        (_, None | Some(0)) => Ok(""),
        (_, Some(2..)) => Err(MessageError::SeveralResentBlocks),
        (0, Some(1)) => Err(MessageError::NoResentDate),
        (_, Some(1)) => Ok("Resent-"),
    }
}

/// The fields of one envelope.
struct Headers<'a> {
    fields: &'a [Field<'a>],
    prefix: &'static str,
}

impl Headers<'_> {
    /// The addresses in all fields of a name, each as `parse` has it.
    fn addresses<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, AddressError>,
    ) -> Result<Option<Vec<T>>, MessageError> {
        let name = format!("{}{name}", self.prefix);
        let mut found = None;
        for field in self.fields.iter().filter(|field| field.is(&name)) {
            let addresses = found.get_or_insert_with(Vec::new);
            for text in addresses::read(field)? {
                let wrong = |error| MessageError::Address {
                    header: field.name.into(),
                    text: error::excerpt(text.as_bytes()),
                    error,
                };
                addresses.push(parse(&text).map_err(wrong)?);
            }
        }
        Ok(found)
    }

    fn sender(&self) -> Result<ReversePath, MessageError> {
        for name in ["Sender", "From"] {
            let Some(addresses) = self.addresses(name, ReversePath::parse)? else { continue };
            let mut addresses = addresses.into_iter();
            return match (addresses.next(), addresses.next()) {
                (Some(only), None) => Ok(only),
                (Some(_), Some(_)) => {
                    Err(MessageError::SeveralSenders { header: format!("{}{name}", self.prefix).into() })
                }
                (None, _) => Err(MessageError::NoSender),
            };
        }
        Err(MessageError::NoSender)
    }

    fn recipients(&self) -> Result<Vec<ForwardPath>, MessageError> {
        let mut recipients = Vec::new();
        for name in ["To", "Cc", "Bcc"] {
            recipients.extend(self.addresses(name, ForwardPath::parse)?.into_iter().flatten());
        }
        Ok(recipients)
    }
}

/// Drops who comes a second time.
fn each_once(mut recipients: Vec<ForwardPath>) -> Vec<ForwardPath> {
    let mut seen = BTreeSet::new();
    recipients.retain(|path| seen.insert(same(path)));
    recipients
}

/// What is equal for addresses that are the same: the domain counts in any letter case and, where the feature `idna` is on, as
/// A-labels or not; the local part as it is.
fn same(path: &ForwardPath) -> String {
    #[cfg(feature = "idna")]
    let path = &path.to_ascii().unwrap_or_else(|_| path.clone());
    match path.as_str().rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_lowercase()),
        // Postmaster is the same in any letter case.
        None => path.as_str().to_lowercase(),
    }
}
