//! What a URL, a repository, a server, the environment or a poisoned mirror could have git run: each
//! tries to make a canary file, and none may.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use shipbell::model::catalog::Address;
use shipbell::source::SourceError;

use crate::world::{LONG, Origin, World, ask, fetch, head, id};

fn script(path: &Path, canary: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\ntouch {}\ncat >/dev/null\n", canary.display())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A configuration by which git would run the script at every opportunity that there is.
fn poison(script: &Path) -> String {
    let s = script.display();
    format!(
        "[core]\n\tfsmonitor = {s}\n\thooksPath = {}\n\tsshCommand = {s}\n\tgitProxy = {s}\n\taskPass = {s}\n\
         \talternateRefsCommand = {s}\n\tpager = {s}\n\
         [credential]\n\thelper = !{s}\n[uploadpack]\n\tpackObjectsHook = {s}\n[gc]\n\tauto = 1\n\
         [url \"ext::{s} \"]\n\tinsteadOf = /\n[protocol \"ext\"]\n\tallow = always\n\
         [remote \"origin\"]\n\tuploadpack = {s}\n[alias]\n\tfetch = !{s}\n",
        script.parent().unwrap().display()
    )
}

const HOOKS: &[&str] = &["reference-transaction", "post-checkout", "post-merge", "pre-auto-gc", "update", "fsmonitor"];

#[tokio::test]
async fn urls_that_are_options_or_programs() {
    let dir = tempfile::tempdir().unwrap();
    let canary = dir.path().join("canary");
    let c = canary.display();
    for url in [
        format!("--upload-pack=touch${{IFS}}{c};"),
        format!("--upload-pack=touch {c};"),
        format!("ext::touch% {c}"),
        format!("ext::touch {c}"),
        format!("-oProxyCommand=touch {c}:x"),
        format!("ssh://-oProxyCommand=touch${{IFS}}{c}/x"),
        format!("user@-oProxyCommand=touch${{IFS}}{c}:x"),
        format!("https://example.invalid/x\n--upload-pack=touch {c}"),
    ] {
        let error = ask(&url, LONG).await.unwrap_err();
        assert!(matches!(error, SourceError::BadUrl { .. }), "{url}: {error}");
        assert!(fetch(dir.path(), &url, &[head("main")], LONG).await.is_err());
    }
    assert!(!canary.exists());
}

#[tokio::test]
async fn a_path_that_a_shell_would_run() {
    let world = World::new(&["main"], &[]);
    let canary = world.dir.path().join("canary");
    let name = "$(touch${IFS}canary)`touch${IFS}canary`;touch${IFS}canary;'&\"x.git";
    let origin = Origin::new(&world.dir.path().join(name));
    let one = origin.commit("main", "one");
    let remote = ask(&origin.url(), LONG).await.unwrap();
    assert_eq!(remote.refs.get(&head("main")), Some(&id(one)));
    let mirror = world.tools.mirrors.open(&Address::open(&origin.url())).unwrap();
    fetch(mirror.path(), &origin.url(), &[head("main")], LONG).await.unwrap();
    assert!(mirror.has(&id(one)) && !canary.exists() && !Path::new("/canary").exists());
}

#[tokio::test]
async fn a_poisoned_mirror_and_a_poisoned_remote() {
    let mut world = World::new(&["main"], &[]);
    let canary = world.dir.path().join("canary");
    let evil = world.dir.path().join("evil/run");
    script(&evil, &canary);
    HOOKS.iter().for_each(|hook| script(&evil.with_file_name(hook), &canary));
    for place in [world.origin.dir.clone(), world.mirror().path().to_owned()] {
        let config = place.join("config");
        let kept = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{kept}{}", poison(&evil))).unwrap();
        HOOKS.iter().for_each(|hook| script(&place.join("hooks").join(hook), &canary));
    }
    let one = world.origin.commit("main", "one");
    let seen = world.news().await;
    assert_eq!(seen.heads[0].commit.id, id(one));
    assert!(!canary.exists(), "something was run");
    let config = fs::read_to_string(world.mirror().path().join("config")).unwrap();
    assert!(!config.contains("evil"), "{config}");
    // The canary does sing: git as a person would call it runs the hook.
    let mut plain = Command::new("git");
    plain.arg("--git-dir").arg(world.mirror().path()).args([
        "fetch",
        "-q",
        &world.origin.url(),
        "+refs/heads/main:refs/x",
    ]);
    let _ = plain.output().unwrap();
    assert!(canary.exists());
}

#[tokio::test]
async fn branches_named_like_options_are_passed_over() {
    let mut world = World::new(&["**"], &[]);
    let one = world.origin.commit("main", "one");
    let names = ["-x", "--upload-pack=touch", "a..b", "a b", "x.lock", "\u{1b}[31m", "a:refs/heads/b", "^main", "+m"];
    let lines: Vec<String> = names.iter().map(|name| format!("{one} refs/heads/{name}\n")).collect();
    fs::write(world.origin.dir.join("packed-refs"), lines.concat()).unwrap();
    let seen = world.news().await;
    let found: Vec<&str> = seen.heads.iter().map(|head| head.git_ref.short()).collect();
    assert_eq!(found, ["+m", "main"]);
}

/// Runs in a process of its own, started by the test below it with a poisoned environment.
#[tokio::test]
async fn asks_and_fetches_where_told() {
    let Some(url) = std::env::var_os("SHIPBELL_TEST_ASK") else { return };
    let url = url.into_string().unwrap();
    let remote = ask(&url, LONG).await.unwrap();
    assert_eq!(remote.refs.len(), 1);
    let dir = tempfile::tempdir().unwrap();
    let mirrors = shipbell::source::Mirrors::new(dir.path(), b"key").unwrap();
    let mirror = mirrors.open(&Address::open(&url)).unwrap();
    fetch(mirror.path(), &url, &[head("main")], LONG).await.unwrap();
    println!("asked and fetched");
}

#[tokio::test]
async fn the_environment_is_not_handed_on() {
    let world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    let canary = world.dir.path().join("canary");
    let evil = world.dir.path().join("evil/run");
    for name in ["run", "git", "ssh", "sh", "git-upload-pack"] {
        script(&evil.with_file_name(name), &canary);
    }
    fs::write(world.dir.path().join(".gitconfig"), poison(&evil)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "attacks::asks_and_fetches_where_told", "--nocapture"]).current_dir(world.dir.path());
    child.env("SHIPBELL_TEST_ASK", world.origin.url()).env("HOME", world.dir.path());
    child.env("PATH", evil.parent().unwrap()).env("XDG_CONFIG_HOME", world.dir.path());
    for name in ["GIT_SSH_COMMAND", "GIT_SSH", "GIT_PROXY_COMMAND", "GIT_ASKPASS", "SSH_ASKPASS", "GIT_PAGER"] {
        child.env(name, &evil);
    }
    child.env("GIT_EXEC_PATH", evil.parent().unwrap()).env("GIT_CONFIG_GLOBAL", world.dir.path().join(".gitconfig"));
    child.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "uploadpack.packObjectsHook");
    child.env("GIT_CONFIG_VALUE_0", &evil).env("GIT_ALLOW_PROTOCOL", "ext").env("GIT_DIR", &world.origin.dir);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("asked and fetched"), "{said}");
    assert!(!canary.exists(), "something of the environment was run");
}

