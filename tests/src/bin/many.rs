//! Ten thousand sessions in one process, by Tokio: what each holds in memory, and how fast they send a message each.
//!
//! The server is a process of its own, so that only the client is measured. It gives nobody leave to send content before
//! everybody has asked for it: all the transactions are open at once, however fast a single one would be.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use smtp_proto::{
    Config, Connection, ForwardPath, HelloName, ReversePath, Security, Setup, Step, Time, TlsMode, TlsPolicy,
    Transaction,
};
use smtp_tokio::{Client, Options, Transport};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::task::{JoinSet, spawn_blocking};

/// Opens many sessions at once, lets them idle, and sends one message by each.
#[derive(Parser)]
struct Arguments {
    /// How many sessions.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// How many octets are in a message.
    #[arg(long, default_value_t = 10_000)]
    octets: usize,
    #[arg(long, hide = true)]
    part: Option<Part>,
}

/// What a process does that this program starts of itself.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Be the server.
    Sink,
    /// Measure the state machines alone. The memory of a process that had sockets before would say little about them.
    Machines,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Files that are open besides the connections, with room to spare.
const OTHER_FILES: u64 = 100;

/// Connections that are begun at the same time. Whoever finds the server's queue full tries again only after a second.
const AT_A_TIME: usize = 500;

const GREETING: &[u8] = b"220 sink.example ESMTP\r\n";
const HELLO: &[u8] = b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n\
    250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.part {
        None => run(&arguments),
        Some(Part::Sink) => sink(arguments.connections),
        Some(Part::Machines) => machines(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("many: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: &Arguments) -> Result<()> {
    let count = arguments.connections;
    let files = count as u64 + OTHER_FILES;
    let limit = rlimit::increase_nofile_limit(files)?;
    if limit < files {
        return Err(format!("{files} open files are needed, and a process may have {limit} (ulimit -Hn)").into());
    }
    let mut machines = start(Part::Machines, arguments)?;
    let machine = first_line(&mut machines)?;
    machines.wait()?;
    let mut sink = start(Part::Sink, arguments)?;
    let address = first_line(&mut sink)?;
    let message: Arc<[u8]> = message(arguments.octets).into();

    let before = memory("VmRSS")?;
    let started = Instant::now();
    let clients = open(&address, count).await?;
    println!("connections: {count}, opened in {:.1} s", started.elapsed().as_secs_f64());
    println!("memory per idle connection: {}", each(memory("VmRSS")?.saturating_sub(before), count));

    let started = Instant::now();
    let sending = each_at_once(clients, |mut client| {
        let message = Arc::clone(&message);
        async move {
            client.send(transaction()?, &message[..]).await?;
            Ok(client)
        }
    });
    let (clients, failures) = sending.await?;
    let seconds = started.elapsed().as_secs_f64();
    println!("memory per busy connection, at peak: {}", each(memory("VmHWM")?.saturating_sub(before), count));
    println!("of that the state machine alone: {machine}");
    let accepted = clients.len();
    println!("messages: {accepted} in {seconds:.1} s, {:.0} per second", accepted as f64 / seconds);
    let (left, quit_failures) = each_at_once(clients, async |client| Ok(client.quit().await?)).await?;

    drop(sink.stdin.take()); // which tells it to count
    let counted = first_line(&mut sink)?;
    sink.wait()?;
    println!("the server has seen: {counted}");
    if let Some(error) = failures.into_iter().chain(quit_failures).next() {
        return Err(error);
    }
    if (left.len(), counted) != (count, seen(count, count)) {
        return Err("the server has not seen all of it".into());
    }
    Ok(())
}

/// What the server says at its end.
fn seen(messages: usize, at_once: usize) -> String {
    format!("{messages} messages, {at_once} connections at once")
}

/// As many sessions, idle after the hello.
async fn open(address: &str, count: usize) -> Result<Vec<Client<Transport>>> {
    let options = Options::smtp().hello_name(HelloName::parse("client.example")?).tls_mode(TlsMode::None);
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let mut opening = JoinSet::new();
        for _ in 0..AT_A_TIME.min(count - clients.len()) {
            let (address, options) = (address.to_owned(), options.clone());
            opening.spawn(async move { Client::connect(&address, options).await });
        }
        while let Some(client) = opening.join_next().await {
            clients.push(client??);
        }
    }
    Ok(clients)
}

/// Does the same with each, all at once. What came of it, and what went wrong.
async fn each_at_once<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    clients: Vec<Client<Transport>>,
    act: impl Fn(Client<Transport>) -> F,
) -> Result<(Vec<T>, Vec<Box<dyn Error + Send + Sync>>)> {
    let mut acting: JoinSet<_> = clients.into_iter().map(act).collect();
    let (mut done, mut failed) = (Vec::with_capacity(acting.len()), Vec::new());
    while let Some(result) = acting.join_next().await {
        match result? {
            Ok(value) => done.push(value),
            Err(error) => failed.push(error),
        }
    }
    Ok((done, failed))
}

fn transaction() -> Result<Transaction> {
    Ok(Transaction::new(ReversePath::parse("me@client.example")?).to(ForwardPath::parse("you@sink.example")?))
}

