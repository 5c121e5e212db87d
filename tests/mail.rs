//! Mails: what they say (as snapshots, to be read), what their headers hold, and how they get out, through
//! a directory and through a real SMTP server.

#[path = "mail/clock.rs"]
mod clock;
#[path = "mail/committers.rs"]
mod committers;
#[path = "web/house.rs"]
mod house;
#[path = "mail/smtp.rs"]
mod smtp;
mod support;
mod web;

use std::path::Path;
use std::sync::Arc;

use house::{House, JOBS};
use mail_parser::MessageParser;
use shipbell::credentials::Credentials;
use shipbell::model::catalog::{Catalog, Mail as MailSettings};
use shipbell::model::commit::CommitId;
use shipbell::model::letter::{Letter, LetterKind, LetterState};
use shipbell::model::name::EnvironmentName;
use shipbell::model::request::{Request, RequestState, Verdict};
use shipbell::model::run::Outcome;
use shipbell::model::window::Opening;
use shipbell::report::message::{self, Asked, Checked, Frame, Mail, RunFacts};
use shipbell::report::{DeliverContext, Undelivered, deliver, when};
use shipbell::web::Client;
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
        signing: None,
        coded: false,
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
        note: None,
        tail: Some("=== RUN   TestOnlineUsers\r\n\u{1b}[31m--- FAIL: TestOnlineUsers (0.31s)\u{1b}[0m\n\n\tonline_test.go:88: got 3 users, want 2\nFAIL\topen-im-server/pkg/common/storage/cache/redis 1.204s\n"
            .into()),
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
    first.tail = Some("line\n".repeat(100));
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

/// A request that is open, a failed run and a finished one; letters go out as `settings` says.
struct Post {
    house: House,
    context: DeliverContext,
    now: shipbell::model::time::Timestamp,
}

impl Post {
    async fn new(change: impl FnOnce(&mut MailSettings)) -> Self {
        let now = "2026-11-26T08:30:00Z";
        let house = House::new(JOBS, now).await;
        house.push(web::commit(LIVE, "fix: caf\u{e9}\r\nBcc: all@example.org\u{1b}]0;x\u{7}", "dora")).await;
        let failing = (b"\x1b[31mFAIL\x1b[0m \xff online_test.go:88\r\n".to_vec(), Outcome::Failed);
        house.stage.lock().unwrap().plays.insert("test".into(), failing);
        house.push(web::commit(web::NEW, "break it", "chen")).await;
        let mut sources = house.sources().await;
        let mut catalog = Catalog::clone(&sources.catalog);
        change(&mut catalog.settings.mail);
        sources.catalog = Arc::new(catalog);
        let context = DeliverContext {
            sources,
            credentials: Credentials::new(&house.layout.credentials()),
            web: Client::new(),
            mail_dir: house.layout.mail_dir(),
        };
        Self { house, context, now: at(now) }
    }

    async fn send(&self, id: u64, kind: LetterKind, to: &str) -> Result<(), Undelivered> {
        let state = LetterState::Waiting { not_before: self.now, last_error: None };
        let letter = Letter { id, kind, to: to.into(), note: None, created_at: self.now, state, attempts: 0 };
        self.deliver(&letter).await
    }

    async fn deliver(&self, letter: &Letter) -> Result<(), Undelivered> {
        deliver(letter, &self.context, self.now).await
    }

    fn approval(&self) -> LetterKind {
        let slot = self.house.request(1).slots[0].id.clone();
        LetterKind::Approval { request: 1, slot }
    }

    fn failure() -> LetterKind {
        LetterKind::Failure { run: run_ref("open-im/test#2") }
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Headers and encoding that every mail must have.
fn holds(raw: &[u8]) {
    let text = std::str::from_utf8(raw).expect("mails are ASCII");
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 200), "{text}");
    let head = text.split("\r\n\r\n").next().unwrap();
    assert!(!head.to_lowercase().contains("\r\nbcc:"), "{head}");
    for name in [
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        "MIME-Version: 1.0",
        "Message-ID: <letter.",
        "List-Id: open-im/",
        "X-Shipbell-Run: open-im/",
        "References: <",
        "In-Reply-To: <",
    ] {
        assert!(head.contains(name), "{name} is not in\n{head}");
    }
    assert_eq!(text.matches("Content-Transfer-Encoding: quoted-printable").count(), 2, "{text}");
    assert!(text.contains("multipart/alternative"));
}

#[tokio::test]
async fn a_directory_takes_mails_whole_and_each_once() {
    let post = Post::new(|_| {}).await;
    post.send(7, post.approval(), "anna@example.org").await.unwrap();
    post.send(7, post.approval(), "anna@example.org").await.unwrap();
    post.send(8, Post::failure(), "ops@example.org").await.unwrap();
    let folder = post.house.layout.mail_dir();
    assert_eq!(files(&folder), ["0007-approval-r-1.eml", "0008-failure-open-im.test.2.eml"]);

    let raw = std::fs::read(folder.join("0007-approval-r-1.eml")).unwrap();
    holds(&raw);
    let mail = MessageParser::default().parse(&raw).unwrap();
    let text = mail.body_text(0).unwrap();
    assert!(text.contains(&format!("http://{}{}", post.house.address, post.house.link(1, "anna"))), "{text}");
    assert!(text.contains("- fix: café Bcc: all@example.org (dora)"), "{text}");
    assert_eq!(mail.message_id(), Some("letter.7.approval.request.1@example.org"));
    assert_eq!(mail.references().as_text(), Some("request.1@example.org"));
    assert_eq!(mail.header_raw("X-Shipbell-Request").map(str::trim), Some("r-1"));
    assert!(mail.html_part(0).unwrap().contents().starts_with(b"<!DOCTYPE html>"));

    let raw = std::fs::read(folder.join("0008-failure-open-im.test.2.eml")).unwrap();
    holds(&raw);
    let mail = MessageParser::default().parse(&raw).unwrap();
    let text = mail.body_text(0).unwrap();
    assert_eq!(mail.subject(), Some("FAILED open-im/test#2 7848d7c in make test"));
    assert!(text.contains("FAIL \u{fffd} online_test.go:88") && text.contains("Last ok: #1, 3f9d0aa"), "{text}");
}

#[tokio::test]
async fn what_is_over_is_not_sent_and_what_cannot_be_written_waits() {
    let post = Post::new(|_| {}).await;
    let open = post.approval();
    post.house.at("2026-11-30T08:30:00Z").await;
    let error = post.send(1, open.clone(), "anna@example.org").await.unwrap_err();
    assert!(error.for_good && error.why.contains("already decided"), "{error}");
    let error = post.send(2, LetterKind::Approval { request: 9, slot: "x".into() }, "a@example.org").await.unwrap_err();
    assert!(error.for_good, "{error}");
    let error = post.send(3, Post::failure(), "ops@example.org\r\nRCPT TO:<x@example.org>").await.unwrap_err();
    assert!(error.for_good && error.why.contains("no mail address"), "{error}");

    // A directory that cannot be: a file stands in its way. (Root may write everywhere else.)
    std::fs::write(post.house.layout.mail_dir(), "").unwrap();
    let error = post.send(4, Post::failure(), "ops@example.org").await.unwrap_err();
    assert!(!error.for_good && error.why.contains("cannot write"), "{error}");
    std::fs::remove_file(post.house.layout.mail_dir()).unwrap();
    post.send(4, Post::failure(), "ops@example.org").await.unwrap();
}
