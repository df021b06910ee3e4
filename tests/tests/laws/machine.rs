//! What holds of a session, whatever the server answers and however the octets are cut.

use proptest::prelude::*;
use smtp_conformance::dice::Dice;
use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_conformance::model::client::{Client, LockStep};
use smtp_conformance::model::server::{Answers, Message, Policy, Server};
use smtp_conformance::model::talk::{Talk, Told};
use smtp_conformance::model::{Letter, Verdict, verdicts_of};
use smtp_proto::{CloseReason, Config, Event, Outcome, Report, State};

/// A session that nothing happens to, with octets in the largest of pieces.
fn plain(config: Config, policy: &Policy, letters: &[Letter]) -> Told {
    hale(Talk::new(config, Server::new(policy.clone()), letters).run())
}

fn hale(told: Told) -> Told {
    assert_eq!((told.wrong.as_ref(), told.server.out_of_order.as_ref()), (None, None));
    told
}

fn one(config: Config, policy: &Policy, letter: Letter) -> (Report, Told) {
    let mut told = plain(config, policy, &[letter]);
    assert_eq!((told.reports.len(), told.closed.as_ref()), (1, Some(&CloseReason::Quit)));
    (told.reports.remove(0), told)
}

fn delivered(told: &Told) -> Vec<Message> {
    told.server.messages.iter().filter(|message| !message.to.is_empty()).cloned().collect()
}

/// What the naive client is told of the same messages.
fn in_lock_step(policy: &Policy, letters: &[Letter]) -> Vec<Vec<Verdict>> {
    let server = Server::new(policy.clone());
    let hello = if policy.lmtp { "LHLO me\r\n" } else { "EHLO me\r\n" };
    let mut client = Client::new(LockStep::new(server, hello), policy.lmtp);
    letters.iter().map(|letter| client.send(letter)).collect()
}

// C-73, P-05, C-74: every pattern of up to six recipients, whatever the server says to DATA, pipelined and not.
#[test]
fn pipelined_and_lock_step_agree_on_every_pattern() {
    for recipients in 1..=6_usize {
        for pattern in 0..1_u32 << recipients {
            let rcpt: Vec<u16> =
                (0..recipients).map(|index| if pattern >> index & 1 == 1 { 250 } else { 550 }).collect();
            for (data, grants_nobody) in [(354, false), (354, true), (451, false)] {
                let answers = Answers { rcpt: rcpt.clone(), data, grants_nobody, ..Answers::default() };
                let letter = Letter::to(recipients);
                let (expected, slow) = one(smtp(), &Policy::new(&[], answers.clone()), letter.clone());
                let pipelined = Policy::new(&["PIPELINING"], answers);
                let (report, fast) = one(smtp(), &pipelined, letter.clone());
                assert_eq!(report, expected);
                assert_eq!([verdicts_of(&report)], in_lock_step(&pipelined, &[letter])[..]);
                assert_eq!(delivered(&fast), delivered(&slow));
                // A message to nobody is empty.
                assert!(
                    fast.server.messages.iter().all(|message| !message.to.is_empty() || message.content.is_empty())
                );
            }
        }
    }
}

// C-55: all or nothing means that a refusal of one leaves nobody with anything, an empty message included.
#[test]
fn abort_sends_to_all_or_to_none() {
    for pattern in 0..8_u32 {
        let rcpt: Vec<u16> = (0..3).map(|index| if pattern >> index & 1 == 1 { 250 } else { 450 }).collect();
        for offers in [&["PIPELINING"][..], &[]] {
            let answers = Answers { rcpt: rcpt.clone(), grants_nobody: true, ..Answers::default() };
            let letter = Letter { all_or_none: true, ..Letter::to(3) };
            let (report, told) = one(smtp(), &Policy::new(offers, answers), letter);
            if pattern == 7 {
                assert!(report.is_complete_success());
            } else {
                assert!(told.server.messages.is_empty());
                assert!(!told.server.commands.iter().any(|command| command == "DATA"));
                assert!(
                    report
                        .recipients()
                        .all(|(_, outcome)| matches!(outcome, Outcome::NotSent | Outcome::Refused { .. }))
                );
            }
        }
    }
}

