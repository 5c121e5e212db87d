//! From a job file as written to a pipeline of definitions: needs and their order, the one branch of a
//! job that has to have one, environments with shipbell.toml's policy, what holds where nothing is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use crate::config::file::{Draft, RepoDraft};
use crate::config::message::{Findings, Mistake, Spot, closest};
use crate::config::settings::{Shared, missing_approval};
use crate::config::{environment, job};
use crate::model::catalog::{Job, Notify, Pipeline, PipelineState, Pulls};
use crate::model::glob::is_plain;
use crate::model::job::{
    CatchUp, DEFINITION_FORMAT, Definition, EnvironmentPolicy, InitDef, OnInterrupted, Overlap, RefFilter, Retry,
    Unchanged,
};
use crate::model::name::{EnvironmentName, JobName};
use crate::model::request::ROOT;
use crate::model::time::Seconds;
use crate::sys::host;

/// Kept of what a run prints.
const LOG_BYTES: u64 = 64 << 20;

/// Policies of environments as combined, with their pools.
type Policies = BTreeMap<EnvironmentName, (EnvironmentPolicy, Vec<String>)>;

/// The pipeline of a job file. What is wrong is in `findings`; the result is used only if nothing is.
pub fn pipeline(draft: Draft, shared: &Shared, findings: &Findings) -> Option<Pipeline> {
    check_needs(&draft, findings);
    check_way(&draft, findings);
    let order = order(&draft, findings)?;
    check_root(&draft, shared, findings);
    let policies = policies(&draft, shared, findings);
    let mut jobs = BTreeMap::new();
    for one in &draft.jobs {
        let policy = environment_of(one, &draft, shared, &policies, findings);
        check_init(one, &draft, findings);
        let refs = refs(one, &draft, findings);
        // Both have been told. A job never goes on without its environment's policy or its branch.
        let (Some(refs), true) = (refs, policy.is_some() == one.environment.is_some()) else { continue };
        let definition = definition(one, draft.repo.as_ref(), draft.init.as_ref(), refs, policy);
        check_seeds(&definition, one, shared, findings);
        let hash = definition.hash();
        jobs.insert(
            one.key.job.clone(),
            Arc::new(Job {
                definition: Arc::new(definition),
                hash,
                description: one.description.clone(),
                notify: one.telling.notify.clone().unwrap_or_else(Notify::usual),
                marks: one.telling.marks.clone().unwrap_or_default(),
                pings: one.telling.pings.clone(),
                line: one.header.line(),
            }),
        );
    }
    if jobs.len() != draft.jobs.len() {
        return None;
    }
    let environments = policies.into_iter().map(|(name, (policy, _))| (name, policy)).collect();
    Some(Pipeline {
        name: draft.name,
        file: draft.path,
        state: PipelineState::Ok,
        description: draft.description,
        repo: draft.repo.map(|repo| Box::new(repo.repo)),
        jobs,
        order,
        environments,
    })
}

/// A file that has root's rights in it was meant to: said once, by who may say it.
fn check_root(draft: &Draft, shared: &Shared, findings: &Findings) {
    let users = draft.jobs.iter().filter_map(|job| job.user.as_ref());
    let mut root =
        users.filter(|(name, _)| name == ROOT || host::account_named(name).is_some_and(|user| user.uid == 0));
    if let (Some((name, spot)), false) = (root.next(), shared.settings.allow_root) {
        let file = crate::config::message::plain(&shared.file.display().to_string());
        let mistake =
            Mistake::new(spot, format!("user = \"{name}\" is root, and no job file may have root's rights here"));
        let mistake = mistake.label("name another user");
        findings
            .add(&mistake.note(format!("or allow it to all job files: allow-root = true below [limits] of {file}")));
    }
}

/// One for all jobs that name none: there may be ten thousand.
static USUAL_SHELL: LazyLock<Arc<[String]>> =
    LazyLock::new(|| ["bash", "-euo", "pipefail", "-c"].map(String::from).into());

fn no_refs() -> RefFilter {
    RefFilter { branches: None, tags: Vec::new() }
}

