//! Connections over ssh that are kept between two questions, against a real sshd whose log says how many
//! there were.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shipbell::model::catalog::Address;
use shipbell::source::{Mirrors, Scope};

use crate::servers::{Sshd, processes_with};
use crate::world::{LONG, Origin, head, id, remotes};

fn connections(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

fn at(url: &str, credential: &str) -> Address {
    Address { url: url.to_owned(), credential: Some(credential.to_owned()) }
}

fn sockets(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// ssh calls itself after the socket that it keeps open.
async fn no_process_of(dir: &Path) {
    let began = Instant::now();
    while !processes_with(&dir.display().to_string()).is_empty() {
        assert!(began.elapsed() < LONG, "{:?}", processes_with(&dir.display().to_string()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_second_question_opens_no_second_connection() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    let one = origin.commit("main", "one");
    Origin::new(&dir.path().join("other.git")).commit("main", "other");
    let sshd = Sshd::start(dir.path());
    let (url, links, all) = (sshd.url(&origin.url()), dir.path().join("links"), Scope::default());
    let keeping = remotes(&dir.path().join("credentials")).with_links(&links).unwrap();
    let good = at(&url, "good");
    for _ in 0..2 {
        keeping.ask(&good, &all, LONG).await.unwrap_or_else(|error| panic!("{error}\n{}", sshd.log()));
    }
    let mirror = Mirrors::new(&dir.path().join("mirrors"), b"key").unwrap().open(&good).unwrap();
    keeping.fetch(&good, mirror.path(), &[head("main")], LONG).await.unwrap();
    assert!(mirror.has(&id(one)));
    keeping.ask(&at(&url.replace("shop", "other"), "good"), &all, LONG).await.unwrap();
    assert_eq!((connections(&sshd), sockets(&links).len()), (1, 1), "{}", sshd.log());

    // Another login does not ride on it, and neither does a trial: both must prove themselves.
    assert!(keeping.ask(&at(&url, "strange"), &all, LONG).await.is_err());
    assert!(keeping.ask(&at(&url, "lost"), &all, LONG).await.is_err());
    assert_eq!((connections(&sshd), sockets(&links).len()), (1, 1));
    keeping.trial(&good, None, LONG).await;
    assert_eq!((connections(&sshd), sockets(&links).len()), (2, 1));

    // Replaced, the credential is another login.
    fs::copy(dir.path().join("strange"), dir.path().join("credentials/good")).unwrap();
    assert!(keeping.ask(&good, &all, LONG).await.is_err());
    keeping.end_links().await;
    assert_eq!(sockets(&links).len(), 0);
    no_process_of(&links).await;
}

#[tokio::test]
async fn a_kept_connection_that_broke_or_hangs_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    origin.commit("main", "one");
    let sshd = Sshd::start(dir.path());
    let (links, all) = (dir.path().join("links"), Scope::default());
    let keeping = remotes(&dir.path().join("credentials")).with_links(&links).unwrap();
    let good = at(&sshd.url(&origin.url()), "good");
    keeping.ask(&good, &all, LONG).await.unwrap_or_else(|error| panic!("{error}\n{}", sshd.log()));

    // Whoever keeps it was killed: its socket is still there.
    let socket = sockets(&links).remove(0);
    let keeper = keeper_of(&socket);
    tell(keeper, "KILL");
    assert_eq!(keeping.ask(&good, &all, LONG).await.unwrap().0.refs.len(), 1);
    assert_eq!(connections(&sshd), 2);

    // Whoever keeps it hangs: it is passed over, and nobody waits for it.
    let keeper = keeper_of(&socket);
    tell(keeper, "STOP");
    let began = Instant::now();
    assert_eq!(keeping.ask(&good, &all, LONG).await.unwrap().0.refs.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(connections(&sshd), 3);
    tell(keeper, "KILL");
    keeping.end_links().await;
    no_process_of(&links).await;
}

/// The process that keeps a connection: `ssh: SOCKET [mux]`.
fn keeper_of(socket: &Path) -> u32 {
    let name = socket.display().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.starts_with("ssh: ") && line.contains(&name) {
            return entry.file_name().to_str().unwrap().parse().unwrap();
        }
    }
    panic!("nobody keeps {name}: {:?}", processes_with(&name));
}

fn tell(process: u32, signal: &str) {
    let status = std::process::Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status();
    assert!(status.unwrap().success());
}
