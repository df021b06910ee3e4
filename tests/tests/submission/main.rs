//! One message for more recipients than a server takes at a time.

#[cfg(feature = "drivers")]
mod drivers;

use smtp_conformance::lab::{Lab, lmtp, smtp, transaction};
use smtp_proto::{Event, ForwardPath, OnRefusal, Outcome, Report, ReversePath, Submission, Transaction};

// C-97: what is checked beforehand is what begin checks: in LMTP, which has a reply for each recipient anyway, nothing is asked for.
#[test]
fn the_check_is_that_of_begin() {
    let mut lab = Lab::ready(lmtp(), &[]);
    let transaction = transaction(1).per_recipient_replies(true);
    assert_eq!(lab.connection.check(&transaction), Ok(()));
    assert!(lab.connection.begin(transaction).is_ok());
}

// C-99: what is left of the limits of a session, message by message, and where there is none. Each alone can be what ends it.
#[test]
fn a_session_is_used_up() {
    for (limits, left, used_up) in [
        ("LIMITS MAILMAX=2", [Some(2), Some(1), Some(0)], [false, false, true]),
        ("LIMITS MAILMAX=9 RCPTDOMAINMAX=1", [Some(9), Some(8), Some(7)], [false, true, true]),
        ("LIMITS RCPTMAX=1", [None; 3], [false; 3]),
        ("SIZE", [None; 3], [false; 3]),
    ] {
        let mut lab = Lab::ready(smtp(), &["PIPELINING", limits]);
        for (left, used_up) in left.into_iter().zip(used_up) {
            assert_eq!(lab.connection.transactions_left(), left, "{limits}");
            assert_eq!(lab.connection.is_used_up(), used_up, "{limits}");
            if lab.connection.begin(transaction(1)).is_ok() {
                lab.says();
                lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
                lab.pours(b"");
                lab.hear("250 queued\r\n");
            }
        }
    }
}

/// Begins the transaction and hears the server out; the message is empty.
fn send(lab: &mut Lab, transaction: Transaction, replies: &str) -> Report {
    lab.connection.begin(transaction).unwrap();
    lab.says();
    lab.hear(replies);
    if !lab.pours(b"").is_empty() {
        lab.hear("250 queued\r\n");
    }
    let mut events = lab.events().into_iter();
    events.find_map(|event| if let Event::Completed(report) = event { Some(report) } else { None }).unwrap()
}

// C-52, C-99: whoever was too many behind somebody is sent to again, as many at a time as the server took before; where nobody
// was before, or it is all or nobody, that is the end of it.
#[test]
fn too_many_are_sent_to_again() {
    let rounds_of = |on_refusal, rounds: &[&[u32]], letters: &str| {
        let mut lab = Lab::ready(smtp(), &["PIPELINING"]);
        let mut submission = Submission::new(transaction(5).on_refusal(on_refusal));
        for codes in rounds {
            let transaction = submission.next(&lab.connection).unwrap();
            assert_eq!(transaction.recipients().count(), codes.len(), "{rounds:?}");
            assert_eq!(submission.next(&lab.connection), None, "one is under way");
            let rcpt = codes.iter().map(|code| format!("{code} {}\r\n", if *code == 452 { "4.5.3" } else { "x" }));
            let data = match (on_refusal, codes.contains(&250)) {
                (OnRefusal::Abort, _) => "",
                (_, true) => "354 go\r\n",
                (_, false) => "503 no\r\n",
            };
            let replies = format!("250 ok\r\n{}{data}", rcpt.collect::<String>());
            submission.completed(send(&mut lab, transaction, &replies));
        }
        assert_eq!(submission.next(&lab.connection), None, "{rounds:?}");
        let report = submission.into_report();
        let told = report.recipients().map(|(_, outcome)| match outcome {
            Outcome::Accepted(_) => 'a',
            Outcome::Refused { .. } => 'r',
            Outcome::NotSent => 'n',
            _ => '?',
        });
        assert_eq!(told.collect::<String>(), letters, "{rounds:?}");
    };
    rounds_of(OnRefusal::Continue, &[&[250, 250, 250, 250, 250]], "aaaaa");
    rounds_of(OnRefusal::Continue, &[&[250, 250, 452, 452, 452], &[550, 250], &[250]], "aaraa");
    rounds_of(OnRefusal::Continue, &[&[250, 452, 452, 550, 452], &[250], &[250], &[250]], "aaara");
    rounds_of(OnRefusal::Continue, &[&[452, 250, 250, 250, 250]], "raaaa");
    rounds_of(OnRefusal::Continue, &[&[452, 452, 452, 452, 452]], "rrrrr");
    rounds_of(OnRefusal::Abort, &[&[250, 250, 250, 250, 452]], "nnnnr");
}

