//! Every transcript, against the bare core and every driver, in every cut.

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use smtp_conformance::app::{compare, compare_octets, report_lines};
use smtp_conformance::core_run::{self, Plan, Run, nonblocking};
use smtp_conformance::peer::Pieces;
use smtp_conformance::script::{Script, Verb};
#[cfg(feature = "drivers")]
use smtp_conformance::{blocking_run, tokio_run};
use smtp_proto::record::Recording;
use smtp_proto::{CloseReason, Event, Outcome};

type Test = fn(&Script) -> Result<(), Failed>;

const CORE: &[(&str, Test)] = &[
    ("core", core_in_every_cut),
    ("core_random", core_in_random_order),
    ("core_cut_input", core_cut_at_every_octet_received),
    ("core_cut_output", core_cut_at_every_octet_sent),
    ("mio", |script| driver_in_every_cut(script, nonblocking::run)),
    ("mio_cut_input", |script| driver_cut_at_every_octet_received(script, nonblocking::run)),
    ("mio_cut_output", nonblocking_cut_at_every_octet_sent),
    ("record", record_replayed),
];

const DRIVERS: &[(&str, Test)] = &[
    #[cfg(feature = "drivers")]
    ("blocking", |script| driver_in_every_cut(script, blocking_run::run)),
    #[cfg(feature = "drivers")]
    ("blocking_cut_input", |script| driver_cut_at_every_octet_received(script, blocking_run::run)),
    #[cfg(feature = "drivers")]
    ("tokio", |script| driver_in_every_cut(script, tokio_run::run)),
    #[cfg(feature = "drivers")]
    ("tokio_cut_input", |script| driver_cut_at_every_octet_received(script, tokio_run::run)),
];

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut trials = Vec::new();
    for script in Script::all(&folder) {
        // What takes long to compute is computed once by each.
        let tests = CORE.iter().chain(DRIVERS);
        let tests = tests.filter(|(kind, _)| !script.slow || matches!(*kind, "core" | "blocking" | "tokio" | "mio"));
        for &(kind, test) in tests {
            let script = script.clone();
            trials.push(Trial::test(format!("{}::{kind}", script.name), move || test(&script)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Whole, line by line, octet by octet, and split at every offset.
fn cuts(script: &Script) -> impl Iterator<Item = Pieces> {
    let all = [Pieces::Whole, Pieces::Lines, Pieces::Octets].into_iter();
    let all = all.chain((1..script.server.len()).map(Pieces::SplitAt));
    all.take(if script.slow { 1 } else { usize::MAX })
}

fn check(script: &Script, sent: &[u8], told: &[Vec<String>], early: Option<&String>, how: &str) -> Result<(), Failed> {
    if let Some(early) = early {
        return Err(format!("{how}: said too early: {early:?}").into());
    }
    compare_octets(script, sent).and_then(|()| compare(script, told)).map_err(|error| format!("{how}: {error}").into())
}

fn core_in_every_cut(script: &Script) -> Result<(), Failed> {
    for input in cuts(script) {
        for output in [Pieces::Whole, Pieces::Octets] {
            let plan = Plan { input: input.clone(), content: output.clone(), output, ..Plan::default() };
            let run = core_run::run(script, plan.clone());
            check(script, &run.sent, &run.told, run.early.as_ref(), &format!("{plan:?}"))?;
        }
    }
    Ok(())
}

/// What the client sent, what the application was told, and what the client said too early.
type DriverRun = fn(&Script, Pieces, Pieces, Option<usize>) -> (Vec<u8>, Vec<Vec<String>>, Option<String>);

/// P-22: every driver sends the same octets as the core and tells the same.
fn driver_in_every_cut(script: &Script, run: DriverRun) -> Result<(), Failed> {
    for input in cuts(script) {
        for output in [Pieces::Whole, Pieces::Octets] {
            let (sent, told, early) = run(script, input.clone(), output.clone(), None);
            check(script, &sent, &told, early.as_ref(), &format!("{input:?} {output:?}"))?;
        }
    }
    Ok(())
}

/// P-06, and the order of polls: random pieces both ways, polls in random order.
fn core_in_random_order(script: &Script) -> Result<(), Failed> {
    for seed in 1..200 {
        let random = Pieces::Random(seed);
        let plan = Plan {
            input: random.clone(),
            output: random.clone(),
            content: random,
            polls: Some(seed),
            ..Plan::default()
        };
        let run = core_run::run(script, plan);
        check(script, &run.sent, &run.told, run.early.as_ref(), &format!("seed {seed}"))?;
    }
    Ok(())
}

/// P-12, R-02: the stream ends behind every octet of the server's. What was decided stays, nothing else is.
fn core_cut_at_every_octet_received(script: &Script) -> Result<(), Failed> {
    let whole = core_run::run(script, Plan::default());
    for cut in 0..script.server.len() {
        let run = core_run::run(script, Plan { cut_input: Some(cut), ..Plan::default() });
        truthful(script, &whole, &run, |received, _| received <= cut)
            .map_err(|error| format!("cut at {cut}: {error}"))?;
    }
    Ok(())
}

/// P-12, P-22: the same by every driver. It notices the end a little earlier or later than the core does here, so what it tells
/// is held against the whole run.
fn driver_cut_at_every_octet_received(script: &Script, run: DriverRun) -> Result<(), Failed> {
    let whole = core_run::run(script, Plan::default());
    for cut in 0..script.server.len() {
        let (sent, told, early) = run(script, Pieces::Whole, Pieces::Whole, Some(cut));
        let truth = match early {
            Some(early) => Err(format!("said too early: {early:?}")),
            None if !script.client.starts_with(&sent) => Err("the client sent something else".into()),
            None => told
                .iter()
                .enumerate()
                .try_for_each(|(act, lines)| truthful_lines(script, &whole, &sent, cut, act, lines)),
        };
        truth.map_err(|error| format!("cut at {cut}: {error}"))?;
    }
    Ok(())
}

/// Holds the outcomes that an act told against those of the whole run.
fn truthful_lines(
    script: &Script,
    whole: &Run,
    sent: &[u8],
    cut: usize,
    act: usize,
    lines: &[String],
) -> Result<(), String> {
    let outcomes = |lines: &[String]| lines.iter().filter(|line| line.starts_with('<')).cloned().collect::<Vec<_>>();
    let begins = |act: &usize| {
        let refused = whole.told[*act].iter().any(|line| line.starts_with("error: "));
        matches!(script.acts[*act].verb, Verb::Send(..) | Verb::Mail(_)) && !refused
    };
    let Some(transaction) = (0..=act).filter(begins).count().checked_sub(1) else { return Ok(()) };
    let expected = whole.told.iter().skip(act).map(|lines| outcomes(lines)).find(|lines| !lines.is_empty());
    let (told, expected) = (outcomes(lines), expected.unwrap_or_default());
    if whole.reports.get(transaction).is_some_and(|(_, received, _)| *received <= cut) {
        let decided = told.is_empty() || told == expected;
        return if decided { Ok(()) } else { Err(format!("{told:#?} instead of {expected:#?}")) };
    }
    let gone = whole.terminators.get(transaction).is_some_and(|&end| end <= sent.len());
    for (told, expected) in told.iter().zip(&expected) {
        let true_so_far = match told {
            told if told.ends_with(" not sent") => !gone || expected.contains(" refused "),
            told if told.ends_with(" in doubt") => gone,
            told => told == expected,
        };
        if !true_so_far {
            return Err(format!("{told:?} where the whole run says {expected:?}, terminator gone: {gone}"));
        }
    }
    Ok(())
}

/// the transport breaks behind every octet of the client's.
fn core_cut_at_every_octet_sent(script: &Script) -> Result<(), Failed> {
    let whole = core_run::run(script, Plan::default());
    for cut in 0..script.client.len() {
        let run = core_run::run(script, Plan { cut_output: Some(cut), ..Plan::default() });
        truthful(script, &whole, &run, |_, sent| sent <= cut).map_err(|error| format!("cut at {cut}: {error}"))?;
    }
    Ok(())
}

/// the same where what the server still has to say is read, as the examples do.
fn nonblocking_cut_at_every_octet_sent(script: &Script) -> Result<(), Failed> {
    let whole = core_run::run(script, Plan::default());
    for cut in 0..script.client.len() {
        let readiness = Some(nonblocking::Readiness::random(1 + cut as u64));
        let mut run = core_run::run(script, Plan { cut_output: Some(cut), readiness, ..Plan::default() });
        // Content is handed over further ahead of what leaves than this run can tell where it ends.
        run.terminators.clone_from(&whole.terminators);
        truthful(script, &whole, &run, |_, sent| sent <= cut).map_err(|error| format!("cut at {cut}: {error}"))?;
    }
    Ok(())
}

/// What is recorded comes to the same reports and the same end when it is replayed, wherever the stream ended.
fn record_replayed(script: &Script) -> Result<(), Failed> {
    let plans = [Pieces::Whole, Pieces::Lines, Pieces::Octets].map(|pieces| Plan {
        input: pieces.clone(),
        output: pieces.clone(),
        content: pieces,
        ..Plan::default()
    });
    let cuts = (0..script.server.len()).map(|cut| Plan { cut_input: Some(cut), ..Plan::default() });
    let broken = (0..script.client.len()).map(|cut| Plan { cut_output: Some(cut), ..Plan::default() });
    for plan in plans.into_iter().chain(cuts).chain(broken) {
        let run = core_run::run(script, Plan { record: true, ..plan.clone() });
        let record = run.record.expect("it was to be written");
        // What only the caller knew is not in it: that a message could not be read, or was not sent for what it held. The
        // rest is said in the documentation of the records.
        let missing = [" C XCLIENT", " C X\n", " S? 1\n"].iter().any(|part| record.contains(part));
        if missing || script.name == "dsn-utf8" || run.closed == Some(CloseReason::Aborted) {
            continue;
        }
        let failed = |reason: String| Failed::from(format!("{plan:?}: {reason}\n{record}"));
        let recording: Recording = record.parse().map_err(|error| failed(format!("{error}")))?;
        let events = recording.replay().map_err(|error| failed(error.to_string()))?;
        let (mut reports, mut closed) = (Vec::new(), None);
        for event in events {
            match event {
                Event::Completed(report) => reports.extend(report_lines(&report)),
                Event::Closed(reason) => closed = Some(reason),
                _ => {}
            }
        }
        // Whom the server was not told of the record knows nothing of.
        let sent = String::from_utf8_lossy(&run.sent);
        let mut envelopes = sent.split("MAIL FROM:<").skip(1);
        let mut expected = Vec::new();
        for (report, ..) in &run.reports {
            let envelope = envelopes.next().unwrap_or_default();
            let lines = envelope.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            // They are told in order.
            let told = lines.filter(|line| line.starts_with("RCPT TO:")).count();
            expected.extend(report_lines(report).take(told));
        }
        // Nor of a QUIT that never left.
        let quit = run.closed == Some(CloseReason::Quit) && !sent.contains("QUIT\r\n");
        if reports != expected || (closed != run.closed && !quit) {
            return Err(failed(format!("{reports:#?} {closed:?} instead of {expected:#?} {:?}", run.closed)));
        }
    }
    Ok(())
}

/// Holds a run that was cut short against the whole one. `reached` says whether the cut run came as far as a report.
fn truthful(script: &Script, whole: &Run, run: &Run, reached: impl Fn(usize, usize) -> bool) -> Result<(), String> {
    if !script.client.starts_with(&run.sent) {
        return Err("the client sent something else".into());
    }
    if let Some(early) = &run.early {
        return Err(format!("said too early: {early:?}"));
    }
    if run.closed.is_none() {
        return Err("the connection did not notice".into());
    }
    if run.reports.len() != run.begun {
        return Err(format!("{} transactions, {} reports", run.begun, run.reports.len()));
    }
    for (index, (report, ..)) in run.reports.iter().enumerate() {
        let (expected, received, sent) = &whole.reports[index];
        if reached(*received, *sent) {
            if report != expected {
                return Err(format!("{report:?} instead of {expected:?}"));
            }
            continue;
        }
        let gone = run.terminators.get(index).is_some_and(|&end| end <= run.sent.len());
        for ((_, outcome), (_, expected)) in report.recipients().zip(expected.recipients()) {
            let true_so_far = match outcome {
                Outcome::NotSent => !gone || matches!(expected, Outcome::Refused { .. }),
                Outcome::InDoubt => gone,
                outcome => outcome == expected,
            };
            let early = outcome.is_accepted() && script.config.protocol == smtp_proto::Protocol::Smtp;
            if !true_so_far || early {
                return Err(format!("{outcome:?} where the whole run says {expected:?}, terminator gone: {gone}"));
            }
        }
    }
    Ok(())
}
