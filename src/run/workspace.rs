//! The workspace of an attempt: a real repository, detached at exactly the commit, that borrows the
//! mirror's objects. It is made by a child of the supervisor that has become the job's user for good, so
//! that a hostile tree meets no more rights than the steps have; it can be ended like any step. git2
//! runs no hook, no filter and no fsmonitor, and checks each object against its own hash.

/// What an earlier run left standing.
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{ErrorCode, IndexEntry, ObjectType, Oid, Repository, Tree};

use crate::model::commit::CommitId;
use crate::model::run::StepEnd;
use crate::run::kept;
use crate::run::process::{Bench, OnStop, Task, plain};
use crate::sys::files;

/// The word in argv behind `supervise` that makes a process the child that checks out.
pub const CHECKOUT: &str = "--checkout";

/// Directories of an attempt that the steps may write.
///
/// # Errors
/// If they cannot be made.
pub fn make_directories(bench: &Bench) -> io::Result<()> {
    let (places, owner) = (&bench.places, bench.doer.owner());
    for dir in [&places.work, &places.out, &places.artifacts, &places.temporary] {
        files::own_dir(dir, 0o750, owner)?;
    }
    let out = files::open_dir(&places.out)?;
    files::create_beneath(&out, "output".as_ref(), 0o640, owner)?;
    if let Some(above) = bench.ticket.home.parent() {
        // Each user passes through to its own home and lists nothing.
        files::own_dir(above, 0o711, None)?;
    }
    files::own_dir(&bench.ticket.home, 0o700, owner)
}

/// Checks the ticket's commit out, if it has one.
///
/// # Errors
/// The end of a step 0 that could not begin.
pub fn check_out(bench: &mut Bench) -> Result<(), StepEnd> {
    let order = &bench.ticket.order;
    let (Some(commit), Some(mirror)) = (&order.commit, &order.mirror) else { return Ok(()) };
    let home = bench.places.temporary.join("git-home");
    let path = |path: &Path| path.as_os_str().to_owned();
    let mut argv: Vec<OsString> = vec![
        "/proc/self/exe".into(),
        "supervise".into(),
        CHECKOUT.into(),
        path(&bench.places.work),
        path(mirror),
        reach(bench.ticket.definition.repo.as_ref().is_none_or(|repo| repo.history)).into(),
        commit.as_str().into(),
    ];
    // Of a kept one: the commits whose files stand there, so that those which are no longer in it go.
    let before = kept::commits(&bench.ticket);
    argv.extend(before.iter().map(|commit| commit.as_str().into()));
    let commit = commit.clone();
    let both: Vec<CommitId> = before.into_iter().chain([commit.clone()]).collect();
    let recorded = kept::record(&bench.ticket, &both);
    recorded.map_err(|error| StepEnd::Refused(format!("the kept workspace cannot be used: {error}")))?;
    // No word of the host's or of the person's git configuration reaches it.
    let env = BTreeMap::from([("HOME".to_owned(), home.to_string_lossy().into_owned())]);
    let task = Task { argv, env, dir: bench.places.work.clone() };
    bench.log.forget_recent();
    match bench.carry_out(task, bench.deadline, OnStop::End) {
        StepEnd::Exit(0) => {
            // Without this record the next run looks for more than it would have to.
            let _ = kept::record(&bench.ticket, &[commit]);
            Ok(())
        }
        end @ (StepEnd::TimedOut | StepEnd::Cancelled) => Err(end),
        end => {
            bench.log.take_in();
            // Names of files in a commit are strangers' words.
            let said = plain(&bench.log.recent());
            Err(StepEnd::Refused(if said.is_empty() { format!("the checkout failed: {end}") } else { said }))
        }
    }
}

/// How far back a work tree's repository knows its history, as the child is told.
fn reach(history: bool) -> &'static str {
    if history { "all" } else { "commit" }
}

