//! A small mail server on the loopback interface that keeps what it gets, for demonstrations and tests.
//!
//! It shares no code with the client it is there to test. Recipients decide their own fate: `refused@` anything is 550,
//! `later@` is 451, `greylisted@` is that the first time, everybody else is accepted. A message for `full@` is refused by
//! 452 after its content, which by LMTP concerns nobody else. The first message for `cut@` is cut off before its content; one
//! for `silent@` is kept, and the connection ends without a word of that.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
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
    /// The Unix socket, if it is at one.
    path: Option<PathBuf>,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    lmtp: bool,
    stopping: AtomicBool,
    stored: Mutex<Vec<Stored>>,
    /// The recipients who were there before, of those to whom that matters.
    seen: Mutex<HashSet<String>>,
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
                let serve = move |stream: TcpStream| {
                    stream.set_nodelay(true)?;
                    Session::new(&shared, stream).run()
                };
                std::thread::spawn(move || stream.and_then(serve));
            }
        });
        Ok(Self { address, path: None, shared, acceptor: Some(acceptor) })
    }

    /// Starts an LMTP server at a Unix socket, where there are such, and says where it is.
    ///
    /// # Errors
    ///
    /// When the one or the other cannot be listened on.
    pub fn lmtp_local() -> io::Result<(Self, String)> {
        let server = Self::lmtp()?;
        #[cfg(unix)]
        {
            let path = std::env::temp_dir().join(format!("loopback-{}", server.address().port()));
            let target = path.display().to_string();
            Ok((server.also_at(&path)?, target))
        }
        #[cfg(not(unix))]
        {
            let target = server.address().to_string();
            Ok((server, target))
        }
    }

    /// Listens at a Unix socket, too, which it makes and removes.
    #[cfg(unix)]
    fn also_at(mut self, path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || stream.and_then(|stream| Session::new(&shared, stream).run()));
            }
        });
        self.path = Some(path.into());
        Ok(self)
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
        #[cfg(unix)]
        if let Some(path) = &self.path {
            let _ = UnixStream::connect(path);
            let _ = std::fs::remove_file(path);
        }
    }
}

struct Session<'a, S> {
    shared: &'a Shared,
    reader: BufReader<S>,
    from: Option<String>,
    to: Vec<String>,
    /// What has come by BDAT so far.
    chunks: Option<Vec<u8>>,
}

impl<'a, S: Read + Write> Session<'a, S> {
    fn new(shared: &'a Shared, stream: S) -> Self {
        Self { shared, reader: BufReader::new(stream), from: None, to: Vec::new(), chunks: None }
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
                "DATA" if self.has("cut") && self.is_new("cut") => return Ok(()),
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
            Some(path) if path.starts_with("greylisted@") && self.is_new(path) => self.say("451 4.7.1 greylisted"),
            Some(_) => {
                self.to.push(argument.into());
                self.say("250 2.1.5 recipient ok")
            }
            None => self.say("501 5.5.4 syntax"),
        }
    }

    /// Whether a recipient is called so.
    fn has(&self, name: &str) -> bool {
        self.to.iter().any(|to| is_for(to, name))
    }

    /// Whether nobody asked for this before.
    fn is_new(&self, what: &str) -> bool {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(what.into())
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
        let silent = self.has("silent");
        let (from, all) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        let replies = if self.shared.lmtp { all.len() } else { 1 };
        let full: Vec<bool> = all.iter().map(|to| is_for(to, "full")).collect();
        let refused = !self.shared.lmtp && full.contains(&true);
        let to: Vec<_> = all.into_iter().filter(|to| !refused && !is_for(to, "full")).collect();
        let number = {
            let mut stored = self.shared.stored.lock().unwrap_or_else(PoisonError::into_inner);
            if !to.is_empty() {
                stored.push(Stored { from, to, content });
            }
            stored.len()
        };
        if silent {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        full.into_iter().take(replies).try_for_each(|full| match refused || full {
            true => self.say("452 4.2.2 mailbox full"),
            false => self.say(&format!("250 2.0.0 stored as message {number}")),
        })
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

/// Whether the argument of a RCPT names somebody called so.
fn is_for(to: &str, name: &str) -> bool {
    to.get(4..).and_then(|path| path.strip_prefix(name)).is_some_and(|rest| rest.starts_with('@'))
}
