//! What a caller may do and seldom does, and what a server says at the wrong moment.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::address::{ForwardPath, HelloName, ReversePath};
use crate::body::BodyError;
use crate::capability::Extension;
use crate::command::ContentUrl;
use crate::outcome::Outcome;
use crate::report::Report;
use crate::sasl::{Mechanism, Response, SaslError, Secret};
use crate::submission::Submission;
use crate::transaction::{OnRefusal, Transaction};
use crate::utf8::Utf8Reason;

fn hear(connection: &mut Connection, octets: &str) {
    connection.handle_input(octets.as_bytes(), Time::default());
}

fn says(connection: &mut Connection) -> String {
    let said = connection.poll_transmit().map(|out| String::from_utf8_lossy(&out).into_owned()).unwrap_or_default();
    connection.handle_transmitted(said.len(), Time::default());
    said
}

fn events(connection: &mut Connection) -> Vec<Event> {
    core::iter::from_fn(|| connection.poll_event()).collect()
}

/// At a server that offers this, over TLS.
fn ready(keywords: &[&str]) -> Connection {
    let mut connection = Connection::new(Config::smtp(HelloName::parse("me.example").unwrap()), Security::Tls);
    hear(&mut connection, "220 x\r\n");
    says(&mut connection);
    hear(
        &mut connection,
        &[
            "250-x\r\n",
            &keywords.iter().map(|word| ["250-", word, "\r\n"].concat()).collect::<String>(),
            "250 HELP\r\n",
        ]
        .concat(),
    );
    assert_eq!((connection.state(), events(&mut connection).len()), (State::Ready, 2));
    connection
}

fn path(path: &str) -> ForwardPath {
    ForwardPath::parse(path).unwrap()
}

/// With a message under way, up to the go-ahead for its content.
fn with_body(keywords: &[&str]) -> Connection {
    let mut connection = ready(keywords);
    connection.begin(Transaction::new(ReversePath::null()).to(path("a@x.example"))).unwrap();
    go_ahead(&mut connection);
    connection
}

/// Hears a message under way out, up to its content. MAIL, RCPT and DATA are all that comes before it.
fn go_ahead(connection: &mut Connection) {
    for _ in 0..3 {
        if connection.body().is_none() {
            let said = says(connection);
            hear(connection, if said == "DATA\r\n" { "354 go\r\n" } else { "250 ok\r\n" });
        }
    }
    assert!(connection.body().is_some());
    events(connection);
}

// what is taken at a time is what the buffer has room for, with the end of DATA, or half of it by BDAT.
#[test]
fn room_for_content() {
    let mut connection = with_body(&[]);
    connection.config.body_buffer = 10_000;
    assert_eq!(connection.body().unwrap().capacity(), 9993);
    assert_eq!(connection.body().unwrap().write(b"hello"), Ok(5));
    assert_eq!(connection.body().unwrap().capacity(), 9988);

    let mut connection = ready(&["CHUNKING"]);
    (connection.config.chunking, connection.config.body_buffer) = (crate::Chunking::Prefer, 10_000);
    connection.begin(Transaction::new(ReversePath::null()).to(path("a@x.example"))).unwrap();
    go_ahead(&mut connection);
    assert_eq!(connection.body().unwrap().capacity(), 5000);
    assert_eq!(connection.body().unwrap().write(b"hello"), Ok(5));
    assert_eq!(connection.body().unwrap().capacity(), 4995);
}

// C-47, P-18, R-09: content that may not be sent ends the connection; what is written after it goes nowhere, its end included,
// and the message is not sent.
#[test]
fn content_after_an_error() {
    let mut connection = with_body(&[]);
    let mut body = connection.body().unwrap();
    assert_eq!(body.write(b"a\0"), Err(BodyError::Nul { offset: 1 }));
    assert_eq!(body.write(b"more"), Ok(0));
    assert_eq!(body.finish(), Ok(()));
    assert!(connection.poll_transmit().is_none() && connection.body().is_none());
    let [Event::Completed(report), Event::Closed(CloseReason::Aborted)] = &events(&mut connection)[..] else {
        panic!()
    };
    assert!(report.recipients().all(|(_, outcome)| *outcome == Outcome::NotSent && outcome.reply().is_none()));
}

