//! Loads again and again, and reads only what may have changed meanwhile: a file whose inode says that it
//! was not touched, read against the same shipbell.toml, says the same as before. And keeps what is good.

use std::collections::BTreeMap;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::last_good::{self, LastGood};
use crate::config::layout::Layout;
use crate::config::load::{self, Basis};
use crate::config::message::Problem;
use crate::config::{Loaded, Trust, safe};
use crate::model::catalog::{Catalog, Job, Pipeline, PipelineState};
use crate::model::name::PipelineName;
use crate::model::time::Timestamp;

/// A file touched less than this many seconds ago may be touched again within one tick of its file
/// system's clock: its inode would not tell.
const FRESH: i64 = 3;
/// So many files are read by one thread.
const CHUNK: usize = 64;

/// What is remembered from one load to the next.
#[derive(Debug, Default)]
pub struct Loader {
    /// Somebody else keeps the last good versions.
    reads_only: bool,
    last_good: Option<LastGood>,
    before: Option<Before>,
}

/// The load before.
#[derive(Debug)]
struct Before {
    /// What job files were read against: text and meaning of shipbell.toml, and whom to trust.
    settings: Option<String>,
    catalog: Catalog,
    trust: Trust,
    read: BTreeMap<PipelineName, Known>,
}

/// A good file as it was read.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    pipeline: Arc<Pipeline>,
}

/// By what a change of a file is seen: whatever is written, granted or put in its place, the kernel sets
/// the time of the inode's change or gives another inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (u64, u64),
    changed: (i64, u32),
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        let nanos = u32::try_from(data.ctime_nsec()).unwrap_or_default();
        Self { inode: (data.dev(), data.ino()), changed: (data.ctime(), nanos) }
    }

    fn is_settled(&self, now: Timestamp) -> bool {
        self.changed.0 < now.as_second() - FRESH
    }
}

/// A job file that was found.
pub(super) struct Found {
    pub path: PathBuf,
    pub kind: FileType,
}

/// One pipeline, what is wrong with its file, and what its inode said before it was read.
type One = (Arc<Pipeline>, Vec<Problem>, Option<Stamp>);

impl Loader {
    /// One that reads what somebody else keeps.
    #[must_use]
    pub fn reading_only() -> Self {
        Self { reads_only: true, ..Self::default() }
    }

    /// Loads everything and keeps what is good for the next time.
    ///
    /// # Errors
    /// If it could not be kept; the configuration itself is loaded all the same.
    pub fn reload(&mut self, layout: &Layout, trust: &Trust, now: Timestamp) -> (Loaded, io::Result<()>) {
        let dir = layout.last_good();
        let mut last_good = self.last_good.take().unwrap_or_else(|| last_good::read(&dir));
        let text = safe::read(&layout.shipbell_toml(), Some(trust)).ok();
        let (loaded, stamps) = self.load(layout, trust, &last_good, text.as_deref(), now);
        if self.reads_only {
            last_good.hold(&loaded.catalog);
            self.last_good = Some(last_good);
            return (loaded, Ok(()));
        }
        let of_settings = loaded.problems.iter().any(|problem| problem.file == layout.shipbell_toml());
        let kept = if of_settings { Ok(()) } else { last_good::keep_settings(&dir, text.as_deref()) };
        let kept = kept.and_then(|()| last_good.keep(&dir, &loaded.catalog));
        self.last_good = Some(last_good);
        self.before = (!of_settings).then(|| remember(&loaded.catalog, trust, text, stamps));
        (loaded, kept)
    }

