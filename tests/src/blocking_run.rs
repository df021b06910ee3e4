//! A transcript against the blocking driver, over a stream without sockets.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use smtp_blocking::{Client, Error, Stream};
use smtp_proto::sasl::ChannelBindings;
use smtp_proto::{Event, Security};

use crate::app::{closed_line, report_lines, tell_error};
use crate::peer::{Due, Peer, Pieces};
use crate::script::{Message, Script, Verb};

/// A stream whose other end is a transcript's server.
#[derive(Debug, Clone)]
struct ScriptedStream<'a> {
    peer: Rc<RefCell<Peer<'a>>>,
    output: Pieces,
}

impl Read for ScriptedStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::other("the client waits for a server that waits for the client"))
            }
            result => result,
        }
    }
}

impl Write for ScriptedStream<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut peer = self.peer.borrow_mut();
        let length = self.output.next(peer.received.len(), octets);
        peer.receive(&octets[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for ScriptedStream<'_> {
    fn set_timeouts(&mut self, _read: Option<Duration>, _write: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut peer = self.peer.borrow_mut();
        match peer.due() {
            Due::Octets(octets) => {
                let length = octets.len().min(buffer.len());
                buffer[..length].copy_from_slice(&octets[..length]);
                peer.send(length);
                Ok(length)
            }
            Due::Eof => Ok(0),
            Due::Nothing => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// What the client sent, what the application was told, by act, and what the client said too early. The stream ends behind
/// `cut` octets of the server's.
pub fn run(
    script: &Script,
    input: Pieces,
    output: Pieces,
    cut: Option<usize>,
) -> (Vec<u8>, Vec<Vec<String>>, Option<String>) {
    let peer = Rc::new(RefCell::new(Peer::new(script, input).cut(cut)));
    let stream = ScriptedStream { peer: Rc::clone(&peer), output };
    let mut told = Vec::new();
    let (config, setup) = (script.config.clone(), script.setup());
    let client = if script.tls {
        Client::start_tls(stream, config, setup, |stream| match peer.borrow_mut().handshake() {
            true => Ok((stream, ChannelBindings::default())),
            false => Err("no handshake"),
        })
    } else {
        Client::start(stream, Security::Plaintext, config, setup)
    };
    match client {
        Ok(client) => {
            told.push(Vec::new());
            act(script, client, &peer, &mut told);
        }
        Err(error) => told.push(vec![format!("failed: {error}")]),
    }
    let peer = peer.borrow();
    (peer.received.clone(), told, peer.early.clone())
}

fn act<'a>(script: &Script, client: Client<ScriptedStream<'a>>, peer: &RefCell<Peer<'a>>, told: &mut Vec<Vec<String>>) {
    let mut client = Some(client);
    let mut closed = false;
    for act in script.acts.iter().skip(1) {
        let mut lines = Vec::new();
        peer.borrow_mut().acts += 1;
        let Some(session) = &mut client else { return };
        let result = match &act.verb {
            Verb::Send(transaction, message) => {
                session.send(transaction.clone(), reader(message)).map(|report| lines.extend(report_lines(&report)))
            }
            Verb::Data(message) => session.data(reader(message)).map(|report| lines.extend(report_lines(&report))),
            Verb::Bdat(message) => session.bdat(reader(message)).map(|report| lines.extend(report_lines(&report))),
            Verb::Burl(url) => session.burl(url).map(|report| lines.extend(report_lines(&report))),
            Verb::Mail(transaction) => {
                session.mail(transaction.clone()).map(|reply| lines.push(format!("reply: {reply}")))
            }
            Verb::Rcpt(recipient) => session.rcpt(recipient.clone()).map(|reply| lines.push(format!("reply: {reply}"))),
            Verb::Ehlo => session.ehlo().map(|reply| lines.push(format!("reply: {reply}"))),
            Verb::Helo => session.helo().map(|reply| lines.push(format!("reply: {reply}"))),
            Verb::Noop => session.noop().map(|reply| lines.push(format!("reply: {reply}"))),
            Verb::Reset => session.reset().map(|reply| lines.push(format!("reply: {reply}"))),
            Verb::Line(line) => session.command(line).map(|reply| lines.push(format!("reply: {reply}"))),
            Verb::XClient(original) => session.xclient(original).map(|reply| lines.push(format!("reply: {reply}"))),
            Verb::StartTls => starttls(session, peer, &mut lines),
            Verb::Start => Ok(()),
            Verb::Wait => loop {
                match session.next_event() {
                    Ok(Event::Closed(_)) | Err(_) => break Ok(()),
                    Ok(_) => {}
                }
            },
            Verb::Quit => {
                match client.take().map(Client::quit) {
                    Some(Ok(())) => lines.push(closed_line(&smtp_proto::CloseReason::Quit)),
                    Some(Err(error)) => tell_error(&error, closed, &mut lines),
                    None => {}
                }
                told.push(lines);
                continue;
            }
        };
        if let Err(error) = result {
            tell_error(&error, closed, &mut lines);
        }
        if let (Some(reason), false) = (session.connection().close_reason(), closed) {
            lines.push(closed_line(reason));
            closed = true;
        }
        told.push(lines);
    }
}

fn starttls<'a>(
    session: &mut Client<ScriptedStream<'a>>,
    peer: &RefCell<Peer<'a>>,
    lines: &mut Vec<String>,
) -> Result<(), Error> {
    session.connection_mut().starttls()?;
    loop {
        match session.next_event()? {
            Event::UpgradeTls => {
                lines.push("upgrade".into());
                match peer.borrow_mut().handshake() {
                    true => session.connection_mut().handle_tls_established()?,
                    false => session.connection_mut().abort(),
                }
            }
            Event::Ready => return Ok(()),
            Event::Reply(reply) => {
                lines.push(format!("reply: {reply}"));
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Reads the message, and fails behind it if that is wanted.
fn reader(message: &Message) -> impl BufRead {
    struct Fail(bool);
    impl Read for Fail {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            if self.0 { Err(io::Error::other("unreadable")) } else { Ok(0) }
        }
    }
    BufReader::new(message.octets.as_slice().chain(Fail(message.unreadable)))
}
