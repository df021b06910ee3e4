//! The seeds of the fuzz targets, on stable Rust, so that neither they nor the targets rot.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use smtp_proto::fuzzing;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

/// What is in a folder, by its name without an ending.
fn names(path: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Runs a target on its seeds, and on each seed cut short and changed a little; and on what fuzzing has found, where that
/// has been done.
fn replay(name: &str, target: fn(&[u8])) {
    let seeds = folder("seeds").join(name);
    assert!(!names(&seeds).is_empty(), "{} holds no seeds", seeds.display());
    for entry in fs::read_dir(&seeds).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        target(&seed);
        for cut in 0..seed.len() {
            target(&seed[..cut]);
            let mut changed = seed.clone();
            changed[cut] ^= 0x11;
            target(&changed);
        }
    }
    for entry in fs::read_dir(folder("corpus").join(name)).into_iter().flatten() {
        target(&fs::read(entry.unwrap().path()).unwrap());
    }
}

// Each target has a file of its own, seeds, and a place in the manifest; and a test here, or the number would be another.
#[test]
fn every_target_is_complete() {
    let targets = names(&folder("fuzz_targets"));
    assert_eq!(targets.len(), 14);
    assert_eq!(names(&folder("seeds")), targets);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    let here = include_str!("seeds.rs");
    for name in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        assert!(here.contains(&format!("replay(\"{name}\", fuzzing::{name});")), "{name}");
    }
}

// C-01, C-02, C-03, C-04, C-09, C-10, S-63
#[test]
fn reply() {
    replay("reply", fuzzing::reply);
}

// P-06
#[test]
fn reply_splits() {
    replay("reply_splits", fuzzing::reply_splits);
}

// C-25
#[test]
fn capabilities() {
    replay("capabilities", fuzzing::capabilities);
}

// C-92, C-93, P-19
#[test]
fn enhanced_code() {
    replay("enhanced_code", fuzzing::enhanced_code);
}

// C-42, C-43, P-02, P-03, P-04
#[test]
fn content() {
    replay("content", fuzzing::content);
}

// C-44, S-10, S-11, S-12
#[test]
fn line_endings() {
    replay("line_endings", fuzzing::line_endings);
}

// P-01, P-16, S-20, S-21
#[test]
fn commands() {
    replay("commands", fuzzing::commands);
}

// C-49, C-50, P-19, S-20
#[test]
fn addresses() {
    replay("addresses", fuzzing::addresses);
}

// C-90, P-19
#[test]
fn xtext() {
    replay("xtext", fuzzing::xtext);
}

// S-35
#[test]
fn challenges() {
    replay("challenges", fuzzing::challenges);
}

// C-116, C-126, S-52
#[test]
fn scram() {
    replay("scram", fuzzing::scram);
}

// P-06, P-07, P-08, P-10, P-11, P-12, P-13, P-18
#[test]
fn connection() {
    replay("connection", fuzzing::connection);
}

// C-73, P-05
#[test]
fn pipelining() {
    replay("pipelining", fuzzing::pipelining);
}

// P-15, S-60
#[test]
fn secrets() {
    replay("secrets", fuzzing::secrets);
}
