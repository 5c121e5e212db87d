//! Votes that the executor judges, signed or with a code, against a daemon that was taken over: the executor as
//! a process of its own, asked in its own protocol for what nobody approved; and a whole Shipbell, whose
//! database somebody has written votes into.

#[path = "path/browser.rs"]
mod browser;
#[path = "votes/codes.rs"]
mod codes;
#[path = "votes/executor.rs"]
mod executor;
#[path = "runs/order.rs"]
mod order;
#[path = "votes/page.rs"]
mod page;
#[path = "votes/strangers.rs"]
mod strangers;
mod support;

use std::fs;

use executor::{ANNA, BEN, Executor, MAL};
use shipbell::executor::wire::{Answer, Verb};
use shipbell::model::commit::RefName;
use shipbell::model::job::Hash;
use shipbell::model::request::{RequestState, Signed, Verdict, Vote};
use shipbell::model::statement::Statement;
use shipbell::model::ticket::StartOrder;
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::store::Store;
use support::robot::Robot;
use support::signer;

/// One lie that a taken-over daemon may tell: of the order, and of what it says was signed.
type Lie = fn(&Executor, &mut StartOrder);

fn statement(order: &mut StartOrder) -> &mut Statement {
    &mut order.receipts.as_mut().unwrap().statement
}

/// Each with the executor's words for it.
const LIES: [(&str, &str, Lie); 18] = [
    ("no votes", "nobody's vote came with it", |_, order| order.receipts = None),
    ("it says that root let it go", "nobody's vote came with it", |_, order| {
        order.receipts = None;
        order.broken_glass = Some("the site is down".into());
    }),
    ("words in place of signatures", "0 of 2 signatures", |_, order| {
        order.receipts.as_mut().unwrap().votes.iter_mut().for_each(|vote| vote.signed = None);
    }),
    ("the same person twice", "1 of 2 signatures", |_, order| {
        let votes = &mut order.receipts.as_mut().unwrap().votes;
        votes[1] = votes[0].clone();
    }),
    ("one signature under two names", "1 of 2 signatures", |_, order| {
        let votes = &mut order.receipts.as_mut().unwrap().votes;
        votes[1].signed = votes[0].signed.clone();
    }),
    ("a person without the role", "1 of 2 signatures", |executor, order| {
        let signed = executor.signed(MAL, statement(order));
        order.receipts.as_mut().unwrap().votes[1] = signed;
    }),
    ("a key of nobody", "1 of 2 signatures", |executor, order| {
        let text = statement(order).text(&executor.host);
        let (path, key) = signer::key(&executor.keys(), "stranger");
        let signature = signer::sign(&path, &text);
        order.receipts.as_mut().unwrap().votes[1].signed = Some(Signed { key, signature });
    }),
    ("votes for another run", "names another run", |_, order| order.run.number += 1),
    ("votes for another run, told of this one", "0 of 2 signatures", |_, order| {
        order.run.number += 1;
        statement(order).run.number += 1;
    }),
    ("another parameter", "names another parameter", |_, order| {
        order.params.insert("TENANT".into(), "evil".into());
    }),
    ("another parameter, told as asked", "0 of 2 signatures", |_, order| {
        order.params.insert("TENANT".into(), "evil".into());
        statement(order).tuple.params = order.params.clone();
    }),
    ("another branch", "names another branch", |_, order| order.git_ref = RefName::branch("evil").ok()),
    ("another policy", "names another approval rule", |_, order| statement(order).tuple.policy = Hash::of(b"none")),
    ("another environment", "names another environment", |_, order| {
        statement(order).tuple.environment = "staging".parse().unwrap();
    }),
    ("another request", "0 of 2 signatures", |_, order| statement(order).request += 1),
    ("longer than `expires`", "longer than `expires` says", |_, order| {
        let statement = statement(order);
        statement.expires_at = Seconds::days(900).after(statement.asked_at);
    }),
    ("another host's votes", "0 of 2 signatures", |executor, order| {
        let text = statement(order).text("elsewhere");
        let votes = &mut order.receipts.as_mut().unwrap().votes;
        for (vote, who) in votes.iter_mut().zip([ANNA, BEN]) {
            vote.signed.as_mut().unwrap().signature = signer::sign(&executor.key(who), &text);
        }
    }),
    ("a thousand votes", "votes came with it", |_, order| {
        let votes = &mut order.receipts.as_mut().unwrap().votes;
        *votes = vec![votes[0].clone(); 1000];
    }),
];

