//! Where everything lies: fixed paths of the file system hierarchy, systemd's `$STATE_DIRECTORY` and
//! friends before them, or all of it below `--root DIR`. What is in the files is decided elsewhere.

use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directories of one Shipbell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `/etc/shipbell`
    pub config_dir: PathBuf,
    /// `/var/lib/shipbell/db`: the daemon's own.
    pub state_dir: PathBuf,
    /// `/var/lib/shipbell/runs`
    pub runs_dir: PathBuf,
    /// `/var/lib/shipbell/executor`
    pub executor_dir: PathBuf,
    /// `/var/cache/shipbell`: can be made anew.
    pub cache_dir: PathBuf,
    /// `/var/log/shipbell`
    pub log_dir: PathBuf,
    /// `/run/shipbell`
    pub runtime_dir: PathBuf,
    /// Where an executor answers that is a process of its own, if there is to be one.
    pub executor: Option<PathBuf>,
    /// What `--root` named.
    pub root: Option<PathBuf>,
}

impl Layout {
    /// The layout of this process: below `root` where one is given, else as systemd's variables say.
    #[must_use]
    pub fn new(root: Option<&Path>) -> Self {
        Self::from_variables(root, |name| std::env::var_os(name))
    }

    fn from_variables(root: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let base = root.unwrap_or(Path::new("/"));
        // Steps and crontabs change directory, so a relative root is made absolute once, here.
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        // A root that is named means that root and nothing else, whatever the unit has set.
        let listed = |name: &str| match root {
            Some(_) => Vec::new(),
            None => variable(name).map(|list| absolute_paths(&list)).unwrap_or_default(),
        };
        let first = |name: &str, default: &str| listed(name).into_iter().next().unwrap_or_else(|| base.join(default));
        // A unit with StateDirectory=shipbell/db shipbell/runs shipbell/executor names all three.
        let state = listed("STATE_DIRECTORY");
        let of_state = |name: &str| {
            state
                .iter()
                .find(|path| path.ends_with(name))
                .cloned()
                .unwrap_or_else(|| base.join("var/lib/shipbell").join(name))
        };
        // The executor's unit names other directories than the daemon's.
        let cache = listed("CACHE_DIRECTORY").into_iter().next();
        let cache_dir = cache.map_or_else(|| base.join("var/cache/shipbell"), above_part);
        Self {
            config_dir: first("CONFIGURATION_DIRECTORY", "etc/shipbell"),
            state_dir: of_state("db"),
            runs_dir: of_state("runs"),
            executor_dir: of_state("executor"),
            cache_dir,
            log_dir: first("LOGS_DIRECTORY", "var/log/shipbell"),
            runtime_dir: first("RUNTIME_DIRECTORY", "run/shipbell"),
            executor: listed("SHIPBELL_EXECUTOR").into_iter().next(),
            root: root.map(|_| base.clone()),
        }
    }

    #[must_use]
    pub fn shipbell_toml(&self) -> PathBuf {
        self.config_dir.join("shipbell.toml")
    }

    /// Where job files are looked for; of two files with one name the earlier directory's counts.
    #[must_use]
    pub fn jobs_dirs(&self) -> Vec<PathBuf> {
        let base = self.root.as_deref().unwrap_or(Path::new("/"));
        vec![
            self.config_dir.join("jobs.d"),
            self.runtime_dir.join("jobs.d"),
            base.join("usr/local/lib/shipbell/jobs.d"),
            base.join("usr/lib/shipbell/jobs.d"),
        ]
    }

    /// What the daemon itself needs to log in somewhere.
    #[must_use]
    pub fn credentials(&self) -> PathBuf {
        self.config_dir.join("credentials")
    }

