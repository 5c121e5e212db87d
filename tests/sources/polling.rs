//! The poller: who is asked when, what is said once, and whom a hanging or failing server delays.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use shipbell::model::event::{Event, PollAnswer};
use shipbell::model::name::PipelineName;
use shipbell::source::{Poller, PollerHandle, Target};
use tokio::sync::{mpsc, watch};

use crate::servers::{processes_with, silent_at};
use crate::world::{World, head, id, learn, on, target};

/// A running poller, and a core that learns from it if it is told to.
struct Robot {
    poller: PollerHandle,
    targets: watch::Sender<Arc<Vec<Target>>>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Robot {
    fn start(world: &World, targets: Vec<Target>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (targets, receiver) = watch::channel(Arc::new(targets));
        let tell = move |event| drop(sender.send(event));
        Self { poller: Poller::start(world.tools.clone(), receiver, tell), targets, events }
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await.expect("nothing was told").unwrap()
    }

    async fn polled(&mut self) -> (PipelineName, PollAnswer) {
        match self.next().await {
            Event::Polled { pipeline, poll } => (pipeline, poll),
            other => panic!("{other:?}"),
        }
    }

    async fn failed(&mut self) -> String {
        match self.next().await {
            Event::PollFailed { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    /// The core absorbs an answer.
    fn learn(&self, pipeline: &PipelineName, answer: &PollAnswer) {
        self.targets.send_modify(|targets| {
            let changed = |target: &Target| {
                let mut target = target.clone();
                if target.pipeline.name == *pipeline {
                    learn(&mut target, answer);
                }
                target
            };
            *targets = Arc::new(targets.iter().map(changed).collect());
        });
    }

    async fn silent_for(&mut self, span: Duration) {
        let said = tokio::time::timeout(span, self.events.recv()).await;
        assert!(said.is_err(), "{said:?}");
    }
}

#[tokio::test]
async fn what_is_new_is_told_once() {
    let world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    let mut robot = Robot::start(&world, vec![world.target.clone()]);
    let began = Instant::now();
    let (name, first) = robot.polled().await;
    assert!(began.elapsed() < Duration::from_secs(5), "the first look is at once: {:?}", began.elapsed());
    // As long as the core has not taken it in, it is not repeated at every look either.
    robot.silent_for(Duration::from_millis(2500)).await;
    robot.learn(&name, &first);
    robot.silent_for(Duration::from_millis(1500)).await;
    let two = world.origin.commit("main", "two");
    let (name, second) = robot.polled().await;
    assert_eq!(on(&second, &head("main")).commit.id, id(two));
    robot.learn(&name, &second);

    // Gone, then back: one word each.
    let away = world.dir.path().join("away");
    std::fs::rename(&world.origin.dir, &away).unwrap();
    assert!(robot.failed().await.contains("is not there"));
    std::fs::rename(&away, &world.origin.dir).unwrap();
    robot.poller.poke(&name);
    robot.polled().await;
    robot.silent_for(Duration::from_millis(1500)).await;
}

#[tokio::test]
async fn a_daemon_that_starts_again_is_told_once_even_if_nothing_is_new() {
    let mut world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    world.news().await;
    let mut robot = Robot::start(&world, vec![world.target.clone()]);
    let (_, answer) = robot.polled().await;
    assert_eq!(answer.heads.len(), 1);
    robot.silent_for(Duration::from_millis(2500)).await;
}

#[tokio::test]
async fn a_poke_asks_now_and_a_new_pipeline_is_looked_at_now() {
    let world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    let url = world.origin.url();
    let slow = |name: &str, branches: &[&str]| Target {
        every: Duration::from_secs(3600),
        ..target(name, &url, branches, &[])
    };
    let mut robot = Robot::start(&world, vec![slow("a", &["main"])]);
    let (a, answer) = robot.polled().await;
    robot.learn(&a, &answer);
    world.origin.commit("main", "two");
    robot.silent_for(Duration::from_millis(1500)).await;
    robot.poller.poke(&a);
    let (_, answer) = robot.polled().await;
    robot.learn(&a, &answer);

    robot.targets.send_modify(|targets| {
        let all = targets.iter().cloned().chain([slow("b", &["main"])]).collect();
        *targets = Arc::new(all);
    });
    let (b, answer) = robot.polled().await;
    assert_eq!(b.as_str(), "b");
    robot.learn(&b, &answer);
    // Its file changes: it follows another branch, which is not there.
    robot.targets.send_modify(|targets| {
        let changed = |target: &Target| if target.pipeline.name == b { slow("b", &["dev"]) } else { target.clone() };
        *targets = Arc::new(targets.iter().map(changed).collect());
    });
    let (_, answer) = robot.polled().await;
    assert_eq!(answer.heads.len(), 0);
    assert!(robot.failed().await.starts_with("branch `dev` does not exist"));
    robot.silent_for(Duration::from_millis(1500)).await;
}

/// Accepts, counts, reads the question and closes.
fn refusing() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let asked = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = std::io::Read::read(&mut stream.unwrap(), &mut [0; 4096]);
        }
    });
    (format!("http://127.0.0.1:{port}/x.git"), count)
}

