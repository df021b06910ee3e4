//! How far one transaction has come: which command is next, and what each reply does to the recipients.

use alloc::vec::Vec;

use crate::capability::{Capabilities, Extension};
use crate::command::{self, Command, ContentUrl};
use crate::error::UsageError;
use crate::outcome::{Outcome, Stage};
use crate::parameter::{self, BodyType, Parameter};
use crate::reply::{Reply, Severity};
use crate::report::Report;
use crate::transaction::{OnRefusal, Recipient, Transaction, TransactionId};

use super::expect::Expect;
use super::extensions;

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Envelope {
    id: TransactionId,
    transaction: Transaction,
    /// The caller says MAIL, RCPT and DATA one at a time.
    by_hand: bool,
    /// RSET has to come before MAIL.
    pub(super) reset_first: bool,
    /// The content is sent by BDAT.
    pub(super) chunked: bool,
    /// And without waiting for the replies to MAIL and RCPT.
    pub(super) ahead: bool,
    sender: Sender,
    /// Recipients whose RCPT was queued, and of those the ones whose reply was read.
    asked: usize,
    answered: usize,
    accepted: usize,
    data: Data,
    /// The stream offset behind the terminator. Until the transport has taken all of it, the message is not sent.
    pub(super) end: u64,
    /// What the server was told to fetch.
    urls: Vec<ContentUrl>,
    /// Where each recipient has a reply to the content, those before this index have theirs or are due none.
    settled: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Sender {
    Unasked,
    Asked,
    Accepted,
    Refused(Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    Unasked,
    Asked,
    Answered,
}

/// What a transaction does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Queue the command that this reply answers.
    Send(Expect),
    /// Take the content, which is sent by BDAT.
    Chunks,
    /// Replies have to come first.
    Wait,
    /// It cannot reach the content, and all its replies are in.
    Fail,
}

/// What the go-ahead for content leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GoAhead {
    /// Content for at least one recipient.
    Content,
    /// There is nobody to deliver to; the server has to be led out of DATA.
    Nobody,
    /// The server refused.
    Refused,
}

impl Envelope {
    pub(super) fn new(id: TransactionId, transaction: Transaction, by_hand: bool) -> Self {
        Self {
            id,
            transaction,
            by_hand,
            reset_first: false,
            chunked: false,
            ahead: false,
            sender: Sender::Unasked,
            asked: 0,
            answered: 0,
            accepted: 0,
            data: Data::Unasked,
            end: 0,
            urls: Vec::new(),
            settled: 0,
        }
    }

    pub(super) fn id(&self) -> TransactionId {
        self.id
    }

    pub(super) fn is_by_hand(&self) -> bool {
        self.by_hand
    }

