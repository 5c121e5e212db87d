//! The nursery as its founder sees it: asked for supervisors, it says when one has ended. That it ended
//! itself concludes nothing about them: whether a supervisor lives is read from its lock.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::run::nursery;
use crate::sys::socket::Packets;

/// What the listening thread needs.
const STACK: usize = 64 << 10;

/// Ends with this value.
#[derive(Debug)]
pub struct Nursery {
    orders: Arc<Packets>,
    /// Attempts that were asked for and of whose end it has not told.
    begun: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Nursery {
    /// Starts one: no pre_exec, no uid, no group, so it is posix_spawn, whose cost does not grow with our
    /// memory.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(binary: &Path) -> io::Result<Self> {
        let (orders, theirs) = Packets::pair()?;
        let mut command = Command::new(binary);
        command.args(nursery::arguments()).env_clear();
        let child = command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // The command holds their end until it is gone: without that nobody would see theirs close.
        drop(command);
        let (orders, begun) = (Arc::new(orders), Arc::default());
        let this = Self { orders: Arc::clone(&orders), begun: Arc::clone(&begun) };
        let thread = std::thread::Builder::new().name("nursery".into()).stack_size(STACK);
        thread.spawn(move || listen(&orders, &begun, child))?;
        Ok(this)
    }

    /// # Errors
    /// If it is gone; then nothing began and nothing will.
    pub fn launch(&self, dir: &Path, secrets: Option<&File>) -> io::Result<()> {
        lock(&self.begun).insert(dir.to_owned());
        let sent = self.orders.send(dir.as_os_str().as_bytes(), secrets.map(File::as_fd));
        if sent.is_err() {
            lock(&self.begun).remove(dir);
        }
        sent
    }

    /// Whether the supervisor of this attempt is alive or about to be, as far as it is known here.
    #[must_use]
    pub fn has(&self, dir: &Path) -> bool {
        lock(&self.begun).contains(dir)
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        self.orders.shut();
    }
}

fn lock(begun: &Mutex<BTreeSet<PathBuf>>) -> MutexGuard<'_, BTreeSet<PathBuf>> {
    // A set of paths is whole after a panic as well.
    begun.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(orders: &Packets, begun: &Mutex<BTreeSet<PathBuf>>, mut child: Child) {
    while let Ok(Some((dir, _))) = orders.receive() {
        lock(begun).remove(Path::new(OsStr::from_bytes(&dir)));
    }
    // What it was asked for last may never begin: that is for the fence to find out. And nobody is to
    // ask it anything more.
    orders.shut();
    lock(begun).clear();
    let _ = child.wait();
}
