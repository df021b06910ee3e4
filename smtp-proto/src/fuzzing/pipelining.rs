//! A client that sends ahead of the replies, beside one that waits for each.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::server::{Policy, Server, Step};
use super::{Input, events, smtp};
use crate::{
    Chunking, CloseReason, Config, Connection, Event, ForwardPath, OnRefusal, Outcome, Protocol, Report, ReversePath,
    Security, Stage, State, Time, Transaction,
};

/// One message.
struct Message {
    recipients: usize,
    all_or_none: bool,
    content: Vec<u8>,
}

/// For each policy of the server, and however octets are cut, both clients report the same, which is what can be told from
/// the policy alone, up to the first transaction that ends the session. Whom a report calls accepted the server has
/// delivered to, and whom it has delivered to is accepted or in doubt.
pub fn pipelining(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.octet();
    let lmtp = choice & 1 == 1;
    // LMTP has no way out of DATA for nobody.
    let grants_nobody = choice & 2 == 2 && !lmtp;
    let messages: Vec<Message> = (0..=choice >> 6).map(|_| message(&mut input)).collect();
    let windows = (usize::from(input.octet()) * 16, 1 + input.below(3));
    let cuts = input.piece(8);
    let policy = Policy { lmtp, chunking: choice & 4 == 4, grants_nobody, choices: input.0 };

    let Some(mut config) = smtp() else { return };
    config.protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
    config.chunking = Chunking::Prefer;
    config.body_buffer = 1024;
    let mut quick = config.clone();
    (quick.pipeline_window, quick.transaction_window) = windows;
    let ahead = choice & 8 == 8;
    quick.chunking = if ahead { Chunking::Ahead } else { Chunking::Prefer };

    let (slow, slow_end) = converse(config, Server::new(policy, false), &messages, &[]);
    let (fast, fast_end) = converse(quick, Server::new(policy, true), &messages, cuts);
    let mut open = true;
    for (index, message) in messages.iter().enumerate() {
        let (expected, closes) = foretold(&policy, index, message);
        // Who is still asked once nobody can get the message depends on what has left already.
        if open && !message.all_or_none {
            assert_eq!(slow.get(index), Some(&expected), "waiting for each reply: {index}");
            // Content that went ahead is in doubt where the session ends before it is known who gets it.
            let in_doubt = closes && ahead && policy.chunking;
            assert!(in_doubt || fast.get(index) == Some(&expected), "pipelining: {index} {expected:?} {fast:?}");
        }
        open &= !closes && !message.all_or_none;
    }
    assert!(!open || slow_end == CloseReason::Quit && fast_end == CloseReason::Quit, "{slow_end} {fast_end}");
}

fn message(input: &mut Input<'_>) -> Message {
    let octet = input.octet();
    // Long enough for several chunks, or for none.
    let content = format!(".{}\r\n", "x".repeat(usize::from(input.octet() % 8) * 200)).into_bytes();
    let content = if octet & 64 == 0 { content } else { Vec::new() };
    Message { recipients: 1 + usize::from(octet % 6), all_or_none: octet & 128 == 128, content }
}

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Accepted(u16),
    Refused(Stage, u16),
    NotSent,
    InDoubt,
}

/// Whether a reply ends the session: 421, or a 3yz that nobody asked for.
fn ends(code: u16) -> bool {
    code == 421 || code / 100 == 3
}

/// What has to be reported of a message, and whether the session ends with it.
fn foretold(policy: &Policy<'_>, transaction: usize, message: &Message) -> (Vec<Fate>, bool) {
    let code = |step| policy.code(transaction, step);
    let mail = code(Step::Mail);
    if mail / 100 != 2 {
        return (alloc::vec![Fate::Refused(Stage::Mail, mail); message.recipients], ends(mail));
    }
    let mut fates = alloc::vec![Fate::NotSent; message.recipients];
    let mut accepted = Vec::new();
    for (index, fate) in fates.iter_mut().enumerate() {
        let rcpt = code(Step::Rcpt(index));
        if rcpt / 100 == 2 {
            accepted.push(index);
            continue;
        }
        *fate = Fate::Refused(Stage::Rcpt, rcpt);
        if ends(rcpt) {
            return (fates, true);
        }
    }
    let (data, chunk) = (code(Step::Data), code(Step::Chunk));
    // A chunk is half a buffer.
    let chunks = policy.chunking && message.content.len() >= 512;
    let refused = match () {
        () if accepted.is_empty() => return (fates, false),
        () if chunks && chunk / 100 != 2 => Some((Stage::Content, chunk)),
        () if !policy.chunking && data != 354 => Some((Stage::Data, data)),
        () => None,
    };
    if let Some((stage, code)) = refused {
        accepted.iter().for_each(|index| fates[*index] = Fate::Refused(stage, code));
        return (fates, ends(code));
    }
    let mut closed = false;
    for (turn, index) in accepted.iter().enumerate() {
        let end = code(Step::End(if policy.lmtp { turn } else { 0 }));
        fates[*index] = match end {
            _ if closed && policy.lmtp => Fate::InDoubt,
            200..=299 => Fate::Accepted(end),
            300..=399 => Fate::InDoubt,
            _ => Fate::Refused(Stage::Content, end),
        };
        closed |= ends(end);
    }
    (fates, closed)
}

