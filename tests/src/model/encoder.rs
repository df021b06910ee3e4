//! What DATA makes of content, octet by octet.

use smtp_proto::{BodyError, LineEndings};

/// The whole stream of one content, terminator included, or the first octet that may not be sent.
///
/// # Errors
///
/// [`BodyError`] as of the real one.
pub fn encode(content: &[u8], line_endings: LineEndings) -> Result<Vec<u8>, BodyError> {
    let mut lines = Vec::new();
    let mut stream = Vec::new();
    let mut at = 0;
    while at < content.len() {
        let bare = matches!(content[at], b'\r' | b'\n') && !content[at..].starts_with(b"\r\n");
        match content[at] {
            0 => return Err(BodyError::Nul { offset: at as u64 }),
            _ if bare && line_endings == LineEndings::Strict => {
                return Err(BodyError::BareLineEnding { offset: at as u64 });
            }
            _ if bare && line_endings == LineEndings::Space => lines.push(b' '),
            b'\r' if !bare => {
                lines.extend_from_slice(b"\r\n");
                at += 1;
            }
            b'\r' | b'\n' => lines.extend_from_slice(b"\r\n"),
            octet => lines.push(octet),
        }
        at += 1;
    }
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    for (index, &octet) in lines.iter().enumerate() {
        if octet == b'.' && (index == 0 || lines[index - 1] == b'\n') {
            stream.push(b'.');
        }
        stream.push(octet);
    }
    stream.extend_from_slice(b".\r\n");
    Ok(stream)
}

/// What a server makes of such a stream: lines up to the lone dot, one leading dot off each, and what comes behind.
pub fn decode(mut stream: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    loop {
        let end = stream.windows(2).position(|pair| pair == b"\r\n")? + 2;
        let (line, rest) = stream.split_at(end);
        stream = rest;
        if line == b".\r\n" {
            return Some((content, stream));
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
}
