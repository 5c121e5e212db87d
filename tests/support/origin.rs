//! A repository to poll: bare, written by the git binary, with any number of commits and tags.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files of one commit: path, text, and whether it can be run.
pub type Files<'a> = &'a [(&'a str, &'a str)];

const ANN: &str = "Ann Author <ann@example.org>";

pub struct Origin {
    pub dir: PathBuf,
    /// Who writes the next commits, as git has it.
    pub author: String,
    seconds: u64,
}

impl Origin {
    pub fn new(dir: &Path) -> Self {
        let origin = Self { dir: dir.to_owned(), author: ANN.to_owned(), seconds: 1_700_000_000 };
        std::fs::create_dir_all(dir).expect("a directory for the repository");
        origin.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        origin
    }

    pub fn url(&self) -> &str {
        self.dir.to_str().expect("temporary directories are UTF-8")
    }

    /// Runs git in the repository, without any configuration of this host; what it printed.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut git = self.command(arguments);
        let output = git.output().expect("git is there (tests/needs.txt)");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {}\n{err}", output.status);
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(&self.dir);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
        git
    }

    /// A commit on top of a branch: these files are put beside what it has. Its full hash.
    pub fn commit(&mut self, branch: &str, message: &str, files: Files<'_>) -> String {
        self.commits(branch, &[(message, files)])
    }

    /// Several at once, oldest first, in one go of `git fast-import`: thousands take a second.
    pub fn commits(&mut self, branch: &str, commits: &[(&str, Files<'_>)]) -> String {
        let tip = format!("refs/heads/{branch}");
        let has_tip = self.command(&["rev-parse", "--verify", "--quiet", &tip]).output().expect("git");
        let mut stream = String::new();
        for (number, (message, files)) in commits.iter().enumerate() {
            self.seconds += 60;
            stream += &format!("commit {tip}\nauthor {} {} +0000\n", self.author, self.seconds);
            stream += &format!("committer {ANN} {} +0000\n", self.seconds);
            stream += &format!("data {}\n{message}\n", message.len());
            if number == 0 && has_tip.status.success() {
                stream += &format!("from {tip}^0\n");
            }
            for (path, text) in *files {
                let mode = if text.starts_with("#!") { "100755" } else { "100644" };
                stream += &format!("M {mode} inline {path}\ndata {}\n{text}\n", text.len());
            }
        }
        let mut import = self.command(&["fast-import", "--quiet", "--force"]);
        let mut import = import.stdin(Stdio::piped()).spawn().expect("git fast-import");
        import.stdin.take().expect("its input").write_all(stream.as_bytes()).expect("git takes the commits");
        assert!(import.wait().expect("git fast-import ends").success(), "git fast-import refused:\n{stream}");
        self.head(branch)
    }

    /// An annotated tag on a commit.
    pub fn tag(&self, name: &str, commit: &str) {
        let who = ["-c", "user.name=Ann Author", "-c", "user.email=ann@example.org"];
        self.git(&[&who[..], &["tag", "-a", "-m", name, name, commit]].concat());
    }

    /// Moves a branch, also back: a force-push.
    pub fn point(&self, branch: &str, commit: &str) {
        self.git(&["update-ref", &format!("refs/heads/{branch}"), commit]);
    }

    pub fn head(&self, branch: &str) -> String {
        self.git(&["rev-parse", &format!("refs/heads/{branch}")])
    }
}
