//! A message of lettre's, sent by its own octets: the envelope follows from its headers.

use std::error::Error;

use lettre::message::Message as Mail;
use lettre::message::header::ContentType;
use messages_example::demonstrate;
use smtp_blocking::{Client, Options};
use smtp_proto::message::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let mail = Mail::builder()
        .from("Me <me@example.org>".parse()?)
        .to("\"Ännchen, so to say\" <anna@example.net>".parse()?)
        .cc("bob@example.net".parse()?)
        .bcc("Hidden <hidden@example.net>".parse()?)
        // Else lettre leaves out who is hidden, and nothing would say that they get the message.
        .keep_bcc()
        .subject("Grüße")
        .header(ContentType::TEXT_PLAIN)
        .body(String::from("It works.\n.dots and all\n"))?
        .formatted();

    demonstrate(|server| {
        let message = Message::parse(&mail)?;
        let mut client = Client::connect(server, Options::smtp())?;
        client.send(message.transaction(), message.content())?;
        Ok(client.quit()?)
    })
}
