//! Asking over http and https, against a real server: what one question costs, what older servers get in
//! its place, and that each thing that can be wrong is told by its own name. What is secret is looked for
//! where everybody could see it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use shipbell::model::catalog::Address;
use shipbell::model::view::TrialState;
use shipbell::source::{Mirrors, Scope, Tools, poll_once};

use crate::servers::{credential, http_server, program};
use crate::world::{LONG, Origin, ask, head, id, pipeline, remotes, tag, target};

fn at(url: &str, credential: &str) -> Address {
    Address { url: url.to_owned(), credential: Some(credential.to_owned()) }
}

/// A certificate for 127.0.0.1 by an authority of our own: cert.pem and cert.key of the server, ca.pem.
fn certificate(dir: &Path) {
    let openssl = program("openssl", "openssl");
    let run = |arguments: &str| {
        let output = Command::new(&openssl).args(arguments.split(' ')).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test"));
    run(&format!("req {key} -keyout cert.key -out cert.csr -subj /CN=127.0.0.1"));
    fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    run("x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem");
}

#[tokio::test]
async fn https_with_an_authority_of_our_own_and_every_failure_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    let one = origin.commit("main", "one");
    certificate(dir.path());
    let server = http_server(dir.path());
    let base = format!("https://127.0.0.1:{}", server.port);
    let files = dir.path().join("credentials");
    fs::create_dir(&files).unwrap();
    credential(&files, "shop", "me:s3cret\n");
    credential(&files, "wrong", "me:no\n");
    for name in ["shop", "wrong", "ca-only"] {
        fs::copy(dir.path().join("ca.pem"), files.join(format!("{name}.ca"))).unwrap();
    }
    credential(&files, "open", "token\n");
    fs::set_permissions(files.join("open"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let remotes = remotes(&files);

    let shop = at(&format!("{base}/locked/shop.git"), "shop");
    let (remote, _) = remotes.ask(&shop, &Scope::default(), LONG).await.unwrap();
    assert_eq!(remote.refs.get(&head("main")), Some(&id(one)));
    let mirror = Mirrors::new(&dir.path().join("mirrors"), b"key").unwrap().open(&shop).unwrap();
    remotes.fetch(&shop, mirror.path(), &[head("main")], LONG).await.unwrap();
    assert!(mirror.has(&id(one)));

    let git = format!("{base}/git/shop.git");
    for (case, place, branch, step, said) in [
        ("right", shop.clone(), Some("main"), "", ""),
        ("only a CA", at(&git, "ca-only"), None, "", ""),
        ("no CA", Address::open(&git), None, "TLS", "UnknownIssuer"),
        ("wrong password", at(&shop.url, "wrong"), None, "login", "the credential wrong"),
        ("no login", at(&shop.url, "ca-only"), None, "login", "status 401"),
        ("readable by all", at(&git, "open"), None, "credential", "chmod 0640"),
        ("no such credential", at(&git, "none"), None, "credential", "is not there"),
        ("no such repository", at(&format!("{base}/git/none.git"), "ca-only"), None, "repository", "status 404"),
        ("no such branch", shop.clone(), Some("mian"), "branch", "it has: main"),
        ("no such host", Address::open("https://no-such-host.invalid/x.git"), None, "name", "not resolved"),
        ("nobody there", Address::open("https://127.0.0.1:1/x.git"), None, "connection", "refused"),
        (
            "plain http",
            at(&git.replace("127.0.0.1", "git.example.org").replace("https", "http"), "shop"),
            None,
            "credential",
            "readable for everybody",
        ),
        ("no address", Address::open("ext::sh"), None, "url", "not asked"),
    ] {
        let steps = remotes.trial(&place, branch, LONG).await;
        let failed = steps.iter().find(|step| step.state == TrialState::Failed);
        let found = failed.map_or(("", ""), |step| (step.name.as_str(), step.text.as_str()));
        assert_eq!(found.0, step, "{case}: {steps:?}");
        assert!(found.1.contains(said), "{case}: {found:?}");
        assert!(!format!("{steps:?}").contains("s3cret"), "{case}");
    }
}

/// Passes everything on to a server and counts it, both ways.
fn counted(port: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let bytes = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
            for (mut from, mut to) in [(stream.try_clone().unwrap(), server.try_clone().unwrap()), (server, stream)] {
                let bytes = bytes.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0; 16 << 10];
                    while let Ok(n) = from.read(&mut buffer) {
                        if n == 0 || to.write_all(&buffer[..n]).is_err() {
                            break;
                        }
                        bytes.fetch_add(n as u64, Ordering::SeqCst);
                    }
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (own, count)
}

/// The count when nothing is counted any more: it runs a moment behind what has arrived.
async fn settled(count: &AtomicU64) -> u64 {
    let mut last = u64::MAX;
    while last != count.load(Ordering::SeqCst) {
        last = count.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    last
}

#[tokio::test]
async fn one_small_question_however_many_refs_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    let one = origin.commit("main", "one");
    let server = http_server(dir.path());
    let (port, count) = counted(server.port);
    let url = format!("http://127.0.0.1:{port}/git/shop.git");
    let (remotes, place) = (remotes(dir.path()), Address::open(&url));
    let scope = Scope::of([pipeline("shop", &url, &["main", "feature/*"], &["v*"]).as_ref()]);
    let mut costs = Vec::new();
    for refs in [10, 5000] {
        let line = |n: usize| format!("{one} refs/heads/other/{n}\n{one} refs/tags/t{n}\n");
        let lines: String = (0..refs / 2).map(line).collect();
        fs::write(dir.path().join("shop.git/packed-refs"), lines).unwrap();
        for round in 0..2 {
            let before = settled(&count).await;
            let (remote, covered) = remotes.ask(&place, &scope, LONG).await.unwrap();
            assert_eq!((remote.refs.len(), &covered, remote.head), (1, &scope, Some(head("main"))));
            let cost = settled(&count).await - before;
            assert!(cost <= 2000, "{refs} refs, question {round}: {cost} bytes");
            costs.push(cost);
        }
    }
    println!("bytes on the wire: {costs:?}");
    assert!(costs[0].abs_diff(costs[2]) < 100, "{costs:?}");
}

#[tokio::test]
async fn servers_of_older_kinds_are_asked_as_they_can() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    let one = origin.commit("main", "one");
    origin.annotated("v1", one);
    let server = http_server(dir.path());
    let dumb = Command::new("git").arg("--git-dir").arg(&origin.dir).args(["update-server-info"]).status().unwrap();
    assert!(dumb.success());
    for kind in ["git/", "old/", ""] {
        let url = format!("http://127.0.0.1:{}/{kind}shop.git", server.port);
        let remotes = remotes(dir.path());
        for _ in 0..2 {
            let narrow = Scope::of([pipeline("shop", &url, &["main"], &[]).as_ref()]);
            let (remote, covered) = remotes.ask(&Address::open(&url), &narrow, LONG).await.unwrap();
            assert_eq!(remote.refs.get(&head("main")), Some(&id(one)), "{kind}");
            assert_eq!(remote.head, Some(head("main")), "{kind}");
            let tags = remote.refs.contains_key(&tag("v1"));
            assert_eq!((covered.covers(&tag("v1")), tags), (kind != "git/", kind != "git/"), "{kind}");
        }
        assert_eq!(ask(&url, LONG).await.unwrap().refs.get(&tag("v1")), Some(&id(one)), "{kind}");
    }
}

#[tokio::test]
async fn what_was_not_asked_for_is_found_when_it_matters() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    let one = origin.commit("main", "one");
    origin.point("refs/tags/nightly", one);
    let server = http_server(dir.path());
    let url = format!("http://127.0.0.1:{}/git/shop.git", server.port);
    let mirrors = Mirrors::new(&dir.path().join("mirrors"), b"key").unwrap();
    let tools = Tools { mirrors: mirrors.clone(), remotes: remotes(dir.path()) };
    let place = Address::open(&url);
    let poll = async |branches: &[&str]| poll_once(&tools, &place, &[target("shop", &url, branches, &[])], LONG).await;
    // A branch that is not there: the answer names those that are, although only one was asked for.
    let said = format!("{:?}", poll(&["mian"]).await);
    assert!(said.contains("branch `mian` does not exist") && said.contains("it has: main"), "{said}");
    // Tags of the history come with the commit, for `git describe`.
    poll(&["main"]).await;
    let mirror = mirrors.open(&place).unwrap();
    let has_tag = || mirror.path().join("refs/tags/nightly").exists();
    assert!(mirror.has(&id(one)) && has_tag());
    // A branch that stands in the way of a new one was not asked for either.
    origin.delete("refs/heads/main");
    let two = origin.commit("main/next", "two");
    let said = format!("{:?}", poll(&["main/*"]).await);
    assert!(said.contains("refs/heads/main/next") && !said.contains("PollFailed"), "{said}");
    assert!(mirror.has(&id(two)) && mirror.has(&id(one)) && has_tag());
}

