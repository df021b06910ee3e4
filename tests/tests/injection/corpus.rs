//! The texts.

/// Each control character, each look-alike of a line end or a space, each character that a careless conversion to octets
/// makes one of, each separator of the protocol, and what was found in other programs; alone and in the places where a text
/// may be let through.
pub(crate) fn corpus() -> Vec<String> {
    let separators = "\0\t\n\r \u{7f}\u{85}\u{2028}\u{2029}<>\"=;,:()[]@\\/%+*\u{202e}\u{200b}\u{feff}é上";
    let separators = separators.chars().map(String::from);
    let attacks = separators.chain(ATTACKS.iter().map(|&attack| attack.to_owned()));
    let mut corpus: Vec<String> = attacks.flat_map(|text| everywhere(&text)).collect();
    for c in invisible_characters() {
        corpus.extend([
            c.to_string(),
            format!("a{c}QUIT"),
            format!("a@x.example{c}DATA"),
            format!("\"{c}\"@x.example"),
        ]);
    }
    corpus.extend(narrowing().enumerate().map(|(index, text)| match index % 3 {
        0 => text,
        1 => format!("{text}@x.example"),
        _ => format!("a@x{text}.example"),
    }));
    for length in [64, 65, 256, 400, 511, 512, 600, 13_000] {
        corpus.extend([
            "a".repeat(length),
            "a.".repeat(length / 2) + "example",
            "a@".to_owned() + &"b.".repeat(length / 2) + "example",
            format!("\"{}\"@x.example", " ".repeat(length)),
            "=".repeat(length),
            "é".repeat(length / 2) + "@x.example",
        ]);
    }
    corpus
}

/// A text in every place of one.
fn everywhere(text: &str) -> [String; 16] {
    [
        text.to_owned(),
        format!("a{text}"),
        format!("{text}a"),
        format!("a{text}b"),
        format!("a{text}b@x.example"),
        format!("a@x{text}.example"),
        format!("a@x.example{text}"),
        format!("\"a{text}b\"@x.example"),
        format!("\"a\\{text}b\"@x.example"),
        format!("<a{text}@x.example>"),
        format!("<@x.example{text}:a@x.example>"),
        format!("x.example{text}"),
        format!("x{text}.example"),
        format!("[192.0.2.1{text}]"),
        format!("imap://x.example/a{text}"),
        format!("2026-01-02T03:04:05Z{text}"),
    ]
}

/// C0 and C1, DEL, the spaces of ASCII and Unicode, and Unicode's line ends.
fn invisible_characters() -> impl Iterator<Item = char> {
    let spaces = [0x1680, 0x2000, 0x2028, 0x2029, 0x202f, 0x3000];
    (0..=0x20).chain(0x7f..=0xa0).chain(spaces).filter_map(char::from_u32)
}

/// Every character whose low octet is CR or LF, as U+560D and U+560A are; many to a text.
fn narrowing() -> impl Iterator<Item = String> {
    [0x0a, 0x0d].into_iter().flat_map(|low| {
        let all: Vec<char> = (1..=0x10ff).filter_map(|high| char::from_u32(high << 8 | low)).collect();
        all.chunks(20).map(|chunk| chunk.iter().collect()).collect::<Vec<String>>()
    })
}

const ATTACKS: &[&str] = &[
    "",
    "\r\nQUIT",
    "\nQUIT",
    "\rQUIT",
    "\r\n",
    "\r\n\r\n",
    "\r\n.\r\n",
    "\r\n.\r\nMAIL FROM:<x@y>",
    "\r\nRCPT TO:<x@y>\r\nDATA\r\n",
    ">\r\nRCPT TO:<x@y",
    "> SIZE=1",
    "> BODY=8BITMIME",
    ">SIZE=1",
    " SIZE=1",
    " NOTIFY=NEVER",
    "@x.example> ORCPT=rfc822;b",
    "\">\r\nDATA\r\n\"",
    "\"> SIZE=1 \"",
    "\\",
    "\\\"",
    "\\\"> SIZE=1",
    "\"\\",
    "@y.example",
    "@y.example,b",
    "%0d%0aQUIT",
    "%0D%0A.%0D%0A",
    "%00",
    "\\r\\nQUIT",
    "\\x0d\\x0aQUIT",
    "+0D+0AQUIT",
    "=0D=0AQUIT",
    "=?utf-8?q?=0D=0AQUIT?=",
    "&#13;&#10;QUIT",
    "\u{560d}\u{560a}QUIT",
    "\u{2028}QUIT",
    "\u{85}QUIT",
    "\0QUIT",
    "\x01auth=Bearer x\x01\x01",
    ",n=root",
    "\x1b[2J",
    "*",
    "=",
    "QUIT",
    "DATA",
    "-",
    "--",
    "(comment)",
    "a: b, c;",
    "${x}",
    "`x`",
];