    /// What runs need; never readable by the daemon.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.config_dir.join("secrets")
    }

    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("shipbell.db")
    }

    /// Held by the one daemon of this layout.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state_dir.join("lock")
    }

    /// Where `transport = "file"` puts mail.
    #[must_use]
    pub fn mail_dir(&self) -> PathBuf {
        self.state_dir.join("mail")
    }

    /// Sockets of the connections over ssh that are kept.
    #[must_use]
    pub fn ssh_links(&self) -> PathBuf {
        self.runtime_dir.join("ssh")
    }

    #[must_use]
    pub fn last_good(&self) -> PathBuf {
        self.executor_dir.join("last-good")
    }

    #[must_use]
    pub fn mirrors(&self) -> PathBuf {
        self.cache_dir.join("mirrors")
    }

    /// Kept `HOME`s, one per pipeline and user.
    #[must_use]
    pub fn homes(&self) -> PathBuf {
        self.cache_dir.join("homes")
    }

    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.runtime_dir.join("control.sock")
    }

    /// Where an executor listens that nobody gave a socket.
    #[must_use]
    pub fn executor_socket(&self) -> PathBuf {
        let base = self.root.as_deref().unwrap_or(Path::new("/"));
        self.executor.clone().unwrap_or_else(|| base.join("run/shipbell-executor.sock"))
    }

    /// Makes what is missing. What is there keeps its mode: it may be an administrator's choice. What is
    /// an executor's that is a process of its own is for that to make.
    ///
    /// # Errors
    /// If a directory can neither be found nor made.
    pub fn create(&self) -> io::Result<()> {
        let executors = [
            (self.config_dir.join("jobs.d"), 0o755),
            // Steps pass through these to their own directory, and cannot list the others'.
            (self.runs_dir.clone(), 0o711),
            (self.homes(), 0o711),
            (self.executor_dir.clone(), 0o700),
            (self.last_good(), 0o700),
        ];
        let own = [
            (self.state_dir.clone(), 0o750),
            (self.mirrors(), 0o711),
            (self.log_dir.clone(), 0o750),
            // Whoever may speak to the daemon is the control socket's mode to say.
            (self.runtime_dir.clone(), 0o755),
        ];
        for (path, mode) in executors.into_iter().filter(|_| self.executor.is_none()).chain(own) {
            make_dir(&path, mode)
                .map_err(|error| io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display())))?;
        }
        Ok(())
    }
}

/// Makes `path` with exactly `mode`, whatever the umask; missing parents get 0755.
fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dir(parent, 0o755)?;
    }
    // Narrow first: between these two calls nobody else gets in.
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A unit may have a part of the cache for its own.
fn above_part(path: PathBuf) -> PathBuf {
    match path.parent() {
        Some(above) if path.ends_with("mirrors") || path.ends_with("homes") => above.to_owned(),
        _ => path,
    }
}

/// systemd separates several directories by colons, and all are absolute.
fn absolute_paths(list: &OsString) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|path| path.is_absolute()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_moves_everything_and_systemd_wins_only_without_one() {
        let variables = |name: &str| match name {
            "STATE_DIRECTORY" => Some("/srv/sb/db:/srv/sb/runs".into()),
            "RUNTIME_DIRECTORY" => Some("/run/sb".into()),
            "CACHE_DIRECTORY" => Some("relative".into()),
            _ => None,
        };
        let unit = Layout::from_variables(None, variables);
        assert_eq!(unit.database(), Path::new("/srv/sb/db/shipbell.db"));
        assert_eq!(unit.runs_dir, Path::new("/srv/sb/runs"));
        assert_eq!(unit.executor_dir, Path::new("/var/lib/shipbell/executor"));
        assert_eq!(unit.cache_dir, Path::new("/var/cache/shipbell"));
        assert_eq!(unit.control_socket(), Path::new("/run/sb/control.sock"));
        let part = |name: &str| (name == "CACHE_DIRECTORY").then(|| "/var/cache/sb/mirrors".into());
        assert_eq!(Layout::from_variables(None, part).mirrors(), Path::new("/var/cache/sb/mirrors"));
        let root = Layout::from_variables(Some(Path::new("/tmp/x")), variables);
        assert_eq!(root.database(), Path::new("/tmp/x/var/lib/shipbell/db/shipbell.db"));
        assert_eq!(root.control_socket(), Path::new("/tmp/x/run/shipbell/control.sock"));
        assert!(root.jobs_dirs().iter().all(|dir| dir.starts_with("/tmp/x")));
    }

    #[test]
    fn directories_are_made_with_their_modes_and_kept_with_others() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout::new(Some(temp.path()));
        layout.create().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&layout.mirrors()), 0o711);
        assert_eq!(mode(&layout.executor_dir), 0o700);
        assert_eq!(mode(layout.runs_dir.parent().unwrap()), 0o755);
        std::fs::set_permissions(&layout.runs_dir, Permissions::from_mode(0o700)).unwrap();
        layout.create().unwrap();
        assert_eq!(mode(&layout.runs_dir), 0o700);
    }
}