fn definition(
    job: &job::Draft,
    repo: Option<&RepoDraft>,
    init: Option<&InitDef>,
    refs: RefFilter,
    policy: Option<&(EnvironmentPolicy, Vec<String>)>,
) -> Definition {
    let deploys = job.environment.is_some();
    let mut pools = job.pools.clone();
    pools.extend(policy.iter().flat_map(|(_, pools)| pools.iter().cloned()));
    pools.sort();
    pools.dedup();
    let hours = if repo.is_some() { 1 } else { 24 };
    Definition {
        v: DEFINITION_FORMAT,
        key: job.key.clone(),
        repo: repo.map(|repo| repo.definition.clone()),
        refs,
        pulls: takes_pulls(job, repo),
        schedule: job.schedule.clone(),
        every: job.every.clone(),
        catch_up: job.catch_up.unwrap_or(CatchUp::Once),
        catch_up_window: job.catch_up_window.unwrap_or(Seconds::hours(24)),
        overlap: job.overlap.unwrap_or(Overlap::Queue),
        unchanged: job.unchanged.unwrap_or(if deploys { Unchanged::Skip } else { Unchanged::Run }),
        needs: job.needs.iter().map(|(name, _)| name.clone()).collect(),
        manual: job.manual,
        params: job.params.clone(),
        repo_paths: repo.map(|repo| repo.paths.clone()).unwrap_or_default(),
        paths: job.paths.as_ref().map(|(paths, _)| paths.clone()).unwrap_or_default(),
        pools,
        init: init.filter(|_| job.init.as_ref().is_none_or(|(wanted, _)| *wanted)).map(|init| Box::new(init.clone())),
        steps: job.steps.clone(),
        dir: job.dir.clone(),
        shell: job.shell.clone().map_or_else(|| USUAL_SHELL.clone(), Arc::from),
        env: job.env.clone(),
        user: job.user.as_ref().map(|(name, _)| name.clone()),
        timeout: job.timeout.unwrap_or(Seconds::hours(hours)),
        grace: job.grace.unwrap_or(Seconds(10)),
        retry: job.retry.unwrap_or(Retry { attempts: 1, delay: Seconds(0) }),
        artifacts: job.artifacts.clone(),
        environment: policy.map(|(policy, _)| Box::new(policy.clone())),
        verify: job.verify.clone(),
        on_interrupted: job.on_interrupted.unwrap_or(if deploys {
            OnInterrupted::Report
        } else {
            OnInterrupted::Retry
        }),
        sandbox: job.sandbox.unwrap_or_default(),
        secrets: job.secrets.clone(),
        on_leak: job.on_leak.unwrap_or_default(),
        workspace: job.workspace.unwrap_or_default(),
        log_limit: job.limits.log.unwrap_or(LOG_BYTES),
        limits: job.limits.limits,
    }
}

/// Pull requests are for jobs that test whatever is new: those that name no branches of their own, stand
/// on no other job and change no environment.
fn takes_pulls(job: &job::Draft, repo: Option<&RepoDraft>) -> bool {
    let wanted = repo.is_some_and(|repo| repo.repo.pulls == Pulls::Sandboxed);
    let by_commits = job.timed_at.is_none() && !job.manual && job.needs.is_empty() && job.environment.is_none();
    wanted && by_commits && job.branches.is_none() && job.tags.is_none()
}

fn check_needs(draft: &Draft, findings: &Findings) {
    let mut names: Vec<&str> = draft.job_names.iter().map(String::as_str).collect();
    names.sort_unstable();
    for job in &draft.jobs {
        for (need, at) in &job.needs {
            let here = &job.key.job;
            if need == here {
                findings.add(&Mistake::new(at, format!("job `{here}` needs itself")).label("remove it"));
            } else if !names.contains(&need.as_str()) {
                let others = names.iter().copied().filter(|name| *name != here.as_str());
                let mut mistake =
                    Mistake::new(at, format!("job `{here}` needs `{need}`, which is not a job of this file"));
                if let Some(meant) = closest(need.as_str(), others) {
                    mistake = mistake.label(format!("did you mean `{meant}`?"));
                }
                findings.add(&mistake.note(format!("jobs here: {}", names.join(", "))));
            }
        }
    }
}

