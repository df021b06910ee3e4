//! What holds for every server, every cut and every order of polls.

use std::collections::VecDeque;

use proptest::prelude::*;
use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_conformance::model::{Model, Policy, Verdict, verdicts_of};
use smtp_conformance::peer::random;
use smtp_proto::{CloseReason, Config, Event, OnRefusal, Outcome, Report, State, Transaction};

/// How two sides talk: the sizes of all pieces, and the order of polls.
struct Pipe {
    /// The most octets that may be under way in each direction.
    capacity: usize,
    /// Makes every piece and every choice random.
    seed: Option<u64>,
}

const WIDE: Pipe = Pipe { capacity: usize::MAX, seed: None };

impl Pipe {
    fn piece(&mut self, length: usize) -> usize {
        match &mut self.seed {
            Some(seed) if length > 0 => 1 + usize::try_from(random(seed)).unwrap_or(0) % length,
            _ => length,
        }
    }
}

/// A whole session: greeting, hello, the transactions one after the other, QUIT. Returns the reports, and what the client
/// said.
fn converse(
    config: Config,
    model: &mut Model,
    transactions: Vec<Transaction>,
    content: &[u8],
    mut pipe: Pipe,
) -> (Vec<Report>, Vec<u8>) {
    let mut lab = Lab::new(config);
    let mut transactions = VecDeque::from(transactions);
    let mut to_client: VecDeque<u8> = b"220 model\r\n".iter().copied().collect();
    let mut to_server: VecDeque<u8> = VecDeque::new();
    let mut unsaid: VecDeque<String> = VecDeque::new();
    let (mut reports, mut said, mut poured) = (Vec::new(), Vec::new(), 0);
    let mut quitting = false;
    let mut idle = 0;
    while idle < 100 {
        idle += 1;
        match if pipe.seed.is_some() { pipe.piece(6) } else { idle % 6 + 1 } {
            1 => {
                if let Some(event) = lab.connection.poll_event() {
                    idle = 0;
                    match event {
                        Event::Completed(report) => reports.push(report),
                        Event::Closed(reason) => {
                            assert_eq!(reason, CloseReason::Quit);
                            return (reports, said);
                        }
                        _ => {}
                    }
                }
            }
            2 if lab.connection.can_begin() && !transactions.is_empty() => {
                lab.connection.begin(transactions.pop_front().unwrap()).unwrap();
                idle = 0;
            }
            2 if transactions.is_empty() && !quitting && lab.connection.state() == State::Ready => {
                lab.connection.quit().unwrap();
                (quitting, idle) = (true, 0);
            }
            3 => {
                if let Some(mut body) = lab.connection.body() {
                    let piece = pipe.piece(content.len() - poured);
                    if piece == 0 {
                        body.finish().unwrap();
                        poured = 0;
                        idle = 0;
                    } else {
                        poured += body.write(&content[poured..poured + piece]).unwrap();
                    }
                }
            }
            4 => {
                let offered = lab.connection.poll_transmit().map_or(0, |out| out.len());
                let piece = pipe.piece(offered.min(pipe.capacity - to_server.len()));
                if piece > 0 {
                    let octets = lab.transmits(piece);
                    said.extend_from_slice(&octets);
                    to_server.extend(octets);
                    idle = 0;
                }
            }
            5 => {
                // The server reads nothing more while its replies find no room.
                if unsaid.is_empty() && !to_server.is_empty() {
                    let piece = pipe.piece(to_server.len());
                    let octets: Vec<u8> = to_server.drain(..piece).collect();
                    model.hear(&octets);
                    unsaid.extend(std::iter::from_fn(|| model.answer()));
                    idle = 0;
                }
                while let Some(reply) = unsaid.front_mut() {
                    let room = (pipe.capacity - to_client.len()).min(reply.len());
                    if room == 0 {
                        break;
                    }
                    to_client.extend(reply.drain(..room).collect::<String>().into_bytes());
                    if reply.is_empty() {
                        unsaid.pop_front();
                    }
                    idle = 0;
                }
            }
            6 => {
                let piece = pipe.piece(to_client.len());
                if piece > 0 {
                    let octets: Vec<u8> = to_client.drain(..piece).collect();
                    lab.hear(&octets);
                    idle = 0;
                }
            }
            _ => {}
        }
    }
    panic!("nothing moves any more: {:?}", lab.connection);
}

fn accepting(pipelining: bool) -> Policy {
    Policy { pipelining, lmtp: false, mail: 250, rcpt: vec![], data: 354, grants_nobody: false, end: vec![] }
}

fn one(config: Config, policy: &Policy, transaction: Transaction) -> (Report, Model) {
    let mut model = Model::new(policy.clone());
    let (mut reports, _) = converse(config, &mut model, vec![transaction], b"hello\r\n", WIDE);
    assert_eq!(reports.len(), 1);
    (reports.remove(0), model)
}

