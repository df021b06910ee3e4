//! Envelopes and contents of whole messages. Lists of addresses have tests of their own beside their parser.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use std::io::{BufRead, Read};

use proptest::prelude::*;

use super::*;
use crate::address::AddressError;

fn recipients(header: &str) -> Vec<String> {
    let octets = format!("From: me@a.example\r\n{header}\r\nhello\r\n");
    let message = Message::parse(octets.as_bytes()).unwrap_or_else(|error| panic!("{header:?}: {error}"));
    message.recipients().iter().map(|path| path.as_str().into()).collect()
}

fn sender(header: &str) -> Result<String, MessageError> {
    let octets = format!("{header}To: you@b.example\r\n\r\nhello\r\n");
    Message::parse(octets.as_bytes()).map(|message| message.from().as_str().into())
}

fn error(octets: &[u8]) -> MessageError {
    Message::parse(octets).unwrap_err()
}

// Sender goes before From; both in any letter case and place.
#[test]
fn the_sender_sends() {
    assert_eq!(sender("From: a@x.example\r\n").unwrap(), "a@x.example");
    assert_eq!(sender("From: a@x.example, b@x.example\r\nSENDER : S <s@x.example>\r\n").unwrap(), "s@x.example");
    assert_eq!(sender("Reply-To: r@x.example\r\nFrom: g: a@x.example;\r\n").unwrap(), "a@x.example");
    assert_eq!(sender("Reply-To: r@x.example\r\n"), Err(MessageError::NoSender));
    assert_eq!(sender("From: nobody:;\r\n"), Err(MessageError::NoSender));
    // An empty Sender is no leave to take another.
    assert_eq!(sender("Sender: \r\nFrom: a@x.example\r\n"), Err(MessageError::NoSender));
    let several = |header: &str| Err(MessageError::SeveralSenders { header: header.into() });
    assert_eq!(sender("From: a@x.example, b@x.example\r\n"), several("From"));
    assert_eq!(sender("From: a@x.example\r\nFrom: b@x.example\r\n"), several("From"));
    assert_eq!(sender("Sender: a@x.example, b@x.example\r\nFrom: c@x.example\r\n"), several("Sender"));
}

// To, Cc and Bcc, every one of them, in this order, whatever theirs.
#[test]
fn all_recipients_in_order() {
    let header = "Bcc: f@x.example\r\nCc: d@x.example\r\nTo: a@x.example,\r\n\t b@x.example\r\nBCC: g@x.example\r\n\
                  cc : e@x.example\r\nReply-To: r@x.example\r\nTo:\r\n c@x.example\r\n";
    let expected = ["a", "b", "c", "d", "e", "f", "g"].map(|local| format!("{local}@x.example"));
    assert_eq!(recipients(header), expected);
}

// Each once: domains are the same in any letter case, local parts are not, needless quotes do not count.
#[test]
fn each_recipient_once() {
    let header = "To: a@x.example, A@x.example\r\nCc: a@X.Example, \"a\"@x.example, b@Größe.example\r\n\
                  Bcc: A@x.example, b@GRÖSSE.example, b@GRÖßE.example\r\n";
    assert_eq!(recipients(header), ["a@x.example", "A@x.example", "b@Größe.example", "b@GRÖSSE.example"]);
    let given = ["a@x.example", "b@x.example", "a@X.EXAMPLE", "Postmaster", "postmaster"];
    let given = given.map(|text| ForwardPath::parse(text).unwrap());
    let message = Message::parse_with(b"From: me@a.example\n\n", None, Some(given.into())).unwrap();
    assert!(message.recipients().iter().map(ForwardPath::as_str).eq(["a@x.example", "b@x.example", "Postmaster"]));
}

// A domain and its A-labels are one, for they are sent as one (C-89).
#[cfg(feature = "idna")]
#[test]
fn each_recipient_once_in_a_labels() {
    let header = "To: a@bücher.example\r\nCc: a@xn--bcher-kva.example, a@XN--BCHER-KVA.Example\r\n\
                  Bcc: A@xn--bcher-kva.example, ü@xn--bcher-kva.example, ü@BÜCHER.example\r\n";
    assert_eq!(recipients(header), ["a@bücher.example", "A@xn--bcher-kva.example", "ü@xn--bcher-kva.example"]);
}

