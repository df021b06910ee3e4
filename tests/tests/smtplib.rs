//! What smtplib of Python does, row by row of the table in `smtp_blocking::from_smtplib`, by both drivers. What a transcript or
//! another test proves already is cited in the table and not repeated here.

use std::future::Future;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use smtp_driver::{Error, Options};
use smtp_proto::sasl::{AuthFailureKind, ChooseError, Credentials, Mechanism, Response, SaslError, Secret};
use smtp_proto::{
    AddressError, BodyError, CloseReason, CommandError, CommandLine, Connection, DotStuffer, Event, Failure,
    ForwardPath, HelloName, LineEndings, LongLines, Outcome, Parameter, Phase, Recipient, Reply, Report, ReversePath,
    Security, TlsMode, Transaction, UsageError, Utf8Reason, Verification,
};
use socket2::{Domain, Socket, Type};

/// The drivers' clients, which are alike but for `await`.
trait Session: Sized {
    async fn connect(target: &str, options: Options) -> Result<Self, Error>;
    async fn send(&mut self, transaction: Transaction, message: &[u8]) -> Result<Report, Error>;
    async fn mail(&mut self, transaction: Transaction) -> Result<Reply, Error>;
    async fn rcpt(&mut self, recipient: Recipient) -> Result<Reply, Error>;
    async fn data(&mut self, message: &[u8]) -> Result<Report, Error>;
    async fn ehlo(&mut self) -> Result<Reply, Error>;
    async fn helo(&mut self) -> Result<Reply, Error>;
    async fn noop(&mut self) -> Result<Reply, Error>;
    async fn reset(&mut self) -> Result<Reply, Error>;
    async fn command(&mut self, line: &CommandLine) -> Result<Reply, Error>;
    async fn next_event(&mut self) -> Result<Event, Error>;
    async fn quit(self) -> Result<(), Error>;
    fn greeting(&self) -> Option<&Reply>;
    fn machine(&mut self) -> &mut Connection;
}

macro_rules! session {
    ($client:ty, $($wait:tt)*) => {
        impl Session for $client {
            async fn connect(target: &str, options: Options) -> Result<Self, Error> {
                <$client>::connect(target, options) $($wait)*
            }
            async fn send(&mut self, transaction: Transaction, message: &[u8]) -> Result<Report, Error> {
                <$client>::send(self, transaction, message) $($wait)*
            }
            async fn mail(&mut self, transaction: Transaction) -> Result<Reply, Error> {
                <$client>::mail(self, transaction) $($wait)*
            }
            async fn rcpt(&mut self, recipient: Recipient) -> Result<Reply, Error> {
                <$client>::rcpt(self, recipient) $($wait)*
            }
            async fn data(&mut self, message: &[u8]) -> Result<Report, Error> {
                <$client>::data(self, message) $($wait)*
            }
            async fn ehlo(&mut self) -> Result<Reply, Error> {
                <$client>::ehlo(self) $($wait)*
            }
            async fn helo(&mut self) -> Result<Reply, Error> {
                <$client>::helo(self) $($wait)*
            }
            async fn noop(&mut self) -> Result<Reply, Error> {
                <$client>::noop(self) $($wait)*
            }
            async fn reset(&mut self) -> Result<Reply, Error> {
                <$client>::reset(self) $($wait)*
            }
            async fn command(&mut self, line: &CommandLine) -> Result<Reply, Error> {
                <$client>::command(self, line) $($wait)*
            }
            async fn next_event(&mut self) -> Result<Event, Error> {
                <$client>::next_event(self) $($wait)*
            }
            async fn quit(self) -> Result<(), Error> {
                <$client>::quit(self) $($wait)*
            }
            fn greeting(&self) -> Option<&Reply> {
                <$client>::greeting(self)
            }
            fn machine(&mut self) -> &mut Connection {
                <$client>::connection_mut(self)
            }
        }
    };
}

type Blocking = smtp_blocking::Client<smtp_blocking::Transport>;
type Tokio = smtp_tokio::Client<smtp_tokio::Transport>;
session!(Blocking,);
session!(Tokio, .await);

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

/// Runs a test that takes a driver.
macro_rules! by_both {
    ($test:ident) => {
        block_on($test::<Blocking>());
        block_on($test::<Tokio>());
    };
}

