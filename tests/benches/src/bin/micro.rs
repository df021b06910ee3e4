//! The two inner loops, replies and transparency, alone. Without arguments it lists the pieces of work; with one it tells how
//! long that takes; with a number too it does it so often, for a tool that counts.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use clap::Parser;
use smtp_proto::{DotStuffer, ReplyDecoder, ReplyLimits, parse_reply};

#[derive(Parser)]
struct Arguments {
    /// Which piece of work.
    work: Option<String>,
    /// How often.
    count: Option<usize>,
}

/// Octets that the innermost cache but one holds, and that none holds.
const CACHED: usize = 64 << 10;
const UNCACHED: usize = 128 << 20;

/// How many batches there are, the median of which counts, and how long one lasts at least.
const BATCHES: usize = 15;
const BATCH: f64 = 0.02;

const SHORT: &[u8] = b"250 2.1.5 Ok\r\n";
const HELLO: &[u8] = b"250-mail.example.net\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n250-STARTTLS\r\n\
    250-AUTH PLAIN LOGIN\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250 CHUNKING\r\n";
const LINE: &[u8] = b"The quick brown fox jumps over the lazy dog, and over the next one as well.";

/// A name, the content it is done to, and whether it is transparency rather than a copy.
type Content = (&'static str, fn() -> Vec<u8>, bool);

const CONTENT: &[Content] = &[
    ("stuff-text", || [LINE, b"\r\n"].concat().repeat(CACHED / 77), true),
    ("copy-text", || [LINE, b"\r\n"].concat().repeat(CACHED / 77), false),
    ("stuff-text-from-ram", || [LINE, b"\r\n"].concat().repeat(UNCACHED / 77), true),
    ("copy-text-from-ram", || [LINE, b"\r\n"].concat().repeat(UNCACHED / 77), false),
    ("stuff-dots", || b".\r\n".repeat(CACHED / 3), true),
    ("stuff-text-with-bare-lf", || [LINE, b"\n"].concat().repeat(CACHED / 76), true),
    ("stuff-only-lf", || b"\n".repeat(CACHED), true),
    ("stuff-only-cr", || b"\r".repeat(CACHED), true),
];

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { work, count } = Arguments::parse();
    let Some(name) = work else {
        ["reply", "hello", "reply-decoder", "hello-decoder"].iter().for_each(|name| println!("{name}"));
        CONTENT.iter().for_each(|(name, ..)| println!("{name}"));
        return Ok(());
    };
    let limits = ReplyLimits::default();
    let mut decoder = ReplyDecoder::default();
    match name.as_str() {
        "reply" => done(SHORT.len(), count, || black_box(parse_reply(black_box(SHORT), &limits)).is_ok()),
        "hello" => done(HELLO.len(), count, || black_box(parse_reply(black_box(HELLO), &limits)).is_ok()),
        "reply-decoder" => done(SHORT.len(), count, || black_box(decoder.decode(black_box(SHORT))).is_ok()),
        "hello-decoder" => done(HELLO.len(), count, || black_box(decoder.decode(black_box(HELLO))).is_ok()),
        name => {
            let known = CONTENT.iter().find(|(known, ..)| *known == name);
            let (_, content, stuffed) = known.ok_or("there is no such work")?;
            let content = content();
            let mut out = Vec::with_capacity(content.len() * 2 + 16);
            done(content.len(), count, || {
                out.clear();
                if *stuffed {
                    let taken = DotStuffer::default().encode(black_box(&content), &mut out);
                    black_box(&out);
                    taken == Ok(content.len())
                } else {
                    out.extend_from_slice(black_box(&content));
                    black_box(&out);
                    true
                }
            })
        }
    }
}

/// Does it so often, or else tells over how many octets it goes, and how many nanoseconds it takes.
fn done(octets: usize, count: Option<usize>, mut work: impl FnMut() -> bool) -> Result<(), Box<dyn Error>> {
    let mut batch = |count: usize| {
        let started = Instant::now();
        let done = (0..count).filter(|_| work()).count();
        if done == count { Ok(started.elapsed().as_secs_f64()) } else { Err("it was not done") }
    };
    if let Some(count) = count {
        batch(count)?;
        return Ok(());
    }
    let mut count = 1;
    while batch(count)? < BATCH {
        count *= 2;
    }
    let mut times = (0..BATCHES).map(|_| batch(count)).collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    println!("{octets} {}", times[BATCHES / 2] * 1e9 / count as f64);
    Ok(())
}
