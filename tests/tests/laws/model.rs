//! The machine against the naive client and the naive server. The binary `model` does the same very many times.

use smtp_conformance::model::judge::{self, Tally};

// P-05, P-10, P-11, P-18, R-01, R-02, R-03, R-05, S-40, S-41, S-42, S-45, C-41, C-70, C-71, C-73, C-78: whatever the server
// answers, however the octets are cut, whoever lies, fails or gives up, and whenever: the machine tells what the naive client
// would, nobody is lost or doubled, and after the end not an octet is said.
#[test]
fn the_machine_agrees_with_the_model() {
    let mut tally = Tally::default();
    for seed in 0..3000 {
        let run = judge::run(seed);
        assert_eq!(run.wrong, None, "seed {seed}");
        tally.add(&run);
    }
    println!("{tally}");
    assert_eq!(tally.missing().collect::<Vec<_>>(), [""; 0]);
}
