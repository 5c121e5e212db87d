//! The configuration, read at the start and at every reload. The executor learns the definitions and
//! the last good version of each file is kept before the core hears of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info, warn};

use crate::clock;
use crate::config::{Loaded, Loader};
use crate::daemon::Options;
use crate::executor::Executor;
use crate::inbox::ReloadReport;
use crate::model::catalog::{Catalog, Job, Pipeline, PipelineState};

pub(super) fn load(options: &Options, executor: &Executor, loader: &Mutex<Loader>) -> Loaded {
    // First it: whatever we start is then known there. What changed between the two is refused, and said.
    if let Err(error) = executor.reload() {
        error!("the executor could not read the job files anew: {error}");
    }
    let mut loader = loader.lock().unwrap_or_else(PoisonError::into_inner);
    let (loaded, kept) = loader.reload(&options.layout, &options.trust, clock::now());
    for problem in &loaded.problems {
        warn!("{}", problem.text);
    }
    for (file, why) in &loaded.catalog.skipped {
        info!("{}: skipped, {why}", file.display());
    }
    // What an unsafe or missing file said is not to be started by anybody; of a last good version not what
    // deploys, for it was judged by rules that may not hold any more.
    let held = |pipeline: &Pipeline, job: &Job| match pipeline.state {
        PipelineState::Ok => false,
        PipelineState::LastGood { .. } => job.definition.deploys(),
        PipelineState::Off { .. } => true,
    };
    let jobs = |pipeline: &Arc<Pipeline>| {
        let jobs = pipeline.jobs.values().filter(|job| !held(pipeline, job));
        jobs.map(|job| (job.hash.clone(), Arc::clone(&job.definition))).collect::<Vec<_>>()
    };
    executor.learn(loaded.catalog.pipelines.values().flat_map(jobs));
    executor.know(&loaded.catalog.people);
    if let Err(error) = kept {
        error!("the last good versions of the job files could not be kept: {error}");
    }
    loaded
}

/// Links begin with the address that was got, where no `public-url` is given.
pub(super) fn name_address(catalog: &mut Catalog, address: &str) {
    let settings = &mut catalog.settings;
    settings.public_url.get_or_insert_with(|| format!("http://{address}"));
}

pub(super) fn report(loaded: &Loaded) -> ReloadReport {
    let ok = loaded.catalog.pipelines.values().filter(|pipeline| pipeline.state == PipelineState::Ok).count();
    ReloadReport {
        files_ok: ok,
        files_broken: broken(loaded),
        problems: loaded.problems.iter().map(|problem| problem.text.clone()).collect(),
    }
}

/// Nothing was taken in, the files themselves may be good.
pub(super) fn failed(catalog: &Catalog, text: String) -> ReloadReport {
    let ok = catalog.pipelines.values().filter(|pipeline| pipeline.state == PipelineState::Ok).count();
    ReloadReport { files_ok: ok, files_broken: 1, problems: vec![text] }
}

/// Files with mistakes: job files and shipbell.toml.
pub(super) fn broken(loaded: &Loaded) -> usize {
    loaded.problems.iter().map(|problem| &problem.file).collect::<BTreeSet<_>>().len()
}
