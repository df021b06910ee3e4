//! Connections that are kept between messages: which ones may be used again, and what happens when one cannot.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smtp_conformance::lab::{smtp, transaction};
use smtp_proto::sasl::{Credentials, Secret};
use smtp_proto::{Outcome, Security, Setup, TlsPolicy};
use smtp_tokio::{Client, Pool};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// What a server does with a line.
enum Say {
    /// It answers.
    Reply(&'static str),
    /// It closes the stream.
    Close,
    /// It answers and closes the stream.
    Farewell(&'static str),
    /// It says nothing.
    Nothing,
}

/// The lines that came, with the number of their connection; `<eof>` when the client closed it.
type Heard = Arc<Mutex<Vec<(usize, String)>>>;

/// What a server says where it does not misbehave. Content is answered at its dot.
fn honest(line: &str) -> Say {
    match line.split([' ', ':']).next().unwrap_or_default() {
        "EHLO" => Say::Reply("250-server.example\r\n250-PIPELINING\r\n250 AUTH CRAM-MD5\r\n"),
        "DATA" => Say::Reply("354 go\r\n"),
        "QUIT" => Say::Farewell("221 bye\r\n"),
        "MAIL" | "RCPT" | "RSET" | "NOOP" | "." => Say::Reply("250 ok\r\n"),
        "HELP" => Say::Reply("214 no\r\n"),
        "AUTH" => Say::Reply("334 \r\n"),
        "*" => Say::Reply("501 cancelled\r\n"),
        _ => Say::Nothing,
    }
}

/// A pool whose servers do what `say` says: of the number of the connection, from 0, and the line.
fn pool(size: usize, say: impl Fn(usize, &str) -> Say + Send + Sync + 'static) -> (Pool<DuplexStream>, Heard) {
    let heard = Heard::default();
    let (say, noted) = (Arc::new(say), Arc::clone(&heard));
    let count = AtomicUsize::new(0);
    let pool = Pool::by(size, move || {
        let (stream, server) = duplex(4096);
        let connection = count.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(serve(server, connection, Arc::clone(&say), Arc::clone(&noted)));
        let mut config = smtp();
        config.danger_password_in_clear = true;
        Client::start(stream, Security::Plaintext, config, Setup::new(TlsPolicy::None, None))
    });
    (pool.unwrap(), heard)
}

async fn serve<F: Fn(usize, &str) -> Say>(stream: DuplexStream, connection: usize, say: Arc<F>, heard: Heard) {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"220 hi\r\n").await.unwrap();
    let mut line = String::new();
    loop {
        line.clear();
        let read = stream.read_line(&mut line).await;
        if !matches!(read, Ok(1..)) {
            heard.lock().unwrap().push((connection, "<eof>".into()));
            return;
        }
        heard.lock().unwrap().push((connection, line.trim_end().into()));
        let (reply, last) = match say(connection, line.trim_end()) {
            Say::Reply(reply) => (reply, false),
            Say::Farewell(reply) => (reply, true),
            Say::Close => ("", true),
            Say::Nothing => ("", false),
        };
        // The client may be gone.
        let _ = stream.get_mut().write_all(reply.as_bytes()).await;
        if last {
            return;
        }
    }
}

/// What one connection heard.
fn lines(heard: &Heard, connection: usize) -> Vec<String> {
    heard.lock().unwrap().iter().filter(|(index, _)| *index == connection).map(|(_, line)| line.clone()).collect()
}

fn connections(heard: &Heard) -> usize {
    heard.lock().unwrap().iter().map(|(index, _)| index + 1).max().unwrap_or_default()
}

const MESSAGE: &[u8] = b"Subject: hi\r\n";

/// One message as a connection hears it.
const SENT: [&str; 5] = ["MAIL FROM:<me@client.example>", "RCPT TO:<r0@x.example>", "DATA", "Subject: hi", "."];

// a connection that was left as it should be is used again, once the server has answered RSET; the last use ends with QUIT.
#[tokio::test(start_paused = true)]
async fn connections_are_used_again() {
    let (pool, heard) = pool(4, |_, line| honest(line));
    for _ in 0..3 {
        assert!(pool.send(transaction(1), MESSAGE).await.unwrap().is_complete_success());
    }
    pool.close_idle(Duration::from_secs(60)).await;
    assert_eq!(connections(&heard), 1);
    pool.close().await;
    let message = || SENT.iter().copied();
    let expected = ["EHLO client.example"].into_iter().chain(message()).chain(["RSET"]).chain(message());
    let expected: Vec<_> = expected.chain(["RSET"]).chain(message()).chain(["QUIT"]).collect();
    assert_eq!(lines(&heard, 0), expected);
    assert!(pool.send(transaction(1), MESSAGE).await.is_err(), "a closed pool makes none");
}

// the end of an idle connection, with a farewell or without, is noticed, and so is one that does not answer: another one is made.
#[tokio::test(start_paused = true)]
async fn ends_of_idle_connections_are_noticed() {
    for end in [
        |line: &str| if line == "." { Say::Farewell("250 ok\r\n") } else { honest(line) },
        |line: &str| if line == "." { Say::Farewell("250 ok\r\n421 too long idle\r\n") } else { honest(line) },
        |line: &str| if line == "RSET" { Say::Close } else { honest(line) },
        |line: &str| if line == "RSET" { Say::Reply("421 too long idle\r\n") } else { honest(line) },
        |line: &str| if line == "RSET" { Say::Reply("502 what?\r\n") } else { honest(line) },
        |line: &str| if line == "RSET" { Say::Nothing } else { honest(line) },
    ] {
        let (pool, heard) = pool(1, move |connection, line| if connection == 0 { end(line) } else { honest(line) });
        for _ in 0..3 {
            assert!(pool.send(transaction(1), MESSAGE).await.unwrap().is_complete_success());
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(connections(&heard), 2);
        assert_eq!(lines(&heard, 0).iter().filter(|line| *line == ".").count(), 1);
    }
}

// an idle connection that ends just when a message is begun on it is replaced once, and only while the server cannot have got
// any of the message. A fresh one is not.
#[tokio::test(start_paused = true)]
async fn stale_connections_are_replaced_once() {
    type Stale = fn(&str) -> Option<Say>;
    let cases: [(Stale, bool, bool); 6] = [
        (|line| line.starts_with("MAIL").then_some(Say::Close), true, false),
        (|line| line.starts_with("MAIL").then_some(Say::Farewell("421 closing\r\n")), true, false),
        (|line| line.starts_with("DATA").then_some(Say::Close), true, false),
        // Its end has left with it.
        (|line| (line == "Subject: hi").then_some(Say::Close), false, true),
        (|line| (line == ".").then_some(Say::Close), false, true),
        (|line| line.starts_with("MAIL").then_some(Say::Reply("550 go away\r\n")), false, false),
    ];
    for (stale, replaced, in_doubt) in cases {
        // Connection 0 serves one message and is stale at the next one.
        let served = Mutex::new(false);
        let (pool, heard) = pool(2, move |connection, line| {
            let second = *served.lock().unwrap();
            *served.lock().unwrap() |= line == ".";
            if connection == 0 && second { stale(line).unwrap_or_else(|| honest(line)) } else { honest(line) }
        });
        assert!(pool.send(transaction(1), MESSAGE).await.unwrap().is_complete_success());
        let result = pool.send(transaction(1), MESSAGE).await;
        assert_eq!(result.is_ok(), replaced);
        assert_eq!(connections(&heard), if replaced { 2 } else { 1 });
        assert_eq!(result.is_err_and(|error| error.may_have_been_accepted()), in_doubt);
    }
    let (pool, heard) = pool(2, |_, line| if line.starts_with("MAIL") { Say::Close } else { honest(line) });
    assert!(pool.send(transaction(1), MESSAGE).await.is_err());
    assert_eq!(connections(&heard), 1, "a fresh connection is not replaced");
}

// S-43, P-12: a message that was cut off closes its connection at once, without its end; the next one has another.
#[tokio::test(start_paused = true)]
async fn cut_messages_close_their_connection() {
    let (pool, heard) = pool(1, |_, line| if line == "DATA" { Say::Nothing } else { honest(line) });
    let sending = pool.send(transaction(1), MESSAGE);
    assert!(timeout(Duration::from_secs(1), sending).await.is_err());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(lines(&heard, 0)[1..], [SENT[0], SENT[1], SENT[2], "<eof>"]);
    let mut client = pool.get().await.unwrap();
    assert!(!client.was_idle());
    client.noop().await.unwrap();
    assert_eq!(lines(&heard, 1), ["EHLO client.example", "NOOP"]);
}

// R-08, S-53: what somebody left on a connection does not reach the next one: a transaction by hand, an exchange given up half-way, a
// login by hand.
#[tokio::test(start_paused = true)]
async fn what_was_left_is_not_passed_on() {
    let (pool, heard) = pool(1, |_, line| if line.len() > 60 { Say::Reply("235 welcome\r\n") } else { honest(line) });
    let mut client = pool.get().await.unwrap();
    client.mail(smtp_proto::Transaction::new(transaction(1).from().clone())).await.unwrap();
    drop(client);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(lines(&heard, 0)[2..], ["<eof>"]);

    let mut client = pool.get().await.unwrap();
    client.connection_mut().auth_manual("CRAM-MD5", None).unwrap();
    drop(client);
    let mut client = pool.get().await.unwrap();
    client.connection_mut().auth_manual("CRAM-MD5", None).unwrap();
    loop {
        match client.next_event().await.unwrap() {
            smtp_proto::Event::AuthChallenge(_) => {
                let response = Secret::from("a response by hand that is long enough to be taken for the right one");
                client.connection_mut().auth_respond(&response).unwrap();
            }
            smtp_proto::Event::Authenticated(_) => break,
            _ => {}
        }
    }
    drop(client);
    let client = pool.get().await.unwrap();
    assert!(!client.was_idle() && !client.connection().is_authenticated());
    assert_eq!(connections(&heard), 4);
}

// nor what somebody changed of the session itself, or listens to.
#[tokio::test(start_paused = true)]
async fn what_was_changed_is_not_passed_on() {
    let (pool, heard) =
        pool(1, |_, line| if line.starts_with("HELO") { Say::Reply("250 x\r\n") } else { honest(line) });
    let overheard = Arc::new(AtomicUsize::new(0));
    for change in 0..4 {
        let mut client = pool.get().await.unwrap();
        match change {
            0 => drop(client.helo().await.unwrap()),
            1 => client.connection_mut().set_hello_name(smtp_proto::HelloName::parse("other.example").unwrap()),
            2 => drop(client.command(&smtp_proto::CommandLine::help("").unwrap()).await),
            _ => {
                let overheard = Arc::clone(&overheard);
                client.set_transcript(move |_| {
                    overheard.fetch_add(1, Ordering::SeqCst);
                });
            }
        }
    }
    let mut client = pool.get().await.unwrap();
    assert!(!client.was_idle());
    client.noop().await.unwrap();
    assert_eq!((connections(&heard), overheard.load(Ordering::SeqCst)), (5, 0));
}

// a router that forgot all connections costs one wait and not one for each.
#[tokio::test(start_paused = true)]
async fn silent_connections_cost_one_wait() {
    let (pool, heard) =
        pool(9, |connection, line| if connection < 8 && line == "RSET" { Say::Nothing } else { honest(line) });
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(pool.get().await.unwrap());
    }
    drop(clients);
    let start = tokio::time::Instant::now();
    assert!(pool.send(transaction(1), MESSAGE).await.unwrap().is_complete_success());
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(connections(&heard), 9);
}

// a pool that is being closed gives out nothing, also while the farewells take their time and if nobody waits for them; and
// idleness counts from the last use.
#[tokio::test(start_paused = true)]
async fn closing() {
    let (first, heard) = pool(2, |_, line| if line == "QUIT" { Say::Nothing } else { honest(line) });
    drop(first.get().await.unwrap());
    {
        let closing = first.close();
        tokio::pin!(closing);
        assert!(timeout(Duration::from_secs(1), &mut closing).await.is_err());
        assert!(first.get().await.is_err());
    }
    assert!(first.get().await.is_err());
    assert_eq!(connections(&heard), 1);

    let (second, heard) = pool(2, |_, line| honest(line));
    let mut client = second.get().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    client.noop().await.unwrap();
    drop(client);
    second.close_idle(Duration::from_secs(30)).await;
    assert!(!lines(&heard, 0).contains(&"QUIT".to_owned()));
    sleep(Duration::from_secs(31)).await;
    second.close_idle(Duration::from_secs(30)).await;
    assert!(lines(&heard, 0).contains(&"QUIT".to_owned()));
}

// the credentials are part of what makes a pool: a session that they authenticated is used again, within it.
#[tokio::test(start_paused = true)]
async fn sessions_of_the_pools_own_credentials_are_used_again() {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let pool = Pool::by(2, move || {
        let (stream, server) = duplex(4096);
        counted.fetch_add(1, Ordering::SeqCst);
        let say = |_: usize, line: &str| if line.len() > 30 { Say::Reply("235 welcome\r\n") } else { honest(line) };
        tokio::spawn(serve(server, 0, Arc::new(say), Heard::default()));
        let credentials = Credentials::password("a user with a rather long name", "password").unwrap();
        Client::start(stream, Security::Plaintext, smtp(), Setup::new(TlsPolicy::None, Some(credentials)))
    });
    let pool = pool.unwrap();
    for idle in [false, true, true] {
        let client = pool.get().await.unwrap();
        assert_eq!((client.was_idle(), client.connection().is_authenticated()), (idle, true));
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

// there are never more connections than were asked for; whoever comes later waits.
#[tokio::test(start_paused = true)]
async fn a_pool_has_a_size() {
    let (pool, heard) = pool(3, |_, line| honest(line));
    let gate = Arc::new(Semaphore::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (pool, gate) = (pool.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                let mut client = pool.get().await.unwrap();
                let _open = gate.acquire().await.unwrap();
                client.send(transaction(1), MESSAGE).await.unwrap()
            })
        })
        .collect();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(connections(&heard), 3);
    gate.add_permits(20);
    for task in tasks {
        let report = task.await.unwrap();
        assert!(report.recipients().all(|(_, outcome)| matches!(outcome, Outcome::Accepted(_))));
    }
    assert_eq!(connections(&heard), 3);
    let ends = heard.lock().unwrap().iter().filter(|(_, line)| line == ".").count();
    assert_eq!(ends, 20);
}
