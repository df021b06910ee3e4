//! Logging in to real servers, by every mechanism that they and the library share, in clear and within TLS.

use std::collections::VecDeque;
use std::fs;
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};
use smtp_conformance::sasl_server::MECHANISMS;
use smtp_driver::Error;
use smtp_proto::sasl::{AuthFailureKind, Choice, ChooseError, Credentials, Secret};
use smtp_proto::{Failure, ForwardPath, TlsMode};

use crate::session::Session;
use crate::{Lines, Message, Place, Places, Target, from, same, trial};

/// What the library can do for each kind of credentials, strongest first.
const PASSWORD: &[&str] = MECHANISMS.split_at(9).0;
const TOKEN: &[&str] = &["OAUTHBEARER", "XOAUTH2"];
const EXTERNAL: &str = "EXTERNAL";

/// What shows a password or token to whoever listens.
const READABLE: &[&str] = &["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"];

pub(crate) const RIGHT: (&str, &str) = ("user1", "secret1");
const WRONG: (&str, &str) = ("user1", "secret2");
const NOT_ASCII: (&str, &str) = ("user2", "s\u{e9}cret2");

/// A server that takes mail to some recipient only from whoever has logged in, which is how the tests know.
#[derive(Clone)]
struct Login {
    target: Target,
    /// The mechanisms it offers, all of them: an offer that is missing here would go untested.
    offers: &'static str,
    recipient: &'static str,
    /// Where mail to the recipient ends up.
    mailbox: &'static str,
    /// What mail to the recipient is answered without a login.
    refusal: u16,
}

pub(crate) fn trials(places: &Places) -> Vec<Trial> {
    let mut trials = Vec::new();
    for login in logins(places) {
        let strongest = PASSWORD.iter().copied().find(|mechanism| login.has(mechanism)).expect("passwords everywhere");
        trials.push(login.trial("without", Login::without));
        trials.push(login.trial("strongest", move |login| login.strongest(&password(RIGHT), strongest)));
        if login.in_clear() {
            trials.push(login.trial("plain::needs_tls", Login::plain_needs_tls));
        }
        for &mechanism in PASSWORD.iter().filter(|mechanism| login.has(mechanism)) {
            let name = |what| format!("{}::{what}", mechanism.to_lowercase().replace('-', "_"));
            let accepted = move |login: &Login, user| login.accepted(&password(user), mechanism, &[mechanism]);
            trials.push(login.trial(name("right"), move |login| accepted(login, RIGHT)));
            trials.push(login.trial(name("not_ascii"), move |login| accepted(login, NOT_ASCII)));
            trials
                .push(login.trial(name("wrong"), move |login| login.refused(&password(WRONG), mechanism, 1).map(drop)));
        }
        if login.has("OAUTHBEARER") {
            trials.extend(token_trials(places, &login));
        }
        // Of these two, the one takes the name in the certificate, and the other wants to hear it as well.
        if login.has(EXTERNAL) {
            trials.extend(certificate_trials(places, &login, Credentials::external()));
        } else if login.target.name.contains("exim") {
            trials.extend(certificate_trials(places, &login, acting_as("client@lab.test")));
        }
    }
    trials
}

fn token_trials(places: &Places, login: &Login) -> Vec<Trial> {
    let token = |name| fs::read(places.dovecot_tokens.join(name)).expect("a token").trim_ascii_end().to_vec();
    let (good, expired) = (token("token.good"), token("token.expired"));
    let right = Credentials::token("user1@lab.test", good.clone()).expect("a valid token");
    let same_again = Secret::from(expired.clone());
    let wrong = Credentials::token_source("user1@lab.test", move || Some(same_again.clone())).expect("a valid name");
    let mut trials = Vec::new();
    for &mechanism in TOKEN {
        let name = |what| format!("{}::{what}", mechanism.to_lowercase());
        let (right, wrong) = (right.clone(), wrong.clone());
        trials.push(login.trial(name("good"), move |login| login.accepted(&right, mechanism, &[mechanism])));
        // A source of tokens is asked once more, and not for ever.
        trials.push(login.trial(name("expired"), move |login| {
            let account = login.refused(&wrong, mechanism, 2)?.ok_or("the server gave no account of its refusal")?;
            same(account.starts_with('{') && account.contains("\"status\""), true)
        }));
        let tokens = [&expired, &good].map(|token| Secret::from(token.clone()));
        trials.push(login.trial(name("renewed"), move |login| {
            let tokens = Mutex::new(VecDeque::from(tokens));
            let next = move || tokens.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let renewed = Credentials::token_source("user1@lab.test", next)?;
            login.accepted(&renewed, mechanism, &[mechanism, mechanism])
        }));
    }
    trials.push(login.trial("strongest_for_a_token", move |login| login.strongest(&right, TOKEN[0])));
    trials
}