/// Jobs in order of needs, then of the file. `None`: some need each other, which is told.
fn order(draft: &Draft, findings: &Findings) -> Option<Vec<JobName>> {
    let known: BTreeSet<&JobName> = draft.jobs.iter().map(|job| &job.key.job).collect();
    let mut order: Vec<JobName> = Vec::new();
    loop {
        let open = |job: &&job::Draft| !order.contains(&job.key.job);
        let met = |need: &JobName| order.contains(need) || !known.contains(need);
        let ready = |job: &&job::Draft| job.needs.iter().all(|(need, _)| met(need) || *need == job.key.job);
        match draft.jobs.iter().filter(open).find(ready) {
            Some(job) => order.push(job.key.job.clone()),
            None => break,
        }
    }
    let Some(first) = draft.jobs.iter().find(|job| !order.contains(&job.key.job)) else { return Some(order) };
    // From any job that is left, needs that are left lead into a circle.
    let mut path: Vec<(&JobName, &Spot)> = vec![(&first.key.job, &first.header)];
    while let Some((name, _)) = path.last().copied() {
        let job = draft.jobs.iter().find(|job| job.key.job == *name)?;
        let (need, at) = job.needs.iter().find(|(need, _)| known.contains(need) && !order.contains(need))?;
        if let Some(start) = path.iter().position(|(name, _)| *name == need) {
            let circle = path.get(start..).unwrap_or_default();
            let names: Vec<&str> = circle.iter().map(|(name, _)| name.as_str()).chain([need.as_str()]).collect();
            let mut mistake =
                Mistake::new(at, format!("these jobs need each other in a circle: {}", names.join(" -> ")));
            for (_, spot) in circle.iter().skip(1) {
                mistake = mistake.with_line(spot);
            }
            findings.add(&mistake.label("one of them must come first: remove a need"));
            return None;
        }
        path.push((need, at));
    }
    None
}

/// What anybody on the way can put there is not deployed.
fn check_way(draft: &Draft, findings: &Findings) {
    let unproven = draft.repo.as_ref().and_then(|repo| repo.unproven_at.as_ref());
    let deploys = draft.jobs.iter().find_map(|job| Some((&job.key.job, &job.environment.as_ref()?.1)));
    if let (Some(at), Some((job, environment_at))) = (unproven, deploys) {
        let headline = format!("job `{job}` deploys what comes over git://, which anybody on the way can change");
        let label =
            "write https:// or ssh:// here, or demand signatures: signed-by = \"/etc/shipbell/allowed-signers\"";
        findings.add(&Mistake::new(at, headline).label(label).with_line(environment_at));
    }
}

fn policies(draft: &Draft, shared: &Shared, findings: &Findings) -> Policies {
    let mut policies = Policies::new();
    let used = draft.jobs.iter().filter_map(|job| job.environment.as_ref().map(|(name, _)| name));
    let declared = draft.environments.iter().map(|draft| &draft.name);
    for name in used.chain(declared).collect::<BTreeSet<_>>() {
        let own = draft.environments.iter().find(|draft| draft.name == *name);
        let outer = shared.environments.iter().find(|draft| draft.name == *name);
        if let Some(own) = own {
            if outer.is_none() && matches!(own.approval, environment::Said::Nothing) {
                findings.add(&missing_approval(own));
            }
            environment::check_people(own, shared, findings);
        }
        if let Some(combined) = environment::combine(outer, own, findings) {
            policies.insert(name.clone(), combined);
        }
    }
    policies
}

fn environment_of<'a>(
    job: &job::Draft,
    draft: &Draft,
    shared: &Shared,
    policies: &'a Policies,
    findings: &Findings,
) -> Option<&'a (EnvironmentPolicy, Vec<String>)> {
    let (name, at) = job.environment.as_ref()?;
    let inner: BTreeSet<&str> = draft.environments.iter().map(|draft| draft.name.as_str()).collect();
    let outer: BTreeSet<&str> = shared.environments.iter().map(|draft| draft.name.as_str()).collect();
    if inner.contains(name.as_str()) || outer.contains(name.as_str()) {
        return policies.get(name);
    }
    let here = &job.key.job;
    let mut mistake =
        Mistake::new(at, format!("job `{here}` deploys to environment `{name}`, which is declared nowhere"));
    if let Some(meant) = closest(name.as_str(), inner.iter().chain(&outer).copied()) {
        mistake = mistake.label(format!("did you mean `{meant}`?"));
    }
    for (names, file) in [(inner, &draft.path), (outer, &shared.file)] {
        if !names.is_empty() {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            mistake = mistake.note(format!("declared: {names} ({})", file.display()));
        }
    }
    let new = format!("a new target: add [environment.{name}] with approval = {{...}} or approval = \"none\"");
    findings.add(&mistake.note(new));
    None
}

