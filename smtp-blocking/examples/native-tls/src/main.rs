//! TLS by another library than rustls. Anything will do that turns a stream into one within TLS; here it is `native-tls`,
//! which uses what the platform has.
//!
//! It starts a mail server of its own on the loopback interface, sends a message there and shows what happens.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use native_tls::{Certificate, TlsConnector, TlsStream};
use smtp_blocking::{Client, Stream};
use smtp_conformance::tls_server::{Authority, Plan};
use smtp_proto::sasl::{ChannelBindings, Credentials};
use smtp_proto::{Config, ForwardPath, HelloName, ReversePath, Setup, TlsPolicy, Transaction};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;

/// A stream within TLS. The traits that [`Client`] asks for are not for foreign types to have, so it gets a type of its own.
struct NativeTls(TlsStream<TcpStream>);

impl Read for NativeTls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for NativeTls {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for NativeTls {
    fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) -> io::Result<()> {
        self.0.get_mut().set_timeouts(read, write)
    }

    /// Could be left out; a server that refuses a long message half-way would then be heard only at its end.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get_ref().set_nonblocking(true)?;
        let result = self.0.read(buffer);
        self.0.get_ref().set_nonblocking(false)?;
        result
    }
}

/// Does the handshake with `host`, which has to prove who it is by a certificate of the platform's authorities, or of
/// `authority`.
fn handshake(
    mut stream: TcpStream,
    host: &str,
    authority: &str,
) -> Result<(NativeTls, ChannelBindings), Box<dyn Error + Send + Sync>> {
    // How long it may take is this function's business.
    let limit = Some(Duration::from_secs(30));
    stream.set_timeouts(limit, limit)?;
    let authority = Certificate::from_pem(authority.as_bytes())?;
    let connector = TlsConnector::builder().add_root_certificate(authority).build()?;
    let stream = connector.connect(host, stream)?;
    // OpenSSL makes do with a common name where there is no other; RFC 9525 section 2 does not, nor do the drivers.
    let certificate = stream.peer_certificate()?.ok_or("the server shows no certificate")?.to_der()?;
    if x509_cert::Certificate::from_der(&certificate)?.tbs_certificate.get::<SubjectAltName>()?.is_none() {
        return Err("the certificate names nobody but by a common name".into());
    }
    // What SCRAM with channel binding needs. A library that has none of it leaves the default.
    let mut bindings = ChannelBindings::default();
    bindings.tls_server_end_point = stream.tls_server_end_point()?;
    Ok((NativeTls(stream), bindings))
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = Plan::starttls().start();
    let authority = Authority::shared().pem();

    let stream = TcpStream::connect(server.address())?;
    let config = Config::smtp(HelloName::parse("client.example")?);
    let setup = Setup::new(TlsPolicy::Require, Some(Credentials::password("user", "secret")?));
    let mut client = Client::start_tls(stream, config, setup, |stream| handshake(stream, "localhost", &authority))?;
    let security = client.security();
    println!(
        "STARTTLS: {:?}; authenticated by {}",
        security.starttls,
        security.mechanism.as_deref().unwrap_or("nothing")
    );

    let transaction =
        Transaction::new(ReversePath::parse("me@client.example")?).to(ForwardPath::parse("you@tls.example")?);
    let report = client.send(transaction, &b"Subject: hello\r\n\r\nHello within TLS.\r\n"[..])?;
    for (recipient, outcome) in report.recipients() {
        println!("{recipient}: {outcome:?}");
    }
    client.quit()?;

    let record = server.record();
    println!("in clear the server heard {:?}", record.commands_in_clear());
    println!("and within TLS it got {} message of {} octets", record.messages.len(), record.messages.concat().len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use smtp_conformance::tls_server::Leaf;

    use super::*;

    fn start(server: Plan) -> (Result<(), smtp_blocking::Error>, Vec<String>, Vec<u8>) {
        let server = server.start();
        let stream = TcpStream::connect(server.address()).unwrap();
        let config = Config::smtp(HelloName::parse("client.example").unwrap());
        let setup = Setup::new(TlsPolicy::Require, Some(Credentials::password("user", "secret").unwrap()));
        let authority = Authority::shared().pem();
        let client = Client::start_tls(stream, config, setup, |stream| handshake(stream, "localhost", &authority));
        let result = client.map(drop);
        let record = server.record();
        (result, record.commands_in_clear(), record.within)
    }

    // C-148, C-144: whatever the library, a server that cannot prove who it is hears nothing but the hello.
    #[test]
    fn certificates_that_prove_nothing() {
        let bad =
            [Leaf::For(&["mail.example"]), Leaf::Expired, Leaf::NotYetValid, Leaf::SelfSigned, Leaf::CommonNameOnly];
        for leaf in bad {
            let (result, in_clear, within) = start(Plan::starttls().showing(leaf));
            assert!(matches!(result, Err(smtp_blocking::Error::Tls { .. })), "{leaf:?}: {result:?}");
            assert_eq!(in_clear, ["EHLO client.example", "STARTTLS"]);
            assert!(within.is_empty(), "{leaf:?}");
        }
        start(Plan::starttls()).0.unwrap();
    }

    // The same for a server that demands a certificate of us.
    #[test]
    fn no_certificate_of_ours() {
        let demands = Some(Authority::shared().certificate().clone());
        let (result, _, within) = start(Plan { demands, ..Plan::starttls() });
        result.unwrap_err();
        assert!(within.is_empty());
    }
}