#[tokio::test]
async fn one_question_for_all_pipelines_of_a_url_and_ever_fewer_while_it_fails() {
    let world = World::new(&["main"], &[]);
    let (url, asked) = refusing();
    let targets = (0..20).map(|n| target(&format!("p{n}"), &url, &["main"], &[])).collect();
    let mut robot = Robot::start(&world, targets);
    for _ in 0..20 {
        let why = robot.failed().await;
        assert!(why.contains("does not answer"), "{why}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // After 2, then 4 seconds, give or take a fifth: at most two more within six and a half.
    robot.silent_for(Duration::from_millis(6500)).await;
    let before = asked.load(Ordering::SeqCst);
    assert!((2..=3).contains(&before), "{before}");
    robot.poller.poke(&PipelineName::new("p7").unwrap());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(asked.load(Ordering::SeqCst) > before);
}

#[tokio::test]
async fn servers_that_hang_delay_nobody_and_end_with_the_poller() {
    let world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    // Hosts of their own: over ssh one host is asked one question at a time.
    let hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let hanging: Vec<_> = hosts.iter().map(|host| (host, silent_at(host).0)).collect();
    let ways = |(host, listener): &(&&str, TcpListener)| {
        let port = listener.local_addr().unwrap().port();
        [format!("ssh://me@{host}:{port}/x.git"), format!("http://{host}:{port}/x.git")]
    };
    let urls = hanging.iter().flat_map(ways);
    let mut targets: Vec<Target> =
        urls.enumerate().map(|(n, url)| target(&format!("h{n}"), &url, &["main"], &[])).collect();
    targets.push(world.target.clone());
    let mut robot = Robot::start(&world, targets);
    let (name, answer) = robot.polled().await;
    assert_eq!(name.as_str(), "shop");
    robot.learn(&name, &answer);
    let began = Instant::now();
    world.origin.commit("main", "two");
    robot.polled().await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let left = || hanging.iter().flat_map(|(_, one)| processes_with(&format!(":{}/", port(one)))).count();
    assert!(left() >= 4);
    drop(robot.poller);
    let began = Instant::now();
    while left() > 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "{} are left", left());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn many_repositories_are_spread_and_all_are_told() {
    let world = World::new(&["main"], &[]);
    let origins: Vec<_> = (0..30)
        .map(|n| {
            let origin = crate::world::Origin::new(&world.dir.path().join(format!("o{n}.git")));
            origin.commit("main", "one");
            origin.url()
        })
        .collect();
    let targets = origins
        .iter()
        .enumerate()
        .map(|(n, url)| Target { every: Duration::from_secs(3600), ..target(&format!("p{n}"), url, &["main"], &[]) });
    let mut robot = Robot::start(&world, targets.collect());
    let began = Instant::now();
    let told: Mutex<BTreeMap<String, usize>> = Mutex::default();
    for _ in 0..30 {
        let (name, _) = robot.polled().await;
        *told.lock().unwrap().entry(name.to_string()).or_default() += 1;
    }
    println!("30 repositories first seen in {:?}", began.elapsed());
    assert!(told.lock().unwrap().values().all(|&times| times == 1));
}
