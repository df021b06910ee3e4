//! Messages by a [`Client`]: one, one by hand, many.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use smtp_driver::{Error, Fed, Heard, Sequence, Spoilt};
use smtp_proto::{
    Connection, ContentUrl, Event, Recipient, Reply, Report, Submission, Transaction, TransactionId, UsageError,
};
use tokio::io::AsyncBufRead;

use crate::client::{Client, Duplex};

/// Messages.
impl<S: Duplex> Client<S> {
    /// Sends one message to the recipients of `transaction`. `message` is read only once the server is ready for it; a file
    /// becomes an `AsyncBufRead` by `BufReader::new`, octets in memory are one.
    ///
    /// The report tells what became of each recipient; at least one was accepted.
    ///
    /// # Errors
    ///
    /// [`Error`] when nobody was accepted. The report is in it, if the server was asked at all.
    pub async fn send(
        &mut self,
        transaction: Transaction,
        message: impl AsyncBufRead + Unpin,
    ) -> Result<Report, Error> {
        self.prepare().await;
        self.deliver(transaction, message).await
    }

    /// Sends one message in as many transactions as the server needs for its recipients: see
    /// [`Submission`](smtp_proto::Submission). `message` is called for each of them, and gives the message from its beginning.
    ///
    /// The report tells what became of each recipient; at least one was accepted.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send), when nobody was accepted.
    pub async fn submit<R: AsyncBufRead + Unpin>(
        &mut self,
        transaction: Transaction,
        mut message: impl FnMut() -> io::Result<R>,
    ) -> Result<Report, Error> {
        self.prepare().await;
        let checked = self.dialogue.connection.check(&transaction);
        self.dialogue.started(checked)?;
        let mut submission = Submission::new(transaction);
        let failed = loop {
            let Some(part) = submission.next(&self.dialogue.connection) else { break None };
            let message = match message() {
                Ok(message) => message,
                Err(error) => break Some(Error::unreadable(error)),
            };
            let result = self.deliver(part, message).await;
            if let Some(error) = self.dialogue.part_completed(&mut submission, result) {
                break Some(error);
            }
        };
        self.dialogue.merged(submission.into_report(), failed)
    }

    /// Says MAIL by hand. Go on with [`rcpt`](Self::rcpt) and [`data`](Self::data) or [`bdat`](Self::bdat).
    ///
    /// # Errors
    ///
    /// [`Error`] when it cannot be said, or no reply comes. A refusal is a reply.
    pub async fn mail(&mut self, transaction: Transaction) -> Result<Reply, Error> {
        self.ask(|connection| connection.mail(transaction).map(|_| ())).await
    }

    /// Says RCPT by hand.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`mail`](Self::mail).
    pub async fn rcpt(&mut self, recipient: impl Into<Recipient>) -> Result<Reply, Error> {
        self.ask(|connection| connection.rcpt(recipient)).await
    }

    /// Says DATA by hand and sends the message.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send).
    pub async fn data(&mut self, message: impl AsyncBufRead + Unpin) -> Result<Report, Error> {
        self.complete_by_hand(Connection::data, message).await
    }

    /// Sends the message of a transaction by hand by BDAT.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send).
    pub async fn bdat(&mut self, message: impl AsyncBufRead + Unpin) -> Result<Report, Error> {
        self.complete_by_hand(Connection::bdat, message).await
    }

