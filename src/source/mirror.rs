//! One bare repository per URL, in a directory that cannot be listed and under a name that cannot be
//! guessed, so that a job reads its own repository and no other. Branches stand below
//! `refs/shipbell/heads/`, tags below `refs/tags/` (for `git describe`), and every commit that was
//! sighted below `refs/shipbell/kept/`, so that no force-push takes it away. What is fetched when is
//! not decided here.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use git2::{ErrorClass, ErrorCode, ObjectType, Oid, Repository, RepositoryInitOptions};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::clean;
use super::error::SourceError;
use super::remote::Remote;
use super::scope::Scope;
use crate::model::catalog::Address;
use crate::model::commit::{CommitId, RefName};
use crate::model::job::hex;

const HEADS: &str = "refs/shipbell/heads/";
const PULLS: &str = "refs/shipbell/pulls/";
const KEPT: &str = "refs/shipbell/kept/";

/// Nothing in it is ever collected as garbage by git itself. Objects are readable for the jobs that borrow
/// them by the daemon's umask: `sharedRepository` wants setgid directories, which its unit forbids.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\
                      \tlogAllRefUpdates = false\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";

/// All mirrors of this host.
#[derive(Clone)]
pub struct Mirrors {
    dir: Arc<Path>,
    key: Arc<[u8]>,
}

impl Mirrors {
    /// Mirrors in `dir`, which is made where it is missing; `key` makes their names unguessable.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn new(dir: &Path, key: &[u8]) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
        Ok(Self { dir: dir.canonicalize()?.into(), key: key.into() })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the mirror of a repository is or will be.
    #[must_use]
    pub fn path(&self, at: &Address) -> PathBuf {
        // HMAC takes a key of any length, so the other branch is never taken.
        let tag = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).map(|mac| mac.chain_update(at.key()).finalize());
        let bytes = tag.map(|tag| tag.into_bytes().to_vec()).unwrap_or_default();
        self.dir.join(format!("{}.git", hex(bytes.get(..16).unwrap_or_default())))
    }

    /// Opens the mirror of a repository, made where it is missing; one that is no repository any more is
    /// moved aside and made anew.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(&self, at: &Address) -> Result<Mirror, SourceError> {
        let path = self.path(at);
        if let Ok(mirror) = Mirror::at(&path) {
            return Ok(mirror);
        }
        if path.symlink_metadata().is_ok() {
            self.move_aside(&path)?;
        }
        make(&path)?;
        Mirror::at(&path)
    }

    /// A new, empty mirror in place of a damaged one.
    pub(super) fn renew(&self, at: &Address) -> Result<(), SourceError> {
        self.move_aside(&self.path(at))
    }

    /// Takes away refs that name nothing, as a power cut leaves them. False: there are none.
    pub(super) fn mend(&self, at: &Address) -> Result<bool, SourceError> {
        let path = self.path(at);
        let refs = loose_refs(&path.join("refs"));
        let broken: Vec<_> = refs.into_iter().filter(|path| !names_an_object(path)).collect();
        for file in &broken {
            tracing::warn!(file = %file.display(), "removed a broken ref of a mirror");
            fs::remove_file(file).map_err(|error| trouble(&path, &error))?;
        }
        Ok(!broken.is_empty())
    }

    /// At most one broken mirror per URL is kept, to be looked at.
    fn move_aside(&self, path: &Path) -> Result<(), SourceError> {
        let aside = path.with_extension("git.broken");
        let told = |error| trouble(path, &error);
        if aside.symlink_metadata().is_ok() {
            if aside.is_dir() { fs::remove_dir_all(&aside) } else { fs::remove_file(&aside) }.map_err(told)?;
        }
        fs::rename(path, &aside).map_err(told)?;
        tracing::warn!(mirror = %path.display(), aside = %aside.display(), "a broken mirror was moved aside");
        Ok(())
    }
}

/// Made beside its place and renamed into it: a crash leaves no half of a repository there.
fn make(path: &Path) -> Result<(), SourceError> {
    let parent = path.parent().unwrap_or(path);
    let told = |error| trouble(path, &error);
    let new = tempfile_in(parent).map_err(told)?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).mkpath(false).initial_head("refs/heads/none");
    let made = Repository::init_opts(&new, &options).map_err(|error| trouble_of_git(path, &error));
    let placed = made.and_then(|_| {
        restore_config(&new)?;
        open_up(&new).map_err(told)?;
        match fs::rename(&new, path) {
            // Somebody else made it at the same time: that one is as good.
            Err(_) if path.join("HEAD").exists() => fs::remove_dir_all(&new).map_err(told),
            renamed => renamed.map_err(told),
        }
    });
    if placed.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    placed
}

fn tempfile_in(parent: &Path) -> io::Result<PathBuf> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|_| io::ErrorKind::Other)?;
    let path = parent.join(format!(".new-{}", hex(&random)));
    fs::create_dir(&path)?;
    Ok(path)
}

/// Directories 0755, files 0644, whatever the umask.
fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        } else {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

fn loose_refs(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => found.push(entry.path()),
            }
        }
    }
    found
}

