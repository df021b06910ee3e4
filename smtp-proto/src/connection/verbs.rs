//! What an application starts.

use alloc::boxed::Box;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::Connection;
use super::auth::Exchange;
use super::body::Body;
use super::envelope::{self, Envelope};
use super::expect::Expect;
use super::extensions;
use super::phase::{Content, Session};
use crate::address::HelloName;
use crate::capability::Extension;
use crate::command::{Command, CommandLine, ContentUrl, LINE_LIMIT, OriginalClient, XCLIENT, XFORWARD};
use crate::config::{Chunking, Protocol};
use crate::error::UsageError;
use crate::event::CloseReason;
use crate::sasl::{Mechanism, SaslError, Secret};
use crate::transaction::{Recipient, Transaction, TransactionId};
use crate::utf8::Utf8Reason;

/// Verbs.
impl Connection {
    /// Begins a transaction; exactly one [`Event::Completed`](crate::Event::Completed) will tell how it ended.
    ///
    /// Everything that can be known now is checked now: the server's size limit, and whether it offers what the
    /// transaction needs. With [`Config::transaction_window`](crate::Config::transaction_window) over 1 it may be
    /// called again while earlier transactions wait for their final reply.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn begin(&mut self, transaction: Transaction) -> Result<TransactionId, UsageError> {
        if transaction.recipients.is_empty() {
            return Err(UsageError::NoRecipients);
        }
        let id = self.open(transaction, false)?;
        self.start_envelope();
        Ok(id)
    }

    /// Says MAIL by hand: opens a transaction whose further steps are [`rcpt`](Self::rcpt), then [`data`](Self::data) or
    /// [`bdat`](Self::bdat) and [`body`](Self::body), or [`burl`](Self::burl). Each is answered by [`Event::Reply`](crate::Event::Reply), and
    /// the transaction as a whole by one [`Event::Completed`](crate::Event::Completed). A refusal of MAIL or DATA ends
    /// it; [`reset`](Self::reset) gives it up.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. The transaction must not have recipients yet.
    pub fn mail(&mut self, transaction: Transaction) -> Result<TransactionId, UsageError> {
        if !transaction.recipients.is_empty() {
            return Err(UsageError::RecipientsByHand);
        }
        let id = self.open(transaction, true)?;
        self.step_by_hand(Expect::Mail);
        Ok(id)
    }

    /// Says RCPT by hand, within [`mail`](Self::mail).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn rcpt(&mut self, recipient: impl Into<Recipient>) -> Result<(), UsageError> {
        self.available()?;
        let envelope = self.current.as_ref().ok_or(UsageError::NoTransaction)?;
        let mut recipient = recipient.into();
        if !envelope.is_utf8() {
            recipient.prefer_ascii();
        }
        envelope::check_recipient(&recipient, &self.capabilities)?;
        if !recipient.is_ascii() && !envelope.is_utf8() {
            return Err(UsageError::NeedsSmtpUtf8(recipient.utf8_reason()));
        }
        if let Some(maximum) = self.domain_limit().filter(|_| !self.domain_room().take(&recipient.path)) {
            return Err(UsageError::TooManyDomains { maximum });
        }
        self.keep_domains(core::slice::from_ref(&recipient));
        self.recipient_by_hand(recipient);
        Ok(())
    }

    /// Says DATA by hand, once at least one recipient was accepted. After the go-ahead write to [`body`](Self::body).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn data(&mut self) -> Result<(), UsageError> {
        if self.content_by_hand()?.is_binary() {
            return Err(UsageError::NeedsBdat);
        }
        self.step_by_hand(Expect::Data);
        Ok(())
    }

    /// Sends the content of a transaction by hand by BDAT (RFC 3030), once at least one recipient was accepted. There
    /// is no go-ahead: write to [`body`](Self::body) at once. Chunks are made and answered by themselves.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn bdat(&mut self) -> Result<(), UsageError> {
        self.content_by_hand()?;
        envelope::require(Extension::Chunking, &self.capabilities)?;
        self.start_chunks();
        Ok(())
    }

    /// Has the server fetch the content of a transaction by hand, all of it (BURL, RFC 4468), once at least one recipient
    /// was accepted. Where only parts of it are to be fetched, see [`Body::fetch`].
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. The server has to offer it, which many do only once the client has authenticated.
    pub fn burl(&mut self, url: &ContentUrl) -> Result<(), UsageError> {
        self.content_by_hand()?;
        envelope::require(Extension::Burl, &self.capabilities)?;
        self.send_url(url, true);
        Ok(())
    }

    /// The transaction by hand, if its content may come now.
    fn content_by_hand(&self) -> Result<&Envelope, UsageError> {
        self.available()?;
        let envelope = self.current.as_ref().ok_or(UsageError::NoTransaction)?;
        match envelope.accepted() {
            0 => Err(UsageError::NoRecipients),
            _ if envelope.is_hopeless() => Err(UsageError::AllOrNone),
            _ => Ok(envelope),
        }
    }

    /// The body to write to, exactly while the server waits for content.
    pub fn body(&mut self) -> Option<Body<'_>> {
        let owed = match &self.session {
            Session::Content(Content::Lines(_)) => true,
            Session::Content(Content::Chunks(chunks)) => !chunks.finished,
            _ => false,
        };
        (owed && !self.write_closed).then_some(Body { connection: self })
    }

    /// Says EHLO, or in LMTP LHLO, again or for the first time. Answered by [`Event::Reply`](crate::Event::Reply) and,
    /// if accepted, [`Event::Ready`](crate::Event::Ready); either way it replaces all capabilities.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn ehlo(&mut self) -> Result<(), UsageError> {
        self.idle()?;
        self.hello_by_hand(Expect::Ehlo);
        Ok(())
    }

    /// Says HELO, which leaves no capabilities. Answered as [`ehlo`](Self::ehlo).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. LMTP has no HELO.
    pub fn helo(&mut self) -> Result<(), UsageError> {
        self.idle()?;
        if self.config.protocol == Protocol::Lmtp {
            return Err(UsageError::NoHelo);
        }
        self.hello_by_hand(Expect::Helo);
        Ok(())
    }

    /// The name for hellos from here on.
    pub fn set_hello_name(&mut self, name: HelloName) {
        self.config.hello = name;
    }

    /// Says STARTTLS. A go-ahead is [`Event::UpgradeTls`](crate::Event::UpgradeTls), a refusal
    /// [`Event::Reply`](crate::Event::Reply).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. The server has to offer it, and only once (RFC 3207 section 4.2).
    pub fn starttls(&mut self) -> Result<(), UsageError> {
        self.idle()?;
        if self.secure {
            return Err(UsageError::AlreadySecure);
        }
        envelope::require(Extension::StartTls, &self.capabilities)?;
        self.start_command(&Command::StartTls, Expect::StartTls);
        Ok(())
    }

    /// Says XCLIENT: has a server that trusts this client take it for another (Postfix, XCLIENT_README). If it does, it
    /// greets anew and the session starts over, not authenticated and without capabilities: after
    /// [`Event::Greeting`](crate::Event::Greeting) hello is said again and [`Event::Ready`](crate::Event::Ready) comes
    /// again, unless hello is left to the caller ([`Config::automatic_hello`](crate::Config::automatic_hello)). A refusal
    /// is [`Event::Reply`](crate::Event::Reply), and the session goes on. It stays within TLS either way.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. The server has to offer XCLIENT and to list each attribute. What is too long for
    /// one line can be told in two, for the server keeps what it was told before; with ADDR in the second, since whether it
    /// takes more may depend on that.
    pub fn xclient(&mut self, client: &OriginalClient) -> Result<(), UsageError> {
        self.idle()?;
        let line = client.xclient();
        extensions::check_attributes(&line, XCLIENT, &self.capabilities)?;
        if line.attributes().next().is_none() {
            return Err(UsageError::NothingTold);
        }
        let command = Command::Line(&line);
        if command.length() > LINE_LIMIT {
            return Err(UsageError::CommandTooLong { limit: LINE_LIMIT });
        }
        self.start_command(&command, Expect::XClient);
        Ok(())
    }

    /// Authenticates by `mechanism`; [`sasl::choose`](crate::sasl::choose) picks one. Ends in
    /// [`Event::Authenticated`](crate::Event::Authenticated) or [`Event::AuthFailed`](crate::Event::AuthFailed).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent. The server has to offer the mechanism, and one that shows a password needs
    /// TLS.
    pub fn auth(&mut self, mechanism: Box<dyn Mechanism>) -> Result<(), UsageError> {
        self.may_authenticate(mechanism.name())?;
        if mechanism.exposes_password() && !self.secure && !self.config.danger_password_in_clear {
            return Err(UsageError::NeedsTls);
        }
        self.start_auth(Exchange::by_mechanism(mechanism), None);
        Ok(())
    }

    /// Authenticates by hand: each challenge comes as [`Event::AuthChallenge`](crate::Event::AuthChallenge). Whether
    /// what is sent is fit for a stream in clear cannot be known here, so without TLS it needs
    /// [`Config::danger_password_in_clear`](crate::Config::danger_password_in_clear). Octets are given raw; base64 is
    /// the connection's.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn auth_manual(&mut self, name: &str, initial: Option<Secret>) -> Result<(), UsageError> {
        self.may_authenticate(name)?;
        if !self.secure && !self.config.danger_password_in_clear {
            return Err(UsageError::NeedsTls);
        }
        self.start_auth(Exchange::by_caller(&name.to_ascii_uppercase()), initial);
        Ok(())
    }

    /// Answers a challenge.
    ///
    /// # Errors
    ///
    /// [`UsageError::NoChallenge`] when none waits for an answer.
    pub fn auth_respond(&mut self, response: &Secret) -> Result<(), UsageError> {
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(response.expose()));
        if self.answer_by_hand(Ok(&encoded)) { Ok(()) } else { Err(UsageError::NoChallenge) }
    }

    /// Gives the exchange up instead of answering a challenge. Ends in [`Event::AuthFailed`](crate::Event::AuthFailed).
    ///
    /// # Errors
    ///
    /// [`UsageError::NoChallenge`] when none waits for an answer.
    pub fn auth_cancel(&mut self) -> Result<(), UsageError> {
        if self.answer_by_hand(Err(SaslError::Cancelled)) { Ok(()) } else { Err(UsageError::NoChallenge) }
    }

    fn may_authenticate(&self, name: &str) -> Result<(), UsageError> {
        self.idle()?;
        if self.authenticated {
            return Err(UsageError::AlreadyAuthenticated);
        }
        envelope::require(Extension::Auth, &self.capabilities)?;
        if !self.capabilities.auth_mechanisms().any(|offered| offered.eq_ignore_ascii_case(name)) {
            return Err(UsageError::MechanismNotOffered(name.into()));
        }
        Ok(())
    }

    /// Says a command of the caller's. Answered by [`Event::Reply`](crate::Event::Reply).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn command(&mut self, line: &CommandLine) -> Result<(), UsageError> {
        self.available()?;
        if !line.as_str().is_ascii() && !self.capabilities.supports(Extension::SmtpUtf8) {
            return Err(UsageError::NeedsSmtpUtf8(Utf8Reason::Argument));
        }
        match line.extension() {
            Some(XFORWARD) => {
                self.idle()?;
                extensions::check_attributes(line, XFORWARD, &self.capabilities)?;
            }
            Some(extension) if !self.capabilities.has(extension) => {
                return Err(UsageError::MissingKeyword(extension.into()));
            }
            _ => {}
        }
        self.start_command(&Command::Line(line), Expect::Command);
        Ok(())
    }

    /// Says NOOP. Answered by [`Event::Reply`](crate::Event::Reply).
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn noop(&mut self) -> Result<(), UsageError> {
        self.available()?;
        self.start_command(&Command::Noop, Expect::Command);
        Ok(())
    }

    /// Says RSET, giving up a transaction by hand. Answered by [`Event::Reply`](crate::Event::Reply); if the server
    /// refuses it, the connection closes. Transactions of [`begin`](Self::begin) need no RSET: the core says it after
    /// every failure.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn reset(&mut self) -> Result<(), UsageError> {
        self.available()?;
        self.start_command(&Command::Rset, Expect::Reset);
        Ok(())
    }

    /// Says QUIT. The connection ends with [`CloseReason::Quit`], however the server takes it.
    ///
    /// # Errors
    ///
    /// [`UsageError`]; nothing was sent.
    pub fn quit(&mut self) -> Result<(), UsageError> {
        self.available()?;
        self.quit_because(CloseReason::Quit);
        Ok(())
    }

    /// Ends the connection at once, without terminator and without QUIT: the stream has to be dropped. What was not
    /// sent in full never will be.
    pub fn abort(&mut self) {
        self.close(CloseReason::Aborted);
    }

    /// Opens a transaction, if that is possible now and with this server.
    fn open(&mut self, transaction: Transaction, by_hand: bool) -> Result<TransactionId, UsageError> {
        self.may_begin()?;
        self.check_limits(&transaction)?;
        let transaction = self.fitted(transaction)?;
        self.keep_domains(&transaction.recipients);
        let prefer = self.config.chunking != Chunking::Needed && self.capabilities.supports(Extension::Chunking);
        let id = TransactionId(self.next_id);
        self.next_id += 1;
        let mut envelope = Envelope::new(id, transaction, by_hand);
        envelope.reset_first = self.awaiting.back().is_some_and(|last| last.is_asking() || last.has_nobody());
        envelope.chunked = envelope.is_binary() || prefer;
        envelope.ahead = prefer
            && self.config.chunking == Chunking::Ahead
            && self.config.protocol == Protocol::Smtp
            && self.config.pipelines(&self.capabilities)
            && !(by_hand || envelope.is_for_all_or_none());
        self.current = Some(envelope);
        Ok(id)
    }

    /// Whether a transaction could be begun now with this server, but for how many recipients it has: all else that
    /// [`begin`](Self::begin) checks.
    ///
    /// # Errors
    ///
    /// [`UsageError`] as there.
    pub fn check(&self, transaction: &Transaction) -> Result<(), UsageError> {
        self.may_begin()?;
        self.fitted(transaction.clone()).map(drop)
    }

    /// A transaction as it can be said to this server.
    fn fitted(&self, mut transaction: Transaction) -> Result<Transaction, UsageError> {
        if let Some(typed) = &mut transaction.typed {
            typed.per_recipient_replies &= self.config.protocol == Protocol::Smtp;
        }
        envelope::prepare(transaction, &self.capabilities, self.secure)
    }

    fn check_limits(&self, transaction: &Transaction) -> Result<(), UsageError> {
        let Some(limits) = self.capabilities.limits() else { return Ok(()) };
        if let Some(maximum) = limits.mail_max().filter(|&maximum| self.next_id >= u64::from(maximum)) {
            return Err(UsageError::MailLimit { maximum });
        }
        let recipients = u32::try_from(transaction.recipients.len()).unwrap_or(u32::MAX);
        if let Some(maximum) = limits.rcpt_max().filter(|&maximum| recipients > maximum) {
            return Err(UsageError::TooManyRecipients { maximum });
        }
        let mut room = self.domain_room();
        let fits = transaction.recipients.iter().all(|recipient| room.take(&recipient.path));
        match limits.rcpt_domain_max().filter(|_| !fits) {
            Some(maximum) => Err(UsageError::TooManyDomains { maximum }),
            None => Ok(()),
        }
    }

    pub(super) fn may_begin(&self) -> Result<(), UsageError> {
        match self.session {
            Session::Closed(_) | Session::Quitting(_) => Err(UsageError::Closed),
            _ if self.write_closed => Err(UsageError::Closed),
            Session::Ready if self.current.is_some() || self.awaiting.len() >= self.transaction_window() => {
                Err(UsageError::Busy)
            }
            // While a chunk may still be refused, RSET may have to come next.
            Session::Ready if self.expected.holds(Expect::Chunk) => Err(UsageError::Busy),
            Session::Ready if !self.greeted => Err(UsageError::NeedsHello),
            Session::Ready => Ok(()),
            _ => Err(UsageError::Busy),
        }
    }

    fn transaction_window(&self) -> usize {
        if self.config.pipelines(&self.capabilities) { self.config.transaction_window.max(1) } else { 1 }
    }

    /// A command may be sent, perhaps within a transaction by hand.
    fn available(&self) -> Result<(), UsageError> {
        match self.session {
            Session::Closed(_) | Session::Quitting(_) => Err(UsageError::Closed),
            _ if self.write_closed => Err(UsageError::Closed),
            Session::Ready if self.awaiting.is_empty() => Ok(()),
            _ => Err(UsageError::Busy),
        }
    }

    /// A command may be sent and no transaction is open.
    fn idle(&self) -> Result<(), UsageError> {
        self.available()?;
        if self.current.is_some() { Err(UsageError::Busy) } else { Ok(()) }
    }
}
