//! Where the demo is played: a directory with a repository, shipbell.toml and one job file, and the real
//! daemon as a child. Everything that was put there is taken away again.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::layout::Layout;
use crate::model::commit::{CommitId, RefName};
use crate::model::job::hex;
use crate::source::{Author, Seed};
use crate::sys::group::{Word, tell};
use crate::sys::host::{effective_uid, user_name_of};

use super::super::client::Client;
use super::super::exit::{Failure, USAGE};

const MAKEFILE: &str = include_str!("shop/Makefile");
const INIT_CONFIG: &str = include_str!("shop/init_config.json");
const JOB_FILE: &str = include_str!("shop/shop.toml");
const PRICES: &str = include_str!("shop/prices.txt");
const BROKEN_PRICES: &str = include_str!("shop/prices-broken.txt");

/// How long the daemon has to end when asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of the story.
pub(super) struct Stage {
    pub root: PathBuf,
    pub layout: Layout,
    pub client: Client,
    /// `http://127.0.0.1:PORT`
    pub page: String,
    /// Made by us under a name of our own, so it is ours to remove.
    temporary: bool,
    seed: Seed,
    daemon: Option<Child>,
    /// The reader ended the story: then the daemon's last words explain nothing.
    ended_by_reader: bool,
}

impl Stage {
    /// Writes everything that is there before the daemon starts.
    pub fn set(root: Option<PathBuf>) -> Result<Self, Failure> {
        let temporary = root.is_none();
        let root = match root {
            Some(root) => named(&root)?,
            None => made().map_err(|error| Failure::other(format!("cannot make a temporary directory: {error}")))?,
        };
        let set = Self::fill(&root, temporary);
        if set.is_err() && temporary {
            let _ = fs::remove_dir_all(&root);
        }
        set
    }