    /// Has the server fetch the message of a transaction by hand: see [`Connection::burl`].
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`send`](Self::send).
    pub async fn burl(&mut self, url: &ContentUrl) -> Result<Report, Error> {
        self.complete_by_hand(|connection| connection.burl(url), &b""[..]).await
    }

    async fn complete_by_hand(
        &mut self,
        start: impl FnOnce(&mut Connection) -> Result<(), UsageError>,
        message: impl AsyncBufRead + Unpin,
    ) -> Result<Report, Error> {
        self.prepare().await;
        let id = self.dialogue.connection.transaction();
        let started = start(&mut self.dialogue.connection);
        self.dialogue.started(started)?;
        let id = id.ok_or(UsageError::NoTransaction)?;
        self.complete(id, message).await
    }

    /// Does a whole transaction.
    async fn deliver(&mut self, transaction: Transaction, message: impl AsyncBufRead + Unpin) -> Result<Report, Error> {
        let begun = self.dialogue.connection.begin(transaction);
        let id = self.dialogue.started(begun)?;
        self.complete(id, message).await
    }

    /// Drives a transaction to its report.
    async fn complete(&mut self, id: TransactionId, mut message: impl AsyncBufRead + Unpin) -> Result<Report, Error> {
        self.begun = true;
        let report = loop {
            match self.next_event().await? {
                Event::BodyRequested { .. } => {
                    self.pour(&mut message).await.map_err(|spoilt| self.dialogue.spoil(id, spoilt))?;
                }
                Event::Completed(report) if report.id() == id => break report,
                _ => {}
            }
        };
        self.begun = false;
        self.dialogue.completed(report)
    }

    /// Hands the message over as fast as the stream takes it.
    async fn pour(&mut self, message: &mut (impl AsyncBufRead + Unpin)) -> Result<(), Spoilt> {
        loop {
            match poll_fn(|cx| self.poll_feed(cx, message)).await? {
                Fed::Taken(_) => {}
                Fed::Full => {
                    self.turn().await;
                }
                Fed::Whole | Fed::Unwanted => return Ok(()),
            }
        }
    }

    /// Hands over what has been read of the message.
    fn poll_feed(
        &mut self,
        cx: &mut Context<'_>,
        message: &mut (impl AsyncBufRead + Unpin),
    ) -> Poll<Result<Fed, Spoilt>> {
        if self.dialogue.connection.body().is_none() {
            return Poll::Ready(Ok(Fed::Unwanted));
        }
        let mut message = Pin::new(message);
        let fed = match ready!(message.as_mut().poll_fill_buf(cx)) {
            Ok(chunk) => self.dialogue.feed(chunk),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Fed::Taken(0)),
            Err(error) => Err(self.dialogue.unreadable(error)),
        };
        if let Ok(Fed::Taken(taken)) = fed {
            message.consume(taken);
        }
        Poll::Ready(fed)
    }

    /// Sends messages one behind the other without waiting for the replies in between, up to
    /// [`Config::transaction_window`](smtp_proto::Config::transaction_window) of them at a time where the server takes
    /// pipelined commands. Gives the result of each in the order of the messages, as [`send`](Self::send) does. An iterator
    /// becomes a stream by `tokio_stream::iter`.
    ///
    /// A message is taken from the stream once there is room for it. When the session is over, or the server takes no more
    /// messages in it, the results end, and no message was taken without one. What is left in the stream is for another
    /// session; if no message could be begun at all, the one result says why.
    ///
    /// ```no_run
    /// use smtp_proto::{Chunking, ForwardPath, ReversePath, Transaction};
    /// use smtp_tokio::{Client, Options};
    ///
    /// # async fn send() -> Result<(), Box<dyn std::error::Error>> {
    /// let options = Options::smtp().configure(|config| {
    ///     config.transaction_window = 16;
    ///     config.chunking = Chunking::Ahead;
    /// });
    /// let mut client = Client::connect("localhost:25", options).await?;
    /// let from = ReversePath::parse("news@example.org")?;
    /// let readers = ["a@example.net", "b@example.net"].map(ForwardPath::parse);
    /// let readers = readers.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// let message = b"Subject: news\r\n\r\nNone.\r\n";
    /// let messages = readers.iter().map(|to| (Transaction::new(from.clone()).to(to.clone()).content(message), &message[..]));
    /// let mut results = client.send_all(tokio_stream::iter(messages)).await;
    /// while let Some(result) = results.next().await {
    ///     match result {
    ///         Ok(report) => println!("sent: {report:?}"),
    ///         Err(error) if error.may_have_been_accepted() => println!("in doubt: {error}"),
    ///         Err(error) => println!("not sent: {error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_all<M, R>(&mut self, messages: M) -> SendAll<'_, S, M, R>
    where
        M: Stream<Item = (Transaction, R)> + Unpin,
        R: AsyncBufRead + Unpin,
    {
        self.prepare().await;
        SendAll { client: self, messages: Some(messages), sequence: Sequence::default(), current: None, wanted: false }
    }
}

