//! What a hostile server can make a connection hold, by an allocator that counts.

use std::alloc::System;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_proto::{Chunking, CloseReason, Event, Security, Setup, TlsPolicy};
use smtp_tokio::Client;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, join, sink};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a connection may hold with the default configuration (rustdoc of `Connection`).
const CEILING: usize = 128 * 1024;

/// One test at a time, since they share the allocator.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Feeds `octets` in pieces of `piece` and asserts the ceiling after each.
fn flood(lab: &mut Lab, before: usize, octets: &[u8], piece: usize) {
    for piece in octets.chunks(piece) {
        lab.hear(piece);
        let now = held().saturating_sub(before);
        assert!(now <= CEILING, "{now} octets held");
    }
}

// S-30, P-09: 100 MB of continuation lines, wherever the connection is.
#[test]
fn endless_continuation_lines() {
    let _alone = alone();
    let lines = b"250-\r\n".repeat(10_000);
    let long = [&b"250-"[..], &[b'x'; 2000], b"\r\n"].concat().repeat(30);
    for flooded in [&lines, &long] {
        for piece in [1000, 65_536] {
            let before = held();
            let mut lab = Lab::new(smtp());
            lab.hear("220 hi\r\n");
            lab.says();
            for _ in 0..100_000_000 / flooded.len() {
                flood(&mut lab, before, flooded, piece);
            }
            let events = lab.events();
            assert!(matches!(events.as_slice(), [Event::Greeting(_), Event::Closed(CloseReason::Malformed(_))]));
        }
    }
}

// S-30: a line that never ends.
#[test]
fn an_endless_line() {
    let _alone = alone();
    let line = vec![b'2'; 20_000_000];
    let before = held();
    let mut lab = Lab::ready(smtp(), &[]);
    lab.connection.noop().unwrap();
    lab.says();
    flood(&mut lab, before, &line, 4096);
    assert!(matches!(lab.events().as_slice(), [Event::Closed(CloseReason::Malformed(_))]));
}

// S-32: as many keywords, and as long ones, as the limits let through.
#[test]
fn a_flood_of_keywords() {
    let _alone = alone();
    for keyword in ["AUTH A B C D E F G H I J K L M N O P".to_owned(), "X".repeat(60), format!("X{}", " y".repeat(27))]
    {
        let reply = format!("{}250 ok\r\n", format!("250-{keyword}\r\n").repeat(450));
        let before = held();
        let mut lab = Lab::new(smtp());
        lab.hear("220 hi\r\n");
        lab.says();
        flood(&mut lab, before, reply.as_bytes(), 100);
        assert_eq!(lab.events().len(), 2);
        let _ = lab.connection.capabilities().auth_mechanisms().count();
        assert!(held() - before <= CEILING);
    }
}

// P-09: everything that a server can fill, full at once: an unread greeting, the capabilities, the body buffer after many
// short writes, and the longest of replies cut where that costs most.
#[test]
fn everything_at_once() {
    let _alone = alone();
    let lines = |code: &str, end: &str| [code, "-", &"x".repeat(1990), "\r\n"].concat().repeat(8) + code + end + "\r\n";
    let (greeting, hello, last) = (lines("220", " hi"), lines("250", " PIPELINING"), lines("250", " ok"));
    let message = vec![b'.'; 1_000_000];
    for cut in [9_000, last.len() - 3] {
        let transaction = transaction(1);
        let before = held();
        let mut lab = Lab::new(smtp());
        lab.hear(&greeting);
        lab.says();
        flood(&mut lab, before, hello.as_bytes(), 7_000);
        lab.connection.begin(transaction).unwrap();
        lab.says();
        lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        let mut rest = &message[..];
        for taken in [1, 30_000, 2, 20_000, 31_000, 5, 4096].into_iter().cycle().take(200) {
            let written = lab.connection.body().unwrap().write(rest).unwrap();
            rest = &rest[written..];
            lab.transmits(taken);
            assert!(held() - before <= CEILING, "{}", held() - before);
        }
        lab.connection.body().unwrap().finish().unwrap();
        lab.says();
        let (head, tail) = last.as_bytes().split_at(cut);
        flood(&mut lab, before, head, 1000);
        flood(&mut lab, before, tail, 1000);
        assert!(matches!(lab.events().last(), Some(Event::Completed(report)) if report.is_complete_success()));
    }
}

