//! What Postfix has delivered.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long Postfix has to deliver what it took.
const LONGEST: Duration = Duration::from_secs(300);
/// How long its queue has to be empty before nothing more is to be expected.
const QUIET: Duration = Duration::from_secs(2);

/// Waits until the queue is empty, and stays so.
///
/// # Errors
///
/// When it does not come to that, or cannot be read.
pub(crate) fn await_delivery(queue: &Path) -> io::Result<()> {
    let start = Instant::now();
    let mut empty_since = Instant::now();
    while empty_since.elapsed() < QUIET {
        if start.elapsed() > LONGEST {
            return Err(io::Error::other("Postfix does not deliver what it took"));
        }
        if holds_files(queue)? {
            empty_since = Instant::now();
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A message has a file in one of these from RCPT on until everybody has got it.
fn holds_files(queue: &Path) -> io::Result<bool> {
    let mut folders: Vec<PathBuf> =
        ["maildrop", "incoming", "active", "deferred", "hold"].map(|name| queue.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                _ => return Ok(true),
            }
        }
    }
    Ok(false)
}

/// The body of each copy of a message in a mailbox, by mark and mailbox.
pub(crate) type Found = HashMap<(String, String), Vec<Vec<u8>>>;

/// Reads all mailboxes, and of them what came by this run: others get mail there, too.
///
/// # Errors
///
/// When one cannot be read.
pub(crate) fn read(mail: &Path, run: &str) -> io::Result<Found> {
    let mut found = Found::new();
    for mailbox in fs::read_dir(mail)? {
        let mailbox = mailbox?;
        let name = mailbox.file_name().to_string_lossy().into_owned();
        let new = match fs::read_dir(mailbox.path().join("new")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            new => new?,
        };
        for file in new {
            let octets = fs::read(file?.path())?;
            let Some(end) = octets.windows(2).position(|pair| pair == b"\n\n") else { continue };
            let headers = String::from_utf8_lossy(&octets[..end]);
            let mark =
                headers.lines().find_map(|line| line.strip_prefix("Message-ID: <")?.strip_suffix("@client.lab.test>"));
            if let Some(mark) = mark.filter(|mark| mark.starts_with(run)) {
                found.entry((mark.into(), name.clone())).or_default().push(octets[end + 2..].to_vec());
            }
        }
    }
    Ok(found)
}
