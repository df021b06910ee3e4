//! A small mail server on the loopback interface that keeps what it gets, for demonstrations and tests.
//!
//! It shares no code with the client it is there to test. Recipients decide their own fate: `refused@` anything is 550,
//! `later@` is 451, everybody else is accepted.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A message as the server got it: by DATA line ends CRLF, no stuffed dots, no terminator; by BDAT the octets of all chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The argument of MAIL, parameters included.
    pub from: String,
    /// The argument of each RCPT that was accepted.
    pub to: Vec<String>,
    /// The content.
    pub content: Vec<u8>,
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct Loopback {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    lmtp: bool,
    stopping: AtomicBool,
    stored: Mutex<Vec<Stored>>,
}

impl Loopback {
    /// Starts an SMTP server on a free port.
    ///
    /// # Errors
    ///
    /// When no port can be listened on.
    pub fn smtp() -> io::Result<Self> {
        Self::start(false)
    }

    /// Starts an LMTP server on a free port.
    ///
    /// # Errors
    ///
    /// When no port can be listened on.
    pub fn lmtp() -> io::Result<Self> {
        Self::start(true)
    }

    fn start(lmtp: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { lmtp, ..Shared::default() });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if for_acceptor.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&for_acceptor);
                // A session that breaks off is the client's business.
                let serve = move || stream.and_then(|stream| Session::new(&shared, stream)?.run()).ok();
                std::thread::spawn(serve);
            }
        });
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has got so far.
    pub fn stored(&self) -> Vec<Stored> {
        self.shared.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to stop.
        let woken = TcpStream::connect(self.address).is_ok();
        if let (true, Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

struct Session<'a> {
    shared: &'a Shared,
    reader: BufReader<TcpStream>,
    from: Option<String>,
    to: Vec<String>,
    /// What has come by BDAT so far.
    chunks: Option<Vec<u8>>,
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { shared, reader: BufReader::new(stream), from: None, to: Vec::new(), chunks: None })
    }

    fn run(&mut self) -> io::Result<()> {
        self.say("220 loopback.example ready")?;
        let mut line = Vec::new();
        while self.read_line(&mut line)? {
            let text = String::from_utf8_lossy(&line).into_owned();
            let (verb, argument) = text.split_once(' ').unwrap_or((&text, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" if !self.shared.lmtp => self.hello()?,
                "LHLO" if self.shared.lmtp => self.hello()?,
                "HELO" if !self.shared.lmtp => self.say("250 loopback.example")?,
                "MAIL" if self.from.is_some() => self.say("503 5.5.1 nested MAIL")?,
                "MAIL" => {
                    self.from = Some(argument.into());
                    self.say("250 2.1.0 sender ok")?;
                }
                "BDAT" => {
                    if !self.chunk(argument)? {
                        return Ok(());
                    }
                }
                "RCPT" | "DATA" if self.chunks.is_some() => self.say("503 5.5.1 BDAT is not at its end")?,
                "RCPT" => self.recipient(argument)?,
                "DATA" if self.to.is_empty() => self.say("554 5.5.1 no valid recipients")?,
                "DATA" => self.data()?,
                "RSET" => {
                    self.reset();
                    self.say("250 2.0.0 flushed")?;
                }
                "NOOP" => self.say("250 2.0.0 ok")?,
                "VRFY" => self.say("252 2.0.0 send some mail and see")?,
                "HELP" => self.say("214 2.0.0 see RFC 5321")?,
                "QUIT" => return self.say("221 2.0.0 bye"),
                _ => self.say("502 5.5.2 not implemented")?,
            }
        }
        Ok(())
    }

    fn hello(&mut self) -> io::Result<()> {
        self.reset();
        self.say("250-loopback.example")?;
        self.say("250-PIPELINING")?;
        self.say("250-8BITMIME")?;
        self.say("250-SMTPUTF8")?;
        self.say("250-CHUNKING")?;
        self.say("250-ENHANCEDSTATUSCODES")?;
        self.say("250 SIZE 52428800")
    }

    fn recipient(&mut self, argument: &str) -> io::Result<()> {
        match argument.to_ascii_lowercase().strip_prefix("to:<") {
            _ if self.from.is_none() => self.say("503 5.5.1 need MAIL first"),
            Some(path) if path.starts_with("refused@") => self.say("550 5.1.1 no such user here"),
            Some(path) if path.starts_with("later@") => self.say("451 4.2.1 mailbox busy, try again later"),
            Some(_) => {
                self.to.push(argument.into());
                self.say("250 2.1.5 recipient ok")
            }
            None => self.say("501 5.5.4 syntax"),
        }
    }

    fn data(&mut self) -> io::Result<()> {
        self.say("354 end with a dot on a line of its own")?;
        let mut content = Vec::new();
        let mut line = Vec::new();
        loop {
            if !self.read_line(&mut line)? {
                // The stream ended inside the message: it never was one.
                return Ok(());
            }
            if line == b"." {
                break;
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            content.extend_from_slice(b"\r\n");
        }
        self.store(content)
    }

    /// Takes a chunk (RFC 3030 section 2). Returns whether the session goes on, which it cannot where it is not known how
    /// many octets are content.
    fn chunk(&mut self, argument: &str) -> io::Result<bool> {
        let (size, last) = match argument.split_once(' ') {
            Some((size, last)) if last.eq_ignore_ascii_case("LAST") => (size, true),
            Some(_) => ("", false),
            None => (argument, false),
        };
        let Ok(size) = size.parse::<u64>() else {
            self.say("501 5.5.4 syntax")?;
            return Ok(false);
        };
        let mut content = self.chunks.take().unwrap_or_default();
        let before = content.len() as u64;
        self.reader.by_ref().take(size).read_to_end(&mut content)?;
        if content.len() as u64 - before < size {
            // The stream ended inside the message: it never was one.
            return Ok(false);
        }
        // The octets of a chunk come whether or not they are wanted.
        if self.to.is_empty() {
            self.say("503 5.5.1 no valid recipients")?;
        } else if last {
            self.store(content)?;
        } else {
            self.chunks = Some(content);
            self.say(&format!("250 2.0.0 {size} octets"))?;
        }
        Ok(true)
    }

    /// Keeps a message and says so to each of its recipients, if that is how it is done.
    fn store(&mut self, content: Vec<u8>) -> io::Result<()> {
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        let replies = if self.shared.lmtp { to.len() } else { 1 };
        let number = {
            let mut stored = self.shared.stored.lock().unwrap_or_else(PoisonError::into_inner);
            stored.push(Stored { from, to, content });
            stored.len()
        };
        (0..replies).try_for_each(|_| self.say(&format!("250 2.0.0 stored as message {number}")))
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
        self.chunks = None;
    }

    /// Reads a line without its CRLF. A bare CR or LF is part of it.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        while self.reader.read_until(b'\n', line)? > 0 {
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.reader.get_mut().write_all(format!("{line}\r\n").as_bytes())
    }
}
