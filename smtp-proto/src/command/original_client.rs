//! On whose behalf this client speaks: the attributes of XFORWARD and XCLIENT (Postfix, XFORWARD_README, XCLIENT_README).

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{CommandLine, LINE_LIMIT};
use crate::parameter::{ParameterError, at_most, xtext};

/// Octets of a value as it is sent (XFORWARD_README, note 1).
const LONGEST: usize = 255;

/// The EHLO keyword of XFORWARD and its verb.
pub(crate) const XFORWARD: &str = "XFORWARD";

/// The EHLO keyword of XCLIENT and its verb.
pub(crate) const XCLIENT: &str = "XCLIENT";

/// Something that can be told of an [`OriginalClient`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientAttribute {
    /// NAME: its host's name.
    Name,
    /// REVERSE_NAME, only by XCLIENT: the name its address has, whether or not that name has this address.
    ReverseName,
    /// ADDR: its address.
    Addr,
    /// PORT: its port.
    Port,
    /// PROTO: the protocol it speaks.
    Proto,
    /// HELO: what it called itself.
    Helo,
    /// IDENT, only by XFORWARD: what names the message on this side.
    Ident,
    /// SOURCE, only by XFORWARD: whether the message was made on this side.
    Source,
    /// LOGIN, only by XCLIENT: who it has authenticated as.
    Login,
    /// DESTADDR, only by XCLIENT: the address it connected to.
    DestAddr,
    /// DESTPORT, only by XCLIENT: the port it connected to.
    DestPort,
}

impl ClientAttribute {
    /// The name on the wire.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::ReverseName => "REVERSE_NAME",
            Self::Addr => "ADDR",
            Self::Port => "PORT",
            Self::Proto => "PROTO",
            Self::Helo => "HELO",
            Self::Ident => "IDENT",
            Self::Source => "SOURCE",
            Self::Login => "LOGIN",
            Self::DestAddr => "DESTADDR",
            Self::DestPort => "DESTPORT",
        }
    }
}

/// What a filter or proxy tells of the client that it speaks for: by XFORWARD where the server behind it is to log it
/// ([`xforward`](Self::xforward)), by XCLIENT where it is to take this client for that one
/// ([`Connection::xclient`](crate::Connection::xclient)).
///
/// Servers believe it only of those they trust. Each names the attributes it takes behind its EHLO keyword; telling it
/// another is refused before anything is sent. Where an attribute is told again, the last counts. Texts may hold printable
/// ASCII without spaces, and are sent as [`xtext`](crate::xtext).
///
/// ```
/// use smtp_proto::{ClientAttribute, OriginalClient};
///
/// let client = OriginalClient::new()
///     .name("spike.example")?
///     .addr("2001:db8::2".parse()?)
///     .unavailable(ClientAttribute::Helo);
/// let [line] = &*client.xforward() else { panic!("it is short") };
/// assert_eq!(line.as_str(), "XFORWARD NAME=spike.example ADDR=IPV6:2001:db8::2 HELO=[UNAVAILABLE]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginalClient {
    /// Values as they are sent.
    told: Vec<(ClientAttribute, Box<str>)>,
}

impl OriginalClient {
    /// A client of which nothing is told.
    pub const fn new() -> Self {
        Self { told: Vec::new() }
    }

    /// The name of its host, found by its address and leading back to it: NAME.
    ///
    /// # Errors
    ///
    /// [`ParameterError::Value`] when it is empty or holds a space, a control or a non-ASCII character,
    /// [`ParameterError::TooLong`] when it takes more than 255 octets as xtext.
    pub fn name(self, host: &str) -> Result<Self, ParameterError> {
        self.text(ClientAttribute::Name, host)
    }

    /// The name its address has, whether or not that name has this address: REVERSE_NAME.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] as for [`name`](Self::name).
    pub fn reverse_name(self, host: &str) -> Result<Self, ParameterError> {
        self.text(ClientAttribute::ReverseName, host)
    }

    /// Its address: ADDR.
    #[must_use]
    pub fn addr(self, address: IpAddr) -> Self {
        self.tell(ClientAttribute::Addr, &ip_address(address))
    }