/// Whoever has a seed can vote with it: no step gets one.
fn check_seeds(definition: &Definition, job: &job::Draft, shared: &Shared, findings: &Findings) {
    let names = definition.secret_names();
    let of = shared.people.iter().find(|(_, person)| person.totp.as_ref().is_some_and(|seed| names.contains(seed)));
    if let Some((name, Some(seed))) = of.map(|(name, person)| (name, person.totp.as_ref())) {
        let headline = format!("job `{}` wants the secret `{seed}`, which makes the codes of `{name}`", job.key.job);
        findings.add(&Mistake::new(&job.header, headline).label("no job gets that: name another secret"));
    }
}

fn check_init(job: &job::Draft, draft: &Draft, findings: &Findings) {
    if let (Some((true, at)), false) = (&job.init, draft.has_init) {
        let mistake = Mistake::new(at, format!("job `{}` wants init, but the file has no [init]", job.key.job));
        findings.add(&mistake.label("add a line [init] to the file, or remove this"));
    }
}

/// What a job follows. `None`: it cannot be said, which is told.
fn refs(job: &job::Draft, draft: &Draft, findings: &Findings) -> Option<RefFilter> {
    let Some(repo) = &draft.repo else {
        if draft.has_repo {
            return None;
        }
        for at in [&job.branches, &job.tags, &job.paths].into_iter().flatten().map(|(_, at)| at) {
            // A default of shipbell.toml is for the files that have a repository.
            if at.source == job.header.source {
                let headline =
                    format!("job `{}` names branches, tags or paths, but the file has no [repo]", job.key.job);
                findings.add(&Mistake::new(at, headline).label("add [repo] with its url, or remove this"));
            }
        }
        return Some(no_refs());
    };
    let own = RefFilter {
        branches: job.branches.as_ref().map(|(names, _)| names.clone()),
        tags: job.tags.as_ref().map(|(tags, _)| tags.clone()).unwrap_or_default(),
    };
    let has_own = own.branches.is_some() || !own.tags.is_empty();
    let deploys = job.environment.is_some();
    if !deploys && job.timed_at.is_none() {
        return Some(if has_own { own } else { repo.repo.refs.clone() });
    }
    let (here, does) = (&job.key.job, if deploys { "deploys" } else { "has a schedule" });
    let headline = format!("job `{here}` {does}, but it is not clear from which branch");
    let plain = |names: &[String]| matches!(names, [one] if is_plain(one));
    match (&own.branches, own.tags.is_empty()) {
        (Some(names), true) if plain(names) => Some(own),
        (None, false) => Some(own),
        (Some(_), _) => {
            let at = job.branches.as_ref().map_or(&job.header, |(_, at)| at);
            let mistake = Mistake::new(at, headline).label("name exactly one branch here (or tags instead of it)");
            findings.add(&mistake.with_line(&job.header));
            None
        }
        (None, true) => match &repo.repo.refs.branches {
            None => Some(repo.repo.refs.clone()),
            Some(names) => {
                let main: Vec<&String> = names.iter().filter(|name| is_plain(name)).collect();
                if let [main] = main.as_slice() {
                    return Some(RefFilter { branches: Some(vec![(*main).clone()]), tags: Vec::new() });
                }
                let example = main.first().map_or("main", |name| name.as_str());
                let mut mistake = Mistake::new(&job.header, headline)
                    .label(format!("add branches = \"{example}\" (or tags = \"v*\") to this job"));
                if let Some(at) = &repo.branches_at {
                    mistake = mistake.with_line(at);
                }
                findings.add(&mistake);
                None
            }
        },
    }
}
