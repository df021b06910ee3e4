//! Words of `! send`, `! mail` and `! rcpt` that stand for parameters, and of `! xforward` and `! xclient` that
//! stand for attributes.

use smtp_proto::{
    ClientAttribute, DateTime, DeliverBy, EnvelopeId, HoldFor, Notify, OriginalClient, OriginalRecipient, Parameter,
    Priority, Recipient, Ret, ReversePath, Tracking, Transaction, ValidSince,
};

fn said<T, E: ToString>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Adds what one word stands for to MAIL.
pub(super) fn for_mail(transaction: Transaction, word: &str) -> Result<Transaction, String> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    Ok(match name {
        "ret" => transaction.ret(if value == "full" { Ret::Full } else { Ret::Hdrs }),
        "envid" => transaction.envelope_id(said(EnvelopeId::new(value))?),
        "by" => transaction.deliver_by(deliver_by(value)?),
        "hold-for" => transaction.hold_for(said(HoldFor::seconds(said(value.parse())?))?),
        "hold-until" => transaction.hold_until(said(DateTime::parse(value))?),
        "priority" => transaction.priority(said(Priority::new(said(value.parse())?))?),
        "require-tls" => transaction.require_tls(true),
        "prdr" => transaction.per_recipient_replies(true),
        "submitter" => transaction.submitter(said(ReversePath::parse(value))?),
        "track" => transaction.tracking(said(Tracking::new([0; 20]).timeout(said(value.parse())?))?),
        _ => transaction.parameter(parameter(word)?),
    })
}

fn deliver_by(value: &str) -> Result<DeliverBy, String> {
    let (seconds, mode) = value.split_once(';').ok_or("seconds and a mode")?;
    let deliver_by = match mode.chars().next() {
        Some('R') => said(DeliverBy::or_return(said(seconds.parse())?))?,
        _ => said(DeliverBy::or_notify(said(seconds.parse())?))?,
    };
    Ok(if mode.ends_with('T') { deliver_by.trace() } else { deliver_by })
}

/// Adds what one word stands for to RCPT.
pub(super) fn for_rcpt(recipient: Recipient, word: &str) -> Result<Recipient, String> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let original = || {
        let (addr_type, address) = value.split_once(';').ok_or("a type and an address")?;
        said(OriginalRecipient::new(addr_type, address))
    };
    Ok(match name {
        "notify" => recipient.notify(said(Notify::parse(value))?),
        "orcpt" => recipient.original_recipient(original()?),
        "orcpt-unitext" => recipient.original_recipient(original()?.unitext()),
        "rrvs" => recipient.require_valid_since(valid_since(value)?),
        _ => recipient.parameter(parameter(word)?),
    })
}

fn valid_since(value: &str) -> Result<ValidSince, String> {
    let (time, elsewhere) = value.split_once(';').unwrap_or((value, ""));
    let since = ValidSince::new(said(DateTime::parse(time))?);
    Ok(match elsewhere {
        "C" => since.or_continue(),
        "R" => since.or_reject(),
        _ => since,
    })
}

/// `KEY=VALUE` or `KEY`; with `!` in front even if it is not offered.
fn parameter(word: &str) -> Result<Parameter, String> {
    let (danger, word) = word.strip_prefix('!').map_or((false, word), |word| (true, word));
    let parameter = match word.split_once('=') {
        Some((keyword, value)) => Parameter::new(keyword, value),
        None => Parameter::flag(word),
    };
    let parameter = parameter.map_err(|error| error.to_string())?;
    Ok(if danger { parameter.danger_unadvertised() } else { parameter })
}

/// Tells what one word stands for of the client that mail comes from.
pub(super) fn for_client(client: OriginalClient, word: &str) -> Result<OriginalClient, String> {
    use ClientAttribute::{Addr, DestAddr, DestPort, Helo, Ident, Login, Name, Port, Proto, ReverseName, Source};
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let all = [Name, ReverseName, Addr, Port, Proto, Helo, Ident, Source, Login, DestAddr, DestPort];
    let attribute = all.into_iter().find(|attribute| attribute.keyword().eq_ignore_ascii_case(name));
    let attribute = attribute.ok_or_else(|| format!("unknown attribute {name}"))?;
    Ok(match attribute {
        _ if value == "-" => client.unavailable(attribute),
        _ if value == "?" => client.unavailable_now(attribute),
        ReverseName => said(client.reverse_name(value))?,
        Name => said(client.name(value))?,
        Addr => client.addr(said(value.parse())?),
        Port => client.port(said(value.parse())?),
        Proto => said(client.protocol(value))?,
        Helo => said(client.helo(value))?,
        Ident => said(client.ident(value))?,
        Source => client.local(value == "local"),
        Login => said(client.login(value))?,
        DestAddr => client.dest_addr(said(value.parse())?),
        DestPort => client.dest_port(said(value.parse())?),
        _ => return Err(format!("no way to tell {name}")),
    })
}