/// A server that says and hears exactly this: lines `S:` and `C:`, and in the end nothing more. `S: <eof>` hangs up.
struct Server {
    target: String,
    serving: JoinHandle<()>,
}

impl Server {
    fn start(dialogue: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let serving = std::thread::spawn(move || serve(listener.accept().unwrap().0, dialogue));
        Self { target, serving }
    }

    /// The client is gone, and has said what it had to.
    fn end(self) {
        self.serving.join().unwrap();
    }
}

fn serve(stream: TcpStream, dialogue: &str) {
    let mut reader = BufReader::new(stream);
    let mut heard = String::new();
    for line in dialogue.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("S: ") {
            Some("<eof>") => return,
            // Who has said QUIT need not wait for the answer.
            Some(said) => drop(reader.get_mut().write_all(format!("{said}\r\n").as_bytes())),
            None => {
                heard.clear();
                reader.read_line(&mut heard).unwrap();
                let due = line.strip_prefix("C:").unwrap();
                assert_eq!(heard, format!("{}\r\n", due.strip_prefix(' ').unwrap_or(due)));
            }
        }
    }
    heard.clear();
    // However the client goes.
    let _ = reader.read_line(&mut heard);
    assert_eq!(heard, "");
}

fn options() -> Options {
    Options::smtp().hello_name(HelloName::parse("me.example").unwrap()).timeout(Duration::from_secs(30))
}

/// A password, in clear.
fn login(user: &str, password: &str) -> Options {
    let credentials = Credentials::password(user, password).unwrap();
    options().tls_mode(TlsMode::None).credentials(credentials).choice(|choice| choice.danger_in_clear = true)
}

fn path(text: &str) -> ForwardPath {
    ForwardPath::parse(text).unwrap()
}

fn transaction(to: &[&str]) -> Transaction {
    Transaction::new(ReversePath::parse("me@x.example").unwrap()).to_all(to.iter().map(|to| path(to)))
}

/// smtplib's `(code, text)`.
fn pair(reply: &Reply) -> (u16, &str) {
    (reply.code().get(), std::str::from_utf8(reply.text()).unwrap())
}

fn usage(error: &Error) -> &UsageError {
    match error.failure() {
        Some(Failure::Usage(usage)) => usage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connect() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220-mail.example
             S: 220 ready
             C: EHLO me.example
             S: 250 mail.example
             C: QUIT
             S: 221 bye",
        );
        let client = S::connect(&server.target, options()).await.unwrap();
        assert_eq!(pair(client.greeting().unwrap()), (220, "mail.example\nready"));
        client.quit().await.unwrap();
        server.end();

        for target in ["", ":25", "localhost:", "localhost:x"] {
            let Err(Error::Connect { error, .. }) = S::connect(target, options()).await else { panic!("{target}") };
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        // smtplib takes no timeout of 0 either.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        assert!(S::connect(&target, options().timeout(Duration::ZERO)).await.is_err());
    }
    by_both!(test);
}

#[test]
fn ports() {
    let implicit = Options::smtp().tls_mode(TlsMode::Implicit);
    for (mut options, port) in [(Options::smtp(), 25), (implicit, 465), (Options::lmtp(), 2003)] {
        assert_eq!(options.plan("mail.example").unwrap().port, port);
        assert_eq!(options.plan("mail.example:2525").unwrap().port, 2525);
    }
}

#[test]
fn sock() {
    let dialogue = "S: 220 hi
                    C: EHLO me.example
                    S: 250 x";
    let server = Server::start(dialogue);
    let stream = TcpStream::connect(&server.target).unwrap();
    let ours = stream.local_addr().unwrap();
    let client = smtp_blocking::Client::over(stream, Security::Plaintext, options()).unwrap();
    assert_eq!(client.stream().local_addr().unwrap(), ours);
    drop(client);
    server.end();

    let server = Server::start(dialogue);
    let client = Blocking::connect(&server.target, options()).unwrap();
    assert_eq!(client.stream().socket().peer_addr().unwrap().to_string(), server.target);
    drop(client);
    server.end();
}

