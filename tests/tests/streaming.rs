//! A gibibyte through the blocking driver, in the memory of an ordinary message. Alone in its process, because it looks
//! at the process as a whole.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use smtp_blocking::{Client, Options};
use smtp_conformance::lab::transaction;

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
        self.consume(length);
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

// memory does not grow with the message.
#[test]
fn a_gibibyte_in_flat_memory() {
    const SIZE: u64 = 1 << 30;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        reader.get_mut().write_all(b"220 hi\r\n").unwrap();
        let mut counts = Vec::new();
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 0 {
            if line.starts_with("DATA") {
                reader.get_mut().write_all(b"354 go\r\n").unwrap();
                counts.push(swallow(reader.get_mut()));
            }
            reader.get_mut().write_all(b"250 ok\r\n").unwrap();
            line.clear();
        }
        counts
    });
    let lines: &'static [u8] = b"sixty-four octets of text, line end included, come again here\r\n".repeat(1024).leak();
    let mut client = Client::connect(&target, Options::smtp()).unwrap();
    // A message of 16 MiB first, so that everything that is ever needed is there.
    client.send(transaction(1), Lines { left: 16 << 20, line: lines }).unwrap();
    let before = peak();
    assert!(client.send(transaction(1), Lines { left: SIZE, line: lines }).unwrap().is_complete_success());
    let grown = peak() - before;
    client.quit().unwrap();
    // A line may be cut at the end of the size asked for; then it is ended.
    assert!(server.join().unwrap()[1] >= SIZE);
    assert!(grown <= 1 << 20, "{grown} octets more than for a small message");
}
