//! What the tests of all crates share: scripted peers, the transcripts, and a loopback server.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should say so loudly")]

pub mod app;
pub mod blocking_run;
pub mod core_run;
pub mod lab;
pub mod loopback;
pub mod model;
pub mod peer;
pub mod script;
