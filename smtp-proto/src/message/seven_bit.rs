//! From 8 bits to 7, for servers without 8BITMIME (RFC 6152 section 3).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mailparse::{ParsedMail, parse_mail};
use quoted_printable::{InputMode, Options, encode_with_options};

use super::error::MessageError;
use super::fields::{self, Field};

/// How many multiparts a message may hold, and how deep messages within messages may lie. The parser descends into each.
const MULTIPARTS: usize = 100;
const MESSAGES: usize = 10;

/// Octets that a Content-Type field may have, and question marks, of which an encoded word has four.
const TYPE: usize = 4096;
const MARKS: usize = 40;

/// Octets of base64 in a line (RFC 2045 section 6.8), and what they stand for.
const LINE: usize = 76 / 4 * 3;

/// Why a message cannot be turned into one of 7 bits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SevenBitError {
    /// What should be a header block is none.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A header field is not ASCII. That it would have to be made anew, by RFC 2047, is for whoever made it.
    #[error("the header {name} is not ASCII and would have to be made anew, by RFC 2047")]
    Header {
        /// The field's name.
        name: Box<str>,
    },
    /// The octets over 127 are signed (RFC 1847 section 2.1): as others they would no longer be.
    #[error("a signature is about the octets over 127")]
    Signed,
    /// A part holds octets over 127, which its own encoding rules out or does not tell the meaning of.
    #[error("a part says that its encoding is {encoding}, and holds octets over 127")]
    Encoding {
        /// The value of Content-Transfer-Encoding.
        encoding: Box<str>,
    },
    /// Octets over 127 stand in no part, or in one of a kind that is not known, or the message is nested too deep.
    #[error("it is not clear which part holds the octets over 127")]
    Structure,
}

/// The same message in 7 bits: each part that holds octets over 127 in quoted-printable if it is text, else in base64 (RFC
/// 2045 section 6). All else stays as it is, octet by octet, but for Content-Transfer-Encoding and, where they were missing,
/// MIME-Version and Content-Type. A message of ASCII stays as it is.
///
/// For a server without 8BITMIME, where the caller would rather change the message than not send it. A signature by DKIM
/// breaks where it covers the body, so convert first and sign then.
///
/// ```
/// use smtp_proto::message::{Message, to_seven_bit};
/// use smtp_proto::BodyType;
///
/// let octets = to_seven_bit("From: a@b.example\r\nTo: c@d.example\r\n\r\ngrüße\r\n".as_bytes())?;
/// assert!(octets.ends_with(b"charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9Fe\r\n"));
/// assert_eq!(Message::parse(&octets)?.body_type(), BodyType::SevenBit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`SevenBitError`] when it cannot be done without guessing, or without breaking a signature within the message.
pub fn to_seven_bit(message: &[u8]) -> Result<Cow<'_, [u8]>, SevenBitError> {
    if message.is_ascii() {
        return Ok(Cow::Borrowed(message));
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 4);
    convert_message(message, &mut out, MESSAGES)?;
    Ok(Cow::Owned(out))
}

fn convert_message(message: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), SevenBitError> {
    let name = b"multipart/";
    let multiparts = message.windows(name.len()).filter(|window| window.eq_ignore_ascii_case(name)).count();
    let depth = depth.checked_sub(1).filter(|_| multiparts <= MULTIPARTS).ok_or(SevenBitError::Structure)?;
    if !has_plain_types(message) {
        return Err(SevenBitError::Structure);
    }
    // Whether it is a header block at all, and where it is not, is told by ours.
    fields::split(message)?;
    let mail = parse_mail(message).map_err(|_| SevenBitError::Structure)?;
    convert(&mail, out, depth, true)
}

/// Whether the parser can be given a message: it decodes encoded words in each Content-Type, in time that grows with the
/// square of its length and more, and may find a multipart in them that was not counted.
fn has_plain_types(message: &[u8]) -> bool {
    const NAME: &[u8] = b"content-type";
    // Of the field so far: octets, question marks, and whether its type has been read.
    let mut field: Option<(usize, usize, bool)> = None;
    message.split_inclusive(|&octet| octet == b'\n').all(|line| {
        if line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            field = Some((0, 0, false));
        } else if !matches!(line, [b' ' | b'\t', ..]) {
            field = None;
        }
        let Some((length, marks, has_kind)) = &mut field else { return true };
        *length += line.len();
        *marks += memchr::memchr_iter(b'?', line).count();
        let kind = line.split(|&octet| octet == b';').next().filter(|_| !*has_kind);
        *has_kind |= line.contains(&b';');
        let encoded = kind.is_some_and(|kind| memchr::memmem::find(kind, b"=?").is_some());
        *length <= TYPE && *marks <= MARKS && !encoded
    })
}