// Whoever sends is not taken from behind a name that is not closed by brackets.
#[test]
fn no_other_sender() {
    for header in ["From", "Sender"] {
        let wrong = sender(&format!("{header}: \"Boss\", real@me.example, X <other@evil.example>\r\n"));
        assert!(matches!(wrong, Err(MessageError::NotAddresses { .. })), "{wrong:?}");
    }
}

#[test]
fn nobody_to_send_to() {
    for header in ["", "To:\r\n", "To: undisclosed-recipients:;\r\nBcc: (nobody)\r\n"] {
        let octets = format!("From: me@a.example\r\n{header}\r\nhello\r\n");
        assert_eq!(error(octets.as_bytes()), MessageError::NoRecipients, "{header}");
    }
    let nobody = Message::parse_with(b"From: me@a.example\nTo: a@x.example\n\n", None, Some(vec![]));
    assert_eq!(nobody, Err(MessageError::NoRecipients));
}

// What the caller says goes before the headers, which are then not even read; Bcc is taken out all the same.
#[test]
fn callers_know_better() {
    let octets = b"From: x\nTo: y\nBcc: z\nResent-To: a@b.example\n\nhello\n";
    let (from, to) = (ReversePath::null(), ForwardPath::parse("you@b.example").unwrap());
    let message = Message::parse_with(octets, Some(from.clone()), Some(vec![to.clone()])).unwrap();
    assert_eq!((message.from(), message.recipients()), (&from, &[to][..]));
    assert_eq!(message.content().into_cow(), &b"From: x\nTo: y\nResent-To: a@b.example\n\nhello\n"[..]);

    let octets = b"From: me@a.example\nTo: you@b.example\n\n";
    let message = Message::parse_with(octets, Some(from), None).unwrap();
    assert!(message.from().is_null());
    assert_eq!(message.recipients(), [ForwardPath::parse("you@b.example").unwrap()]);
}

// What is given is not asked for, and for what is not given a block of Resent- fields counts as ever.
#[test]
fn given_in_part() {
    let octets =
        b"From: a@x.example\nTo: b@x.example\nResent-Date: now\nResent-From: r@y.example\nResent-To: s@y.example\n\n";
    let (from, to) = (ReversePath::parse("me@z.example").unwrap(), ForwardPath::parse("you@z.example").unwrap());
    let told = |from: Option<&ReversePath>, to: Option<&ForwardPath>| {
        let message = Message::parse_with(octets, from.cloned(), to.map(|to| alloc::vec![to.clone()])).unwrap();
        let recipients: Vec<_> = message.recipients().iter().map(|to| String::from(to.as_str())).collect();
        (String::from(message.from().as_str()), recipients)
    };
    assert_eq!(told(Some(&from), None), ("me@z.example".into(), alloc::vec!["s@y.example".into()]));
    assert_eq!(told(None, Some(&to)), ("r@y.example".into(), alloc::vec!["you@z.example".into()]));
    assert_eq!(told(Some(&from), Some(&to)), ("me@z.example".into(), alloc::vec!["you@z.example".into()]));
}

// A block of Resent- fields takes the place of all the others, and it has to be one block.
#[test]
fn resent_messages() {
    let original = "From: a@x.example\r\nTo: b@x.example\r\nBcc: c@x.example\r\n";
    let read = |block: &str| {
        let octets = format!("{block}{original}\r\nhello\r\n");
        Message::parse(octets.as_bytes()).map(|message| {
            let content = message.content().into_cow().into_owned();
            (message.from().to_string(), format!("{:?}", message.recipients()), String::from_utf8(content).unwrap())
        })
    };
    let block = "Resent-Date: now\r\nResent-From: r@y.example\r\nResent-To: s@y.example\r\nResent-Bcc: t@y.example\r\n";
    let (from, to, content) = read(block).unwrap();
    assert_eq!((&*from, to.matches("@y.example").count(), to.matches('@').count()), ("<r@y.example>", 2, 2));
    let sent = "Resent-Date: now\r\nResent-From: r@y.example\r\nResent-To: s@y.example\r\nFrom: a@x.example\r\n\
                To: b@x.example\r\n\r\nhello\r\n";
    assert_eq!(content, sent);
    let (from, ..) = read(&format!("{block}Resent-Sender: u@y.example\r\n")).unwrap();
    assert_eq!(from, "<u@y.example>");

    assert_eq!(read(&block.repeat(2)), Err(MessageError::SeveralResentBlocks));
    // Two blocks, too, though one has no date.
    assert_eq!(read(&format!("{block}Resent-To: v@y.example\r\n")), Err(MessageError::SeveralResentBlocks));
    assert_eq!(read("Resent-From: r@y.example\r\nResent-To: s@y.example\r\n"), Err(MessageError::NoResentDate));
    assert_eq!(read("Resent-Date: now\r\nResent-To: s@y.example\r\n"), Err(MessageError::NoSender));
    assert_eq!(read("Resent-Date: now\r\nResent-From: r@y.example\r\n"), Err(MessageError::NoRecipients));
    // Marks of where it has been are not a block.
    assert_eq!(read("Resent-Message-ID: <1@y.example>\r\n").unwrap().0, "<a@x.example>");
}

