//! What the drivers add.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use smtp_conformance::lab::{smtp, transaction};
use smtp_proto::sasl::Credentials;
use smtp_proto::{Security, Setup, TlsPolicy};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, join, sink};
use tokio::runtime::Builder;

use crate::{CEILING, Gauge};

/// A server that answers so many flights properly, and then says the same for ever.
struct Flood {
    /// What it still says properly, the reply that is due first.
    replies: Vec<&'static [u8]>,
    flood: Vec<u8>,
    /// Octets that it has said of what is due.
    said: usize,
    /// Octets of the flood that are left, for want of infinity.
    left: usize,
}

impl Flood {
    fn new(replies: &[&'static [u8]], flood: &[u8]) -> Self {
        let replies = replies.iter().rev().copied().collect();
        Self { replies, flood: flood.repeat(65_536 / flood.len() + 1), said: 0, left: 20_000_000 }
    }

    /// Copies what comes next, as much as there is room for. Nothing comes while the client has to speak.
    fn say(&mut self, room: &mut [u8]) -> usize {
        let due = match self.replies.last() {
            Some(reply) => &reply[self.said..],
            None => &self.flood[..self.flood.len().min(self.left)],
        };
        let length = due.len().min(room.len());
        room[..length].copy_from_slice(&due[..length]);
        match self.replies.last() {
            Some(_) => self.said += length,
            None => self.left -= length,
        }
        length
    }

    /// A flight that ends calls for the next reply.
    fn hear(&mut self, octets: &[u8]) {
        let content = self.replies.last().is_some_and(|reply| reply.ends_with(b"354 go\r\n"));
        if octets.ends_with(if content { b".\r\n" } else { b"\r\n" }) {
            self.replies.pop();
            self.said = 0;
        }
    }
}

impl Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.say(buffer))
    }
}

impl Write for Flood {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.hear(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl smtp_blocking::Stream for Flood {
    fn set_timeouts(&mut self, _: Option<Duration>, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.say(buffer.initialize_unfilled());
        buffer.advance(length);
        let over = self.replies.is_empty() && self.left == 0;
        if length > 0 || over { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Flood {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.hear(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Everything that a server has to say properly to one message of an authenticated client.
const REPLIES: [&[u8]; 5] = [
    b"220 hi\r\n",
    b"250-x\r\n250-AUTH CRAM-MD5\r\n250 PIPELINING\r\n",
    b"334 PDE+\r\n",
    b"235 ok\r\n",
    b"250 ok\r\n250 ok\r\n354 go\r\n",
];

/// Floods a session from each of its replies on, and asserts that it fails within the ceiling.
fn flooded(run: impl Fn(Flood, Setup) -> bool) {
    let mut gauge = Gauge::new();
    let long = [b"-", &[b'x'; 2000][..], b"\r\n"].concat();
    for proper in 0..=REPLIES.len() {
        for line in [&b"-\r\n"[..], &long, b"0"] {
            for code in [b"250", b"334"] {
                let flood = Flood::new(&REPLIES[..proper], &[code, line].concat());
                let credentials = Credentials::password("user", "pencil").unwrap();
                let setup = Setup::new(TlsPolicy::None, Some(credentials));
                gauge.restart();
                assert!(!run(flood, setup), "behind {proper} replies, {code:?}");
                gauge.at_most(CEILING);
            }
        }
    }
}

// S-30, S-35, P-09: what a blocking client holds of a flood, wherever it comes.
#[test]
fn a_flooded_blocking_client() {
    flooded(|stream, setup| {
        let client = smtp_blocking::Client::start(stream, Security::Tls, smtp(), setup);
        client.is_ok_and(|mut client| client.send(transaction(1), &b"hello\r\n"[..]).is_ok())
    });
}

// S-30, S-35, P-09: what Tokio's holds.
#[test]
fn a_flooded_tokio_client() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    flooded(|stream, setup| {
        runtime.block_on(async {
            let client = smtp_tokio::Client::start(stream, Security::Tls, smtp(), setup).await;
            let Ok(mut client) = client else { return false };
            client.send(transaction(1), &b"hello\r\n"[..]).await.is_ok()
        })
    });
}

/// A task that is only counted.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

// What an idle client of Tokio's holds besides itself: its connection's part, nothing to read into, and no timer, which would
// keep the memory of the task that waited for it.
#[test]
fn an_idle_tokio_client() {
    let mut gauge = Gauge::new();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let task = Arc::new(Task);
    gauge.restart();
    let replies = AsyncReadExt::chain(&b"220 hi\r\n"[..], &b"250-x\r\n250 PIPELINING\r\n"[..]);
    let (stream, setup) = (join(replies, sink()), Setup::new(TlsPolicy::None, None));
    let mut connecting = Box::pin(smtp_tokio::Client::start(stream, Security::Plaintext, smtp(), setup));
    let polled = connecting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task))));
    let Poll::Ready(Ok(_client)) = polled else { panic!("all that the server has to say was there") };
    drop(connecting);
    let now = gauge.held();
    assert!(now <= 4 * 1024, "{now} octets held");
    assert_eq!(Arc::strong_count(&task), 1);
}
