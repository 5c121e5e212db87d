//! One attempt, on the real supervisor: real processes, real repositories, real signals. What a run is
//! told to do stands in each test; how a ticket is made and a result awaited stands in `runs/place.rs`.

#[path = "runs/disk.rs"]
mod disk;
#[path = "runs/ends.rs"]
mod ends;
#[path = "runs/limits.rs"]
mod limits;
#[path = "runs/nursery.rs"]
mod nursery;
#[path = "runs/place.rs"]
mod place;
#[path = "runs/removal.rs"]
mod removal;

use std::time::{Duration, Instant};

use place::{Place, job, outcome, step};
use shipbell::model::run::{Cause, Outcome};
use shipbell::model::ticket::{Evidence, Fact};

#[test]
fn success_states_outputs_and_artifacts() {
    let place = Place::new();
    let mut job = job(&[
        "echo hello; echo image=sha256:1 >> \"$SHIPBELL_OUTPUT\"; mkdir -p build && echo bin > build/app",
        "echo report > \"$SHIPBELL_ARTIFACTS/report.txt\"; echo \"last=$SHIPBELL_RUN_ID\" >> $SHIPBELL_OUTPUT",
    ]);
    job.artifacts = vec!["build/*".into()];
    let end = place.run(&job);
    assert_eq!(end.finished(), (Outcome::Succeeded, "".into(), None));
    assert!(end.is_empty());
    assert_eq!(end.values(), [("image", "sha256:1"), ("last", "shop.test.1")]);
    assert_eq!(end.artifacts(), ["build/app", "report.txt"]);
    assert_eq!(std::fs::read_to_string(end.artifact("build/app")).unwrap(), "bin\n");
    assert!(end.log.contains("=== step 1 \"step-1\": echo hello;"), "{}", end.log);
    assert!(end.log.contains("\nhello\n"), "{}", end.log);
    let usage = end.usage();
    assert!(usage.memory_peak > 100_000 && usage.log_bytes == 6, "{usage:?}");
    place.executor.ack(&end.run, 1).unwrap();
    assert!(!end.dir.join("work").exists() && !end.dir.join("out").exists());
    assert!(end.artifact("report.txt").exists() && end.dir.join("log").exists());
}

#[test]
fn the_first_bad_step_decides_and_always_steps_run() {
    let place = Place::new();
    let mut job = job(&["echo one", "exit 7", "echo never", "echo cleaned; exit 9"]);
    job.steps[3].always = true;
    let end = place.run(&job);
    assert_eq!(outcome(&end), (Outcome::Failed, "exit 7 in step 2 \"step-2\"".into()));
    assert!(end.log.contains("\ncleaned\n") && !end.log.contains("\nnever\n"), "{}", end.log);
    let steps: Vec<u32> =
        end.facts.iter().filter_map(|f| if let Fact::Step { index, .. } = f { Some(*index) } else { None }).collect();
    assert_eq!(steps, [1, 2, 4]);
}

