//! How sessions with real servers come to TLS, and that nothing is said where they do not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use libtest_mimic::{Failed, Trial};
use smtp_driver::rustls::crypto::ring::default_provider;
use smtp_driver::rustls::pki_types::CertificateDer;
use smtp_driver::rustls::pki_types::pem::PemObject;
use smtp_driver::rustls::{self, CertificateError, ClientConfig, ProtocolVersion, RootCertStore};
use smtp_driver::{Error, Options, Tls};
use smtp_proto::sasl::ChooseError;
use smtp_proto::{Failure, StartTls, TlsMode};

use crate::auth::{RIGHT, password};
use crate::mail::plain_text;
use crate::session::{Driver, Session};
use crate::{Message, Place, Places, Target, hello, same, to_user1};

pub(crate) fn trials(places: &Places) -> Vec<Trial> {
    let ca = places.pem("ca.pem");
    let postfix = |port| places.postfix("tls::postfix", port).over(TlsMode::StartTls);
    let exim = |port| places.exim("tls::exim", port).over(TlsMode::StartTls);
    let dovecot = |port| places.target("tls::dovecot", Place::Port(port), &places.postfix_mail).over(TlsMode::StartTls);
    let aiosmtpd = |port| places.aiosmtpd("tls::aiosmtpd", Place::Port(port)).over(TlsMode::StartTls);
    let mut trials = Vec::new();

    // Who the server is.
    for target in [postfix(places.postfix_expired), exim(places.exim_expired)] {
        trials.push(target.trial("expired", |target| refuses(target, is_expired)));
    }
    let wrong_name = exim(places.exim_wrong_name);
    trials.push(wrong_name.trial("another_name", |target| refuses(target, is_for_another)));
    trials.push(wrong_name.trusting(named(&ca, "wrong.example")).trial("the_name_expected", plain_text));
    let postfix_tls = postfix(places.postfix_tls).over(TlsMode::Implicit);
    for (target, name) in [(postfix(places.postfix), "unknown_ca"), (postfix_tls.clone(), "unknown_ca_at_once")] {
        let unknown = |error: &CertificateError| *error == CertificateError::UnknownIssuer;
        trials.push(target.trusting(Tls::default()).trial(name, move |target| refuses(target, unknown)));
    }
    let also = Tls::trusting_also(&ca).expect("the CA is a certificate");
    trials.push(postfix(places.postfix).trusting(also).trial("known_ca_beside_the_platforms", plain_text));
    trials.push(postfix(places.postfix).trusting(named(&ca, "mail.lab.test")).trial("a_name_given", plain_text));
    trials.push(postfix(places.postfix).trial("a_name_resolved", |target| {
        let address = target.address().replace("127.0.0.1", "localhost");
        Ok(Session::connect(target.driver, &address, target.options())?.quit()?)
    }));

    // Who the client is.
    let certificate = postfix(places.postfix_certificate).over(TlsMode::Implicit);
    trials.push(certificate.trial("no_client_certificate", no_client_certificate));
    trials.push(certificate.certified(places).trial("client_certificate", plain_text));

    // What is said before TLS, and where there is none.
    for target in
        [postfix(places.postfix), exim(places.exim), dovecot(places.dovecot_submission), aiosmtpd(places.aiosmtpd)]
    {
        trials.push(target.trial("only_a_hello_in_clear", nothing_secret_in_clear));
    }
    for target in [
        postfix(places.postfix_tls),
        exim(places.exim_tls),
        dovecot(places.dovecot_submission_tls),
        aiosmtpd(places.aiosmtpd_tls),
    ] {
        trials.push(target.over(TlsMode::Implicit).trial("nothing_in_clear", nothing_secret_in_clear));
    }
    for target in [postfix(places.postfix_plain), exim(places.exim_plain)] {
        trials.push(target.trial("starttls_not_offered", starttls_not_offered));
        let target = target.over(TlsMode::Opportunistic);
        trials.push(target.trial("opportunistic_and_not_offered", |target| {
            opportunistic(target, &StartTls::NotOffered { suspicious: false })
        }));
    }
    for target in [postfix(places.postfix), exim(places.exim)] {
        let target = target.over(TlsMode::Opportunistic);
        trials.push(target.trial("opportunistic", |target| opportunistic(target, &StartTls::Done)));
    }

    // What is offered before and after.
    for target in [
        postfix(places.postfix_must_starttls),
        exim(places.exim_must_starttls),
        aiosmtpd(places.aiosmtpd_must_starttls),
    ] {
        trials.push(target.trial("must_starttls", |target| changes(target, &["AUTH"], &["STARTTLS"])));
        trials.push(target.trial("must_starttls::mail", plain_text));
        trials.push(target.trial("must_starttls::login", |target| {
            Ok(target.session(target.options().credentials(password(RIGHT)))?.quit()?)
        }));
        trials.push(target.over(TlsMode::None).trial("must_starttls::login_in_clear", no_login_in_clear));
    }
    // Exim's port is about AUTH alone.
    for target in [postfix(places.postfix_must_starttls), aiosmtpd(places.aiosmtpd_must_starttls)] {
        trials.push(target.over(TlsMode::None).trial("must_starttls::mail_in_clear", no_mail_in_clear));
    }
    trials.push(postfix(places.postfix).trial("report", |target| changes(target, &[], &["STARTTLS"])));
    trials.push(exim(places.exim).trial("report", |target| changes(target, &[], &["STARTTLS"])));
    let certified = exim(places.exim).certified(places);
    trials
        .push(certified.trial("report_with_a_certificate", |target| changes(target, &["AUTH"], &["AUTH", "STARTTLS"])));
    trials.push(postfix_tls.trial("report_at_once", |target| {
        let client = target.session(target.options())?;
        let report = client.security();
        same((report.secure, &report.starttls, &report.capabilities_in_clear), (true, &StartTls::NotNeeded, &None))?;
        same(report.gained().chain(report.lost()).count(), 0)
    }));

    // The two versions there are.
    for target in [postfix(places.postfix), exim(places.exim)] {
        trials.push(target.trial("tls_1_3", |target| version(target, ProtocolVersion::TLSv1_3)));
        let old = target.trusting(Tls::from_config(tls_1_2(&ca)));
        trials.push(old.trial("tls_1_2", |target| version(target, ProtocolVersion::TLSv1_2)));
    }
    trials
}

