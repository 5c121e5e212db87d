//! The faults 25, 26 and 32 of the fault table, by their numbers: servers that hang, drip, redirect, lie
//! and send too much; and thousands of repositories due at once. The attacks of fault 26 one by one are
//! in `attacks`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shipbell::model::catalog::Address;
use shipbell::model::commit::RefName;
use shipbell::model::event::Event;
use shipbell::source::{Mirrors, Poller, Scope, SourceError, Target, Tools, poll_once};
use tokio::sync::{mpsc, watch};

use crate::servers::{http_server, processes_with};
use crate::world::{LONG, Origin, World, ask, head, id, remotes, tag, target};

/// A server that treats every connection in the same way.
fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", listener.local_addr().unwrap());
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(stream));
        }
    });
    url
}

/// Reads a request, its body too.
fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = stream.read(&mut buffer) {
        text.extend_from_slice(&buffer[..n]);
        let seen = String::from_utf8_lossy(&text).into_owned();
        let length = seen.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let body = seen.split_once("\r\n\r\n").map(|(_, body)| body.len());
        if n == 0 || body.is_some_and(|body| body >= length.unwrap_or(0)) {
            return seen;
        }
    }
    String::new()
}

fn answers(status: &'static str, headers: &'static str, body: Vec<u8>) -> String {
    serve(move |mut stream| {
        while !request(&mut stream).is_empty() {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
        }
    })
}

const RESULT: &str = "Content-Type: application/x-git-upload-pack-result\r\n";

fn packet(text: &str) -> String {
    format!("{:04x}{text}\n", text.len() + 5)
}

