//! The seeds of the fuzz targets, on stable Rust, so that neither they nor the targets rot.

use std::fs;
use std::path::Path;

/// Runs a target on its seeds, and on each seed cut short and changed a little.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        target(&seed);
        for cut in 0..seed.len() {
            target(&seed[..cut]);
            let mut changed = seed.clone();
            changed[cut] ^= 0x11;
            target(&changed);
        }
        count += 1;
    }
    assert!(count > 0, "{} holds no seeds", folder.display());
}

// C-01, C-09, P-06
#[test]
fn reply() {
    replay("reply", smtp_proto::fuzzing::reply);
}

// C-25
#[test]
fn capabilities() {
    replay("capabilities", smtp_proto::fuzzing::capabilities);
}

// P-02, P-03
#[test]
fn content() {
    replay("content", smtp_proto::fuzzing::content);
}

// P-08, P-10, P-18
#[test]
fn connection() {
    replay("connection", smtp_proto::fuzzing::connection);
}
