//! What the tests of all crates share: scripted peers, the transcripts, and a loopback server.

pub mod app;
#[cfg(feature = "drivers")]
pub mod blocking_run;
pub mod core_run;
pub mod dice;
pub mod lab;
pub mod loopback;
pub mod model;
pub mod peer;
#[cfg(feature = "drivers")]
pub mod relay;
pub mod sasl_server;
pub mod script;
#[cfg(feature = "drivers")]
pub mod sendmail;
#[cfg(feature = "drivers")]
pub mod simulation;
#[cfg(feature = "drivers")]
pub mod tls_server;
#[cfg(feature = "drivers")]
pub mod tokio_run;
pub mod traceability;

/// The README, so that its examples are compiled and run.
#[cfg(all(doctest, feature = "drivers"))]
#[doc = include_str!("../../README.md")]
struct Readme;
