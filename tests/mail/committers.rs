//! Mail to whoever wrote the commits: what it says of why it came, and what it keeps from strangers; through
//! a real SMTP server.

use mail_parser::MessageParser;
use shipbell::model::catalog::{Mail as MailSettings, MailTls, Person, Transport};
use shipbell::model::letter::{Letter, LetterState};
use shipbell::model::run::Outcome;
use shipbell::report::message;

use crate::smtp::Sink;
use crate::support::{origin::Origin, robot::Robot, wait_for};
use crate::{Post, frame, holds, run_facts, snapshot, web};

const WHY: &str = "You get this because it has commits of yours that the last success did not have.";

#[test]
fn it_says_why_it_came_and_how_many_more_were_not_told() {
    let mut facts = run_facts(Outcome::Failed, "exit 2 in step 2 \"unit\"", Some((2, "unit")));
    facts.note = Some(format!("{WHY} 20 authors are told, those of the newest commits; 4980 further are not."));
    facts.tail = None;
    snapshot("failure-committer.txt", &message::failure(&facts, &frame()));
}

#[tokio::test]
async fn strangers_get_no_log_and_people_do() {
    let sink = Sink::new(&[]);
    let port = sink.port;
    let mut post = Post::new(move |mail: &mut MailSettings| {
        (mail.transport, mail.tls, mail.host, mail.port) = (Transport::Smtp, MailTls::None, "127.0.0.1".into(), port);
    })
    .await;
    let mut catalog = (*post.context.sources.catalog).clone();
    let chen = Person {
        email: "chen@example.org".into(),
        git: Vec::new(),
        login: None,
        roles: Vec::new(),
        ssh_keys: Vec::new(),
        totp: None,
    };
    catalog.people.insert(web::person("chen"), chen);
    post.context.sources.catalog = std::sync::Arc::new(catalog);
    let to = |id: u64, to: &str, note: Option<&str>| Letter {
        id,
        kind: Post::failure(),
        to: to.into(),
        note: note.map(str::to_owned),
        created_at: post.now,
        state: LetterState::Waiting { not_before: post.now, last_error: None },
        attempts: 0,
    };
    for (number, (address, note, log)) in [
        ("Chen@example.org", Some(WHY), true),
        ("stranger@example.net", Some(WHY), false),
        ("Ops of CI <ops@example.org>", None, true),
    ]
    .into_iter()
    .enumerate()
    {
        post.deliver(&to(number as u64 + 1, address, note)).await.unwrap();
        let raw = sink.read(&format!("{:03}.eml", number + 1));
        holds(raw.as_bytes());
        let mail = MessageParser::default().parse(raw.as_bytes()).unwrap();
        let (text, html) = (mail.body_text(0).unwrap(), mail.body_html(0).unwrap());
        for body in [&text, &html] {
            assert_eq!(body.contains("online_test.go:88"), log, "{address}: {body}");
            assert_eq!(body.contains("You get this because"), note.is_some(), "{address}: {body}");
        }
        let envelope = sink.read(&format!("{:03}.env", number + 1));
        let bare = address.rsplit(['<', ' ']).next().unwrap().trim_end_matches('>');
        assert!(envelope.contains(&format!("to=['{bare}']")), "{envelope}");
    }
    // What an author line must never become: another header, or another receiver.
    let evil = to(9, "stranger@example.net>\r\nBcc: <all@example.org", Some(WHY));
    let error = post.deliver(&evil).await.unwrap_err();
    assert!(error.for_good && error.why.contains("no mail address"), "{error}");
}

/// From git to the mail server: who broke it is told, by people's own addresses, and whoever is no reader is not.
#[test]
fn a_daemon_tells_the_authors_whom_git_names() {
    let sink = Sink::new(&[]);
    let dir = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&dir.path().join("shop.git"));
    origin.commit("main", "good", &[("Makefile", "test:\n\t@echo seen; test ! -e broken\n")]);
    let mut robot = Robot::new(&format!(
        "[mail]\nfrom = \"ci@example.org\"\nto = \"ops@example.org\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
         [person.chen]\nemail = \"chen@example.org\"\ngit = \"chen@laptop.local\"\n",
        sink.port
    ));
    robot.job_file(
        "shop",
        &format!(
            "[repo]\nurl = \"{}\"\nbranches = \"main\"\npoll = \"1s\"\n[job.test]\nuser = \"nobody\"\n\
             steps = \"make test\"\nnotify = {{ email = \"@committers\" }}\n",
            origin.url()
        ),
    );
    robot.start();
    robot.wait_until(&["history"], "shop/test#1");
    robot.wait_until(&["history"], "ok");
    for (author, file) in [
        ("Ann <ann@example.org>", "a"),
        ("Chen \u{1b}]0;x\u{7} <chen@laptop.local>", "b"),
        ("CI Bot <1+bot@users.noreply.github.com>", "c"),
        ("Eve <|/bin/sh@example.org>", "d"),
    ] {
        author.clone_into(&mut origin.author);
        origin.commit("side", "work", &[(file, "x")]);
    }
    let good = origin.head("main");
    let broken = {
        "Zoe <zoe@example.net>".clone_into(&mut origin.author);
        origin.commit("side", "break it", &[("broken", "yes"), ("Makefile", "test:\n\t@echo seen; test ! -e broken\n")])
    };
    // The side has no history with main: a force-push.
    origin.point("main", &broken);
    let sent = |number: usize| std::fs::read_to_string(sink.out.path().join(format!("{number:03}.env"))).ok();
    wait_for("three mails", || sent(3), || robot.said_by_daemon());
    let mut to: Vec<String> = (1..=3).filter_map(sent).collect();
    to.sort();
    let expected = ["ann@example.org", "chen@example.org", "zoe@example.net"];
    let expected = expected.map(|to| format!("from=ci@example.org to=['{to}'] tls=False user=-\n"));
    assert_eq!(to, expected);
    let journal = robot.said_by_daemon();
    assert!(
        journal.contains("3 authors of commits since the last success are told, 2 without a usable address"),
        "{journal}"
    );
    for number in 1..=3 {
        let raw = sink.read(&format!("{number:03}.eml"));
        let mail = MessageParser::default().parse(raw.as_bytes()).unwrap();
        let text = mail.body_text(0).unwrap();
        assert!(text.contains("You get this because"), "{text}");
        let chen = sink.read(&format!("{number:03}.env")).contains("chen@");
        assert_eq!(text.contains("THE END OF ITS LOG"), chen, "the log goes to people: {text}");
    }
    // Back to what was good: nothing is sent, for it has its outcome.
    origin.point("main", &good);
}
