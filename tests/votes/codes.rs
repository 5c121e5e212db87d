//! Votes with codes, before the executor as a process of its own: what a code is good for, how often, and what a
//! daemon that was taken over can do with one. Phones are played by the library that the product checks with,
//! whose codes are held against the RFC's in `src/totp.rs`.

use std::fs;

use shipbell::executor::Taken;
use shipbell::executor::wire::{Answer, Verb};
use shipbell::model::statement::Statement;
use shipbell::model::ticket::StartOrder;
use shipbell::model::time::{Seconds, Timestamp};

use super::executor::{ANNA, BEN, Executor, MAL};

/// One lie that a taken-over daemon may tell, and the executor's words for it.
type Lie<T> = (&'static str, fn(&mut T));

/// For which nobody has typed anything, and which claims these voters.
fn claimed(executor: &Executor, number: u64, who: &[&str]) -> StartOrder {
    let mut order = executor.order(number);
    executor.name_as(&mut order, who);
    order
}

fn refused(executor: &Executor, order: &StartOrder, why: &str) {
    match executor.start(order) {
        Answer::Refused { why: said } => assert!(said.contains(why), "{why} is not in: {said}"),
        other => panic!("{why}: {other:?}"),
    }
}

fn not_taken(taken: Taken, with: &str) {
    match taken {
        Taken::Refused { why } => assert!(why.contains(with), "{with} is not in: {why}"),
        other => panic!("{with}: {other:?}"),
    }
}

/// Fault 35, with codes.
#[test]
fn a_daemon_that_was_taken_over_invents_no_code_and_moves_none() {
    let executor = Executor::of_codes(2);
    let order = claimed(&executor, 1, &[ANNA, BEN]);
    refused(&executor, &order, "0 of 2 votes by @release were given with a code");
    assert_eq!(executor.types(ANNA, &order, &executor.code(ANNA, 0)), Taken::Good);
    refused(&executor, &order, "1 of 2 votes");
    not_taken(executor.types(MAL, &order, &executor.code(MAL, 0)), "mal is not among the approvers");
    // A signature is no code, and one of ben's is not anna's.
    let (mut signed, statement) = (order.clone(), order.receipts.as_ref().unwrap().statement.clone());
    executor.sign_as(&mut signed, statement, &[ANNA, BEN]);
    refused(&executor, &signed, "1 of 2 votes");
    assert!(matches!(executor.types(BEN, &order, &executor.code(ANNA, 1)), Taken::Wrong { left: 4, .. }));
    assert_eq!(executor.types(BEN, &order, &executor.code(BEN, 0)), Taken::Good);
    // All is there for run 1, and for nothing else.
    let lies: [Lie<StartOrder>; 6] = [
        ("nobody's vote came with it", |order| order.receipts = None),
        ("names another run", |order| order.run.number = 2),
        ("0 of 2 votes", |order| {
            order.run.number = 2;
            order.receipts.as_mut().unwrap().statement.run.number = 2;
        }),
        ("0 of 2 votes", |order| {
            order.params.insert("TENANT".into(), "evil".into());
            order.receipts.as_mut().unwrap().statement.tuple.params = order.params.clone();
        }),
        ("0 of 2 votes", |order| order.receipts.as_mut().unwrap().statement.request += 1),
        ("1 of 2 votes", |order| {
            let votes = &mut order.receipts.as_mut().unwrap().votes;
            votes[1] = votes[0].clone();
        }),
    ];
    for (why, lie) in lies {
        let mut lying = order.clone();
        lie(&mut lying);
        refused(&executor, &lying, why);
    }
    assert_eq!(executor.deployed(), 0);
    assert_eq!(executor.start(&order), Answer::Done, "the truth starts it");
    executor.wait_for(1);
    let again = StartOrder { attempt: 2, ..order.clone() };
    refused(&executor, &again, "was used for attempt 1");
}

#[test]
fn a_code_is_good_once_and_for_one_thing_also_after_a_crash() {
    let mut executor = Executor::of_codes(1);
    let (first, second) = (claimed(&executor, 1, &[ANNA]), claimed(&executor, 2, &[ANNA]));
    let (code, next) = (executor.code(ANNA, 0), executor.code(ANNA, 1));
    assert_eq!(executor.types(ANNA, &first, &format!("{} {}", &code[..3], &code[3..])), Taken::Good);
    not_taken(executor.types(ANNA, &second, &code), "was used already");
    assert_eq!(executor.types(ANNA, &first, &code), Taken::Good, "asked twice, it was done once");
    executor.crash();
    // The definitions are read at the start; orders are made of what holds.
    assert_eq!(executor.ask(Verb::Reload), Answer::Done);
    not_taken(executor.types(ANNA, &second, &code), "was used already");
    refused(&executor, &second, "0 of 1 votes");
    assert_eq!(executor.start(&first), Answer::Done, "the vote outlived it");
    executor.wait_for(1);
    assert_eq!(executor.types(ANNA, &second, &next), Taken::Good, "a phone may be half a minute ahead");
    let kept = fs::read_to_string(executor.path("var/lib/shipbell/executor/codes/anna.json")).unwrap();
    assert!(!kept.contains(&code) && !kept.contains(&super::executor::seed(ANNA).text()), "{kept}");
}

#[test]
fn one_code_that_is_typed_for_many_things_at_once_is_good_for_one() {
    let executor = Executor::of_codes(1);
    let orders: Vec<StartOrder> = (1..=8).map(|number| claimed(&executor, number, &[ANNA])).collect();
    let code = executor.code(ANNA, 0);
    let taken: Vec<Taken> = std::thread::scope(|scope| {
        let typing: Vec<_> = orders.iter().map(|order| scope.spawn(|| executor.types(ANNA, order, &code))).collect();
        typing.into_iter().map(|typing| typing.join().unwrap()).collect()
    });
    let good: Vec<usize> = (0..8).filter(|at| taken[*at] == Taken::Good).collect();
    assert_eq!(good.len(), 1, "{taken:?}");
    for (at, order) in orders.iter().enumerate() {
        match executor.start(order) {
            Answer::Done => assert_eq!(at, good[0]),
            Answer::Refused { .. } => assert_ne!(at, good[0]),
            other => panic!("{other:?}"),
        }
    }
    executor.wait_for(1);
}

#[test]
fn five_wrong_codes_and_none_is_taken_whatever_they_are_for_and_however_often_it_restarts() {
    let mut executor = Executor::of_codes(1);
    let wrong = |who: &str| {
        let good: Vec<String> = (-25..=25).map(|steps| executor.code(who, steps)).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !good.contains(code)).unwrap()
    };
    let wrong = wrong(ANNA);
    let order = claimed(&executor, 1, &[ANNA]);
    not_taken(executor.types(ANNA, &order, "12345"), "six digits");
    for left in [4, 3] {
        match executor.types(ANNA, &order, &wrong) {
            Taken::Wrong { left: said, late: None, .. } => assert_eq!(said, left),
            other => panic!("{other:?}"),
        }
    }
    let late = executor.types(ANNA, &order, &executor.code(ANNA, -5));
    assert!(matches!(late, Taken::Wrong { late: Some(Seconds(120..=180)), left: 2, .. }), "{late:?}");
    executor.crash();
    // Made up by the daemon: what it is for makes no difference.
    let other = claimed(&executor, 77, &[ANNA]);
    assert!(matches!(executor.types(ANNA, &other, &wrong), Taken::Wrong { left: 1, .. }));
    let rests = executor.types(ANNA, &order, &wrong);
    assert!(matches!(rests, Taken::Rests { now: true, .. }), "{rests:?}");
    let Taken::Rests { until, .. } = rests else { unreachable!() };
    let span = until.duration_since(Timestamp::now()).as_secs();
    assert!((890..=900).contains(&span), "{span}");
    executor.crash();
    assert_eq!(executor.types(ANNA, &other, &executor.code(ANNA, 0)), Taken::Rests { until, now: false });
    assert_eq!(executor.types(BEN, &order, &executor.code(BEN, 0)), Taken::Good, "nobody else is hindered");
    assert!(executor.said().contains("too many wrong codes of anna"), "{}", executor.said());
}

