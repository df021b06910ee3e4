//! Messages by a [`Client`]: one, one by hand, many.

use std::fmt;
use std::io::{self, BufRead};
use std::iter::Fuse;

use smtp_driver::{Error, Fed, Heard, Sequence, Spoilt};
use smtp_proto::{
    Connection, ContentUrl, Event, Recipient, Reply, Report, Submission, Transaction, TransactionId, UsageError,
};

use crate::client::Client;
use crate::stream::Stream;

/// Messages.
impl<S: Stream> Client<S> {
    /// Sends one message to the recipients of `transaction`. `message` is read only once the server is ready for it; a file
    /// becomes a `BufRead` by `BufReader::new`, octets in memory are one.
    ///
    /// The report tells what became of each recipient; at least one was accepted.
    ///
    /// # Errors
    ///
    /// [`Error`] when nobody was accepted. The report is in it, if the server was asked at all.
    pub fn send(&mut self, transaction: Transaction, message: impl BufRead) -> Result<Report, Error> {
        self.prepare();
        self.deliver(transaction, message)
    }

    /// Sends one message in as many transactions as the server needs for its recipients: see
    /// [`Submission`](smtp_proto::Submission). `message` is called for each of them, and gives the message from its beginning.
    ///
    /// The report tells what became of each recipient; at least one was accepted.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send), when nobody was accepted.
    pub fn submit<R: BufRead>(
        &mut self,
        transaction: Transaction,
        mut message: impl FnMut() -> io::Result<R>,
    ) -> Result<Report, Error> {
        self.prepare();
        let checked = self.dialogue.connection.check(&transaction);
        self.dialogue.started(checked)?;
        let mut submission = Submission::new(transaction);
        let failed = loop {
            let Some(part) = submission.next(&self.dialogue.connection) else { break None };
            let message = match message() {
                Ok(message) => message,
                Err(error) => break Some(Error::unreadable(error)),
            };
            let result = self.deliver(part, message);
            if let Some(error) = self.dialogue.part_completed(&mut submission, result) {
                break Some(error);
            }
        };
        self.dialogue.merged(submission.into_report(), failed)
    }

    /// Says MAIL by hand. Go on with [`rcpt`](Self::rcpt) and [`data`](Self::data).
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be said, or no reply comes. A refusal is a reply.
    pub fn mail(&mut self, transaction: Transaction) -> Result<Reply, Error> {
        self.ask(|connection| connection.mail(transaction).map(|_| ()))
    }

    /// Says RCPT by hand.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`mail`](Self::mail).
    pub fn rcpt(&mut self, recipient: impl Into<Recipient>) -> Result<Reply, Error> {
        self.ask(|connection| connection.rcpt(recipient))
    }

    /// Says DATA by hand and sends the message.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send).
    pub fn data(&mut self, message: impl BufRead) -> Result<Report, Error> {
        self.complete_by_hand(Connection::data, message)
    }

    /// Sends the message of a transaction by hand by BDAT.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send).
    pub fn bdat(&mut self, message: impl BufRead) -> Result<Report, Error> {
        self.complete_by_hand(Connection::bdat, message)
    }