#[test]
fn offsets_of_a_step_name_its_part_of_the_log() {
    let place = Place::new();
    let end = place.run(&job(&["echo first", "echo second"]));
    let spans: Vec<(u64, u64)> = [1, 2].map(|wanted| end.span(wanted)).to_vec();
    let part = |(from, to): (u64, u64)| &end.log[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
    assert_eq!(part(spans[0]), "=== step 1 \"step-1\": echo first\nfirst\n");
    assert_eq!(part(spans[1]), "=== step 2 \"step-2\": echo second\nsecond\n");
}

#[test]
fn a_step_that_ignores_term_is_killed_after_its_grace() {
    let place = Place::new();
    let mut job = job(&["trap '' TERM; echo on; while :; do sleep 1; done"]);
    job.steps[0].timeout = Some(shipbell::model::time::Seconds(1));
    let begin = Instant::now();
    let end = place.run(&job);
    assert_eq!(outcome(&end), (Outcome::TimedOut, "the time of step 1 \"step-1\" was over".into()));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(end.is_empty());
}

#[test]
fn the_runs_own_timeout_leaves_time_for_always_steps() {
    let place = Place::new();
    let mut job = job(&["sleep 60", "echo cleaned"]);
    job.steps[1].always = true;
    job.timeout = shipbell::model::time::Seconds(1);
    let end = place.run(&job);
    assert_eq!(outcome(&end), (Outcome::TimedOut, "the run's 1s were over in step 1 \"step-1\"".into()));
    assert!(end.log.contains("\ncleaned\n"), "{}", end.log);
}

#[test]
fn cancel_ends_the_step_and_runs_what_is_always_run() {
    let place = Place::new();
    let mut job = job(&["echo on; sleep 60", "echo cleaned"]);
    job.steps[1].always = true;
    let run = place.start(&job);
    place.wait_for(&run, "on");
    place.executor.stop(&run, 1, "cancelled by anna").unwrap();
    let end = place.wait(&run);
    assert_eq!(outcome(&end), (Outcome::Cancelled, "cancelled by anna in step 1 \"step-1\"".into()));
    assert!(end.log.contains("\ncleaned\n"), "{}", end.log);
}

#[test]
fn a_cancel_hurries_always_steps_that_go_on() {
    let place = Place::new();
    let mut job = job(&["exit 1", "echo on; sleep 600"]);
    job.steps[1].always = true;
    let run = place.start(&job);
    place.wait_for(&run, "on");
    let begin = Instant::now();
    place.executor.stop(&run, 1, "cancelled by anna").unwrap();
    let end = place.wait(&run);
    assert_eq!(outcome(&end), (Outcome::Failed, "exit 1 in step 1 \"step-1\"".into()));
    // Six graces of one second, and the grace of its own end.
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
}

#[test]
fn a_stop_before_the_beginning_starts_no_step() {
    let place = Place::new();
    let order = place.order(&job(&["echo on"]));
    place.executor.stop(&order.run, 1, "cancelled by anna").unwrap();
    place.executor.start(&order).unwrap();
    let end = place.wait(&order.run);
    assert_eq!(outcome(&end), (Outcome::Cancelled, "cancelled by anna".into()));
    assert!(!end.log.contains("\non\n"));
}

#[test]
fn term_from_outside_is_a_cancel_that_says_so() {
    let place = Place::new();
    let run = place.start(&job(&["echo on; sleep 60"]));
    place.wait_for(&run, "on");
    place::signal(place.supervisor(&run), "TERM");
    let end = place.wait(&run);
    assert_eq!(outcome(&end), (Outcome::Cancelled, "stopped from outside in step 1 \"step-1\"".into()));
}

#[test]
fn nothing_outlives_the_run() {
    let place = Place::new();
    let stubborn = "trap : TERM HUP INT; echo alive >> alive; while :; do sleep 0.1; done";
    let text =
        format!("for n in 1 2 3 4 5; do (setsid sh -c 'sh -c \"{stubborn}\" & ' &); done; sleep 0.5; wc -l < alive");
    let mut job = job(&[&text]);
    job.env.insert("MARK".into(), "shipbell-test-leftover".into());
    let begin = Instant::now();
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("\n5\n"), "{}", end.log);
    assert!(end.is_empty());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(place::alive_in(&end.dir), Vec::<u32>::new());
}

#[test]
fn a_background_process_lives_until_the_run_ends_and_holds_no_step() {
    let place = Place::new();
    let end = place.run(&job(&["sleep 100 & echo $! > pid", "kill -0 $(cat pid) && echo still there"]));
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("\nstill there\n"), "{}", end.log);
    assert_eq!(place::alive_in(&end.dir), Vec::<u32>::new());
}

#[test]
fn a_large_log_is_bounded_in_memory_and_on_disk() {
    let place = Place::new();
    let mut job = job(&["head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the very end"]);
    job.log_limit = 1 << 20;
    let run = place.start(&job);
    let peak = place.peak_memory_until_over(&run);
    let end = place.wait(&run);
    assert_eq!(end.finished().0, Outcome::Succeeded);
    assert_eq!(end.usage().log_bytes, 100_000_014);
    assert!(end.log.len() < 1_100_000, "{}", end.log.len());
    assert!(end.log.contains("TRUNCATED: ") && end.log.contains("\nthe very end\n"));
    assert!(peak > 0 && peak < 40_000, "{peak} KiB");
}