// C-88, C-99: what a recipient by hand needs and the server does not offer is told at once, and nothing is said.
#[test]
fn recipients_that_cannot_be_had() {
    let mut connection = ready(&["LIMITS RCPTDOMAINMAX=1"]);
    connection.mail(Transaction::new(ReversePath::null())).unwrap();
    says(&mut connection);
    hear(&mut connection, "250 ok\r\n");
    let foreign = path("\u{e9}@x.example");
    let reason = Utf8Reason::Recipient(foreign.clone());
    assert_eq!(connection.rcpt(foreign), Err(UsageError::NeedsSmtpUtf8(reason)));
    connection.rcpt(path("a@x.example")).unwrap();
    assert_eq!(says(&mut connection), "RCPT TO:<a@x.example>\r\n");
    hear(&mut connection, "250 ok\r\n");
    assert_eq!(connection.rcpt(path("a@y.example")), Err(UsageError::TooManyDomains { maximum: 1 }));
    assert_eq!(says(&mut connection), "");
    connection.rcpt(path("b@X.example")).unwrap();
    assert_eq!(says(&mut connection), "RCPT TO:<b@X.example>\r\n");
}

// C-24: the next hello is by the name that was set last.
#[test]
fn another_name() {
    let mut connection = ready(&[]);
    connection.set_hello_name(HelloName::parse("you.example").unwrap());
    connection.ehlo().unwrap();
    assert_eq!(says(&mut connection), "EHLO you.example\r\n");
}

// C-81: a chunk that is still filling goes before what is to be fetched, and where it has to wait so has that.
#[test]
fn what_is_fetched_waits() {
    let url = ContentUrl::parse("imap://imap.example/a").unwrap();
    let mut connection = ready(&["CHUNKING", "BURL"]);
    connection.config.chunking = crate::Chunking::Prefer;
    connection.begin(Transaction::new(ReversePath::null()).to(path("a@x.example"))).unwrap();
    go_ahead(&mut connection);
    assert!(connection.capabilities().supports(Extension::Burl));
    let fetch = |connection: &mut Connection| connection.body().unwrap().fetch(&url);
    assert_eq!(fetch(&mut connection), Ok(true));
    assert_eq!(connection.body().unwrap().write(b"hi"), Ok(2));
    assert_eq!(fetch(&mut connection), Ok(false));
    assert_eq!(says(&mut connection), "BURL imap://imap.example/a\r\n");
    hear(&mut connection, "250 ok\r\n");
    assert_eq!(fetch(&mut connection), Ok(false));
    assert_eq!(says(&mut connection), "BDAT 2\r\nhi");
    hear(&mut connection, "250 ok\r\n");
    assert_eq!(fetch(&mut connection), Ok(true));
    assert_eq!(says(&mut connection), "BURL imap://imap.example/a\r\n");
}

/// A mechanism of somebody else's, with as little as it needs.
struct Foreign(Result<(), SaslError>);

impl Mechanism for Foreign {
    fn name(&self) -> &'static str {
        "X-OWN"
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError> {
        Ok(Secret::from(challenge.to_vec()).into())
    }

    fn verify_success(&mut self) -> Result<(), SaslError> {
        self.0
    }
}

fn authenticating(mechanism: Foreign) -> Connection {
    let mut connection = ready(&["AUTH X-OWN"]);
    connection.auth(alloc::boxed::Box::new(mechanism)).unwrap();
    assert_eq!(says(&mut connection), "AUTH X-OWN\r\n");
    connection
}

// C-116, S-52: success is not believed where the mechanism does not believe it, and what is told says who is to blame.
#[test]
fn success_that_is_not_believed() {
    let unasked = |reason: &CloseReason| matches!(reason, CloseReason::Unsolicited(reply) if reply.code().get() == 235);
    for (error, refused) in [(SaslError::ServerRefused, true), (SaslError::ServerUnproven, false)] {
        let mut connection = authenticating(Foreign(Err(error)));
        hear(&mut connection, "235 welcome\r\n");
        assert!(!connection.is_authenticated());
        let [Event::AuthFailed(failure), Event::Closed(reason)] = &events(&mut connection)[..] else { panic!() };
        assert_eq!(failure.error(), Some(error));
        assert_eq!((unasked(reason), *reason == CloseReason::ServerUnproven), (refused, !refused));
    }
}

// A mechanism need say no more than its name and its answers. P-18: where the stream takes no more, none is queued.
#[test]
fn a_mechanism_of_somebody_elses() {
    let mut foreign = Foreign(Ok(()));
    assert!(foreign.exposes_password() && foreign.initial_response().is_none() && foreign.server_error().is_none());
    assert_eq!(foreign.resume().unwrap_err(), SaslError::UnexpectedChallenge);
    let mut connection = authenticating(foreign);
    assert!(!alloc::format!("{:?}", connection.session).contains("Mechanism"));
    hear(&mut connection, "334 aGk=\r\n");
    assert_eq!(says(&mut connection), "aGk=\r\n");
    connection.handle_write_closed(Time::default());
    hear(&mut connection, "334 aGk=\r\n");
    assert!(connection.poll_transmit().is_none());
    assert_eq!(connection.outbox.len(), 0);
    connection.handle_eof();
    assert!(matches!(events(&mut connection)[..], [Event::Closed(CloseReason::Eof)]));
}

