//! A gibibyte by DATA and by BDAT, in the memory of an ordinary message. Alone in its process, because
//! it looks at the process as a whole.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use smtp_conformance::lab::transaction;
use smtp_driver::Options;
use smtp_proto::Chunking;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// The most memory this process has ever had resident, in octets.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Reads content to its terminator and counts it, without looking at lines.
fn swallow(stream: &mut TcpStream) -> u64 {
    let mut buffer = vec![0; 256 * 1024];
    let mut tail = [0; 5];
    let mut count = 0;
    while tail != *b"\r\n.\r\n" {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the client hung up");
        count += length as u64;
        let last = &buffer[length.saturating_sub(5)..length];
        tail.rotate_left(last.len());
        tail[5 - last.len()..].copy_from_slice(last);
    }
    count
}

/// One session. Returns how many octets each message had.
fn serve(stream: TcpStream) -> Vec<u64> {
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    reader.get_mut().write_all(b"220 hi\r\n").unwrap();
    let (mut counts, mut chunks) = (Vec::new(), 0);
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 {
        let mut reply = "250 ok\r\n";
        if line.starts_with("EHLO") {
            reply = "250-hi\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
        } else if line.starts_with("DATA") {
            assert!(reader.buffer().is_empty(), "content before the go-ahead");
            reader.get_mut().write_all(b"354 go\r\n").unwrap();
            counts.push(swallow(reader.get_mut()));
        } else if let Some(size) = line.strip_prefix("BDAT ") {
            let (size, last) = size.trim_end().strip_suffix(" LAST").map_or((size, false), |size| (size, true));
            let mut chunk = reader.by_ref().take(size.trim_end().parse().unwrap());
            chunks += std::io::copy(&mut chunk, &mut std::io::sink()).unwrap();
            if last {
                counts.push(std::mem::take(&mut chunks));
            }
        }
        reader.get_mut().write_all(reply.as_bytes()).unwrap();
        line.clear();
    }
    counts
}

/// A message of `left` octets in lines, made up as it is read.
struct Lines {
    left: u64,
    line: &'static [u8],
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        BufRead::consume(self, length);
        Ok(length)
    }
}

impl BufRead for Lines {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.line.len());
        Ok(&self.line[..length])
    }

    fn consume(&mut self, length: usize) {
        self.left -= length as u64;
    }
}

impl AsyncRead for Lines {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let length = self.get_mut().read(buffer.initialize_unfilled())?;
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Lines {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<&[u8]>> {
        Poll::Ready(self.get_mut().fill_buf())
    }

    fn consume(self: Pin<&mut Self>, length: usize) {
        BufRead::consume(self.get_mut(), length);
    }
}

/// Sends a small message and a large one. Returns how much more memory the second one took.
type Run = fn(&str, Options, [Lines; 2]) -> u64;

/// Through the blocking driver.
fn blocking(target: &str, options: Options, [small, large]: [Lines; 2]) -> u64 {
    let mut client = smtp_blocking::Client::connect(target, options).unwrap();
    assert!(client.send(transaction(1), small).unwrap().is_complete_success());
    let before = peak();
    assert!(client.send(transaction(1), large).unwrap().is_complete_success());
    let grown = peak() - before;
    client.quit().unwrap();
    grown
}

/// Through Tokio's.
fn tokio(target: &str, options: Options, [small, large]: [Lines; 2]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = smtp_tokio::Client::connect(target, options).await.unwrap();
        assert!(client.send(transaction(1), small).await.unwrap().is_complete_success());
        let before = peak();
        assert!(client.send(transaction(1), large).await.unwrap().is_complete_success());
        let grown = peak() - before;
        client.quit().await.unwrap();
        grown
    })
}

// memory does not grow with the message. One session after the other, since memory is the process's. DATA is tried by
// one driver: what it does to the content is done in the core, and there is nothing left to differ in.
#[test]
fn a_gibibyte_in_flat_memory() {
    const SIZE: u64 = 1 << 30;
    const RUNS: [(&str, Run, Chunking); 3] = [
        ("blocking", blocking, Chunking::Needed),
        ("blocking", blocking, Chunking::Prefer),
        ("tokio", tokio, Chunking::Prefer),
    ];
    let line: &'static [u8] = b"sixty-four octets of text, line end included, come again here\r\n".repeat(1024).leak();
    for (driver, send, chunking) in RUNS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
        let options = Options::smtp().configure(|config| {
            config.chunking = chunking;
            if chunking == Chunking::Prefer {
                // Fewer and larger chunks than by default, so that a debug build is not busy with commands and replies.
                config.body_buffer = 256 * 1024;
            }
        });
        // A message of 16 MiB first, so that everything that is ever needed is there.
        let grown = send(&target, options, [16 << 20, SIZE].map(|left| Lines { left, line }));
        let received = server.join().unwrap()[1];
        match chunking {
            Chunking::Prefer => assert_eq!(received, SIZE),
            // A line may be cut at the end of the size asked for; then it is ended.
            _ => assert!(received >= SIZE),
        }
        assert!(grown <= 1 << 20, "{driver}, {chunking:?}: {grown} octets more than for a small message");
    }
}
