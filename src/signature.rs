//! ssh signatures, checked with `ssh-keygen` by its exit status and never by its words. Who may sign what,
//! and what an unsigned thing may do, is the caller's.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::sys::memfile::MemFile;

/// How an armored signature begins.
pub const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
/// Where programs are looked for; this process's own PATH is not believed.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program of this host.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// The names that an allowed-signers file has for the key of a signature.
///
/// # Errors
/// If `ssh-keygen` cannot be asked.
pub fn principals(signers: &str, signature: &[u8]) -> io::Result<Vec<String>> {
    let (list, signature) = (MemFile::new(signers.as_bytes())?, MemFile::new(signature)?);
    let (found, names) = keygen(&["find-principals"], &list.path(), &signature.path(), &[])?;
    let names = String::from_utf8_lossy(&names).into_owned();
    Ok(if found { names.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect() } else { Vec::new() })
}

/// Whether a signature of this text, for this purpose, is good for a key that the file has under the name.
///
/// # Errors
/// If `ssh-keygen` cannot be asked.
pub fn verifies(signers: &str, name: &str, purpose: &str, text: &[u8], signature: &[u8]) -> io::Result<bool> {
    let (list, signature) = (MemFile::new(signers.as_bytes())?, MemFile::new(signature)?);
    let (good, _) = keygen(&["verify", "-n", purpose, "-I", name], &list.path(), &signature.path(), text)?;
    Ok(good)
}

/// Which of these public keys the signature of a text is good for.
///
/// # Errors
/// If `ssh-keygen` cannot be asked.
pub fn key_of<'k>(keys: &'k [String], purpose: &str, text: &[u8], signature: &[u8]) -> io::Result<Option<&'k str>> {
    for key in keys {
        if verifies(&format!("signer {key}\n"), "signer", purpose, text, signature)? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Whether it says yes, and what it prints.
fn keygen(what: &[&str], list: &Path, signature: &Path, input: &[u8]) -> io::Result<(bool, Vec<u8>)> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no ssh-keygen here: install openssh-client");
    let mut command = Command::new(program("ssh-keygen").ok_or_else(missing)?);
    command.env_clear().env("LC_ALL", "C").arg("-Y").args(what).arg("-f").arg(list).arg("-s").arg(signature);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has seen enough closes its end.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    Ok((output.status.success(), output.stdout))
}