/// A server of one answer; gives its address and how often it was asked.
fn answers(text: String) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(text.as_bytes());
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (inner, asked) = answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into());
    for target in [format!("http://{inner}/secret.git/info/refs?service=git-upload-pack"), "file:///etc/passwd".into()]
    {
        let reply =
            format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let (outer, _) = answers(reply);
        let error = ask(&format!("http://{outer}/x.git"), LONG).await.unwrap_err();
        assert!(matches!(error, SourceError::Redirected { .. }), "{error}");
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_a_server_says_is_shown_cleaned() {
    let body = "\x1b[31mowned\x1b[0m";
    let reply = format!(
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let (address, _) = answers(reply);
    let text = ask(&format!("http://{address}/x.git"), LONG).await.unwrap_err().to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.contains("is not there"), "{text}");
    let (address, _) = answers("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n\x1b[31m<h>".into());
    let text = ask(&format!("http://{address}/x.git"), LONG).await.unwrap_err().to_string();
    assert!(!text.chars().any(char::is_control) && text.contains("it is no git server"), "{text:?}");
}

#[tokio::test]
async fn nothing_is_written_outside_the_mirror() {
    let mut world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    world.news().await;
    let mirror = world.mirror().path().to_owned();
    assert!(!mirror.join("FETCH_HEAD").exists());
    fn modes(dir: &Path, found: &mut Vec<(PathBuf, u32)>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            found.push((entry.path(), entry.metadata().unwrap().permissions().mode() & 0o7777));
            if entry.file_type().unwrap().is_dir() {
                modes(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    modes(&mirror.join("objects"), &mut found);
    let closed: Vec<_> = found.iter().filter(|(_, mode)| mode & 0o6022 != 0 || mode & 0o444 != 0o444).collect();
    assert!(closed.is_empty(), "jobs read the objects that they borrow, and nobody writes there: {closed:?}");
}

#[tokio::test]
async fn slips_of_old_tools_pass_and_traps_do_not() {
    let mut world = World::new(&["**"], &[]);
    let remote = git2::Repository::open_bare(&world.origin.dir).unwrap();
    let odb = remote.odb().unwrap();
    let blob = world.origin.repo.blob(b"x").unwrap();
    let entry = |mode: &str, name: &str| [format!("{mode} {name}\0").as_bytes(), blob.as_bytes()].concat();
    let tree = |raw: &[u8]| odb.write(git2::ObjectType::Tree, raw).unwrap();
    let commit = |tree: git2::Oid, author: &str| {
        let raw = format!("tree {tree}\nauthor {author}\ncommitter {author}\n\nodd\n");
        odb.write(git2::ObjectType::Commit, raw.as_bytes()).unwrap()
    };
    let good = tree(&entry("100644", "a"));
    for (branch, author) in [("zone", "Ann <a@x> 1700000000 +051800"), ("mail", "Ann<a@@x> 1700000000 +0000")] {
        world.origin.point(&format!("refs/heads/{branch}"), commit(good, author));
    }
    let padded = commit(tree(&entry("0100644", "a")), "Ann <a@x> 1700000000 +0000");
    world.origin.point("refs/heads/padded", padded);
    let seen = world.news().await;
    assert_eq!(seen.heads.len(), 3, "{seen:?}");

    // So broken that only git itself reads it: said so, instead of taking the branch for gone.
    let broken = commit(good, "Ann <a@x 1700000000 +0000");
    world.origin.point("refs/heads/broken", broken);
    let (answer, problem) = world.poll().await;
    let problem = problem.unwrap();
    assert!(answer.is_none() && problem.contains("refs/heads/broken") && problem.contains("malformed"), "{problem}");
    world.origin.delete("refs/heads/broken");
    world.nothing().await;

    let trap = commit(tree(&entry("100644", ".GIT")), "Eve <e@x> 1700000000 +0000");
    world.origin.point("refs/heads/trap", trap);
    let (answer, problem) = world.poll().await;
    assert!(answer.is_none());
    let problem = problem.unwrap();
    assert!(problem.contains("hasDotgit"), "{problem}");
}
