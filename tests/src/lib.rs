//! What the tests of all crates share: scripted peers, the transcripts, and a loopback server.

pub mod app;
pub mod blocking_run;
pub mod core_run;
pub mod lab;
pub mod loopback;
pub mod model;
pub mod peer;
pub mod relay;
pub mod sasl_server;
pub mod script;
pub mod sendmail;
pub mod simulation;
pub mod tls_server;
pub mod tokio_run;
pub mod traceability;

/// The README, so that its examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