fn named(ca: &[u8], name: &str) -> Tls {
    Tls::trusting_only(ca).and_then(|tls| tls.server_name(name)).expect("a certificate and a name")
}

fn tls_1_2(ca: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca).expect("PEM")).expect("a certificate");
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).expect("a version that the provider has");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn is_expired(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Expired | CertificateError::ExpiredContext { .. })
}

fn is_for_another(error: &CertificateError) -> bool {
    matches!(error, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}

/// The server's certificate is refused for the reason given, and it hears no more than that.
fn refuses(target: &Target, reason: fn(&CertificateError) -> bool) -> Result<(), Failed> {
    let tap = Tap::new(target)?;
    let error = tap.connect(target.options().credentials(password(RIGHT))).err().ok_or("it was believed")?;
    let Error::Tls { error: cause } = &error else { return Err(error.into()) };
    let cause = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match cause.and_then(|cause| cause.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(cause)) if reason(cause) => {}
        _ => return Err(error.into()),
    }
    same((error.is_transient(), error.may_have_been_accepted()), (false, false))?;
    tap.heard_in_clear(target)
}

/// A session in which nothing is secret, seen from outside.
fn nothing_secret_in_clear(target: &Target) -> Result<(), Failed> {
    let tap = Tap::new(target)?;
    let client = tap.connect(target.options().credentials(password(RIGHT)))?;
    same((client.is_secure(), client.security().mechanism.is_some()), (true, true))?;
    client.quit()?;
    tap.heard_in_clear(target)
}

/// Where TLS was asked for, or goes without saying, there is none other than with it.
fn starttls_not_offered(target: &Target) -> Result<(), Failed> {
    let unsaid = || Options::smtp().hello_name(hello()).tls(target.tls.clone());
    for options in [
        target.options(),
        target.options().credentials(password(RIGHT)),
        target.options().credentials(password(RIGHT)).choice(|choice| choice.danger_in_clear = true),
        unsaid().credentials(password(RIGHT)),
    ] {
        let tap = Tap::new(target)?;
        let error = tap.connect(options).err().ok_or("there is a session")?;
        let Some(Failure::TlsRequired { reply: None, suspicious: false }) = error.failure() else {
            return Err(error.into());
        };
        same(tap.heard()?.escape_ascii().to_string(), r"EHLO client.lab.test\r\nQUIT\r\n".into())?;
    }
    Ok(())
}

/// TLS if it can be had, and mail all the same if not.
fn opportunistic(target: &Target, expected: &StartTls) -> Result<(), Failed> {
    let message = Message::new("one way or the other\r\n");
    let (client, _) = target.connect(target.options());
    let mut client = client?;
    same(&client.security().starttls, expected)?;
    same(client.is_secure(), *expected == StartTls::Done)?;
    same(client.send(to_user1(), &message.octets)?.is_complete_success(), true)?;
    target.arrived("user1", &message, &message.octets)
}

