//! Where a server can fetch content from (RFC 4468).

use alloc::string::String;
use core::fmt;

use zeroize::Zeroizing;

use super::{CommandError, LINE_LIMIT};
use crate::echo;

/// The URL of content that the server fetches by itself from an IMAP server, said by
/// [`Connection::burl`](crate::Connection::burl) (BURL, RFC 4468).
///
/// Whoever has such a URL can fetch the content too, for it says why he may (URLAUTH, RFC 4467). So it is treated as a
/// password is: `Debug` shows only how long it is, no transcript shows more, and it is overwritten when it is dropped.
///
/// ```
/// use smtp_proto::{CommandError, ContentUrl};
///
/// let url = "imap://me@imap.example/Drafts/;uid=7;urlauth=submit+me:internal:91354a473744909de610943775f92038";
/// assert_eq!(ContentUrl::parse(url)?.expose(), url);
/// assert_eq!(ContentUrl::parse("imap://a/b LAST\r\nQUIT"), Err(CommandError::Url));
/// # Ok::<(), CommandError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ContentUrl(Zeroizing<String>);

impl ContentUrl {
    /// Reads an absolute URL (RFC 3986 section 4.3). Which schemes and hosts a server takes it says behind the keyword BURL;
    /// that is not checked here.
    ///
    /// # Errors
    ///
    /// [`CommandError::Url`] when it is none, [`CommandError::TooLong`] when the command line would be.
    pub fn parse(url: &str) -> Result<Self, CommandError> {
        let (scheme, rest) = url.split_once(':').ok_or(CommandError::Url)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
        // What may not stand in a URL as it is. A fragment is for whoever reads the content, not for whoever fetches it.
        let is_rest = rest.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&octet));
        if !is_scheme || rest.is_empty() || !is_rest {
            return Err(CommandError::Url);
        }
        if "BURL  LAST\r\n".len() + url.len() > LINE_LIMIT {
            return Err(CommandError::TooLong);
        }
        Ok(Self(Zeroizing::new(url.into())))
    }

    /// Whether a line of the server's repeats it, or what makes it a secret: the token behind its last colon (RFC 4467 section
    /// 9), of which a part will do.
    pub(crate) fn is_echoed_in(&self, line: &[u8]) -> bool {
        let token = self.0.rsplit(':').next().unwrap_or_default().as_bytes();
        memchr::memmem::find(line, self.0.as_bytes()).is_some() || echo::repeats(line, token)
    }

    /// The URL. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ContentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentUrl({} octets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    // C-97: what is no URL, or could be more than one argument, cannot be said.
    #[test]
    fn urls() {
        for good in ["imap://h/b;uid=1/;urlauth=anonymous:internal:0f", "X-a+1.b:c", "imap://[::1]:143/%20a?x=1"] {
            assert_eq!(ContentUrl::parse(good).unwrap().expose(), good);
        }
        for bad in
            ["", "imap", "imap:", ":a", "1a:b", "a b:c", "é:a", "a:é", "a:b c", "a:b\tc", "a:b\r\nc", "a:\0", "a:<b>"]
        {
            assert_eq!(ContentUrl::parse(bad), Err(CommandError::Url), "{bad:?}");
        }
        let longest = format!("imap:{}", "a".repeat(512 - 17));
        let url = ContentUrl::parse(&longest).unwrap();
        assert_eq!(format!("{url:?}"), "ContentUrl(500 octets)");
        assert_eq!(ContentUrl::parse(&format!("{longest}a")), Err(CommandError::TooLong));
    }
}