fn message(octets: usize) -> Vec<u8> {
    b"Subject: one of many\r\n\r\n".iter().chain(b"0123456789abcdef\r\n".iter().cycle()).copied().take(octets).collect()
}

/// Starts this program for a part of its own.
fn start(part: Part, arguments: &Arguments) -> Result<Child> {
    let part = part.to_possible_value().ok_or("a part without a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--part", part.get_name(), "--connections", &arguments.connections.to_string()]);
    command.args(["--octets", &arguments.octets.to_string()]);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// The next line that a process prints.
fn first_line(child: &mut Child) -> Result<String> {
    let mut line = String::new();
    // One octet at a time, so that nothing behind the line is lost; there is little of it.
    let output = child.stdout.as_mut().ok_or("no output to read")?;
    io::BufReader::with_capacity(1, output).read_line(&mut line)?;
    if line.is_empty() { Err("a part has ended too soon".into()) } else { Ok(line.trim_end().into()) }
}

/// What this process holds of the system's memory, in octets: now (VmRSS) or at most so far (VmHWM).
fn memory(what: &str) -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kibibytes: usize = line.and_then(|line| line.split_whitespace().next()).ok_or("no such line")?.parse()?;
    Ok(kibibytes * 1024)
}

fn each(octets: usize, count: usize) -> String {
    format!("{:.1} KiB", octets as f64 / count as f64 / 1024.0)
}

/// The state machines without sockets: after the hello, and with as much content as they take and nobody transmits.
fn machines(arguments: &Arguments) -> Result<()> {
    let now = Time::default();
    let hear = |machine: &mut Connection, replies: &[u8]| {
        machine.handle_transmitted(usize::MAX, now);
        machine.handle_input(replies, now);
    };
    let message = message(arguments.octets);
    let before = memory("VmRSS")?;
    let mut machines = Vec::with_capacity(arguments.connections);
    for _ in 0..arguments.connections {
        let mut setup = Setup::new(TlsPolicy::None, None);
        let mut config = Config::smtp(HelloName::parse("client.example")?);
        setup.configure(&mut config, Security::Plaintext);
        let mut machine = Connection::new(config, Security::Plaintext);
        let mut step = Step::Continue;
        for replies in [GREETING, HELLO] {
            hear(&mut machine, replies);
            while let Some(event) = machine.poll_event() {
                step = setup.advance(&mut machine, &event)?;
            }
        }
        if step != Step::Done {
            return Err("a state machine did not get ready".into());
        }
        machines.push(machine);
    }
    let idle = memory("VmRSS")?;
    for machine in &mut machines {
        machine.begin(transaction()?)?;
        hear(machine, b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
        while machine.poll_event().is_some() {}
        machine.body().ok_or("no content was asked for")?.write(&message)?;
    }
    let busy = memory("VmRSS")?;
    let [idle, busy] = [idle, busy].map(|octets| each(octets.saturating_sub(before), machines.len()));
    println!("{idle} idle, {busy} with content to be sent");
    Ok(())
}

/// The server: takes every message and keeps none. Prints where it listens, and at the end of its standard input what it
/// has seen.
#[tokio::main(flavor = "current_thread")]
async fn sink(connections: usize) -> Result<()> {
    let sink = Arc::new(Sink {
        messages: AtomicUsize::new(0),
        open: AtomicUsize::new(0),
        at_once: AtomicUsize::new(0),
        asked: Barrier::new(connections),
    });
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(2 * AT_A_TIME as u32)?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let accepting = Arc::clone(&sink);
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let sink = Arc::clone(&accepting);
                    tokio::spawn(async move { sink.serve(stream).await });
                }
                Err(error) => {
                    eprintln!("many: the server cannot accept: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
    spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    println!("{}", seen(sink.messages.load(Ordering::SeqCst), sink.at_once.load(Ordering::SeqCst)));
    Ok(())
}

struct Sink {
    messages: AtomicUsize,
    open: AtomicUsize,
    /// The most that were open at once.
    at_once: AtomicUsize,
    /// Passed when every connection has asked for leave to send.
    asked: Barrier,
}

impl Sink {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once.fetch_max(open, Ordering::SeqCst);
        let result = self.session(BufReader::with_capacity(1024, stream)).await;
        self.open.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn session(&self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        stream.get_ref().set_nodelay(true)?;
        stream.write_all(GREETING).await?;
        let (mut line, mut replies) = (Vec::new(), Vec::new());
        let mut content = false;
        loop {
            line.clear();
            if stream.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let reply: &[u8] = match line.get(..4).unwrap_or_default() {
                _ if content && line != b".\r\n" => continue,
                _ if content => {
                    content = false;
                    self.messages.fetch_add(1, Ordering::SeqCst);
                    b"250 2.0.0 taken\r\n"
                }
                b"EHLO" => HELLO,
                b"MAIL" | b"RCPT" => b"250 2.1.0 ok\r\n",
                b"DATA" => {
                    content = true;
                    self.asked.wait().await;
                    b"354 go ahead\r\n"
                }
                b"QUIT" => b"221 2.0.0 bye\r\n",
                _ => b"502 5.5.2 not here\r\n",
            };
            replies.extend_from_slice(reply);
            // Commands of one group are answered together.
            if stream.buffer().is_empty() {
                stream.write_all(&replies).await?;
                replies.clear();
            }
        }
    }
}