#[test]
fn who_has_a_new_seed_or_lost_the_role_has_not_said_it() {
    let executor = Executor::of_codes(1);
    let order = claimed(&executor, 1, &[ANNA]);
    assert_eq!(executor.types(ANNA, &order, &executor.code(ANNA, 0)), Taken::Good);
    executor.seed(ANNA, &super::executor::seed(BEN).text(), 0o600);
    refused(&executor, &order, "0 of 1 votes");
    executor.seed(ANNA, &super::executor::seed(ANNA).text(), 0o640);
    refused(&executor, &order, "of anna: secret totp-anna");
    executor.seed(ANNA, &super::executor::seed(ANNA).text(), 0o600);
    executor.settings(&["anna: none", "ben", "mal"]);
    refused(&executor, &order, "0 of 1 votes by @release");
    executor.settings(&["anna", "ben", "mal"]);
    assert_eq!(executor.start(&order), Answer::Done);
    executor.wait_for(1);
}

#[test]
fn a_seed_that_others_can_read_or_that_is_none_makes_no_code_good() {
    let executor = Executor::of_codes(1);
    let order = claimed(&executor, 1, &[ANNA]);
    let code = executor.code(ANNA, 0);
    for (text, mode, why) in [
        (super::executor::seed(ANNA).text().as_str(), 0o644, "its mode is 0644"),
        ("JBSWY3DPEHPK3PXP", 0o600, "it has 80 bits"),
        ("not base32!", 0o600, "no base32"),
        ("", 0o600, "is empty"),
    ] {
        executor.seed(ANNA, text, mode);
        not_taken(executor.types(ANNA, &order, &code), why);
    }
    fs::remove_file(executor.path("etc/shipbell/secrets/totp-anna")).unwrap();
    not_taken(executor.types(ANNA, &order, &code), "there is no");
    executor.seed(ANNA, &super::executor::seed(ANNA).text(), 0o400);
    assert_eq!(executor.types(ANNA, &order, &code), Taken::Good, "none of it counted as a wrong one");
}