// S-60: what is shown of an exchange is its mechanism.
#[test]
fn an_exchange_is_shown_by_its_name() {
    let connection = authenticating(Foreign(Ok(())));
    let shown = alloc::format!("{:?}", connection.session);
    assert!(shown.starts_with("Authenticating(Exchange { party: X-OWN, held_back: None"), "{shown}");
}

// One transaction at a time: the next one is there when the one before it is over.
#[test]
fn a_submission_waits() {
    let connection = ready(&["LIMITS RCPTMAX=1"]);
    let transaction = Transaction::new(ReversePath::parse("me@example.org").unwrap())
        .to_all([path("a@x.example"), path("b@x.example")])
        .map_recipients(|recipient| path(&recipient.path().as_str().replace("x.", "y.")).into());
    assert_eq!(transaction.from().as_str(), "me@example.org");
    let mut submission = Submission::new(transaction);
    let first = submission.next(&connection).unwrap();
    assert_eq!(first.recipients().map(ForwardPath::as_str).collect::<Vec<_>>(), ["a@y.example"]);
    assert!(submission.next(&connection).is_none());
    assert_eq!(submission.into_report().recipients().count(), 2);
}

/// Sends a message of which each recipient's RCPT is answered so, and gives its report.
fn sent(connection: &mut Connection, transaction: Transaction, rcpt: &[&str]) -> Report {
    connection.begin(transaction).unwrap();
    let mut rcpt = rcpt.iter();
    loop {
        let reply = match says(connection) {
            said if said.starts_with("RCPT") => rcpt.next().unwrap(),
            said if said == "DATA\r\n" => "354 go\r\n",
            _ => "250 ok\r\n",
        };
        hear(connection, reply);
        if let Some(body) = connection.body() {
            body.finish().unwrap();
        }
        if let Some(Event::Completed(report)) = events(connection).pop() {
            return report;
        }
    }
}

// C-52: whoever was too many is sent to again, with as many as the server has shown to take; for all or none nobody is.
#[test]
fn recipients_that_are_too_many() {
    let (too_many, ok) = ("452 4.5.3 too many\r\n", "250 ok\r\n");
    let transaction = Transaction::new(ReversePath::null()).to_all(["a@x", "b@x", "c@x"].map(path));
    let mut connection = ready(&[]);
    let mut submission = Submission::new(transaction.clone());
    for (recipients, rcpt) in
        [(&["a@x", "b@x", "c@x"][..], &[ok, too_many, too_many][..]), (&["b@x"], &[ok]), (&["c@x"], &[ok])]
    {
        let next = submission.next(&connection).unwrap();
        assert!(next.recipients().map(ForwardPath::as_str).eq(recipients.iter().copied()));
        submission.completed(sent(&mut connection, next, rcpt));
    }
    assert!(submission.next(&connection).is_none());
    assert!(submission.into_report().is_complete_success());

    let mut submission = Submission::new(transaction.on_refusal(OnRefusal::Abort));
    let whole = submission.next(&connection).unwrap();
    submission.completed(sent(&mut connection, whole, &[ok, too_many, ok]));
    assert!(submission.next(&connection).is_none());
    assert!(!submission.into_report().may_have_been_accepted());
}

// C-99: what a session has room for is known before anything is said, and what it has no room for is refused.
#[test]
fn the_limits_of_a_session() {
    let to = |recipients: &[&str]| Transaction::new(ReversePath::null()).to_all(recipients.iter().copied().map(path));
    let mut connection = ready(&["LIMITS MAILMAX=2 RCPTMAX=2 RCPTDOMAINMAX=1"]);
    assert_eq!((connection.transactions_left(), connection.is_used_up()), (Some(2), false));
    for (recipients, error) in [
        (&["a@x", "b@x", "c@x"][..], UsageError::TooManyRecipients { maximum: 2 }),
        (&["a@x", "b@y"], UsageError::TooManyDomains { maximum: 1 }),
    ] {
        assert_eq!(connection.begin(to(recipients)).unwrap_err(), error);
    }
    assert!(sent(&mut connection, to(&["a@x"]), &["250 ok\r\n"]).is_complete_success());
    // There is room for this domain alone.
    assert_eq!((connection.transactions_left(), connection.is_used_up()), (Some(1), true));
    assert!(sent(&mut connection, to(&["b@x"]), &["250 ok\r\n"]).is_complete_success());
    assert_eq!((connection.transactions_left(), connection.is_used_up()), (Some(0), true));
    assert_eq!(connection.begin(to(&["a@x"])).unwrap_err(), UsageError::MailLimit { maximum: 2 });
    let mut connection = ready(&["LIMITS MAILMAX=1"]);
    assert!(sent(&mut connection, to(&["a@x", "a@y"]), &["250 ok\r\n"; 2]).is_complete_success());
    assert!(connection.is_used_up() && !ready(&[]).is_used_up());
    assert_eq!(ready(&[]).transactions_left(), None);
}

