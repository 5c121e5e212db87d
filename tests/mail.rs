//! Mails: what they say (as snapshots, to be read), what their headers hold, and how they get out, through
//! a directory and through a real SMTP server.

mod web;

use shipbell::model::commit::CommitId;
use shipbell::model::name::EnvironmentName;
use shipbell::model::request::{Request, RequestState, Verdict};
use shipbell::model::run::Outcome;
use shipbell::model::window::Opening;
use shipbell::report::message::{self, Asked, Checked, Frame, Mail, RunFacts};
use shipbell::report::when;
use unicode_width::UnicodeWidthStr as _;
use web::{LIVE, NOW, at, matches_snapshot, run_ref};

const LINK: &str = "https://ci.example.org/a/AQFk3vAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn frame() -> Frame {
    Frame {
        host: "ci1".into(),
        public_url: "https://ci.example.org".into(),
        zone: when::zone("Europe/Berlin"),
        now: at(NOW),
    }
}

fn checked() -> Vec<Checked> {
    let one = |run: &str, end: &str| Checked {
        run: run_ref(run),
        at: Some(at(end)),
        tries: 1,
        carried_from: None,
        environment: None,
        url: None,
        outputs: Vec::new(),
    };
    let image = web::tuple().upstream.into_iter().flat_map(|upstream| upstream.outputs).collect();
    vec![
        Checked { tries: 2, ..one("open-im/test#611", "2026-11-27T16:40:00Z") },
        Checked { outputs: image, ..one("open-im/image#207", "2026-11-27T16:49:00Z") },
        Checked {
            environment: Some(EnvironmentName::new("staging").unwrap()),
            url: Some("https://staging.example.org".into()),
            ..one("open-im/staging#92", "2026-11-27T16:54:00Z")
        },
    ]
}

fn asked(request: Request) -> Asked {
    Asked {
        slot: request.slots[0].clone(),
        request,
        link: LINK.into(),
        opening: Opening::Closed { opens: Some(at("2026-11-30T08:00:00Z")) },
        lists: Vec::new(),
        checked: checked(),
        login: true,
    }
}

/// What every mail must hold to.
fn reads_well(mail: &Mail) {
    let body = mail.text.split("\n-- \n").next().unwrap();
    let mut in_log = false;
    for line in body.lines() {
        in_log = line == "THE END OF ITS LOG" || (in_log && line != "The whole log:");
        if in_log {
            continue;
        }
        let whole = line.starts_with("https://") || line.starts_with("shipbell ");
        assert!(whole || line.width() <= 56, "{} columns: {line}", line.width());
    }
    assert!(mail.subject.chars().count() <= 78, "{}", mail.subject);
    assert!(!mail.html.contains("<img") && !mail.html.contains("<script") && !mail.html.contains("url("));
    for text in [&mail.text, &mail.html, &mail.subject] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}

fn snapshot(name: &str, mail: &Mail) {
    reads_well(mail);
    matches_snapshot(name, &format!("Subject: {}\n\n{}", mail.subject, mail.text));
}

#[test]
fn the_approval_mail_says_first_what_a_phone_shows_first() {
    let mail = message::ask(&asked(web::request()), &frame());
    snapshot("approval.txt", &mail);
    let first: Vec<&str> = mail.text.lines().take(12).collect();
    let first = first.join("\n");
    for fact in ["7848d7c", "production", "NOT TONIGHT", LINK, "Mon 30 Nov 17:55", "you, ben"] {
        assert!(first.contains(fact), "{fact} is not on the first screen:\n{first}");
    }
    assert_eq!(mail.text.matches("https://ci.example.org").count(), 1, "one link to decide");
    assert_eq!(mail.html.matches("https://ci.example.org").count(), 1, "one link to decide");
    matches_snapshot("approval.html", &mail.html);
}

#[test]
fn a_first_deployment_by_the_only_person_who_can() {
    let mut request = web::request();
    request.brief.live = None;
    request.brief.adds.clear();
    request.brief.adds_total = 0;
    request.brief.mind = vec!["first deployment to production".into()];
    request.brief.excluded.clear();
    request.slots.truncate(1);
    let asked = Asked { opening: Opening::Open, checked: Vec::new(), login: false, ..asked(request) };
    snapshot("approval-first.txt", &message::ask(&asked, &frame()));
}

#[test]
fn what_is_taken_back_is_said_in_capitals() {
    let mut request = web::request();
    request.brief.takes_back = vec![web::commit(web::HOTFIX, "fix CVE-2026-1234", "dora")];
    request.tuple.takes_back = vec![CommitId::new(web::HOTFIX).unwrap()];
    request.tuple.params = [("TENANT".to_owned(), "acme".to_owned())].into();
    request.votes_needed = 2;
    request.votes = vec![web::vote("ben", Verdict::Approve, "")];
    request.slots.push(web::slot("dora", 'd'));
    let lists = vec![vec!["anna".into(), "ben".into()], vec!["dora".into()]];
    snapshot("approval-takes-back.txt", &message::ask(&Asked { lists, ..asked(request) }, &frame()));
}

