//! `shipbell executor`: the privileged half in a process of its own. It reads root's job files itself, at
//! its start and whenever the daemon says that they changed, and answers on its socket. Nothing about
//! jobs is decided here, and nothing but the socket is listened to.

use std::os::unix::net::UnixListener;
use std::sync::Mutex;

use sd_notify::NotifyState;
use tracing::{error, info};

use crate::config::{Loader, Trust};
use crate::daemon::{Failure, Options, boot, reload};
use crate::executor::Executor;
use crate::executor::server::{self, Server};
use crate::sys::{host, memory, socket};

/// As whom the daemon asks, where it is installed.
const DAEMON: &str = "shipbell";

/// Runs until it is told to stop; gives the exit code. Runs are not touched by its end.
#[must_use]
pub fn main(options: Options) -> u8 {
    // A thread for each question.
    memory::share();
    super::logging::to_standard_error();
    match run(options) {
        Ok(()) => 0,
        Err(failure) => {
            error!("{failure}");
            failure.exit_code()
        }
    }
}

fn run(mut options: Options) -> Result<(), Failure> {
    // What the daemon's user may write is not followed here.
    options.trust = Trust { owners: vec![host::effective_uid()] };
    let layout = options.layout.clone();
    let listener = match socket::inherited_listener() {
        Some(listener) => listener,
        None => listen(&layout.executor_socket())?,
    };
    let here = boot::here(&options).map_err(Failure::io("cannot make the executor"))?;
    let executor = Executor::from(here.clone());
    let loader = Mutex::new(Loader::default());
    let loaded = reload::load(&options, &executor, &loader);
    info!("ready: {} pipelines, {} broken files", loaded.catalog.pipelines.len(), reload::broken(&loaded));
    let allowed = [Some(0), Some(host::effective_uid()), host::account_named(DAEMON).map(|account| account.uid)];
    let server = Server {
        here,
        allowed: allowed.into_iter().flatten().collect(),
        reload: Box::new(move || {
            let loaded = reload::load(&options, &executor, &loader);
            info!("reloaded: {} pipelines, {} broken files", loaded.catalog.pipelines.len(), reload::broken(&loaded));
            Ok(())
        }),
    };
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    server::serve(&listener, server).map_err(Failure::io("nobody can ask any more"))
}

/// Without systemd the socket is ours to make. One that is still there is a dead executor's.
fn listen(path: &std::path::Path) -> Result<UnixListener, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let at = |what: &str| Failure::io(format!("cannot {what} {}", path.display()));
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at("replace")(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(at("listen on"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(at("set the mode of"))?;
    Ok(listener)
}