/// Messages on their way, from [`Client::send_all`]: a stream of the result of each, in order.
///
/// Waiting for the next result may be cancelled and taken up again. Dropped before its end, it leaves messages under way
/// to be cut off as those of any other call are.
pub struct SendAll<'a, S, M, R> {
    client: &'a mut Client<S>,
    /// Until it has ended.
    messages: Option<M>,
    sequence: Sequence,
    /// The message whose content is not handed over yet.
    current: Option<(TransactionId, R)>,
    /// It is time for that.
    wanted: bool,
}

impl<S: Duplex, M: Stream<Item = (Transaction, R)> + Unpin, R: AsyncBufRead + Unpin> SendAll<'_, S, M, R> {
    /// The result of the next message; `None` when there are no more.
    pub async fn next(&mut self) -> Option<Result<Report, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Acts upon what has happened.
    fn hear(&mut self) {
        while let Some(event) = self.client.dialogue.connection.poll_event() {
            let current = self.current.as_ref().map(|(id, _)| *id);
            match self.sequence.hear(&mut self.client.dialogue, event) {
                Heard::Wanted(id) if Some(id) == current => self.wanted = true,
                Heard::Over(id) if Some(id) == current => self.let_go(),
                _ => {}
            }
        }
    }

    fn let_go(&mut self) {
        (self.current, self.wanted) = (None, false);
    }

    /// Hands over content as far as it is there and fits.
    fn poll_pour(&mut self, cx: &mut Context<'_>) {
        while let Some((id, message)) = self.current.as_mut().filter(|_| self.wanted) {
            match self.client.poll_feed(cx, message) {
                Poll::Ready(Ok(Fed::Taken(_))) => {}
                Poll::Pending | Poll::Ready(Ok(Fed::Full)) => return,
                Poll::Ready(Ok(Fed::Whole | Fed::Unwanted)) => self.let_go(),
                Poll::Ready(Err(spoilt)) => {
                    let id = *id;
                    self.let_go();
                    self.sequence.spoil(&mut self.client.dialogue, id, spoilt);
                }
            }
        }
    }

    /// Begins as many messages as are there and have room.
    fn poll_begin(&mut self, cx: &mut Context<'_>) {
        while self.current.is_none() && self.sequence.has_room(&self.client.dialogue) {
            let Some(messages) = &mut self.messages else { return };
            match Pin::new(messages).poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.messages = None,
                Poll::Ready(Some((transaction, message))) => {
                    let id = self.sequence.begin(&mut self.client.dialogue, transaction);
                    self.current = id.map(|id| (id, message));
                    self.hear();
                    self.poll_pour(cx);
                }
            }
        }
    }
}

impl<S: Duplex, M: Stream<Item = (Transaction, R)> + Unpin, R: AsyncBufRead + Unpin> Stream for SendAll<'_, S, M, R> {
    type Item = Result<Report, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            this.hear();
            this.poll_pour(cx);
            this.poll_begin(cx);
            let waits = this.messages.is_some() && this.sequence.has_room(&this.client.dialogue);
            this.client.begun = !this.sequence.is_empty();
            // What was begun goes on its way before anybody looks at results.
            let moved = this.client.poll_turn(cx).is_ready();
            if let Some(result) = this.sequence.pop() {
                this.client.begun = !this.sequence.is_empty();
                return Poll::Ready(Some(result));
            }
            if this.sequence.is_empty() && !waits {
                return Poll::Ready(this.sequence.refusal(&mut this.client.dialogue).map(Err));
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }
}

impl<S, M, R> fmt::Debug for SendAll<'_, S, M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAll").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