/// Fault 35.
#[test]
fn a_daemon_that_was_taken_over_starts_nothing_that_nobody_signed() {
    let executor = Executor::new(2);
    for (what, why, lie) in LIES {
        let mut order = executor.order(1);
        lie(&executor, &mut order);
        match executor.start(&order) {
            Answer::Refused { why: said } => assert!(said.contains(why), "{what}: {said}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(executor.deployed(), 0);
    assert!(!executor.has_runs(), "and nothing is left of any of them");
    assert_eq!(executor.start(&executor.order(1)), Answer::Done, "the truth starts it");
    executor.wait_for(1);
}

#[test]
fn an_approval_that_expired_starts_nothing() {
    let executor = Executor::new(1);
    let mut order = executor.order(1);
    let asked_at = Seconds::days(12).before(Timestamp::now());
    let statement =
        Statement { asked_at, expires_at: Seconds::days(3).after(asked_at), ..statement(&mut order).clone() };
    executor.sign_as(&mut order, statement, &[ANNA]);
    match executor.start(&order) {
        Answer::Refused { why } => assert!(why.contains("its approval expired"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(executor.deployed(), 0);
}

#[test]
fn an_approval_is_spent_on_one_attempt_that_touched_the_environment() {
    let executor = Executor::new(1);
    let order = executor.order(1);
    assert_eq!(executor.start(&order), Answer::Done);
    executor.wait_for(1);
    assert_eq!(executor.start(&order), Answer::Done, "asked twice it is done once");
    let again = StartOrder { attempt: 2, ..order.clone() };
    let refused = |order: &StartOrder| match executor.start(order) {
        Answer::Refused { why } => assert!(why.contains("was used for attempt 1"), "{why}"),
        other => panic!("{other:?}"),
    };
    refused(&again);
    // Nor once nothing is left of the run but what the executor remembers.
    fs::remove_dir_all(executor.path("var/lib/shipbell/runs").join(order.run.id())).unwrap();
    refused(&again);
    refused(&order);
    assert_eq!(executor.deployed(), 1);
}

#[test]
fn an_attempt_that_touched_nothing_leaves_the_approval_whole() {
    let executor = Executor::new(1);
    // Its steps never begin.
    executor.job_file("user = \"no-such-user-here\"");
    let order = executor.order(1);
    for attempt in 1..=3 {
        assert_eq!(executor.start(&StartOrder { attempt, ..order.clone() }), Answer::Done, "attempt {attempt}");
        executor.wait_for_end(&order.run, attempt);
    }
    assert_eq!(executor.deployed(), 0);
}

#[test]
fn who_lost_the_role_counts_no_more_whatever_the_daemon_keeps_to_itself() {
    let executor = Executor::new(1);
    let order = executor.order(1);
    executor.settings(&["anna: none", "ben", "mal"]);
    match executor.start(&order) {
        Answer::Refused { why } => assert!(why.contains("0 of 1 signatures by @release"), "{why}"),
        other => panic!("{other:?}"),
    }
    // And a rule that was made stricter is not gone round by the definition before it.
    executor.settings(&["anna", "ben", "mal"]);
    executor.job_file("description = \"the same\"");
    let before = executor.order(2);
    executor.job_file("timeout = \"7m\"");
    match executor.start(&before) {
        Answer::Refused { why } => assert!(why.contains("holds no longer"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(executor.deployed(), 0);
}

#[test]
fn root_and_nobody_else_lets_it_go_without_votes() {
    let executor = Executor::new(2);
    let bare = |number| StartOrder { receipts: None, ..executor.order(number) };
    let glass = |order: &StartOrder| shipbell::executor::Glass {
        run: order.run.clone(),
        commit: order.commit.clone(),
        definition: order.definition.clone(),
        reason: "the site is down".into(),
    };
    let answer = executor.ask(Verb::BreakGlass { glass: glass(&bare(1)) });
    if shipbell::sys::host::effective_uid() != 0 {
        assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
        return;
    }
    assert_eq!(answer, Answer::Done);
    assert!(matches!(executor.start(&bare(2)), Answer::Refused { .. }), "it is for one run");
    assert_eq!(executor.start(&bare(1)), Answer::Done);
    executor.wait_for(1);
    let again = StartOrder { attempt: 2, ..bare(1) };
    assert!(matches!(executor.start(&again), Answer::Refused { .. }), "and for one attempt");
    let said = executor.said();
    assert!(said.contains("BREAK-GLASS: root lets app/production#1 go without votes"), "{said}");
    assert!(executor.path("var/lib/shipbell/executor/broken-glass/app.production.1.json").exists());
}

#[test]
fn a_no_that_the_executor_heard_stays_one_whatever_is_asked_later() {
    let executor = Executor::new(1);
    let (mut order, other) = (executor.order(1), executor.order(2));
    let statement = Box::new(statement(&mut order).clone());
    assert_eq!(
        executor.ask(Verb::Withdraw { statement, why: "rejected by ben: not on a Friday".into() }),
        Answer::Done
    );
    match executor.start(&order) {
        Answer::Refused { why } => assert!(why.contains("was taken back: rejected by ben: not on a Friday"), "{why}"),
        answer => panic!("{answer:?}"),
    }
    assert_eq!(executor.start(&other), Answer::Done, "of another request it says nothing");
    executor.wait_for(1);
}

/// A Shipbell with one deployment, which anna approves with her key; its votes are signed on this host.
fn whole(keys: &tempfile::TempDir) -> (Robot, std::path::PathBuf) {
    let (path, public) = signer::key(keys.path(), "anna");
    let login = shipbell::sys::host::user_name_of(shipbell::sys::host::effective_uid());
    let person = format!("email = \"anna@example.org\"\nlogin = \"{login}\"\nssh-key = \"{public}\"\n");
    let robot = Robot::new(&format!("[person.anna]\n{person}"));
    let approval = "approval = { by = \"anna\", factor = \"sshsig\" }";
    robot.job_file(
        "app",
        &format!(
            "[job.production]\nmanual = true\nenvironment = \"production\"\nsteps = \"echo deployed >> {}\"\n\
             [environment.production]\n{approval}\n",
            keys.path().join("deployed").display()
        ),
    );
    (robot, path)
}

#[test]
fn a_vote_is_signed_on_the_command_line_and_verified_before_the_first_step() {
    let keys = tempfile::tempdir().unwrap();
    let (mut robot, key) = whole(&keys);
    robot.start();
    robot.must(&["run", "app/production"]);
    let word = robot.run(&["approve", "app/production", "-m", "yes"]);
    assert!(word.code == 1 && word.err.contains("takes signed votes"), "{word:?}");
    let none = robot.run(&["approve", "app/production", "-m", "yes", "--sign"]);
    assert!(none.err.contains("signed with none of your keys"), "{none:?}");
    let (other, _) = signer::key(keys.path(), "other");
    let wrong = robot.run(&["approve", "r-1", "-m", "yes", "--sign", "-i", other.to_str().unwrap()]);
    assert!(wrong.err.contains("no signature of exactly that text by a key of yours"), "{wrong:?}");
    let said = robot.must(&["approve", "r-1", "-m", "yes", "--sign", "-i", key.to_str().unwrap()]);
    assert!(said.contains("run app/production#1\n") && said.contains("approved"), "{said}");
    robot.wait_until(&["show", "app/production"], "#1   ok");
    let shown = robot.get("/app/production/1").1;
    assert!(shown.contains("anna approved it, signed,"), "{shown}");
    let mail = robot.mails().into_iter().find(|mail| mail.subject.starts_with("Approve?")).unwrap();
    assert!(mail.text.contains("ssh-keygen -Y sign -n shipbell-approve"), "{}", mail.text);
    // What the mail says to sign is what was signed, byte for byte.
    let mail = mail.text.replace("\r\n", "\n");
    let text = mail.split("<<'END'\n").nth(1).and_then(|rest| rest.split("END\n").next()).unwrap();
    assert!(said.starts_with(text), "{text}\n---\n{said}");
    let ticket = fs::read_to_string(robot.path("var/lib/shipbell/runs/app.production.1/1/ticket.json")).unwrap();
    assert!(ticket.contains("BEGIN SSH SIGNATURE"), "what it stands on is kept with it");
}

/// Writes a yes of anna's into the database of a daemon that is down, and that it was enough.
fn forge(robot: &Robot, signed: Option<Signed>, coded: bool) {
    let mut store = Store::open(&robot.path("var/lib/shipbell/db/shipbell.db")).unwrap();
    let mut request = store.reader().unwrap().request(1).unwrap().unwrap();
    let at = request.asked_at;
    request.votes.push(Vote {
        by: "anna".into(),
        verdict: Verdict::Approve,
        at,
        reason: String::new(),
        via: "mail".into(),
        signed,
        coded,
    });
    request.state = RequestState::Approved { at, until: Seconds::days(7).after(at) };
    store.commit(&[shipbell::model::event::Change::RequestPut(Box::new(request))]).unwrap();
}

/// Fault 35, by the database.
#[test]
fn votes_that_were_written_into_the_database_start_nothing() {
    let keys = tempfile::tempdir().unwrap();
    let (mut robot, key) = whole(&keys);
    robot.start();
    robot.must(&["run", "app/production"]);
    robot.wait_until(&["show", "app/production"], "approval, 0 of 1");
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let public: Vec<&str> = public.split(' ').take(2).collect();
    assert!(robot.stop().success());
    // A good signature of hers, for something else.
    let signed = Signed { key: public.join(" "), signature: signer::sign(&key, "something else\n") };
    forge(&robot, Some(signed), false);
    robot.start();
    let shown = robot.wait_until(&["show", "app/production", "--json"], "0 of 1 signatures");
    assert!(shown.contains("may not go to production"), "the daemon says why: {shown}");
    assert!(!keys.path().join("deployed").exists(), "and nothing ran");
}