fn fates(report: &Report) -> Vec<Fate> {
    let fate = |outcome: &Outcome| match outcome {
        Outcome::Accepted(reply) => Fate::Accepted(reply.code().get()),
        Outcome::Refused { stage, reply, .. } => Fate::Refused(*stage, reply.code().get()),
        Outcome::NotSent => Fate::NotSent,
        Outcome::InDoubt => Fate::InDoubt,
    };
    report.recipients().map(|(_, outcome)| fate(outcome)).collect()
}

/// Holds a report against what the server did.
fn check(report: &Report, server: &Server<'_>, messages: &[Message]) -> Vec<Fate> {
    let fates = fates(report);
    let transaction = usize::try_from(report.id().get()).unwrap_or_default();
    let message = &messages[transaction];
    let mut delivered = 0;
    for (index, fate) in fates.iter().enumerate() {
        let got = server.delivered.get(&(transaction, index));
        match fate {
            Fate::Accepted(_) => assert_eq!(got, Some(&message.content)),
            Fate::InDoubt => {}
            _ => assert_eq!(got, None, "{fate:?}"),
        }
        delivered += usize::from(got.is_some());
    }
    assert!(!message.all_or_none || server.is_lmtp() || delivered == 0 || delivered == message.recipients);
    fates
}

/// A whole session, octets cut as `cuts` say, or not. What was reported of each message, and how it ended.
fn converse(
    config: Config,
    mut server: Server<'_>,
    messages: &[Message],
    cuts: &[u8],
) -> (Vec<Vec<Fate>>, CloseReason) {
    let Ok(path) = ForwardPath::parse("r@fuzz.example") else { return (Vec::new(), CloseReason::Quit) };
    let ahead = config.chunking == Chunking::Ahead;
    let mut connection = Connection::new(config, Security::Plaintext);
    let now = Time::from_duration(Duration::ZERO);
    let mut sizes = cuts.iter().cycle().map(|size| usize::from(*size) + 1);
    let mut size = || sizes.next().unwrap_or(usize::MAX);
    let mut to_client = b"220 hi\r\n".to_vec();
    let (mut begun, mut bodies, mut poured) = (0, 0, 0);
    let mut reports = Vec::new();
    loop {
        let mut moved = false;
        for event in events(&mut connection) {
            moved = true;
            match event {
                Event::BodyRequested { accepted, .. } => assert!(ahead || accepted > 0, "content for nobody"),
                Event::Completed(report) => reports.push(check(&report, &server, messages)),
                Event::Closed(reason) => {
                    assert_eq!(reports.len(), begun);
                    return (reports, reason);
                }
                _ => {}
            }
        }
        if begun < messages.len() && connection.can_begin() {
            let Message { recipients, all_or_none, .. } = messages[begun];
            let transaction =
                Transaction::new(ReversePath::null()).to_all(core::iter::repeat_n(path.clone(), recipients));
            let on_refusal = if all_or_none { OnRefusal::Abort } else { OnRefusal::Continue };
            assert!(connection.begin(transaction.on_refusal(on_refusal)).is_ok());
            (begun, moved) = (begun + 1, true);
        }
        let current = connection.transaction().and_then(|id| usize::try_from(id.get()).ok());
        if let (Some(mut body), Some(current)) = (connection.body(), current) {
            (bodies, poured) = if bodies == current { (bodies, poured) } else { (current, 0) };
            let rest = &messages[current].content[poured..];
            let taken = body.write(&rest[..size().min(rest.len())]);
            poured += taken.unwrap_or_default();
            moved |= taken.is_ok_and(|taken| taken > 0);
            if poured == messages[current].content.len() {
                assert!(body.finish().is_ok());
                moved = true;
            }
        }
        let said = super::transmitted(&mut connection, size());
        moved |= !said.is_empty();
        server.hear(&said);
        while let Some(reply) = server.answer() {
            to_client.extend(reply.into_bytes());
            moved = true;
        }
        let heard: Vec<u8> = to_client.drain(..size().min(to_client.len())).collect();
        moved |= !heard.is_empty();
        connection.handle_input(&heard, now);
        if !moved {
            let ready = begun == messages.len() && connection.state() == State::Ready;
            assert!(ready && connection.quit().is_ok(), "nothing moves any more: {connection:?}");
        }
    }
}
