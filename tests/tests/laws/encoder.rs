//! What DATA and BDAT make of content.

use bytes::BufMut;
use proptest::prelude::*;
use smtp_conformance::dice::Dice;
use smtp_conformance::lab::{Lab, smtp, transaction};
use smtp_conformance::model::Letter;
use smtp_conformance::model::encoder::{decode, encode};
use smtp_conformance::model::server::{Answers, Policy, Server};
use smtp_conformance::model::talk::Talk;
use smtp_proto::{BodyError, Chunking, DotStuffer, LineEndings, LongLines};

const POLICIES: [LineEndings; 3] = [LineEndings::Normalize, LineEndings::Strict, LineEndings::Space];

/// An encoder and what it has written of one content so far.
#[derive(Clone)]
struct Encoding {
    stuffer: DotStuffer,
    stream: Vec<u8>,
}

impl Encoding {
    fn new(line_endings: LineEndings) -> Self {
        Self { stuffer: DotStuffer::new(line_endings, LongLines::Send, true), stream: Vec::with_capacity(32) }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let taken = self.stuffer.encode(piece, &mut self.stream)?;
        assert_eq!(taken, piece.len(), "there is room");
        Ok(())
    }

    fn ends_as(&self, piece: &[u8], expected: &Result<Vec<u8>, BodyError>) -> bool {
        let mut whole = self.clone();
        let fed = whole.feed(piece).and_then(|()| whole.stuffer.finish(&mut whole.stream));
        match (fed, expected) {
            (Ok(()), Ok(expected)) => whole.stream == *expected,
            (Err(error), Err(expected)) => error == *expected,
            _ => false,
        }
    }
}

/// Checks every content that begins with `content`; `heads` are encoders that have taken it up to each of its cuts.
fn exhaust(
    content: &mut Vec<u8>,
    heads: &mut Vec<Result<Encoding, BodyError>>,
    longest: usize,
    policy: LineEndings,
) -> u64 {
    let expected = encode(content, policy);
    if let Ok(stream) = &expected {
        // What the encoder is held against has to be right itself.
        let (lines, rest) = decode(stream).expect("a terminator");
        assert!(rest.is_empty() && !lines.contains(&0) && !has_bare_line_ending(stream), "{content:?}");
    }
    for (cut, head) in heads.iter().enumerate() {
        let same = match head {
            Ok(head) => head.ends_as(&content[cut..], &expected),
            Err(error) => Err(*error) == expected,
        };
        assert!(same, "{content:?} cut at {cut} by {policy:?} should be {expected:?}");
    }
    let mut count = 1;
    if content.len() < longest {
        for octet in [b'\r', b'\n', b'.', b'a', b'\0'] {
            content.push(octet);
            let mut head = Encoding::new(policy);
            heads.push(head.feed(content).map(|()| head));
            count += exhaust(content, heads, longest, policy);
            heads.pop();
            content.pop();
        }
    }
    count
}

fn has_bare_line_ending(stream: &[u8]) -> bool {
    let bare = |index: usize, octet: u8| match octet {
        b'\r' => stream.get(index + 1) != Some(&b'\n'),
        b'\n' => index == 0 || stream[index - 1] != b'\r',
        _ => false,
    };
    stream.iter().enumerate().any(|(index, &octet)| bare(index, octet))
}

// K-03, P-02, P-03, S-10, S-11, S-13, C-43, C-44, C-47: every content of up to eight octets over those that matter, in every two
// pieces, by every policy, is what the naive encoder makes of it, errors and their offsets included.
#[test]
fn every_small_content_in_every_two_pieces() {
    for policy in POLICIES {
        let count = exhaust(&mut Vec::new(), &mut vec![Ok(Encoding::new(policy))], 8, policy);
        assert_eq!(count, 488_281);
    }
}

proptest! {
    // P-02, P-03: any content, in any pieces, through buffers of any size: one terminator, at the end, no bare CR or LF and
    // no NUL; and a server that takes the dots off has the normalized content.
    #[test]
    fn any_content_in_any_pieces(
        content in prop::collection::vec(prop::sample::select(b"\r\n\r\n..ab\xff".to_vec()), 0..200),
        seed in any::<u64>(),
        policy in prop::sample::select(POLICIES.to_vec()),
    ) {
        let mut dice = Dice::new(seed, 0);
        let mut encoding = Encoding::new(policy);
        let mut rest = content.as_slice();
        let mut fed = Ok(());
        while fed.is_ok() && !rest.is_empty() {
            let piece = dice.within(1..=rest.len());
            let room = dice.within(3..=20);
            let mut out = (&mut encoding.stream).limit(room);
            fed = encoding.stuffer.encode(&rest[..piece], &mut out).map(|taken| rest = &rest[taken..]);
        }
        let expected = encode(&content, policy);
        let same = fed.map_or_else(|error| Err(error) == expected, |()| encoding.ends_as(b"", &expected));
        prop_assert!(same, "{:?}", expected);
        if let Ok(stream) = expected {
            let (_, behind) = decode(&stream).expect("a terminator");
            prop_assert!(behind.is_empty() && !has_bare_line_ending(&stream));
        }
    }

    // P-04, C-85: the size that is declared is that of the lines a server reads, dots and terminator aside.
    #[test]
    fn the_declared_size_is_the_size(content in prop::collection::vec(prop::sample::select(b"\r\n\r\n..ab".to_vec()), 0..200)) {
        let mut lab = Lab::ready(smtp(), &["SIZE"]);
        lab.connection.begin(transaction(1).content(&content)).unwrap();
        let said = lab.says();
        lab.hear("250 ok\r\n");
        lab.says();
        lab.hear("250 ok\r\n");
        lab.says();
        lab.hear("354 go\r\n");
        let stream = lab.pours(&content);
        let (lines, _) = decode(&stream).expect("a terminator");
        prop_assert_eq!(said, format!("MAIL FROM:<me@client.example> SIZE={}\r\n", lines.len()));
    }

    // P-04, C-80: the chunks are as long as they say, and together they are the content.
    #[test]
    fn chunks_add_up(
        content in prop::collection::vec(any::<u8>(), 0..3000),
        pipelining in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut config = smtp();
        config.chunking = Chunking::Prefer;
        config.body_buffer = 1024;
        let offers: &[&'static str] = if pipelining { &["CHUNKING", "8BITMIME", "PIPELINING"] } else { &["CHUNKING", "8BITMIME"] };
        let server = Server::new(Policy::new(offers, Answers::default()));
        let mut talk = Talk::new(config, server, &[Letter { content: content.clone(), ..Letter::to(1) }]);
        talk.dice = Some(Dice::new(seed, 0));
        let told = talk.run();
        prop_assert_eq!((told.wrong, told.server.out_of_order), (None, None));
        let chunks = told.server.commands.iter().filter_map(|command| command.strip_prefix("BDAT "));
        let lengths = chunks.map(|argument| argument.trim_end_matches(" LAST").parse::<usize>().unwrap());
        prop_assert_eq!(lengths.sum::<usize>(), content.len());
        prop_assert_eq!(&told.server.messages[0].content, &content);
    }
}