    /// Has the server fetch the message of a transaction by hand: see [`Connection::burl`].
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send).
    pub fn burl(&mut self, url: &ContentUrl) -> Result<Report, Error> {
        self.complete_by_hand(|connection| connection.burl(url), &b""[..])
    }

    fn complete_by_hand(
        &mut self,
        start: impl FnOnce(&mut Connection) -> Result<(), UsageError>,
        message: impl BufRead,
    ) -> Result<Report, Error> {
        self.prepare();
        let id = self.dialogue.connection.transaction();
        let started = start(&mut self.dialogue.connection);
        self.dialogue.started(started)?;
        let id = id.ok_or(UsageError::NoTransaction)?;
        self.complete(id, message)
    }

    /// Does a whole transaction.
    fn deliver(&mut self, transaction: Transaction, message: impl BufRead) -> Result<Report, Error> {
        let begun = self.dialogue.connection.begin(transaction);
        let id = self.dialogue.started(begun)?;
        self.complete(id, message)
    }

    /// Drives a transaction to its report.
    fn complete(&mut self, id: TransactionId, mut message: impl BufRead) -> Result<Report, Error> {
        loop {
            match self.next_event()? {
                Event::BodyRequested { .. } => {
                    self.pour(&mut message).map_err(|spoilt| self.dialogue.spoil(id, spoilt))?;
                }
                Event::Completed(report) if report.id() == id => return self.dialogue.completed(report),
                _ => {}
            }
        }
    }

    /// Hands the message over as fast as the stream takes it.
    fn pour(&mut self, message: &mut impl BufRead) -> Result<(), Spoilt> {
        while self.dialogue.connection.body().is_some() {
            let chunk = match message.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.dialogue.unreadable(error)),
            };
            match self.dialogue.feed(chunk)? {
                Fed::Taken(taken) => message.consume(taken),
                Fed::Full if self.dialogue.connection.poll_transmit().is_none() => self.receive(),
                Fed::Full => {
                    self.transmit();
                    self.glance_now_and_then();
                }
                Fed::Whole | Fed::Unwanted => return Ok(()),
            }
        }
        Ok(())
    }

    /// Sends messages one behind the other without waiting for the replies in between, up to
    /// [`Config::transaction_window`](smtp_proto::Config::transaction_window) of them at a time where the server takes
    /// pipelined commands. Gives the result of each in the order of the messages, as [`send`](Self::send) does.
    ///
    /// A message is taken from the iterator once there is room for it, and octets are sent once there is room for no
    /// more or the iterator has ended: one that waits before it gives a message holds back those before. When the session is
    /// over, or the server takes no more messages in it, the results end, and no message was taken without one. What is left
    /// in the iterator is for another session; if no message could be begun at all, the one result says why.
    ///
    /// ```no_run
    /// use smtp_blocking::{Client, Options};
    /// use smtp_proto::{Chunking, ForwardPath, ReversePath, Transaction};
    ///
    /// let options = Options::smtp().configure(|config| {
    ///     config.transaction_window = 16;
    ///     config.chunking = Chunking::Ahead;
    /// });
    /// let mut client = Client::connect("localhost:25", options)?;
    /// let from = ReversePath::parse("news@example.org")?;
    /// let readers = ["a@example.net", "b@example.net"].map(ForwardPath::parse);
    /// let readers = readers.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// let message = b"Subject: news\r\n\r\nNone.\r\n";
    /// let messages = readers.iter().map(|to| (Transaction::new(from.clone()).to(to.clone()).content(message), &message[..]));
    /// for (to, result) in readers.iter().zip(client.send_all(messages)) {
    ///     match result {
    ///         Ok(_) => println!("{to}: sent"),
    ///         Err(error) if error.may_have_been_accepted() => println!("{to}: in doubt ({error})"),
    ///         Err(error) => println!("{to}: not sent ({error})"),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_all<I, R>(&mut self, messages: I) -> SendAll<'_, S, I::IntoIter, R>
    where
        I: IntoIterator<Item = (Transaction, R)>,
        R: BufRead,
    {
        self.prepare();
        SendAll { client: self, messages: messages.into_iter().fuse(), sequence: Sequence::default(), current: None }
    }
}

/// Messages on their way, from [`Client::send_all`]: the result of each, in order.
///
/// Dropped before its end, it leaves the messages under way to the server: they may arrive, and nobody is told.
pub struct SendAll<'a, S, I: Iterator<Item = (Transaction, R)>, R> {
    client: &'a mut Client<S>,
    messages: Fuse<I>,
    sequence: Sequence,
    /// The message whose content is not handed over yet.
    current: Option<(TransactionId, R)>,
}

impl<S: Stream, I: Iterator<Item = (Transaction, R)>, R: BufRead> SendAll<'_, S, I, R> {
    /// Acts upon what has happened.
    fn hear(&mut self) {
        while let Some(event) = self.client.dialogue.connection.poll_event() {
            match (self.sequence.hear(&mut self.client.dialogue, event), &mut self.current) {
                (Heard::Wanted(id), Some((current, message))) if id == *current => {
                    let poured = self.client.pour(message);
                    self.current = None;
                    if let Err(spoilt) = poured {
                        self.sequence.spoil(&mut self.client.dialogue, id, spoilt);
                    }
                }
                (Heard::Over(id), Some((current, _))) if id == *current => self.current = None,
                _ => {}
            }
        }
    }

    /// Begins as many messages as there is room for.
    fn begin(&mut self) {
        while self.current.is_none() && self.sequence.has_room(&self.client.dialogue) {
            let Some((transaction, message)) = self.messages.next() else { break };
            let id = self.sequence.begin(&mut self.client.dialogue, transaction);
            self.current = id.map(|id| (id, message));
            self.hear();
        }
    }
}

impl<S: Stream, I: Iterator<Item = (Transaction, R)>, R: BufRead> Iterator for SendAll<'_, S, I, R> {
    type Item = Result<Report, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.hear();
            self.begin();
            // What was begun goes on its way before anybody looks at results.
            if self.client.dialogue.connection.poll_transmit().is_some() {
                self.client.transmit();
            }
            if let Some(result) = self.sequence.pop() {
                return Some(result);
            }
            if self.sequence.is_empty() {
                return self.sequence.refusal(&mut self.client.dialogue).map(Err);
            }
            self.client.turn();
        }
    }
}

impl<S, I: Iterator<Item = (Transaction, R)>, R> fmt::Debug for SendAll<'_, S, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAll").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
