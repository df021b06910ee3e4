//! Sessions written down for a replay.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use smtp_proto::record::Recorder;
use smtp_proto::{Config, Security};

use crate::transcript::{Transcript, TranscriptHook};

/// Opens what the record of one session is written to.
pub(crate) type Opener = Arc<dyn Fn() -> io::Result<Box<dyn Write + Send>> + Send + Sync>;

/// Writes a session to `out`, as it happens, and passes everything on. What cannot be written is not, and the session goes
/// on.
pub(crate) fn hook(
    out: Box<dyn Write + Send>,
    config: &Config,
    security: Security,
    also: Option<TranscriptHook>,
) -> TranscriptHook {
    let record = Recorder::new(String::new(), config, security)
        .map(|recorder| Mutex::new(Record { recorder, out, started: Instant::now() }));
    Arc::new(move |what| {
        if let Ok(record) = &record {
            record.lock().unwrap_or_else(PoisonError::into_inner).write(what);
        }
        if let Some(also) = &also {
            also(what);
        }
    })
}

struct Record {
    /// Into a buffer, which is emptied with each line.
    recorder: Recorder<String>,
    out: Box<dyn Write + Send>,
    started: Instant,
}

impl Record {
    fn write(&mut self, what: Transcript<'_>) {
        let at = self.started.elapsed();
        let written = match what {
            Transcript::Sent(piece) => self.recorder.sent(at, piece),
            Transcript::Received(received) => self.recorder.received(at, received),
            Transcript::Ended => self.recorder.ended(at),
            Transcript::WriteClosed => self.recorder.write_closed(at),
        };
        if written.is_ok() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let text = self.recorder.get_mut();
        // So that a record is whole up to the moment that a program dies.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        text.clear();
    }
}

/// The session is over, or given up. Deadlines that passed until now did so in it.
impl Drop for Record {
    fn drop(&mut self) {
        if self.recorder.finished(self.started.elapsed()).is_ok() {
            self.flush();
        }
    }
}