    /// Its TCP port: PORT.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.tell(ClientAttribute::Port, &port.to_string())
    }

    /// The protocol it speaks, such as `ESMTP`: PROTO.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] as for [`name`](Self::name).
    pub fn protocol(self, protocol: &str) -> Result<Self, ParameterError> {
        self.text(ClientAttribute::Proto, protocol)
    }

    /// What it called itself in its hello: HELO.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] as for [`name`](Self::name).
    pub fn helo(self, name: &str) -> Result<Self, ParameterError> {
        self.text(ClientAttribute::Helo, name)
    }

    /// What names the message on this side, such as a queue id: IDENT.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] as for [`name`](Self::name).
    pub fn ident(self, id: &str) -> Result<Self, ParameterError> {
        self.text(ClientAttribute::Ident, id)
    }

    /// Whether the message was made on this side, and not received from elsewhere: SOURCE.
    #[must_use]
    pub fn local(self, local: bool) -> Self {
        self.tell(ClientAttribute::Source, if local { "LOCAL" } else { "REMOTE" })
    }

    /// Who it has authenticated as: LOGIN.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] as for [`name`](Self::name).
    pub fn login(self, user: &str) -> Result<Self, ParameterError> {
        self.text(ClientAttribute::Login, user)
    }

    /// The address of this side that it connected to: DESTADDR.
    #[must_use]
    pub fn dest_addr(self, address: IpAddr) -> Self {
        self.tell(ClientAttribute::DestAddr, &ip_address(address))
    }

    /// The TCP port of this side that it connected to: DESTPORT.
    #[must_use]
    pub fn dest_port(self, port: u16) -> Self {
        self.tell(ClientAttribute::DestPort, &port.to_string())
    }

    /// Says that an attribute is not known.
    #[must_use]
    pub fn unavailable(self, attribute: ClientAttribute) -> Self {
        self.tell(attribute, "[UNAVAILABLE]")
    }

    /// Says that an attribute could not be found out now, but perhaps later: one of its names, for XCLIENT.
    #[must_use]
    pub fn unavailable_now(self, attribute: ClientAttribute) -> Self {
        self.tell(attribute, "[TEMPUNAVAIL]")
    }

    /// XFORWARD, for the next message only: say each line by [`Connection::command`](crate::Connection::command) before its
    /// transaction. It is more than one line where one would be too long, and none where nothing is told. A line is said
    /// only to a server that offers XFORWARD and takes all its attributes, and not within a transaction.
    pub fn xforward(&self) -> Vec<CommandLine> {
        let mut lines: Vec<String> = Vec::new();
        for word in self.words() {
            match lines.last_mut() {
                Some(line) if line.len() + word.len() + "\r\n".len() <= LINE_LIMIT => line.push_str(&word),
                _ => lines.push([XFORWARD, &word].concat()),
            }
        }
        lines.into_iter().map(|line| CommandLine { line: line.into(), extension: Some(XFORWARD) }).collect()
    }

    /// XCLIENT, in one line however long it is: after each the session starts over.
    pub(crate) fn xclient(&self) -> CommandLine {
        let line: String = core::iter::once(XCLIENT.to_owned()).chain(self.words()).collect();
        CommandLine { line: line.into(), extension: Some(XCLIENT) }
    }

    /// Each attribute as it stands in a line, with the space before it.
    fn words(&self) -> impl Iterator<Item = String> {
        self.told.iter().map(|(attribute, value)| format!(" {}={value}", attribute.keyword()))
    }

    fn text(self, attribute: ClientAttribute, value: &str) -> Result<Self, ParameterError> {
        // xtext could hold anything, but what cannot stand in a header has no place here (XFORWARD_README, note 1).
        if value.is_empty() || !value.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(ParameterError::Value);
        }
        let encoded = xtext::encode(value.as_bytes());
        at_most(LONGEST, &encoded)?;
        Ok(self.tell(attribute, &encoded))
    }

    fn tell(mut self, attribute: ClientAttribute, value: &str) -> Self {
        self.told.retain(|(told, _)| *told != attribute);
        self.told.push((attribute, value.into()));
        self
    }
}

