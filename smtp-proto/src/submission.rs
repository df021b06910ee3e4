//! One message for more recipients than a server takes at a time.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::connection::{Connection, Room};
use crate::outcome::{Outcome, Stage};
use crate::reply::Reply;
use crate::report::Report;
use crate::transaction::{OnRefusal, Recipient, Transaction, TransactionId};
use crate::utf8::Utf8Reason;

/// Splits a message's recipients into as many transactions as a server needs, and makes one report of theirs.
///
/// How many recipients go into one follows from what the server announces (LIMITS, RFC 9422) and from what it turns out to
/// take: recipients it refuses for being too many are sent to again, without those it took (RFC 5321 section 4.5.3.1.10).
/// A message that is for all or none ([`OnRefusal::Abort`]) is not split.
///
/// Recipients for whom there is no room left in the session, because it ended or has a limit of its own, are
/// [`Outcome::NotSent`].
///
/// ```
/// use smtp_proto::{ForwardPath, ReversePath, Submission, Transaction};
/// # use smtp_proto::{Config, Connection, HelloName, Security, Time};
///
/// # let mut connection = Connection::new(Config::smtp(HelloName::parse("me.example")?), Security::Plaintext);
/// # for reply in ["220 hi\r\n", "250-x\r\n250 LIMITS RCPTMAX=2\r\n"] {
/// #     connection.handle_transmitted(usize::MAX, Time::default());
/// #     connection.handle_input(reply.as_bytes(), Time::default());
/// # }
/// // The server has said: 250 LIMITS RCPTMAX=2
/// # assert_eq!(connection.transactions_left(), None);
/// let to = ["a@x.example", "b@x.example", "c@x.example"].map(|path| ForwardPath::parse(path).unwrap());
/// let mut submission = Submission::new(Transaction::new(ReversePath::null()).to_all(to));
/// let first = submission.next(&connection).unwrap();
/// assert_eq!(first.recipients().count(), 2);
/// // ... send it, and give its report to `completed`; then the next one.
/// # Ok::<(), smtp_proto::AddressError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Submission {
    /// Everything but the recipients.
    transaction: Transaction,
    /// All of them in the order given, with what became of them so far.
    recipients: Vec<Recipient>,
    /// Those to be sent to, by index.
    waiting: VecDeque<usize>,
    /// Those ahead of them that found no room in the session. While it has none for further domains, there is no use in
    /// looking at each again for every transaction.
    passed_over: VecDeque<usize>,
    /// Those of the transaction under way.
    under_way: Vec<usize>,
    /// How many the server has shown to take in one transaction.
    learnt: usize,
    first: Option<TransactionId>,
    sender_refusal: Option<Reply>,
    utf8: Option<Utf8Reason>,
}

impl Submission {
    /// A submission of which nothing was sent.
    pub fn new(mut transaction: Transaction) -> Self {
        let recipients = core::mem::take(&mut transaction.recipients);
        Self {
            waiting: (0..recipients.len()).collect(),
            passed_over: VecDeque::new(),
            transaction,
            recipients,
            under_way: Vec::new(),
            learnt: usize::MAX,
            first: None,
            sender_refusal: None,
            utf8: None,
        }
    }

    /// The next transaction to send over this connection. `None` when there is none, or the one before it is not
    /// [`completed`](Self::completed).
    pub fn next(&mut self, connection: &Connection) -> Option<Transaction> {
        if !self.under_way.is_empty() {
            return None;
        }
        if self.transaction.on_refusal == OnRefusal::Abort {
            // Whether so many can be had at once, the server or the connection will say.
            self.under_way = self.waiting.drain(..).collect();
        } else {
            self.choose(connection);
        }
        let recipients = self.under_way.iter().filter_map(|&index| self.recipients.get(index).cloned());
        let recipients: Vec<_> = recipients.collect();
        (!recipients.is_empty()).then(|| Transaction { recipients, ..self.transaction.clone() })
    }

    /// Takes as many recipients as fit one transaction, in their order.
    fn choose(&mut self, connection: &Connection) {
        let announced = connection.capabilities().limits().and_then(|limits| limits.rcpt_max());
        let announced = announced.and_then(|limit| usize::try_from(limit).ok());
        let most = self.learnt.min(announced.unwrap_or(usize::MAX));
        let mut room = connection.domain_room();
        if !room.is_full() {
            put_back(&mut self.passed_over, &mut self.waiting);
        }
        self.take(most, &mut room);
        if self.under_way.is_empty() {
            // It may be another session, with room for these.
            put_back(&mut self.passed_over, &mut self.waiting);
            self.take(most, &mut room);
        }
    }

    fn take(&mut self, most: usize, room: &mut Room<'_>) {
        while self.under_way.len() < most {
            let Some(index) = self.waiting.pop_front() else { break };
            let Some(recipient) = self.recipients.get(index) else { continue };
            if room.take(&recipient.path) {
                self.under_way.push(index);
            } else {
                self.passed_over.push_back(index);
            }
        }
    }

    /// What became of the transaction that [`next`](Self::next) gave.
    pub fn completed(&mut self, report: Report) {
        self.first.get_or_insert(report.id);
        self.utf8 = self.utf8.take().or(report.utf8);
        let splits = self.transaction.on_refusal == OnRefusal::Continue;
        let mut admitted = 0;
        let mut again = VecDeque::new();
        for (&index, result) in self.under_way.iter().zip(report.recipients) {
            if splits && admitted > 0 && result.outcome.is_too_many() {
                again.push_back(index);
            } else if let Some(recipient) = self.recipients.get_mut(index) {
                admitted += usize::from(result.admitted);
                *recipient = result;
            }
        }
        if !again.is_empty() {
            self.learnt = admitted;
        }
        put_back(&mut again, &mut self.waiting);
        self.under_way.clear();
        if let Some(reply) = report.sender_refusal {
            // The sender is the same each time.
            for index in self.passed_over.drain(..).chain(self.waiting.drain(..)) {
                if let Some(recipient) = self.recipients.get_mut(index) {
                    recipient.outcome = Outcome::refused(Stage::Mail, reply.clone());
                }
            }
            self.sender_refusal = Some(reply);
        }
    }

    /// What became of all recipients, in the order given.
    pub fn into_report(self) -> Report {
        let id = self.first.unwrap_or(TransactionId(0));
        let Self { recipients, sender_refusal, utf8, .. } = self;
        Report { id, recipients, sender_refusal, utf8, split: true }
    }
}

/// Puts all of `first` ahead of `rest`.
fn put_back(first: &mut VecDeque<usize>, rest: &mut VecDeque<usize>) {
    first.drain(..).rev().for_each(|index| rest.push_front(index));
}