// C-25: hellos by hand, by another name, and what each of them leaves.
#[test]
fn ehlo() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250-mail.example at your service
             S: 250-SIZE 1000
             S: 250-AUTH=LOGIN
             S: 250-AUTH PLAIN
             S: 250 8BitMime
             C: EHLO other.example
             S: 250-mail.example
             S: 250 SIZE 2000
             C: HELO other.example
             S: 250 mail.example, nice to meet you
             C: EHLO other.example
             S: 502 not again",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        let offered = client.machine().capabilities();
        assert!(offered.has("size") && offered.has("SIZE") && !offered.has("SIZ") && !offered.has("mail.example"));
        assert_eq!(offered.parameters("Size"), Some("1000"));
        assert_eq!(offered.auth_mechanisms().collect::<Vec<_>>(), ["LOGIN", "PLAIN"]);
        let features: Vec<_> = offered.iter().collect();
        assert_eq!(features, [("SIZE", "1000"), ("AUTH", "LOGIN"), ("AUTH", "PLAIN"), ("8BitMime", "")]);

        client.machine().set_hello_name(HelloName::parse("other.example").unwrap());
        assert_eq!(pair(&client.ehlo().await.unwrap()), (250, "mail.example\nSIZE 2000"));
        assert_eq!(client.machine().capabilities().size_limit(), Some(2000));
        assert_eq!(pair(&client.helo().await.unwrap()), (250, "mail.example, nice to meet you"));
        assert_eq!(client.machine().capabilities().iter().count(), 0);
        assert_eq!(client.ehlo().await.unwrap().code().get(), 502);
        drop(client);
        server.end();
    }
    by_both!(test);
}

// C-31: a refusal is a reply, and the session goes on.
#[test]
fn docmd() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250 x
             C: VRFY a
             S: 250 A <a@x.example>
             C: VRFY b
             S: 550 unknown
             C: EXPN staff
             S: 250-<a@x.example>
             S: 250 <b@x.example>
             C: HELP
             S: 214-see
             S: 214 RFC 5321
             C: NOOP
             S: 500 what?
             C: RSET
             S: 250 flushed
             C: X-private one two
             S: 299-more
             S: 299
             C: NOOP
             S: 250 ok",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        let line = |line: Result<CommandLine, CommandError>| line.unwrap();
        let known = client.command(&line(CommandLine::vrfy("a"))).await.unwrap();
        assert_eq!((pair(&known), known.verification()), ((250, "A <a@x.example>"), Verification::Verified));
        let unknown = client.command(&line(CommandLine::vrfy("b"))).await.unwrap();
        assert_eq!((pair(&unknown), unknown.verification()), ((550, "unknown"), Verification::Refused));
        let list = client.command(&line(CommandLine::expn("staff"))).await.unwrap();
        assert_eq!(
            list.members().map(|member| member.as_str()).collect::<Vec<_>>(),
            ["<a@x.example>", "<b@x.example>"]
        );
        let help = client.command(&line(CommandLine::help(""))).await.unwrap();
        assert_eq!(help.help().unwrap().collect::<Vec<_>>(), [&b"see"[..], b"RFC 5321"]);
        assert_eq!(pair(&client.noop().await.unwrap()), (500, "what?"));
        assert_eq!(pair(&client.reset().await.unwrap()), (250, "flushed"));
        assert_eq!(pair(&client.command(&line(CommandLine::new("X-private one two"))).await.unwrap()), (299, "more\n"));
        for injected in ["NOOP\r\nQUIT", "NOOP\n", "VRFY a\rb", "NOOP \0"] {
            assert!(matches!(CommandLine::new(injected), Err(CommandError::Control { .. })), "{injected:?}");
        }
        for (verb, line) in [("MAIL", "mail FROM:<>"), ("STARTTLS", "STARTTLS"), ("AUTH", "AUTH PLAIN AAAA")] {
            assert!(matches!(CommandLine::new(line), Err(CommandError::Reserved { verb: of, .. }) if of == verb));
        }
        assert_eq!(client.noop().await.unwrap().code().get(), 250);
        drop(client);
        server.end();
    }
    by_both!(test);
}

#[test]
fn putcmd_and_getreply() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250 x
             C: X-ONE
             S: 250 one",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        client.machine().command(&CommandLine::new("X-ONE").unwrap()).unwrap();
        let Event::Reply(reply) = client.next_event().await.unwrap() else { panic!("no reply") };
        assert_eq!(pair(&reply), (250, "one"));
        drop(client);
        server.end();
    }
    by_both!(test);
}