// C-60: Bcc and Resent-Bcc go, with their folded lines, and nothing else does, octet by octet.
#[test]
fn bcc_is_not_sent() {
    for (octets, sent) in [
        ("From: a@b\r\nBcc: c@d\r\n\r\nBcc: e@f\r\n", "From: a@b\r\n\r\nBcc: e@f\r\n"),
        ("bcc: c@d,\r\n e@f,\r\n\tg@h\r\nFrom: a@b\r\n\r\n", "From: a@b\r\n\r\n"),
        ("BCC :c@d\nFrom: a@b\n\n\nx", "From: a@b\n\n\nx"),
        ("From: a@b\nBcc: c@d", "From: a@b\n"),
        ("From: a@b\nBcc: c@d\n", "From: a@b\n"),
        ("From: a@b\nBcc:\n c@d\n \n e@f\nX-Bcc: y\nBccc: z\n\n", "From: a@b\nX-Bcc: y\nBccc: z\n\n"),
        ("Bcc: c@d\nFrom: a@b\nBcc: e@f\nbCC: g@h\nTo: i@j\n\nk", "From: a@b\nTo: i@j\n\nk"),
        ("From: a@b\r\nSubject: \u{20}x \r\n\r\n \t\0\r\r\n\nTo: c@d\nBcc: c@d\n\nx", ""),
    ] {
        let to = ForwardPath::parse("you@b.example").unwrap();
        let message = Message::parse_with(octets.as_bytes(), None, Some(vec![to])).unwrap();
        let sent = if sent.is_empty() { octets } else { sent };
        assert_eq!(message.content().into_cow(), sent.as_bytes(), "{octets:?}");
        let mut read = Vec::new();
        message.content().read_to_end(&mut read).unwrap();
        assert_eq!(read, sent.as_bytes());
        assert_eq!(message.content().collect::<Vec<_>>().concat(), sent.as_bytes());
    }
}

// The content of a message without Bcc is the message itself, not a copy.
#[test]
fn content_is_borrowed() {
    let octets = b"From: a@b\nTo: c@d\n\nhello\n";
    let message = Message::parse(octets).unwrap();
    let alloc::borrow::Cow::Borrowed(content) = message.content().into_cow() else { panic!("copied") };
    assert!(core::ptr::eq(content, octets));
    let mut content = message.content();
    content.consume(0);
    content.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(content.fill_buf().unwrap(), &octets[5..]);
    content.consume(1000);
    assert!(content.fill_buf().unwrap().is_empty());
    assert_eq!(content.into_cow(), &b""[..]);
}

// S-10: what is a header field must not depend on who reads it: a bare CR becomes a line end on the wire.
#[test]
fn header_blocks_that_are_none() {
    for (octets, offset) in
        [("From: a@b\rBcc: c@d\n\n", 9), ("A: b\r\r\nFrom: a@b\r\n\r\n", 4), ("From: a@b\r", 9), ("A:\n \r \n\n", 4)]
    {
        assert_eq!(error(octets.as_bytes()), MessageError::BareCr { offset }, "{octets:?}");
    }
    for (octets, offset, text) in [
        ("From me@b Tue Nov 24 12:00:00 2026\nFrom: a@b\n\n", 0, "From me@b Tue Nov 24 12:00:00 2026"),
        ("A: b\nno colon\nFrom: a@b\n\n", 5, "no colon"),
        (" A: b\n\n", 0, "A: b"),
        ("\tA: b\n\n", 0, "A: b"),
        (": b\n\n", 0, ": b"),
        ("A b: c\n\n", 0, "A b: c"),
        ("Größe: c\n\n", 0, "Größe: c"),
        ("A: b\nBcc", 5, "Bcc"),
        ("A\x1b[2J\n", 0, "A\x1b[2J"),
    ] {
        assert_eq!(error(octets.as_bytes()), MessageError::NotAField { offset, text: text.into() }, "{octets:?}");
    }
    assert_eq!(error(b""), MessageError::NoSender);
    assert_eq!(error(b"\r\nFrom: a@b\r\nTo: c@d\r\n"), MessageError::NoSender);
}

