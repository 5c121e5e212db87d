//! Being told when a file of a watched directory is written or closed. Told once for many changes, and
//! sometimes for none: whoever hears it looks for himself.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// One kernel queue for any number of directories.
#[derive(Debug)]
pub struct Notices(Inotify);

/// A watched directory.
pub type Watch = WatchDescriptor;

impl Notices {
    /// # Errors
    /// If the host's limit of inotify instances is reached.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?))
    }

    /// Tells of files that come into the directory, and of files there that a writer closes.
    ///
    /// # Errors
    /// If the directory is missing or the host's limit of watches is reached.
    pub fn watch_dir(&self, dir: &Path) -> io::Result<Watch> {
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ONLYDIR;
        Ok(self.0.add_watch(dir, flags)?)
    }

    /// Tells of every write to one file.
    ///
    /// # Errors
    /// If the file is missing or the host's limit of watches is reached.
    pub fn watch_file(&self, path: &Path) -> io::Result<Watch> {
        Ok(self.0.add_watch(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DONT_FOLLOW)?)
    }

    pub fn unwatch(&self, watch: Watch) {
        // It is gone already where the directory is.
        let _ = self.0.rm_watch(watch);
    }

    /// Watched files that changed, and directories in which a file of one of these names did.
    ///
    /// # Errors
    /// `WouldBlock`, or what the kernel says.
    pub fn take(&self, names: &[&str]) -> io::Result<Vec<Watch>> {
        let events = match self.0.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => return Err(error.into()),
        };
        let wanted = |name: &std::ffi::OsStr| names.iter().any(|wanted| name == *wanted);
        let mut found: Vec<Watch> = Vec::new();
        for event in events {
            if event.name.as_deref().is_none_or(wanted) && !found.contains(&event.wd) {
                found.push(event.wd);
            }
        }
        Ok(found)
    }
}

impl AsRawFd for Notices {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