fn names_an_object(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| CommitId::new(text.trim_end()).is_ok())
}

/// Puts the mirror's config back to what it is to be.
pub(super) fn restore_config(mirror: &Path) -> Result<(), SourceError> {
    let path = mirror.join("config");
    if fs::read(&path).is_ok_and(|found| found == CONFIG.as_bytes()) {
        return Ok(());
    }
    let new = mirror.join("config.new");
    let written = fs::write(&new, CONFIG)
        .and_then(|()| fs::set_permissions(&new, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&new, &path));
    written.map_err(|error| trouble(mirror, &error))
}

/// Where a ref of the remote stands in the mirror.
pub(super) fn local_name(name: &RefName) -> String {
    match (name.is_tag(), name.is_pull()) {
        (true, _) => name.to_string(),
        // A branch may be called `pull/7/head` as well.
        (_, true) => format!("{PULLS}{}", name.short()),
        _ => format!("{HEADS}{}", name.short()),
    }
}

fn remote_name(local: &str) -> Option<RefName> {
    match local.strip_prefix(HEADS) {
        Some(branch) => RefName::branch(branch).ok(),
        None => RefName::new(local).ok().filter(RefName::is_tag),
    }
}

fn trouble(path: &Path, error: &io::Error) -> SourceError {
    SourceError::Mirror { path: path.display().to_string(), why: error.to_string() }
}

pub(super) fn trouble_of_git(path: &Path, error: &git2::Error) -> SourceError {
    let why = clean::line(error.message().as_bytes(), clean::TEXT_MAX);
    match error.class() {
        ErrorClass::Reference | ErrorClass::Odb | ErrorClass::Object | ErrorClass::Zlib | ErrorClass::Tree => {
            SourceError::Damaged { url: path.display().to_string(), said: why, by_git: false }
        }
        _ => SourceError::Mirror { path: path.display().to_string(), why },
    }
}

/// The mirror of one repository: local truth. Everything here blocks.
pub struct Mirror {
    pub(super) repo: Repository,
    pub(super) path: PathBuf,
}

impl Mirror {
    fn at(path: &Path) -> Result<Self, SourceError> {
        let repo = Repository::open_bare(path).map_err(|error| trouble_of_git(path, &error))?;
        let mirror = Self { repo, path: path.to_owned() };
        // Opening looks at few files; reading HEAD and the refs shows whether the rest is there.
        if !path.join("objects").is_dir() || !path.join("refs").is_dir() {
            return Err(SourceError::Mirror { path: path.display().to_string(), why: "it is not whole".into() });
        }
        Ok(mirror)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn told(&self, error: &git2::Error) -> SourceError {
        trouble_of_git(&self.path, error)
    }

    /// Keeps a commit, with all that it needs, whatever becomes of its branch.
    ///
    /// # Errors
    /// If it is not here or cannot be written down.
    pub fn keep(&self, commit: &CommitId) -> Result<(), SourceError> {
        let name = format!("{KEPT}{commit}");
        if self.repo.refname_to_id(&name).is_ok() {
            return Ok(());
        }
        let id = self.find(commit)?.id();
        self.repo.reference(&name, id, true, "").map(drop).map_err(|error| self.told(&error))
    }

    /// Whether the commit is here.
    #[must_use]
    pub fn has(&self, commit: &CommitId) -> bool {
        self.find(commit).is_ok()
    }

    pub(super) fn find(&self, commit: &CommitId) -> Result<git2::Commit<'_>, SourceError> {
        let missing = || SourceError::NoCommit { commit: commit.to_string() };
        let id = Oid::from_str(commit.as_str()).map_err(|_| missing())?;
        self.repo.find_commit(id).map_err(|error| match error.code() {
            ErrorCode::NotFound => missing(),
            _ => self.told(&error),
        })
    }

    /// What a ref of the remote stands at in the mirror, tags peeled, whether commit or not.
    pub(super) fn tip(&self, name: &RefName) -> Option<CommitId> {
        peeled(&self.repo.find_reference(&local_name(name)).ok()?)
    }

    /// Whether the commit and its history are whole: git checks that before it lets a ref name it.
    pub(super) fn is_whole(&self, name: &RefName, id: &CommitId) -> bool {
        self.tip(name).as_ref() == Some(id)
    }

    /// Takes away branches and tags that the remote, as far as it was asked, no longer has, tags that it has
    /// elsewhere, and names that are in the way of a new one (`a` of `a/b`), so that moved tags come anew.
    /// The commits stay, kept.
    ///
    /// # Errors
    /// If the refs cannot be read or written.
    pub(super) fn tidy(&self, remote: &Remote, scope: &Scope) -> Result<(), SourceError> {
        let told = |error: git2::Error| self.told(&error);
        let mut doomed = Vec::new();
        // Not those that are kept: they grow ever more.
        for root in [format!("{HEADS}*"), "refs/tags/*".to_owned()] {
            for reference in self.repo.references_glob(&root).map_err(told)? {
                let reference = reference.map_err(told)?;
                let Some(name) = reference.name().ok().and_then(remote_name) else { continue };
                let stale = match remote.refs.get(&name) {
                    None => scope.covers(&name) || is_in_the_way(&name, remote),
                    Some(id) => name.is_tag() && peeled(&reference).as_ref() != Some(id),
                };
                if stale {
                    doomed.push(reference);
                }
            }
        }
        for mut reference in doomed {
            if let Some(id) = peeled(&reference).filter(|id| self.has(id)) {
                self.keep(&id)?;
            }
            reference.delete().map_err(told)?;
        }
        Ok(())
    }

