//! A relay that is a bad network. It knows octets and their order, and no SMTP.
//!
//! What it does to a connection is decided by a seed: it cuts what comes into pieces, and behind so many octets in one
//! direction it resets the connection, closes it, or half of it, or passes nothing on for a while. (toxiproxy, and its port to
//! Rust, cannot reset or half-close behind a given octet.)

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::dice::Dice;

/// Where octets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Both ends get a reset.
    Reset,
    /// Both ends see the connection closed.
    Close,
    /// The end that octets go to sees the connection closed; what still comes in that direction is lost.
    HalfClose,
    /// Nothing goes in that direction for longer than anybody waits. Then all of it comes after all.
    Stall,
}

/// What becomes of one connection.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Octets that are passed on at a time, at most.
    pub piece: usize,
    /// One in so many pieces comes a little later; with 0 none.
    pub pauses: usize,
    /// What happens, in which direction, behind how many octets.
    pub fault: Option<(Fault, Direction, usize)>,
}

impl Plan {
    /// What `seed` decides about a connection. They are counted from 0.
    pub fn new(seed: u64, connection: u64) -> Self {
        let dice = &mut Dice::new(seed, connection);
        let fault =
            dice.pick(&[Fault::Reset, Fault::Reset, Fault::Close, Fault::Close, Fault::HalfClose, Fault::Stall]);
        let direction = dice.pick(&[Direction::Up, Direction::Down]);
        // In the greeting, in the hello, or in one of the first messages. What a server says is shorter.
        let longest = match direction {
            Direction::Up => dice.pick(&[40, 1000, 4000, 20_000]),
            Direction::Down => dice.pick(&[40, 400, 1000, 2000]),
        };
        let at = dice.within(0..=longest);
        Self {
            piece: dice.pick(&[1, 10, 100, 1000, 1 << 16, 1 << 16]),
            pauses: dice.pick(&[0, 0, 50]),
            fault: (!dice.one_in(8)).then_some((fault, direction, at)),
        }
    }
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that were relayed.
    pub connections: AtomicU64,
    /// Pieces that were passed on.
    pub pieces: AtomicU64,
    /// Pieces that came a little later.
    pub pauses: AtomicU64,
    /// Connections reset.
    pub resets: AtomicU64,
    /// Connections closed.
    pub closes: AtomicU64,
    /// Connections closed in one direction.
    pub half_closes: AtomicU64,
    /// Connections that came to a standstill.
    pub stalls: AtomicU64,
}

/// A relay of its own for each client, so that the number of a connection is the client's own count.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens, on loopback.
    pub port: u16,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What all connections of a relay have in common.
#[derive(Clone, Debug)]
pub struct Route {
    /// The server's port, on loopback.
    pub server: u16,
    /// What decides about the connections.
    pub seed: u64,
    /// How long a stall lasts.
    pub stall: Duration,
    /// Where it is counted.
    pub tally: Arc<Tally>,
}

impl Relay {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// When there is no port.
    pub async fn start(route: Route) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = &mut stopped => break,
                };
                let Ok((client, _)) = accepted else { continue };
                let plan = Plan::new(route.seed, number);
                number += 1;
                connections.spawn(relay(client, plan, route.clone()));
            }
            while connections.join_next().await.is_some() {}
        });
        Ok(Self { port, stop, task })
    }

    /// Takes no more connections, and returns when all of them are over.
    pub async fn finish(self) {
        let _ = self.stop.send(());
        self.task.await.expect("a relay does not panic");
    }
}

/// How both directions of a connection are over at once.
enum Over {
    Reset,
    Closed,
}

async fn relay(mut client: TcpStream, plan: Plan, route: Route) {
    // Without a server there is nothing to relay; the client sees the connection closed.
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, route.server)).await else { return };
    add(&route.tally.connections, 1);
    for stream in [&client, &server] {
        // So that a piece is a segment.
        let _ = stream.set_nodelay(true);
    }
    let over = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            pass(from_client, to_server, Direction::Up, &plan, &route),
            pass(from_server, to_client, Direction::Down, &plan, &route),
        )
    };
    if let Err(Over::Reset) = over {
        for stream in [&client, &server] {
            let _ = stream.set_zero_linger();
        }
    }
}

/// Passes octets on until there are no more, or what the plan has in store.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    plan: &Plan,
    route: &Route,
) -> Result<(), Over> {
    let mut fault = plan.fault.filter(|(_, where_to, _)| *where_to == direction);
    let tally = &route.tally;
    let (mut passed, mut pieces) = (0, 0);
    let mut buffer = vec![0; 16 * 1024];
    let mut held = 0..0;
    loop {
        match fault.take_if(|(_, _, at)| *at == passed).map(|(fault, ..)| fault) {
            None => {}
            Some(Fault::Reset) => {
                add(&tally.resets, 1);
                return Err(Over::Reset);
            }
            Some(Fault::Close) => {
                add(&tally.closes, 1);
                return Err(Over::Closed);
            }
            Some(Fault::HalfClose) => {
                add(&tally.half_closes, 1);
                let _ = to.shutdown().await;
                let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
                return Ok(());
            }
            Some(Fault::Stall) => {
                add(&tally.stalls, 1);
                sleep(route.stall).await;
            }
        }
        if held.is_empty() {
            // Whoever resets a connection has nothing more to say.
            let count = from.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                let _ = to.shutdown().await;
                return Ok(());
            }
            held = 0..count;
        }
        let until_fault = fault.map_or(usize::MAX, |(_, _, at)| at - passed);
        let piece = held.start..held.end.min(held.start + plan.piece.min(until_fault));
        pieces += 1;
        if plan.pauses > 0 && pieces % plan.pauses == 0 {
            add(&tally.pauses, 1);
            sleep(Duration::from_millis(1)).await;
        }
        if to.write_all(&buffer[piece.clone()]).await.is_err() {
            // Nobody is there to take it; the other direction finds its end itself.
            return Ok(());
        }
        add(&tally.pieces, 1);
        passed += piece.len();
        held.start = piece.end;
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pieces of {}", self.piece)?;
        match self.fault {
            Some((fault, direction, at)) => write!(f, ", {fault:?} at octet {at} {direction:?}"),
            None => Ok(()),
        }
    }
}
