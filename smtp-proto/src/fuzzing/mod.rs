//! Bodies of the fuzz targets. Here, so that stable builds compile them and a stable test replays the seeds.
//!
//! Each takes any octets and panics when a law is broken. What is right is told by something naive that was written for
//! the purpose, never by the code that is being tried.
#![allow(clippy::indexing_slicing, clippy::panic, reason = "here a panic is a finding")]

mod address;
mod audit;
mod capability;
mod challenge;
mod command;
mod connection;
mod content;
mod pipelining;
mod reply;
#[cfg(feature = "scram")]
mod scram;
mod script;
mod secret;
mod server;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use self::address::{addresses, xtext};
#[cfg(test)]
pub(crate) use self::capability::numbers as enhanced_numbers;
pub use self::capability::{capabilities, enhanced_code};
pub use self::challenge::challenges;
pub use self::command::commands;
#[cfg(test)]
pub(crate) use self::command::lines as command_lines;
pub use self::connection::connection;
#[cfg(test)]
pub(crate) use self::content::encoded;
pub use self::content::{content, line_endings};
pub use self::pipelining::pipelining;
#[cfg(test)]
pub(crate) use self::reply::agree as replies_agree;
pub use self::reply::{reply, reply_splits};
#[cfg(feature = "scram")]
pub use self::scram::scram;
pub use self::secret::secrets;
use crate::{Config, Connection, Event, HelloName, Security, Time};

/// Octets of the fuzzer's, from which choices are made one after the other.
#[derive(Clone)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The next octet; 0 when all are spent.
    fn octet(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.octet()) % limit
    }

    /// At most so many octets.
    fn piece(&mut self, length: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// A text of at most 255 of `words`, or of whatever characters there are.
    fn text(&mut self, words: &[&str]) -> String {
        let octet = self.octet();
        let piece = self.piece(usize::from(octet >> 1));
        if octet & 1 == 0 {
            String::from_utf8_lossy(&spelled(piece, words)).into_owned()
        } else {
            String::from_utf8_lossy(piece).into_owned()
        }
    }
}

/// A word for each octet: what random octets would seldom hit upon.
fn spelled(octets: &[u8], words: &[&str]) -> Vec<u8> {
    octets.iter().flat_map(|&octet| words[usize::from(octet) % words.len()].bytes()).collect()
}

/// Tries a law on the octets as they are and on the words they stand for.
fn both_ways(octets: &[u8], words: &[&str], law: impl Fn(&[u8])) {
    law(octets);
    law(&spelled(octets, words));
}

/// How a client is called here.
fn smtp() -> Option<Config> {
    HelloName::parse("fuzz.example").ok().map(Config::smtp)
}

/// A session whose server offers `keywords`, with nothing under way.
fn session(config: Config, security: Security, keywords: &[&str]) -> Connection {
    let mut connection = Connection::new(config, security);
    let lines: Vec<String> = keywords.iter().map(|keyword| format!("250-{keyword}\r\n")).collect();
    for octets in ["220 hi\r\n".to_string(), format!("250-fuzz\r\n{}250 ok\r\n", lines.concat())] {
        connection.handle_input(octets.as_bytes(), Time::default());
        let _ = transmitted(&mut connection, usize::MAX);
    }
    let _ = events(&mut connection);
    connection
}

/// What the transport takes: at most so many octets.
fn transmitted(connection: &mut Connection, most: usize) -> Vec<u8> {
    let octets = connection.poll_transmit().map(|offered| offered.first(most).to_vec()).unwrap_or_default();
    connection.handle_transmitted(octets.len(), Time::default());
    octets
}

fn events(connection: &mut Connection) -> Vec<Event> {
    core::iter::from_fn(|| connection.poll_event()).collect()
}
