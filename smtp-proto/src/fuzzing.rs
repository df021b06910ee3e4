//! Bodies of the fuzz targets. Here, so that stable builds compile them and a stable test replays the seeds.
//!
//! Each takes any octets and panics when a law is broken.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::{
    BodyError, Capabilities, Chunking, Config, Connection, DotStuffer, Event, ForwardPath, HelloName, LineEndings,
    LongLines, Protocol, ReplyDecoder, ReplyError, ReplyLimits, ReversePath, Security, State, Time, Transaction,
    parse_reply,
};

/// The decoder, fed in two pieces, and the whole-buffer parser agree on every reply and on the error.
pub fn reply(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let limits = ReplyLimits { line: 64, total: 256, lines: 8, bare_lf: cut & 1 == 0, ..ReplyLimits::default() };
    let (head, tail) = stream.split_at(usize::from(cut / 2).min(stream.len()));
    assert_eq!(decoded(&[head, tail], &limits), parsed(stream, &limits));
    let octets: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(decoded(&octets, &limits), parsed(stream, &limits));
}

type Seen = (Vec<(u16, Vec<u8>)>, Option<ReplyError>);

fn decoded(pieces: &[&[u8]], limits: &ReplyLimits) -> Seen {
    let mut decoder = ReplyDecoder::new(limits.clone());
    let mut replies = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match decoder.decode(rest) {
                Ok((taken, reply)) => {
                    assert!(taken > 0 && taken <= rest.len());
                    replies.extend(reply.map(|reply| (reply.code().get(), reply.to_owned().text().to_vec())));
                    rest = rest.get(taken..).unwrap_or_default();
                }
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

fn parsed(mut stream: &[u8], limits: &ReplyLimits) -> Seen {
    let mut replies = Vec::new();
    loop {
        match parse_reply(stream, limits) {
            Ok(Some((reply, length))) => {
                let shown = reply.to_owned().to_string();
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
                replies.push((reply.code().get(), reply.to_owned().text().to_vec()));
                stream = stream.get(length..).unwrap_or_default();
            }
            Ok(None) => return (replies, None),
            Err(error) => return (replies, Some(error)),
        }
    }
}

/// Whatever a server says in reply to EHLO, every keyword read from it is one, and every lookup finds it.
pub fn capabilities(data: &[u8]) {
    let Ok(Some((reply, _))) = parse_reply(data, &ReplyLimits::default()) else { return };
    let offered = Capabilities::from_reply(&reply.to_owned());
    for (keyword, _) in offered.iter() {
        assert!(!keyword.is_empty() && keyword.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-'));
        assert!(offered.has(&keyword.to_ascii_lowercase()));
    }
    let mechanisms: Vec<&str> = offered.auth_mechanisms().collect();
    for (index, name) in mechanisms.iter().enumerate() {
        assert!(!mechanisms.iter().take(index).any(|earlier| earlier.eq_ignore_ascii_case(name)));
    }
    assert_ne!(offered.size_limit(), Some(0));
    if let Some(limits) = offered.limits() {
        let known = [limits.mail_max(), limits.rcpt_max(), limits.rcpt_domain_max()];
        assert!(known.into_iter().flatten().all(|limit| (1..=999_999).contains(&limit)));
        assert!(known.into_iter().flatten().count() <= limits.iter().count());
    }
    let _ = (offered.deliver_by_minimum(), offered.future_release(), offered.priority_profile());
    let _ = offered.server_name();
}

/// Content in any two pieces through a small buffer gives the same octets; they hold one terminator, at the end, no bare
/// CR or LF, and no NUL.
pub fn content(data: &[u8]) {
    let Some((&choice, content)) = data.split_first() else { return };
    let line_endings = match choice % 3 {
        0 => LineEndings::Normalize,
        1 => LineEndings::Strict,
        _ => LineEndings::Space,
    };
    let long_lines = if choice & 4 == 0 { LongLines::Send } else { LongLines::Strict };
    let stuffer = DotStuffer::new(line_endings, long_lines, choice & 8 == 0);
    let whole = encoded(&[content], stuffer.clone(), usize::MAX);
    let (head, tail) = content.split_at(usize::from(choice / 16).min(content.len()));
    assert_eq!(encoded(&[head, tail], stuffer, 5), whole);
    let Ok(sent) = whole else { return };
    let terminator = sent.windows(5).position(|window| window == b"\r\n.\r\n").map(|at| at + 5);
    assert!(sent == b".\r\n" || terminator == Some(sent.len()));
    for (index, octet) in sent.iter().enumerate() {
        match octet {
            b'\r' => assert_eq!(sent.get(index + 1), Some(&b'\n')),
            b'\n' => assert_eq!(index.checked_sub(1).and_then(|before| sent.get(before)), Some(&b'\r')),
            octet => assert_ne!(*octet, 0),
        }
    }
}

/// Encodes `pieces` through a buffer that takes at most `room` octets at a time.
pub(crate) fn encoded(pieces: &[&[u8]], mut stuffer: DotStuffer, room: usize) -> Result<Vec<u8>, BodyError> {
    let mut sent = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let mut out = BytesMut::new();
            let taken = stuffer.encode(rest, &mut (&mut out).limit(room))?;
            assert!(taken > 0 || !out.is_empty(), "no progress");
            assert!(taken <= rest.len(), "more than there was");
            rest = rest.get(taken..).unwrap_or_default();
            sent.extend_from_slice(&out);
        }
    }
    stuffer.finish(&mut sent)?;
    Ok(sent)
}

/// Any sequence of calls with any octets: no panic, one report for each transaction, nothing after the end, and nobody
/// accepted without the server having said 2yz.
pub fn connection(data: &[u8]) {
    let Some((&choice, mut script)) = data.split_first() else { return };
    let Ok(name) = HelloName::parse("fuzz.example") else { return };
    let mut config = Config::smtp(name);
    config.protocol = if choice & 1 == 0 { Protocol::Smtp } else { Protocol::Lmtp };
    // The server decides whether it is used.
    config.chunking = Chunking::Prefer;
    config.automatic_hello = choice & 2 == 0;
    config.transaction_window = usize::from(choice >> 2 & 3);
    config.pipeline_window = usize::from(choice >> 4) * 16;
    let mut connection = Connection::new(config, Security::Plaintext);
    let mut now = Duration::ZERO;
    let (mut begun, mut completed, mut closed) = (0, 0, false);
    // Whether a message was ever handed over in full, and whether a 2 came after that.
    let (mut sent, mut positive) = (false, false);
    while let Some((&operation, rest)) = script.split_first() {
        let (argument, rest) = rest.split_at(usize::from(operation >> 4).min(rest.len()));
        script = rest;
        now += Duration::from_secs(u64::from(operation));
        let time = Time::from_duration(now);
        match operation % 16 {
            0..=4 => {
                positive |= sent && argument.contains(&b'2');
                connection.handle_input(argument, time);
            }
            5 => connection.handle_input(b"250 ok\r\n", time),
            6 => connection.handle_transmitted(argument.len(), time),
            7 => connection.handle_transmitted(usize::MAX, time),
            8 => connection.handle_timeout(time),
            9 => begun += usize::from(begin(&mut connection, argument.len())),
            10 => drop(connection.body().map(|mut body| body.write(argument))),
            11 => {
                sent |= connection.body().is_some();
                let _ = connection.body().map(crate::Body::finish);
            }
            12 => drop(connection.handle_tls_established().or_else(|_| connection.starttls())),
            13 => drop(connection.ehlo().or_else(|_| connection.noop())),
            14 if argument.len() > 10 => connection.handle_eof(),
            14 if argument.len() > 8 => connection.handle_write_closed(time),
            14 => drop(connection.reset()),
            _ => drop(connection.quit()),
        }
        positive |= sent && operation % 16 == 5;
        let _ = connection.poll_timeout(time);
        while let Some(event) = connection.poll_event() {
            assert!(!closed, "{event:?} after the end");
            match event {
                Event::Completed(report) => {
                    completed += 1;
                    assert!(positive || report.recipients().all(|(_, outcome)| !outcome.is_accepted()));
                }
                Event::Closed(_) => closed = true,
                _ => {}
            }
        }
        assert!(completed <= begun);
        assert_eq!(closed, connection.state() == State::Closed);
        assert!(!closed || completed == begun && connection.poll_transmit().is_none() && connection.body().is_none());
    }
}

fn begin(connection: &mut Connection, recipients: usize) -> bool {
    let Ok(path) = ForwardPath::parse("r@fuzz.example") else { return false };
    let transaction = Transaction::new(ReversePath::null()).to_all(core::iter::repeat_n(path, recipients));
    let begun = if recipients == 0 { connection.mail(transaction) } else { connection.begin(transaction) };
    begun.is_ok()
}