/// Writes an entity: a message, or a part of one.
fn convert(mail: &ParsedMail<'_>, out: &mut Vec<u8>, depth: usize, is_message: bool) -> Result<(), SevenBitError> {
    let raw = mail.raw_bytes;
    if raw.is_ascii() {
        out.extend_from_slice(raw);
        return Ok(());
    }
    let header = Header::of(raw)?;
    let kind = header.kind(mail)?;
    if kind == "multipart/signed" {
        return Err(SevenBitError::Signed);
    }
    let body = raw.get(header.body..).unwrap_or_default();
    if kind.starts_with("multipart/") {
        header.write(out, "7bit", is_message);
        return convert_parts(mail, header.body, out, depth);
    }
    header.has_no_encoding()?;
    if matches!(kind, "message/rfc822" | "message/global") {
        header.write(out, "7bit", is_message);
        return convert_message(body, out, depth);
    }
    if kind.starts_with("message/") {
        return Err(SevenBitError::Structure);
    }
    if kind.starts_with("text/") {
        header.write(out, "quoted-printable", is_message);
        quoted_printable(body, header.line_end(), out);
    } else {
        header.write(out, "base64", is_message);
        for line in body.chunks(LINE) {
            out.extend_from_slice(BASE64_STANDARD.encode(line).as_bytes());
            out.extend_from_slice(header.line_end());
        }
    }
    Ok(())
}

/// Writes the body of a multipart, which begins at `done`: its parts converted, and what stands between them as it is.
fn convert_parts(mail: &ParsedMail<'_>, mut done: usize, out: &mut Vec<u8>, depth: usize) -> Result<(), SevenBitError> {
    let raw = mail.raw_bytes;
    // The parser goes by how a line begins; that of another multipart may begin so and go on.
    let boundary = mail.ctype.params.get("boundary").map_or("", |boundary| boundary);
    for line in raw.get(done..).unwrap_or_default().split(|&octet| octet == b'\n') {
        let rest = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary.as_bytes()));
        if !matches!(rest.map(<[u8]>::trim_ascii_end), None | Some(b"" | b"--")) {
            return Err(SevenBitError::Structure);
        }
    }
    let between =
        |from: usize, to: usize| raw.get(from..to).filter(|octets| octets.is_ascii()).ok_or(SevenBitError::Structure);
    for part in &mail.subparts {
        let start = part.raw_bytes.as_ptr().addr() - raw.as_ptr().addr();
        out.extend_from_slice(between(done, start)?);
        convert(part, out, depth, false)?;
        done = start + part.raw_bytes.len();
    }
    out.extend_from_slice(between(done, raw.len())?);
    Ok(())
}

/// Line by line, since a line end of text is one whichever way it is written.
fn quoted_printable(body: &[u8], line_end: &[u8], out: &mut Vec<u8>) {
    for line in body.split_inclusive(|&octet| octet == b'\n') {
        let (text, ended) = match line {
            [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => (text, true),
            text => (text, false),
        };
        let encoded = encode_with_options(text, Options::default().input_mode(InputMode::Binary));
        if line_end.len() == 1 {
            out.extend(encoded.bytes().filter(|&octet| octet != b'\r'));
        } else {
            out.extend_from_slice(encoded.as_bytes());
        }
        if ended {
            out.extend_from_slice(line_end);
        }
    }
}

/// The header block of an entity, all of it ASCII.
struct Header<'a> {
    raw: &'a [u8],
    fields: Vec<Field<'a>>,
    /// Where it ends, before the empty line, and where the body begins.
    end: usize,
    body: usize,
}