// C-76, P-21: a thousand octets of room each way, a server that reads nothing while its replies are not taken, and 5,000
// recipients; then a single octet of room.
#[test]
fn no_window_deadlocks() {
    for (capacity, recipients) in [(1024, 5000), (1, 50)] {
        for window in [1, 100, 4096, usize::MAX] {
            let mut config = smtp();
            config.pipeline_window = window;
            let server = Server::new(Policy::new(&["PIPELINING"], Answers::default()));
            let mut talk = Talk::new(config, server, &[Letter::to(recipients)]);
            talk.capacity = capacity;
            let told = hale(talk.run());
            assert!(told.reports[0].is_complete_success());
            let [message] = told.server.messages.as_slice() else { panic!("{:?}", told.server.messages) };
            assert_eq!((message.content.as_slice(), message.to.len()), (&b"hello\r\n"[..], recipients));
        }
    }
}

// C-79: a million recipients and a silent server: what is queued stays within the window.
#[test]
fn the_window_bounds_what_is_queued() {
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(1_000_000)).unwrap();
    assert!(lab.connection.poll_transmit().unwrap().len() <= 4096);
    let said = lab.says();
    assert!(said.len() <= 4096 && said.len() > 4000);
    assert!(lab.connection.poll_transmit().is_none());
    lab.hear("250 ok\r\n250 ok\r\n");
    assert!(lab.says().len() < 100, "two answers make room for two commands");
}

// C-70, C-71: nothing follows EHLO, DATA, QUIT or a command of the caller's before it is answered.
#[test]
fn nothing_follows_a_command_that_ends_a_group() {
    let (report, told) = one(smtp(), &Policy::new(&["PIPELINING"], Answers::default()), Letter::to(3));
    assert!(report.is_complete_success());
    assert_eq!(told.server.commands.len(), 1 + 1 + 3 + 1 + 1);
    let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
    lab.connection.begin(transaction(1)).unwrap();
    assert!(lab.says().ends_with("DATA\r\n"));
    lab.hear("250 ok\r\n250 ok\r\n");
    assert_eq!(lab.says(), "");
}

