//! What any client could reach: octets made beforehand, written and answered without a library between.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use smtp_benches::{Job, Mode, Outcome, SENDER, WINDOW};

fn main() -> ExitCode {
    Job::main_in_threads(send)
}

fn send(job: &Job, messages: usize) -> Outcome {
    let mut wire = Wire::connect(job)?;
    let recipients: Vec<String> = job.to().map(|to| format!("RCPT TO:<{to}>\r\n")).collect();
    let mail = format!("MAIL FROM:<{SENDER}>\r\n");
    let envelope = format!("{mail}{}", recipients.concat());
    let replies = recipients.len() + 1;
    let content = job.content();
    let data = [&content[..], b".\r\n"].concat();

    match job.mode {
        Mode::LockStep => {
            for _ in 0..messages {
                wire.say(mail.as_bytes(), 1)?;
                for rcpt in &recipients {
                    wire.say(rcpt.as_bytes(), 1)?;
                }
                wire.say(b"DATA\r\n", 1)?;
                wire.say(&data, 1)?;
            }
        }
        Mode::Pipelined => {
            let envelope = format!("{envelope}DATA\r\n");
            for _ in 0..messages {
                wire.say(envelope.as_bytes(), replies + 1)?;
                wire.say(&data, 1)?;
            }
        }
        Mode::Chained => {
            let envelope = format!("{envelope}DATA\r\n");
            let next = [&data[..], envelope.as_bytes()].concat();
            wire.say(envelope.as_bytes(), replies + 1)?;
            for _ in 1..messages {
                wire.say(&next, replies + 2)?;
            }
            wire.say(&data, 1)?;
        }
        Mode::Bdat | Mode::Window => {
            let one = [format!("{envelope}BDAT {} LAST\r\n", content.len()).as_bytes(), &content].concat();
            let window = if job.mode == Mode::Window { WINDOW } else { 1 };
            let all = one.repeat(window);
            for _ in 0..messages / window {
                wire.say(&all, (replies + 1) * window)?;
            }
            let rest = messages % window;
            if rest > 0 {
                wire.say(&one.repeat(rest), (replies + 1) * rest)?;
            }
        }
    }
    wire.say(b"QUIT\r\n", 1)?;
    Ok(messages)
}

/// A connection on which all replies have one line but the one to EHLO, and all are taken for good ones: what the server
/// counts shows whether they were.
struct Wire {
    stream: TcpStream,
    buffer: Box<[u8]>,
}

impl Wire {
    fn connect(job: &Job) -> io::Result<Self> {
        let stream = TcpStream::connect(job.addr)?;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream, buffer: vec![0; 16 * 1024].into() };
        wire.hear(1)?;
        wire.stream.write_all(b"EHLO me.example.org\r\n")?;
        while !wire.read()?.windows(4).any(|octets| octets == b"250 ") {}
        Ok(wire)
    }

    /// Says something that is answered by so many lines.
    fn say(&mut self, octets: &[u8], lines: usize) -> io::Result<()> {
        self.stream.write_all(octets)?;
        self.hear(lines)
    }

    fn hear(&mut self, mut lines: usize) -> io::Result<()> {
        while lines > 0 {
            lines -= self.read()?.iter().filter(|&&octet| octet == b'\n').count();
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<&[u8]> {
        let length = self.stream.read(&mut self.buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&self.buffer[..length])
    }
}
