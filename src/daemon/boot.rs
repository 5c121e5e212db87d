//! From nothing to a daemon that is ready: directories, lock, database, configuration, sockets, tasks.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::layout::Layout;
use crate::config::{Loader, Trust};
use crate::credentials::Credentials;
use crate::daemon::turns::Daemon;
use crate::daemon::{Failure, Options, follow, reload};
use crate::executor::{Bounds, Dirs, Executor, Here};
use crate::http;
use crate::inbox::{Inbox, inbox};
use crate::model::catalog::Settings;
use crate::model::event::Event;
use crate::pipeline::world::World;
use crate::report::facts::ReadLog;
use crate::report::token::Keys;
use crate::source::{Mirrors, Poller, PollerHandle, Remotes, Target, Tools};
use crate::store::Store;
use crate::sys::cgroup::{DAEMON, Site};
use crate::sys::{host, lock::Lock};
use crate::web::Client;

pub(super) async fn boot(mut options: Options) -> Result<Daemon, Failure> {
    let layout = options.layout.clone();
    let loader = Arc::new(Mutex::new(loader(&mut options)));
    layout.create().map_err(Failure::io(format!("cannot make the directories of {}", layout.state_dir.display())))?;
    let lock = Lock::take(&layout.lock()).map_err(Failure::io(format!("cannot lock {}", layout.lock().display())))?;
    let Some(lock) = lock else { return Err(Failure::Locked(layout.lock())) };
    let store = Store::open(&layout.database())?;
    let reader = store.reader().map_err(|error| Failure::Other(error.to_string()))?;
    let mut world = store.load().map_err(|error| Failure::Other(error.to_string()))?;

    let executor = executor(&options).map_err(Failure::io("cannot make the executor"))?;
    count_from_directories(&mut world, &executor).map_err(Failure::io("cannot list the run directories"))?;
    let mut loaded = reload::load(&options, &executor, &loader);
    let broken = reload::broken(&loaded);
    let keys = keys(&layout)?;
    let mirrors = Mirrors::new(&layout.mirrors(), world.nonce.as_bytes());
    let mirrors = mirrors.map_err(Failure::io("cannot make the mirrors' directory"))?;
    let boot_id = host::boot_id().map_err(Failure::io("cannot read the boot id"))?;

    let (inbox, messages) = inbox();
    let (targets, seen_targets) = watch::channel(Arc::new(Vec::new()));
    let web = Client::new();
    let poller = poller(&mirrors, &web, &layout, seen_targets, &inbox);
    let (running, follows) = mpsc::unbounded_channel();
    tokio::spawn(follow::follow(executor.clone(), inbox.clone(), boot_id.clone(), follows));

    let (pages, control, address) = listen(&layout, &loaded.catalog.settings.listen).await?;
    reload::name_address(&mut loaded.catalog, &address);
    world.scratch.catalog = Arc::new(loaded.catalog);
    let (stop, stopped) = watch::channel(false);
    let app = http::App {
        inbox: inbox.clone(),
        reader: reader.clone(),
        keys: keys.clone(),
        read_log: read_log(&executor),
        log_times: log_times(&executor),
        take_code: take_code(&executor),
        credentials: Credentials::new(&layout.credentials()),
        site: site(&world.scratch.catalog.settings, &address, &layout),
        sites: poller.sites().clone(),
    };
    serve(pages, control, app, stopped);
    signals(&inbox)?;
    let chores = chores(&inbox).await;
    Ok(Daemon {
        options,
        store,
        reader,
        world,
        executor,
        loader,
        mirrors,
        keys,
        web,
        inbox,
        messages,
        poller,
        targets,
        running,
        boot_id,
        broken,
        address,
        stop,
        pruning: Arc::default(),
        told: (String::new(), crate::clock::now()),
        backlog: Vec::new(),
        _lock: lock,
        _chores: chores,
    })
}

/// With an executor that is apart the last good versions are kept by that, and what it does not follow is
/// not followed here either.
fn loader(options: &mut Options) -> Loader {
    if options.layout.executor.is_none() {
        return Loader::default();
    }
    options.trust = Trust { owners: vec![0] };
    Loader::reading_only()
}

fn site(settings: &Settings, address: &str, layout: &Layout) -> Arc<http::Site> {
    let mut site = http::Site::new(&settings.public_url(), address, &host::hostname(), crate::clock::now());
    site.units = uses_units(layout);
    site.executor_apart = layout.executor.is_some();
    Arc::new(site)
}

fn keys(layout: &Layout) -> Result<Arc<Keys>, Failure> {
    let keys = Keys::load_or_create(&layout.credentials(), &layout.state_dir);
    keys.map(Arc::new).map_err(|error| Failure::Other(error.to_string()))
}

/// Runs without a unit are held by control groups beside our own process, where the host lets us make
/// any. A service stays where systemd put it, or it could not be started again while a run goes on.
fn make_room() {
    let site = Site::find();
    if !site.is_service()
        && let Err(error) = site.settle(DAEMON)
    {
        warn!("limits of jobs may not hold: no control group could be made for this process: {error}");
    }
}

/// Whether runs are units here. An executor that is apart is root's.
#[must_use]
pub fn uses_units(layout: &Layout) -> bool {
    let privileged = layout.executor.is_some() || host::effective_uid() == 0;
    layout.root.is_none() && privileged && host::is_run_by_systemd()
}

