//! Web hooks, asked of the real daemon over real connections: GitHub's own example payloads, the headers
//! of GitLab and Gitea, and whoever comes without the secret, again and again, with too much or too slowly.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use support::origin::Origin;
use support::robot::Robot;
use support::wait_for;

const SECRET: &str = "a-secret-of-all-the-hooks";
const NEXT: &str = "the-next-secret-of-the-hooks";
/// What GitLab calls a signing token, and the key in it.
const SIGNING: &str = "whsec_c2lnbmluZy1rZXktb2Ytb25lLW9mLWFsbC1ob29rcyE=";
const SIGNING_KEY: &str = "signing-key-of-one-of-all-hooks!";
const OWN: &str = "a-secret-of-one-pipeline-only";

const SETTINGS: &str = "[github]\nwebhook-credential = \"hook\"\n[gitlab]\nwebhook-credential = \"hook\"\n\
                        [gitea]\nurl = \"https://git.example.org\"\nwebhook-credential = \"hook\"\n";

/// One that polls only when it starts and when a hook says so.
fn robot(url: &str) -> Robot {
    let robot = Robot::new(SETTINGS);
    let file = |url: &str| {
        format!("[repo]\nurl = \"{url}\"\npoll = \"24h\"\n[job.test]\nuser = \"nobody\"\nsteps = \"true\"\n")
    };
    robot.job_file("shop", &file(url));
    robot.job_file("other", &file(url));
    robot.job_file("signed", &file(url));
    for (name, text) in
        [("hook", format!("{SECRET}\n{NEXT}\n")), ("hook.other", OWN.to_owned()), ("hook.signed", SIGNING.to_owned())]
    {
        let path = format!("etc/shipbell/credentials/{name}");
        robot.write(&path, &text);
        std::fs::set_permissions(robot.path(&path), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    robot
}

/// What a host sends with a body.
type Headers = Box<dyn Fn(&[u8]) -> Vec<(&'static str, String)>>;

fn signature(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize();
    mac.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What GitHub would send.
fn github(secret: &str, event: &str, id: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    vec![
        ("X-GitHub-Event", event.into()),
        ("X-GitHub-Delivery", id.into()),
        ("X-Hub-Signature-256", format!("sha256={}", signature(secret, body))),
        ("Content-Type", "application/json".into()),
    ]
}

fn head(robot: &Robot, path: &str, headers: &[(&str, String)], length: usize) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{lines}\r\n",
        robot.address()
    )
}

fn connect(robot: &Robot) -> TcpStream {
    let stream = TcpStream::connect(robot.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Status and body of what is answered.
fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    (status, text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

fn post(robot: &Robot, path: &str, headers: &[(&str, String)], body: &[u8]) -> (u16, String) {
    let mut stream = connect(robot);
    stream.write_all(head(robot, path, headers, body.len()).as_bytes()).unwrap();
    // Whoever is refused before the body need not be listened to.
    let _ = stream.write_all(body);
    answer(stream)
}

#[test]
fn a_push_is_tested_as_soon_as_the_hook_says_so_whichever_host_says_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&dir.path().join("origin.git"));
    let first = origin.commit("main", "first", &[("a", "1")]);
    let mut robot = robot(origin.url());
    robot.start();
    robot.wait_until(&["status"], &first[..7]);
    let hosts: [(&str, Headers); 4] = [
        ("github", Box::new(|body| github(SECRET, "push", "1", body))),
        ("github", Box::new(|body| github(NEXT, "push", "2", body))),
        (
            "gitlab",
            Box::new(|_| {
                [("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Token", SECRET), ("Idempotency-Key", "3")]
                    .map(|(name, value)| (name, value.to_owned()))
                    .to_vec()
            }),
        ),
        (
            "gitea",
            Box::new(|body| {
                let signature = signature(SECRET, body);
                [("X-Gitea-Event", "push"), ("X-Gitea-Delivery", "4"), ("X-Gitea-Signature", signature.as_str())]
                    .map(|(name, value)| (name, value.to_owned()))
                    .to_vec()
            }),
        ),
    ];
    for (number, (host, headers)) in hosts.iter().enumerate() {
        let message = format!("commit-{number}");
        let commit = origin.commit("main", &message, &[("a", &message)]);
        let body = format!(r#"{{"ref":"refs/heads/main","after":"{commit}"}}"#);
        let before = Instant::now();
        let answered = post(&robot, &format!("/hooks/{host}/shop"), &headers(body.as_bytes()), body.as_bytes());
        assert_eq!(answered, (202, "polling shop\n".into()), "{host}\n{}", robot.said_by_daemon());
        assert!(before.elapsed() < Duration::from_secs(1), "answered at once: {:?}", before.elapsed());
        robot.wait_until(&["status"], &commit[..7]);
    }
    let commit = origin.commit("main", "unannounced", &[("a", "9")]);
    robot.must(&["poll", "shop"]);
    robot.wait_until(&["status"], &commit[..7]);
}

#[test]
fn github_s_own_example_payloads_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&dir.path().join("origin.git"));
    origin.commit("main", "first", &[("a", "1")]);
    let mut robot = robot(origin.url());
    robot.start();
    let examples: serde_json::Value = serde_json::from_str(include_str!("hooks/github.json")).unwrap();
    let deliveries = examples["deliveries"].as_array().unwrap();
    assert!(deliveries.len() >= 8, "{}", deliveries.len());
    for (number, delivery) in deliveries.iter().enumerate() {
        let (event, body) = (delivery["event"].as_str().unwrap(), delivery["payload"].to_string());
        let expected = match event {
            "ping" => (200, "pong\n"),
            "star" => (200, "nothing to do for this event\n"),
            _ => (202, "polling shop\n"),
        };
        let headers = github(SECRET, event, &format!("example-{number}"), body.as_bytes());
        let (status, text) = post(&robot, "/hooks/github/shop", &headers, body.as_bytes());
        assert_eq!((status, text.as_str()), expected, "{event}");
        assert_eq!(post(&robot, "/hooks/github/shop", &headers, body.as_bytes()).0, 200, "{event} again");
    }
}

/// security.md, fault 27: signatures that are not good for this pipeline.
#[test]
fn fault_27_who_does_not_know_the_secret_learns_nothing_and_moves_nothing() {
    let (listener, polls) = counting_server();
    let mut robot = robot(&format!("http://{listener}/x.git"));
    robot.start();
    let before = settled(&polls);
    let body = br#"{"ref":"refs/heads/main"}"#;
    let refused = (401, "not recognised\n".to_owned());
    for (path, headers) in [
        ("/hooks/github/shop", github("another-secret-of-nobody", "push", "1", body)),
        ("/hooks/github/shop", github(OWN, "push", "2", body)),
        ("/hooks/github/other", github(SECRET, "push", "3", body)),
        ("/hooks/github/no-such-pipeline", github("another-secret-of-nobody", "push", "4", body)),
        ("/hooks/gitlab/shop", github(SECRET, "push", "5", body)),
        ("/hooks/github/shop", github(SECRET, "push", "6", b"another body")),
        ("/hooks/github/shop", vec![("X-GitHub-Event", "push".to_owned())]),
        ("/hooks/gitlab/shop", vec![("X-Gitlab-Event", "Push Hook".to_owned()), ("X-Gitlab-Token", String::new())]),
    ] {
        assert_eq!(post(&robot, path, &headers, body), refused, "{path} {headers:?}");
    }
    assert_eq!(post(&robot, "/hooks/github/no-such-pipeline", &github(SECRET, "push", "7", body), body).0, 404);
    assert_eq!(post(&robot, "/hooks/sourcehut/shop", &github(SECRET, "push", "8", body), body).0, 404);
    assert_eq!(robot.get("/hooks/github/shop").0, 405, "a link that someone follows does nothing");
    assert_eq!(polls.load(Ordering::SeqCst), before, "nothing was polled");
    assert_eq!(
        post(&robot, "/hooks/github/other", &github(OWN, "push", "9", body), body).0,
        202,
        "its own secret is good"
    );
}

/// As GitLab signs with a signing token: what was overheard is worth nothing a few minutes later.
#[test]
fn a_signed_message_of_gitlab_is_good_for_five_minutes_and_once() {
    let (listener, polls) = counting_server();
    let mut robot = robot(&format!("http://{listener}/x.git"));
    robot.start();
    settled(&polls);
    let body = br#"{"ref":"refs/heads/main"}"#;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signed = |id: &str, time: u64, key: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("{id}.{time}.")).chain_update(body).finalize().into_bytes();
        let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac);
        vec![
            ("X-Gitlab-Event", "Push Hook".to_owned()),
            ("Idempotency-Key", "whatever".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", time.to_string()),
            ("webhook-signature", format!("v1,{signature}")),
        ]
    };
    let send = |headers: &[(&str, String)]| post(&robot, "/hooks/gitlab/signed", headers, body).0;
    assert_eq!(send(&signed("a", now - 301, SIGNING_KEY)), 401, "overheard");
    assert_eq!(send(&signed("b", now + 400, SIGNING_KEY)), 401, "made in the future");
    assert_eq!(send(&signed("c", now, "another-key-that-nobody-set-here")), 401);
    assert_eq!(send(&signed("d", now, SIGNING_KEY)), 202, "{}", robot.said_by_daemon());
    assert_eq!(send(&signed("d", now, SIGNING_KEY)), 200, "seen");
    assert_eq!(send(&[("X-Gitlab-Event", "Push Hook".into()), ("X-Gitlab-Token", SIGNING.into())]), 401, "no text");
    let said = robot.said_by_daemon();
    assert!(said.contains("web hook gitlab/signed: refused, its time is 5m"), "{said}");
    assert!(!said.contains(SIGNING) && !said.contains(SIGNING_KEY));
}

/// security.md, fault 27: a thousand messages cost a bucketful of polls, the same message one.
#[test]
fn fault_27_a_thousand_messages_cost_a_few_polls() {
    let (listener, polls) = counting_server();
    let mut robot = robot(&format!("http://{listener}/x.git"));
    robot.start();
    let before = settled(&polls);
    let body = br#"{"ref":"refs/heads/main"}"#;
    for number in 0..1000 {
        let status = post(&robot, "/hooks/github/shop", &github(SECRET, "push", "same", body), body).0;
        assert_eq!(status, if number == 0 { 202 } else { 200 });
        if number % 100 == 0 {
            quick(&robot);
        }
    }
    let once = settled(&polls) - before;
    assert!((1..=2).contains(&once), "one message, one poll: {once} connections");
    for number in 0..800 {
        let headers = github(SECRET, "push", &format!("other-{number}"), body);
        assert_eq!(post(&robot, "/hooks/github/shop", &headers, body).0, 202);
    }
    let many = polls.load(Ordering::SeqCst) - before - once;
    // At most a token bucket of five, one each two seconds, and never more than one poll a second.
    assert!(many <= 12, "{many} connections for 800 messages");
}

/// security.md, fault 27: bodies of any size and depth.
#[test]
fn fault_27_long_and_deep_bodies_are_bounded() {
    let (listener, _) = counting_server();
    let mut robot = robot(&format!("http://{listener}/x.git"));
    robot.start();
    let long = github(SECRET, "push", "1", b"");
    let mut stream = connect(&robot);
    stream.write_all(head(&robot, "/hooks/github/shop", &long, 100 << 20).as_bytes()).unwrap();
    assert_eq!(answer(stream).0, 413, "said before, it is not even read");

    let mut stream = connect(&robot);
    let lines: String = long.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST /hooks/github/shop HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n{lines}\r\n",
        robot.address()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 1600 && stream.write_all(&chunk).is_ok() {
        sent += 1;
        if sent % 100 == 0 {
            quick(&robot);
        }
    }
    assert!(sent < 1000, "100 MiB were not taken: {sent} pieces of 64 KiB");

    let big = format!(r#"{{"x":"{}","ref":"refs/heads/main"}}"#, "y".repeat(20 << 20));
    let headers = github(SECRET, "push", "2", big.as_bytes());
    assert_eq!(post(&robot, "/hooks/github/shop", &headers, big.as_bytes()).0, 202, "GitHub may send that much");
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(400_000), "]".repeat(400_000));
    let headers = github(SECRET, "push", "3", deep.as_bytes());
    assert_eq!(post(&robot, "/hooks/github/shop", &headers, deep.as_bytes()).0, 202, "a reason to look, read or not");
    let peak = peak_of(robot.pid());
    assert!(peak < 160 << 10, "{peak} KiB at the most");
}

/// security.md, fault 27: five hundred that send their headers drop by drop, and one its body.
#[test]
fn fault_27_slow_senders_keep_nobody_out_and_are_left() {
    let (listener, _) = counting_server();
    let mut robot = robot(&format!("http://{listener}/x.git"));
    robot.start();
    let slow: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = connect(&robot);
            stream.write_all(b"POST /hooks/github/shop HTTP/1.1\r\nHost: x\r\nX-A: ").unwrap();
            stream
        })
        .collect();
    let mut half = connect(&robot);
    let body = b"{}";
    half.write_all(head(&robot, "/hooks/github/shop", &github(SECRET, "push", "1", body), 2).as_bytes()).unwrap();
    half.write_all(b"{").unwrap();
    let began = Instant::now();
    quick(&robot);
    assert_eq!(post(&robot, "/hooks/github/shop", &github(SECRET, "push", "2", body), body).0, 202);
    quick(&robot);
    assert_eq!(answer(half).0, 408);
    for mut stream in slow {
        let mut rest = Vec::new();
        // Closed with or without a word; not left open.
        let closed = stream.read_to_end(&mut rest);
        assert!(closed.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Whatever others do meanwhile, a person's page comes within a second.
fn quick(robot: &Robot) {
    let began = Instant::now();
    assert_eq!(robot.get("/").0, 200);
    assert!(began.elapsed() < Duration::from_secs(1), "the pages answer: {:?}", began.elapsed());
}

/// A git server that never gives an answer, and how often it was asked.
fn counting_server() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, polls) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = polls.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    (address, polls)
}

/// Waits until nothing was asked for two seconds; how often it was.
fn settled(polls: &AtomicUsize) -> usize {
    let mut last = (polls.load(Ordering::SeqCst), Instant::now());
    let still = || {
        let now = polls.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (now > 0 && last.1.elapsed() > Duration::from_secs(2)).then_some(now)
    };
    wait_for("the polls of the start are over", still, String::new)
}

/// The most memory that a process has had, in KiB.
fn peak_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