fn certificate_trials(places: &Places, login: &Login, client: Credentials) -> Vec<Trial> {
    if login.in_clear() {
        return Vec::new();
    }
    let certified = Login { target: login.target.certified(places), ..login.clone() };
    let (stranger, offered) = (client.clone(), login.has(EXTERNAL));
    vec![
        certified.trial("external::right", move |login| login.accepted(&client, EXTERNAL, &[EXTERNAL])),
        certified.trial("external::another_name", |login| {
            login.refused(&acting_as("user1@lab.test"), EXTERNAL, 1).map(drop)
        }),
        login.trial("external::no_certificate", move |login| {
            if offered {
                return login.refused(&stranger, EXTERNAL, 1).map(drop);
            }
            match login.connect(&stranger, Some(EXTERNAL)) {
                (Err(Error::Failure(Failure::NoMechanism(ChooseError::NotOffered { .. }))), lines) => {
                    tried(&lines, &[])
                }
                (other, _) => Err(format!("{other:?} without a certificate").into()),
            }
        }),
    ]
}

/// Every server, in clear, by STARTTLS and with TLS from the start.
fn logins(places: &Places) -> Vec<Login> {
    let login = |name, mail, offers, refusal| {
        let target = places.target(name, Place::Port(0), mail);
        Login { target, offers, recipient: "user1@elsewhere.test", mailbox: "relay", refusal }
    };
    let postfix = "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-224 SCRAM-SHA-256 SCRAM-SHA-384 SCRAM-SHA-512";
    let exim = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256";
    let dovecot = "PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256 OAUTHBEARER XOAUTH2 EXTERNAL";
    let postfix = login("postfix", &places.postfix_mail, postfix, 554);
    let exim = login("exim", &places.exim_mail, exim, 550);
    // Dovecot takes no mail at all from strangers, and hands what it takes to Postfix as one.
    let dovecot = login("dovecot", &places.postfix_mail, dovecot, 530);
    let dovecot = Login { recipient: "user1@lab.test", mailbox: "user1", ..dovecot };
    let aiosmtpd = login("aiosmtpd", &places.aiosmtpd_mail, "LOGIN PLAIN", 550);

    let mut logins = Vec::new();
    for (login, port, tls_port) in [
        (postfix, places.postfix, places.postfix_tls),
        (exim, places.exim, places.exim_tls),
        (dovecot, places.dovecot_submission, places.dovecot_submission_tls),
        (aiosmtpd, places.aiosmtpd, places.aiosmtpd_tls),
    ] {
        for (mode, port, how) in [
            (TlsMode::None, port, "in_clear"),
            (TlsMode::StartTls, port, "starttls"),
            (TlsMode::Implicit, tls_port, "tls"),
        ] {
            let (name, target) = (format!("auth::{}_{how}", login.target.name), login.target.clone());
            let target = Target { name, place: Place::Port(port), mode, ..target };
            logins.push(Login { target, ..login.clone() });
        }
    }
    logins
}

impl Login {
    fn trial(&self, name: impl AsRef<str>, test: impl FnOnce(&Self) -> Result<(), Failed> + Send + 'static) -> Trial {
        trial(&self.target, name, self, test)
    }

    fn has(&self, mechanism: &str) -> bool {
        self.offers.split(' ').any(|offer| offer == mechanism)
    }

    fn in_clear(&self) -> bool {
        self.target.mode == TlsMode::None
    }

    /// Logs in by one mechanism, whoever listens, or by the one that is chosen.
    fn connect(&self, credentials: &Credentials, mechanism: Option<&str>) -> (Result<Session, Error>, Lines) {
        let options = self.target.options().credentials(credentials.clone());
        self.target.connect(options.choice(|choice| {
            if let Some(mechanism) = mechanism {
                force(choice, mechanism);
                choice.danger_in_clear = true;
            }
        }))
    }

