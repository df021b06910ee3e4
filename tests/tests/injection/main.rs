//! Texts that have made other programs say more than they were asked to, through every public entry that takes a text or
//! octets and can end on the wire. Each is refused, and then nothing is queued; or it leaves as part of what was asked for.

mod commands;
mod corpus;
mod credentials;
mod drivers;
mod public;
mod shape;

use std::thread;

use smtp_conformance::lab::Lab;
use smtp_proto::{Config, Connection, Security, UsageError};

use crate::corpus::corpus;
use crate::shape::Shape;

/// A way for text to the wire.
struct Entry {
    /// The type and the function, as [`public`] finds them, and what becomes of the text.
    name: &'static str,
    /// A text that is let through, as which every other one has to look on the wire.
    harmless: &'static str,
    /// What a line may not have more of.
    shape: Shape,
    /// What is said. `None` where the text was refused.
    say: fn(&str, Server) -> Option<Vec<u8>>,
}

/// Whether a server takes UTF-8 in commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Utf8,
    Ascii,
}

impl Server {
    /// A session that is ready, within TLS, with everything offered that can be asked for.
    fn ready(self, config: Config) -> Lab {
        let mut lab = Lab::new(config.clone());
        lab.connection = Connection::new(config, Security::Tls);
        lab.hear("220 hi\r\n");
        lab.transmits(usize::MAX);
        lab.hear(OFFER);
        lab.hear(if self == Self::Utf8 { "250 SMTPUTF8\r\n" } else { "250 X-NONE\r\n" });
        lab.events();
        lab
    }
}

const OFFER: &str = "250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE\r\n250-DSN\r\n250-DELIVERBY\r\n\
    250-FUTURERELEASE 100000000 9999-12-31T23:59:59Z\r\n250-MTRK\r\n250-RRVS\r\n250-BURL imap\r\n250-ETRN\r\n\
    250-AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2 EXTERNAL ANONYMOUS X-OWN\r\n\
    250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n\
    250-XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n";

/// What a verb says. Of one that is refused, nothing: neither octets nor events, and the connection is as it was.
fn attempt<T>(lab: &mut Lab, verb: impl FnOnce(&mut Connection) -> Result<T, UsageError>) -> Option<Vec<u8>> {
    let before = lab.connection.state();
    let result = verb(&mut lab.connection);
    let said = lab.transmits(usize::MAX);
    if result.is_err() {
        assert_eq!(said, b"", "{:?}", result.err());
        assert_eq!(lab.connection.state(), before);
        assert!(lab.events().is_empty());
        return None;
    }
    assert!(!said.is_empty());
    Some(said)
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    commands::ENTRIES.iter().chain(credentials::ENTRIES)
}

impl Entry {
    /// How many texts were refused, and how many said something; none more than the harmless one does.
    fn try_all(&self, corpus: &[String]) -> [usize; 2] {
        let mut counts = [0; 2];
        for server in [Server::Utf8, Server::Ascii] {
            let usual = (self.say)(self.harmless, server).unwrap_or_else(|| panic!("{} says nothing", self.name));
            let usual = self.shape.of(&usual).unwrap_or_else(|error| panic!("{}: {error}", self.name));
            // What the server takes matters only to what is not ASCII.
            for text in corpus.iter().filter(|text| server == Server::Utf8 || !text.is_ascii()) {
                let said = (self.say)(text, server);
                counts[usize::from(said.is_some())] += 1;
                let Some(octets) = said else { continue };
                let shown = String::from_utf8_lossy(&octets);
                assert!(server == Server::Utf8 || shown.is_ascii(), "{} {text:?}: {shown:?}", self.name);
                match self.shape.of(&octets) {
                    Ok(shape) => assert_eq!(shape, usual, "{} {text:?}: {shown:?}", self.name),
                    Err(error) => panic!("{} {text:?}: {error}: {shown:?}", self.name),
                }
            }
        }
        counts
    }
}

// S-20, S-21, S-22, C-24, C-49, C-91, C-97, C-98, C-123, C-129, P-01: every text through every entry, at a server that takes UTF-8
// in commands and one that does not: it says nothing, or what a harmless text says, in as many commands and parameters.
#[test]
fn no_text_says_more_than_was_asked_for() {
    let corpus = corpus();
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = entries().map(|entry| scope.spawn(|| entry.try_all(&corpus))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for (entry, [refused, said]) in entries().zip(counts) {
        assert!(refused + said > 2000, "{}: {refused} refused, {said} said", entry.name);
    }
}
