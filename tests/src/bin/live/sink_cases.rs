//! The fault modes of smtp-sink, each with what an application has to be told of it.

use std::time::Duration;

/// A way to start smtp-sink, and what comes of it.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The arguments of smtp-sink.
    pub(crate) modes: &'static str,
    /// Whether the client pipelines where that is offered.
    pub(crate) pipelining: bool,
    /// How long the client waits for anything, instead of the times of RFC 5321.
    pub(crate) patience: Option<Duration>,
    /// How long it is silent between two messages.
    pub(crate) silence: Duration,
    /// How many lines the message has.
    pub(crate) lines: usize,
    /// The error of connecting or of sending; empty where there is none.
    pub(crate) error: &'static str,
    /// What becomes of the two recipients of the first message; nothing where it does not come to that.
    pub(crate) outcomes: &'static [&'static str],
    /// What is told after the first message.
    pub(crate) then: Then,
}

/// How a session goes on.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// It is over.
    Ends,
    /// The next message fares like the first one; then come the other commands, which are told so.
    GoesOn(&'static [&'static str]),
    /// The next message fails with this error before any of it is sent.
    EndsLater(&'static str),
}

use Then::{Ends, EndsLater, GoesOn};

const NOBODY: &[&str] = &[];
const ACCEPTED: &[&str] = &["accepted: 250 2.0.0 Ok"; 2];
const ACCEPTED_BY_LMTP: &[&str] = &["accepted: 250 2.2.0 Ok"; 2];
const NOT_SENT: &[&str] = &["not sent"; 2];
const IN_DOUBT: &[&str] = &["in doubt"; 2];

const HUNG_UP: &str = "the server closed the connection";
const NO_SENDER: &str = "the server refused the sender: 500 5.3.0 no";
const NO_SENDER_YET: &str = "the server refused the sender: 450 4.3.0 later";
const NO_RECIPIENTS: &str = "the server refused recipients";
const NO_MESSAGE: &str = "the server refused the message: 500 5.3.0 no";
const NO_MESSAGE_YET: &str = "the server refused the message: 450 4.3.0 later";

const AT_MAIL: &[&str] = &["refused for good at MAIL: 500 5.3.0 no"; 2];
const AT_RCPT: &[&str] = &["refused for good at RCPT: 500 5.3.0 no"; 2];
const AT_DATA: &[&str] = &["refused for good at DATA: 500 5.3.0 no"; 2];
const AT_CONTENT: &[&str] = &["refused for good at the content: 500 5.3.0 no"; 2];
const YET_AT_MAIL: &[&str] = &["refused for now at MAIL: 450 4.3.0 later"; 2];
const YET_AT_RCPT: &[&str] = &["refused for now at RCPT: 450 4.3.0 later"; 2];
const YET_AT_DATA: &[&str] = &["refused for now at DATA: 450 4.3.0 later"; 2];
const YET_AT_CONTENT: &[&str] = &["refused for now at the content: 450 4.3.0 later"; 2];

const CLOSING_AT_MAIL: &str = "the server refused the sender: 421 4.0.0 Server closing connection";
const CLOSING_AT_RCPT: &str = "the server is shutting the connection down: 421 4.0.0 Server closing connection";
const CLOSING_AT_DATA: &str = "the server refused the message: 421 4.0.0 Server closing connection";
const CLOSED_AT_MAIL: &[&str] = &["refused for now at MAIL: 421 4.0.0 Server closing connection"; 2];
const CLOSED_AT_RCPT: &[&str] = &["refused for now at RCPT: 421 4.0.0 Server closing connection", "not sent"];
const CLOSED_AT_DATA: &[&str] = &["refused for now at DATA: 421 4.0.0 Server closing connection"; 2];
const CLOSED_AT_CONTENT: &[&str] = &["refused for now at the content: 421 4.0.0 Server closing connection"; 2];
/// By LMTP each has a reply of its own, and the second one was never said.
const CLOSED_BETWEEN: &[&str] = &["refused for now at the content: 421 4.0.0 Server closing connection", "in doubt"];

