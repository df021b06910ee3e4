//! Who a message was first meant for: ORCPT (RFC 3461 section 4.2, RFC 6533 section 3).

use alloc::boxed::Box;
use core::fmt::{self, Write};

use super::xtext::{self, Encoded};
use super::{ParameterError, at_most, printable};
use crate::address::ForwardPath;

/// The recipient as the sender of the message wrote it, which reports repeat: ORCPT on RCPT. Displayed as it is sent.
///
/// Whoever submits a message, or sends it on to the members of a list, names the address of RCPT itself; a relay passes on
/// what it was given.
///
/// ```
/// use smtp_proto::{ForwardPath, OriginalRecipient};
///
/// let list = OriginalRecipient::of(&ForwardPath::parse("list+x@example.org")?)?;
/// assert_eq!(list.to_string(), "rfc822;list+2Bx@example.org");
/// let utf8 = OriginalRecipient::of(&ForwardPath::parse("grüße@example.org")?)?;
/// assert_eq!(utf8.to_string(), r"utf-8;gr\x{FC}\x{DF}e@example.org");
/// assert_eq!(utf8.unitext().to_string(), "utf-8;grüße@example.org");
/// assert_eq!(OriginalRecipient::new("x400", "/G=Jo/C=SE/")?.to_string(), "x400;/G+3DJo/C+3DSE/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    form: Form,
    address: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// Of this type, as xtext.
    Xtext(Box<str>),
    /// Type `utf-8`, in ASCII: `utf-8-addr-xtext`.
    Utf8InAscii,
    /// Type `utf-8`, in UTF-8: `utf-8-addr-unitext`.
    Unitext,
}

impl OriginalRecipient {
    /// Octets that the parameter's value may have.
    const LIMIT: usize = 500;

    /// An address of mail: type `rfc822` if it is ASCII, otherwise `utf-8`.
    ///
    /// # Errors
    ///
    /// [`ParameterError::TooLong`] when it needs more than 500 octets as it is sent.
    pub fn of(path: &ForwardPath) -> Result<Self, ParameterError> {
        let form = if path.is_ascii() { Form::Xtext("rfc822".into()) } else { Form::Utf8InAscii };
        Self::checked(form, path.as_str())
    }

    /// An address of any registered type. Of type `utf-8` it has to be one of mail, and may have any characters; of
    /// other types it is whatever their users write, which need not follow the type's grammar.
    ///
    /// # Errors
    ///
    /// [`ParameterError`] when the type is no atom, the address is empty or not printable ASCII (of type `utf-8`: no
    /// address), or both need more than 500 octets as they are sent.
    pub fn new(addr_type: &str, address: &str) -> Result<Self, ParameterError> {
        // An atom of RFC 822, but for what no parameter may hold.
        let is_atom = |octet: u8| octet.is_ascii_graphic() && !b"()<>@,;:\\\".[]=".contains(&octet);
        if addr_type.is_empty() || !addr_type.bytes().all(is_atom) {
            return Err(ParameterError::AddressType);
        }
        if addr_type.eq_ignore_ascii_case("utf-8") {
            let path = ForwardPath::parse_relaxed(address).map_err(|_| ParameterError::Value)?;
            return Self::checked(Form::Utf8InAscii, path.as_str());
        }
        printable(address)?;
        Self::checked(Form::Xtext(addr_type.into()), address)
    }

    fn checked(form: Form, address: &str) -> Result<Self, ParameterError> {
        let recipient = Self { form, address: address.into() };
        at_most(Self::LIMIT, &recipient)?;
        Ok(recipient)
    }

    /// Sends an address of type `utf-8` in UTF-8, where it would be sent with escapes in ASCII, which every server can
    /// take. It then needs SMTPUTF8. Other types stay as they are.
    #[must_use]
    pub fn unitext(mut self) -> Self {
        if self.form == Form::Utf8InAscii && !self.address.is_ascii() {
            self.form = Form::Unitext;
        }
        self
    }

    /// The type: `rfc822`, `utf-8`, or what was given.
    pub fn addr_type(&self) -> &str {
        match &self.form {
            Form::Xtext(addr_type) => addr_type,
            Form::Utf8InAscii | Form::Unitext => "utf-8",
        }
    }

