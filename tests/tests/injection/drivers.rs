//! The entry that connects by itself.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use smtp_blocking::{Error, send_plaintext};

use crate::corpus::corpus;
use crate::shape::Shape;

pub(crate) const ENTRIES: &[&str] = &["lib::send_plaintext"];

/// A server that accepts whatever comes and tells the commands of each session.
fn server() -> io::Result<(String, Receiver<Vec<u8>>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let target = listener.local_addr()?.to_string();
    let (sender, sessions) = channel();
    thread::spawn(move || listener.incoming().try_for_each(|stream| serve(stream?, &sender)));
    Ok((target, sessions))
}

fn serve(mut stream: TcpStream, sender: &Sender<Vec<u8>>) -> io::Result<()> {
    stream.write_all(b"220 hi\r\n")?;
    let mut heard = Vec::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    // A line ends at LF, as with servers that are not strict.
    while reader.read_until(b'\n', &mut heard)? > 0 {
        let line = heard.rsplit(|octet| *octet == b'\n').nth(1).unwrap_or_default();
        stream.write_all(match line.get(..4) {
            Some(b"EHLO") => b"250-x\r\n250 8BITMIME\r\n",
            Some(b"DATA") => b"354 go\r\n",
            // The content is only its terminator's line and what stands before it.
            _ if line.starts_with(b"Subject") => continue,
            _ => b"250 ok\r\n",
        })?;
    }
    let _ = sender.send(heard);
    Ok(())
}

// S-20, S-21: an address that could say more is refused before there is a connection; with any other one nothing is said but the
// usual.
#[test]
fn the_shortest_way_to_send() {
    let (target, sessions) = server().unwrap();
    let send = |from: &str, to: &str| send_plaintext(&target, from, [to], b"Subject: x\r\n");
    let shape = |heard: Vec<u8>| Shape::Words.of(&heard).unwrap();
    send("a@x.example", "b@x.example").unwrap();
    let usual = shape(sessions.recv().unwrap());
    assert_eq!(usual.len(), 7);
    let mut said = 0;
    for text in corpus() {
        for (from, to) in [(&text[..], "b@x.example"), ("a@x.example", &text)] {
            match send(from, to) {
                // Refused as an address, or as one that the server does not take: hello was said, if anything.
                Err(Error::Address { address, .. }) => assert_eq!(address, text),
                Err(error) => {
                    assert!(!text.is_ascii(), "{text:?}: {error}");
                    assert!(shape(sessions.recv().unwrap()).iter().all(|line| line.starts_with("EHLO")));
                }
                Ok(_) => {
                    said += 1;
                    assert_eq!(shape(sessions.recv().unwrap()), usual, "{text:?}");
                }
            }
        }
    }
    assert!(said > 50, "{said}");
    assert!(sessions.try_recv().is_err(), "no other connection was made");
}
