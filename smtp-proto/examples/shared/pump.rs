//! Moves the octets of one connection. Any event loop whose streams say `WouldBlock` can do with this function.

use std::io::{ErrorKind, Read, Write};

use smtp_proto::{Connection, State, Time};

/// Moves octets both ways until the stream would block both ways, and tells whether any moved. If so, there may be events to
/// hear, and what the application does about them may give more to say: call it again, since no readiness event comes for
/// what a stream never refused.
///
/// `feed` hands content over to [`Connection::body`] until that takes no more.
pub(crate) fn pump(
    stream: &mut (impl Read + Write),
    connection: &mut Connection,
    now: Time,
    feed: impl FnMut(&mut Connection),
) -> bool {
    let sent = send(stream, connection, now, feed);
    // Also when nothing can be sent: a server may not take more before its replies were taken.
    let received = receive(stream, connection, now);
    sent || received
}

fn send(
    stream: &mut impl Write,
    connection: &mut Connection,
    now: Time,
    mut feed: impl FnMut(&mut Connection),
) -> bool {
    let mut moved = false;
    loop {
        // Within the loop, since each write makes room for more content. Fed only ahead of it, the connection runs dry while
        // the stream takes more, and no event comes for that.
        feed(connection);
        let Some(out) = connection.poll_transmit() else { return moved };
        match stream.write(&out) {
            Ok(length) if length > 0 => {
                connection.handle_transmitted(length, now);
                moved = true;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return moved,
            // Not the end yet: why the server takes no more may be there to be read.
            _ => connection.handle_write_closed(now),
        }
    }
}

fn receive(stream: &mut impl Read, connection: &mut Connection, now: Time) -> bool {
    let mut buffer = [0; 4096];
    let mut moved = false;
    // What comes while a TLS handshake is due is the handshake's to read.
    while !matches!(connection.state(), State::Upgrading | State::Closed) {
        match stream.read(&mut buffer) {
            Ok(0) => connection.handle_eof(),
            Ok(length) => connection.handle_input(buffer.get(..length).unwrap_or_default(), now),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => connection.handle_eof(),
        }
        moved = true;
    }
    moved
}
