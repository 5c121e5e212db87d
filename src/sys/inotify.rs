//! Being told when a file of a watched directory is written or closed. Told once for many changes, and
//! sometimes for none: whoever hears it looks for himself.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};

/// One kernel queue for any number of directories.
#[derive(Debug)]
pub struct Notices(Inotify);

/// A watched directory or file.
pub type Watch = WatchDescriptor;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub watch: Watch,
    /// The file in a watched directory; `None` of a watched file.
    pub name: Option<OsString>,
    /// A writer closed it.
    pub closed: bool,
}

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

    /// All that waits.
    ///
    /// # Errors
    /// `WouldBlock`, or what the kernel says.
    pub fn take(&self) -> io::Result<Vec<Notice>> {
        let events = match self.0.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => return Err(error.into()),
        };
        let closed = |mask: AddWatchFlags| mask.contains(AddWatchFlags::IN_CLOSE_WRITE);
        let notice = |event: InotifyEvent| Notice { watch: event.wd, closed: closed(event.mask), name: event.name };
        Ok(events.into_iter().map(notice).collect())
    }
}

impl AsRawFd for Notices {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
