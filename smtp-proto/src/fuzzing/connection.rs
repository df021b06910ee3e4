//! The whole machine.

use alloc::vec::Vec;

use super::script::{Heard, Manner, Run, Secured};
use super::{Input, smtp};
use crate::{Chunking, CloseReason, Config, Connection, Event, Protocol, Security};

/// Any calls in any order with any octets. Each transaction has one report, and each outcome in it is what a witness saw who
/// knows only the octets; nothing comes after the end. It does not matter how the server's octets were cut, nor what its
/// texts say; and once TLS is established all goes as on a connection that began so.
pub fn connection(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.octet();
    let Some(config) = config(&mut input, choice) else { return };
    let security = if choice & 128 == 0 { Security::Plaintext } else { Security::Tls };
    let run = |manner, heard| {
        let mut run = Run::new(Connection::new(config.clone(), security), manner, heard);
        run.play(input.0);
        run
    };
    let watched = run(Manner::Watched, Vec::new());
    let in_pieces = run(Manner::InPieces, watched.heard.clone());
    assert_eq!(but_for_upgrade(&watched.events), but_for_upgrade(&in_pieces.events));
    assert_eq!(watched.sent, in_pieces.sent);
    let reworded = run(Manner::Reworded, watched.heard.clone());
    assert_eq!(reworded.told, in_pieces.told);
    assert_eq!(reworded.sent, in_pieces.sent);
    if let Some(secured) = in_pieces.secured {
        let fresh = within_tls(config, secured, &watched.heard, input.0);
        assert_eq!(fresh.told, in_pieces.told[secured.told..]);
        assert_eq!(fresh.sent, in_pieces.sent[secured.sent..]);
    }
}

fn config(input: &mut Input<'_>, choice: u8) -> Option<Config> {
    let mut config = smtp()?;
    config.protocol = if choice & 1 == 0 { Protocol::Smtp } else { Protocol::Lmtp };
    config.automatic_hello = choice & 2 == 0;
    config.pipelining = choice & 8 == 0;
    config.transaction_window = usize::from(choice >> 4 & 3);
    config.body_buffer = 1024;
    config.helo_fallback = choice & 64 == 0;
    let window = input.octet();
    config.pipeline_window = usize::from(window) * 2;
    config.chunking = match (choice & 4, window & 1) {
        (0, _) => Chunking::Needed,
        (_, 0) => Chunking::Prefer,
        (_, _) => Chunking::Ahead,
    };
    // Not both: whose refusal it is that begins while the last chunk leaves and ends behind the next MAIL, the witness cannot
    // tell yet.
    if config.chunking != Chunking::Needed {
        config.transaction_window = 1;
    }
    Some(config)
}

/// Where octets follow the go-ahead for TLS, how they were cut decides whether it is told before the end comes.
fn but_for_upgrade(events: &[Event]) -> Vec<&Event> {
    let injected = matches!(events.last(), Some(Event::Closed(CloseReason::PlaintextAfterStartTls)));
    let mut events: Vec<&Event> = events.iter().collect();
    if injected && events.len() > 1 && *events[events.len() - 2] == Event::UpgradeTls {
        events.remove(events.len() - 2);
    }
    events
}

/// The rest of the script, on a connection that was within TLS from its beginning.
fn within_tls(config: Config, secured: Secured, heard: &[Heard], script: &[u8]) -> Run {
    let mut run = Run::new(Connection::new(config, Security::Tls), Manner::InPieces, heard.to_vec());
    (run.now, run.place) = (secured.now, secured.place);
    run.greet();
    run.play(&script[script.len() - secured.script..]);
    run
}
