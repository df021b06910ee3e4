//! TCP_NODELAY for libraries that do not set it.

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Sets TCP_NODELAY on every TCP socket of this process, those inside a library included: the option is one of the socket,
/// so it can be set by another descriptor of it. Without it, a client that sends a message in more than one write waits for
/// the server's delayed acknowledgement, some 40 ms for each message, and nothing else can be measured.
///
/// # Errors
///
/// Those of the system, which has to be Linux 5.6 or later.
pub fn force_nodelay() -> io::Result<()> {
    let myself = match pidfd_open(getpid(), PidfdFlags::empty()) {
        // In valgrind, where time does not count.
        Err(Errno::NOSYS) => return Ok(()),
        myself => myself?,
    };
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // The descriptor that reads this directory is gone by the time it is looked at.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if !target.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // What another thread has closed meanwhile is none of its sockets.
        let Ok(socket) = pidfd_getfd(&myself, number, PidfdGetfdFlags::empty()) else { continue };
        // A socket that is not TCP refuses it.
        let _ = set_tcp_nodelay(socket, true);
    }
    Ok(())
}