fn ip_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => "IPV6:".to_owned() + &address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn lines(client: &OriginalClient) -> Vec<String> {
        client.xforward().iter().map(|line| line.as_str().to_owned()).collect()
    }

    // C-97: every attribute as Postfix has it; told again, the last counts.
    #[test]
    fn attributes_on_the_wire() {
        let client = OriginalClient::new()
            .name("old.example")
            .and_then(|client| client.name("spike.example"))
            .and_then(|client| client.addr(IpAddr::from([192, 0, 2, 1])).port(25).protocol("ESMTP"))
            .and_then(|client| client.helo("[192.0.2.1]"))
            .and_then(|client| client.ident("3CF6+B2=A"))
            .unwrap();
        let told =
            "XFORWARD NAME=spike.example ADDR=192.0.2.1 PORT=25 PROTO=ESMTP HELO=[192.0.2.1] IDENT=3CF6+2BB2+3DA";
        assert_eq!(lines(&client.clone().local(true)), [[told, " SOURCE=LOCAL"].concat()]);
        assert_eq!(lines(&client.local(false)), [[told, " SOURCE=REMOTE"].concat()]);
        let unknown = OriginalClient::new().port(1).unavailable(ClientAttribute::Port);
        assert_eq!(lines(&unknown), ["XFORWARD PORT=[UNAVAILABLE]"]);
        assert_eq!(lines(&OriginalClient::new()), Vec::<String>::new());
    }

    // C-97: what only XCLIENT has.
    #[test]
    fn attributes_of_xclient() {
        let client = OriginalClient::new().login("a=b").unwrap().unavailable_now(ClientAttribute::Name);
        let client = client.reverse_name("x.example").unwrap();
        let client = client.dest_addr(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])).dest_port(587);
        let line = client.xclient();
        assert_eq!(
            line.as_str(),
            "XCLIENT LOGIN=a+3Db NAME=[TEMPUNAVAIL] REVERSE_NAME=x.example DESTADDR=IPV6:::1 DESTPORT=587"
        );
        let names = ["LOGIN", "NAME", "REVERSE_NAME", "DESTADDR", "DESTPORT"];
        assert_eq!(line.attributes().collect::<Vec<_>>(), names);
        assert_eq!(OriginalClient::new().xclient().attributes().count(), 0);
    }

    // C-97: no line is longer than 512 octets, and no value than 255 as it is sent.
    #[test]
    fn long_values_take_several_lines() {
        let (long, escaped) = ("a".repeat(255), "+".repeat(85));
        let client = OriginalClient::new().name(&long).and_then(|client| client.helo(&escaped)).unwrap();
        let told = client.port(25).xforward();
        assert_eq!(told.iter().map(|line| line.as_str().len()).collect::<Vec<_>>(), vec![269, 277]);
        assert!(told.iter().all(|line| line.as_str().starts_with("XFORWARD ")));
        let too_long = Err(ParameterError::TooLong { limit: 255 });
        assert_eq!(OriginalClient::new().name(&"a".repeat(256)), too_long);
        assert_eq!(OriginalClient::new().ident(&"=".repeat(86)), too_long);
        let name = "a".repeat(240);
        for (octets, lines) in [(250, 1), (251, 2)] {
            let client = OriginalClient::new().name(&name).and_then(|client| client.helo(&"a".repeat(octets))).unwrap();
            assert_eq!(client.xforward().len(), lines, "{octets}");
            assert!(client.xforward().iter().all(|line| line.as_str().len() <= 510));
        }
    }

    // S-20: no value can end its attribute or the line.
    #[test]
    fn values_hold_no_separator() {
        type Tell = fn(OriginalClient, &str) -> Result<OriginalClient, ParameterError>;
        let texts: [Tell; 6] = [
            OriginalClient::name,
            OriginalClient::reverse_name,
            OriginalClient::protocol,
            OriginalClient::helo,
            OriginalClient::ident,
            OriginalClient::login,
        ];
        for tell in texts {
            for octet in (0..=b' ').chain([0x7f]) {
                let text = format!("a{}QUIT", char::from(octet));
                assert_eq!(tell(OriginalClient::new(), &text), Err(ParameterError::Value), "{text:?}");
            }
            for text in ["", "é", "\u{85}", "\u{2028}", "a\u{560a}b", "a\u{560d}b"] {
                assert_eq!(tell(OriginalClient::new(), text), Err(ParameterError::Value), "{text:?}");
            }
            let client = tell(OriginalClient::new(), "a=b+0D+0A").unwrap();
            assert!(lines(&client)[0].ends_with("=a+3Db+2B0D+2B0A"), "{client:?}");
        }
    }
}