    /// Gets in by a mechanism, after these attempts, and may send where only those may who got in.
    fn accepted(&self, credentials: &Credentials, mechanism: &str, attempts: &[&str]) -> Result<(), Failed> {
        let (client, lines) = self.connect(credentials, Some(mechanism));
        let mut client = client?;
        tried(&lines, attempts)?;
        let security = client.security().clone();
        same(security.mechanism.as_deref(), Some(mechanism))?;
        same(security.channel_binding, None)?;
        same(security.secure, !self.in_clear())?;
        same(security.password_in_clear, self.in_clear() && READABLE.contains(&mechanism))?;
        let message = Message::new("from somebody\r\n");
        let report = client.send(from("sender").to(self.path()?), &message.octets)?;
        same(report.is_complete_success(), true)?;
        client.quit()?;
        self.target.arrived(self.mailbox, &message, &message.octets)
    }

    /// Does not get in by a mechanism, and gives up after so many attempts: another mechanism would not know better, and
    /// servers count. What the server said of its refusal within the exchange, if it did.
    fn refused(&self, credentials: &Credentials, mechanism: &str, attempts: usize) -> Result<Option<String>, Failed> {
        let (client, lines) = self.connect(credentials, Some(mechanism));
        let error = client.err().ok_or("the server let everybody in")?;
        let Some(Failure::Auth(failure)) = error.failure() else { return Err(error.into()) };
        same((failure.kind(), failure.mechanism()), (AuthFailureKind::Credentials, mechanism))?;
        same(error.is_transient(), false)?;
        tried(&lines, &vec![mechanism; attempts])?;
        same(lines.starting("C: MAIL"), vec![])?;
        Ok(failure.server_error().map(|account| String::from_utf8_lossy(account).into_owned()))
    }

    /// Without a login there is nothing, so what comes with one is its doing.
    fn without(&self) -> Result<(), Failed> {
        let (client, _) = self.target.connect(self.target.options());
        let mut client = client?;
        let in_order = |mut names: Vec<&str>| {
            names.sort_unstable();
            names.join(" ")
        };
        let offers = in_order(client.capabilities().auth_mechanisms().collect());
        same(offers, in_order(self.offers.split(' ').collect()))?;
        let message = Message::new("from nobody\r\n");
        let refused = client.send(from("sender").to(self.path()?), &message.octets).err();
        same(refused.as_ref().and_then(Error::reply).map(|reply| reply.code().get()), Some(self.refusal))
    }

    /// Where nothing is said, the strongest mechanism is chosen, and none that can be read on the way.
    fn strongest(&self, credentials: &Credentials, expected: &str) -> Result<(), Failed> {
        let (client, lines) = self.connect(credentials, None);
        if self.in_clear() && READABLE.contains(&expected) {
            return needs_tls(client, &lines);
        }
        same(client?.security().mechanism.as_deref(), Some(expected))?;
        tried(&lines, &[expected])
    }

    /// Nor does a password cross in clear where it is the only way in that is left.
    fn plain_needs_tls(&self) -> Result<(), Failed> {
        let options = self.target.options().credentials(password(RIGHT));
        let (client, lines) = self.target.connect(options.choice(|choice| force(choice, "PLAIN")));
        needs_tls(client, &lines)
    }

    fn path(&self) -> Result<ForwardPath, Failed> {
        Ok(ForwardPath::parse(self.recipient)?)
    }
}

/// Makes one mechanism, if it is offered, the one that is chosen: those before it are passed over as tried already.
fn force(choice: &mut Choice, mechanism: &str) {
    for kind in [PASSWORD, TOKEN] {
        if kind.contains(&mechanism) {
            choice.tried = kind.iter().take_while(|name| **name != mechanism).map(|&name| name.into()).collect();
        }
    }
}

/// Whether these mechanisms were tried, in this order.
fn tried(lines: &Lines, expected: &[&str]) -> Result<(), Failed> {
    let lines = lines.starting("C: AUTH ");
    same(lines.iter().filter_map(|line| line.split(' ').nth(2)).collect::<Vec<_>>(), expected.to_vec())
}

fn needs_tls(client: Result<Session, Error>, lines: &Lines) -> Result<(), Failed> {
    match client {
        Err(Error::Failure(Failure::NoMechanism(ChooseError::NeedsTls))) => tried(lines, &[]),
        other => Err(format!("{other:?} although whoever listens can read the password").into()),
    }
}

pub(crate) fn password((user, password): (&str, &str)) -> Credentials {
    Credentials::password(user, password).expect("valid credentials")
}

fn acting_as(name: &str) -> Credentials {
    Credentials::external().acting_as(name).expect("a valid name")
}