#[test]
fn bad_output_lines_fail_their_step() {
    let place = Place::new();
    let end = place.run(&job(&["echo A=1 >> $SHIPBELL_OUTPUT; echo 'not a pair' >> $SHIPBELL_OUTPUT"]));
    let (outcome, reason) = outcome(&end);
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("line `not a pair`: there is no = in it"), "{reason}");
    assert_eq!(end.values(), [("A", "1")]);
}

#[test]
fn artifacts_are_not_read_through_links() {
    let place = Place::new();
    let mut job = job(&["echo s > ../../../../secret; ln -s ../../../../secret a.txt; echo b > b.txt"]);
    job.artifacts = vec!["*.txt".into(), "none*".into()];
    let end = place.run(&job);
    assert_eq!(end.artifacts(), ["b.txt"]);
    assert!(end.log.contains("nothing matches \"none*\""), "{}", end.log);
}

#[test]
fn environment_and_directory_of_a_step() {
    let place = Place::new();
    let mut job = job(&["mkdir -p sub", "env | sort; pwd; test ! -t 0; wc -c < /dev/stdin"]);
    job.steps[1].dir = Some("sub".into());
    job.steps[1].env.insert("STEP".into(), "own".into());
    job.env.insert("JOB".into(), "its".into());
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    for line in [
        "CI=true",
        "STEP=own",
        "JOB=its",
        "SHIPBELL_RUN=shop/test#1",
        "SHIPBELL_CAUSE=manual",
        "SHIPBELL_COMMIT=",
        "SHIPBELL_RUN_URL=http://ci.example/shop/test/1",
        "BUILD_ID=1",
        "JOB_TYPE=periodic",
        "0",
    ] {
        assert!(end.log.lines().any(|found| found == line), "{line}: {}", end.log);
    }
    let work = end.dir.join("work/sub");
    assert!(end.log.lines().any(|line| line == work.to_str().unwrap()), "{}", end.log);
    assert!(!end.log.contains("CARGO"), "the environment is cleared");
}

#[test]
fn a_shell_that_is_not_there_is_said() {
    let place = Place::new();
    let mut job = job(&["echo x"]);
    job.shell = vec!["no-such-shell".into(), "-c".into()].into();
    let (outcome, reason) = outcome(&place.run(&job));
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("there is no no-such-shell on this host (PATH is /"), "{reason}");
    assert!(reason.contains("write shell = [\"sh\", \"-eu\", \"-c\"] in the job"), "{reason}");
}

#[test]
fn verify_waits_for_the_right_answer() {
    let place = Place::new();
    let mut job = job(&["echo 0 > n"]);
    job.verify = Some(shipbell::model::job::VerifyDef {
        run: "echo $(($(cat n) + 1)) > n; test $(cat n) -ge 3".into(),
        within: shipbell::model::time::Seconds(20),
    });
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    job.verify = Some(shipbell::model::job::VerifyDef {
        run: "echo deadbeef".into(),
        within: shipbell::model::time::Seconds(1),
    });
    let (outcome, reason) = outcome(&place.run(&job));
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("it answers deadbeef, not this commit"), "{reason}");
}

#[test]
fn a_killed_supervisor_is_lost_and_what_it_left_is_ended() {
    let place = Place::new();
    // One lost its session, another one the name of its run.
    let run = place.start(&job(&["(setsid sleep 1000 &); (env -i sleep 1000 &); sleep 0.2; echo on; sleep 1000"]));
    place.wait_for(&run, "on");
    let dir = place.executor.dir(&run, 1);
    assert!(!place::alive_in(&dir).is_empty());
    place::signal(place.supervisor(&run), "KILL");
    let end = place.wait(&run);
    assert_eq!(end.evidence, Evidence::Lost { touched: true, rebooted: false, why: None });
    place::until("what it left is ended", || place::alive_in(&dir).is_empty());
    let later = place.executor.status(&run, 1, "another-boot").unwrap();
    let lost = Evidence::Lost { touched: true, rebooted: true, why: None };
    assert_eq!(later, shipbell::executor::Status::Over(lost));
}

