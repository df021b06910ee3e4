//! A transcript against the Tokio driver, over a stream without sockets.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use smtp_proto::sasl::ChannelBindings;
use smtp_proto::{CloseReason, Event, Security};
use smtp_tokio::{Client, Error};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadBuf};

use crate::app::{closed_line, report_lines, tell_error};
use crate::peer::{Due, Peer, Pieces};
use crate::script::{Message, Script, Verb};

/// A stream whose other end is a transcript's server.
#[derive(Debug, Clone)]
struct ScriptedStream<'a> {
    peer: Rc<RefCell<Peer<'a>>>,
    output: Pieces,
}

impl AsyncRead for ScriptedStream<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut peer = self.peer.borrow_mut();
        match peer.due() {
            Due::Octets(octets) => {
                let length = octets.len().min(buffer.remaining());
                buffer.put_slice(&octets[..length]);
                peer.send(length);
                Poll::Ready(Ok(()))
            }
            Due::Eof => Poll::Ready(Ok(())),
            // Whoever waits for more waits for ever; only a deadline ends that.
            Due::Nothing => Poll::Pending,
        }
    }
}

impl AsyncWrite for ScriptedStream<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let Self { peer, output } = self.get_mut();
        let mut peer = peer.borrow_mut();
        let length = output.next(peer.received.len(), octets);
        peer.receive(&octets[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the client sent, what the application was told, by act, and what the client said too early. The stream ends behind
/// `cut` octets of the server's.
///
/// # Panics
///
/// When there is no runtime to be had.
pub fn run(
    script: &Script,
    input: Pieces,
    output: Pieces,
    cut: Option<usize>,
) -> (Vec<u8>, Vec<Vec<String>>, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(act_all(script, input, output, cut))
}

async fn act_all(
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
        let upgrade = async |stream| match peer.borrow_mut().handshake() {
            true => Ok((stream, ChannelBindings::default())),
            false => Err("no handshake"),
        };
        Client::start_tls(stream, config, setup, upgrade).await
    } else {
        Client::start(stream, Security::Plaintext, config, setup).await
    };
    match client {
        Ok(client) => {
            told.push(Vec::new());
            act(script, client, &peer, &mut told).await;
        }
        Err(error) => told.push(vec![format!("failed: {error}")]),
    }
    let peer = peer.borrow();
    (peer.received.clone(), told, peer.early.clone())
}

async fn act<'a>(
    script: &Script,
    client: Client<ScriptedStream<'a>>,
    peer: &RefCell<Peer<'a>>,
    told: &mut Vec<Vec<String>>,
) {
    let mut client = Some(client);
    let mut closed = false;
    for act in script.acts.iter().skip(1) {
        let mut lines = Vec::new();
        peer.borrow_mut().acts += 1;
        let Some(session) = &mut client else { return };
        let reply = |reply: smtp_proto::Reply| vec![format!("reply: {reply}")];
        let report = |report: smtp_proto::Report| report_lines(&report).collect();
        let result: Result<Vec<String>, Error> = match &act.verb {
            Verb::Send(transaction, message) => session.send(transaction.clone(), reader(message)).await.map(report),
            Verb::Data(message) => session.data(reader(message)).await.map(report),
            Verb::Bdat(message) => session.bdat(reader(message)).await.map(report),
            Verb::Burl(url) => session.burl(url).await.map(report),
            Verb::Mail(transaction) => session.mail(transaction.clone()).await.map(reply),
            Verb::Rcpt(recipient) => session.rcpt(recipient.clone()).await.map(reply),
            Verb::Ehlo => session.ehlo().await.map(reply),
            Verb::Helo => session.helo().await.map(reply),
            Verb::Noop => session.noop().await.map(reply),
            Verb::Reset => session.reset().await.map(reply),
            Verb::Line(line) => session.command(line).await.map(reply),
            Verb::XClient(original) => session.xclient(original).await.map(reply),
            Verb::StartTls => starttls(session, peer).await,
            Verb::Start => Ok(Vec::new()),
            Verb::Wait => {
                while !matches!(session.next_event().await, Ok(Event::Closed(_)) | Err(_)) {}
                Ok(Vec::new())
            }
            Verb::Quit => {
                let session = client.take().expect("it was there a moment ago");
                match session.quit().await {
                    Ok(()) => lines.push(closed_line(&CloseReason::Quit)),
                    Err(error) => tell_error(&error, closed, &mut lines),
                }
                told.push(lines);
                continue;
            }
        };
        match result {
            Ok(heard) => lines.extend(heard),
            Err(error) => tell_error(&error, closed, &mut lines),
        }
        if let (Some(reason), false) = (session.connection().close_reason(), closed) {
            lines.push(closed_line(reason));
            closed = true;
        }
        told.push(lines);
    }
}

async fn starttls<'a>(
    session: &mut Client<ScriptedStream<'a>>,
    peer: &RefCell<Peer<'a>>,
) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    if let Err(error) = session.connection_mut().starttls() {
        return match session.connection().close_reason() {
            Some(reason) => Err(Error::closed(reason.clone(), None, None)),
            None => Err(error.into()),
        };
    }
    loop {
        match session.next_event().await {
            Ok(Event::UpgradeTls) => {
                lines.push("upgrade".into());
                match peer.borrow_mut().handshake() {
                    true => session.connection_mut().handle_tls_established()?,
                    false => session.connection_mut().abort(),
                }
            }
            Ok(Event::Ready) => return Ok(lines),
            Ok(Event::Reply(reply)) => {
                lines.push(format!("reply: {reply}"));
                return Ok(lines);
            }
            Ok(_) => {}
            Err(_) => return Ok(lines),
        }
    }
}

/// Reads the message, and fails behind it if that is wanted.
fn reader(message: &Message) -> impl AsyncBufRead + Unpin {
    struct Fail(bool);
    impl AsyncRead for Fail {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(if self.0 { Err(io::Error::other("unreadable")) } else { Ok(()) })
        }
    }
    BufReader::new(message.octets.as_slice().chain(Fail(message.unreadable)))
}
