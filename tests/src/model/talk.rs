//! A whole session of the machine with the naive server: greeting, hello, messages one after the other, QUIT; in pieces of
//! any size, in any order of polls, with any trouble.

use std::collections::VecDeque;
use std::time::Duration;

use smtp_proto::{CloseReason, Config, Event, Extension, Report, State, Time};

use super::Letter;
use super::server::Server;
use super::trace::Trace;
use crate::dice::Dice;
use crate::lab::Lab;

/// What ends a session before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The stream ends. What the client has said still reaches the server.
    Eof,
    /// The transport takes no more octets, and may still give some.
    WriteClosed,
    /// Nothing happens for an hour.
    Silence,
    /// The application gives up.
    Abort,
}

/// Both sides, and the line between them.
#[derive(Debug)]
pub struct Talk {
    lab: Lab,
    letters: VecDeque<Letter>,
    /// The content of the message begun last, and how much of it was handed over.
    content: Vec<u8>,
    poured: usize,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    unsaid: VecDeque<u8>,
    /// The most octets that may be under way in each direction.
    pub capacity: usize,
    /// Makes every piece and every choice random.
    pub dice: Option<Dice>,
    /// What goes wrong, and after how many steps.
    pub trouble: Option<(usize, Trouble)>,
    /// One in so many answers of the server's is a lie.
    pub lies: usize,
    quitting: bool,
    told: Told,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Told {
    /// The reports, in order.
    pub reports: Vec<Report>,
    /// Transactions begun.
    pub begun: usize,
    /// How it ended. `None` where nothing moved any more.
    pub closed: Option<CloseReason>,
    /// What went over the line.
    pub trace: Trace,
    /// The server, and what it has seen.
    pub server: Server,
    /// What must not be.
    pub wrong: Option<String>,
}

impl Talk {
    /// A session that is about to begin.
    pub fn new(config: Config, server: Server, letters: &[Letter]) -> Self {
        Self {
            lab: Lab::new(config),
            letters: letters.to_vec().into(),
            content: Vec::new(),
            poured: 0,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            unsaid: b"220 model\r\n".to_vec().into(),
            capacity: usize::MAX,
            dice: None,
            trouble: None,
            lies: 0,
            quitting: false,
            told: Told { reports: Vec::new(), begun: 0, closed: None, trace: Trace::default(), server, wrong: None },
        }
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Told {
        let mut steps = 0;
        let mut patience = 0;
        while self.told.closed.is_none() {
            let first = self.dice.as_mut().map_or(0, |dice| dice.within(0..=5));
            if !(first..first + 6).any(|step| self.step(step % 6)) {
                // Whoever was told a lie may wait for ever.
                match (self.lies > 0 || self.trouble.is_some(), patience) {
                    (true, 0) => self.lab.pass(Duration::from_secs(3600)),
                    (true, 1) => self.lab.connection.handle_eof(),
                    _ => break,
                }
                patience += 1;
            }
            steps += 1;
            if let Some((_, trouble)) = self.trouble.filter(|(after, _)| *after == steps) {
                self.suffer(trouble);
            }
        }
        self.end();
        self.told
    }

    /// Does one thing, if it can be done.
    fn step(&mut self, step: usize) -> bool {
        match step {
            0 => self.event(),
            1 => self.begin(),
            2 => self.pour(),
            3 => self.transmit(),
            4 => self.serve(),
            _ => self.receive(),
        }
    }

    fn piece(&mut self, most: usize) -> usize {
        match &mut self.dice {
            Some(dice) if most > 0 => dice.within(1..=most),
            _ => most,
        }
    }

    fn event(&mut self) -> bool {
        let Some(event) = self.lab.connection.poll_event() else { return false };
        match event {
            Event::Completed(report) => self.told.reports.push(report),
            Event::Closed(reason) => self.told.closed = Some(reason),
            _ => {}
        }
        true
    }

    fn begin(&mut self) -> bool {
        if self.lab.connection.can_begin() {
            if let Some(letter) = self.letters.pop_front() {
                let prdr = self.lab.connection.capabilities().supports(Extension::PerRecipientReplies);
                match self.lab.connection.begin(letter.transaction(prdr)) {
                    Ok(_) => self.told.begun += 1,
                    Err(error) => self.wrong(format!("may begin, and may not: {error}")),
                }
                (self.content, self.poured) = (letter.content, 0);
                return true;
            }
        }
        if self.letters.is_empty() && !self.quitting && self.lab.connection.state() == State::Ready {
            self.quitting = self.lab.connection.quit().is_ok();
            return true;
        }
        false
    }

    fn pour(&mut self) -> bool {
        let left = self.content.len() - self.poured;
        let piece = self.piece(left);
        let Some(mut body) = self.lab.connection.body() else { return false };
        let poured = if left == 0 {
            body.finish().map(|()| true)
        } else {
            let taken = body.write(&self.content[self.poured..self.poured + piece]);
            taken.inspect(|taken| self.poured += taken).map(|taken| taken > 0)
        };
        poured.unwrap_or_else(|error| {
            self.wrong(format!("content was refused: {error}"));
            true
        })
    }

    fn transmit(&mut self) -> bool {
        let offered = self.lab.connection.poll_transmit().map_or(0, |out| out.len());
        let piece = self.piece(offered.min(self.capacity - self.to_server.len()));
        if piece == 0 {
            return false;
        }
        let octets = self.lab.transmits(piece);
        self.told.trace.said.extend_from_slice(&octets);
        self.to_server.extend(octets);
        true
    }

    /// The server reads nothing more while its replies find no room.
    fn serve(&mut self) -> bool {
        let mut moved = false;
        if self.unsaid.is_empty() && !self.to_server.is_empty() {
            let piece = self.piece(self.to_server.len());
            let octets: Vec<u8> = self.to_server.drain(..piece).collect();
            self.told.server.hear(&octets);
            while let Some(answer) = self.told.server.answer() {
                let answer = self.lie(answer);
                self.unsaid.extend(answer.into_bytes());
            }
            moved = true;
        }
        let room = (self.capacity - self.to_client.len()).min(self.unsaid.len());
        self.to_client.extend(self.unsaid.drain(..room));
        moved || room > 0
    }

    fn lie(&mut self, answer: String) -> String {
        // Up to the hello it is honest, or it would be another server.
        let Some(dice) = self.dice.as_mut().filter(|_| self.lies > 0 && self.told.server.turns > 0) else {
            return answer;
        };
        if !dice.one_in(self.lies) {
            return answer;
        }
        let other = dice.pick(&[
            "250 ok\r\n",
            "250-two\r\n250 lines\r\n",
            "250\n",
            "354 go\r\n",
            "353 soon\r\n",
            "334 \r\n",
            "220 hi\r\n",
            "421 bye\r\n",
            "450 later\r\n",
            "550 no\r\n",
            "552 full\r\n",
            "nonsense\r\n",
            "25\r\n",
            "250-a\r\n550 b\r\n",
            "250 \0\r\n",
            "2500 x\r\n",
            "999 x\r\n",
            "250 a\rb\r\n",
            "\r\n",
        ]);
        match dice.within(0..=4) {
            0 => other.to_owned(),
            1 => other.to_owned() + &answer,
            2 => answer + other,
            3 => answer.clone() + &answer,
            _ => String::new(),
        }
    }

    fn receive(&mut self) -> bool {
        let piece = self.piece(self.to_client.len());
        // To a connection that is over, and whose end was not polled yet, nothing comes any more.
        if piece == 0 || self.lab.connection.state() == State::Closed {
            return false;
        }
        let octets: Vec<u8> = self.to_client.drain(..piece).collect();
        self.told.trace.hear(&octets);
        self.lab.hear(&octets);
        true
    }

    fn suffer(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Eof => self.lab.connection.handle_eof(),
            Trouble::WriteClosed => self.lab.connection.handle_write_closed(self.lab.time()),
            Trouble::Silence => self.lab.pass(Duration::from_secs(3600)),
            Trouble::Abort => self.lab.connection.abort(),
        }
    }

    /// After the end there is silence, whatever comes; and what was under way reaches the server.
    fn end(&mut self) {
        let Some(reason) = self.told.closed.clone() else { return self.wrong("nothing moves any more".into()) };
        for junk in [&b"250 ok\r\n"[..], b"354 go\r\n", b"nonsense\r\n"] {
            self.lab.hear(junk);
            self.lab.connection.handle_transmitted(3, Time::from_duration(Duration::MAX));
            self.lab.pass(Duration::from_secs(3600));
            self.lab.connection.handle_eof();
            let connection = &mut self.lab.connection;
            let silent = connection.poll_transmit().is_none()
                && connection.poll_event().is_none()
                && connection.body().is_none();
            if !silent || connection.close_reason() != Some(&reason) || connection.can_begin() {
                self.wrong("there is something after the end".into());
            }
        }
        let octets: Vec<u8> = self.to_server.drain(..).collect();
        self.told.server.hear(&octets);
        while self.told.server.answer().is_some() {}
    }

    fn wrong(&mut self, what: String) {
        self.told.wrong.get_or_insert(what);
    }
}