#[test]
fn a_second_supervisor_leaves_at_once() {
    let place = Place::new();
    let run = place.start(&job(&["echo on; sleep 2; echo off"]));
    place.wait_for(&run, "on");
    let second = place::supervise(&place.executor.dir(&run, 1));
    assert_eq!(second.code(), Some(3));
    let end = place.wait(&run);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert_eq!(place::supervise(&end.dir).code(), Some(3), "not after its end either");
    assert_eq!(end.log.matches("\non\n").count(), 1);
}

#[test]
fn starting_twice_starts_once() {
    let place = Place::new();
    let job = job(&["echo on"]);
    let order = place.order(&job);
    for _ in 0..3 {
        place.executor.start(&order).unwrap();
    }
    let end = place.wait(&order.run);
    assert_eq!(end.log.matches("\non\n").count(), 1);
    place.executor.start(&order).unwrap();
    assert_eq!(place.wait(&order.run).evidence, end.evidence);
    // A database from a backup gives numbers again: what lies there is not the result of another run.
    let mut other = order;
    other.cause = Cause::Manual { by: "ben".into() };
    let refused = place.executor.start(&other).unwrap_err().to_string();
    assert!(refused.contains("is of another run with this number"), "{refused}");
}

#[test]
fn orders_that_do_not_fit_are_refused() {
    let place = Place::new();
    let mut job = job(&["true"]);
    job.params.insert("TENANT".into(), shipbell::model::job::Param { default: None, pattern: Some("[a-z]+".into()) });
    let order = place.order(&job);
    let refused = |order: &shipbell::model::ticket::StartOrder| place.executor.start(order).unwrap_err().to_string();
    assert!(refused(&order).contains("param TENANT has no value"));
    let with = |value: &str| {
        let mut order = order.clone();
        order.params.insert("TENANT".into(), value.into());
        order
    };
    assert!(refused(&with("A1")).contains("does not match"));
    let mut other = with("a");
    other.run = "shop/other#1".parse().unwrap();
    assert!(refused(&other).contains("cannot run the definition of shop/test"));
    other = with("a");
    other.definition = shipbell::model::job::Hash::of(b"x");
    assert!(refused(&other).contains("is not known here"));
    assert_eq!(place.executor.list().unwrap(), vec![], "nothing was made");
    place.executor.start(&with("a")).unwrap();
    assert_eq!(place.wait(&order.run).finished().0, Outcome::Succeeded);
}