#[test]
fn hostile_texts_stay_texts() {
    let mut request = web::request();
    request.brief.adds[0].subject =
        "x\r\nBcc: all@example.org\r\n\r\n<img src=//evil.example/p>\u{1b}]8;;x\u{7}".into();
    request.brief.adds[1].author = "<script>alert(1)</script>\u{202e}".into();
    request.brief.mind = vec!["</p><a href=\"https://evil.example\">look here</a>\u{200b}".into()];
    let mail = message::ask(&asked(request), &frame());
    reads_well(&mail);
    assert!(!mail.html.contains("evil.example\">") && !mail.text.contains("\nBcc:"));
    assert!(mail.text.contains("x Bcc: all@example.org <img"), "{}", mail.text);
}

#[test]
fn everyone_hears_what_became_of_a_request() {
    let closed = Opening::Closed { opens: Some(at("2026-11-30T08:00:00Z")) };
    let approved = RequestState::Approved { at: at("2026-11-27T17:10:00Z"), until: at("2026-12-03T16:00:00Z") };
    let end = at("2026-11-27T17:10:00Z");
    let rejected = RequestState::Rejected { at: end, by: "ben".into(), reason: "the migration\nis not tested".into() };
    let superseded = RequestState::Superseded { at: end, by: run_ref("open-im/production#32") };
    let voided = RequestState::Voided { at: end, why: "test#612 failed for 7848d7c".into() };
    for (name, state, opening) in [
        ("decided-approved.txt", approved, &closed),
        ("decided-rejected.txt", rejected, &closed),
        ("decided-expired.txt", RequestState::Expired { at: at("2026-11-30T16:55:00Z") }, &closed),
        ("decided-superseded.txt", superseded, &closed),
        ("decided-voided.txt", voided, &closed),
        ("decided-used.txt", RequestState::Used { at: end }, &Opening::Open),
    ] {
        let mut request = web::request();
        request.votes = vec![web::vote("ben", Verdict::Approve, "")];
        request.state = state;
        let frame = Frame { now: at("2026-11-27T17:11:00Z"), ..frame() };
        snapshot(name, &message::decided(&request, opening, &frame));
    }
    snapshot("unsatisfiable.txt", &message::unsatisfiable(&Request { slots: Vec::new(), ..web::request() }, &frame()));
}

fn run_facts(outcome: Outcome, reason: &str, step: Option<(u32, &str)>) -> RunFacts {
    let run = web::run("open-im/test#610", "2026-11-26T17:20:04Z", Some((outcome, reason, step)));
    let mut good = web::run("open-im/test#607", "2026-11-25T13:02:00Z", Some((Outcome::Succeeded, "", None)));
    good.commit = Some(CommitId::new(LIVE).unwrap());
    RunFacts {
        finished: run.finished().unwrap().clone(),
        commit: Some(web::commit(web::NEW, "fix: get online users", "chen")),
        environment: None,
        last_good: Some(good),
        first_bad: Some((run_ref("open-im/test#608"), at("2026-11-26T10:00:00Z"))),
        bad_count: 3,
        looked_at_all: true,
        tail: "=== RUN   TestOnlineUsers\r\n\u{1b}[31m--- FAIL: TestOnlineUsers (0.31s)\u{1b}[0m\n\n\tonline_test.go:88: got 3 users, want 2\nFAIL\topen-im-server/pkg/common/storage/cache/redis 1.204s\n"
            .into(),
        run,
    }
}

#[test]
fn a_failure_names_the_step_the_end_of_the_log_and_the_next_command() {
    let facts = run_facts(Outcome::Failed, "exit 2 in step 2 \"unit\"", Some((2, "unit")));
    snapshot("failure.txt", &message::failure(&facts, &frame()));
    matches_snapshot("failure.html", &message::failure(&facts, &frame()).html);
    let mut first = run_facts(Outcome::TimedOut, "no end after 5m in step 1 \"rollout\"", Some((1, "rollout")));
    first.run.run = run_ref("open-im/production#31");
    first.environment = Some(EnvironmentName::new("production").unwrap());
    first.last_good = None;
    first.bad_count = 1;
    first.tail = "line\n".repeat(100);
    let mail = message::failure(&first, &frame());
    assert_eq!(mail.text.matches("\nline").count(), 20, "{}", mail.text);
    snapshot("failure-deployment.txt", &mail);
}

#[test]
fn good_again_and_nobody_knows() {
    let good = run_facts(Outcome::Succeeded, "", None);
    snapshot("recovery.txt", &message::recovery(&good, &frame()));
    let mut lost = run_facts(Outcome::Unknown, "its supervisor was killed in step 1 \"rollout\"", Some((1, "rollout")));
    lost.run.run = run_ref("open-im/production#31");
    lost.environment = Some(EnvironmentName::new("production").unwrap());
    snapshot("unknown.txt", &message::unknown(&lost, &frame()));
}