    /// The address, not as it is sent but as it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it can be sent without SMTPUTF8.
    pub(crate) fn is_ascii(&self) -> bool {
        self.form != Form::Unitext
    }
}

impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.addr_type())?;
        if let Form::Xtext(_) = self.form {
            return Encoded(self.address.as_bytes()).fmt(f);
        }
        self.address.chars().try_for_each(|c| match u8::try_from(c) {
            Ok(octet) if xtext::is_plain(octet) && octet != b'\\' => f.write_char(c),
            _ if self.form == Form::Unitext && !c.is_ascii() => f.write_char(c),
            _ => write!(f, "\\x{{{:02X}}}", u32::from(c)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Parameter;
    use alloc::format;
    use alloc::string::ToString;

    fn of(path: &str) -> OriginalRecipient {
        OriginalRecipient::of(&ForwardPath::parse(path).unwrap()).unwrap()
    }

    // C-91: each form, with all that has to be escaped in it.
    #[test]
    fn forms() {
        assert_eq!(of("\"a b=+\\\\\"@x.example").to_string(), "rfc822;\"a+20b+3D+2B\\\\\"@x.example");
        let mixed = of("\"é +=\\\\\"@😀.example");
        let ascii = r#"utf-8;"\x{E9}\x{20}\x{2B}\x{3D}\x{5C}\x{5C}"@\x{1F600}.example"#;
        assert_eq!(mixed.to_string(), ascii);
        assert!(mixed.is_ascii());
        let unitext = mixed.unitext();
        assert_eq!(unitext.to_string(), r#"utf-8;"é\x{20}\x{2B}\x{3D}\x{5C}\x{5C}"@😀.example"#);
        assert!(!unitext.is_ascii());
        assert_eq!(unitext.addr_type(), "utf-8");
        assert_eq!(unitext.address(), "\"é +=\\\\\"@😀.example");
        assert!(of("a@b").unitext().is_ascii());
        let ascii = OriginalRecipient::new("UTF-8", "a+b@c").unwrap().unitext();
        assert_eq!((ascii.to_string().as_str(), ascii.is_ascii()), (r"utf-8;a\x{2B}b@c", true));
    }

    // C-91, S-20, S-21: no address and no type holds what ends a parameter or a line.
    #[test]
    #[cfg_attr(miri, ignore = "a world too large")]
    fn nothing_is_smuggled_in() {
        for c in (0..=0xff_u8).map(char::from).chain("\u{2028}\u{2029}\u{560d}\u{560a}".chars()) {
            for recipient in [
                OriginalRecipient::new("x", &format!("a{c}b")),
                OriginalRecipient::new("utf-8", &format!("a{c}b@c")),
                OriginalRecipient::new("utf-8", &format!("\"a{c}b\"@c")),
                OriginalRecipient::new(&format!("a{c}b"), "a"),
            ] {
                let Ok(recipient) = recipient else { continue };
                assert!(Parameter::new("ORCPT", &recipient.to_string()).is_ok(), "{recipient}");
                assert!(!recipient.unitext().to_string().contains(char::is_whitespace));
            }
        }
        for addr_type in ["", "a b", "a;b", "a=b", "a@b", "é", "a\r"] {
            assert_eq!(OriginalRecipient::new(addr_type, "a"), Err(ParameterError::AddressType), "{addr_type:?}");
        }
        assert_eq!(OriginalRecipient::new("x", ""), Err(ParameterError::Value));
        assert_eq!(OriginalRecipient::new("x", "aé"), Err(ParameterError::Character { offset: 1 }));
        assert_eq!(OriginalRecipient::new("utf-8", "a b@c"), Err(ParameterError::Value));
    }

    // C-91: 500 octets, the type and the escapes counted.
    #[test]
    fn length() {
        assert_eq!(OriginalRecipient::new("x", &"a".repeat(498)).unwrap().to_string().len(), 500);
        assert_eq!(OriginalRecipient::new("x", &"a".repeat(499)), Err(ParameterError::TooLong { limit: 500 }));
        assert_eq!(OriginalRecipient::new("x", &" ".repeat(167)), Err(ParameterError::TooLong { limit: 500 }));
        assert_eq!(OriginalRecipient::new("utf-8", &"é".repeat(90)), Err(ParameterError::TooLong { limit: 500 }));
    }
}