#[test]
fn what_cannot_be_written_down_is_not_told_and_not_taken() {
    let executor = Executor::of_codes(1);
    let order = claimed(&executor, 1, &[ANNA]);
    // Nothing can be put into a file as if it were a directory; a full disk says no as well.
    let codes = executor.path("var/lib/shipbell/executor/codes");
    fs::write(&codes, "").unwrap();
    let statement = Box::new(order.receipts.as_ref().unwrap().statement.clone());
    for code in [executor.code(ANNA, 0), "000000".into()] {
        let person = ANNA.parse().unwrap();
        let answer = executor.ask(Verb::Code { statement: statement.clone(), person, code });
        assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
    }
    fs::remove_file(&codes).unwrap();
    refused(&executor, &order, "0 of 1 votes");
    // Nor is what was written and is damaged taken for nothing.
    assert_eq!(executor.types(ANNA, &order, &executor.code(ANNA, 0)), Taken::Good);
    fs::write(codes.join("anna.json"), "{").unwrap();
    refused(&executor, &order, "anna.json");
}

#[test]
fn no_code_is_taken_for_what_could_not_start() {
    let executor = Executor::of_codes(1);
    let code = executor.code(ANNA, 0);
    let lies: [Lie<Statement>; 6] = [
        ("longer than `expires` says", |s| s.expires_at = Seconds::days(900).after(s.asked_at)),
        ("is to come", |s| s.asked_at = Seconds::days(1).after(s.asked_at)),
        ("its approval expired", |s| {
            s.asked_at = Seconds::days(12).before(s.asked_at);
            s.expires_at = Seconds::days(3).after(s.asked_at);
        }),
        ("no longer asked for like that", |s| s.tuple.policy = shipbell::model::job::Hash::of(b"none")),
        ("no longer asked for like that", |s| s.run.job = "app/other".parse().unwrap()),
        ("is not known here", |s| s.tuple.definition = shipbell::model::job::Hash::of(b"none")),
    ];
    for (why, lie) in lies {
        let mut order = claimed(&executor, 1, &[ANNA]);
        lie(&mut order.receipts.as_mut().unwrap().statement);
        not_taken(executor.types(ANNA, &order, &code), why);
    }
    let order = claimed(&executor, 1, &[ANNA]);
    let statement = Box::new(order.receipts.as_ref().unwrap().statement.clone());
    assert_eq!(executor.types(ANNA, &order, &code), Taken::Good, "it was not spent on any of them");
    assert_eq!(executor.ask(Verb::Withdraw { statement, why: "superseded by app/production#2".into() }), Answer::Done);
    refused(&executor, &order, "was taken back: superseded by app/production#2");
    not_taken(executor.types(ANNA, &order, &executor.code(ANNA, 1)), "not asked for any more");
}
