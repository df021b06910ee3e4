//! Twice as much of anything takes at most 2.2 times the work. No clock is asked: valgrind counts instructions.

use std::process::Command;
use std::sync::Mutex;
use std::thread;

const WORK: &str = env!("CARGO_BIN_EXE_work");

/// Instructions of a process that does so much of a piece of work.
fn instructions(work: &str, count: u64) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", WORK, work, &count.to_string()]);
    let output = valgrind.output().expect("valgrind is there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{work} {count}: {told}");
    let collected = told.lines().find_map(|line| line.split_once("Collected : "));
    collected.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or_else(|| panic!("no number in {told}"))
}

// S-31, P-20: floods of replies, offers and challenges, content, recipients, messages and lists of addresses: what n and what 2n of
// them take above what none takes.
#[test]
#[ignore = "needs valgrind, which .ci/run installs"]
fn twice_as_much_takes_twice_the_work() {
    let list = Command::new(WORK).output().expect("the work can be listed");
    let list = String::from_utf8(list.stdout).unwrap();
    let all: Vec<(&str, u64)> = list
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(work, count)| (work, count.parse().unwrap()))
        .collect();
    assert!(all.len() > 30);
    let (left, wrong) = (Mutex::new(all.into_iter()), Mutex::new(Vec::new()));
    let next = || left.lock().unwrap().next();
    let measure = || {
        while let Some((work, count)) = next() {
            let none = instructions(work, 0);
            let [once, twice] = [count, 2 * count].map(|count| instructions(work, count).saturating_sub(none));
            let ratio = twice as f64 / once as f64;
            println!("{work:20} {count:7}: {once:10} instructions; twice as much: {twice:10}, ratio {ratio:.2}");
            // With much less, nothing would have been done.
            if !(1.8..=2.2).contains(&ratio) {
                wrong.lock().unwrap().push((work, ratio));
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(measure)))
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
}
