//! A real git server for the bench of sources (git http-backend behind lighttpd), its repositories, and a
//! wire on which bytes are counted.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shipbell::model::job::RefFilter;
use shipbell::source::Scope;

/// What a pipeline with `branches = "main"` asks for.
pub fn scope_of_main() -> Scope {
    Scope::of_filters([&RefFilter { branches: Some(vec!["main".into()]), tags: Vec::new() }])
}

pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/git/shop.git")
}

/// `shop.git` in a directory.
pub struct Origin(PathBuf);

impl Origin {
    /// One commit that so many refs name.
    pub fn new(dir: &Path, refs: usize) -> Self {
        let origin = Self::init(dir);
        origin.import(
            "commit refs/heads/main\ncommitter A <a@b> 1700000000 +0000\ndata 1\nx\nM 644 inline f\ndata 1\nx\n",
        );
        let tip = origin.git(&["rev-parse", "refs/heads/main"]);
        let mut text = format!("{tip} refs/heads/main\n");
        for number in 1..refs / 2 {
            let _ = writeln!(text, "{tip} refs/heads/topic/a-branch-of-usual-length-{number:05}");
        }
        for number in 0..refs / 2 {
            let _ = writeln!(text, "{tip} refs/tags/v{number:05}");
        }
        fs::write(origin.0.join("packed-refs"), text).expect("packed-refs");
        let _ = fs::remove_file(origin.0.join("refs/heads/main"));
        origin
    }

    /// Commits over files.
    pub fn large(dir: &Path, commits: usize, files: usize) -> Self {
        let origin = Self::init(dir);
        let mut text = String::new();
        for number in 0..commits {
            let at = 1_700_000_000 + number;
            let _ = writeln!(text, "commit refs/heads/main\ncommitter A <a@b> {at} +0000\ndata 1\nx");
            let touched = if number == 0 { 0..files } else { number % files..number % files + 1 };
            for file in touched {
                let body = format!("{file} {number}\n").repeat(40);
                let _ = writeln!(text, "M 644 inline d{}/f{file}\ndata {}\n{body}", file % 50, body.len());
            }
        }
        origin.import(&text);
        origin
    }

    fn init(dir: &Path) -> Self {
        let origin = Self(dir.join("shop.git"));
        let status = Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&origin.0).status();
        assert!(status.expect("git init").success());
        origin
    }

    /// One more commit on main.
    pub fn commit(&self, number: usize) {
        let tip = self.git(&["rev-parse", "refs/heads/main"]);
        self.import(&format!(
            "commit refs/heads/main\ncommitter A <a@b> 1800000000 +0000\ndata 1\nx\nfrom {tip}\nM 644 inline new\ndata 5\n{number:05}\n"
        ));
    }

    pub fn tip(&self) -> String {
        self.git(&["rev-parse", "refs/heads/main"])
    }

    fn import(&self, text: &str) {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.0).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("git fast-import");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success());
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git").arg("--git-dir").arg(&self.0).args(arguments).output().expect("git");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// lighttpd over the repositories of a directory, below /git.
    pub fn start(dir: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let exec = Command::new("git").arg("--exec-path").output().expect("git").stdout;
        let backend = Path::new(String::from_utf8_lossy(&exec).trim()).join("git-http-backend");
        let (dir_text, backend) = (dir.display(), backend.display());
        let config = format!(
            "server.modules = (\"mod_alias\", \"mod_setenv\", \"mod_cgi\")\nserver.document-root = \"{dir_text}\"\n\
             server.bind = \"127.0.0.1\"\nserver.port = {port}\nserver.errorlog = \"{dir_text}/lighttpd.log\"\n\
             server.max-keep-alive-idle = 120\nserver.max-keep-alive-requests = 100000\n\
             alias.url = (\"/git\" => \"{backend}\")\ncgi.assign = (\"\" => \"\")\n\
             setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"{dir_text}\", \"GIT_HTTP_EXPORT_ALL\" => \"\", \
             \"HOME\" => \"{dir_text}\")\n"
        );
        fs::write(dir.join("lighttpd.conf"), config).expect("a configuration");
        let program = ["/usr/sbin/lighttpd", "/usr/bin/lighttpd"].into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new(program.expect("lighttpd is missing: apt-get install lighttpd"));
        let child = command.arg("-D").arg("-f").arg(dir.join("lighttpd.conf")).stdin(Stdio::null()).spawn();
        let server = Self { child: child.expect("lighttpd"), port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes everything on to a port and counts it, both ways.
pub fn counted(port: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (own, count) = (listener.local_addr().expect("an address").port(), Arc::new(AtomicU64::new(0)));
    let bytes = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let ends = (stream.try_clone(), server.try_clone());
            let (Ok(stream_too), Ok(server_too)) = ends else { return };
            for (mut from, mut to) in [(stream_too, server_too), (server, stream)] {
                let bytes = bytes.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0; 64 << 10];
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
