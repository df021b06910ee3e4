//! A message of mail-builder's, sent by its own octets: the envelope follows from its headers.

use std::error::Error;

use mail_builder::MessageBuilder;
use messages_example::demonstrate;
use smtp_blocking::{Client, Options};
use smtp_proto::message::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let mail = MessageBuilder::new()
        .from(("Me", "me@example.org"))
        .to(("Ännchen, so to say", "anna@example.net"))
        .cc("bob@example.net")
        .bcc(("Hidden", "hidden@example.net"))
        .subject("Grüße")
        .text_body("It works.\n.dots and all\n")
        .attachment("application/octet-stream", "octets", &[0, 13, 255][..])
        .write_to_vec()?;

    demonstrate(|server| {
        let message = Message::parse(&mail)?;
        let mut client = Client::connect(server, Options::smtp())?;
        client.send(message.transaction(), message.content())?;
        Ok(client.quit()?)
    })
}
