//! A client, a network and a server, all of them in one thread and simulated time: everything that goes wrong follows from
//! a seed, and can go wrong again.
//!
//! The server writes down what it takes responsibility for at the moment it decides so. When all is over, what the client
//! was told is held against that.

mod cancel;
mod client;
mod content;
pub mod ledger;
pub mod plan;
mod server;
mod streams;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use turmoil::{Builder, Sim};

use self::ledger::{Ledger, Tally};
use self::plan::{Fault, Plan, TICK};
use self::server::Shared;

/// Longer than any session can take.
const LONGEST: Duration = Duration::from_secs(300);

/// What came of one world.
#[derive(Debug)]
pub struct Run {
    /// How often what happened.
    pub tally: Tally,
    /// What must not be.
    pub violations: Vec<String>,
    /// What happened, in order.
    pub log: Vec<String>,
}

/// Runs the world of `seed`.
pub fn run(seed: u64) -> Run {
    let plan = Rc::new(Plan::new(seed));
    let ledger = Rc::new(RefCell::new(Ledger::new(Rc::clone(&plan))));
    let mut sim = world(&plan, &ledger);
    let mut weather = Weather { due: 0, next: 0, ends: None, notes: Rc::clone(&ledger), plan: Rc::clone(&plan) };
    weather.wait();
    loop {
        match sim.step() {
            Ok(false) => weather.step(&mut sim),
            Ok(true) => break,
            Err(error) => {
                ledger.borrow_mut().violation(format!("no end: {error}"));
                break;
            }
        }
    }
    // What is still under way comes when the client is gone.
    weather.clear(&mut sim);
    for _ in 0..200 {
        if ledger.borrow().open == 0 {
            break;
        }
        if let Err(error) = sim.step() {
            ledger.borrow_mut().violation(format!("the server failed: {error}"));
            break;
        }
    }
    drop(sim);
    drop(weather);
    let mut ledger = Rc::into_inner(ledger).expect("the world is gone").into_inner();
    ledger.judge();
    Run { tally: ledger.tally, violations: ledger.violations, log: ledger.log }
}

fn world(plan: &Rc<Plan>, ledger: &Shared) -> Sim<'static> {
    let mut builder = Builder::new();
    builder
        .rng_seed(plan.seed)
        .epoch(SystemTime::UNIX_EPOCH)
        .tick_duration(TICK)
        .simulation_duration(LONGEST)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(plan.latency)
        .fail_rate(plan.loss)
        .tcp_capacity(plan.capacity);
    if plan.any_order {
        builder.enable_random_order();
    }
    let mut sim = builder.build();
    let (its_plan, its_ledger) = (Rc::clone(plan), Rc::clone(ledger));
    sim.host("server", move || server::listen(Rc::clone(&its_plan), Rc::clone(&its_ledger)));
    sim.client("client", client::run(Rc::clone(plan), Rc::clone(ledger)));
    sim
}

/// Brings the faults, one after the other.
struct Weather {
    plan: Rc<Plan>,
    notes: Shared,
    /// The next fault comes when the server has made so many steps.
    due: usize,
    next: usize,
    /// What is at work, and for how many ticks.
    ends: Option<(Fault, usize)>,
}

impl Weather {
    fn wait(&mut self) {
        let after = self.plan.faults.get(self.next).map_or(0, |(after, ..)| *after);
        self.due = self.notes.borrow().steps + after;
    }

    fn step(&mut self, sim: &mut Sim<'_>) {
        if let Some((fault, left)) = self.ends {
            self.ends = Some((fault, left.saturating_sub(1)));
            if left == 0 {
                self.clear(sim);
            }
            return;
        }
        let Some(&(_, fault, ticks)) = self.plan.faults.get(self.next) else { return };
        if self.notes.borrow().steps < self.due {
            return;
        }
        self.note(sim, &format!("{fault:?} for {ticks} ticks"));
        self.notes.borrow_mut().count(fault.name());
        match fault {
            Fault::Partition => sim.partition("client", "server"),
            Fault::Deaf => sim.partition_oneway("client", "server"),
            Fault::Mute => sim.partition_oneway("server", "client"),
            Fault::Hold => sim.hold("client", "server"),
            Fault::Crash => sim.crash("server"),
            Fault::PowerCut => {
                // Programs that end close their sockets; those that lose their power do not.
                sim.partition_oneway("server", "client");
                sim.crash("server");
                sim.repair_oneway("server", "client");
            }
        }
        self.next += 1;
        self.ends = Some((fault, ticks));
    }

    fn clear(&mut self, sim: &mut Sim<'_>) {
        let Some((fault, _)) = self.ends.take() else { return };
        self.note(sim, &format!("{fault:?} is over"));
        match fault {
            Fault::Partition => sim.repair("client", "server"),
            Fault::Deaf => sim.repair_oneway("client", "server"),
            Fault::Mute => sim.repair_oneway("server", "client"),
            Fault::Hold => sim.release("client", "server"),
            Fault::Crash | Fault::PowerCut => sim.bounce("server"),
        }
        self.wait();
    }

    fn note(&self, sim: &Sim<'_>, what: &str) {
        self.notes.borrow_mut().note(format!("{:6} network {what}", sim.elapsed().as_millis()));
    }
}
