//! The application changes its mind, and then asks what became of its message.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use smtp_proto::{CloseReason, Event, Failure, Report};
use tokio::time::timeout;

use super::client::{Job, Post, Session};
use super::ledger::Fate;

/// Cancellation.
impl Post {
    /// Drives `future` to its end, or some way.
    pub(super) async fn maybe_cut_off<F: Future>(&mut self, future: F) -> Option<F::Output> {
        if !self.dice.one_in(self.plan.cancels) {
            return Some(future.await);
        }
        let output = if self.dice.one_in(2) {
            let after = self.dice.ticks(0..=80);
            timeout(after, future).await.ok()
        } else {
            let most = self.dice.pick(&[3, 12, 40]);
            let mut left = self.dice.within(1..=most);
            let mut future = pin!(future);
            poll_fn(|cx| {
                left -= 1;
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending if left == 0 => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        };
        self.count(if output.is_some() { "cancelled in vain" } else { "cancelled" });
        output
    }

    /// The next call says that the session was aborted, or nothing had begun.
    pub(super) async fn after_cancellation(&mut self, mut client: Session, number: usize, job: Job) -> Option<Session> {
        let over = client.connection().close_reason().cloned();
        let said = match self.dice.within(0..=4) {
            0 => client.noop().await.map(drop),
            1 => client.reset().await.map(drop),
            2 => client.ehlo().await.map(drop),
            3 => {
                let other = self.register(job.letter, &job.recipients);
                let (transaction, source) = self.letter(other, &job);
                match client.send(transaction, source).await {
                    Err(error) if error.report().is_none() => {
                        self.close(other, Fate::Unbegun);
                        Err(error)
                    }
                    result => {
                        // The one that was cut off had not begun, or this one could not have.
                        self.close(number, Fate::Unbegun);
                        self.settle(other, job, result);
                        return Some(client);
                    }
                }
            }
            _ => {
                // Whoever leaves cannot ask what became of the message.
                let said = client.quit().await;
                self.close(number, if said.is_ok() { Fate::Unbegun } else { Fate::Unknown });
                return None;
            }
        };
        let mut reports = self.reports(&mut client).await;
        if reports.len() > 1 {
            self.violation(format!("m{number} has {} reports", reports.len()));
        }
        match (said, reports.pop()) {
            (_, None) => {
                // It had not begun; how the other call went is the network's doing.
                self.close(number, Fate::Unbegun);
                self.again(job, |_| true);
            }
            (Ok(()), Some(_)) => self.violation(format!("m{number} was cut off, and the session goes on")),
            (Err(error), Some(report)) => {
                self.count("aborted");
                let expected = over.unwrap_or(CloseReason::Aborted);
                let reason = match error.failure() {
                    Some(Failure::Disconnected { reason, .. }) => Some(reason.clone()),
                    Some(Failure::TimedOut { phase, .. }) => Some(CloseReason::TimedOut(*phase)),
                    _ => None,
                };
                if reason.as_ref() != Some(&expected) || client.connection().close_reason() != Some(&expected) {
                    self.violation(format!("m{number} was cut off, and the next call says: {error}"));
                }
                self.settle(number, job, Ok(report));
            }
        }
        Some(client)
    }

    /// What a session that is over has still to tell.
    async fn reports(&mut self, client: &mut Session) -> Vec<Report> {
        let mut reports = Vec::new();
        while client.connection().close_reason().is_some() {
            match client.next_event().await {
                Ok(Event::Completed(report)) => reports.push(report),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        reports
    }
}