#[tokio::test]
async fn a_credential_is_seen_in_no_argument_and_no_environment() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    for n in 0..20 {
        origin.commit("main", &format!("commit {n}"));
    }
    let server = http_server(dir.path());
    let files = dir.path().join("credentials");
    fs::create_dir(&files).unwrap();
    fs::write(dir.path().join("passwords"), "me:canary-s3cret\n").unwrap();
    credential(&files, "shop", "me:canary-s3cret\n");
    let encoded = "bWU6Y2FuYXJ5LXMzY3JldA";
    let (done, port) = (Arc::new(AtomicBool::new(false)), server.port.to_string());
    let stop = done.clone();
    let watch = std::thread::spawn(move || {
        let (mut seen, mut leaks) = (0, Vec::new());
        while !stop.load(Ordering::SeqCst) {
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
                let all = [read("cmdline"), read("environ")].concat();
                let text = String::from_utf8_lossy(&all);
                if text.contains(&port) && text.contains("git") {
                    seen += 1;
                }
                // The server's own children are told what was sent: that is its affair.
                let server = text.contains("GATEWAY_INTERFACE");
                if server {
                    continue;
                }
                if text.contains("canary-s3cret") || text.contains(encoded) {
                    leaks.push(text.chars().take(300).collect::<String>());
                }
            }
        }
        (seen, leaks)
    });
    let remotes = remotes(&files);
    let place = at(&format!("http://127.0.0.1:{}/locked/shop.git", server.port), "shop");
    for n in 0..5 {
        let mirror = Mirrors::new(&dir.path().join(format!("m{n}")), b"key").unwrap().open(&place).unwrap();
        remotes.fetch(&place, mirror.path(), &[head("main")], LONG).await.unwrap();
        let config = fs::read_to_string(mirror.path().join("config")).unwrap();
        assert!(!config.contains(encoded), "{config}");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    done.store(true, Ordering::SeqCst);
    let (seen, leaks) = watch.join().unwrap();
    assert!(seen > 0, "the watcher saw no git at all");
    assert!(leaks.is_empty(), "{leaks:?}");
}