    /// What became of each recipient so far.
    #[cfg(test)]
    pub(super) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.transaction.recipients.iter().map(|recipient| &recipient.outcome)
    }

    /// How many recipients the server has accepted.
    pub(super) fn accepted(&self) -> usize {
        self.accepted
    }

    /// Whether the content may hold octets over 127.
    pub(super) fn is_eight_bit(&self) -> bool {
        matches!(self.transaction.body_type, Some(BodyType::EightBitMime | BodyType::BinaryMime))
    }

    /// Whether the content can only be sent by BDAT.
    pub(super) fn is_binary(&self) -> bool {
        self.transaction.body_type == Some(BodyType::BinaryMime)
    }

    /// Whether MAIL asked for SMTPUTF8.
    pub(super) fn is_utf8(&self) -> bool {
        self.transaction.utf8.is_some()
    }

    /// The server is told to fetch content.
    pub(super) fn fetches(&mut self, url: &ContentUrl) {
        self.urls.push(url.clone());
    }

    /// Whether a line of the server's repeats a URL that it was told to fetch.
    pub(super) fn is_echoed_in(&self, line: &[u8]) -> bool {
        self.urls.iter().any(|url| url.is_echoed_in(line))
    }

    /// Whether the message is for all or none.
    pub(super) fn is_for_all_or_none(&self) -> bool {
        self.transaction.on_refusal == OnRefusal::Abort
    }

    /// Whether the message is for all or none and somebody was refused.
    pub(super) fn is_hopeless(&self) -> bool {
        self.is_for_all_or_none() && self.accepted < self.answered
    }

    /// Whether a reply to MAIL, RCPT or DATA is due.
    pub(super) fn is_asking(&self) -> bool {
        self.sender == Sender::Asked || self.answered < self.asked || self.data == Data::Asked
    }

    /// Whether the server has accepted nobody, as far as is known.
    pub(super) fn has_nobody(&self) -> bool {
        self.accepted == 0
    }

    /// Adds a recipient by hand and returns its index.
    pub(super) fn add(&mut self, recipient: Recipient) -> usize {
        self.transaction.recipients.push(recipient);
        self.transaction.recipients.len() - 1
    }

    /// The next step. Replies may still be outstanding; whether a command may be sent before them is for the window to
    /// say.
    pub(super) fn next(&self) -> Next {
        let hopeless = self.is_hopeless();
        let all_asked = self.asked == self.transaction.recipients.len();
        let all_answered = self.asked == self.answered;
        match self.sender {
            Sender::Unasked if self.reset_first => return Next::Send(Expect::Between),
            Sender::Unasked => return Next::Send(Expect::Mail),
            Sender::Refused(_) => {
                let drained = all_answered && self.data != Data::Asked;
                return if drained { Next::Fail } else { Next::Wait };
            }
            Sender::Asked | Sender::Accepted => {}
        }
        if self.by_hand || self.data != Data::Unasked {
            return Next::Wait;
        }
        if !all_asked && !hopeless {
            return Next::Send(Expect::Rcpt(self.asked));
        }
        if self.ahead && self.is_asking() {
            return Next::Chunks;
        }
        if self.sender == Sender::Accepted && all_answered {
            return match self.accepted {
                0 => Next::Fail,
                _ if hopeless => Next::Fail,
                _ if self.chunked => Next::Chunks,
                _ => Next::Send(Expect::Data),
            };
        }
        // Under `Abort` the go-ahead must not be asked for before it is known that everybody gets the message; by BDAT the
        // content needs none, and so has to wait until it is known that anybody does.
        if self.is_for_all_or_none() || self.chunked { Next::Wait } else { Next::Send(Expect::Data) }
    }

    /// The command whose reply is `expect`.
    pub(super) fn command(&self, expect: Expect) -> Option<Command<'_>> {
        match expect {
            Expect::Between => Some(Command::Rset),
            Expect::Mail => Some(Command::Mail(&self.transaction)),
            Expect::Rcpt(index) => self.transaction.recipients.get(index).map(Command::Rcpt),
            Expect::Data => Some(Command::Data),
            _ => None,
        }
    }

    /// The command was queued.
    pub(super) fn asked(&mut self, expect: Expect) {
        match expect {
            Expect::Between => self.reset_first = false,
            Expect::Mail => self.sender = Sender::Asked,
            Expect::Rcpt(_) => self.asked += 1,
            Expect::Data => self.data = Data::Asked,
            _ => {}
        }
    }

    /// The reply to MAIL.
    pub(super) fn on_mail(&mut self, reply: Reply) {
        if reply.code().severity() == Severity::Completion {
            self.sender = Sender::Accepted;
            return;
        }
        for recipient in &mut self.transaction.recipients {
            recipient.outcome = Outcome::refused(Stage::Mail, reply.clone());
        }
        self.sender = Sender::Refused(reply);
    }

    /// The reply to RCPT.
    pub(super) fn on_rcpt(&mut self, index: usize, reply: &Reply) {
        self.answered += 1;
        let Some(recipient) = self.transaction.recipients.get_mut(index) else { return };
        if matches!(self.sender, Sender::Refused(_)) {
            // Without a sender there is no recipient; the refusal that matters is the sender's.
            return;
        }
        if reply.code().severity() == Severity::Completion {
            recipient.admitted = true;
            self.accepted += 1;
            return;
        }
        let too_many = reply.code().get() == 552 && self.accepted > 0;
        recipient.outcome = Outcome::refused(Stage::Rcpt, reply.clone());
        if let Outcome::Refused { transient, .. } = &mut recipient.outcome {
            *transient |= too_many;
        }
    }

    /// The reply to DATA.
    pub(super) fn on_data(&mut self, reply: &Reply) -> GoAhead {
        self.data = Data::Answered;
        if reply.code().get() != 354 {
            self.refuse_content(Stage::Data, reply);
            return GoAhead::Refused;
        }
        let sender_accepted = self.sender == Sender::Accepted;
        if sender_accepted && self.accepted > 0 { GoAhead::Content } else { GoAhead::Nobody }
    }

    /// Everybody who was to get the content is refused it.
    pub(super) fn refuse_content(&mut self, stage: Stage, reply: &Reply) {
        self.settle_all(&Outcome::refused(stage, reply.clone()));
    }

    /// Final replies that are due for the complete content.
    pub(super) fn finals(&self, lmtp: bool) -> usize {
        if lmtp { self.accepted } else { 1 }
    }

    /// A final reply: in LMTP for the next accepted recipient, otherwise for all of them. Whether it was the last one due.
    pub(super) fn on_final(&mut self, reply: Reply, lmtp: bool) -> bool {
        let outcome = if reply.code().severity() == Severity::Completion {
            Outcome::Accepted(reply)
        } else {
            Outcome::refused(Stage::Content, reply)
        };
        if !lmtp {
            self.settle_all(&outcome);
            return true;
        }
        if let Some(recipient) = self.next_recipient() {
            recipient.outcome = outcome;
        }
        !self.transaction.recipients.iter().skip(self.settled).any(|recipient| recipient.admitted)
    }

    /// Whether the server may answer the content for each recipient, ahead of the final reply. It may begin so once.
    pub(super) fn wants_verdicts(&self) -> bool {
        self.transaction.wants_verdicts() && self.settled == 0 && !self.has_nobody()
    }

    /// The verdict of the next accepted recipient. A refusal is his last word; else the final reply decides.
    pub(super) fn on_verdict(&mut self, reply: Reply) {
        let Some(recipient) = self.next_recipient() else { return };
        if reply.code().is_refusal() {
            recipient.outcome = Outcome::refused(Stage::Content, reply);
        }
    }

    /// The next recipient that a reply to the content is for.
    fn next_recipient(&mut self) -> Option<&mut Recipient> {
        let waiting = self.transaction.recipients.iter_mut().enumerate().skip(self.settled);
        let (index, recipient) = { waiting }.find(|(_, recipient)| recipient.admitted)?;
        self.settled = index + 1;
        Some(recipient)
    }

    fn settle_all(&mut self, outcome: &Outcome) {
        for recipient in self.open_recipients() {
            recipient.outcome = outcome.clone();
        }
    }

    /// Recipients that the server accepted and has not yet decided on.
    fn open_recipients(&mut self) -> impl Iterator<Item = &mut Recipient> {
        let open = |recipient: &&mut Recipient| recipient.admitted && recipient.outcome == Outcome::NotSent;
        self.transaction.recipients.iter_mut().filter(open)
    }

    /// Ends the transaction. `transmitted` is how far the outgoing stream has come.
    pub(super) fn into_report(mut self, transmitted: u64) -> Report {
        if self.end > 0 && self.end <= transmitted {
            // Whoever is not answered yet may have been accepted all the same.
            let unanswered = self.transaction.recipients.iter_mut().skip(self.answered);
            unanswered.for_each(|recipient| recipient.admitted |= recipient.outcome == Outcome::NotSent);
            for recipient in self.open_recipients() {
                recipient.outcome = Outcome::InDoubt;
            }
        }
        let sender_refusal = match self.sender {
            Sender::Refused(reply) => Some(reply),
            _ => None,
        };
        let Transaction { recipients, utf8, .. } = self.transaction;
        Report { id: self.id, recipients, sender_refusal, utf8, split: false }
    }
}