// C-43, C-55: the dictionary of those who were refused, sizes, dots, options of MAIL and of each RCPT; the connection stays open.
#[test]
fn sendmail() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250-x
             S: 250-SIZE 1000
             S: 250 DSN
             C: MAIL FROM:<me@x.example> SIZE=20 RET=HDRS
             S: 250 ok
             C: RCPT TO:<a@x.example> NOTIFY=NEVER
             S: 250 ok
             C: RCPT TO:<b@x.example>
             S: 550 5.1.1 no such user
             C: RCPT TO:<c@x.example>
             S: 251 will forward
             C: DATA
             S: 354 go ahead
             C: ..Subject: hi
             C:
             C: hi
             C: .
             S: 250 queued as 1
             C: NOOP
             S: 250 still here",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        let message = b".Subject: hi\n\nhi";
        let never = Recipient::new(path("a@x.example")).parameter(Parameter::new("NOTIFY", "NEVER").unwrap());
        let transaction = Transaction::new(ReversePath::parse("me@x.example").unwrap())
            .content(message)
            .parameter(Parameter::new("ret", "HDRS").unwrap())
            .to(never)
            .to(path("b@x.example"))
            .to(path("c@x.example"));
        let report = client.send(transaction, message).await.unwrap();
        let refused: Vec<_> = report.refused().map(|(path, reply)| (path.as_str(), pair(reply))).collect();
        assert_eq!(refused, [("b@x.example", (550, "5.1.1 no such user"))]);
        assert!(!report.is_complete_success());
        assert_eq!(client.noop().await.unwrap().text(), b"still here");
        drop(client);
        server.end();
    }
    by_both!(test);
}

// C-57: SMTPSenderRefused, SMTPRecipientsRefused and SMTPDataError, each with the connection usable afterwards. A recipient who is given
// twice and refused twice is no success, as it is with smtplib; nobody to send to says nothing; DATA refused is followed by RSET.
#[test]
fn sendmail_refused() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250 x
             C: MAIL FROM:<me@x.example>
             S: 553 5.1.8 who?
             C: RSET
             S: 250 flushed
             C: MAIL FROM:<me@x.example>
             S: 250 ok
             C: RCPT TO:<a@x.example>
             S: 550 5.1.1 unknown
             C: RCPT TO:<a@x.example>
             S: 450 4.2.0 busy
             C: RSET
             S: 250 flushed
             C: MAIL FROM:<me@x.example>
             S: 250 ok
             C: RCPT TO:<a@x.example>
             S: 250 ok
             C: DATA
             S: 451 4.3.0 not now
             C: RSET
             S: 250 flushed
             C: MAIL FROM:<me@x.example>
             S: 250 ok
             C: RCPT TO:<a@x.example>
             S: 250 ok
             C: DATA
             S: 354 go ahead
             C: hi
             C: .
             S: 554 5.7.1 spam
             C: NOOP
             S: 250 still here",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        let nobody = client.send(transaction(&[]), b"hi").await.unwrap_err();
        assert_eq!(usage(&nobody), &UsageError::NoRecipients);

        let error = client.send(transaction(&["a@x.example"]), b"hi").await.unwrap_err();
        let Some(Failure::SenderRefused { reply, report }) = error.failure() else { panic!("{error}") };
        assert_eq!((pair(reply), report.sender_refusal()), ((553, "5.1.8 who?"), Some(reply)));

        let error = client.send(transaction(&["a@x.example", "a@x.example"]), b"hi").await.unwrap_err();
        let Some(Failure::RecipientsRefused(report)) = error.failure() else { panic!("{error}") };
        let refused: Vec<_> = report.refused().map(|(path, reply)| (path.as_str(), pair(reply))).collect();
        assert_eq!(refused, [("a@x.example", (550, "5.1.1 unknown")), ("a@x.example", (450, "4.2.0 busy"))],);

        for (code, transient) in [(451, true), (554, false)] {
            let error = client.send(transaction(&["a@x.example"]), b"hi").await.unwrap_err();
            let Some(Failure::DataRefused { reply, .. }) = error.failure() else { panic!("{error}") };
            assert_eq!((reply.code().get(), error.is_transient()), (code, transient));
        }
        assert_eq!(client.noop().await.unwrap().text(), b"still here");
        drop(client);
        server.end();
    }
    by_both!(test);
}

