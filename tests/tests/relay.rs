//! The relay does what its plan says, no more and no less: what is told of a bad network rests on that.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use smtp_conformance::relay::{Fault, Plan, Relay, Route, Tally};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OCTETS: usize = 5000;

/// What comes back of octets that are sent through a relay to a server that says them again.
async fn echoed(seed: u64) -> Vec<u8> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = listener.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let route = Route { server, seed, stall: Duration::from_millis(1), tally: Arc::new(Tally::default()) };
    let relay = Relay::start(route).await.unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port)).await.unwrap();
    let sent: Vec<u8> = (0..=250).cycle().take(OCTETS).collect();
    // Whoever is cut off may be so at any of these.
    let _ = stream.write_all(&sent).await;
    let _ = stream.shutdown().await;
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back).await;
    drop(stream);
    relay.finish().await;
    echo.await.unwrap();
    assert!(sent.starts_with(&back), "seed {seed}");
    back
}

#[tokio::test]
async fn octets_pass_up_to_the_fault() {
    let (mut whole, mut half_closed, mut cut) = (0, 0, 0);
    for seed in 0..60 {
        let plan = Plan::new(seed, 0);
        let back = echoed(seed).await;
        match plan.fault {
            Some((Fault::HalfClose, _, at)) if at < OCTETS => {
                half_closed += 1;
                assert_eq!(back.len(), at, "seed {seed}: {plan}");
            }
            // Some of them may be lost in addition.
            Some((Fault::Reset | Fault::Close, _, at)) if at < OCTETS => {
                cut += 1;
                assert!(back.len() <= at, "seed {seed}: {plan}");
            }
            _ => {
                whole += 1;
                assert_eq!(back.len(), OCTETS, "seed {seed}: {plan}");
            }
        }
    }
    assert!(whole > 0 && half_closed > 0 && cut > 0);
}