impl<'a> Header<'a> {
    fn of(raw: &'a [u8]) -> Result<Self, SevenBitError> {
        let fields = fields::split(raw)?;
        if let Some(field) = fields.iter().find(|field| !field.octets.is_ascii()) {
            return Err(SevenBitError::Header { name: field.name.into() });
        }
        let end = fields.last().map_or(0, |field| field.range().end);
        let empty = match raw.get(end..).unwrap_or_default() {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => 0,
        };
        Ok(Self { raw, fields, end, body: end + empty })
    }

    fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.is(name))
    }

    /// The type that the parser has read, where nobody can read another.
    fn kind<'m>(&self, mail: &'m ParsedMail<'_>) -> Result<&'m str, SevenBitError> {
        let twice = |name: &str| self.fields.iter().filter(|field| field.is(name)).count() > 1;
        let field = self.field("Content-Type");
        let boundaries = field.map_or(0, |field| {
            let begins =
                |parameter: &&[u8]| parameter.get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"boundary"));
            field.value().split(|&octet| octet == b';').map(<[u8]>::trim_ascii_start).filter(begins).count()
        });
        let kind = &*mail.ctype.mimetype;
        // Comments, and white space before the colon, which the parser knows nothing of.
        let odd = kind.contains(['(', ' ', '\t'])
            || field.is_some_and(|field| field.octets.get(field.name.len()) != Some(&b':'));
        if odd || boundaries > 1 || twice("Content-Type") || twice("Content-Transfer-Encoding") {
            return Err(SevenBitError::Structure);
        }
        Ok(kind)
    }

    /// The line end that the entity uses.
    fn line_end(&self) -> &'static [u8] {
        if self.raw.get(..self.body).is_some_and(|header| header.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" }
    }

    /// Only what is not encoded can be.
    fn has_no_encoding(&self) -> Result<(), SevenBitError> {
        let Some(field) = self.field("Content-Transfer-Encoding") else { return Ok(()) };
        let encoding = field.value().trim_ascii();
        if [&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain)) {
            return Ok(());
        }
        Err(SevenBitError::Encoding { encoding: super::error::excerpt(encoding) })
    }

    /// Writes the block and the empty line, with this encoding in place of the one it had. A message that does not say so
    /// yet becomes one of MIME.
    fn write(&self, out: &mut Vec<u8>, encoding: &str, is_message: bool) {
        for field in self.fields.iter().filter(|field| !field.is("Content-Transfer-Encoding")) {
            out.extend_from_slice(field.octets);
        }
        let text = core::str::from_utf8(self.raw).is_ok();
        let charset = if text { "text/plain; charset=utf-8" } else { "text/plain; charset=unknown-8bit" };
        for (name, value, wanted) in [
            ("MIME-Version", "1.0", is_message),
            ("Content-Type", charset, is_message),
            ("Content-Transfer-Encoding", encoding, true),
        ] {
            if wanted && (name == "Content-Transfer-Encoding" || self.field(name).is_none()) {
                for octets in [name.as_bytes(), b": ", value.as_bytes(), self.line_end()] {
                    out.extend_from_slice(octets);
                }
            }
        }
        out.extend_from_slice(self.raw.get(self.end..self.body).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    fn converted(message: &str) -> String {
        let out = to_seven_bit(message.as_bytes()).unwrap();
        assert!(out.is_ascii());
        String::from_utf8(out.into_owned()).unwrap()
    }

    // P-20: what the parser would take long for, or find a multipart in, is seen over all lines of a field, and for each anew.
    #[test]
    fn fields_that_are_not_plain() {
        let folded = |value: &str, lines: usize| format!("Content-Type: text/plain;\r\n{}", value.repeat(lines));
        let line = format!("\t{};\r\n", "x".repeat(500));
        for (message, plain) in [
            (folded(&line, 8), true),
            (folded(&line, 9), false),
            (format!("{}{}", folded(&line, 5), folded(&line, 5)), true),
            (folded("\t????????\r\n", 5), true),
            (folded("\t????????\r\n", 6), false),
            (folded("\tname=\"=?x?=\"\r\n", 1), true),
            ("Content-Type: =?utf-8?q?multipart/mixed?=\r\n".into(), false),
            ("Content-Type:\r\n =?utf-8?q?multipart/mixed?=;\r\n".into(), false),
        ] {
            assert_eq!(has_plain_types(message.as_bytes()), plain, "{message}");
        }
    }

    // C-44, C-46: a line is broken by the line end that the message has.
    #[test]
    fn soft_line_breaks_are_those_of_the_message() {
        let body = "\u{e9}".repeat(60);
        for end in ["\r\n", "\n"] {
            let mut out = Vec::new();
            quoted_printable(format!("{body}{end}").as_bytes(), end.as_bytes(), &mut out);
            let text = String::from_utf8(out).unwrap();
            let line = |line: &str| line.strip_suffix(end).is_some_and(|rest| !rest.ends_with('\r'));
            assert!(text.split_inclusive('\n').count() > 3 && text.split_inclusive('\n').all(line), "{text:?}");
        }
    }

    // C-46: each part is converted by itself, and what is 7-bit already stays as it is, preamble and epilogue too.
    #[test]
    fn parts_are_converted_one_by_one() {
        let part = |headers: &str, body: &str| format!("--b\r\n{headers}\r\n{body}\r\n");
        let plain = part("Content-Type: text/plain\r\n", "as it is = \t\r\n--c");
        let message = |text: &str, picture: &str, nested: &str, encoding: &str| {
            let parts = [part(text, picture), plain.clone(), nested.into()].concat();
            format!(
                "From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n{encoding}\r\npreamble\r\n{parts}--b--\r\nepilogue\r\n"
            )
        };
        let old = message(
            "Content-Type: text/html; charset=utf-8\r\nContent-transfer-encoding: 8BIT\r\nX-A: b\r\n",
            "grüße=\r\n\r\nend ",
            &part("Content-Type: image/png\r\n", &"é".repeat(40)),
            "Content-Transfer-Encoding: 8bit\r\n",
        );
        let expected = message(
            "Content-Type: text/html; charset=utf-8\r\nX-A: b\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            "gr=C3=BC=C3=9Fe=3D\r\n\r\nend=20",
            &format!(
                "--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n{}\r\n\r\n",
                BASE64_STANDARD.encode(&"é".repeat(40).as_bytes()[..57]),
                BASE64_STANDARD.encode(&"é".repeat(40).as_bytes()[57..]),
            ),
            "Content-Transfer-Encoding: 7bit\r\n",
        );
        assert_eq!(converted(&old), expected);
        assert!(matches!(to_seven_bit(expected.as_bytes()), Ok(Cow::Borrowed(_))));
    }

    // A part that is all header stays as it is; one whose body begins without an empty line has none.
    #[test]
    fn parts_without_an_empty_line() {
        let header = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n";
        let old = format!("{header}\n--b\nX-A: b\n--b\n\nü\n--b--\n");
        let [whole, part] = ["7bit", "quoted-printable"].map(|name| format!("Content-Transfer-Encoding: {name}\n"));
        let new = format!("{header}{whole}\n--b\nX-A: b\n--b\n{part}\n=C3=BC\n--b--\n");
        assert_eq!(converted(&old).replace("\r\n", "\n"), new);
        let glued = format!("{header}\n--b\nX-A: b\nü\n--b--\n");
        assert!(to_seven_bit(glued.as_bytes()).is_err(), "{}", converted(&glued));
    }

    // A message within a message is one, and says that it is of MIME where it did not.
    #[test]
    fn messages_within_messages() {
        let inner = "Subject: x\n\ngrüße\n";
        let outer = format!("Content-Type: message/rfc822\n\n{inner}");
        let mime =
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n";
        assert_eq!(
            converted(&outer),
            format!(
                "Content-Type: message/rfc822\nMIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\n\
                 Subject: x\n{mime}\ngr=C3=BC=C3=9Fe\n"
            )
        );
        let unknown = to_seven_bit(b"Subject: x\n\n\xff\n").unwrap().into_owned();
        assert!(String::from_utf8(unknown).unwrap().contains("charset=unknown-8bit"));
    }

    // What cannot be told, or would break, is said and not guessed.
    #[test]
    #[cfg_attr(miri, ignore = "large on purpose")]
    fn what_cannot_be_converted() {
        let error = |message: &str| to_seven_bit(message.as_bytes()).unwrap_err();
        assert_eq!(error("Subject: ü\n\nx"), SevenBitError::Header { name: "Subject".into() });
        assert!(matches!(error("no header ü\n"), SevenBitError::Message(MessageError::NotAField { .. })));
        let signed = "Content-Type: multipart/signed; boundary=b\n\n--b\n\nü\n--b\n\nsignature\n--b--\n";
        assert_eq!(error(signed), SevenBitError::Signed);
        for encoding in ["base64", "quoted-printable", "x-uuencode"] {
            let wrong = SevenBitError::Encoding { encoding: encoding.into() };
            assert_eq!(error(&format!("Content-Transfer-Encoding: {encoding}\n\nü")), wrong);
        }
        let nested = |depth| format!("{}\nü", "Content-Type: message/rfc822\n\n".repeat(depth));
        assert!(to_seven_bit(nested(MESSAGES - 1).as_bytes()).is_ok());
        let multiparts = |count: usize| {
            let open: String =
                (0..count).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}x\n\n--b{n}x\n")).collect();
            format!("{open}\nü\n")
        };
        assert!(to_seven_bit(multiparts(MULTIPARTS).as_bytes()).is_ok());
        for message in [
            nested(MESSAGES),
            multiparts(MULTIPARTS + 1),
            multiparts(100_000),
            "Content-Type: multipart/mixed; boundary=b\n\nü\n--b\n\nx\n--b--\n".into(),
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\nü".into(),
            "Content-Type: multipart/mixed\n\nü".into(),
            "Content-Type: message/partial\n\nü".into(),
            // Some read one thing and some another.
            "Content-Type: multipart/signed (c); boundary=b\n\n--b\n\nü\n--b\n\nx\n--b--\n".into(),
            "Content-Type: (c) multipart/mixed; boundary=b\n\n--b\n\nü\n--b--\n".into(),
            "Content-Type : multipart/signed; boundary=b\n\n--b\n\nü\n--b\n\nx\n--b--\n".into(),
            "Content-Type: text/plain\nContent-Type: multipart/signed; boundary=b\n\n--b\n\nü\n--b--\n".into(),
            "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\n--b\n\nü\n--a--\n".into(),
            "Content-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64\nSubject: of two\n\nü".into(),
            // A line of text, and the end of another multipart, that begin as a delimiter does.
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--bar\n\nü\n--b--\n".into(),
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b-c\n\n--b-c\n\nü\n--b-c--\n--b--\n".into(),
            // Multiparts that nobody has counted, and a type that takes hours to read.
            (0..20_000).map(|n| format!("Content-Type: =?us-ascii?q?multipart=2Fmixed?= ; boundary=b{n}x\n\n--b{n}x\n")).chain(["\nü".into()]).collect(),
            (0..20_000).map(|n| format!("Content-Type:\n =?us-ascii?q?multipart=2Fmixed?= ; boundary=b{n}x\n\n--b{n}x\n")).chain(["\nü".into()]).collect(),
            format!("Content-Type: x; name={}\n\nü", "=?".repeat(50_000)),
            format!("Content-Type: multipart/mixed; boundary={0}x\n\n{0}ü", "-".repeat(50_000)),
        ] {
            assert_eq!(error(&message), SevenBitError::Structure, "{}", &message[..60]);
        }
    }

    proptest! {
        // Any message converts to ASCII in lines that are short enough, or not at all; text reads as it did.
        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn text_reads_as_it_did(lines in prop::collection::vec("[a-z=\t üß\u{0}-\u{9}]{0,120}", 1..6), crlf: bool) {
            let end = if crlf { "\r\n" } else { "\n" };
            let body = lines.join(end);
            let message = format!("Subject: x{end}Content-Type: text/plain{end}{end}{body}");
            let out = to_seven_bit(message.as_bytes()).unwrap();
            prop_assert!(out.is_ascii());
            let read = parse_mail(&out).unwrap().get_body_raw().unwrap();
            prop_assert_eq!(String::from_utf8(read).unwrap().replace("\r\n", "\n"), lines.join("\n"));
            if !message.is_ascii() {
                prop_assert!(out.split(|&octet| octet == b'\n').all(|line| line.len() <= 77));
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "the generator of texts takes minutes")]
        fn no_message_breaks_it(message in "(Content-Type: (multipart/mixed; boundary=b|message/rfc822|text/plain)\n\n|--b\n|--b--\n|ü\n|a: b\n|\n){0,20}") {
            if let Ok(out) = to_seven_bit(message.as_bytes()) {
                prop_assert!(out.is_ascii());
            }
        }
    }
}