// C-12, R-01: a 421 ends the session, and of each recipient it is still told what became of the message.
#[test]
fn shutdown() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250 x
             C: MAIL FROM:<me@x.example>
             S: 250 ok
             C: RCPT TO:<a@x.example>
             S: 550 unknown
             C: RCPT TO:<b@x.example>
             S: 250 ok
             C: RCPT TO:<c@x.example>
             S: 421 going down",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        let to = ["a@x.example", "b@x.example", "c@x.example"];
        let error = client.send(transaction(&to), b"hi").await.unwrap_err();
        let Some(Failure::Disconnected { reason: CloseReason::ServerShutdown(reply), report: Some(report) }) =
            error.failure()
        else {
            panic!("{error}")
        };
        assert_eq!(pair(reply), (421, "going down"));
        let outcomes: Vec<_> = report.recipients().map(|(_, outcome)| outcome.clone()).collect();
        assert!(matches!(
            &outcomes[..],
            [Outcome::Refused { transient: false, .. }, Outcome::NotSent, Outcome::Refused { transient: true, .. }]
        ));
        // The session is over, and says why.
        let again = client.noop().await.unwrap_err();
        assert_eq!(again.reply().map(pair), Some((421, "going down")));
        drop(client);
        server.end();
    }
    by_both!(test);
}

// after a timeout the session is over, and whatever is tried says so.
#[test]
fn timeout() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250 x
             C: NOOP",
        );
        let options = options().configure(|config| config.timeouts.command = Duration::from_millis(200));
        let mut client = S::connect(&server.target, options).await.unwrap();
        for _ in 0..2 {
            let error = client.noop().await.unwrap_err();
            assert!(matches!(error.failure(), Some(Failure::TimedOut { phase: Phase::Command, report: None })));
            assert!(error.is_timeout() && error.is_transient());
        }
        drop(client);
        server.end();
    }
    by_both!(test);
}

#[test]
fn mail_rcpt_data() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250 x
             C: MAIL FROM:<>
             S: 250 ok
             C: RCPT TO:<a@x.example>
             S: 550 unknown
             C: RCPT TO:<b@x.example>
             S: 250 ok
             C: DATA
             S: 354 go ahead
             C: hi
             C: .
             S: 250 queued
             C: MAIL FROM:<>
             S: 451 later",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        let by_hand = || Transaction::new(ReversePath::null());
        assert_eq!(pair(&client.mail(by_hand()).await.unwrap()), (250, "ok"));
        assert_eq!(pair(&client.rcpt(path("a@x.example").into()).await.unwrap()), (550, "unknown"));
        assert_eq!(pair(&client.rcpt(path("b@x.example").into()).await.unwrap()), (250, "ok"));
        let report = client.data(b"hi\r\n").await.unwrap();
        assert_eq!(report.refused().count(), 1);
        assert_eq!(pair(&client.mail(by_hand()).await.unwrap()), (451, "later"));
        drop(client);
        server.end();
    }
    by_both!(test);
}

// C-88: each message asks for SMTPUTF8 by itself, and the next one that does not need it does not have it.
#[test]
fn smtputf8() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250-x
             S: 250-8BITMIME
             S: 250 SMTPUTF8
             C: MAIL FROM:<me@x.example> SMTPUTF8
             S: 250 ok
             C: RCPT TO:<grüße@x.example>
             S: 550 unknown
             C: RSET
             S: 250 flushed
             C: MAIL FROM:<me@x.example>
             S: 250 ok
             C: RCPT TO:<a@x.example>
             S: 550 unknown
             C: RSET
             S: 250 flushed
             C: MAIL FROM:<me@x.example> SMTPUTF8
             S: 250 ok
             C: RCPT TO:<grüße@x.example>
             S: 550 unknown
             C: RSET
             S: 250 flushed
             C: EHLO me.example
             S: 250 x",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        for to in ["grüße@x.example", "a@x.example", "grüße@x.example"] {
            let seven_bit = transaction(&[to]).content(b"hi");
            assert!(client.send(seven_bit, b"hi").await.is_err());
        }
        client.ehlo().await.unwrap();
        let error = client.send(transaction(&["grüße@x.example"]), b"hi").await.unwrap_err();
        assert!(matches!(usage(&error), UsageError::NeedsSmtpUtf8(Utf8Reason::Recipient(_))));
        drop(client);
        server.end();
    }
    by_both!(test);
}