    pub(super) fn load(
        &self,
        layout: &Layout,
        trust: &Trust,
        last_good: &LastGood,
        settings: Option<&str>,
        now: Timestamp,
    ) -> (Loaded, BTreeMap<PipelineName, Stamp>) {
        let (basis, mut problems) = load::basis_of_host(layout, trust);
        let mut catalog = Catalog::default();
        let found = load::discover(layout, trust, &mut catalog.skipped);
        let before = self.before.as_ref().filter(|before| before.holds(&basis, trust, settings));
        let found: Vec<(&PipelineName, &Found)> = found.iter().collect();
        let one = |(name, found): &(&PipelineName, &Found)| -> One {
            let stamp = stamp(found).filter(|stamp| stamp.is_settled(now));
            let known = before.and_then(|before| before.read.get(*name));
            if let Some(known) = known
                && known.pipeline.file == found.path
                && stamp.as_ref() == Some(&known.stamp)
            {
                return (Arc::clone(&known.pipeline), Vec::new(), stamp);
            }
            let (pipeline, told) = load::one(name, &found.path, (Some(trust), trust), &basis, || last_good.get(name));
            (Arc::new(pipeline), told, stamp)
        };
        let mut stamps = BTreeMap::new();
        for ((name, _), (pipeline, told, stamp)) in found.iter().zip(each(&found, one)) {
            if let Some(stamp) = stamp.filter(|_| stands_alone(&pipeline)) {
                stamps.insert((*name).clone(), stamp);
            }
            catalog.pipelines.insert((*name).clone(), pipeline);
            problems.extend(told);
        }
        let gone: Vec<&PipelineName> =
            last_good.names().filter(|name| !catalog.pipelines.contains_key(*name)).collect();
        for old in gone.into_iter().filter_map(|name| last_good.get(name)) {
            let state = PipelineState::Off { why: format!("its file {} is gone", old.file.display()), gone: true };
            catalog.pipelines.insert(old.name.clone(), Arc::new(Pipeline { state, ..old.as_ref().clone() }));
        }
        if let Basis::Good(shared) = basis {
            (catalog.settings, catalog.people) = (shared.settings, shared.people);
        }
        (Loaded { catalog, problems }, stamps)
    }
}

impl Before {
    /// Whether files are read against the same as before.
    fn holds(&self, basis: &Basis, trust: &Trust, settings: Option<&str>) -> bool {
        let Basis::Good(shared) = basis else { return false };
        let meaning = (&self.catalog.settings, &self.catalog.people) == (&shared.settings, &shared.people);
        meaning && self.settings.as_deref() == settings && self.trust == *trust
    }
}

fn remember(
    catalog: &Catalog,
    trust: &Trust,
    settings: Option<String>,
    stamps: BTreeMap<PipelineName, Stamp>,
) -> Before {
    let known = |(name, stamp): (PipelineName, Stamp)| {
        let pipeline = Arc::clone(catalog.pipelines.get(&name)?);
        Some((name, Known { stamp, pipeline }))
    };
    let read = stamps.into_iter().filter_map(known).collect();
    let catalog = Catalog { settings: catalog.settings.clone(), people: catalog.people.clone(), ..Catalog::default() };
    Before { settings, catalog, trust: trust.clone(), read }
}

/// Whether all that it says stands in its own file, and it is good.
fn stands_alone(pipeline: &Pipeline) -> bool {
    let named = |job: &Arc<Job>| job.definition.init.as_ref().is_some_and(|init| init.source.is_some());
    pipeline.state == PipelineState::Ok && !pipeline.jobs.values().any(named)
}

/// Through a link both ends would have to be looked at: such a file is read each time.
fn stamp(found: &Found) -> Option<Stamp> {
    let plain = found.kind.is_file();
    plain.then(|| fs::symlink_metadata(&found.path).ok()).flatten().map(|data| Stamp::of(&data))
}

/// Of each, in order; many are shared out among the processors.
fn each<T: Sync, R: Send>(all: &[T], one: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let size = all.len().div_ceil(threads).max(CHUNK);
    if all.len() <= size {
        return all.iter().map(one).collect();
    }
    let one = &one;
    std::thread::scope(|scope| {
        let work = |chunk| move || Iterator::map(<[T]>::iter(chunk), one).collect::<Vec<R>>();
        let threads: Vec<_> = all.chunks(size).map(|chunk| (chunk, scope.spawn(work(chunk)))).collect();
        // A thread that came to grief left its part undone: it is done here.
        let part = |(chunk, thread): (&[T], std::thread::ScopedJoinHandle<'_, Vec<R>>)| {
            thread.join().unwrap_or_else(|_| chunk.iter().map(one).collect())
        };
        threads.into_iter().flat_map(part).collect()
    })
}
