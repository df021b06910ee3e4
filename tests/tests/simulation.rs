//! Worlds in which the network, the server and the application fail. The binary `simulate` runs very many of them.

use smtp_conformance::simulation::{self, ledger::Tally};

// P-10, P-11, P-12, S-43, C-161, C-163: whatever fails and whenever, every recipient has
// one outcome, and what the server wrote down agrees with it.
#[test]
fn no_world_breaks_a_promise() {
    let mut tally = Tally::default();
    for seed in 0..300 {
        let run = simulation::run(seed);
        assert!(run.violations.is_empty(), "seed {seed}: {:#?}\n{}", run.violations, run.log.join("\n"));
        tally.merge(&run.tally);
    }
    println!("{tally}");
    assert_eq!(tally.missing().collect::<Vec<_>>(), [""; 0]);
}

// A seed that fails can be run again alone.
#[test]
fn a_seed_decides_everything() {
    for seed in (0..3000).step_by(100) {
        let (first, second) = (simulation::run(seed), simulation::run(seed));
        assert_eq!(first.log, second.log, "seed {seed}");
        assert!(!first.log.is_empty());
    }
}
