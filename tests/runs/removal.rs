//! What runs left goes when the executor is asked: of runs that are over, and never through a link.

use std::path::Path;

use shipbell::model::job::{Definition, EnvironmentPolicy};
use shipbell::model::retention::Part;

use crate::place::{Place, job};

/// A run of this job that ended and whose result is recorded.
fn ended(place: &Place, job: &Definition) -> crate::place::End {
    let end = place.run(job);
    place.executor.ack(&end.run, 1).unwrap();
    end
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn parts_of_a_run_go_one_by_one_and_twice_is_once() {
    let place = Place::new();
    let mut job = job(&["head -c 200000 /dev/zero | tr '\\0' x; head -c 300000 /dev/urandom > bin"]);
    job.artifacts = vec!["bin".into()];
    let end = ended(&place, &job);
    let executor = &place.executor;
    let measured = executor.measure(&end.run, Part::Artifacts).unwrap();
    assert!((300_000..340_000).contains(&measured), "{measured}");
    assert_eq!(executor.remove(&end.run, Part::Artifacts).unwrap(), measured);
    assert!(end.dir.join("log.zst").exists() && !end.dir.join("artifacts").exists());
    assert!(executor.remove(&end.run, Part::Log).unwrap() > 0);
    let left = names(&end.dir);
    assert!(left.contains(&"ticket.json".to_owned()) && left.contains(&"claimed".to_owned()), "{left:?}");
    assert!(!left.iter().any(|name| name.starts_with("log")), "{left:?}");
    assert_eq!(executor.read_log(&end.run, 1, 0, 100).unwrap(), (vec![], 0));
    for part in [Part::Artifacts, Part::Log] {
        assert_eq!(executor.remove(&end.run, part).unwrap(), 0, "{part}");
    }
    assert!(executor.remove(&end.run, Part::Run).unwrap() > 0);
    assert_eq!(executor.remove(&end.run, Part::Run).unwrap(), 0);
    assert_eq!(executor.list().unwrap(), []);
}

/// Fault: asked to remove what still runs, by a daemon that is wrong or taken over.
#[test]
fn a_run_that_goes_on_is_not_touched() {
    let place = Place::new();
    let run = place.start(&job(&["echo on; sleep 60"]));
    place.wait_for(&run, "on");
    for part in Part::ALL {
        let error = place.executor.remove(&run, *part).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}");
    }
    assert!(place.log(&run).contains("\non\n"));
    place.executor.stop(&run, 1, "enough").unwrap();
    place.wait(&run);
    // Nobody acknowledged it: what its steps had goes first, then the rest.
    assert!(place.executor.remove(&run, Part::Run).unwrap() > 0);
    assert_eq!(place.executor.list().unwrap(), []);
}

/// Fault: a deployment is to be forgotten, so that it could be started a second time.
#[test]
fn the_ticket_of_a_deployment_stays() {
    let place = Place::new();
    let mut job = job(&["echo live"]);
    let policy = serde_json::json!({ "name": "live", "approval": null, "url": null, "windows": [], "freezes": [] });
    job.environment = Some(Box::new(serde_json::from_value::<EnvironmentPolicy>(policy).unwrap()));
    let end = ended(&place, &job);
    assert!(place.executor.remove(&end.run, Part::Log).unwrap() > 0);
    let error = place.executor.remove(&end.run, Part::Run).unwrap_err();
    assert!(error.to_string().contains("changed an environment"), "{error}");
    assert!(end.dir.join("ticket.json").exists() && end.dir.join("claimed").exists());
    // A ticket that nobody can read may be of one.
    std::fs::write(end.dir.join("ticket.json"), "{").unwrap();
    assert!(place.executor.remove(&end.run, Part::Run).is_err());
}

/// Fault: links lie where directories and files should.
#[test]
fn no_link_is_followed_out() {
    let place = Place::new();
    let end = ended(&place, &job(&["echo one > \"$SHIPBELL_ARTIFACTS/one\""]));
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("precious"), "p").unwrap();
    std::os::unix::fs::symlink(outside.path(), end.dir.join("artifacts/link")).unwrap();
    std::fs::rename(end.dir.join("log"), end.dir.join("log.old")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("precious"), end.dir.join("log")).unwrap();
    std::os::unix::fs::symlink(outside.path(), end.dir.parent().unwrap().join("2")).unwrap();
    assert!(place.executor.remove(&end.run, Part::Log).is_err(), "an attempt that is a link is none");
    std::fs::remove_file(end.dir.parent().unwrap().join("2")).unwrap();
    for part in Part::ALL {
        place.executor.remove(&end.run, *part).unwrap();
    }
    assert_eq!(names(outside.path()), ["precious"]);
    assert_eq!(place.executor.list().unwrap(), []);
}

/// Fault: killed between the renaming and the last file.
#[test]
fn a_removal_that_was_cut_off_is_ended_by_the_next() {
    let place = Place::new();
    let end = ended(&place, &job(&["echo on"]));
    let of_run = end.dir.parent().unwrap().to_owned();
    let doomed = of_run.with_file_name(format!(".gone-{}", end.run.id()));
    std::fs::rename(&of_run, &doomed).unwrap();
    std::fs::remove_file(doomed.join("1/log")).unwrap();
    assert_eq!(place.executor.list().unwrap(), [], "it is no run's directory any more");
    assert!(place.executor.remove(&end.run, Part::Run).unwrap() > 0);
    assert!(!doomed.exists());
}