// S-20, S-24: errors name the field and what is in it, and show no control character.
#[test]
#[cfg_attr(miri, ignore = "large on purpose")]
fn errors_name_the_header() {
    let shown = |header: &str| error(format!("From: a@b\n{header}\n\n").as_bytes()).to_string();
    assert_eq!(
        shown("To: a@b, evil@x.example\x1b2J"),
        "in To, the character at octet 14 of the address does not belong there: evil@x.example\\u{1b}2J"
    );
    // Only from there on, for the list may be long.
    assert_eq!(
        shown("To: a@b,\n evil@x.example SIZE=1\x1b[2J, c@d"),
        "the addresses in To cannot be read: evil@x.example SIZE=1\\u{1b}[2J, c@d"
    );
    assert_eq!(shown("CC: (a\x07"), "the addresses in CC cannot be read: (a\\u{7}");
    assert_eq!(shown("nonsense\x07"), "this is no header field, at octet 10: nonsense\\u{7}");
    assert!(shown(&format!("To: {}", "x".repeat(100_000))).len() < 300);
    let wrong = error(b"From: a..b@c\nTo: a@b\n\n");
    let error = AddressError::Character { offset: 2 };
    assert_eq!(wrong, MessageError::Address { header: "From".into(), text: "a..b@c".into(), error });
}

fn reason(octets: &str) -> Option<String> {
    let message = Message::parse(octets.as_bytes()).unwrap();
    let (headers, _) = octets.split_once("\n\n").unwrap();
    let sent: String = headers.lines().filter(|line| !line.starts_with("Bcc")).collect();
    assert_eq!(message.transaction().utf8.is_some(), !sent.is_ascii());
    message.transaction().utf8_reason().map(|reason| reason.to_string())
}

// C-88: SMTPUTF8 is asked for when an address or a header needs it, and the message says which.
#[test]
fn why_smtputf8() {
    let rest = "From: me@a.example\nTo: you@b.example\n\n";
    assert_eq!(reason(&format!("{rest}grüße\n")), None);
    assert_eq!(reason(&format!("Subject: grüße\n{rest}")).unwrap(), "the header Subject is not ASCII");
    assert_eq!(reason(&format!("Sender: ü@a.example\n{rest}")).unwrap(), "the sender <ü@a.example> is not ASCII");
    let recipient = format!("Cc: a@b.example, ü@b.example\nSubject: ü\n{rest}");
    assert_eq!(reason(&recipient).unwrap(), "the recipient <ü@b.example> is not ASCII");
    // The name of somebody hidden stays hidden, and his address may be ASCII.
    assert_eq!(reason(&format!("Bcc: Jürgen <j@b.example>\n{rest}")), None);
    assert!(reason(&format!("Bcc: j@bü.example\n{rest}")).is_some());
    // An address that may do without by IDNA does not speak for the headers.
    assert!(reason(&format!("Bcc: j@bü.example\nSubject: ü\n{rest}")).unwrap().contains("recipient"));
}

// A name may be in whatever octets it is, an address only in UTF-8.
#[test]
fn eight_bit_headers() {
    let message = Message::parse(b"From: J\xfcrgen <me@a.example>\nTo: you@b.example\n\n").unwrap();
    assert_eq!(message.transaction().utf8_reason(), Some(Utf8Reason::Header("From".into())));
    assert_eq!(message.body_type(), BodyType::EightBitMime);
    let wrong = error(b"From: j\xfcrgen@a.example\nTo: you@b.example\n\n");
    assert!(matches!(wrong, MessageError::NotAddresses { header, .. } if &*header == "From"));
}

// C-85, C-87: size and type are those of what is sent.
#[test]
fn the_transaction_declares_what_is_sent() {
    let octets = "From: me@a.example\nBcc: Jürgen <j@b.example>\nSubject: x\r\n\nhello";
    let message = Message::parse(octets.as_bytes()).unwrap();
    let sent = "From: me@a.example\r\nSubject: x\r\n\r\nhello\r\n";
    assert_eq!((message.size(), message.body_type()), (sent.len() as u64, BodyType::SevenBit));
    let expected = Transaction::new(ReversePath::parse("me@a.example").unwrap())
        .to(ForwardPath::parse("j@b.example").unwrap())
        .content(sent.as_bytes());
    assert_eq!(message.transaction(), expected);
    let message = Message::parse("From: a@b\nTo: c@d\n\nö\n".as_bytes()).unwrap();
    assert_eq!(message.body_type(), BodyType::EightBitMime);
}