    fn fill(root: &Path, temporary: bool) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::other(format!("cannot write below {}: {error}", root.display()));
        let layout = Layout::new(Some(root));
        let text = root.to_str().filter(|text| !text.chars().any(|c| c.is_control() || "\"\\'$`".contains(c)));
        let text = text.ok_or_else(|| {
            Failure::new(
                USAGE,
                "the directory's name has characters that a job file must quote; choose a plainer --root",
            )
        })?;
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(cannot)?;
        let settings =
            SETTINGS.replace("ADDRESS", &address.to_string()).replace("LOGIN", &user_name_of(effective_uid()));
        layout.create().map_err(cannot)?;
        write(&layout.shipbell_toml(), &settings).map_err(cannot)?;
        write(&layout.config_dir.join("jobs.d/shop.toml"), &JOB_FILE.replace("ROOT", text)).map_err(cannot)?;
        for environment in ["staging", "production"] {
            fs::create_dir_all(root.join(environment)).map_err(cannot)?;
        }
        let seed = Seed::new(&root.join("shop.git")).map_err(|error| Failure::other(error.to_string()))?;
        let client = Client::new(&layout);
        let (root, page) = (root.to_owned(), format!("http://{address}"));
        Ok(Self { root, client, page, temporary, seed, daemon: None, layout, ended_by_reader: false })
    }

    /// Starts the daemon: this very program, as `shipbell --root DIR daemon`.
    pub fn start(&mut self) -> Result<(), Failure> {
        let cannot = |error: io::Error| Failure::other(format!("cannot start the daemon: {error}"));
        let log = fs::File::create(self.daemon_log()).map_err(cannot)?;
        let binary = std::env::current_exe().map_err(cannot)?;
        let mut command = Command::new(binary);
        command.arg("--root").arg(&self.root).arg("daemon");
        // A group of its own: Ctrl-C is ours to hear, and the daemon is ended in order.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        self.daemon = Some(command.spawn().map_err(cannot)?);
        Ok(())
    }

    /// Whether the daemon has ended by itself.
    pub fn daemon_is_gone(&mut self) -> bool {
        self.daemon.as_mut().is_none_or(|daemon| !matches!(daemon.try_wait(), Ok(None)))
    }

    fn daemon_log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    /// The story ends because the reader wanted so.
    pub fn nothing_went_wrong(&mut self) {
        self.ended_by_reader = true;
    }

    /// Whether the directory is still there afterwards.
    pub fn is_kept(&self, keep: bool) -> bool {
        keep || !self.temporary
    }

    /// The end of what the daemon said, for a story that did not come true.
    pub fn last_words(&self) -> String {
        if self.ended_by_reader {
            return String::new();
        }
        let text =
            fs::read(self.daemon_log()).map(|bytes| crate::report::display::plain_bytes(&bytes)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let (_, last) = lines.split_at(lines.len().saturating_sub(12));
        if last.is_empty() {
            String::new()
        } else {
            format!("\n  the daemon's last words:\n    {}", last.join("\n    "))
        }
    }

    /// The good commit.
    pub fn push_good(&self) -> Result<CommitId, Failure> {
        self.push(GOOD, PRICES)
    }

    /// The one that the tests must stop.
    pub fn push_broken(&self) -> Result<CommitId, Failure> {
        self.push(BROKEN, BROKEN_PRICES)
    }

    fn push(&self, message: &str, prices: &str) -> Result<CommitId, Failure> {
        let main = RefName::branch("main").map_err(|error| Failure::other(error.to_string()))?;
        let files = [("Makefile", MAKEFILE), ("init_config.json", INIT_CONFIG), ("prices.txt", prices)];
        let author = Author { name: "Chen", mail: "chen@example.org" };
        let pushed = self.seed.commit(&main, message, author, clock::now(), &files);
        pushed.map_err(|error| Failure::other(error.to_string()))
    }

    /// What an environment serves.
    pub fn served(&self, environment: &str) -> String {
        fs::read_to_string(self.root.join(environment).join("index.html")).unwrap_or_default()
    }

    /// Ends the daemon and removes the directory, unless it is to be kept. What was done, in words.
    pub async fn clear(mut self, keep: bool) -> Result<String, Failure> {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = tell(daemon.id(), Word::End);
            let until = Instant::now() + PATIENCE;
            while matches!(daemon.try_wait(), Ok(None)) {
                if Instant::now() > until {
                    let _ = tell(daemon.id(), Word::EndNow);
                    let _ = daemon.wait();
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let root = self.root.display();
        if self.is_kept(keep) {
            return Ok(format!(
                "\nThe daemon is ended; everything is still in {root}\n  again: shipbell --root {root} daemon\n"
            ));
        }
        // A supervisor may still be writing its last line.
        let mut removed = fs::remove_dir_all(&self.root);
        for _ in 0..50 {
            if removed.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            removed = fs::remove_dir_all(&self.root);
        }
        match removed {
            Ok(()) => {
                Ok("\nThe daemon is ended and the directory removed.\nTo look around: shipbell demo --keep\n".into())
            }
            Err(error) => Err(Failure::other(format!("cannot remove {root}: {error}"))),
        }
    }
}

pub(super) const GOOD: &str = "Open the shop";
pub(super) const BROKEN: &str = "Cheaper bread";

const SETTINGS: &str = "\
# Written by `shipbell demo`.
listen = \"ADDRESS\"

[mail]
from = \"Shipbell <shipbell@example.org>\"
to = \"you@example.org\"              # who hears of failures
transport = \"file\"                  # a mail is a file in var/lib/shipbell/db/mail

[person.you]
email = \"you@example.org\"
login = \"LOGIN\"                     # so that `shipbell approve` knows you
";

fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    // Whatever the umask: a job file that others may write is refused.
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// A directory that the reader named: new or empty, so that nothing of theirs is touched.
fn named(root: &Path) -> Result<PathBuf, Failure> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    match fs::read_dir(&root).map(|mut entries| entries.next().is_some()) {
        Ok(true) => {
            Err(Failure::new(USAGE, format!("{} is not empty; the demo wants a directory of its own", root.display())))
        }
        Ok(false) => Ok(root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&root)
                .map_err(|error| Failure::other(format!("cannot make {}: {error}", root.display())))?;
            Ok(root)
        }
        Err(error) => Err(Failure::other(format!("cannot use {}: {error}", root.display()))),
    }
}

/// A new directory below `$TMPDIR`, under a name that nobody else has. Jobs pass through it.
fn made() -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut random = [0_u8; 5];
    getrandom::fill(&mut random).map_err(|_| io::ErrorKind::Other)?;
    let root = std::env::temp_dir().join(format!("shipbell-demo-{}", hex(&random)));
    fs::DirBuilder::new().mode(0o755).create(&root)?;
    root.canonicalize()
}