// C-73, P-05, C-74: every pattern of up to six recipients, whatever the server says to DATA, pipelined and not.
#[test]
fn pipelined_and_lock_step_agree_on_every_pattern() {
    for recipients in 1..=6_usize {
        for pattern in 0..1_u32 << recipients {
            let rcpt: Vec<u16> =
                (0..recipients).map(|index| if pattern >> index & 1 == 1 { 250 } else { 550 }).collect();
            for (data, grants_nobody) in [(354, false), (354, true), (451, false)] {
                let lock_step = Policy { rcpt: rcpt.clone(), data, grants_nobody, ..accepting(false) };
                let pipelined = Policy { pipelining: true, ..lock_step.clone() };
                let (expected, slow) = one(smtp(), &lock_step, transaction(recipients));
                let (report, fast) = one(smtp(), &pipelined, transaction(recipients));
                assert_eq!(report, expected);
                assert_eq!(verdicts_of(&report), pipelined.verdicts(recipients));
                let delivered =
                    |model: &Model| model.messages.iter().filter(|(_, to)| *to > 0).cloned().collect::<Vec<_>>();
                assert_eq!(delivered(&fast), delivered(&slow));
                // A message to nobody is empty.
                assert!(fast.messages.iter().all(|(content, to)| *to > 0 || content.is_empty()));
            }
        }
    }
}

// C-55: all or nothing means that a refusal of one leaves nobody with anything, an empty message included.
#[test]
fn abort_sends_to_all_or_to_none() {
    for pattern in 0..8_u32 {
        let rcpt: Vec<u16> = (0..3).map(|index| if pattern >> index & 1 == 1 { 250 } else { 450 }).collect();
        for pipelining in [true, false] {
            let policy = Policy { rcpt: rcpt.clone(), grants_nobody: true, ..accepting(pipelining) };
            let (report, model) = one(smtp(), &policy, transaction(3).on_refusal(OnRefusal::Abort));
            if pattern == 7 {
                assert!(report.is_complete_success());
            } else {
                assert!(model.messages.is_empty());
                assert!(!model.commands.iter().any(|command| command == "DATA"));
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
            let mut model = Model::new(accepting(true));
            let pipe = Pipe { capacity, seed: None };
            let (reports, _) = converse(config, &mut model, vec![transaction(recipients)], b"hello\r\n", pipe);
            assert!(reports[0].is_complete_success());
            assert_eq!(model.messages, [(b"hello\r\n".to_vec(), recipients)]);
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
    let (report, model) = one(smtp(), &accepting(true), transaction(3));
    assert!(report.is_complete_success());
    assert_eq!(model.commands.len(), 1 + 1 + 3 + 1 + 1);
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
    let mut model = Model::new(accepting(true));
    let transactions = vec![transaction(1), transaction(2), transaction(1)];
    let (reports, _) = converse(config.clone(), &mut model, transactions, b"hello\r\n", WIDE);
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
    (
        any::<bool>(),
        any::<bool>(),
        code(vec![250, 250, 250, 299, 451, 550]),
        prop::collection::vec(code(vec![250, 250, 251, 252, 450, 550, 552]), 0..6),
        code(vec![354, 354, 354, 451, 554, 250]),
        any::<bool>(),
        prop::collection::vec(code(vec![250, 250, 200, 452, 554]), 0..6),
    )
        .prop_map(|(pipelining, lmtp, mail, rcpt, data, grants_nobody, end)| Policy {
            pipelining,
            lmtp,
            mail,
            rcpt,
            data,
            // LMTP's answer to a dot for nobody is no reply at all, so the client closes; a transcript shows it.
            grants_nobody: grants_nobody && !lmtp,
            end,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    // P-05, P-06, P-10, P-11, R-05: any policy, any window, any cut both ways, any order of polls, any number of transactions:
    // the same octets and the same reports as in the plainest of runs, and those that the policy demands.
    #[test]
    fn cuts_and_polls_change_nothing(
        policy in any_policy(),
        recipients in 1..6_usize,
        count in 1..4_usize,
        window in prop::sample::select(vec![1, 40, 4096]),
        capacity in prop::sample::select(vec![1, 10, 100_000]),
        content in prop::collection::vec(prop::sample::select(b"ab.\r\n".to_vec()), 0..80),
        seed in 1..u64::MAX,
    ) {
        let mut config = if policy.lmtp { lmtp() } else { smtp() };
        config.pipeline_window = window;
        let transactions = vec![transaction(recipients); count];
        let run = |pipe: Pipe, transaction_window: usize| {
            let mut config = config.clone();
            config.transaction_window = transaction_window;
            let mut model = Model::new(policy.clone());
            let (reports, said) = converse(config, &mut model, transactions.clone(), &content, pipe);
            (reports, said, model.messages)
        };
        let plain = run(WIDE, 1);
        let cut = run(Pipe { capacity, seed: Some(seed) }, 1);
        prop_assert_eq!(&cut, &plain);
        prop_assert_eq!(plain.0.len(), count);
        for report in &plain.0 {
            prop_assert_eq!(verdicts_of(report), policy.verdicts(recipients));
        }
        // Several transactions in flight say the same in another order, and come to the same.
        let (reports, _, messages) = run(Pipe { capacity, seed: Some(seed) }, 3);
        prop_assert_eq!(&reports, &plain.0);
        prop_assert_eq!(&messages, &plain.2);
        // One send, at most one message to anybody.
        prop_assert!(messages.iter().filter(|(_, to)| *to > 0).count() <= count);
    }
}
