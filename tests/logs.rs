//! Logs and what is collected of a run, under the faults that happen to them: floods, lines without an
//! end, full disks, links where files should be; and readers who follow while all of it changes under them.

#[expect(dead_code, reason = "shared with tests/runs.rs, which asks for the rest")]
#[path = "runs/place.rs"]
mod place;
mod support;

use std::time::{Duration, Instant};

use place::{Place, job, outcome, step, until};
use shipbell::executor::Status;
use shipbell::model::name::RunRef;
use shipbell::model::run::Outcome;

/// Reads as a follower does: from where it stopped, until the run is over and nothing more comes. Gives the
/// text and how many bytes it was told are missing.
fn follow(place: &Place, run: &RunRef, mut between: impl FnMut()) -> (Vec<u8>, u64) {
    let (mut text, mut at, mut missing) = (Vec::new(), 0, 0);
    loop {
        let over = place.executor.status(run, 1, &place.boot_id).unwrap() != Status::Running;
        loop {
            let (piece, next) = place.executor.read_log(run, 1, at, 50_000).unwrap();
            if next == at {
                break;
            }
            if next - at != piece.len() as u64 {
                let mark = String::from_utf8(piece).unwrap();
                assert!(mark.contains(&format!("=== TRUNCATED: {} bytes", next - at)), "{mark}");
                missing += next - at;
            } else {
                text.extend(piece);
            }
            at = next;
            between();
        }
        if over {
            return (text, missing);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

const NUMBERS: &str = "for i in 1 2 3 4 5 6; do seq ${i}000000 ${i}020000; sleep 0.05; done";

#[test]
fn a_follower_misses_nothing_and_sees_nothing_twice() {
    let place = Place::new();
    let run = place.start(&step(NUMBERS));
    let (text, missing) = follow(&place, &run, || ());
    assert_eq!(missing, 0);
    let numbers = (1..=6_u32).flat_map(|i| i * 1_000_000..=i * 1_000_000 + 20_000);
    let expected: String = numbers.map(|number| format!("{number}\n")).collect();
    let text = String::from_utf8(text).unwrap();
    let printed: String =
        text.lines().filter(|line| !line.starts_with("===")).map(|line| format!("{line}\n")).collect();
    assert!(printed == expected);
    // Compressed under a reader who is half through.
    let mut done = false;
    let (again, _) = follow(&place, &run, || {
        if !std::mem::replace(&mut done, true) {
            place.executor.ack(&run, 1).unwrap();
        }
    });
    let dir = place.executor.dir(&run, 1);
    assert!(dir.join("log.zst").exists() && !dir.join("log").exists());
    assert!(again == text.into_bytes());
}

#[test]
fn a_follower_of_a_flood_is_told_each_byte_that_it_missed() {
    let place = Place::new();
    let mut job = step(NUMBERS);
    job.log_limit = 100_000;
    let run = place.start(&job);
    let (text, missing) = follow(&place, &run, || ());
    let end = place.wait(&run);
    let (_, offset) = end.span(1);
    assert!(missing > 0, "the limit is a tenth of what is printed");
    assert!(text.len() as u64 + missing > offset, "{} + {missing} of {offset}", text.len());
    // Afterwards there is one mark, and the end is there.
    assert_eq!(end.log.matches("=== TRUNCATED: ").count(), 1);
    assert!(end.log.contains("\n1000000\n") && end.log.contains("\n6020000\n=== succeeded\n"));
}

/// Fault 11.
#[test]
fn fault_11_a_flood_blocks_nobody_and_costs_neither_memory_nor_disk() {
    let place = Place::new();
    let mut job = step("(yes flood || true) | head -c 300000000; echo the very end");
    job.log_limit = 4 << 20;
    let begin = Instant::now();
    let run = place.start(&job);
    let peak = place.peak_memory_until_over(&run);
    let end = place.wait(&run);
    assert_eq!(end.finished().0, Outcome::Succeeded);
    assert!(peak > 0 && peak < 40_000, "{peak} KiB");
    let files = std::fs::read_dir(&end.dir).unwrap().flatten();
    let logs = files.filter(|entry| entry.file_name().to_string_lossy().starts_with("log"));
    let on_disk: u64 = logs.map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(on_disk <= (4 << 20) + 1000, "{on_disk}");
    assert!(end.log.matches("=== TRUNCATED: ").count() == 1 && end.log.contains("\nthe very end\n"));
    println!("300 MB taken in {:?}, {peak} KiB", begin.elapsed());
}

/// Fault 12.
#[test]
fn fault_12_whatever_bytes_are_printed_stay_as_they_are() {
    let place = Place::new();
    let text = "printf 'a\\0b\\377\\376\\033]0;title\\007\\342\\200\\256'; head -c 3000000 /dev/zero | tr '\\0' x; printf '\\302'";
    let end = place.run(&step(text));
    assert_eq!(end.finished().0, Outcome::Succeeded);
    let mut expected = b"a\0b\xff\xfe\x1b]0;title\x07\xe2\x80\xae".to_vec();
    expected.extend(vec![b'x'; 3_000_000]);
    expected.extend(b"\xc2");
    let (from, to) = end.span(1);
    let (bytes, next) = place.executor.read_log(&end.run, 1, from, usize::try_from(to - from).unwrap()).unwrap();
    assert_eq!(next, to);
    let head = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert!(bytes[head..] == expected);
}

/// Fault 13.
#[test]
fn fault_13_a_run_ends_with_its_programs_and_not_with_its_pipe() {
    let place = Place::new();
    let begin = Instant::now();
    let end = place.run(&job(&["exec >&- 2>&-; sleep 0.3", "setsid sleep 600 & echo left one behind"]));
    assert_eq!(end.finished().0, Outcome::Succeeded);
    assert!(end.is_empty() && end.log.contains("\nleft one behind\n"), "{}", end.log);
    assert!(begin.elapsed() > Duration::from_millis(300) && begin.elapsed() < Duration::from_secs(20));
}

/// Fault 15. The directory of the attempt is a file system of its own; something else fills it.
#[test]
fn fault_15_a_full_disk_costs_output_and_never_the_run() {
    let place = Place::new();
    let job = job(&[
        "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo still here >&2",
        "rm ../filler; sleep 0.2; echo there is room again",
    ]);
    let saved = place.on_a_small_disk(&job, "head -c 1500000 /dev/zero > filler", "");
    let read = |name: &str| std::fs::read_to_string(saved.path().join(name)).unwrap();
    let log = read("log");
    assert!(read("events.jsonl").contains("\"succeeded\""), "{}", &log[log.len().saturating_sub(500)..]);
    assert!(log.contains("\n=== LOST: "), "{}", &log[log.len().saturating_sub(500)..]);
    assert!(log.contains("\nthere is room again\n"), "{}", &log[log.len().saturating_sub(500)..]);
}

/// Fault 38.
#[test]
fn fault_38_links_that_a_job_plants_lead_nowhere() {
    let place = Place::new();
    let planted = [
        "rmdir \"$SHIPBELL_ARTIFACTS\"; ln -s /etc \"$SHIPBELL_ARTIFACTS\"",
        "rm \"$SHIPBELL_OUTPUT\"; ln -s /etc/passwd \"$SHIPBELL_OUTPUT\"",
        "rm \"$SHIPBELL_OUTPUT\"; mkfifo \"$SHIPBELL_OUTPUT\"",
    ];
    for text in planted {
        let end = place.run(&step(text));
        assert_eq!(end.finished().0, Outcome::Failed, "{text}: {}", end.log);
        assert!(end.artifacts().is_empty() && end.values().is_empty(), "{text}");
    }
    // Links among the artifacts are passed over, a directory that is one as well, a pipe blocks nobody.
    let mut job =
        step("ln -s /etc/passwd a; ln -s /etc b; mkfifo c; ln /etc/hostname d 2>/dev/null || true; echo x > e");
    job.artifacts = vec!["**".into()];
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.artifacts().iter().all(|name| ["d", "e"].contains(&name.as_str())), "{:?}", end.artifacts());
}

#[test]
fn artifacts_are_collected_with_the_rights_of_the_job_and_kept_by_their_content() {
    let place = Place::new();
    let text = "mkdir -p out/deep; echo same > out/a; echo same > out/deep/b; echo other > \"$SHIPBELL_ARTIFACTS/c\"";
    let mut job = job(&[text]);
    job.artifacts = vec!["out/**".into()];
    if shipbell::sys::host::effective_uid() == 0 {
        job.user = Some("nobody".into());
        // What its user cannot read is no artifact of it, although we could read it.
        job.steps[0].run = format!("{text}; ln /proc/1/environ out/x 2>/dev/null || true; chmod 000 out/a; id -un");
        let (outcome, reason) = outcome(&place.run(&job));
        assert_eq!(outcome, Outcome::Failed);
        assert!(reason.contains("artifact out/a: Permission denied"), "{reason}");
        job.steps[0].run = text.into();
    }
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert_eq!(end.artifacts(), ["out/a", "out/deep/b", "c"]);
    assert_eq!(end.artifact("out/a"), end.artifact("out/deep/b"));
    let kept: Vec<_> = std::fs::read_dir(end.dir.join("artifacts")).unwrap().flatten().collect();
    assert_eq!(kept.len(), 2, "equal content is kept once: {kept:?}");
    until("its files are whole", || std::fs::read_to_string(end.artifact("c")).unwrap() == "other\n");
}

/// The index of the log, the beginnings of steps and the commands that read both.
#[test]
fn lines_are_shown_with_their_times_by_step_and_since_a_time() {
    let mut robot = support::robot::Robot::new("");
    let steps = r#"["echo early; sleep 2.2; echo late", { name = "second", run = "echo other" }]"#;
    robot.job_file("host", &format!("[job.work]\nmanual = true\nsteps = {steps}\n"));
    robot.start();
    robot.must(&["run", "-f", "host/work"]);
    let said = robot.must(&["logs", "--times", "host/work#1"]);
    let at = |text: &str| {
        let line = said.lines().find(|line| line.ends_with(text)).unwrap_or_else(|| panic!("{text} in:\n{said}"));
        let (time, rest) = line.split_at(19);
        assert!(rest.starts_with("  "), "{line}");
        jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", time).unwrap_or_else(|error| panic!("{line}: {error}"))
    };
    let apart = at("  late").duration_since(at("  early")).as_secs();
    assert!((1..=3).contains(&apart), "{said}");
    assert!(at("  other") >= at("  late"));
    let plain: String = said.lines().map(|line| format!("{}\n", &line[21..])).collect();
    assert_eq!(plain, robot.must(&["logs", "host/work#1"]), "nothing is added or lost");
    let followed = robot.must(&["logs", "-f", "--times", "host/work#1"]);
    assert_eq!(followed, said);

    for step in ["2", "second"] {
        assert_eq!(robot.must(&["logs", "--step", step, "host/work#1"]), "=== step 2 \"second\": echo other\nother\n");
    }
    let none = robot.run(&["logs", "--step", "third", "host/work#1"]);
    assert!(none.code == 4 && none.err.contains("1 echo, 2 second"), "{none:?}");
    let view = robot.json(&["show", "host/work#1"]);
    let begun = view["steps"][1]["started_at"].as_str().unwrap();
    let since = robot.must(&["logs", "--since", begun, "host/work#1"]);
    assert!(since.contains("\nother\n") && !since.contains("early"), "{since}");
    assert_eq!(robot.must(&["logs", "--since", "-10m", "host/work#1"]), plain);
    assert_eq!(robot.run(&["logs", "--since", "whenever", "host/work#1"]).code, 2);
}
