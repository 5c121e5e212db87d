//! Real git servers on the loopback: git http-backend behind lighttpd, sshd, and servers that accept
//! and never answer.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shipbell::model::catalog::Address;
use shipbell::model::event::Event;
use shipbell::source::{Mirrors, Scope, SourceError, Tools, poll_once};

use crate::world::{LONG, Origin, ask, fetch, head, id, remotes, tag, target};

/// A program of the host, or the test fails saying what to install.
pub fn program(name: &str, package: &str) -> PathBuf {
    let dirs = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin", "/sbin", "/bin"];
    let found = dirs.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: apt-get install {package}"))
}

/// A server process, ended with the value.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn start(mut command: Command, port: u16) -> Self {
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(began.elapsed() < LONG, "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// lighttpd with git http-backend: /git open, /locked with a login, /old without word of any newer
/// protocol, and the files themselves, as git's oldest servers have them. With `cert.pem` in the directory
/// it speaks TLS.
pub fn http_server(dir: &Path) -> Server {
    let lighttpd = program("lighttpd", "lighttpd");
    let exec = Command::new("git").arg("--exec-path").output().unwrap().stdout;
    let backend = Path::new(String::from_utf8(exec).unwrap().trim()).join("git-http-backend");
    assert!(backend.is_file(), "{} is missing: apt-get install git", backend.display());
    let (port, dir_text, backend) = (free_port(), dir.display(), backend.display());
    fs::write(dir.join("passwords"), "me:s3cret\n").unwrap();
    let old = dir.join("old-backend");
    fs::write(&old, format!("#!/bin/sh\nunset HTTP_GIT_PROTOCOL GIT_PROTOCOL\nexec {backend}\n")).unwrap();
    fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (tls_module, tls) = match dir.join("cert.pem").exists() {
        true => (
            ", \"mod_openssl\"",
            format!(
                "ssl.engine = \"enable\"\nssl.pemfile = \"{dir_text}/cert.pem\"\nssl.privkey = \"{dir_text}/cert.key\""
            ),
        ),
        false => ("", String::new()),
    };
    let config = format!(
        r#"server.modules = ("mod_access", "mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_cgi"{tls_module})
server.document-root = "{dir_text}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{dir_text}/lighttpd.log"
auth.backend = "plain"
auth.backend.plain.userfile = "{dir_text}/passwords"
{tls}
alias.url = ("/git" => "{backend}", "/locked" => "{backend}", "/old" => "{dir_text}/old-backend")
$HTTP["url"] =~ "^/old" {{
  cgi.assign = ("" => "")
  setenv.set-environment = ("GIT_PROJECT_ROOT" => "{dir_text}", "GIT_HTTP_EXPORT_ALL" => "", "HOME" => "{dir_text}")
}}
$HTTP["url"] =~ "^/(git|locked)" {{
  cgi.assign = ("" => "")
  setenv.set-environment = ("GIT_PROJECT_ROOT" => "{dir_text}", "GIT_HTTP_EXPORT_ALL" => "", "HOME" => "{dir_text}")
}}
$HTTP["url"] =~ "^/locked" {{
  auth.require = ("" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
}}
"#
    );
    fs::write(dir.join("lighttpd.conf"), config).unwrap();
    let mut command = Command::new(lighttpd);
    command.arg("-D").arg("-f").arg(dir.join("lighttpd.conf"));
    Server::start(command, port)
}

#[tokio::test]
async fn http_through_git_http_backend() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    Origin::new(&dir.path().join("empty.git"));
    let one = origin.commit("main", "one");
    origin.annotated("v1", one);
    let server = http_server(dir.path());
    let base = format!("http://127.0.0.1:{}", server.port);
    let url = format!("{base}/git/shop.git");
    let mirrors = Mirrors::new(&dir.path().join("mirrors"), b"key").unwrap();
    let tools = Tools { mirrors: mirrors.clone(), remotes: remotes(dir.path()) };

    let remote = ask(&url, LONG).await.unwrap();
    assert_eq!((remote.head, remote.refs.get(&tag("v1"))), (Some(head("main")), Some(&id(one))));
    assert_eq!(ask(&format!("{base}/git/empty.git"), LONG).await.unwrap().refs.len(), 0);
    for message in ["two", "three"] {
        let tip = origin.commit("main", message);
        let events = poll_once(&tools, &Address::open(&url), &[target("shop", &url, &["main"], &[])], LONG).await;
        let [Event::Polled { poll, .. }] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(poll.heads[0].commit.id, id(tip));
    }
    assert!(mirrors.open(&Address::open(&url)).unwrap().has(&id(one)));

    let gone = ask(&format!("{base}/git/none.git"), LONG).await.unwrap_err();
    assert!(matches!(gone, SourceError::Gone { .. }), "{gone}");
    let locked = ask(&format!("{base}/locked/shop.git"), LONG).await.unwrap_err();
    assert!(matches!(locked, SourceError::Refused { .. }), "{locked}");
    let (right, wrong) = (dir.path().join("right"), dir.path().join("wrong"));
    fs::create_dir(&right).unwrap();
    fs::create_dir(&wrong).unwrap();
    credential(&right, "shop", "me:s3cret\n");
    credential(&wrong, "shop", "me:wrong\n");
    let at = Address { url: format!("{base}/locked/shop.git"), credential: Some("shop".into()) };
    let (remote, _) = remotes(&right).ask(&at, &Scope::default(), LONG).await.unwrap();
    assert_eq!(remote.refs.len(), 2);
    let mirror = mirrors.open(&at).unwrap();
    remotes(&right).fetch(&at, mirror.path(), &[head("main")], LONG).await.unwrap();
    assert!(mirror.has(&id(one)));
    let refused = remotes(&wrong).ask(&at, &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(refused, SourceError::Refused { .. }) && !refused.to_string().contains("wrong"), "{refused}");
    let refused = remotes(&wrong).fetch(&at, mirror.path(), &[head("main")], LONG).await.unwrap_err();
    assert!(matches!(refused, SourceError::Refused { .. }), "{refused}");
    drop(server);
    let down = ask(&url, LONG).await.unwrap_err();
    assert!(matches!(down, SourceError::Unreachable { .. }), "{down}");
}

/// A real sshd on a port of its own, for this user and the key `mine`, and the same keys as credentials: `good`,
/// `strange` (a key that it does not know), `lost` (a client that does not know it).
pub struct Sshd {
    pub server: Server,
    pub dir: PathBuf,
    user: String,
}

impl Sshd {
    pub fn start(dir: &Path) -> Self {
        let (sshd, keygen) = (program("sshd", "openssh-server"), program("ssh-keygen", "openssh-client"));
        program("ssh", "openssh-client");
        let file = |name: &str| dir.join(name);
        for key in ["host", "mine", "strange"] {
            let mut command = Command::new(&keygen);
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(file(key));
            assert!(command.status().unwrap().success());
        }
        fs::copy(file("mine.pub"), file("authorized")).unwrap();
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\n",
            dir.display()
        );
        fs::write(file("sshd.conf"), config).unwrap();
        // Debian's sshd wants it; systemd makes it where sshd is a service.
        let _ = fs::create_dir_all("/run/sshd");
        let mut command = Command::new(sshd);
        command.arg("-D").arg("-E").arg(file("sshd.log")).arg("-f").arg(file("sshd.conf"));
        let server = Server::start(command, port);
        let host_key = fs::read_to_string(file("host.pub")).unwrap();
        fs::write(file("known"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        fs::write(file("unknown"), "").unwrap();
        fs::create_dir_all(file("credentials")).unwrap();
        for (name, key, known) in
            [("good", "mine", "known"), ("strange", "strange", "known"), ("lost", "mine", "unknown")]
        {
            let key = fs::read_to_string(file(key)).unwrap();
            credential(&file("credentials"), name, key.trim_end());
            fs::copy(file(known), file("credentials").join(format!("{name}.known_hosts"))).unwrap();
        }
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        Self { server, dir: dir.to_owned(), user: user.trim().to_owned() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("ssh://{}@127.0.0.1:{}{path}", self.user, self.server.port)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("sshd.log")).unwrap_or_default()
    }
}

#[tokio::test]
async fn ssh_through_sshd() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    let one = origin.commit("main", "one");
    let sshd = Sshd::start(dir.path());
    let url = sshd.url(&origin.url());
    let remotes = remotes(&dir.path().join("credentials"));
    let at = |url: &str, credential: &str| Address { url: url.to_owned(), credential: Some(credential.to_owned()) };
    let (all, good) = (Scope::default(), at(&url, "good"));
    let (remote, _) = remotes.ask(&good, &all, LONG).await.unwrap_or_else(|error| panic!("{error}\n{}", sshd.log()));
    assert_eq!(remote.refs.get(&head("main")), Some(&id(one)));
    let mirror = Mirrors::new(&dir.path().join("mirrors"), b"key").unwrap().open(&good).unwrap();
    remotes.fetch(&good, mirror.path(), &[head("main")], LONG).await.unwrap();
    assert!(mirror.has(&id(one)));

    let refused = remotes.ask(&at(&url, "strange"), &all, LONG).await.unwrap_err();
    assert!(matches!(refused, SourceError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("the credential strange"), "{refused}");
    let unknown = remotes.ask(&at(&url, "lost"), &all, LONG).await.unwrap_err();
    assert!(matches!(unknown, SourceError::HostKey { .. }), "{unknown}");
    let gone = remotes.ask(&at(&url.replace("shop", "none"), "good"), &all, LONG).await.unwrap_err();
    assert!(matches!(gone, SourceError::Gone { .. }), "{gone}");
    let none = remotes.ask(&at(&url, "none"), &all, LONG).await.unwrap_err();
    assert!(matches!(none, SourceError::Credential { .. }) && none.to_string().contains("is not there"), "{none}");
}

/// git's own daemon over the repositories of a directory; only those with `git-daemon-export-ok` in them.
fn git_daemon(dir: &Path) -> Server {
    let exec = Command::new("git").arg("--exec-path").output().unwrap().stdout;
    let daemon = Path::new(String::from_utf8(exec).unwrap().trim()).join("git-daemon");
    assert!(daemon.is_file(), "{} is missing: apt-get install git", daemon.display());
    let port = free_port();
    let mut command = Command::new(daemon);
    command.arg(format!("--base-path={}", dir.display())).arg(format!("--port={port}"));
    command.args(["--listen=127.0.0.1", "--reuseaddr"]).env("GIT_CONFIG_COUNT", "1");
    command.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    Server::start(command, port)
}

#[tokio::test]
async fn git_daemon_is_asked_and_fetched_from() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::new(&dir.path().join("shop.git"));
    Origin::new(&dir.path().join("hidden.git")).commit("main", "not for export");
    fs::write(origin.dir.join("git-daemon-export-ok"), "").unwrap();
    origin.annotated("v1", origin.commit("main", "one"));
    let server = git_daemon(dir.path());
    let base = format!("git://127.0.0.1:{}", server.port);
    let url = format!("{base}/shop.git");
    let tools =
        Tools { mirrors: Mirrors::new(&dir.path().join("mirrors"), b"key").unwrap(), remotes: remotes(dir.path()) };
    for message in ["two", "three"] {
        let tip = origin.commit("main", message);
        let events = poll_once(&tools, &Address::open(&url), &[target("shop", &url, &["main"], &[])], LONG).await;
        let [Event::Polled { poll, .. }] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(poll.heads[0].commit.id, id(tip));
    }
    let gone = ask(&format!("{base}/hidden.git"), LONG).await.unwrap_err();
    assert!(matches!(gone, SourceError::Gone { .. }), "{gone}");
    credential(dir.path(), "shop", "me:s3cret\n");
    let at = Address { url: url.clone(), credential: Some("shop".into()) };
    let refused = remotes(dir.path()).ask(&at, &Scope::default(), LONG).await.unwrap_err();
    assert!(matches!(refused, SourceError::Credential { .. }), "there is no login: {refused}");
    drop(server);
    let down = ask(&url, LONG).await.unwrap_err();
    assert!(matches!(down, SourceError::Unreachable { .. }), "{down}");
}

/// Writes a credential as an administrator would.
pub fn credential(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
    fs::set_permissions(dir.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
}

/// Accepts and says nothing, until the value is dropped.
pub fn silent() -> (TcpListener, u16) {
    silent_at("127.0.0.1")
}

pub fn silent_at(address: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Processes whose command line or environment has the text in it.
pub fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) && entry.file_name().to_string_lossy() != std::process::id().to_string() {
            found.push(line);
        }
    }
    found
}

