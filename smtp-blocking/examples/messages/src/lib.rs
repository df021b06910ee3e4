//! What the examples have in common: a mail server of their own on the loopback interface, and what has to arrive there.

use std::error::Error;

use smtp_conformance::loopback::Loopback;

/// Calls `send` with the address of a server, and shows what the server then has.
///
/// # Errors
///
/// When `send` fails, or the message did not reach exactly those it is for, or shows who is hidden.
pub fn demonstrate(send: impl FnOnce(&str) -> Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let server = Loopback::smtp()?;
    send(&server.address().to_string())?;
    let stored = server.stored();
    let [stored] = stored.as_slice() else { return Err("the server did not store exactly one message".into()) };
    let content = String::from_utf8_lossy(&stored.content);
    println!("MAIL {}\nRCPT {}\n\n{content}", stored.from, stored.to.join("\nRCPT "));
    let to = ["TO:<anna@example.net>", "TO:<bob@example.net>", "TO:<hidden@example.net>"];
    if stored.to != to || !stored.from.starts_with("FROM:<me@example.org>") || content.contains("hidden") {
        return Err("that is not what was to be sent".into());
    }
    Ok(())
}