// C-45, C-47: what DATA cannot send, or some would not take, is said before; offsets are those of the content.
#[test]
#[cfg_attr(miri, ignore = "large on purpose")]
fn nul_and_long_lines_are_told() {
    let head = "From: a@b\nTo: c@d\n\n";
    let with_bcc = |body: &str| format!("Bcc: {}\n{head}{body}", "x".repeat(2000).replace("xx", "e@f.example,"));
    for (body, nul, long_line) in [
        ("", None, None),
        ("a\0b\0", Some(1), None),
        (&*format!("{}\r\n{}\n{}", "a".repeat(998), "b".repeat(998), "c".repeat(998)), None, None),
        (&*format!("\r{}", "a".repeat(999)), None, Some(999)),
        (&*format!("x\n{}\r\n\0", "a".repeat(1999)), Some(2003), Some(1000)),
    ] {
        let octets = with_bcc(body);
        let message = Message::parse(octets.as_bytes()).unwrap();
        let at = |offset: Option<u64>| offset.map(|offset| offset + head.len() as u64);
        assert_eq!((message.nul(), message.long_line()), (at(nul), at(long_line)), "{body:?}");
    }
}

fn field() -> impl Strategy<Value = String> {
    let value = "[ -~é]{0,20}(\r?\n[ \t][!-~]{1,10}){0,2}\r?\n";
    ("(X-[a-z]{1,5}|Subject|Bc|Bccs|Resent-Bc)", value).prop_map(|(name, value)| format!("{name}: {value}"))
}

fn bcc() -> impl Strategy<Value = String> {
    let value = "[ \t]{0,2}a@b\\.example(,(\r?\n)?[ \t][a-z]{1,5}@c\\.example){0,3}\r?\n";
    ("([Rr][Ee]sent-)?[Bb][Cc][Cc] ?", value).prop_map(|(name, value)| format!("{name}:{value}"))
}

proptest! {
    // C-60: wherever Bcc stands, what is sent is the rest, octet by octet.
    #[test]
    #[cfg_attr(miri, ignore = "large on purpose")]
    fn bcc_goes_and_nothing_else(
        fields in proptest::collection::vec((any::<bool>(), field(), bcc()), 0..6),
        body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)),
    ) {
        let (mut octets, mut sent) = (Vec::new(), Vec::new());
        for (hidden, field, bcc) in &fields {
            let line = if *hidden { bcc } else { field };
            octets.extend_from_slice(line.as_bytes());
            if !hidden {
                sent.extend_from_slice(line.as_bytes());
            }
        }
        for buffer in [&mut octets, &mut sent] {
            if let Some(body) = &body {
                buffer.extend_from_slice(b"\r\n");
                buffer.extend_from_slice(body);
            }
        }
        let to = ForwardPath::parse("you@b.example").unwrap();
        let message = Message::parse_with(&octets, Some(ReversePath::null()), Some(vec![to])).unwrap();
        prop_assert_eq!(message.content().into_cow(), &sent[..]);
        let whole = Transaction::new(ReversePath::null()).content(&sent);
        prop_assert_eq!((Some(message.size()), Some(message.body_type())), (whole.size, whole.body_type));
    }

    // S-20: no octets whatever make this panic, and what becomes an address is one; no more addresses than `@`.
    #[test]
    #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
    fn hostile_messages(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        value in "[ab@.,;:<>()\"\\\\ \t\r\né=?\\[\\]\0-]{0,60}",
        name in "(From|Sender|To|Cc|Bcc|Resent-Date|Resent-From|Resent-To)",
    ) {
        let _ = Message::parse(&octets);
        let framed = [b"From: a@b\nTo: ".as_slice(), &octets, b"\n\nbody"].concat();
        let _ = Message::parse(&framed);
        let text = format!("From: me@b.example\nTo: you@b.example\n{name}: {value}\n\n");
        if let Ok(message) = Message::parse(text.as_bytes()) {
            prop_assert!(message.recipients().len() <= text.matches('@').count());
            for path in message.recipients() {
                prop_assert_eq!(ForwardPath::parse(path.as_str()), Ok(path.clone()));
            }
        }
    }
}
