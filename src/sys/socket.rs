//! Sockets of this host: who is at the other end, a listener that systemd holds for us, and a pair that
//! carries whole messages and open files. Who may ask what is decided by the caller.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt, recvmsg, sendmsg,
    socketpair, sockopt::PeerCredentials,
};

/// The first descriptor that systemd hands over.
const FIRST: i32 = 3;

/// The user at the other end, as the kernel has it.
///
/// # Errors
/// If the kernel does not say.
pub fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// The listener that this process was started with, if it was started for one. To be asked once.
#[must_use]
pub fn inherited_listener() -> Option<UnixListener> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || number("LISTEN_FDS") != Some(1) {
        return None;
    }
    // SAFETY: systemd says by these variables that the descriptor is ours, and nobody else took it.
    let listener = unsafe { OwnedFd::from_raw_fd(FIRST) };
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(UnixListener::from(listener))
}

/// No message is longer: a path and a few words.
const MESSAGE_MAX: usize = 8192;

/// One end of a pair between this process and a child of it.
#[derive(Debug)]
pub struct Packets(OwnedFd);

impl Packets {
    /// Both ends.
    ///
    /// # Errors
    /// If there are too many open files.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(io::Error::from)?;
        Ok((Self(one), Self(other)))
    }

    /// The end that this process was started with as its standard input, which is `/dev/null` from then on.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_stdin() -> io::Result<Self> {
        let end = io::stdin().as_fd().try_clone_to_owned()?;
        nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(Self(end))
    }

    /// Nothing more is said in either direction; whoever waits at either end is woken.
    pub fn shut(&self) {
        // It fails only where that is so already.
        let _ = nix::sys::socket::shutdown(self.0.as_raw_fd(), nix::sys::socket::Shutdown::Both);
    }

    /// Whole or not at all.
    ///
    /// # Errors
    /// If nobody is at the other end any more, or it is too long.
    pub fn send(&self, message: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let files: Vec<i32> = file.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&files)];
        let rights = if files.is_empty() { &[] } else { rights.as_slice() };
        loop {
            let text = [io::IoSlice::new(message)];
            match sendmsg::<()>(self.0.as_raw_fd(), &text, rights, MsgFlags::MSG_NOSIGNAL, None) {
                Err(Errno::EINTR) => {}
                sent => return sent.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// The next message, and the file that came with it; `None` once nobody is at the other end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(&self) -> io::Result<Option<Message>> {
        self.take(MsgFlags::empty())
    }

    /// The same, of what has come already.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing has.
    pub fn receive_now(&self) -> io::Result<Option<Message>> {
        self.take(MsgFlags::MSG_DONTWAIT)
    }

    fn take(&self, how: MsgFlags) -> io::Result<Option<Message>> {
        let mut message = vec![0; MESSAGE_MAX];
        let mut room = cmsg_space!(i32);
        let (length, files) = loop {
            let mut text = [io::IoSliceMut::new(&mut message)];
            let how = how | MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut text, Some(&mut room), how) {
                Ok(got) => break (got.bytes, files_of(&got)?),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        message.truncate(length);
        Ok((length > 0).then(|| (message, files.into_iter().next())))
    }
}

/// A text, and the file that came with it.
pub type Message = (Vec<u8>, Option<OwnedFd>);

fn files_of(got: &nix::sys::socket::RecvMsg<'_, '_, ()>) -> io::Result<Vec<OwnedFd>> {
    let mut files = Vec::new();
    for control in got.cmsgs()? {
        if let ControlMessageOwned::ScmRights(list) = control {
            // SAFETY: the kernel has just given us these descriptors.
            files.extend(list.into_iter().map(|file| unsafe { OwnedFd::from_raw_fd(file) }));
        }
    }
    Ok(files)
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Packets> for std::process::Stdio {
    fn from(end: Packets) -> Self {
        end.0.into()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn a_message_comes_whole_with_its_file_and_the_end_is_seen() {
        let (here, there) = Packets::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"inside").unwrap();
        here.send(b"one", None).unwrap();
        here.send(&[7; MESSAGE_MAX], Some(file.as_fd())).unwrap();
        drop((here, file));
        let (text, none) = there.receive().unwrap().unwrap();
        assert!(text == b"one" && none.is_none());
        let (text, file) = there.receive().unwrap().unwrap();
        assert_eq!(text, [7; MESSAGE_MAX]);
        let (mut file, mut read) = (std::fs::File::from(file.unwrap()), String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut read).unwrap();
        assert_eq!(read, "inside");
        assert!(there.receive().unwrap().is_none());
        assert!(there.send(b"to nobody", None).is_err());
    }
}