const VIOLATES: &str = "the server refused the message: 550 This violates SMTP";
const VIOLATED: &[&str] = &["refused for good at the content: 550 This violates SMTP"; 2];

const WELL: Then = GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 250 2.0.0 Ok", "RSET: 250 2.1.0 Ok", "QUIT"]);

/// Longer than what the sockets between client and server hold.
const LARGE: usize = 1_000_000;

/// Where `-w` and `-W` delay one of several pipelined commands, smtp-sink answers them out of order: hence their `-p`.
pub(crate) const CASES: &[Case] = &[
    case("", "", ACCEPTED, WELL),
    case("-L", "", ACCEPTED_BY_LMTP, WELL),
    // What is not offered.
    case("-e", "", ACCEPTED, WELL),
    case("-P", "", ACCEPTED, WELL),
    case("-p", "", ACCEPTED, WELL),
    case("-8 -a -C -E -F -N -p", "", ACCEPTED, WELL),
    // Refused for good. The session goes on where it can.
    case("-f CONNECT", "the server refused the connection: 500 5.3.0 no", NOBODY, Ends),
    case("-f EHLO", "", ACCEPTED, WELL),
    case("-f HELO", "", ACCEPTED, WELL),
    case("-f EHLO,HELO", "the server refused the hello: 500 5.3.0 no", NOBODY, Ends),
    case("-f MAIL", NO_SENDER, AT_MAIL, WELL),
    case("-f RCPT", NO_RECIPIENTS, AT_RCPT, WELL),
    case("-f DATA", NO_MESSAGE, AT_DATA, WELL),
    case("-f .", NO_MESSAGE, AT_CONTENT, WELL),
    case("-f NOOP", "", ACCEPTED, GoesOn(&["NOOP: 500 5.3.0 no", "VRFY: 250 2.0.0 Ok", "RSET: 250 2.1.0 Ok", "QUIT"])),
    case("-f VRFY", "", ACCEPTED, GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 500 5.3.0 no", "RSET: 250 2.1.0 Ok", "QUIT"])),
    case("-f RSET", "", ACCEPTED, GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 250 2.0.0 Ok", "RSET: 500 5.3.0 no"])),
    case("-f QUIT", "", ACCEPTED, WELL),
    // No enhanced codes are offered, and the texts are others.
    case("-E -B '550 nobody here' -f RCPT", NO_RECIPIENTS, &["refused for good at RCPT: 550 nobody here"; 2], WELL),
    // A sender refused, and RSET too: nothing more can be begun.
    case("-f MAIL,RSET", NO_SENDER, AT_MAIL, Ends),
    // Refused for now.
    case("-r CONNECT", "the server refused the connection: 450 4.3.0 later", NOBODY, Ends),
    case("-r EHLO", "the server refused the hello: 450 4.3.0 later", NOBODY, Ends),
    case("-r MAIL", NO_SENDER_YET, YET_AT_MAIL, WELL),
    case("-r RCPT", NO_RECIPIENTS, YET_AT_RCPT, WELL),
    case("-r DATA", NO_MESSAGE_YET, YET_AT_DATA, WELL),
    case("-r .", NO_MESSAGE_YET, YET_AT_CONTENT, WELL),
    case(
        "-r NOOP",
        "",
        ACCEPTED,
        GoesOn(&["NOOP: 450 4.3.0 later", "VRFY: 250 2.0.0 Ok", "RSET: 250 2.1.0 Ok", "QUIT"]),
    ),
    case(
        "-r VRFY",
        "",
        ACCEPTED,
        GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 450 4.3.0 later", "RSET: 250 2.1.0 Ok", "QUIT"]),
    ),
    case("-r RSET", "", ACCEPTED, GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 250 2.0.0 Ok", "RSET: 450 4.3.0 later"])),
    case("-r QUIT", "", ACCEPTED, WELL),
    // Hung up without a reply.
    case("-q CONNECT", HUNG_UP, NOBODY, Ends),
    case("-q EHLO", HUNG_UP, NOBODY, Ends),
    case("-q MAIL", HUNG_UP, NOT_SENT, Ends),
    case("-q MAIL", HUNG_UP, NOT_SENT, Ends).in_lock_step(),
    case("-q RCPT", HUNG_UP, NOT_SENT, Ends),
    case("-q RCPT", HUNG_UP, NOT_SENT, Ends).in_lock_step(),
    case("-q DATA", HUNG_UP, NOT_SENT, Ends),
    case("-q DATA", HUNG_UP, NOT_SENT, Ends).in_lock_step(),
    case("-q .", HUNG_UP, IN_DOUBT, Ends),
    case("-q .", HUNG_UP, IN_DOUBT, Ends).in_lock_step(),
    case("-q NOOP", "", ACCEPTED, GoesOn(&["NOOP: the server closed the connection"])),
    case("-q VRFY", "", ACCEPTED, GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: the server closed the connection"])),
    case(
        "-q RSET",
        "",
        ACCEPTED,
        GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 250 2.0.0 Ok", "RSET: the server closed the connection"]),
    ),
    case("-q QUIT", "", ACCEPTED, WELL),
    // The program ends: at the end of the first message, or behind the first session, which is none of its business.
    case("-M 1", HUNG_UP, IN_DOUBT, Ends),
    case("-n 1", "", ACCEPTED, WELL),
    // 421, and hung up.
    case("-Q CONNECT", "the server refused the connection: 421 4.0.0 Server closing connection", NOBODY, Ends),
    case("-Q EHLO", "the server refused the hello: 421 4.0.0 Server closing connection", NOBODY, Ends),
    case("-Q MAIL", CLOSING_AT_MAIL, CLOSED_AT_MAIL, Ends),
    case("-Q MAIL", CLOSING_AT_MAIL, CLOSED_AT_MAIL, Ends).in_lock_step(),
    case("-Q RCPT", CLOSING_AT_RCPT, CLOSED_AT_RCPT, Ends),
    case("-Q RCPT", CLOSING_AT_RCPT, CLOSED_AT_RCPT, Ends).in_lock_step(),
    case("-Q DATA", CLOSING_AT_DATA, CLOSED_AT_DATA, Ends),
    case("-Q DATA", CLOSING_AT_DATA, CLOSED_AT_DATA, Ends).in_lock_step(),
    case("-Q .", CLOSING_AT_DATA, CLOSED_AT_CONTENT, Ends),
    case("-Q .", CLOSING_AT_DATA, CLOSED_AT_CONTENT, Ends).in_lock_step(),
    case("-Q NOOP", "", ACCEPTED, GoesOn(&["NOOP: 421 4.0.0 Server closing connection"])),
    case("-Q VRFY", "", ACCEPTED, GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 421 4.0.0 Server closing connection"])),
    case(
        "-Q RSET",
        "",
        ACCEPTED,
        GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 250 2.0.0 Ok", "RSET: 421 4.0.0 Server closing connection"]),
    ),
    case("-Q QUIT", "", ACCEPTED, WELL),
    // LMTP.
    case("-L -f LHLO", "the server refused the hello: 500 5.3.0 no", NOBODY, Ends),
    case("-L -r LHLO", "the server refused the hello: 450 4.3.0 later", NOBODY, Ends),
    case("-L -q LHLO", HUNG_UP, NOBODY, Ends),
    case("-L -Q LHLO", "the server refused the hello: 421 4.0.0 Server closing connection", NOBODY, Ends),
    case("-L -f MAIL", NO_SENDER, AT_MAIL, WELL),
    case("-L -f RCPT", NO_RECIPIENTS, AT_RCPT, WELL),
    case("-L -f DATA", NO_MESSAGE, AT_DATA, WELL),
    case("-L -f .", NO_MESSAGE, AT_CONTENT, WELL),
    case("-L -r .", NO_MESSAGE_YET, YET_AT_CONTENT, WELL),
    case("-L -q DATA", HUNG_UP, NOT_SENT, Ends),
    case("-L -q .", HUNG_UP, IN_DOUBT, Ends),
    case("-L -Q RCPT", CLOSING_AT_RCPT, CLOSED_AT_RCPT, Ends),
    case("-L -Q DATA", CLOSING_AT_DATA, CLOSED_AT_DATA, Ends),
    case("-L -Q .", CLOSING_AT_DATA, CLOSED_BETWEEN, Ends),
    case("-L -A 0", VIOLATES, VIOLATED, Ends).large(),
    // Refused amid the content, and no more of it is read. A small message may be at its end by then, which is another case.
    case("-A 0", VIOLATES, VIOLATED, Ends).large(),
    case("-A 1 -T 1024", VIOLATES, VIOLATED, Ends).large(),
    // No more is read, for longer than the client waits or not.
    case("-A 20 -T 1024", "timed out waiting for the server to take the content", NOT_SENT, Ends).large().impatient(),
    case("-H 20 -T 1024", "timed out waiting for the server to take the content", NOT_SENT, Ends).large().impatient(),
    case("-H 1 -T 1024", "", ACCEPTED, WELL).lines(10_000),
    // Late replies.
    case("-p -w 1", "", ACCEPTED, WELL),
    case("-p -w 20", "timed out waiting for the go-ahead for the content", NOT_SENT, Ends).impatient(),
    case("-W CONNECT:1", "", ACCEPTED, WELL),
    case("-W CONNECT:20", "timed out waiting for the greeting", NOBODY, Ends).impatient(),
    case("-W EHLO:20", "timed out waiting for the reply to the hello", NOBODY, Ends).impatient(),
    case("-p -W MAIL:20", "timed out waiting for the reply to MAIL", NOT_SENT, Ends).impatient(),
    case("-p -W RCPT:20", "timed out waiting for the reply to RCPT", NOT_SENT, Ends).impatient(),
    case("-W .:20", "timed out waiting for the reply to the content", IN_DOUBT, Ends).impatient(),
    case("-L -W .:20", "timed out waiting for the reply to the content", IN_DOUBT, Ends).impatient(),
    case("-W .:1:50", "", ACCEPTED, WELL),
    case("-W NOOP:20", "", ACCEPTED, GoesOn(&["NOOP: timed out waiting for the reply to a command"])).impatient(),
    case(
        "-W RSET:20",
        "",
        ACCEPTED,
        GoesOn(&["NOOP: 250 2.0.0 Ok", "VRFY: 250 2.0.0 Ok", "RSET: timed out waiting for the reply to a command"]),
    )
    .impatient(),
    case("-W QUIT:20", "", ACCEPTED, WELL).impatient(),
    // Hung up on a client that is silent.
    case("-t 2", "", ACCEPTED, EndsLater(HUNG_UP)).silent(),
];

const fn case(modes: &'static str, error: &'static str, outcomes: &'static [&'static str], then: Then) -> Case {
    Case { modes, pipelining: true, patience: None, silence: Duration::ZERO, lines: 1, error, outcomes, then }
}

impl Case {
    const fn in_lock_step(self) -> Self {
        Self { pipelining: false, ..self }
    }

    const fn impatient(self) -> Self {
        Self { patience: Some(Duration::from_secs(3)), ..self }
    }

    const fn silent(self) -> Self {
        Self { silence: Duration::from_secs(5), ..self }
    }

    const fn lines(self, lines: usize) -> Self {
        Self { lines, ..self }
    }

    const fn large(self) -> Self {
        self.lines(LARGE)
    }

    /// Everything that is told, in order.
    pub(crate) fn told(&self) -> Vec<String> {
        let line = |(name, outcome): (&str, &&str)| format!("<{name}@x> {outcome}");
        let error = |error: &str| (!error.is_empty()).then(|| error.to_owned());
        let mut told: Vec<String> = error(self.error).into_iter().collect();
        told.extend(["a", "b"].into_iter().zip(self.outcomes).map(line));
        match self.then {
            Ends => {}
            GoesOn(commands) => {
                told.extend(error(self.error));
                told.extend(self.outcomes.first().map(|outcome| line(("c", outcome))));
                told.extend(commands.iter().map(ToString::to_string));
            }
            EndsLater(error) => told.push(error.into()),
        }
        told
    }
}