#[test]
fn a_fence_and_a_start_never_both_win() {
    let place = Place::new();
    let mut job = job(&["echo on >> ../../ran"]);
    job.shell = vec!["sh".into(), "-c".into()].into();
    let (mut ran, mut fenced) = (0, 0);
    for number in 1..=200 {
        let order = place.order_number(&job, number);
        let dir = place.prepare(&order);
        // A second executor knows nothing of the child: as after a restart of the daemon.
        let other = place.second_executor();
        let mut child = place::begin_to_supervise(&dir);
        std::thread::sleep(Duration::from_micros(number % 20 * 250));
        let first = other.status(&order.run, 1, &place.boot_id).unwrap();
        assert!(child.wait().unwrap().code().is_some());
        let last = other.status(&order.run, 1, &place.boot_id).unwrap();
        let began = dir.parent().unwrap().join("ran").exists();
        match last {
            shipbell::executor::Status::Over(Evidence::NeverStarted { .. }) => {
                fenced += 1;
                assert!(!began, "{number}: fenced, and yet it ran");
            }
            shipbell::executor::Status::Over(Evidence::Finished { outcome, empty, .. }) => {
                ran += 1;
                assert!(began && empty && outcome == Outcome::Succeeded, "{number}");
                // It may be over by the first look already; what ran was never fenced.
                let fenced = matches!(first, shipbell::executor::Status::Over(Evidence::NeverStarted { .. }));
                assert!(!fenced, "{number}: {first:?}");
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    println!("200 races: {ran} ran, {fenced} fenced");
    assert_eq!(ran + fenced, 200);
}

#[test]
fn an_attempt_that_nobody_starts_is_fenced_for_good() {
    let place = Place::new();
    let order = place.order(&job(&["echo on"]));
    let status = place.executor.status(&order.run, 1, &place.boot_id).unwrap();
    assert!(matches!(status, shipbell::executor::Status::Over(Evidence::NeverStarted { .. })), "{status:?}");
    place.executor.start(&order).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(place.executor.status(&order.run, 1, &place.boot_id).unwrap(), status);
    assert!(!place.executor.dir(&order.run, 1).join("log").exists());
}

#[test]
fn garbage_among_the_facts_is_no_proof() {
    let place = Place::new();
    let end = place.run(&job(&["echo on"]));
    let path = end.dir.join("events.jsonl");
    let text = std::fs::read(&path).unwrap();
    place::forget_group(&end.dir);
    for (what, damaged) in
        [("cut", text[..text.len() - 20].to_vec()), ("garbage", [b"\x00\xff{\"v\":1}\n".as_slice(), &text].concat())]
    {
        std::fs::write(&path, &damaged).unwrap();
        let status = place.executor.status(&end.run, 1, &place.boot_id).unwrap();
        let good = matches!(status, shipbell::executor::Status::Over(Evidence::Finished { empty: true, .. }));
        assert!(!good, "{what}: {status:?}");
        let (facts, next) = place.executor.facts(&end.run, 1, 0).unwrap();
        assert!(next <= damaged.len() as u64 && !facts.is_empty(), "{what}");
    }
}

#[test]
fn a_user_that_is_not_there_is_refused_with_the_way_out() {
    let place = Place::new();
    let mut job = job(&["echo on"]);
    job.user = Some("no-such-user".into());
    let end = place.run(&job);
    let (outcome, reason) = outcome(&end);
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("this host has no such user"), "{reason}");
    assert!(end.log.contains("useradd --system"), "{}", end.log);
}

#[test]
fn root_drops_to_the_jobs_user_for_good() {
    if shipbell::sys::host::effective_uid() != 0 {
        let mut job = job(&["true"]);
        job.user = Some("root".into());
        let (outcome, reason) = outcome(&Place::new().run(&job));
        assert_eq!(outcome, Outcome::Failed);
        assert!(reason.contains("only root can change to another user"), "{reason}");
        return;
    }
    let place = Place::new();
    let mut job = job(&[
        "id -un; id -G; touch here; ls -ld . | cut -d' ' -f3; echo k=v >> $SHIPBELL_OUTPUT; cp /etc/hostname $SHIPBELL_ARTIFACTS/h; touch $HOME/x; ls ../events.jsonl && cat ../events.jsonl || echo closed",
    ]);
    job.user = Some("nobody".into());
    job.shell = vec!["sh".into(), "-c".into()].into();
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert_eq!(end.log.lines().filter(|line| *line == "nobody").count(), 2, "{}", end.log);
    assert!(end.log.contains("\nclosed\n"), "{}", end.log);
    assert_eq!(end.values(), [("k", "v")]);
    assert_eq!(end.artifacts(), ["h"]);
}

#[test]
fn downstream_finds_artifacts_and_outputs() {
    let place = Place::new();
    let end =
        place.run(&job(&["echo v1 > \"$SHIPBELL_ARTIFACTS/app\"; echo image-tag=x | tr - _ >> $SHIPBELL_OUTPUT"]));
    let mut order = place.order_number(&step("cat app; echo \"tag $NEEDS_TEST_IMAGE_TAG\""), 2);
    order.needs = vec![end.as_upstream()];
    place.executor.start(&order).unwrap();
    let later = place.wait(&order.run);
    assert!(later.log.contains("\nv1\ntag x\n"), "{}", later.log);
    std::fs::write(end.artifact("app"), "v2").unwrap();
    order.run = "shop/test#3".parse().unwrap();
    place.executor.start(&order).unwrap();
    let (outcome, reason) = outcome(&place.wait(&order.run));
    assert_eq!(outcome, Outcome::Failed);
    assert!(reason.contains("artifact app of shop/test#1 is not what that run left"), "{reason}");
}
