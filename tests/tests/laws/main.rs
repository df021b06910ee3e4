//! What holds for every server, every content, every cut and every order of polls.

mod machine;
mod model;
