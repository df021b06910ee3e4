//! What holds for every server, every content, every cut and every order of polls.

mod encoder;
mod machine;
mod model;
mod session;
mod values;
mod worlds;
