//! What a seed decides of one session.

use smtp_proto::{Chunking, Config};

use super::Letter;
use super::client::CHUNK;
use super::server::{Answers, Policy};
use super::talk::Trouble;
use crate::dice::Dice;
use crate::lab;

/// What may go wrong in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing: the server answers each command as it likes, and the line holds.
    Plain,
    /// The line, or whoever is at its ends.
    Cut,
    /// The server says too much, too little, or what is no reply; the line as well.
    Lies,
}

/// One session.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What may go wrong.
    pub kind: Kind,
    /// What the server is like.
    pub policy: Policy,
    /// The messages.
    pub letters: Vec<Letter>,
    /// What the client is like.
    pub config: Config,
    /// The most octets that may be under way in each direction.
    pub capacity: usize,
    /// What ends the session before its time, and after how many steps.
    pub trouble: Option<(usize, Trouble)>,
    /// One in so many answers is a lie.
    pub lies: usize,
    /// For pieces, polls and lies.
    pub dice: Dice,
}

impl Plan {
    /// What `seed` decides.
    pub fn new(seed: u64) -> Self {
        let dice = &mut Dice::new(seed, 2);
        let kind = dice.pick(&[Kind::Plain, Kind::Cut, Kind::Lies]);
        let lmtp = dice.one_in(3);
        let mut offers = Vec::new();
        for keyword in ["PIPELINING", "CHUNKING", "PRDR"] {
            if !dice.one_in(3) {
                offers.push(keyword);
            }
        }
        let chunking = dice.pick(&[Chunking::Needed, Chunking::Needed, Chunking::Prefer, Chunking::Ahead]);
        let chunked = chunking != Chunking::Needed && offers.contains(&"CHUNKING");
        let letters: Vec<Letter> = (0..dice.within(1..=3)).map(|number| letter(dice, number, chunked)).collect();
        // A server that is never in a good mood gets no further than MAIL.
        let temper = dice.pick(&[0, 4, 12]);
        let plain = kind == Kind::Plain;
        let ahead = chunking == Chunking::Ahead;
        let answers = letters.iter().map(|letter| Moods { dice, temper, plain, ahead }.answers(letter, lmtp)).collect();
        let mut config = if lmtp { lab::lmtp() } else { lab::smtp() };
        config.chunking = chunking;
        config.pipelining = !dice.one_in(4);
        config.pipeline_window = dice.pick(&[1, 60, 4096, 4096]);
        config.transaction_window = dice.pick(&[1, 1, 3]);
        config.body_buffer = 2 * CHUNK;
        let trouble = dice.pick(&[Trouble::Eof, Trouble::Eof, Trouble::WriteClosed, Trouble::Silence, Trouble::Abort]);
        let after = dice.pick(&[20, 60, 150]);
        let after = dice.within(1..=after);
        let is_cut = kind == Kind::Cut || kind == Kind::Lies && dice.one_in(4);
        Self {
            kind,
            policy: Policy { offers, lmtp, answers, texts: Vec::new() },
            letters,
            config,
            capacity: dice.pick(&[usize::MAX, usize::MAX, usize::MAX, 100, 7]),
            trouble: is_cut.then_some((after, trouble)),
            lies: if kind == Kind::Lies { dice.pick(&[3, 8, 16]) } else { 0 },
            dice: Dice::new(seed, 3),
        }
    }

    /// Whether content goes by BDAT.
    pub fn is_chunked(&self) -> bool {
        self.config.chunking != Chunking::Needed && self.policy.offers.contains(&"CHUNKING")
    }

    /// Whether the server gives verdicts and the client may ask for them.
    pub fn has_verdicts(&self) -> bool {
        self.policy.offers.contains(&"PRDR") && !self.policy.lmtp
    }
}

fn letter(dice: &mut Dice, number: usize, chunked: bool) -> Letter {
    let length = dice.pick(&[0, 5, 30, 80, if chunked { 3 * CHUNK } else { 80 }]);
    let mut content: Vec<u8> = format!("{number}\r\n").into_bytes();
    while content.len() < length {
        content.extend_from_slice(dice.pick(&[
            &b"a"[..],
            b"bcdefgh",
            b".",
            b"\r\n",
            b"\r\n.\r\n",
            b"\r\nQUIT\r\n",
            b"\r",
            b"\n",
        ]));
    }
    if content.len() % CHUNK == 0 {
        // Whether a full chunk is the last one depends on when the next octet would have come.
        content.push(b'x');
    }
    if length == 0 && dice.one_in(2) {
        content.clear();
    }
    Letter { recipients: dice.pick(&[1, 1, 2, 3, 5]), content, all_or_none: dice.one_in(4), verdicts: dice.one_in(2) }
}

/// How the server is disposed.
struct Moods<'a> {
    dice: &'a mut Dice,
    /// One answer in so many is not the best.
    temper: usize,
    /// The session is to be the same in lock-step.
    plain: bool,
    /// Content may come before the replies to RCPT.
    ahead: bool,
}

impl Moods<'_> {
    /// A code that says yes, any of them, so that one reply is not taken for another.
    fn yes(&mut self) -> u16 {
        200 + u16::try_from(self.dice.within(0..=99)).unwrap_or(0)
    }

    fn answer(&mut self) -> u16 {
        if self.dice.one_in(self.temper) {
            let code = self.dice.pick(&[450, 452, 499, 500, 503, 550, 552, 554, 599]);
            return if self.dice.one_in(8) { self.dice.pick(&[421, 334, 354, 353]) } else { code };
        }
        self.yes()
    }

    /// As `answer`, without what ends the session.
    fn mild(&mut self) -> u16 {
        Some(self.answer()).filter(|code| *code != 421 && code / 100 != 3).unwrap_or(451)
    }

    /// What a client asks in lock-step depends on what it was answered. Where a client that does not wait would have asked
    /// more than that, and what it was answered then would make another session of it, the answers are mild.
    fn answers(&mut self, letter: &Letter, lmtp: bool) -> Answers {
        let Self { plain, ahead, .. } = *self;
        let recipients = letter.recipients;
        let grants_nobody = self.dice.one_in(2) && !(plain && lmtp);
        let mut some = |mild: bool| if plain && mild { self.mild() } else { self.answer() };
        let mail = some(ahead);
        let rcpt = (0..recipients).map(|_| some(ahead || letter.all_or_none)).collect();
        // A promise of verdicts that are not meant to come is a lie.
        let end = (0..recipients).map(|_| some(ahead)).map(|code| if code == 353 { 354 } else { code }).collect();
        let verdicts: Vec<u16> = (0..recipients).map(|_| some(ahead)).collect();
        Answers {
            mail,
            rcpt,
            data: if self.dice.one_in(self.temper) { self.answer() } else { 354 },
            grants_nobody,
            chunks: (0..3).map(|_| if plain && lmtp { self.yes() } else { self.mild() }).collect(),
            verdicts: Some(verdicts).filter(|_| self.dice.one_in(2)),
            end,
            reset: if plain && (grants_nobody || ahead) { 250 } else { self.answer() },
        }
    }
}
