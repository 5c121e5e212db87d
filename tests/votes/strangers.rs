//! What comes to the executor's socket and is no question, or not at its time: it ends that connection, is
//! written down and starts nothing. Who may come at all is tried in `tests/systemd/executor.sh`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use shipbell::executor::wire::{self, ANSWER_MAX, Answer, QUESTION_MAX, Question, VERSION, Verb};
use shipbell::model::name::RunRef;

use crate::executor::Executor;
use crate::support::wait_for;

/// What comes back for these bytes, after which nothing more is said.
fn answer_to(executor: &Executor, bytes: &[u8]) -> Vec<u8> {
    let mut stream = executor.connect();
    // It may have left before all is said.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn framed(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

/// Fault 34: oversized and truncated ones, and what is not a question.
#[test]
fn what_is_no_question_is_not_answered_and_is_written_down() {
    let executor = Executor::new(1);
    let mut start = Vec::new();
    let order = Box::new(executor.order(1));
    wire::write(&mut start, &Question { v: VERSION, verb: Verb::Start { order } }, QUESTION_MAX).unwrap();
    let answer = serde_json::to_vec(&Answer::Done).unwrap();
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let mut sent = 0;
    let half = start.len() / 2;
    for (what, bytes) in [
        ("a length of 4 GiB", [&[0xff; 4][..], &[b'x'; 4096]].concat()),
        ("one byte more than is read", [&(QUESTION_MAX + 1).to_be_bytes()[..], b"{}"].concat()),
        ("half a length", vec![0, 0]),
        ("half a start", start[..half].to_vec()),
        ("all but the last byte of a start", start[..start.len() - 1].to_vec()),
        ("a start without its length", start[4..].to_vec()),
        ("an answer", framed(&answer)),
        ("deep nesting", framed(&deep)),
        ("nothing in a frame", framed(b"")),
        ("NULs", framed(&[0; 64])),
        ("http", b"GET / HTTP/1.1\r\nHost: executor\r\n\r\n".to_vec()),
    ] {
        assert_eq!(answer_to(&executor, &bytes), b"", "{what}");
        sent += 1;
    }
    let written = || executor.said().lines().filter(|line| line.contains("what came is no question")).count();
    wait_for("all of it is written down", || (written() >= sent).then_some(()), || executor.said());
    assert_eq!(executor.deployed(), 0);
    assert!(!executor.has_runs());
}

/// Fault 34: out of order.
#[test]
fn questions_at_the_wrong_time_are_answered_and_start_nothing() {
    let executor = Executor::new(1);
    let order = executor.order(7);
    let run = || order.run.clone();
    let other: RunRef = "app/nothing#1".parse().unwrap();
    executor.ask(Verb::Ack { run: run(), attempt: 1 });
    executor.ask(Verb::Status { run: other.clone(), attempt: 9 });
    executor.ask(Verb::Ack { run: other, attempt: 0 });
    assert_eq!(executor.ask(Verb::Kept), Answer::Attempts { attempts: vec![] });
    // Stopped before it is started it ends before its first step, and being acknowledged changes nothing of that.
    assert_eq!(executor.ask(Verb::Stop { run: run(), attempt: 1, reason: "x".repeat(1 << 20) }), Answer::Done);
    executor.start(&order);
    executor.wait_for_end(&order.run, 1);
    executor.ask(Verb::Ack { run: run(), attempt: 1 });
    executor.start(&order);
    assert_eq!(executor.deployed(), 0);
    // A good question and a bad one on one connection: the first is answered, then it ends.
    let mut bytes = Vec::new();
    wire::write(&mut bytes, &Question { v: VERSION, verb: Verb::List }, QUESTION_MAX).unwrap();
    bytes.extend(framed(b"nonsense"));
    let answers = answer_to(&executor, &bytes);
    let mut rest = &answers[..];
    assert!(matches!(wire::read::<Answer>(&mut rest, ANSWER_MAX), Ok(Some(Answer::Attempts { .. }))));
    assert!(rest.is_empty());
}

/// Fault 34: a thousand at once.
#[test]
fn a_thousand_connections_cost_a_bounded_number_of_threads_and_then_it_answers() {
    let executor = Executor::new(1);
    let mut open: Vec<UnixStream> = Vec::new();
    let begin = Instant::now();
    for _ in 0..1000 {
        let mut stream = executor.connect();
        // Half a length: each is waited for.
        let _ = stream.write_all(&[0, 0]);
        open.push(stream);
        // The first ones are held, the others were closed: our own descriptors are few as well.
        if open.len() > 400 {
            open.truncate(100);
        }
    }
    let threads = std::fs::read_to_string(format!("/proc/{}/status", executor.pid())).unwrap();
    let threads =
        threads.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim().parse::<u32>().unwrap();
    assert!(threads <= 80, "{threads} threads");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let told = || executor.said().contains("connections at once: one is closed").then_some(());
    wait_for("it is written down", told, || executor.said());
    drop(open);
    wait_for("it answers", || executor.try_ask(Verb::List).ok(), || executor.said());
    assert_eq!(executor.start(&executor.order(1)), Answer::Done);
    executor.wait_for(1);
}
