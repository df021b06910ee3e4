//! A socket that moves little at a time, and a message that comes slowly or breaks off.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use turmoil::net::TcpStream;

use crate::dice::Dice;

/// A socket that takes and gives a piece at a time.
pub(super) struct Pieces {
    stream: TcpStream,
    dice: Dice,
    largest: usize,
    buffer: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(stream: TcpStream, dice: Dice, largest: usize) -> Self {
        Self { stream, dice, largest, buffer: vec![0; largest.min(16 * 1024)] }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let length = this.buffer.len().min(buffer.remaining());
        let mut piece = ReadBuf::new(&mut this.buffer[..length]);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
        buffer.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = this.dice.within(1 + this.largest / 2..=this.largest.max(2)).min(octets.len());
        Pin::new(&mut this.stream).poll_write(cx, &octets[..length])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// The octets of a message, as from a slow disk.
pub(super) struct Source {
    content: Vec<u8>,
    read: usize,
    piece: usize,
    pause: Duration,
    pausing: Option<Pin<Box<Sleep>>>,
    fails_at: Option<usize>,
}

impl Source {
    pub(super) fn new(content: Vec<u8>, piece: usize, pause: Duration, fails_at: Option<usize>) -> Self {
        Self { content, read: 0, piece, pause, pausing: None, fails_at }
    }
}

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.pause.is_zero() {
            let pause = self.pause;
            ready!(self.pausing.get_or_insert_with(|| Box::pin(sleep(pause))).as_mut().poll(cx));
            self.pausing = None;
        }
        if self.fails_at == Some(self.read) {
            return Poll::Ready(Err(io::Error::other("the message is gone")));
        }
        let end = self.fails_at.unwrap_or(self.content.len());
        let length = (end - self.read).min(self.piece).min(buffer.remaining());
        buffer.put_slice(&self.content[self.read..self.read + length]);
        self.read += length;
        Poll::Ready(Ok(()))
    }
}
