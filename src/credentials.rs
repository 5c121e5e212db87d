//! What the daemon itself logs in with: files of `credentials/`, read each time they are used, so that a
//! new one counts at once. Who could have read or written a file is judged here; what it is a key to,
//! and whom it is shown to, is its user's. A secret never stands in a message or a debug print.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::{files, host};

/// Longest file that is read; a bundle of CA certificates fits.
const BYTES_MAX: u64 = 512 << 10;

/// The directory with the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials(Arc<Path>);

/// What must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

/// Why a credential cannot be used: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credential {name} ({path}) {why}")]
pub struct BadCredential {
    pub name: String,
    pub path: String,
    pub why: String,
}

impl Secret {
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as they stand in the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text, without the end of the line; `None`: it is none.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok().map(|text| text.trim_end_matches(['\r', '\n']))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // What a core dump or a later reader of this memory need not have.
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

/// Whether a text may be the name of a credential: a plain file name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 128 && !name.starts_with(['.', '-']) && name.chars().all(legal)
}

impl Credentials {
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.into())
    }

    /// Where the file of a credential is.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Reads a secret: a file of root's or our own that others can neither read nor write.
    ///
    /// # Errors
    /// If it is missing, unsafe or empty.
    pub fn read(&self, name: &str) -> Result<Secret, BadCredential> {
        let (bytes, mode) = self.open(name)?.ok_or_else(|| {
            let user = host::user_name_of(host::effective_uid());
            self.bad(name, format!("is not there. Write it, readable for {user} and nobody else (root:{user} 0640)"))
        })?;
        if mode & 0o007 != 0 {
            let path = self.path(name);
            return Err(self.bad(name, format!("can be read by everybody on this host. chmod 0640 {}", path.display())));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(self.bad(name, "is empty".into()));
        }
        Ok(Secret::new(bytes))
    }

    /// Reads what is no secret (a CA, known hosts) beside one: `None` where it is not there.
    ///
    /// # Errors
    /// If others could have written it.
    pub fn read_public(&self, name: &str) -> Result<Option<Vec<u8>>, BadCredential> {
        Ok(self.open(name)?.map(|(bytes, _)| bytes))
    }

    fn bad(&self, name: &str, why: String) -> BadCredential {
        BadCredential { name: name.to_owned(), path: self.path(name).display().to_string(), why }
    }

    /// Bytes and mode of a file that only root, or this process's own user, could have written.
    fn open(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, BadCredential> {
        let told = |error: &io::Error| self.bad(name, format!("cannot be read: {error}"));
        if !is_name(name) {
            return Err(self.bad(name, "is no name of a file in credentials/".into()));
        }
        let found = files::open_dir(&self.0).and_then(|dir| files::open_beneath(&dir, Path::new(name), false));
        let file = match found {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(&error)),
        };
        let data = file.metadata().map_err(|error| told(&error))?;
        let path = self.path(name);
        if data.uid() != 0 && data.uid() != host::effective_uid() {
            let owner = host::user_name_of(data.uid());
            return Err(self.bad(name, format!("belongs to {owner}. chown root {}", path.display())));
        }
        if data.mode() & 0o022 != 0 {
            return Err(self.bad(name, format!("can be written by others. chmod 0640 {}", path.display())));
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| told(&error))?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(self.bad(name, "is longer than 512 KiB".into()));
        }
        Ok(Some((bytes, data.mode())))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn put(dir: &Path, name: &str, text: &str, mode: u32) {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_is_read_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(dir.path());
        put(dir.path(), "github", "s3cret\n", 0o640);
        let secret = credentials.read("github").unwrap();
        assert_eq!((secret.text(), secret.bytes()), (Some("s3cret"), &b"s3cret\n"[..]));
        assert_eq!(format!("{secret:?} {credentials:?}").matches("s3cret").count(), 0);
        put(dir.path(), "github", "other", 0o600);
        assert_eq!(credentials.read("github").unwrap().text(), Some("other"), "read when used");
        put(dir.path(), "github.ca", "PEM", 0o644);
        assert_eq!(credentials.read_public("github.ca").unwrap().as_deref(), Some(&b"PEM"[..]));
        assert_eq!(credentials.read_public("github.none").unwrap(), None);
    }

    #[test]
    fn what_others_could_read_or_write_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let credentials = Credentials::new(dir.path());
        put(dir.path(), "open", "x", 0o644);
        put(dir.path(), "shared", "x", 0o660);
        put(dir.path(), "empty", " \n", 0o600);
        std::os::unix::fs::symlink("open", dir.path().join("link")).unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        for (name, expected) in [
            ("open", "chmod 0640"),
            ("shared", "can be written by others. chmod 0640"),
            ("empty", "is empty"),
            ("none", "is not there"),
            ("link", "cannot be read"),
            ("dir", "cannot be read"),
            ("../open", "is no name"),
            ("", "is no name"),
            (".hidden", "is no name"),
            ("-x", "is no name"),
        ] {
            let error = credentials.read(name).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert!(credentials.read_public("shared").is_err());
        let nowhere = Credentials::new(&dir.path().join("nowhere"));
        assert!(nowhere.read("x").unwrap_err().to_string().contains("is not there"));
        if host::effective_uid() == 0 {
            std::os::unix::fs::chown(dir.path().join("empty"), Some(4711), None).unwrap();
            assert!(credentials.read("empty").unwrap_err().to_string().contains("belongs to 4711. chown root"));
        }
    }
}