/// The executor that the unit names, and only that one; else one in this process.
fn executor(options: &Options) -> std::io::Result<Executor> {
    match &options.layout.executor {
        Some(socket) => Ok(Executor::apart(&options.layout.runs_dir, socket)),
        None => here(options).map(Executor::from),
    }
}

/// Every run a unit of its own, where systemd runs this host and we are root's. Below a `--root` there
/// may be several Shipbells, whose units would have the same names.
pub(super) fn here(options: &Options) -> std::io::Result<Here> {
    let layout = &options.layout;
    let dirs = Dirs {
        runs: layout.runs_dir.clone(),
        own: layout.executor_dir.clone(),
        homes: layout.homes(),
        secrets: layout.secrets(),
        binary: options.binary.clone(),
    };
    if !uses_units(layout) {
        make_room();
        return Here::new(dirs);
    }
    let hidden = vec![layout.secrets(), layout.credentials()];
    let bounds = Bounds { mirrors: layout.mirrors(), state: layout.state_dir.clone(), hidden };
    Here::with_units(dirs, bounds)
}

/// Numbers are never reused, also not after an older database was put back: directories of runs that
/// it does not know stand where they stood.
fn count_from_directories(world: &mut World, executor: &Executor) -> std::io::Result<()> {
    for (run, _attempt) in executor.list()? {
        let last = world.numbers.entry(run.job).or_default();
        *last = (*last).max(run.number);
    }
    Ok(())
}

/// What is seen goes to the inbox in the order in which it was seen; the poller waits for nobody.
fn poller(
    mirrors: &Mirrors,
    web: &Client,
    layout: &Layout,
    targets: watch::Receiver<Arc<Vec<Target>>>,
    inbox: &Inbox,
) -> PollerHandle {
    let remotes = Remotes::new(web.clone(), Credentials::new(&layout.credentials()));
    let remotes = remotes.with_links(&layout.ssh_links()).unwrap_or_else(|error| {
        warn!("connections over ssh are not kept: {error}");
        remotes
    });
    let tools = Tools { mirrors: mirrors.clone(), remotes };
    let (seen, mut told) = mpsc::unbounded_channel();
    let inbox = inbox.clone();
    tokio::spawn(async move {
        while let Some(event) = told.recv().await {
            inbox.tell(event).await;
        }
    });
    Poller::start(tools, targets, move |event: Event| {
        let _ = seen.send(event);
    })
}

async fn chores(inbox: &Inbox) -> Option<crate::upkeep::Chores> {
    match crate::upkeep::start(inbox).await {
        Ok(chores) => Some(chores),
        Err(error) => {
            warn!("the daemon's own chores do not run: {error}");
            None
        }
    }
}

/// Logs are read through the executor: the daemon has no other way to them.
pub(super) fn read_log(executor: &Executor) -> ReadLog {
    let executor = executor.clone();
    Arc::new(move |run, attempt, from, max| executor.read_log(run, attempt, from, max))
}

fn log_times(executor: &Executor) -> http::LogTimes {
    let executor = executor.clone();
    Arc::new(move |run, attempt| executor.log_times(run, attempt))
}

fn take_code(executor: &Executor) -> http::TakeCode {
    let executor = executor.clone();
    Arc::new(move |statement, person, code| executor.code(statement, person, code))
}

/// Opens the page's address and the control socket.
pub(super) async fn listen(layout: &Layout, listen: &str) -> Result<(TcpListener, UnixListener, String), Failure> {
    let pages = TcpListener::bind(listen).await.map_err(Failure::io(format!("cannot listen on {listen}")))?;
    let address = pages.local_addr().map_err(Failure::io("no address"))?.to_string();
    // Where it can be read by who chose port 0 (the demo, tests).
    let note = layout.runtime_dir.join("address");
    std::fs::write(&note, &address).map_err(Failure::io(format!("cannot write {}", note.display())))?;

    let path = layout.control_socket();
    // The lock is held: a socket that is still there is a dead daemon's.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::io(format!("cannot replace {}", path.display()))(error));
        }
        _ => {}
    }
    let control = UnixListener::bind(&path).map_err(Failure::io(format!("cannot listen on {}", path.display())))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o660);
    std::fs::set_permissions(&path, mode).map_err(Failure::io(format!("cannot set the mode of {}", path.display())))?;
    info!("pages and approval links on http://{address}, commands on {}", path.display());
    Ok((pages, control, address))
}

fn serve(pages: TcpListener, control: UnixListener, app: http::App, stopped: watch::Receiver<bool>) {
    tokio::spawn(http::serve_pages(pages, app.clone(), until(stopped.clone())));
    tokio::spawn(http::serve_control(control, app, until(stopped)));
}

pub(super) async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// SIGHUP reloads, SIGTERM and SIGINT stop without touching runs.
fn signals(inbox: &Inbox) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::io("cannot take SIGHUP"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::io("cannot take SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::io("cannot take SIGINT"))?;
    let inbox = inbox.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => { inbox.reload().await; }
                Some(()) = terminate.recv() => inbox.stop().await,
                Some(()) = interrupt.recv() => inbox.stop().await,
                else => break,
            }
        }
    });
    Ok(())
}