// C-72, R-02, R-03: three messages in one flight; the reports come in order, and of a line that breaks each message that
// left in full and was not answered is in doubt.
#[test]
fn several_transactions_in_flight() {
    let mut config = smtp();
    config.transaction_window = 3;
    let letters = [Letter::to(1), Letter::to(2), Letter::to(1)];
    let reports = plain(config.clone(), &Policy::new(&["PIPELINING"], Answers::default()), &letters).reports;
    assert_eq!(reports.iter().map(|report| report.id().get()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(reports.iter().all(Report::is_complete_success));

    for poison in [&b"nonsense\r\n"[..], b"250 one\r\n999 two\r\n", b"250 one\r\n"] {
        let mut lab = Lab::ready(config.clone(), &["PIPELINING"]);
        lab.connection.begin(transaction(1)).unwrap();
        assert!(!lab.connection.can_begin());
        lab.says();
        lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        lab.pours(b"hello\r\n");
        // The first one's final reply is still due when the second one begins.
        assert_eq!(lab.connection.state(), State::Busy);
        assert!(lab.connection.can_begin());
        lab.connection.begin(transaction(1)).unwrap();
        assert!(lab.says().starts_with("MAIL"));
        lab.hear(poison);
        lab.connection.handle_eof();
        let reports: Vec<_> = lab
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Completed(report) => Some(verdicts_of(&report)),
                _ => None,
            })
            .collect();
        let first = if poison.starts_with(b"250") { Verdict::Accepted(250) } else { Verdict::InDoubt };
        assert_eq!(reports, [[first], [Verdict::NotSent]]);
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let code = |codes: Vec<u16>| prop::sample::select(codes);
    let answers = (
        code(vec![250, 250, 250, 299, 451, 550]),
        prop::collection::vec(code(vec![250, 250, 251, 252, 450, 550, 552]), 0..6),
        code(vec![354, 354, 354, 451, 554, 250]),
        any::<bool>(),
        prop::collection::vec(code(vec![250, 250, 200, 452, 554]), 0..6),
    );
    let answers = answers.prop_map(|(mail, rcpt, data, grants_nobody, end)| Answers {
        mail,
        rcpt,
        data,
        grants_nobody,
        end,
        ..Answers::default()
    });
    (any::<bool>(), any::<bool>(), prop::collection::vec(answers, 1..4)).prop_map(|(pipelining, lmtp, mut answers)| {
        // LMTP's answer to a dot for nobody is no reply at all, so the client closes; a transcript shows it.
        answers.iter_mut().for_each(|answers| answers.grants_nobody &= !lmtp);
        let offers: &[&'static str] = if pipelining { &["PIPELINING"] } else { &[] };
        Policy { offers: offers.to_vec(), lmtp, answers, texts: Vec::new() }
    })
}

/// A text that says nothing, in one line or two.
fn any_text() -> impl Strategy<Value = String> {
    let line =
        prop_oneof!["[^\r\n\0]{0,30}", Just("5.7.1 no".to_owned()), Just("250 ok".to_owned()), Just("421".to_owned())];
    (line.clone(), prop::option::of(line)).prop_map(|(first, second)| match second {
        Some(second) => format!("{first}\n{second}"),
        None => first,
    })
}

fn config_for(policy: &Policy) -> Config {
    if policy.lmtp { lmtp() } else { smtp() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // P-05, P-10, P-11, R-05: any policy, any window, any cut both ways, any order of polls, any number of transactions:
    // the same octets and the same reports as in the plainest of runs, and those that a naive client gets.
    #[test]
    fn cuts_and_polls_change_nothing(
        policy in any_policy(),
        recipients in 1..6_usize,
        count in 1..4_usize,
        window in prop::sample::select(vec![1, 40, 4096]),
        capacity in prop::sample::select(vec![1, 10, 100_000]),
        content in prop::collection::vec(prop::sample::select(b"ab.\r\n".to_vec()), 0..80),
        seed in any::<u64>(),
    ) {
        let mut config = config_for(&policy);
        config.pipeline_window = window;
        let letters = vec![Letter { content, ..Letter::to(recipients) }; count];
        let run = |transaction_window: usize| {
            let mut config = config.clone();
            config.transaction_window = transaction_window;
            let mut talk = Talk::new(config, Server::new(policy.clone()), &letters);
            (talk.capacity, talk.dice) = (capacity, Some(Dice::new(seed, 0)));
            hale(talk.run())
        };
        let plain = plain(config.clone(), &policy, &letters);
        let cut = run(1);
        prop_assert_eq!(&cut.reports, &plain.reports);
        prop_assert_eq!(&cut.trace.said, &plain.trace.said);
        prop_assert_eq!(&cut.server.messages, &plain.server.messages);
        let reported: Vec<_> = plain.reports.iter().map(verdicts_of).collect();
        prop_assert_eq!(reported, in_lock_step(&policy, &letters));
        // Several transactions in flight say the same in another order, and come to the same.
        let several = run(3);
        prop_assert_eq!(&several.reports, &plain.reports);
        prop_assert_eq!(&several.server.messages, &plain.server.messages);
        // One send, at most one message to anybody.
        prop_assert!(delivered(&plain).len() <= count);
    }

    // C-06, P-07: other texts, and replies of two lines instead of one, change neither what is said nor what is reported.
    #[test]
    fn texts_change_nothing(
        policy in any_policy(),
        texts in prop::collection::vec(any_text(), 1..5),
        recipients in 1..6_usize,
        seed in any::<u64>(),
    ) {
        let letters = vec![Letter::to(recipients); 3];
        let run = |texts: &[String]| {
            let server = Server::new(Policy { texts: texts.to_vec(), ..policy.clone() });
            let mut talk = Talk::new(config_for(&policy), server, &letters);
            talk.dice = (!texts.is_empty()).then(|| Dice::new(seed, 0));
            hale(talk.run())
        };
        let (usual, other) = (run(&[]), run(&texts));
        prop_assert_eq!(usual.trace.said, other.trace.said);
        let verdicts = |reports: &[Report]| reports.iter().map(verdicts_of).collect::<Vec<_>>();
        prop_assert_eq!(verdicts(&usual.reports), verdicts(&other.reports));
        prop_assert_eq!(usual.closed, other.closed);
    }
}