// C-160, C-161: a reply for each recipient is read, so that the next command has its own.
#[test]
fn lmtp() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: LHLO me.example
             S: 250 x
             C: MAIL FROM:<me@x.example>
             S: 250 ok
             C: RCPT TO:<a@x.example>
             S: 250 ok
             C: RCPT TO:<b@x.example>
             S: 250 ok
             C: DATA
             S: 354 go ahead
             C: hi
             C: .
             S: 250 one
             S: 550 two
             C: NOOP
             S: 250 three",
        );
        let options = Options::lmtp().hello_name(HelloName::parse("me.example").unwrap());
        let mut client = S::connect(&server.target, options).await.unwrap();
        let report = client.send(transaction(&["a@x.example", "b@x.example"]), b"hi").await.unwrap();
        let told: Vec<_> = report.recipients().map(|(_, outcome)| outcome.reply().map(pair)).collect();
        assert_eq!(told, [Some((250, "one")), Some((550, "two"))]);
        assert_eq!(client.noop().await.unwrap().text(), b"three");
        drop(client);
        server.end();
    }
    by_both!(test);
}

// C-21, C-23: what does not come about, and why: SMTPConnectError, SMTPHeloError, SMTPServerDisconnected, SMTPAuthenticationError and
// SMTPNotSupportedError, with code and text where the server gave them.
#[test]
fn exceptions() {
    async fn fails<S: Session>(dialogue: &'static str, options: Options) -> Error {
        let server = Server::start(dialogue);
        let error = S::connect(&server.target, options).await.err().expect("no session");
        server.end();
        error
    }
    async fn test<S: Session>() {
        let greeting = "S: 554 no mail here
                        C: QUIT
                        S: 221 bye";
        let error = fails::<S>(greeting, options()).await;
        assert!(matches!(error.failure(), Some(Failure::Greeting(_))));
        assert_eq!(error.reply().map(pair), Some((554, "no mail here")));

        let hello = "S: 220 hi
                     C: EHLO me.example
                     S: 550 not you
                     C: HELO me.example
                     S: 550 really not
                     C: QUIT
                     S: 221 bye";
        let error = fails::<S>(hello, options()).await;
        assert!(matches!(error.failure(), Some(Failure::Hello(_))));
        assert_eq!(error.reply().map(pair), Some((550, "really not")));

        let eof = "S: 220 hi
                   C: EHLO me.example
                   S: <eof>";
        let error = fails::<S>(eof, options()).await;
        assert!(matches!(error.failure(), Some(Failure::Disconnected { reason: CloseReason::Eof, .. })));
        assert!(error.reply().is_none() && error.is_transient());

        let wrong = "S: 220 hi
                     C: EHLO me.example
                     S: 250-x
                     S: 250 AUTH PLAIN LOGIN
                     C: AUTH PLAIN AHVzZXIAcGFzcw==
                     S: 535 5.7.8 wrong
                     C: QUIT
                     S: 221 bye";
        let error = fails::<S>(wrong, login("user", "pass")).await;
        let Some(Failure::Auth(failure)) = error.failure() else { panic!("{error}") };
        assert_eq!((pair(failure.reply()), failure.kind()), ((535, "5.7.8 wrong"), AuthFailureKind::Credentials));

        let nothing_offered = "S: 220 hi
                               C: EHLO me.example
                               S: 250 x
                               C: QUIT
                               S: 221 bye";
        let error = fails::<S>(nothing_offered, login("user", "pass")).await;
        assert!(matches!(error.failure(), Some(Failure::NoMechanism(ChooseError::NotOffered { .. }))));
        let error = fails::<S>(nothing_offered, options().tls_mode(TlsMode::StartTls)).await;
        assert!(matches!(error.failure(), Some(Failure::TlsRequired { reply: None, .. })));

        // A port that is taken, and where nobody listens.
        let nobody = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        nobody.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let target = nobody.local_addr().unwrap().as_socket().unwrap().to_string();
        assert!(matches!(S::connect(&target, options()).await, Err(Error::Connect { .. })));
    }
    by_both!(test);
}