/// The child: `supervise --checkout WORK MIRROR all|commit COMMIT BEFORE…`. What it prints is for the log.
///
/// # Errors
/// A text for people.
pub fn child(arguments: &[OsString]) -> Result<Vec<String>, String> {
    let [work, mirror, history, commit, before @ ..] = arguments else {
        return Err("usage: supervise --checkout WORK MIRROR all|commit COMMIT BEFORE...".into());
    };
    let history = history == reach(true);
    let before: Vec<_> = before.iter().map(|commit| commit.to_string_lossy().into_owned()).collect();
    let commit = commit.to_string_lossy();
    trust_the_mirror().map_err(|error| format!("the workspace cannot be prepared: {error}"))?;
    let short: String = commit.chars().take(7).collect();
    make(Path::new(work), Path::new(mirror), history, &commit, &before).map_err(|failure| match failure {
        Failure::NoSuchCommit => format!(
            "commit {short} is not in the mirror\n\
             It may have been taken off its branch and pruned. A newer commit runs by itself; this one cannot."
        ),
        Failure::Submodule(path) => format!(
            "commit {short} has a submodule ({path}), and submodules are not fetched\n\
             Take it into the repository (git subtree add), or remove it and have a step clone what it needs."
        ),
        Failure::Lfs(path) => format!(
            "commit {short} keeps {path} in Git LFS, which is not fetched: a step would find a pointer in its place\n\
             Take the file into the repository (git lfs migrate export), or have a step download it from elsewhere."
        ),
        Failure::Git(error) => format!("commit {short} could not be checked out: {}", error.message()),
        Failure::Io(error) => format!("commit {short} could not be checked out: {error}"),
    })
}

enum Failure {
    NoSuchCommit,
    /// Its path, fit to be shown.
    Submodule(String),
    Lfs(String),
    Git(git2::Error),
    Io(io::Error),
}

impl From<git2::Error> for Failure {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The mirror belongs to another user than we have become; libgit2 reads its refs only when told so.
fn trust_the_mirror() -> io::Result<()> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return Ok(()) };
    std::fs::create_dir_all(&home)?;
    std::fs::write(home.join(".gitconfig"), "[safe]\n\tdirectory = *\n")
}

/// The whole of it: the same for every run, and nothing of the host's. A gc in a step would only copy what is
/// borrowed.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
                      \tlogallrefupdates = true\n\tfsmonitor = false\n[gc]\n\tauto = 0\n";

/// A repository without a commit that borrows the mirror's objects.
fn begin(git: &Path, mirror: &Path) -> io::Result<()> {
    for dir in ["objects/info", "refs/heads", "refs/tags", "info", "hooks"] {
        std::fs::create_dir_all(git.join(dir))?;
    }
    let mut objects = mirror.join("objects").into_os_string();
    objects.push("\n");
    std::fs::write(git.join("objects/info/alternates"), objects.as_encoded_bytes())?;
    std::fs::write(git.join("config"), CONFIG)?;
    std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n")
}

fn make(work: &Path, mirror: &Path, history: bool, commit: &str, before: &[String]) -> Result<Vec<String>, Failure> {
    let git = work.join(".git");
    let former = put_aside(&git)?;
    std::thread::scope(|scope| {
        // A file system may take its time to free what was written; meanwhile files are read. Where no thread can be
        // had it goes with all that is temporary at the end of the run.
        let gone =
            former.map(|former| std::thread::Builder::new().spawn_scoped(scope, move || files::remove_tree(&former)));
        let made = make_anew(work, mirror, history, commit, before);
        drop(gone);
        made
    })
}

/// What the last run made of its repository is not believed, neither its configuration nor its objects. Gives the
/// place where it lies until it is removed.
fn put_aside(git: &Path) -> io::Result<Option<PathBuf>> {
    let Some(aside) = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("former.git")) else {
        return files::remove_tree(git).map(|()| None);
    };
    match std::fs::rename(git, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It is on another disk.
        Err(_) => files::remove_tree(git).map(|()| None),
    }
}

fn make_anew(
    work: &Path,
    mirror: &Path,
    history: bool,
    commit: &str,
    before: &[String],
) -> Result<Vec<String>, Failure> {
    let git = work.join(".git");
    begin(&git, mirror)?;
    let repository = Repository::open(work)?;
    let id = Oid::from_str(commit)?;
    let commit = match repository.find_commit(id) {
        Ok(commit) => commit,
        Err(error) if error.code() == ErrorCode::NotFound => return Err(Failure::NoSuchCommit),
        Err(error) => return Err(error.into()),
    };
    let mut tags = all_tags(&Repository::open(mirror)?)?;
    if history {
        keep_behind(&mut tags, &repository, id)?;
    } else {
        // As a clone of depth one has it. The commits before it are in the mirror, and no command finds them.
        std::fs::write(git.join("shallow"), format!("{id}\n"))?;
        tags.retain(|_, (_, commit)| *commit == id);
    }
    std::fs::write(git.join("packed-refs"), packed(tags))?;
    let tree = commit.tree()?;
    let wanted = files_of(&tree)?;
    refuse_what_is_elsewhere(&repository, &wanted)?;
    repository.set_head_detached(id)?;
    if !standing::any(work)? || standing::settle(&repository, work, wanted, &paths_gone(&repository, before, &tree))? {
        // What stands is in the index, as it stands; all else is written.
        let mut how = CheckoutBuilder::new();
        repository.checkout_tree(commit.as_object(), Some(how.force().disable_filters(true)))?;
    }
    Ok(Vec::new())
}

