//! What the seed decides.

use std::ops::RangeInclusive;
use std::time::Duration;

use smtp_proto::{Chunking, OnRefusal};

use crate::dice::Dice;

/// The network moves octets once in so long.
pub const TICK: Duration = Duration::from_millis(10);

impl Dice {
    /// A time of so many ticks.
    pub fn ticks(&mut self, range: RangeInclusive<usize>) -> Duration {
        TICK * u32::try_from(self.within(range)).unwrap_or(u32::MAX)
    }
}

/// One message as the application has it.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its octets.
    pub content: Vec<u8>,
    /// How many recipients it is for.
    pub recipients: usize,
    /// What if some are refused.
    pub on_refusal: OnRefusal,
    /// Whether the envelope tells size and kind of the content.
    pub declared: bool,
    /// Octets that can be read at a time.
    pub piece: usize,
    /// How long the next piece takes to come.
    pub pause: Duration,
    /// Reading fails behind so many octets.
    pub fails_at: Option<usize>,
}

/// What happens to the network or to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing goes either way, and what is under way is lost.
    Partition,
    /// Nothing reaches the server.
    Deaf,
    /// Nothing reaches the client.
    Mute,
    /// Everything is held, and comes late.
    Hold,
    /// The server's program ends; its sockets are closed.
    Crash,
    /// The server is gone without a word.
    PowerCut,
}

impl Fault {
    const ALL: [Self; 6] = [Self::Partition, Self::Deaf, Self::Mute, Self::Hold, Self::Crash, Self::PowerCut];

    /// What the tally calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partitions",
            Self::Deaf => "deaf links",
            Self::Mute => "mute links",
            Self::Hold => "holds",
            Self::Crash => "crashes",
            Self::PowerCut => "power cuts",
        }
    }
}

/// One world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Whether LMTP is spoken.
    pub lmtp: bool,
    /// Keywords that the server offers.
    pub offers: Vec<&'static str>,
    /// Whether the client pipelines where it can.
    pub pipelines: bool,
    /// Octets of commands that may be unanswered.
    pub window: usize,
    /// When the client uses BDAT.
    pub chunking: Chunking,
    /// Octets of content that the client holds.
    pub buffer: usize,
    /// How long the client waits for anything.
    pub patience: Duration,
    /// Octets that a socket takes or gives at a time.
    pub piece: usize,
    /// Whether written octets stay with the client until they are flushed, as with TLS.
    pub holds_back: bool,
    /// The longest that a segment is under way.
    pub latency: Duration,
    /// How likely a segment is lost, and all that are under way with it.
    pub loss: f64,
    /// Segments that a socket holds each way.
    pub capacity: usize,
    /// Whether the hosts take turns in any order.
    pub any_order: bool,
    /// One in so many answers of the server is trouble.
    pub temper: usize,
    /// The server refuses one in so many for its own reasons.
    pub refuses: usize,
    /// One in so many sends is cancelled.
    pub cancels: usize,
    /// The messages.
    pub letters: Vec<Letter>,
    /// Each with how many steps of the server it waits for after the one before is over, and how many ticks it lasts.
    pub faults: Vec<(usize, Fault, usize)>,
    /// How often the client connects at most.
    pub connections: usize,
}

impl Plan {
    /// What `seed` decides.
    pub fn new(seed: u64) -> Self {
        let dice = &mut Dice::new(seed, 1);
        let mut offers = vec!["HELP"];
        for keyword in ["PIPELINING", "CHUNKING", "8BITMIME"] {
            if !dice.one_in(3) {
                offers.push(keyword);
            }
        }
        offers.extend(dice.pick(&[None, Some("SIZE"), Some("SIZE 30000")]));
        let letters: Vec<Letter> =
            (0..dice.within(1..=6)).map(|_| letter(dice, offers.contains(&"8BITMIME"))).collect();
        let longest = letters.iter().map(|letter| letter.content.len()).max().unwrap_or(0);
        let faults = (0..dice.pick(&[0, 1, 2, 3]))
            .map(|_| (dice.within(0..=30), dice.pick(&Fault::ALL), dice.pick(&[1, 5, 30, 120])))
            .collect();
        Self {
            seed,
            lmtp: dice.one_in(3),
            offers,
            pipelines: !dice.one_in(4),
            window: dice.pick(&[4096, 4096, 60]),
            chunking: dice.pick(&[Chunking::Needed, Chunking::Prefer, Chunking::Ahead, Chunking::Ahead]),
            buffer: dice.pick(&[1024, 8 * 1024, 32 * 1024]),
            patience: dice.ticks(20..=80),
            // So that a long message is not under way for ever.
            piece: dice.pick(&[7, 100, 2000, 1 << 16]).max(longest / 60),
            holds_back: dice.one_in(3),
            latency: dice.ticks(1..=8) * dice.pick(&[1, 1, 4]),
            loss: dice.pick(&[0.0, 0.0, 0.0, 0.01, 0.05]),
            // One is also what the listener holds, and no client waits that often.
            capacity: dice.pick(&[8, 16, 64]),
            any_order: dice.one_in(2),
            temper: dice.pick(&[0, 60, 15]),
            refuses: dice.pick(&[0, 20, 4]),
            cancels: dice.pick(&[0, 6, 2]),
            letters,
            faults,
            connections: 7,
        }
    }
}

fn letter(dice: &mut Dice, eight_bit: bool) -> Letter {
    let length = match dice.within(0..=9) {
        0 => 0,
        1 => dice.within(20_000..=150_000),
        _ => dice.within(1..=600),
    };
    let eight_bit = if eight_bit { dice.one_in(3) } else { dice.one_in(30) };
    let lines: [&[u8]; 8] =
        [b"\r\n", b".\r\n", b"..\r\n", b".QUIT\r\n", b"MAIL FROM:<>\r\n", b"RSET\r\n", b"250 ok\r\n", b"\r\n.\r\n"];
    let mut content = Vec::new();
    while content.len() < length {
        match dice.within(0..=3) {
            0 => content.extend_from_slice(dice.pick(&lines)),
            1 if eight_bit => content.extend_from_slice("gr\u{fc}\u{df}e\r\n".as_bytes()),
            _ => {
                let words = dice.within(0..=900).min(length);
                content.extend(std::iter::repeat_n(dice.pick(b"abcdefgh"), words));
                content.extend_from_slice(b"\r\n");
            }
        }
    }
    // A bare CR at the end would be another content: DATA makes a line end of it.
    if dice.one_in(4) && content.len() > 1 {
        content.truncate(content.len() - 2);
    }
    let pauses = dice.one_in(4);
    let fails_at = dice.one_in(20).then(|| dice.within(0..=content.len()));
    Letter {
        recipients: dice.pick(&[1, 1, 2, 3, 5, 12]),
        on_refusal: dice.pick(&[OnRefusal::Continue, OnRefusal::Continue, OnRefusal::Abort]),
        declared: dice.one_in(2),
        piece: if pauses { content.len() / 4 + 1 } else { dice.pick(&[100, 4096, 1 << 20]).max(content.len() / 100) },
        pause: if pauses { dice.ticks(1..=20) } else { Duration::ZERO },
        fails_at,
        content,
    }
}
