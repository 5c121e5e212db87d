//! What a repository is logged in with: which kind of credential a file holds, and how git is told it
//! without an argument, an environment variable or a file on a disk that would show it. Reading the files
//! safely is `credentials`'; where they lie is the configuration's.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::error::SourceError;
use super::links;
use super::origin::{Origin, Way};
use crate::credentials::{BadCredential, Credentials, Secret};
use crate::sys::memfile::MemFile;

/// For hosts that want any user before a token: GitHub, GitLab, Gitea and Forgejo take this one.
const TOKEN_USER: &str = "x-access-token";

/// See the file's header. The default asks without a login, and over ssh as the daemon's user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The name of the credential.
    name: Option<String>,
    login: Option<Login>,
    /// PEM of the authorities that are trusted in place of the host's, and where it stands.
    ca: Option<(PathBuf, Vec<u8>)>,
    known_hosts: Option<(PathBuf, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Login {
    Basic { user: String, password: Secret },
    Key(Secret),
}

impl Access {
    /// The credential `NAME`: a token, `USER:PASSWORD`, or a private ssh key, with `NAME.ca` and
    /// `NAME.known_hosts` beside it where they are. One of these may stand alone.
    ///
    /// # Errors
    /// If a file is unsafe, or none of them is there.
    pub fn read(credentials: &Credentials, name: &str) -> Result<Self, BadCredential> {
        let (ca, known) = (format!("{name}.ca"), format!("{name}.known_hosts"));
        let ca = credentials.read_public(&ca)?.map(|pem| (credentials.path(&ca), pem));
        let known_hosts = credentials.read_public(&known)?.map(|text| (credentials.path(&known), text));
        let alone = (ca.is_some() || known_hosts.is_some()) && !credentials.path(name).exists();
        let login = if alone { None } else { Some(login(credentials, name)?) };
        Ok(Self { name: Some(name.to_owned()), login, ca, known_hosts })
    }

    /// The name of the credential, for messages.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn ca(&self) -> Option<&[u8]> {
        self.ca.as_ref().map(|(_, pem)| pem.as_slice())
    }

    /// The value of `Authorization`.
    pub(super) fn authorization(&self) -> Option<String> {
        match &self.login {
            Some(Login::Basic { user, password }) => {
                let pair = [user.as_bytes(), b":", password.bytes()].concat();
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            _ => None,
        }
    }

    /// By which two logins are told apart, their files' contents included.
    pub(super) fn print(&self) -> [u8; 32] {
        let mut print = Sha256::new();
        let key = match &self.login {
            Some(Login::Key(key)) => key.bytes(),
            _ => &[],
        };
        let known = self.known_hosts.as_ref().map_or(&[][..], |(_, text)| text);
        let named = [u8::from(self.name.is_some()), u8::from(self.known_hosts.is_some())];
        for part in [&named[..], self.name.as_deref().unwrap_or_default().as_bytes(), key, known] {
            print.update(part.len().to_le_bytes());
            print.update(part);
        }
        print.finalize().into()
    }

    /// # Errors
    /// If this kind of login is not for this kind of URL, or would cross the network readable.
    pub(super) fn check(&self, origin: &Origin) -> Result<(), SourceError> {
        let name = self.name.as_deref().unwrap_or_default();
        let no = |why: String| Err(SourceError::Credential { why });
        match (&self.login, origin.way) {
            (Some(Login::Key(_)), Way::Http | Way::Https) => {
                no(format!("the credential {name} is an ssh key, and {} is asked over http", origin.url))
            }
            (Some(Login::Basic { .. }), Way::Ssh) => {
                no(format!("the credential {name} is a token or password, and {} is asked over ssh", origin.url))
            }
            (Some(Login::Basic { .. }), Way::Http) if !origin.is_loopback() => no(format!(
                "the credential {name} would cross the network readable for everybody: write https:// in {}",
                origin.url
            )),
            (Some(_), Way::Git) => no(format!("{} takes no login: write https:// or ssh://", origin.url)),
            (Some(_), Way::File) => no(format!("{} is a path: it needs no credential", origin.url)),
            _ => Ok(()),
        }
    }

    /// What git is to be told, kept as long as the child runs. `link`: the socket of a connection over ssh
    /// that is used, or made and kept.
    ///
    /// # Errors
    /// If memory is short or a path has characters that a shell would read.
    pub(super) fn for_git(&self, origin: &Origin, link: Option<&Path>) -> Result<Told, SourceError> {
        self.check(origin)?;
        let start = |error: std::io::Error| SourceError::Start(error.to_string());
        let mut told = Told { ssh: OsString::from(SSH), options: Vec::new(), files: Vec::new() };
        if let Some(config) = self.config(origin) {
            let file = MemFile::new(config.as_bytes()).map_err(start)?;
            told.options.push(format!("include.path={}", file.path().display()));
            told.files.push(file);
        }
        if let Some(Login::Key(key)) = &self.login {
            // ssh wants the last line ended, and editors and vaults take that away.
            let file = MemFile::new(&[key.bytes().trim_ascii_end(), b"\n"].concat()).map_err(start)?;
            told.ssh.push(" -oIdentitiesOnly=yes -oIdentityAgent=none -i ");
            told.ssh.push(quoted(&file.path())?);
            told.files.push(file);
        }
        if let Some((known, _)) = &self.known_hosts {
            told.ssh.push(" -oGlobalKnownHostsFile=/dev/null -oUserKnownHostsFile=");
            told.ssh.push(quoted(known)?);
        }
        if let Some(socket) = link {
            let persist = links::PERSIST.as_secs();
            // A server that went away without a word is noticed within the time of one question.
            told.ssh.push(format!(
                " -oServerAliveInterval=10 -oServerAliveCountMax=2 -oControlMaster=auto -oControlPersist={persist}"
            ));
            told.ssh.push(" -oControlPath=");
            told.ssh.push(quoted(socket)?);
        } else {
            told.ssh.push(" -oServerAliveInterval=15 -oControlPath=none");
        }
        Ok(told)
    }

    /// A configuration for git, valid for this server only.
    fn config(&self, origin: &Origin) -> Option<String> {
        let (login, ca) = (self.authorization(), &self.ca);
        if (login.is_none() && ca.is_none()) || !matches!(origin.way, Way::Http | Way::Https) {
            return None;
        }
        let mut config = format!("[http \"{}\"]\n", origin.server());
        if let Some(login) = login {
            let _ = writeln!(config, "\textraHeader = \"Authorization: {login}\"");
        }
        if let Some((path, _)) = ca {
            let path = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
            let _ = writeln!(config, "\tsslCAInfo = \"{path}\"");
        }
        Some(config)
    }
}

/// What a git child is started with.
pub(super) struct Told {
    pub(super) ssh: OsString,
    /// For `-c`; none of them is secret.
    pub(super) options: Vec<String>,
    /// What the options and the ssh command name.
    files: Vec<MemFile>,
}

/// No question, no unknown host.
const SSH: &str = "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=10";

fn login(credentials: &Credentials, name: &str) -> Result<Login, BadCredential> {
    let secret = credentials.read(name)?;
    let bad = |why: &str| BadCredential {
        name: name.to_owned(),
        path: credentials.path(name).display().to_string(),
        why: why.to_owned(),
    };
    let text = secret.text().ok_or_else(|| bad("is no text"))?.trim();
    if text.starts_with("-----BEGIN ") {
        let private = text.lines().next().is_some_and(|line| line.contains("PRIVATE KEY"));
        return if private { Ok(Login::Key(secret)) } else { Err(bad("is no private key; a CA stands in NAME.ca")) };
    }
    if text.chars().any(char::is_control) {
        return Err(bad("has several lines: write the token, USER:PASSWORD, or a private key alone"));
    }
    let (user, password) = text.split_once(':').unwrap_or((TOKEN_USER, text));
    Ok(Login::Basic { user: user.to_owned(), password: Secret::new(password.as_bytes()) })
}

/// git hands the command to a shell: what could mean something to it or to ssh's own `%` is refused.
fn quoted(path: &Path) -> Result<OsString, SourceError> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/._-+".contains(&c);
    if path.as_os_str().as_encoded_bytes().iter().all(|&c| plain(c)) {
        Ok(path.as_os_str().to_owned())
    } else {
        Err(SourceError::Start(format!("{} has a character that is not a-z A-Z 0-9 / . _ - +", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::origin;
    use super::*;

    fn put(dir: &Path, name: &str, text: &str) -> Result<Access, BadCredential> {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o640)).unwrap();
        Access::read(&Credentials::new(dir), name)
    }

    #[test]
    fn a_file_says_which_kind_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let https = origin::parse("https://git.example.org/a.git").unwrap();
        let ssh = origin::parse("git@git.example.org:a.git").unwrap();
        let token = put(dir.path(), "token", "ghp_abc\n").unwrap();
        assert_eq!(token.authorization().unwrap(), format!("Basic {}", STANDARD.encode("x-access-token:ghp_abc")));
        assert!(token.check(&https).is_ok() && token.check(&ssh).is_err());
        let basic = put(dir.path(), "basic", "me:p:w\n").unwrap();
        assert_eq!(basic.authorization().unwrap(), format!("Basic {}", STANDARD.encode("me:p:w")));
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n";
        let key = put(dir.path(), "key", key).unwrap();
        assert!(key.check(&ssh).is_ok() && key.check(&https).is_err() && key.authorization().is_none());
        for (name, text, expected) in [
            ("lines", "a\nb\n", "several lines"),
            ("public", "-----BEGIN CERTIFICATE-----\n", "no private key"),
            ("empty", "\n", "is empty"),
        ] {
            let error = put(dir.path(), name, text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Access::read(&Credentials::new(dir.path()), "none").is_err());
        fs::write(dir.path().join("none.ca"), "PEM").unwrap();
        let ca = Access::read(&Credentials::new(dir.path()), "none").unwrap();
        assert_eq!((ca.ca(), ca.authorization()), (Some(&b"PEM"[..]), None));
    }

    #[test]
    fn nothing_secret_stands_in_what_a_child_is_started_with() {
        let dir = tempfile::tempdir().unwrap();
        let https = origin::parse("https://git.example.org:8443/a.git").unwrap();
        let told = put(dir.path(), "basic", "me:s3cret").unwrap().for_git(&https, None).unwrap();
        let encoded = STANDARD.encode("me:s3cret");
        let shown = format!("{:?} {:?}", told.options, told.ssh);
        assert!(!shown.contains("s3cret") && !shown.contains(&encoded), "{shown}");
        let config = fs::read_to_string(told.options[0].split_once('=').unwrap().1).unwrap();
        let expected =
            format!("[http \"https://git.example.org:8443/\"]\n\textraHeader = \"Authorization: Basic {encoded}\"\n");
        assert_eq!(config, expected);
    }

    #[test]
    fn a_password_does_not_cross_the_network_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        let access = put(dir.path(), "basic", "me:s3cret").unwrap();
        for (url, good) in [("http://git.example.org/a", false), ("http://127.0.0.1:8080/a", true), ("/srv/a", false)] {
            assert_eq!(access.check(&origin::parse(url).unwrap()).is_ok(), good, "{url}");
        }
    }
}