/// Postfix lets the handshake pass and refuses in its greeting, so the server's reason is known.
fn no_client_certificate(target: &Target) -> Result<(), Failed> {
    let error = target.session(target.options()).err().ok_or("there is a session")?;
    let Some(Failure::Greeting(reply)) = error.failure() else { return Err(error.into()) };
    same(reply.code().get(), 421)
}

/// Without TLS the place has no AUTH, and what is not offered is not tried.
fn no_login_in_clear(target: &Target) -> Result<(), Failed> {
    let options = target.options().credentials(password(RIGHT)).choice(|choice| choice.danger_in_clear = true);
    let (client, lines) = target.connect(options);
    match client {
        Err(Error::Failure(Failure::NoMechanism(ChooseError::NotOffered { .. }))) => {}
        other => return Err(format!("{other:?} although AUTH is not offered").into()),
    }
    same(lines.starting("C: AUTH"), vec![])
}

fn no_mail_in_clear(target: &Target) -> Result<(), Failed> {
    let message = Message::new("in clear\r\n");
    let error = target.send(to_user1(), &message.octets).err().ok_or("the place takes mail in clear")?;
    let Some(Failure::SenderRefused { reply, .. }) = error.failure() else { return Err(error.into()) };
    same((reply.code().get(), error.may_have_been_accepted()), (530, false))
}

/// What STARTTLS changed: which keywords came, or came with other parameters, and which went.
fn changes(target: &Target, gained: &[&str], lost: &[&str]) -> Result<(), Failed> {
    let client = target.session(target.options())?;
    let report = client.security();
    same((report.secure, &report.starttls), (true, &StartTls::Done))?;
    same(report.gained().map(|(keyword, _)| keyword).collect::<Vec<_>>(), gained.to_vec())?;
    same(report.lost().map(|(keyword, _)| keyword).collect::<Vec<_>>(), lost.to_vec())
}

fn version(target: &Target, expected: ProtocolVersion) -> Result<(), Failed> {
    let client = target.session(target.options())?;
    same(client.tls_version(), Some(expected))?;
    client.quit()?;
    plain_text(target)
}

/// A way to a server on which is kept what the client says: whether that was in clear is not for the client to tell.
struct Tap {
    driver: Driver,
    address: String,
    said: JoinHandle<Vec<u8>>,
}

impl Tap {
    fn new(target: &Target) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, server) = (listener.local_addr()?.to_string(), target.address());
        let said = thread::spawn(move || {
            let mut said = Vec::new();
            // However the connection ends, what was said was said.
            let _ = Self::pass_on(&listener, &server, &mut said);
            said
        });
        Ok(Self { driver: target.driver, address, said })
    }

    /// One connection, both ways.
    fn pass_on(listener: &TcpListener, server: &str, said: &mut Vec<u8>) -> io::Result<()> {
        let (mut client, _) = listener.accept()?;
        let mut server = TcpStream::connect(server)?;
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let mut buffer = [0; 4096];
        loop {
            let length = client.read(&mut buffer)?;
            if length == 0 {
                return server.shutdown(Shutdown::Write);
            }
            said.extend(&buffer[..length]);
            server.write_all(&buffer[..length])?;
        }
    }

    fn connect(&self, options: Options) -> Result<Session, Error> {
        Session::connect(self.driver, &self.address, options)
    }

    /// All that the client said, when it is gone.
    fn heard(self) -> Result<Vec<u8>, Failed> {
        self.said.join().map_err(|_| "the tap broke".into())
    }

    /// In clear nothing but a hello and STARTTLS if there has to be any, and behind it TLS records only (RFC 8446
    /// section 5.1).
    fn heard_in_clear(self, target: &Target) -> Result<(), Failed> {
        let hello: &[u8] = match target.mode {
            TlsMode::Implicit => b"",
            _ => b"EHLO client.lab.test\r\nSTARTTLS\r\n",
        };
        let said = self.heard()?;
        let Some(mut records) = said.strip_prefix(hello) else {
            return Err(format!("{} is no {}", said.escape_ascii(), hello.escape_ascii()).into());
        };
        same(records.first(), Some(&22))?;
        while let [20..=23, 3, _, high, low, rest @ ..] = records {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            records = rest.get(length..).ok_or("a TLS record lacks its end")?;
        }
        same(records, b"")
    }
}