/// An extension has to be offered.
pub(super) fn require(extension: Extension, offered: &Capabilities) -> Result<(), UsageError> {
    if offered.supports(extension) { Ok(()) } else { Err(UsageError::Missing(extension)) }
}

/// Fits a transaction to what the server offers, or says why that cannot be.
pub(super) fn prepare(
    mut transaction: Transaction,
    offered: &Capabilities,
    secure: bool,
) -> Result<Transaction, UsageError> {
    if !secure && transaction.requires_tls() {
        return Err(UsageError::RequireTlsInClear);
    }
    // What can be sent as it is stays as it is; for a server that takes ASCII only, a domain has another form.
    if !(offered.supports(Extension::SmtpUtf8) && offered.supports(Extension::EightBitMime)) {
        transaction.prefer_ascii();
    }
    transaction.utf8 = transaction.utf8_reason();
    if let Some(reason) = transaction.utf8.take_if(|_| !offered.supports(Extension::SmtpUtf8)) {
        return Err(UsageError::NeedsSmtpUtf8(reason));
    }
    // SMTPUTF8 needs 8BITMIME (RFC 6531 section 3.1).
    let both: &[Extension] = &[Extension::EightBitMime];
    let binary: &[Extension] = &[Extension::BinaryMime, Extension::Chunking];
    let needed = [(transaction.utf8.is_some(), both), (transaction.body_type == Some(BodyType::BinaryMime), binary)];
    for extension in needed.into_iter().filter(|(needed, _)| *needed).flat_map(|(_, extensions)| extensions) {
        require(*extension, offered)?;
    }
    match transaction.body_type {
        Some(BodyType::EightBitMime) => require(Extension::EightBitMime, offered)?,
        None if offered.supports(Extension::EightBitMime) => transaction.body_type = Some(BodyType::EightBitMime),
        _ => {}
    }
    if !offered.supports(Extension::Size) {
        transaction.size = None;
    } else if let (Some(size), Some(limit)) = (transaction.size, offered.size_limit()) {
        if size > limit {
            return Err(UsageError::TooLarge { limit });
        }
    }
    extensions::check_mail(&transaction, offered)?;
    check_line(&Command::Mail(&transaction), &transaction.parameters, parameter::MAIL_LINE_ALLOWANCES, offered)?;
    for recipient in &transaction.recipients {
        check_recipient(recipient, offered)?;
    }
    Ok(transaction)
}

