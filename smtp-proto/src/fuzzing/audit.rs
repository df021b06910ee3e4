//! A witness who sees only the octets that cross, one after the other, and tells from them what became of each message.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::{Outcome, ReplyLimits, Report, Stage, parse_reply};

/// What the client has said and the server has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Mail,
    Rcpt(usize),
    Data,
    Chunk,
    /// The end of content: for all, or in LMTP for one.
    End(Option<usize>),
    Rset,
    /// Anything behind which nothing may be said until it is answered (RFC 2920 section 3.1).
    Alone,
}

/// A reply that is due: to what, in which transaction, and how far the client had come when it was said.
#[derive(Clone, Copy, Debug)]
struct Due {
    said: Said,
    record: usize,
    end: u64,
}

/// One recipient.
#[derive(Clone, Copy, Debug, Default)]
struct Recipient {
    rcpt: Option<u16>,
    /// The answer to the content.
    end: Option<u16>,
}

/// One transaction, from its MAIL on.
#[derive(Clone, Debug, Default)]
struct Record {
    mail: Option<u16>,
    data: Option<u16>,
    recipients: Vec<Recipient>,
    /// The last octet of the content has left.
    complete: bool,
    chunked: bool,
    /// Refusals that are no answer to MAIL, RCPT or DATA.
    refusals: Vec<u16>,
}

/// Where the client's octets stand.
#[derive(Debug)]
enum Place {
    Line(Vec<u8>),
    Content(Vec<u8>),
    Chunk { left: usize, last: bool },
}

/// The witness.
#[derive(Debug)]
pub(super) struct Audit {
    lmtp: bool,
    pub(super) secure: bool,
    place: Place,
    /// Octets the client has said.
    sent: u64,
    due: VecDeque<Due>,
    /// The reply that is coming, and how far the client had come when it began.
    reply: Vec<u8>,
    began: u64,
    /// The client's next line answers a challenge.
    challenged: bool,
    /// Replies to chunks that came before their chunk had left.
    early: usize,
    records: Vec<Record>,
}

fn is_2yz(code: Option<u16>) -> bool {
    code.is_some_and(|code| code / 100 == 2)
}

impl Audit {
    pub(super) fn new(lmtp: bool, secure: bool) -> Self {
        Self {
            lmtp,
            secure,
            place: Place::Line(Vec::new()),
            sent: 0,
            due: [Due { said: Said::Alone, record: 0, end: 0 }].into(),
            reply: Vec::new(),
            began: 0,
            challenged: false,
            early: 0,
            records: Vec::new(),
        }
    }