/// All that a commit has, in the order of paths.
fn files_of(tree: &Tree<'_>) -> Result<Vec<IndexEntry>, git2::Error> {
    let mut index = git2::Index::new()?;
    index.read_tree(tree)?;
    Ok(index.iter().collect())
}

/// What those commits have, if they are still known, and this tree has not.
fn paths_gone(repository: &Repository, before: &[String], tree: &Tree<'_>) -> Vec<Vec<u8>> {
    let of = |commit: &String| {
        let before = repository.find_commit(Oid::from_str(commit)?)?.tree()?;
        let diff = repository.diff_tree_to_tree(Some(&before), Some(tree), None)?;
        let gone = diff.deltas().filter(|delta| delta.status() == git2::Delta::Deleted);
        Ok::<Vec<_>, git2::Error>(gone.filter_map(|delta| Some(delta.old_file().path_bytes()?.to_vec())).collect())
    };
    before.iter().flat_map(|commit| of(commit).unwrap_or_default()).collect()
}

/// Submodules and Git LFS keep parts of a tree in other places, which nobody has approved and no mirror has.
/// Built without them a commit would be something else than it says.
fn refuse_what_is_elsewhere(repository: &Repository, files: &[IndexEntry]) -> Result<(), Failure> {
    let named = |path: &[u8]| -> String {
        String::from_utf8_lossy(path).chars().flat_map(char::escape_default).take(200).collect()
    };
    let mut has_lfs = false;
    for entry in files {
        if entry.mode == u32::from(git2::FileMode::Commit) {
            return Err(Failure::Submodule(named(&entry.path)));
        }
        if entry.path.ends_with(b".gitattributes") {
            let text = repository.find_blob(entry.id)?;
            has_lfs |= text.content().windows(LFS_FILTER.len()).any(|window| window == LFS_FILTER);
        }
    }
    if !has_lfs {
        return Ok(());
    }
    let odb = repository.odb()?;
    for IndexEntry { path, id, .. } in files {
        let (size, kind) = odb.read_header(*id)?;
        if kind == ObjectType::Blob && size < LFS_POINTER_MAX && repository.find_blob(*id)?.content().starts_with(LFS) {
            return Err(Failure::Lfs(named(path)));
        }
    }
    Ok(())
}

const LFS_FILTER: &[u8] = b"filter=lfs";
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1";
const LFS_POINTER_MAX: usize = 1024;

/// By its full name, what a tag is and the commit that it stands for.
type Tags = BTreeMap<Vec<u8>, (Oid, Oid)>;

fn all_tags(mirror: &Repository) -> Result<Tags, git2::Error> {
    let mut tags = Tags::new();
    for tag in mirror.references_glob("refs/tags/*")? {
        let tag = tag?;
        let (Some(target), Ok(peeled)) = (tag.target(), tag.peel(ObjectType::Commit)) else { continue };
        tags.insert(tag.name_bytes().to_vec(), (target, peeled.id()));
    }
    Ok(tags)
}

/// Leaves those on the commit and its ancestors.
fn keep_behind(tags: &mut Tags, work: &Repository, commit: Oid) -> Result<(), git2::Error> {
    let mut wanted: BTreeSet<Oid> = tags.values().map(|(_, commit)| *commit).collect();
    if !wanted.is_empty() {
        let mut walk = work.revwalk()?;
        walk.push(commit)?;
        for ancestor in walk {
            wanted.remove(&ancestor?);
            if wanted.is_empty() {
                break;
            }
        }
    }
    tags.retain(|_, (_, commit)| !wanted.contains(commit));
    Ok(())
}

/// The text of `packed-refs`.
fn packed(tags: Tags) -> Vec<u8> {
    let mut text = b"# pack-refs with: peeled fully-peeled sorted \n".to_vec();
    for (name, (target, commit)) in tags {
        text.extend_from_slice(format!("{target} ").as_bytes());
        text.extend_from_slice(&name);
        text.push(b'\n');
        if target != commit {
            text.extend_from_slice(format!("^{commit}\n").as_bytes());
        }
    }
    text
}