// P-09: each of a thousand recipients answered at length, twice in LMTP and by PRDR, and nobody reads the events.
#[test]
fn long_replies_to_many_recipients() {
    let _alone = alone();
    let long = ["550-", &"x".repeat(1990), "\r\n"].concat().repeat(7);
    let recipients = 1000;
    // RCPT and final texts are cut to `recipient_text`; an event shares its outcome's.
    let each = 1024 + 300;
    for (config, refused, prdr) in
        [(smtp(), true, false), (smtp(), false, true), (lmtp(), true, false), (lmtp(), false, false)]
    {
        let lmtp = config.protocol == smtp_proto::Protocol::Lmtp;
        let mut lab = Lab::new(config);
        lab.hear("220 hi\r\n");
        lab.says();
        lab.hear("250-x\r\n250-PRDR\r\n250 PIPELINING\r\n");
        let transaction = transaction(recipients).per_recipient_replies(prdr);
        let before = held();
        lab.connection.begin(transaction).unwrap();
        lab.says();
        lab.hear("250 ok\r\n");
        for index in 0..recipients {
            lab.hear(if refused && index > 0 {
                long.clone() + "550 no\r\n"
            } else {
                long.replace("550", "250") + "250 ok\r\n"
            });
            lab.says();
        }
        assert!(held() - before <= CEILING + recipients * each, "{}", held() - before);
        lab.hear("354 go\r\n");
        lab.pours(b"hello\r\n");
        if prdr {
            lab.hear("353 verdicts follow\r\n");
        }
        for _ in 0..if (lmtp || prdr) && !refused { recipients } else { 1 } {
            lab.hear(long.clone() + "550 no\r\n");
        }
        if prdr {
            lab.hear("250 queued for nobody\r\n");
        }
        let most = CEILING + recipients * 2 * each;
        assert!(held() - before <= most, "{}", held() - before);
        assert!(
            matches!(lab.events().last(), Some(Event::Completed(report)) if report.refused().count() == recipients)
        );
    }
}

// a body is never held as a whole.
#[test]
fn a_large_body_flows_through() {
    let _alone = alone();
    let chunk = b"0123456789abcdef\r\n".repeat(3000);
    for chunking in [Chunking::Needed, Chunking::Prefer] {
        let before = held();
        let mut config = smtp();
        config.chunking = chunking;
        let mut lab = Lab::ready(config, &["PIPELINING", "CHUNKING"]);
        lab.connection.begin(transaction(1)).unwrap();
        lab.says();
        lab.hear(if chunking == Chunking::Prefer { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n250 ok\r\n354 go\r\n" });
        lab.events();
        let mut sent = 0;
        while sent < 200_000_000 {
            let taken = lab.connection.body().unwrap().write(&chunk).unwrap();
            let gone = lab.connection.poll_transmit().map_or(0, |out| out.len());
            let now = lab.time();
            lab.connection.handle_transmitted(gone, now);
            if chunking == Chunking::Prefer && gone > 0 {
                lab.hear("250 ok\r\n");
            }
            sent += taken;
            assert!(held().saturating_sub(before) <= CEILING);
        }
    }
}

/// A task that is only counted.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

// What an idle client of Tokio's holds besides itself: its connection's part, nothing to read into, and no timer, which would
// keep the memory of the task that waited for it.
#[test]
fn an_idle_tokio_client() {
    let _alone = alone();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let task = Arc::new(Task);
    let before = held();
    let replies = b"220 hi\r\n".chain(&b"250-x\r\n250 PIPELINING\r\n"[..]);
    let (stream, setup) = (join(replies, sink()), Setup::new(TlsPolicy::None, None));
    let mut connecting = Box::pin(Client::start(stream, Security::Plaintext, smtp(), setup));
    let polled = connecting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task))));
    let Poll::Ready(Ok(_client)) = polled else { panic!("all that the server has to say was there") };
    drop(connecting);
    let now = held() - before;
    assert!(now <= 4 * 1024, "{now} octets held");
    assert_eq!(Arc::strong_count(&task), 1);
}