    /// What a server that means well would say now.
    pub(super) fn good_reply(&self) -> &'static [u8] {
        match self.due.front().map(|due| due.said) {
            Some(Said::Data) => b"354 go\r\n",
            Some(_) => b"250 ok\r\n",
            None => b"",
        }
    }

    /// The client says something.
    pub(super) fn sent(&mut self, octets: &[u8]) {
        for &octet in octets {
            let alone = self.due.back().is_some_and(|due| matches!(due.said, Said::Data | Said::Alone));
            assert!(!alone, "{:?} was not answered yet", self.due);
            self.sent += 1;
            match &mut self.place {
                Place::Line(line) => {
                    line.push(octet);
                    if octet == b'\n' {
                        let line = core::mem::take(line);
                        self.line(&line);
                    }
                }
                Place::Content(content) => {
                    content.push(octet);
                    if content == b".\r\n" || content.ends_with(b"\r\n.\r\n") {
                        self.complete();
                    }
                }
                Place::Chunk { left, last } => {
                    *left -= 1;
                    if *left == 0 {
                        let last = *last;
                        self.chunk(last);
                    }
                }
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(text) = line.strip_suffix(b"\r\n") else { panic!("{line:?}") };
        assert!(text.iter().all(|octet| matches!(octet, b' '..=b'~')) && line.len() <= 512, "{line:?}");
        let mut words = text.split(|octet| *octet == b' ');
        let said = match words.next().unwrap_or_default() {
            _ if core::mem::take(&mut self.challenged) => Said::Alone,
            b"MAIL" => {
                self.records.push(Record::default());
                Said::Mail
            }
            b"RCPT" => {
                let recipients = &mut self.record().recipients;
                recipients.push(Recipient::default());
                Said::Rcpt(recipients.len() - 1)
            }
            b"DATA" => Said::Data,
            b"RSET" => Said::Rset,
            b"BDAT" => {
                self.record().chunked = true;
                let length = words.next().and_then(|length| core::str::from_utf8(length).ok());
                let Some(left) = length.and_then(|length| length.parse().ok()) else { panic!("{line:?}") };
                let last = words.next() == Some(b"LAST");
                self.place = Place::Chunk { left, last };
                if left == 0 {
                    self.chunk(last);
                }
                return;
            }
            b"BURL" => {
                self.record().chunked = true;
                return self.chunk(words.nth(1) == Some(b"LAST"));
            }
            verb => {
                assert!(verb != b"AUTH" || self.secure, "a password in clear");
                Said::Alone
            }
        };
        self.awaits(said);
    }

    fn awaits(&mut self, said: Said) {
        self.due.push_back(Due { said, record: self.records.len().saturating_sub(1), end: self.sent });
    }

    /// The transaction that the client is about.
    fn record(&mut self) -> &mut Record {
        match self.records.last_mut() {
            Some(record) => record,
            None => panic!("no MAIL was said"),
        }
    }

    fn chunk(&mut self, last: bool) {
        self.place = Place::Line(Vec::new());
        if last {
            self.complete();
        } else if self.early > 0 {
            self.early -= 1;
        } else {
            self.awaits(Said::Chunk);
        }
    }

    /// The content has left.
    fn complete(&mut self) {
        self.place = Place::Line(Vec::new());
        let lmtp = self.lmtp;
        let record = self.record();
        record.complete = true;
        let accepted = record.recipients.iter().enumerate().filter(|(_, recipient)| is_2yz(recipient.rcpt));
        let ends: Vec<Said> = match lmtp {
            true => accepted.map(|(index, _)| Said::End(Some(index))).collect(),
            false => alloc::vec![Said::End(None)],
        };
        let early = core::mem::take(&mut self.early);
        ends.into_iter().skip(early).for_each(|said| self.awaits(said));
    }

    /// The server says an octet.
    pub(super) fn heard(&mut self, octet: u8) {
        if self.reply.is_empty() {
            self.began = self.sent;
        }
        self.reply.push(octet);
        if octet != b'\n' {
            return;
        }
        let limits = ReplyLimits { line: usize::MAX, total: usize::MAX, lines: usize::MAX, ..ReplyLimits::default() };
        // What is none ends the session, and nothing more is heard.
        let complete = parse_reply(&self.reply, &limits).ok().flatten().map(|(reply, _)| reply.code().get());
        if let Some(code) = complete {
            self.reply.clear();
            self.replied(code);
        }
    }

    fn replied(&mut self, code: u16) {
        let answered = self.due.front().copied().filter(|due| due.end <= self.began);
        let Some(due) = answered else {
            // A chunk that is leaving may be refused ahead of its end; any other reply that comes early ends the session.
            self.early += 1;
            if let Some(record) = self.records.last_mut() {
                record.refusals.push(code);
            }
            return;
        };
        self.due.pop_front();
        if due.said == Said::Data && code == 354 {
            self.place = Place::Content(Vec::new());
        }
        self.challenged = due.said == Said::Alone && code == 334;
        let Some(record) = self.records.get_mut(due.record) else { return };
        match due.said {
            Said::Mail => record.mail = Some(code),
            Said::Rcpt(index) => record.recipients[index].rcpt = Some(code),
            Said::Data => record.data = Some(code),
            Said::Chunk if code / 100 != 2 => record.refusals.push(code),
            Said::End(index) => {
                let answered = record.recipients.iter_mut().enumerate();
                let answered = answered.filter(|(place, _)| index.is_none_or(|index| index == *place));
                answered.for_each(|(_, recipient)| recipient.end = Some(code));
            }
            Said::Alone | Said::Rset | Said::Chunk => {}
        }
    }

    /// Holds a report against what was seen.
    pub(super) fn check(&self, report: &Report) {
        let record = usize::try_from(report.id().get()).ok().and_then(|id| self.records.get(id));
        let unsaid = Record::default();
        let record = record.unwrap_or(&unsaid);
        for (index, (_, outcome)) in report.recipients().enumerate() {
            let Recipient { rcpt, end } = record.recipients.get(index).copied().unwrap_or_default();
            let admitted = is_2yz(record.mail) && is_2yz(rcpt);
            // Where content goes ahead, it may have left before it is known who gets it; 3yz says neither yes nor no.
            let possible = [record.mail, rcpt].iter().all(|code| code.is_none_or(|code| code < 400));
            let granted = record.chunked || record.data == Some(354);
            let right = match outcome {
                Outcome::Accepted(reply) => {
                    let answered = is_2yz(end) && end == Some(reply.code().get()) && record.refusals.is_empty();
                    admitted && granted && record.complete && answered
                }
                Outcome::Refused { stage, reply, transient } => {
                    let code = Some(reply.code().get());
                    let clear = reply.code().get() >= 400 || !record.complete;
                    let refused = match stage {
                        Stage::Mail => record.mail == code && !is_2yz(code) && clear,
                        Stage::Rcpt => is_2yz(record.mail) && rcpt == code && !is_2yz(code) && clear,
                        Stage::Data => admitted && record.data == code && code != Some(354),
                        Stage::Content => {
                            let said = reply.code().get();
                            admitted && said >= 400 && (end == code || record.refusals.contains(&said))
                        }
                    };
                    refused && (*transient || reply.code().get() >= 500)
                }
                Outcome::NotSent => !(possible && record.complete),
                Outcome::InDoubt => possible && record.complete && end.is_none_or(|end| end / 100 == 3),
            };
            assert!(right, "{outcome:?} of recipient {index}: {record:?}");
            // And the other way round: whoever was accepted is told so, unless the content was refused before its end.
            let accepted = admitted && record.complete && is_2yz(end) && record.refusals.is_empty();
            assert!(!accepted || outcome.is_accepted(), "{outcome:?} of recipient {index}: {record:?}");
        }
    }
}
