//! The loop.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::task::Poll;
use std::time::{Duration, Instant};

use compio::buf::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::TcpStream;
use compio::runtime::Runtime;
use compio::time::timeout;
use smtp_proto::Time;

use crate::job::{Job, USAGE};
use crate::mailing::{Mailing, Summary};

/// One connection after the other. To have them at once, spawn [`send`] on the runtime for each.
pub(crate) fn run() -> Result<Summary, Box<dyn Error>> {
    let job = Job::from_arguments()?;
    let address = job.address.ok_or(USAGE)?;
    let mut summary = Summary::default();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        // Containers often forbid it.
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            return Err(format!("this kernel does not give out io_uring, nothing was sent: {error}").into());
        }
        Err(error) => return Err(error.into()),
    };
    for _ in 0..job.connections {
        let mut mailing = Mailing::new(&job);
        match runtime.block_on(timeout(Duration::from_secs(30), TcpStream::connect(address))) {
            Ok(Ok(stream)) => runtime.block_on(send(&stream, &mut mailing)),
            Ok(Err(error)) => mailing.handle_no_stream(&error),
            Err(_) => mailing.handle_no_stream(&ErrorKind::TimedOut.into()),
        }
        summary.add(mailing.summary);
    }
    Ok(summary)
}

/// What the kernel is done with.
enum Done {
    Read(io::Result<usize>, Vec<u8>),
    Write(io::Result<()>),
}

/// There is always one read under way, and beside it at most one write.
async fn send(stream: &TcpStream, mailing: &mut Mailing<'_>) {
    let start = Instant::now();
    let now = || Time::from_duration(start.elapsed());
    // A future is kept until it is done, whatever else is first: dropping one would lose what the kernel did by then.
    let mut reading = Box::pin(read(stream, Vec::with_capacity(4096)));
    let mut writing = None;
    loop {
        mailing.act();
        if mailing.is_over() {
            return;
        }
        mailing.content.feed(&mut mailing.connection);
        if let (None, Some(out)) = (&writing, mailing.connection.poll_transmit()) {
            let octets = out.to_vec();
            // Taken now and not when the write is done: from here on the octets may be with the server, the reply may be
            // read before the kernel tells of the write, and if all breaks nobody knows how many of them went.
            mailing.connection.handle_transmitted(octets.len(), now());
            writing = Some(Box::pin(write(stream, octets)));
            // More has room now, and content that waits is what bounds the time of the write.
            mailing.content.feed(&mut mailing.connection);
        }
        let done = poll_fn(|context| {
            if let Poll::Ready((result, buffer)) = reading.as_mut().poll(context) {
                return Poll::Ready(Done::Read(result, buffer));
            }
            match writing.as_mut().map(|writing| writing.as_mut().poll(context)) {
                Some(Poll::Ready(result)) => Poll::Ready(Done::Write(result)),
                _ => Poll::Pending,
            }
        });
        // Waking up when nothing is due does no harm.
        let left = mailing.connection.poll_timeout(now()).unwrap_or(Duration::from_secs(60));
        match timeout(left, done).await {
            Ok(Done::Read(Ok(1..), buffer)) => {
                mailing.connection.handle_input(&buffer, now());
                reading = Box::pin(read(stream, buffer));
            }
            Ok(Done::Read(..)) => mailing.connection.handle_eof(),
            Ok(Done::Write(result)) => {
                writing = None;
                if result.is_err() {
                    mailing.connection.handle_write_closed(now());
                }
            }
            Err(_) => mailing.handle_timeout(now()),
        }
    }
}

async fn read(mut stream: &TcpStream, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
    buffer.clear();
    let BufResult(result, buffer) = stream.read(buffer).await;
    (result, buffer)
}

async fn write(mut stream: &TcpStream, octets: Vec<u8>) -> io::Result<()> {
    stream.write_all(octets).await.0
}