// C-116, C-118: the next mechanism after a server that does not have the first one after all; names in any letter case; passwords outside
// ASCII; and 503 is no success.
#[test]
fn login_tries_in_turn() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250-x
             S: 250 AUTH login plain cram-md5
             C: AUTH CRAM-MD5
             S: 504 not after all
             C: AUTH PLAIN AHVzZXIAcMOkc3M=
             S: 235 welcome",
        );
        let mut client = S::connect(&server.target, login("user", "päss")).await.unwrap();
        assert!(client.machine().is_authenticated());
        drop(client);
        server.end();

        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250-x
             S: 250 AUTH LOGIN PLAIN
             C: AUTH LOGIN
             S: 334 VXNlcm5hbWU6
             C: dXNlcg==
             S: 334 UGFzc3dvcmQ6
             C: cGFzcw==
             S: 503 already
             C: QUIT
             S: 221 bye",
        );
        let only_login = login("user", "pass").choice(|choice| choice.only = Some("LOGIN".into()));
        let error = S::connect(&server.target, only_login).await.err().expect("503 is no success");
        assert_eq!(error.reply().map(pair), Some((503, "already")));
        server.end();
    }
    by_both!(test);
}

/// An authobject: says a name at first, and turns challenges round.
struct Reverse;

impl Mechanism for Reverse {
    fn name(&self) -> &str {
        "X-REVERSE"
    }

    fn initial_response(&mut self) -> Option<Secret> {
        Some("me".into())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Response, SaslError> {
        let answer: Vec<u8> = challenge.iter().rev().copied().collect();
        Ok(Response::Say(answer.into()))
    }

    fn exposes_password(&self) -> bool {
        false
    }
}

// With and without an initial response, by a mechanism of one's own and by hand.
#[test]
fn auth() {
    async fn test<S: Session>() {
        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250-x
             S: 250 AUTH X-REVERSE
             C: AUTH X-REVERSE bWU=
             S: 334 YWJj
             C: Y2Jh
             S: 235 welcome",
        );
        let mut client = S::connect(&server.target, options()).await.unwrap();
        client.machine().auth(Box::new(Reverse)).unwrap();
        assert!(matches!(client.next_event().await, Ok(Event::Authenticated(reply)) if reply.code().get() == 235));
        drop(client);
        server.end();

        let server = Server::start(
            "S: 220 hi
             C: EHLO me.example
             S: 250-x
             S: 250 AUTH X-REVERSE
             C: AUTH X-REVERSE
             S: 334
             C: bWU=
             S: 535 wrong
             C: AUTH X-REVERSE
             S: 334 YWJj
             C: Y2Jh
             S: 235 welcome",
        );
        let options = options().configure(|config| {
            config.initial_response = false;
            config.danger_password_in_clear = true;
        });
        let mut client = S::connect(&server.target, options).await.unwrap();
        client.machine().auth(Box::new(Reverse)).unwrap();
        assert!(
            matches!(client.next_event().await, Ok(Event::AuthFailed(failure)) if failure.reply().code().get() == 535)
        );
        client.machine().auth_manual("X-REVERSE", None).unwrap();
        let Ok(Event::AuthChallenge(challenge)) = client.next_event().await else { panic!("no challenge") };
        assert_eq!(challenge.expose(), b"abc");
        client.machine().auth_respond(&"cba".into()).unwrap();
        assert!(matches!(client.next_event().await, Ok(Event::Authenticated(_))));
        drop(client);
        server.end();
    }
    by_both!(test);
}

// Brackets and routes are read as smtplib reads them; display names and comments are not addresses.
#[test]
fn quoteaddr() {
    for (text, path) in [("", "<>"), ("<>", "<>"), ("a@b", "<a@b>"), ("<a@b>", "<a@b>"), ("<@x:a@b>", "<a@b>")] {
        assert_eq!(ReversePath::parse(text).unwrap().to_string(), path);
    }
    for text in ["Joe <a@b>", "joe@x (comment)", "a b@c", " <>", "None", "a@b\r\nDATA"] {
        assert!(ReversePath::parse(text).is_err(), "{text}");
    }
    assert_eq!(ForwardPath::parse(""), Err(AddressError::Empty));
}

// C-43, C-44: dots are doubled where smtplib doubles them, and a bare LF does not stay one.
#[test]
fn quotedata() {
    let quoted = |content: &[u8]| -> Result<Vec<u8>, BodyError> {
        let mut out = Vec::new();
        let mut stuffer = DotStuffer::new(LineEndings::default(), LongLines::default(), true);
        stuffer.encode(content, &mut out)?;
        stuffer.finish(&mut out)?;
        Ok(out)
    };
    for (content, octets) in [
        (&b".a\r\n..b\r\nc.\r\n"[..], &b"..a\r\n...b\r\nc.\r\n.\r\n"[..]),
        (b"a\n.b", b"a\r\n..b\r\n.\r\n"),
        (b"a\r.b", b"a\r\n..b\r\n.\r\n"),
    ] {
        assert_eq!(quoted(content).unwrap(), octets);
    }
}