/// They were told to end at once; the kernel may take a moment to carry it out.
async fn all_gone(port: u16) {
    let began = Instant::now();
    while !processes_with(&port.to_string()).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", processes_with(&port.to_string()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_never_answers_ends_at_the_deadline_with_all_its_processes() {
    let (_listener, port) = silent();
    for url in [format!("http://127.0.0.1:{port}/x.git"), format!("ssh://me@127.0.0.1:{port}/x.git")] {
        let at_least = if url.starts_with("ssh") { 2 } else { 0 };
        let (began, deadline) = (Instant::now(), Duration::from_secs(2));
        let watch = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            processes_with(&port.to_string()).len()
        };
        let (answer, running) = tokio::join!(ask(&url, deadline), watch);
        let took = began.elapsed();
        let error = answer.unwrap_err();
        assert!(matches!(error, SourceError::TimedOut { .. }), "{error}");
        assert!(error.to_string().contains("timed out after 2 s"), "{error}");
        assert!(took >= deadline && took < deadline + Duration::from_secs(10), "{took:?}");
        assert!(running >= at_least, "git and its helper were running: {running}");
        all_gone(port).await;
    }
}

#[tokio::test]
async fn a_hanging_fetch_ends_too_and_leaves_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (_listener, port) = silent();
    let url = format!("http://127.0.0.1:{port}/x.git");
    let mirror = Mirrors::new(dir.path(), b"key").unwrap().open(&Address::open(&url)).unwrap();
    let refs = [head("main")];
    let first = fetch(mirror.path(), &url, &refs, Duration::from_secs(1));
    // At most one at a time: the second waits for the first, then has what is left of its own deadline.
    let second = fetch(mirror.path(), &url, &refs, Duration::from_secs(1));
    let (first, second) = tokio::join!(first, second);
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(matches!(error, SourceError::TimedOut { .. }), "{error}");
    }
    all_gone(port).await;
}

#[tokio::test]
async fn nobody_waits_any_more_and_the_processes_are_gone() {
    let (_listener, port) = silent();
    let url = format!("ssh://me@127.0.0.1:{port}/x.git");
    let asking = tokio::spawn(async move { ask(&url, LONG).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!processes_with(&port.to_string()).is_empty());
    asking.abort();
    let _ = asking.await;
    all_gone(port).await;
}