/// Says why a recipient cannot be sent to this server, if so.
pub(super) fn check_recipient(recipient: &Recipient, offered: &Capabilities) -> Result<(), UsageError> {
    if !recipient.is_ascii() && !offered.supports(Extension::SmtpUtf8) {
        return Err(UsageError::NeedsSmtpUtf8(recipient.utf8_reason()));
    }
    if recipient.is_plain() && recipient.path.as_str().len() < command::LINE_LIMIT / 2 {
        return Ok(());
    }
    extensions::check_rcpt(recipient, offered)?;
    check_line(&Command::Rcpt(recipient), &recipient.parameters, parameter::RCPT_LINE_ALLOWANCES, offered)
}

fn check_line(
    command: &Command<'_>,
    parameters: &[Parameter],
    allowances: &[(&str, usize)],
    offered: &Capabilities,
) -> Result<(), UsageError> {
    if let Some(parameter) =
        parameters.iter().find(|parameter| parameter.needs_offer() && !offered.has(parameter.extension()))
    {
        return Err(UsageError::MissingKeyword(parameter.extension().into()));
    }
    let length = command.length();
    if length <= command::LINE_LIMIT {
        return Ok(());
    }
    let allowed =
        allowances.iter().filter(|(keyword, _)| offered.has(keyword)).map(|(_, octets)| octets).sum::<usize>();
    let limit = command::LINE_LIMIT + allowed;
    if length > limit { Err(UsageError::CommandTooLong { limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{ForwardPath, ReversePath};
    use crate::reply::{ReplyLimits, parse_reply};
    use crate::utf8::Utf8Reason;

    // C-89: where the server takes ASCII only, a domain goes as A-labels by the feature `idna`, and without it not at all; a
    // local part has no other form.
    #[test]
    fn domains_beyond_ascii() {
        let (reply, _) = parse_reply(b"250 x\r\n", &ReplyLimits::default()).unwrap().unwrap();
        let offered = Capabilities::from_reply(&reply.to_owned());
        for (address, ascii) in [("a@b\u{fc}cher.example", "a@xn--bcher-kva.example"), ("\u{fc}@x.example", "")] {
            let path = ForwardPath::parse(address).unwrap();
            let fitted = prepare(Transaction::new(ReversePath::null()).to(path.clone()), &offered, false);
            if cfg!(feature = "idna") && !ascii.is_empty() {
                assert_eq!(fitted.unwrap().recipients().map(ForwardPath::as_str).collect::<Vec<_>>(), [ascii]);
            } else {
                assert_eq!(fitted, Err(UsageError::NeedsSmtpUtf8(Utf8Reason::Recipient(path))));
            }
        }
    }
}
