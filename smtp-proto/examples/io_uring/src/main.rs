//! Sends messages by completion-based I/O, where the kernel owns a buffer from the submission until it is done with it:
//! io_uring, by way of compio.
//!
//! ```text
//! cargo run --manifest-path smtp-proto/examples/io_uring/Cargo.toml -- 127.0.0.1:25 --messages 5
//! ```

#[cfg(target_os = "linux")]
#[path = "../../shared/job.rs"]
mod job;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
#[path = "../../shared/mailing.rs"]
mod mailing;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    mailing::Summary::finish(linux::run())
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("only Linux has io_uring: nothing was sent");
    std::process::ExitCode::from(2)
}
