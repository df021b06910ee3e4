//! A transcript by the loop of the examples: their own code moves the octets, over a stream that would block now and then.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use smtp_proto::{Connection, Security};

use super::{Plan, Runner};
use crate::peer::{Due, Pieces, random};
use crate::script::Script;

#[path = "../../../smtp-proto/examples/shared/pump.rs"]
mod pump;

/// When the stream would block although it need not, and whether an event is to come for that.
#[derive(Clone, Debug)]
pub struct Readiness {
    seed: u64,
    /// The stream said that it would block. As with edge-triggered events, nobody else is woken.
    awaited: bool,
}

impl Readiness {
    /// At random, from this seed, which must not be 0.
    pub fn random(seed: u64) -> Self {
        Self { seed, awaited: false }
    }

    fn is_blocked(&mut self) -> bool {
        let blocked = random(&mut self.seed) % 3 == 0;
        self.awaited |= blocked;
        blocked
    }
}

/// What the client sent, what the application was told, by act, and what the client said too early. The stream ends behind
/// `cut` octets of the server's.
pub fn run(
    script: &Script,
    input: Pieces,
    output: Pieces,
    cut: Option<usize>,
) -> (Vec<u8>, Vec<Vec<String>>, Option<String>) {
    let how = format!("{input:?} {output:?} {cut:?}");
    let seed = how.bytes().fold(1, |seed: u64, octet| seed * 31 % 1_000_003 + u64::from(octet));
    let (content, readiness) = (output.clone(), Some(Readiness::random(seed)));
    let run = super::run(script, Plan { input, output, content, cut_input: cut, readiness, ..Plan::default() });
    (run.sent, run.told, run.early)
}

impl Runner<'_> {
    /// One turn of the loop.
    pub(super) fn pump(&mut self) -> bool {
        self.now += Duration::from_millis(1);
        let now = self.time();
        // Out of the runner, which both the stream and the content belong to; back in it while content is poured.
        let mut connection = Connection::new(self.script.config.clone(), Security::Plaintext);
        std::mem::swap(&mut connection, &mut self.connection);
        let runner = RefCell::new(&mut *self);
        let moved = pump::pump(&mut Stream(&runner), &mut connection, now, |connection| {
            let mut runner = runner.borrow_mut();
            std::mem::swap(connection, &mut runner.connection);
            while runner.pour() {}
            std::mem::swap(connection, &mut runner.connection);
        });
        self.connection = connection;
        moved
    }

    /// Whether an event comes, or a deadline.
    pub(super) fn is_woken(&mut self) -> bool {
        let Some(readiness) = &mut self.plan.readiness else { return false };
        if std::mem::take(&mut readiness.awaited) {
            return true;
        }
        // Where the transport takes no more, what the server has left to say is waited for.
        let left = self.connection.poll_timeout(self.time()).filter(|_| self.plan.cut_output.is_some());
        if let Some(left) = left {
            self.now += left;
            self.connection.handle_timeout(self.time());
        }
        left.is_some()
    }
}

/// The stream of a runner.
struct Stream<'a, 'b, 'c>(&'a RefCell<&'b mut Runner<'c>>);

impl Read for Stream<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut runner = self.0.borrow_mut();
        let Runner { peer, plan, .. } = &mut **runner;
        match peer.due() {
            Due::Octets(_) | Due::Eof if plan.readiness.as_mut().is_some_and(Readiness::is_blocked) => {
                Err(ErrorKind::WouldBlock.into())
            }
            Due::Octets(octets) => {
                let length = octets.len().min(buffer.len());
                buffer[..length].copy_from_slice(&octets[..length]);
                peer.send(length);
                Ok(length)
            }
            Due::Eof => Ok(0),
            Due::Nothing => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Stream<'_, '_, '_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut runner = self.0.borrow_mut();
        let Runner { peer, plan, .. } = &mut **runner;
        if plan.readiness.as_mut().is_some_and(Readiness::is_blocked) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let gone = peer.received.len();
        let length = plan.output.next(gone, octets).min(plan.cut_output.map_or(usize::MAX, |cut| cut - gone));
        if length == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        peer.receive(&octets[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
