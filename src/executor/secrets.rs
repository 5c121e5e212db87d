//! `/etc/shipbell/secrets`: what runs need and nobody else may read. A job of an environment is given the
//! file of that environment's folder, else the one beside the folders. What is read here leaves this
//! process through one descriptor, to the supervisor of one run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::model::job::Definition;
use crate::model::secret::SecretName;
use crate::run::secrets::{TOTAL_MAX, envelope};
use crate::sys::{files, host, private};

type Values = BTreeMap<SecretName, Vec<u8>>;

/// All that a run of this definition gets.
///
/// # Errors
/// A text for people: which one is missing or may not be used, and what to do.
pub fn read(dir: &Path, definition: &Definition) -> Result<Values, String> {
    let environment = definition.environment.as_ref().map(|environment| environment.name.as_str());
    let mut values = Values::new();
    let mut total = 0;
    for name in definition.secret_names() {
        let value = read_one(dir, environment, &name)?;
        total += value.len() as u64;
        values.insert(name, value);
    }
    if total > TOTAL_MAX {
        return Err(format!("the secrets of {} have {total} bytes, at most {TOTAL_MAX} are given", definition.key));
    }
    Ok(values)
}

/// What the supervisor is to find on its standard input; `None`: nothing.
///
/// # Errors
/// If there is no memory for it.
pub fn hand_over(values: &Values) -> io::Result<Option<File>> {
    if values.is_empty() {
        return Ok(None);
    }
    private::memory_file(&envelope(values)).map(Some)
}

/// One of them, of an environment or for all.
///
/// # Errors
/// A text for people: that it is missing or may not be used, and what to do.
pub(super) fn read_one(dir: &Path, environment: Option<&str>, name: &SecretName) -> Result<Vec<u8>, String> {
    let own = environment.map(|environment| Path::new(environment).join(name.as_str()));
    let places: Vec<PathBuf> = own.into_iter().chain([PathBuf::from(name.as_str())]).collect();
    let unread =
        |path: &Path, error: io::Error| format!("secret {name}: {} cannot be read: {error}", dir.join(path).display());
    let opened = match files::open_dir(dir) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(dir, &places, name)),
        Err(error) => return Err(unread(Path::new(""), error)),
    };
    judge(dir, &opened, name)?;
    for path in &places {
        match files::open_beneath(&opened, path, false) {
            Ok(file) => {
                let shown = dir.join(path);
                judge(&shown, &file, name)?;
                let mut value = Vec::new();
                file.take(TOTAL_MAX + 1).read_to_end(&mut value).map_err(|error| unread(path, error))?;
                return if value.is_empty() {
                    Err(format!("secret {name}: {} is empty", shown.display()))
                } else {
                    Ok(value)
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unread(path, error)),
        }
    }
    Err(missing(dir, &places, name))
}

fn missing(dir: &Path, places: &[PathBuf], name: &SecretName) -> String {
    let looked = places.iter().map(|path| dir.join(path).display().to_string()).collect::<Vec<_>>().join(" nor ");
    let first = places.first().map(|path| dir.join(path).display().to_string()).unwrap_or_default();
    format!(
        "secret {name}: there is no {looked}\n\
         Put it there:  install -m 600 /dev/stdin {first}    (as root, then type or paste it)"
    )
}

/// It must belong to root or to us, and nobody else may read or write it.
fn judge(path: &Path, opened: &File, name: &SecretName) -> Result<(), String> {
    let found = opened.metadata().map_err(|error| format!("secret {name}: {}: {error}", path.display()))?;
    let (mode, uid) = (found.mode() & 0o7777, found.uid());
    let refused = |why: String, way_out: String| {
        let path = path.display();
        Err(format!("secret {name}: {path} is not used: {why}\nOnly root may have access:  {way_out} {path}"))
    };
    if uid != 0 && uid != host::effective_uid() {
        return refused(format!("it belongs to {}", host::user_name_of(uid)), "chown root".into());
    }
    // Of a directory the names may be seen; what is in the files may not.
    let forbidden = if found.is_dir() { 0o022 } else { 0o077 };
    if mode & forbidden != 0 {
        return refused(format!("its mode is {mode:04o}"), format!("chmod {:04o}", mode & !0o077));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_environments_own_secret_wins_and_others_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        put(&dir.join("kubeconfig"), "for all", 0o600);
        put(&dir.join("staging/kubeconfig"), "of staging", 0o400);
        put(&dir.join("open"), "x", 0o640);
        put(&dir.join("empty"), "", 0o600);
        std::os::unix::fs::symlink("kubeconfig", dir.join("link")).unwrap();
        std::fs::create_dir(dir.join("folder")).unwrap();
        let read = |environment, name: &str| read_one(dir, environment, &name.parse().unwrap());
        assert_eq!(read(Some("staging"), "kubeconfig").unwrap(), b"of staging");
        assert_eq!(read(Some("production"), "kubeconfig").unwrap(), b"for all");
        assert_eq!(read(None, "kubeconfig").unwrap(), b"for all");
        for (name, said) in [
            ("open", "its mode is 0640"),
            ("empty", "is empty"),
            ("link", "cannot be read"),
            ("folder", "cannot be read"),
            ("none", "install -m 600 /dev/stdin"),
        ] {
            let why = read(Some("staging"), name).unwrap_err();
            assert!(why.contains(said), "{name}: {why}");
        }
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(read(None, "kubeconfig").unwrap_err().contains("chmod 0700"));
    }
}
