//! The shell around the core: boots, loops (drain, decide, commit, perform) and stops. It decides
//! nothing about jobs; `pipeline` does.

pub mod apart;
mod boot;
mod chores;
mod damaged;
mod follow;
mod logging;
mod perform;
mod prune;
mod reload;
mod turns;

pub use boot::uses_units;

use std::path::PathBuf;

use crate::config::Trust;
use crate::config::layout::Layout;
use crate::store::OpenError;

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Options {
    pub layout: Layout,
    /// Who may own job files.
    pub trust: Trust,
    /// The program that supervisors are started from: this one.
    pub binary: PathBuf,
}

/// Why the daemon did not start or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("another shipbell daemon is running here: it holds {}\nstop that one first, or give this one another --root", .0.display())]
    Locked(PathBuf),
    #[error("{0}")]
    Database(#[from] OpenError),
    /// What it recorded may not be there: the next start reads what is.
    #[error("{0}\nnothing more is started, and this daemon ends; runs go on")]
    Lost(String),
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The exit code by sysexits.h: 74 the disk, 75 try again later, 77 not permitted, 78 configuration, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Locked(_) => 75,
            Self::Database(OpenError::Disk { .. }) | Self::Lost(_) => 74,
            Self::Database(_) => 78,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => 77,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => 75,
            Self::Io { .. } | Self::Other(_) => 1,
        }
    }

    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs the daemon until it is told to stop. Running jobs are not touched by its end.
///
/// # Errors
/// If it cannot start, or the database cannot be read any more.
pub async fn run(options: Options) -> Result<(), Failure> {
    let mut daemon = match boot::boot(options.clone()).await {
        Err(Failure::Database(damaged @ OpenError::Damaged { .. })) => {
            return damaged::stand_by(&options, &damaged).await;
        }
        booted => booted?,
    };
    let result = daemon.turns().await;
    daemon.farewell();
    daemon.poller.sites().tools.remotes.end_links().await;
    result
}

/// `shipbell daemon`: logs, runs, and gives the exit code.
#[must_use]
pub fn main(options: Options) -> u8 {
    // Steps read mirrors; what is private has a directory that is.
    crate::sys::process::make_readable_files();
    // What is wrong with the directories is told by the boot, which makes them all.
    let _ = std::fs::create_dir_all(&options.layout.log_dir);
    let guard = match logging::start(&options.layout.log_dir) {
        Ok(guard) => guard,
        Err(trouble) => {
            tracing::warn!("{trouble}");
            None
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot begin: {error}");
            return 1;
        }
    };
    let code = match runtime.block_on(run(options)) {
        Ok(()) => 0,
        Err(failure) => {
            tracing::error!("{failure}");
            failure.exit_code()
        }
    };
    // Threads that watch or wait for something do not hold the end up; runs are not ours to wait for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    drop(guard);
    code
}
