//! Somebody slips a reply of his own among those of an honest server.

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_conformance::model::server::{Answers, Policy, Server};
use smtp_proto::{Event, Outcome, State};

/// One reply of every class, and what is none. Whoever can slip in all that the client waits for is the server, as far as anybody
/// can tell without TLS.
const FORGED: [&str; 14] = [
    "250 ok\r\n",
    "250-ok\r\n250 ok\r\n",
    "251 ok\r\n",
    "220 hi\r\n",
    "221 bye\r\n",
    "235 ok\r\n",
    "334 \r\n",
    "354 go\r\n",
    "353 verdicts follow\r\n",
    "450 later\r\n",
    "550 no\r\n",
    "421 bye\r\n",
    GARBAGE[0],
    GARBAGE[1],
];

const GARBAGE: [&str; 2] = ["garbage\r\n", "250 a\0b\r\n"];

/// Where a reply is slipped in: ahead of the honest one of this number, or behind it in the same piece.
#[derive(Clone, Copy, Debug)]
enum Place {
    Ahead(usize),
    Behind(usize),
}

/// What a session came to.
#[derive(Default)]
struct End {
    outcomes: Vec<Outcome>,
    /// Something was slipped in.
    forged: bool,
    /// The whole content had reached the server before that.
    complete: bool,
}

impl End {
    fn note(&mut self, events: Vec<Event>) {
        for event in events {
            if let Event::Completed(report) = event {
                self.outcomes.extend(report.recipients().map(|(_, outcome)| outcome.clone()));
            }
        }
    }
}

/// One message to two recipients.
fn session(policy: &Policy, place: Place, forged: &str) -> End {
    let mut lab = Lab::new(if policy.lmtp { lmtp() } else { smtp() });
    let mut model = Server::new(policy.clone());
    let mut end = End::default();
    let (mut begun, mut honest) = (false, Some("220 model\r\n".to_owned()));
    for number in 0.. {
        let Some(reply) = honest.take() else { break };
        let pieces = match place {
            Place::Ahead(here) if here == number => vec![forged.to_owned(), reply],
            Place::Behind(here) if here == number => vec![reply + forged],
            _ => vec![reply],
        };
        if matches!(place, Place::Ahead(here) | Place::Behind(here) if here == number) {
            (end.forged, end.complete) = (true, !model.messages.is_empty());
        }
        pieces.iter().for_each(|piece| lab.hear(piece));
        end.note(lab.events());
        if end.forged && GARBAGE.contains(&forged) {
            assert_eq!(lab.connection.state(), State::Closed, "{place:?} {forged:?}");
        }
        if lab.connection.can_begin() && !begun {
            lab.connection.begin(transaction(2)).unwrap();
            begun = true;
        }
        let mut said = lab.transmits(usize::MAX);
        said.extend(lab.pours(b"hello\r\n"));
        // Whatever ended the session, nothing is said behind its end.
        assert!(said.is_empty() || lab.connection.state() != State::Closed, "{place:?} {forged:?}");
        model.hear(&said);
        honest = model.answer();
    }
    lab.connection.handle_eof();
    end.note(lab.events());
    end
}

/// Pipelined and not, by SMTP and LMTP; the server takes the message or not.
fn policies(accepts: bool) -> impl Iterator<Item = Policy> {
    let end = if accepts { 250 } else { 554 };
    [(false, &[][..]), (false, &["PIPELINING"]), (true, &[]), (true, &["PIPELINING"])].into_iter().map(
        move |(lmtp, offers)| Policy {
            lmtp,
            ..Policy::new(offers, Answers { end: vec![end; 2], ..Answers::default() })
        },
    )
}

/// Every place, and what can be slipped in there.
fn forgeries() -> impl Iterator<Item = (Place, &'static str)> {
    let places = (0..12).flat_map(|number| [Place::Ahead(number), Place::Behind(number)]);
    places.flat_map(|place| FORGED.into_iter().map(move |forged| (place, forged)))
}

// S-40, P-11, C-13, C-78: whatever reply is slipped in wherever before the server has the content makes nobody accepted, be it that the
// server takes the message or that it does not. Behind that, only a 2yz in the place of the final reply does.
#[test]
fn no_reply_slipped_in_makes_a_false_accepted() {
    let mut sessions = 0;
    for accepts in [true, false] {
        for policy in policies(accepts) {
            let plain = session(&policy, Place::Ahead(usize::MAX), "");
            assert_eq!(plain.outcomes.len(), 2);
            assert!(plain.outcomes.iter().all(|outcome| outcome.is_accepted() == accepts));
            for (place, forged) in forgeries() {
                let end = session(&policy, place, forged);
                if !end.forged {
                    continue;
                }
                sessions += 1;
                let accepted = end.outcomes.iter().any(Outcome::is_accepted);
                let in_place = end.complete && (accepts || forged.starts_with('2'));
                assert!(in_place || !accepted, "{policy:?} {place:?} {forged:?}: {:?}", end.outcomes);
            }
        }
    }
    assert!(sessions > 1000, "{sessions}");
}

// S-41: a line that is no reply, wherever it comes, ends the session, and nothing is said behind it. Nobody is accepted but by a
// reply that came before it.
#[test]
fn garbage_ends_the_session() {
    let mut sessions = 0;
    for policy in policies(true) {
        for (place, forged) in forgeries().filter(|(_, forged)| GARBAGE.contains(forged)) {
            let end = session(&policy, place, forged);
            let answered = end.complete && matches!(place, Place::Behind(_));
            sessions += usize::from(end.forged);
            for outcome in end.outcomes.iter().filter(|_| end.forged && !answered) {
                assert!(matches!(outcome, Outcome::NotSent | Outcome::InDoubt), "{place:?} {forged:?}: {outcome:?}");
            }
        }
    }
    assert!(sessions > 50, "{sessions}");
}