    /// Tags of the remote that point at commits which are here, but are not here themselves.
    pub(super) fn missing_tags(&self, remote: &Remote) -> Vec<RefName> {
        let Ok(odb) = self.repo.odb() else { return Vec::new() };
        let here = |id: &CommitId| {
            // A miss must not make libgit2 read the pack directory again for every tag.
            Oid::from_str(id.as_str()).is_ok_and(|id| odb.exists_ext(id, git2::OdbLookupFlags::NO_REFRESH))
        };
        let tags = remote.refs.iter().filter(|(name, _)| name.is_tag());
        tags.filter(|(name, id)| here(id) && !self.is_whole(name, id)).map(|(name, _)| name.clone()).collect()
    }

    /// Removes what a killed git left: locks and half-written packs that are older than `age`. Age is
    /// measured against a file made now, so the answer does not hang on the clock of this process.
    pub(super) fn sweep(&self, age: Duration) {
        let probe = self.path.join("objects").join("probe.shipbell");
        let now = fs::write(&probe, "").and_then(|()| fs::metadata(&probe)?.modified());
        let _ = fs::remove_file(&probe);
        let Ok(now) = now else { return };
        let old = |path: &Path| {
            let made = fs::metadata(path).and_then(|meta| meta.modified());
            made.is_ok_and(|made| now.duration_since(made).is_ok_and(|passed| passed >= age))
        };
        let left = |name: &str| name.ends_with(".lock") || name.starts_with("tmp_");
        let mut open: BTreeSet<PathBuf> = [self.path.clone()].into();
        while let Some(dir) = open.pop_first() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.insert(path);
                } else if left(&name.to_string_lossy()) && old(&path) && fs::remove_file(&path).is_ok() {
                    tracing::warn!(file = %path.display(), "removed what a killed git left in a mirror");
                }
            }
        }
    }
}

/// Whether a ref of the remote lies below this name, or this name below it: git keeps no two such.
fn is_in_the_way(name: &RefName, remote: &Remote) -> bool {
    let below = format!("{name}/");
    let beneath = remote.refs.keys().any(|other| other.as_str().starts_with(&below));
    let parents = name.as_str().match_indices('/').filter_map(|(at, _)| name.as_str().get(..at));
    beneath || parents.filter_map(|parent| RefName::new(parent).ok()).any(|parent| remote.refs.contains_key(&parent))
}

/// What a ref stands at; through annotated tags.
fn peeled(reference: &git2::Reference<'_>) -> Option<CommitId> {
    let object = reference.peel(ObjectType::Any).ok()?;
    CommitId::new(&object.id().to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mirrors_hang_on_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let one = Mirrors::new(&dir.path().join("git"), b"key").unwrap();
        let two = Mirrors::new(&dir.path().join("git"), b"other key").unwrap();
        assert_eq!(one.path(&Address::open("https://h/a")), one.path(&Address::open("https://h/a")));
        assert_ne!(one.path(&Address::open("https://h/a")), one.path(&Address::open("https://h/b")));
        assert_ne!(one.path(&Address::open("https://h/a")), two.path(&Address::open("https://h/a")));
        let name = one.path(&Address::open("https://h/a")).file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!((name.len(), name.ends_with(".git")), (36, true));
        let mode = fs::metadata(dir.path().join("git")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o711);
    }

    #[test]
    fn a_broken_mirror_is_moved_aside_and_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(dir.path(), b"key").unwrap();
        let path = mirrors.open(&Address::open("https://h/a")).unwrap().path().to_owned();
        for _ in 0..2 {
            fs::remove_dir_all(path.join("objects")).unwrap();
            mirrors.open(&Address::open("https://h/a")).unwrap();
            assert!(path.join("objects").is_dir());
        }
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "no directory").unwrap();
        mirrors.open(&Address::open("https://h/a")).unwrap();
        let left: BTreeSet<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn only_old_leftovers_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let mirror = Mirrors::new(dir.path(), b"key").unwrap().open(&Address::open("https://h/a")).unwrap();
        fs::create_dir_all(mirror.path().join("refs/shipbell/heads")).unwrap();
        let lock = mirror.path().join("refs/shipbell/heads/main.lock");
        fs::write(&lock, "").unwrap();
        mirror.sweep(Duration::from_secs(600));
        assert!(lock.exists());
        mirror.sweep(Duration::ZERO);
        assert!(!lock.exists());
    }
}