#[tokio::test]
async fn fault_25_a_server_that_hangs_drips_redirects_or_lies_is_told_and_delays_nobody() {
    let mut world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    let hangs = serve(|stream| {
        let _kept = stream.try_clone();
        std::thread::sleep(Duration::from_secs(30));
    });
    // One byte now and then: never silent for long, never done.
    let drips = serve(|mut stream| {
        request(&mut stream);
        for byte in std::iter::repeat_n(b"HTTP/1.1 200 OK\r\nX: ", 50).flatten() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let ghost = packet(&format!("{} refs/heads/main", "a".repeat(40))) + "0000";
    let short = Duration::from_secs(2);
    for (case, url, kind) in [
        ("hangs", hangs, "time"),
        ("drips", drips, "time"),
        ("breaks off", serve(|mut stream| drop(request(&mut stream))), "connection"),
        ("500", answers("500 Oh", "", Vec::new()), "connection"),
        ("429", answers("429 Slow", "Retry-After: 90\r\n", Vec::new()), "connection"),
        ("redirects inside", answers("302 Found", "Location: http://169.254.169.254/x\r\n", Vec::new()), "redirect"),
        ("redirects to a file", answers("301 Moved", "Location: file:///etc/passwd\r\n", Vec::new()), "redirect"),
        ("a page", answers("200 OK", "Content-Type: text/html\r\n", b"<html>".to_vec()), "answer"),
        ("half a packet", answers("200 OK", RESULT, b"00ffabc".to_vec()), "answer"),
        ("a word of its own", answers("200 OK", RESULT, (packet("ERR go away") + "0000").into_bytes()), "repository"),
    ] {
        let began = Instant::now();
        let error = ask(&url, short).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{case}: {error}");
        assert!(began.elapsed() < short + Duration::from_secs(3), "{case}: {:?}", began.elapsed());
        assert!(!error.to_string().chars().any(char::is_control), "{case}: {error}");
    }
    // It names a commit that it does not give.
    let lies = answers("200 OK", RESULT, ghost.into_bytes());
    let targets = [target("shop", &lies, &["main"], &[])];
    let events = poll_once(&world.tools, &Address::open(&lies), &targets, short).await;
    assert!(matches!(events.as_slice(), [Event::PollFailed { .. }]), "{events:?}");
    world.news().await;
    let port = lies.trim_end_matches("/x.git").rsplit(':').next().unwrap().to_owned();
    assert!(processes_with(&port).is_empty(), "nothing of it is left");
}

#[tokio::test]
async fn fault_25_an_answer_or_a_repository_without_end_is_cut_off() {
    let endless = serve(|mut stream| {
        request(&mut stream);
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{RESULT}Content-Length: 99999999999\r\n\r\n").as_bytes());
        let line = packet(&format!("{} refs/heads/{}", "a".repeat(40), "b".repeat(900))).repeat(1000);
        while stream.write_all(line.as_bytes()).is_ok() {}
    });
    let error = ask(&endless, LONG).await.unwrap_err();
    assert!(matches!(error, SourceError::TooMuch { megabytes: 64, .. }), "{error}");

    // A file that no compression makes small, and a limit below it.
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    let mut noise = vec![0; 3 << 20];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    let noise: String = noise.iter().map(|byte| char::from(b'!' + byte % 90)).collect();
    let commit = origin.loose(&[], "large", &[("noise", &noise)]);
    origin.point("refs/heads/main", commit);
    let server = http_server(dir.path());
    let place = Address::open(&format!("http://127.0.0.1:{}/git/shop.git", server.port));
    let mirror = Mirrors::new(&dir.path().join("mirrors"), b"key").unwrap().open(&place).unwrap();
    let remotes = remotes(dir.path());
    let error = remotes.with_pack_max(1 << 20).fetch(&place, mirror.path(), &[head("main")], LONG).await.unwrap_err();
    assert!(matches!(error, SourceError::TooLarge { megabytes: 1, .. }), "{error}");
    assert!(!mirror.has(&id(commit)));
    remotes.fetch(&place, mirror.path(), &[head("main")], LONG).await.unwrap();
    assert!(mirror.has(&id(commit)));
}

#[tokio::test]
async fn fault_26_names_that_a_server_makes_up_are_inert() {
    let dir = tempfile::tempdir().unwrap();
    let names =
        ["-x", "--upload-pack=touch canary", "../../x", "a..b", "x.lock", "a:b", "$(touch${IFS}canary)", "\u{1b}[31m"];
    let (oid, mut body) = ("a".repeat(40), String::new());
    for name in names {
        body += &packet(&format!("{oid} refs/heads/{name}"));
    }
    body += &packet(&format!("{oid} HEAD symref-target:refs/heads/-x"));
    body += &packet(&format!("{oid} refs/tags/v1 peeled:{oid}"));
    let url = answers("200 OK", RESULT, (body + "0000").into_bytes());
    let (remote, _) = remotes(dir.path()).ask(&Address::open(&url), &Scope::default(), LONG).await.unwrap();
    let kept: Vec<&str> = remote.refs.keys().map(RefName::short).collect();
    // By git's own rules the first is a name like any other; no shell ever reads it.
    assert_eq!(kept, ["$(touch${IFS}canary)", "v1"]);
    assert_eq!((remote.head, remote.refs.contains_key(&tag("v1"))), (None, true));
}

/// An empty repository at every address; at most so many questions at one time.
fn crowd() -> (String, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (asked, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, peak) = (asked.clone(), most.clone());
    let now = AtomicUsize::new(0);
    let url = serve(move |mut stream| {
        while !request(&mut stream).is_empty() {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            count.fetch_add(1, Ordering::SeqCst);
            let answer = format!("HTTP/1.1 200 OK\r\n{RESULT}Content-Length: 4\r\n\r\n0000");
            let done = stream.write_all(answer.as_bytes());
            now.fetch_sub(1, Ordering::SeqCst);
            if done.is_err() {
                return;
            }
        }
    });
    (url.trim_end_matches("x.git").to_owned(), asked, most)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_32_five_thousand_repositories_due_at_once_are_all_asked_a_few_at_a_time() {
    const CROWD: usize = 5000;
    let dir = tempfile::tempdir().unwrap();
    let (base, asked, most) = crowd();
    let tools = Tools { mirrors: Mirrors::new(dir.path(), b"key").unwrap(), remotes: remotes(dir.path()) };
    let one = |n| Target {
        every: Duration::from_secs(3600),
        ..target(&format!("p{n}"), &format!("{base}{n}.git"), &["HEAD"], &[])
    };
    let (sender, mut events) = mpsc::unbounded_channel();
    let (_targets, receiver) = watch::channel(Arc::new((0..CROWD).map(one).collect::<Vec<_>>()));
    let began = Instant::now();
    let poller = Poller::start(tools, receiver, move |event| drop(sender.send(event)));
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..CROWD {
        let event = tokio::time::timeout(Duration::from_secs(60), events.recv()).await.unwrap().unwrap();
        let Event::Polled { pipeline, .. } = event else { panic!("{event:?}") };
        *told.entry(pipeline.to_string()).or_default() += 1;
    }
    println!("{CROWD} repositories in {:?}, at most {most:?} at a time", began.elapsed());
    assert!(told.values().all(|&times| times == 1), "each is told once");
    // Of an empty one it is asked, once, whether it has other branches than the wanted one.
    assert_eq!((told.len(), asked.load(Ordering::SeqCst)), (CROWD, 2 * CROWD), "none is starved");
    assert!(most.load(Ordering::SeqCst) <= 16, "{most:?} at a time");
    assert_eq!(poller.sites().all().len(), CROWD);
}