// C-99: whoever was passed over comes first in a session that has room, before who has not had a turn.
#[test]
fn the_order_is_kept_from_session_to_session() {
    let path = |text: &str| ForwardPath::parse(text).unwrap();
    let to = ["a@x.example", "b@y.example", "c@x.example", "d@x.example", "e@y.example"].map(path);
    let mut submission = Submission::new(Transaction::new(ReversePath::null()).to_all(to));
    let session = || Lab::ready(smtp(), &["PIPELINING", "LIMITS RCPTMAX=1 RCPTDOMAINMAX=1"]);
    let mut order = Vec::new();
    for turns in [2, 2, 1] {
        let mut lab = session();
        for _ in 0..turns {
            let transaction = submission.next(&lab.connection).unwrap();
            order.extend(transaction.recipients().map(|path| path.as_str()[..1].to_owned()));
            submission.completed(send(&mut lab, transaction, "250 ok\r\n250 ok\r\n354 go\r\n"));
        }
    }
    assert_eq!(order.concat(), "acbed");
}

// C-99: a domain written in U-labels and said in A-labels is one domain, the next time too.
#[test]
fn a_domain_is_counted_once_in_either_form() {
    let mut lab = Lab::ready(smtp(), &["PIPELINING", "LIMITS RCPTDOMAINMAX=1"]);
    for path in ["a@b\u{fc}cher.example", "b@B\u{dc}CHER.example", "c@xn--bcher-kva.example"] {
        let transaction = transaction(0).to(ForwardPath::parse(path).unwrap());
        lab.connection.begin(transaction).unwrap();
        assert!(lab.says().contains("@xn--bcher-kva.example>"));
        lab.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        lab.pours(b"");
        lab.hear("250 queued\r\n");
    }
}

// C-99, P-20: recipients for whose domain a session has no room are not looked at again for each transaction, and yet they are
// not forgotten: neither by a session that has room, nor by one that has none but knows their domain, nor when the sender is refused.
#[test]
fn nobody_who_is_passed_over_is_forgotten() {
    let to = |paths: &[&str]| paths.iter().map(|path| ForwardPath::parse(path).unwrap()).collect::<Vec<_>>();
    let message = |paths: &[&str]| Transaction::new(ReversePath::null()).to_all(to(paths));
    let session = || Lab::ready(smtp(), &["PIPELINING", "LIMITS RCPTMAX=1 RCPTDOMAINMAX=1"]);
    let send = |lab: &mut Lab, transaction: Transaction, mail: &str| {
        lab.connection.begin(transaction).unwrap();
        lab.says();
        lab.hear(format!("{mail} x\r\n{mail} x\r\n{}\r\n", if mail == "250" { "354 go" } else { "503 no" }));
        lab.pours(b"hello\r\n");
        lab.hear("250 ok\r\n");
        let mut reports = lab.events().into_iter().filter_map(|event| match event {
            Event::Completed(report) => Some(report),
            _ => None,
        });
        reports.next().unwrap()
    };
    let next = |submission: &mut Submission, lab: &Lab| submission.next(&lab.connection);

    for (domains_known, refused) in [("", false), ("z@y.example", false), ("z@y.example", true)] {
        let mut first = session();
        let mut submission = Submission::new(message(&["a@x.example", "b@y.example", "c@x.example", "d@x.example"]));
        for (expected, mail) in
            [("a@x.example", "250"), ("c@x.example", "250"), ("d@x.example", if refused { "550" } else { "250" })]
        {
            let transaction = next(&mut submission, &first).unwrap();
            assert_eq!(transaction.recipients().map(ForwardPath::as_str).collect::<Vec<_>>(), [expected]);
            let report = send(&mut first, transaction, mail);
            submission.completed(report);
        }
        assert!(next(&mut submission, &first).is_none());
        if !refused {
            let mut second = session();
            if !domains_known.is_empty() {
                send(&mut second, message(&[domains_known]), "250");
            }
            let transaction = next(&mut submission, &second).unwrap();
            assert_eq!(transaction.recipients().map(ForwardPath::as_str).collect::<Vec<_>>(), ["b@y.example"]);
            let report = send(&mut second, transaction, "250");
            submission.completed(report);
        }
        let report = submission.into_report();
        let accepted: Vec<bool> = report.recipients().map(|(_, outcome)| outcome.is_accepted()).collect();
        assert_eq!(accepted, [true, !refused, true, !refused]);
        assert_eq!(report.refused().count(), if refused { 2 } else { 0 });
    }
}