/// Every public name of smtplib that its documentation has, and the documented ones of its module.
const NAMES: &[&str] = &[
    // Classes and their arguments.
    "SMTP",
    "SMTP_SSL",
    "LMTP",
    "host",
    "port",
    "local_hostname",
    "timeout",
    "source_address",
    "keyfile",
    "certfile",
    "context",
    "with",
    // Methods and their arguments.
    "set_debuglevel",
    "docmd",
    "putcmd",
    "getreply",
    "send",
    "connect",
    "helo",
    "ehlo",
    "ehlo_or_helo_if_needed",
    "has_extn",
    "verify",
    "vrfy",
    "expn",
    "help",
    "noop",
    "rset",
    "mail",
    "rcpt",
    "data",
    "login",
    "user",
    "password",
    "auth",
    "authobject",
    "initial_response_ok",
    "auth_cram_md5",
    "auth_plain",
    "auth_login",
    "starttls",
    "sendmail",
    "from_addr",
    "to_addrs",
    "msg",
    "mail_options",
    "rcpt_options",
    "SMTPUTF8",
    "send_message",
    "quit",
    "close",
    // Attributes.
    "helo_resp",
    "ehlo_resp",
    "does_esmtp",
    "esmtp_features",
    "default_port",
    "ehlo_msg",
    "sock",
    "file",
    "debuglevel",
    "command_encoding",
    // Exceptions and theirs.
    "SMTPException",
    "SMTPServerDisconnected",
    "SMTPResponseException",
    "smtp_code",
    "smtp_error",
    "SMTPSenderRefused",
    "sender",
    "SMTPRecipientsRefused",
    "recipients",
    "SMTPDataError",
    "SMTPConnectError",
    "SMTPHeloError",
    "SMTPNotSupportedError",
    "SMTPAuthenticationError",
    "RuntimeError",
    "ValueError",
    "UnicodeEncodeError",
    "socket.timeout",
    // Constants and functions.
    "CRLF",
    "SMTP_PORT",
    "SMTP_SSL_PORT",
    "LMTP_PORT",
    "quoteaddr",
    "quotedata",
];

const TABLE: &str = include_str!("../../smtp-blocking/src/from_smtplib.md");

/// The cells of each row of each table, its head and the line below that aside.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = TABLE.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| cells[0] != "smtplib" && cells[0] != "no.")
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_name_is_in_the_table() {
    let named: Vec<&str> = rows().flat_map(|cells| quoted(cells[0]).collect::<Vec<_>>()).collect();
    let missing: Vec<_> = NAMES.iter().filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} have no row");
    let unknown: Vec<_> = named.iter().filter(|name| !NAMES.contains(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not among the names");
}

// The last cell of each row names what shows it: tests as `file: name`, transcripts as `name.smtp`, or an example on the page.
#[test]
fn every_row_is_shown() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    for cells in rows() {
        assert_eq!(cells.len(), 4, "{cells:?}");
        let mut shown = 0;
        for name in quoted(cells[3]) {
            let exists = match name.split_once(": ") {
                Some((file, test)) => {
                    let folder = if file.contains('/') { tests.join("..") } else { tests.join("tests") };
                    let source = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
                    source.contains(&format!("fn {test}("))
                }
                None => tests.join("transcripts").join(name).is_file(),
            };
            assert!(exists, "{name}, which is to show {}, does not exist", cells[0]);
            shown += 1;
        }
        // Examples stand under headings.
        let anchor = cells[3].split_once("](#").and_then(|(_, rest)| rest.split_once(')'));
        if let Some((anchor, _)) = anchor {
            let heading = |line: &str| line.strip_prefix("## ").map(|text| text.to_lowercase().replace(' ', "-"));
            assert!(TABLE.lines().filter_map(heading).any(|name| name == anchor), "{anchor} is no heading");
            shown += 1;
        }
        assert!(shown > 0, "nothing shows {}", cells[0]);
    }
}
