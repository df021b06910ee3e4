//! Says what a server offers, and whether a session with it is safe: TLS with a certificate that can be trusted, and no
//! password asked for without. Nothing but hellos, STARTTLS and QUIT is said to it.
//!
//! ```text
//! cargo run --example smtp_check                             # three servers of its own, of which one is safe
//! cargo run --example smtp_check -- SERVER [CERTIFICATES]    # SERVER is HOST[:PORT]
//! ```
//!
//! On port 465 TLS is there from the start, elsewhere by STARTTLS. CERTIFICATES is a file of PEM to be trusted instead of what
//! the platform trusts. The exit code is 0 if the session is safe, 1 if not, and 2 if there is none.

use std::error::Error;
use std::process::ExitCode;

use smtp_blocking::{Client, Error as SessionError, Options, Tls, Transport};
use smtp_conformance::tls_server::{Authority, Leaf, Plan};
use smtp_proto::{Capabilities, Extension, StartTls, TlsMode};

/// Mechanisms that show whoever listens what to log in with.
const PLAINTEXT: [&str; 4] = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [] => demonstrate(),
        [server] => check(server, Options::smtp()).map_err(Into::into),
        [server, file] => trusting(file).and_then(|options| Ok(check(server, options)?)),
        _ => Err("arguments: SERVER [CERTIFICATES]".into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("smtp_check: {error}");
            ExitCode::from(2)
        }
    }
}

fn trusting(file: &str) -> Result<Options, Box<dyn Error>> {
    Ok(Options::smtp().tls(Tls::trusting_only(&std::fs::read(file)?)?))
}

/// Prints the table. Whether all is safe.
fn check(server: &str, options: Options) -> Result<bool, SessionError> {
    let implicit = server.ends_with(":465");
    // If TLS fails there may still be something to see in clear; a program with mail to send had better leave it at that.
    let mode = if implicit { TlsMode::Implicit } else { TlsMode::Opportunistic };
    let (client, trouble) = match Client::connect(server, options.clone().tls_mode(mode)) {
        Err(error @ SessionError::Tls { .. }) if !implicit => {
            (Client::connect(server, options.tls_mode(TlsMode::None))?, Some(error.to_string()))
        }
        result => (result?, None),
    };
    let (security, offers) = (client.security(), client.capabilities());
    let row = |what: &str, good: bool, text: &str| {
        println!("{} {what:14} {}", if good { " " } else { "!" }, text.trim_end());
        good
    };
    println!("{server}");
    row("greeting", true, &client.greeting().map(ToString::to_string).unwrap_or_default());

    let by = match (&security.starttls, &trouble) {
        (_, Some(error)) => error.clone(),
        (StartTls::NotNeeded, _) => "from the start".into(),
        (StartTls::Done, _) => "by STARTTLS".into(),
        (StartTls::NotOffered { suspicious: true }, _) => "STARTTLS seems to be crossed out on the way".into(),
        (StartTls::Refused(reply), _) => format!("STARTTLS is refused: {reply}"),
        _ => "STARTTLS is not offered".into(),
    };
    let mut safe = row("TLS", security.secure, &format!("{}{by}", version(&client)));
    if security.secure {
        // Else there would be no session.
        row("certificate", true, "trusted, and for this host");
    }

    // Within TLS these are what was offered before; without, it is all there is.
    let in_clear = security.capabilities_in_clear.as_ref().or_else(|| (!security.secure).then_some(offers));
    let plaintext = in_clear.is_some_and(|offers| {
        offers.auth_mechanisms().any(|name| PLAINTEXT.iter().any(|plain| plain.eq_ignore_ascii_case(name)))
    });
    safe &= row("AUTH in clear", !plaintext, &in_clear.map(mechanisms).unwrap_or("nothing is said in clear".into()));
    if plaintext {
        row("", false, "a password would be taken where everybody can listen");
    }
    if security.secure {
        row("AUTH in TLS", true, &mechanisms(offers));
    }

    let size = offers.size_limit().map_or("no limit is told".into(), |limit| format!("{limit} octets at most"));
    row("SIZE", true, &size);
    row("PIPELINING", true, if offers.supports(Extension::Pipelining) { "yes" } else { "no, so each command waits" });
    for (keyword, parameters) in offers.iter() {
        let only = if security.gained().any(|line| line == (keyword, parameters)) { "(not before TLS)" } else { "" };
        // The server chose every character.
        row("offers", true, &format!("{keyword} {} {only}", parameters.escape_debug()).replace("  ", " "));
    }
    println!("{}\n", if safe { "safe" } else { "NOT SAFE" });
    let _ = client.quit();
    Ok(safe)
}

fn version(client: &Client<Transport>) -> String {
    let version = client.security().tls_version.as_deref();
    let suite = client.stream().tls().and_then(|tls| tls.negotiated_cipher_suite());
    match (version, suite) {
        (Some(version), Some(suite)) => format!("{version} {:?} ", suite.suite()),
        _ => "none: ".into(),
    }
}

fn mechanisms(offers: &Capabilities) -> String {
    let names: Vec<_> = offers.auth_mechanisms().collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

/// A safe server, one whose certificate has expired, and one that takes passwords in clear.
fn demonstrate() -> Result<bool, Box<dyn Error>> {
    let options = Options::smtp().tls(Tls::trusting_only(Authority::shared().pem().as_bytes())?);
    let mut in_clear = Plan::starttls();
    in_clear.in_clear = vec!["SIZE 1000000", "AUTH PLAIN CRAM-MD5"];
    let mut verdicts = Vec::new();
    for plan in [Plan::starttls(), Plan::starttls().showing(Leaf::Expired), in_clear] {
        let server = plan.start();
        verdicts.push(check(&server.named_target(), options.clone())?);
    }
    Ok(verdicts == [true, false, false])
}
