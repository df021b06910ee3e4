//! The server's part from DATA or BDAT to the final replies.

use smtp_proto::Chunking;
use tokio::time::sleep;

use super::server::{Go, Over, Session};

/// Content of a transaction.
impl Session {
    pub(super) async fn data(&mut self) -> Go {
        let send = self.send;
        let nobody = !self.sender || self.accepted.is_empty();
        // RFC 2033 section 4.2 forbids it in LMTP.
        let grants = !nobody || (!self.plan.lmtp && self.dice.one_in(2));
        if !grants {
            let code = self.dice.pick(&[503, 554]);
            return self.say(code, &format!("m{send} is for nobody")).await;
        }
        if !self.willing("DATA").await? {
            let code = self.refuses_all();
            return self.say(code, &format!("m{send} r* go-ahead")).await;
        }
        self.say(354, &format!("m{send} go ahead")).await?;
        self.fill_for(2).await?;
        let early = !nobody && self.trouble_amid(usize::MAX).await?;
        let mut looked = 0;
        let end = loop {
            if let Some(end) = terminator(&self.input, looked) {
                break end;
            }
            looked = self.input.len();
            self.fill().await?;
        };
        let stuffed: Vec<u8> = self.input.drain(..end + 3).take(end).collect();
        // A client that was refused early need not wait for anything more.
        if !early {
            self.stands_alone("the end of content");
        }
        let mut content = Vec::with_capacity(stuffed.len());
        for line in stuffed.split_inclusive(|&octet| octet == b'\n') {
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        if nobody {
            self.ledger.borrow_mut().count("contents for nobody");
            if !content.is_empty() {
                self.violation(format!("m{send}: content for nobody"));
            }
            self.forget();
            return self.say(554, &format!("m{send} was for nobody")).await;
        }
        self.finals(&content, false, early).await
    }

    pub(super) async fn bdat(&mut self, line: &str) -> Go {
        let mut words = line.split(' ').skip(1);
        let (size, last) = (words.next().and_then(|size| size.parse::<usize>().ok()), words.next() == Some("LAST"));
        let nobody = !self.sender || self.accepted.is_empty();
        let ahead = self.plan.chunking == Chunking::Ahead && self.plan.pipelines && self.offers_pipelining();
        let Some(size) = size.filter(|_| ahead || !nobody) else {
            self.violation(format!("{line} is out of place"));
            return Err(Over);
        };
        let send = self.send;
        if nobody {
            // They come whether anybody is to have them or not.
            self.fill_for(size).await?;
            self.input.drain(..size);
            self.ledger.borrow_mut().count("chunks for nobody");
            return self.say(503, &format!("m{send} r* has nobody")).await;
        }
        self.fill_for(size / 2).await?;
        let early = !self.spoiled && size > 0 && self.trouble_amid(size).await?;
        self.spoiled |= early;
        self.fill_for(size).await?;
        self.chunks.extend(self.input.drain(..size));
        if last {
            if !early {
                self.stands_alone("the last chunk");
            }
            let content = std::mem::take(&mut self.chunks);
            if self.spoiled && !early {
                self.forget();
                return self.say(503, &format!("m{send} r* was refused")).await;
            }
            return self.finals(&content, true, early).await;
        }
        if !early && !self.offers_pipelining() {
            self.stands_alone("a chunk");
        }
        if early {
            return Ok(());
        }
        if self.spoiled {
            return self.say(503, &format!("m{send} r* was refused")).await;
        }
        if self.willing("a chunk").await? {
            return self.say(250, &format!("m{send} chunk")).await;
        }
        self.spoiled = true;
        let code = self.refuses_all();
        self.say(code, &format!("m{send} r* chunk")).await
    }

    /// The whole content is there; `early` says that the first reply was given before and was a refusal.
    async fn finals(&mut self, content: &[u8], chunked: bool, early: bool) -> Go {
        let (send, accepted) = (self.send, self.accepted.clone());
        self.forget();
        {
            let mut ledger = self.ledger.borrow_mut();
            ledger.complete(send, content, chunked);
            ledger.count(if chunked { "contents by BDAT" } else { "contents by DATA" });
        }
        let groups: Vec<&[usize]> =
            if self.plan.lmtp { accepted.chunks(1).collect() } else { accepted.chunks(accepted.len()).collect() };
        for group in groups.into_iter().skip(usize::from(early)) {
            let who = if self.plan.lmtp { format!("r{}", group[0]) } else { "r*".to_owned() };
            if early {
                let code = self.refusal();
                self.say(code, &format!("m{send} {who} as was said")).await?;
                continue;
            }
            let willing = self.willing(&format!("the verdict on {who}")).await?;
            if !willing || self.dice.one_in(self.plan.refuses) {
                let refused = group.iter().map(|&recipient| (send, recipient));
                self.ledger.borrow_mut().refused.extend(refused);
                let code = self.refusal();
                self.say(code, &format!("m{send} {who} message")).await?;
                continue;
            }
            let queue_id = self.ledger.borrow_mut().take(send, group);
            self.note(format!("takes m{send} {group:?} as q{queue_id}"));
            self.between().await?;
            self.say(250, &format!("m{send} {who} queued as q{queue_id}")).await?;
        }
        Ok(())
    }

    /// Between taking responsibility and saying so is where duplicates come from (RFC 1047).
    async fn between(&mut self) -> Go {
        self.step("what was taken");
        if self.dice.one_in(6) {
            sleep(self.dice.ticks(1..=10)).await;
        }
        if !self.dice.one_in(self.plan.temper) {
            return Ok(());
        }
        if self.dice.one_in(2) {
            self.ledger.borrow_mut().count("hung up");
            return Err(Over);
        }
        sleep(self.plan.patience * self.dice.pick(&[1, 2, 3]) / 2).await;
        Ok(())
    }

    /// Whether the server refuses in the midst of content: of `size` octets, or of any number. What has come in full is no
    /// longer the midst of it.
    async fn trouble_amid(&mut self, size: usize) -> Go<bool> {
        if self.input.len() >= size || terminator(&self.input, 0).is_some() || !self.dice.one_in(self.plan.temper / 3) {
            return Ok(false);
        }
        self.step("content");
        match self.dice.within(0..=4) {
            0 => {
                self.ledger.borrow_mut().count("hung up");
                return Err(Over);
            }
            1 => {
                self.ledger.borrow_mut().count("stalls");
                sleep(self.plan.patience * self.dice.pick(&[1, 2, 3, 6]) / 2).await;
                return Ok(false);
            }
            _ => {}
        }
        self.ledger.borrow_mut().count("early refusals");
        let (code, send) = (self.refuses_all(), self.send);
        self.say(code, &format!("m{send} r* early")).await?;
        Ok(true)
    }

    /// Reads until there are so many octets.
    async fn fill_for(&mut self, length: usize) -> Go {
        while self.input.len() < length {
            self.fill().await?;
        }
        Ok(())
    }

    fn stands_alone(&self, what: &str) {
        if !self.input.is_empty() {
            self.violation(format!("{} octets came behind {what}", self.input.len()));
        }
    }
}

/// Where the terminator begins. The octets before `looked` have been looked at.
fn terminator(input: &[u8], looked: usize) -> Option<usize> {
    if input.starts_with(b".\r\n") {
        return Some(0);
    }
    let from = looked.saturating_sub(4);
    input.get(from..)?.windows(5).position(|five| five == b"\r\n.\r\n").map(|at| from + at + 2)
}