// C-147: the policy that was set last holds.
#[test]
fn another_policy() {
    let clear = Connection::new(Config::smtp(HelloName::parse("me.example").unwrap()), Security::Plaintext);
    let setup = || crate::Setup::new(crate::TlsPolicy::Require, None);
    assert_eq!(setup().without_upgrade(&clear).unwrap_err(), UsageError::NobodyUpgrades);
    assert!(setup().policy(crate::TlsPolicy::Opportunistic).without_upgrade(&clear).is_ok());
}

// C-59: a step has the time that is named after it.
#[test]
fn each_phase_has_its_time() {
    let seconds = Duration::from_secs;
    let timeouts = crate::Timeouts {
        greeting: seconds(1),
        command: seconds(2),
        mail: seconds(3),
        rcpt: seconds(4),
        data_init: seconds(5),
        data_block: seconds(6),
        data_done: seconds(7),
        quit: seconds(8),
    };
    for (phase, expected) in [
        (Phase::Greeting, 1),
        (Phase::Hello, 2),
        (Phase::StartTls, 2),
        (Phase::Auth, 2),
        (Phase::Command, 2),
        (Phase::Mail, 3),
        (Phase::Rcpt, 4),
        (Phase::DataInit, 5),
        (Phase::DataBlock, 6),
        (Phase::DataDone, 7),
        (Phase::Quit, 8),
    ] {
        assert_eq!(timeouts.of(phase), seconds(expected));
    }
}

// C-149: of the version of TLS the report says what the driver said of it.
#[test]
fn the_version_of_tls() {
    let mut setup = crate::Setup::new(crate::TlsPolicy::Require, None);
    assert_eq!(setup.report().tls_version, None);
    setup.tls_version(Some("TLSv1.3"));
    assert_eq!(setup.report().tls_version.as_deref(), Some("TLSv1.3"));
    setup.tls_version(None);
    assert_eq!(setup.report().tls_version, None);
}

// A transcript counts a single octet right.
#[test]
fn one_octet_of_content() {
    let shown = [1, 2].map(|length| alloc::format!("{}", Piece::Content(length)));
    assert_eq!(shown, ["<1 octet of content>".to_owned(), "<2 octets of content>".to_owned()]);
}

// S-30, P-09: of replies that there may be one of for each recipient only so much text is kept; of others, all.
#[test]
fn text_for_each_recipient() {
    let long = "x".repeat(100);
    for (lmtp, kept) in [(true, 10), (false, 100)] {
        let hello = HelloName::parse("me.example").unwrap();
        let mut config = if lmtp { Config::lmtp(hello) } else { Config::smtp(hello) };
        config.reply_limits.recipient_text = 10;
        let mut connection = Connection::new(config, Security::Tls);
        for line in ["220 x\r\n", "250 x\r\n"] {
            hear(&mut connection, line);
            says(&mut connection);
        }
        let transaction = Transaction::new(ReversePath::null()).to(path("a@x.example")).to(path("b@x.example"));
        connection.begin(transaction).unwrap();
        for line in ["250 ok", &["550 ", &long].concat(), "250 ok", "354 go"] {
            says(&mut connection);
            hear(&mut connection, &[line, "\r\n"].concat());
        }
        connection.body().unwrap().finish().unwrap();
        says(&mut connection);
        hear(&mut connection, &["250 ", &long, "\r\n"].concat());
        let events = events(&mut connection);
        let Some(Event::Completed(report)) = events.last() else { panic!("{events:?}") };
        let lengths = report.recipients().filter_map(|(_, outcome)| outcome.reply()).map(|reply| reply.text().len());
        assert_eq!(lengths.collect::<Vec<_>>(), [10, kept]);
    }
}
