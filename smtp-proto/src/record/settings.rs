//! How a connection is configured, as lines of text.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use crate::address::HelloName;
use crate::body::{LineEndings, LongLines};
use crate::config::{Chunking, Config, Protocol, Security, Timeouts};
use crate::reply::ReplyLimits;

/// A value that can be written and read.
trait Setting {
    fn show(&self) -> String;

    /// `None` when the text is no such value.
    fn set(&mut self, text: &str) -> Option<()>;
}

/// Values that write and read themselves.
macro_rules! plain {
    ($($kind:ty),*) => {$(
        impl Setting for $kind {
            fn show(&self) -> String {
                self.to_string()
            }

            fn set(&mut self, text: &str) -> Option<()> {
                *self = text.parse().ok()?;
                Some(())
            }
        }
    )*};
}

/// Values of which there are few, written as they are named.
macro_rules! choices {
    ($($kind:ident: $($value:ident)*;)*) => {$(
        impl Setting for $kind {
            fn show(&self) -> String {
                format!("{self:?}")
            }

            fn set(&mut self, text: &str) -> Option<()> {
                *self = [$(Self::$value),*].into_iter().find(|value| value.show() == text)?;
                Some(())
            }
        }
    )*};
}

plain!(bool, usize);
choices! {
    Protocol: Smtp Lmtp;
    Security: Plaintext Tls;
    Chunking: Needed Prefer Ahead;
    LineEndings: Normalize Strict Space;
    LongLines: Send Strict;
}

impl Setting for HelloName {
    fn show(&self) -> String {
        self.as_str().into()
    }

    fn set(&mut self, text: &str) -> Option<()> {
        *self = Self::parse(text).ok()?;
        Some(())
    }
}

/// In milliseconds, as many as can be read back: a time that never passes stays one.
impl Setting for Duration {
    fn show(&self) -> String {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX).to_string()
    }

    fn set(&mut self, text: &str) -> Option<()> {
        *self = Self::from_millis(text.parse().ok()?);
        Some(())
    }
}

/// Everything there is, by name. A field that is not here does not compile.
fn each<'a>(config: &'a mut Config, security: &'a mut Security) -> Vec<(&'static str, &'a mut dyn Setting)> {
    let Config {
        hello,
        protocol,
        automatic_hello,
        helo_fallback,
        initial_response,
        danger_password_in_clear,
        timeouts,
        reply_limits,
        pipelining,
        pipeline_window,
        transaction_window,
        chunking,
        body_buffer,
        line_endings,
        long_lines,
    } = config;
    let Timeouts { greeting, command, mail, rcpt, data_init, data_block, data_done, quit } = timeouts;
    let ReplyLimits { line, total, lines, recipient_text, bare_lf } = reply_limits;
    Vec::from([
        ("security", security as &mut dyn Setting),
        ("hello", hello),
        ("protocol", protocol),
        ("automatic_hello", automatic_hello),
        ("helo_fallback", helo_fallback),
        ("initial_response", initial_response),
        ("danger_password_in_clear", danger_password_in_clear),
        ("timeouts.greeting", greeting),
        ("timeouts.command", command),
        ("timeouts.mail", mail),
        ("timeouts.rcpt", rcpt),
        ("timeouts.data_init", data_init),
        ("timeouts.data_block", data_block),
        ("timeouts.data_done", data_done),
        ("timeouts.quit", quit),
        ("reply_limits.line", line),
        ("reply_limits.total", total),
        ("reply_limits.lines", lines),
        ("reply_limits.recipient_text", recipient_text),
        ("reply_limits.bare_lf", bare_lf),
        ("pipelining", pipelining),
        ("pipeline_window", pipeline_window),
        ("transaction_window", transaction_window),
        ("chunking", chunking),
        ("body_buffer", body_buffer),
        ("line_endings", line_endings),
        ("long_lines", long_lines),
    ])
}

/// What holds where a record says nothing else.
pub(super) fn default() -> (Config, Security) {
    (Config::smtp(HelloName::from(IpAddr::V4(Ipv4Addr::LOCALHOST))), Security::Plaintext)
}

/// Writes what is not by default.
pub(super) fn write(out: &mut impl Write, config: &Config, security: Security) -> fmt::Result {
    let (mut config, mut security) = (config.clone(), security);
    let (mut usual, mut usual_security) = default();
    let usual = each(&mut usual, &mut usual_security);
    for ((name, value), (_, usual)) in each(&mut config, &mut security).into_iter().zip(usual) {
        let value = value.show();
        if value != usual.show() {
            writeln!(out, "@ {name} {value}")?;
        }
    }
    Ok(())
}

/// Reads one setting.
pub(super) fn read(text: &str, config: &mut Config, security: &mut Security) -> Option<()> {
    let (name, value) = text.split_once(' ')?;
    let mut settings = each(config, security).into_iter();
    settings.find(|(known, _)| *known == name)?.1.set(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A deadline that is never to pass is written as the longest that can be read.
    #[test]
    fn times_that_never_pass() {
        let mut time = Duration::ZERO;
        assert_eq!(time.set(&Duration::MAX.show()), Some(()));
        assert_eq!(time, Duration::from_millis(u64::MAX));
    }

    // What differs from the default is written and read back; what does not is not.
    #[test]
    fn settings_are_read_back() {
        let (mut config, _) = default();
        let mut text = String::new();
        write(&mut text, &config, Security::Plaintext).unwrap();
        assert_eq!(text, "");
        config.hello = HelloName::parse("me.example").unwrap();
        config.protocol = Protocol::Lmtp;
        config.pipelining = false;
        config.chunking = Chunking::Ahead;
        config.line_endings = LineEndings::Space;
        config.timeouts.mail = Duration::from_millis(1500);
        config.reply_limits.lines = 7;
        write(&mut text, &config, Security::Tls).unwrap();
        assert_eq!(text.lines().count(), 8);
        let (mut read_config, mut read_security) = default();
        for line in text.lines() {
            read(line.strip_prefix("@ ").unwrap(), &mut read_config, &mut read_security).unwrap();
        }
        assert_eq!((read_config, read_security), (config, Security::Tls));
    }
}
