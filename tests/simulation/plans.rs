//! Configurations: three pipelines with every kind of job, and the ways in which a sysadmin alters them.

use std::collections::BTreeMap;
use std::sync::Arc;

use shipbell::model::catalog::{Catalog, Job, Marks, Notify, Person, Pipeline, PipelineState, Pulls, Repo, Settings};
use shipbell::model::forge::{Forge, ForgeSettings};
use shipbell::model::job::{
    Approval, CatchUp, Commits, DEFINITION_FORMAT, Definition, EnvironmentPolicy, Every, EveryFrom, Factor, Hash,
    Limits, OnInterrupted, Overlap, RefFilter, RepoDef, Retry, Sandbox, ScheduleDef, StepDef, Unchanged, WindowDef,
};
use shipbell::model::letter::COMMITTERS;
use shipbell::model::time::Seconds;

use crate::random::Random;

/// What a sysadmin may turn.
#[derive(Debug, Clone)]
pub struct Plan {
    pub staging_timed: bool,
    pub window: bool,
    pub votes: u32,
    pub forbid_author: bool,
    pub retry: u32,
    pub every: bool,
    pub paths: bool,
    pub quiet: u64,
    pub slots: u32,
    pub overlap_skip: bool,
    pub catch_up_skip: bool,
    pub hourly: bool,
    /// Counted up: another text of a step, so another definition.
    pub steps: u32,
    pub without: Option<&'static str>,
    pub app_state: PipelineState,
    pub without_app: bool,
    pub bob_releases: bool,
    pub pulls: bool,
    /// Whether commits of app must be signed.
    pub signed: bool,
}

impl Plan {
    pub fn new(random: &mut Random) -> Self {
        Self {
            staging_timed: random.one_in(3),
            window: random.one_in(3),
            votes: if random.one_in(3) { 2 } else { 1 },
            forbid_author: random.one_in(4),
            retry: if random.one_in(2) { 3 } else { 1 },
            every: random.one_in(2),
            paths: random.one_in(3),
            quiet: if random.one_in(4) { 90 } else { 0 },
            slots: 1 + u32::try_from(random.below(4)).unwrap(),
            overlap_skip: random.one_in(4),
            catch_up_skip: random.one_in(4),
            pulls: random.one_in(2),
            ..Self::plain()
        }
    }

    /// The plainest.
    pub fn plain() -> Self {
        Self {
            staging_timed: false,
            window: false,
            votes: 1,
            forbid_author: false,
            retry: 1,
            every: false,
            paths: false,
            quiet: 0,
            slots: 4,
            overlap_skip: false,
            catch_up_skip: false,
            hourly: true,
            steps: 0,
            without: None,
            app_state: PipelineState::Ok,
            without_app: false,
            bob_releases: true,
            pulls: false,
            signed: false,
        }
    }

    /// One turn of one screw; says which.
    pub fn change(&mut self, random: &mut Random) -> String {
        match random.below(15) {
            0 => self.staging_timed = !self.staging_timed,
            1 => self.window = !self.window,
            2 => self.votes = 3 - self.votes,
            3 => self.retry = 4 - self.retry,
            4 => self.every = !self.every,
            5 => self.slots = 1 + u32::try_from(random.below(4)).unwrap(),
            6 => self.hourly = !self.hourly,
            7 | 8 => self.steps += 1,
            9 => {
                let jobs = ["test", "image", "staging", "production", "nightly", "docs"];
                self.without = if self.without.is_some() { None } else { random.pick(&jobs).copied() };
            }
            10 | 11 => {
                self.app_state = match (&self.app_state, random.below(2)) {
                    (PipelineState::Ok, 0) => PipelineState::LastGood { problem: "line 3: no".into() },
                    (PipelineState::Ok, _) => PipelineState::Off { why: "mode 0666".into(), gone: false },
                    _ => PipelineState::Ok,
                };
            }
            12 => self.without_app = !self.without_app,
            13 => {
                self.signed ^= self.pulls;
                self.pulls = !self.pulls;
            }
            _ => self.bob_releases = !self.bob_releases,
        }
        format!("{self:?}")
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        let mut catalog = Catalog {
            settings: Settings { slots: self.slots, retention: crate::pruning::retention(), ..Settings::default() },
            people: self.people(),
            ..Catalog::default()
        };
        catalog.settings.mail.to = vec!["ops@example.org".into()];
        let forge =
            ForgeSettings { url: "https://git".into(), credential: Some("token".into()), webhook_credential: None };
        catalog.settings.forges.insert(Forge::Github, forge);
        for pipeline in [self.app(), self.lib(), self.tools()] {
            if pipeline.name.as_str() != "app" || !self.without_app {
                catalog.pipelines.insert(pipeline.name.clone(), pipeline.into());
            }
        }
        Arc::new(catalog)
    }

    fn people(&self) -> BTreeMap<shipbell::model::name::PersonName, Person> {
        let person = |name: &str, roles: &[&str]| {
            let person = Person {
                email: format!("{name}@example.org"),
                git: Vec::new(),
                login: None,
                ssh_keys: Vec::new(),
                totp: None,
                roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            };
            (name.parse().unwrap(), person)
        };
        let bob: &[&str] = if self.bob_releases { &["release"] } else { &[] };
        [person("ann", &["release"]), person("bob", bob), person("joe", &["release"]), person("eve", &[])].into()
    }

    /// Test, image, staging, production on approval; besides a hotfix, a nightly and a docs job.
    fn app(&self) -> Pipeline {
        let key = |job: &str| format!("app/{job}").parse().unwrap();
        let mut test = base(key("test"), Some("git:co/app"), &["main", "feature/*", "hotfix"]);
        test.retry.attempts = self.retry;
        if self.paths {
            test.paths = vec!["src/**".into(), "init_config.json".into()];
        }
        let mut image = base(key("image"), Some("git:co/app"), &["main"]);
        image.needs = vec!["test".parse().unwrap()];
        image.pools = vec!["docker".into()];
        let mut staging = base(key("staging"), Some("git:co/app"), &["main"]);
        staging.needs = vec!["image".parse().unwrap()];
        staging.environment = Some(policy("staging", None).into());
        if self.staging_timed {
            staging.schedule = vec![cron("30 */2 * * *")];
        }
        let mut production = base(key("production"), Some("git:co/app"), &["main"]);
        production.needs = vec!["staging".parse().unwrap()];
        production.environment = Some(self.production().into());
        let mut hotfix = base(key("hotfix"), Some("git:co/app"), &["hotfix"]);
        hotfix.manual = true;
        hotfix.needs = vec!["test".parse().unwrap()];
        hotfix.environment = Some(self.production().into());
        hotfix.steps[0].run = "make hotfix".into();
        let mut nightly = base(key("nightly"), Some("git:co/app"), &["main"]);
        nightly.schedule = vec![cron(if self.hourly { "7 * * * *" } else { "20 2 * * *" })];
        if self.paths {
            nightly.paths = vec!["src/**".into()];
        }
        nightly.unchanged = Unchanged::Run;
        nightly.overlap = if self.overlap_skip { Overlap::Skip } else { Overlap::Queue };
        nightly.catch_up = if self.catch_up_skip { CatchUp::Skip } else { CatchUp::Once };
        let mut docs = base(key("docs"), Some("git:co/app"), &["main"]);
        docs.paths = vec!["docs/**".into()];
        docs.steps[0].run = format!("make docs # {}", self.steps / 2);
        let mut all = vec![test, image, staging, production, hotfix, nightly, docs];
        for definition in &mut all {
            let is_test = definition.key.job.as_str() == "test" || definition.key.job.as_str() == "production";
            if is_test && self.steps > 0 {
                definition.steps[0].run = format!("make it # {}", self.steps);
            }
        }
        let mut pipeline = self.pipeline("app", &all);
        pipeline.state = self.app_state.clone();
        pipeline
    }

    fn production(&self) -> EnvironmentPolicy {
        let approval = Approval {
            by: vec![vec!["@release".into()]],
            votes: self.votes,
            expires: Seconds::hours(24),
            forbid_author: self.forbid_author,
            factor: Factor::Word,
        };
        let mut policy = policy("production", Some(approval));
        if self.window {
            policy.windows = vec![WindowDef { any_of: vec!["Mon-Thu 09:00-17:00".into()], zone: "UTC".into() }];
        }
        policy
    }

    /// Every commit tested, each tag released; a nightly deployment without approval.
    fn lib(&self) -> Pipeline {
        let key = |job: &str| format!("lib/{job}").parse().unwrap();
        let mut test = base(key("test"), Some("git:co/lib"), &["main"]);
        if let Some(repo) = &mut test.repo {
            repo.commits = if self.every { Commits::Every } else { Commits::Latest };
        }
        test.retry.attempts = self.retry;
        test.on_interrupted = OnInterrupted::Report;
        let mut release = base(key("release"), Some("git:co/lib"), &[]);
        release.refs = RefFilter { branches: None, tags: vec!["v*".into()] };
        release.repo.clone_from(&test.repo);
        let mut site = base(key("site"), Some("git:co/lib"), &["main"]);
        site.needs = vec!["test".parse().unwrap()];
        site.repo.clone_from(&test.repo);
        site.environment = Some(policy("site", None).into());
        site.retry.attempts = self.retry;
        self.pipeline("lib", &[test, release, site])
    }

    /// Timed jobs without a repository, in one pool.
    fn tools(&self) -> Pipeline {
        let mut backup = base("tools/backup".parse().unwrap(), None, &[]);
        backup.schedule = vec![cron("40 3 * * *"), cron("10 15 * * Sun")];
        backup.pools = vec!["disk".into()];
        let mut sweep = base("tools/sweep".parse().unwrap(), None, &[]);
        sweep.every = Some(Every { period: Seconds::hours(5), from: EveryFrom::End });
        sweep.pools = vec!["disk".into()];
        let mut beat = base("tools/beat".parse().unwrap(), None, &[]);
        beat.every = Some(Every { period: Seconds::minutes(95), from: EveryFrom::Start });
        self.pipeline("tools", &[backup, sweep, beat])
    }

    fn pipeline(&self, name: &str, definitions: &[Definition]) -> Pipeline {
        let signers = (self.signed && name == "app").then(|| "ann ssh-ed25519 AAAA".to_owned());
        let repo = definitions[0].repo.as_ref().map(|repo| Repo {
            url: repo.url.clone(),
            credential: None,
            signed_by: signers.clone().map(Into::into),
            refs: definitions[0].refs.clone(),
            poll: Seconds::minutes(1),
            quiet: Seconds(self.quiet),
            pulls: if self.pulls { Pulls::Sandboxed } else { Pulls::None },
        });
        let there = |definition: &&Definition| {
            let job = definition.key.job.as_str();
            let stands_on_it = definition.needs.iter().any(|need| Some(need.as_str()) == self.without);
            name != "app" || (Some(job) != self.without && !stands_on_it)
        };
        let mut left: Vec<Definition> = definitions.iter().filter(there).cloned().collect();
        for definition in left.iter_mut().filter(|definition| definition.key.job.as_str() == "test") {
            definition.pulls = self.pulls;
        }
        for repo in left.iter_mut().filter_map(|definition| definition.repo.as_mut()) {
            repo.signed_by = signers.as_ref().map(|list| Hash::of(list.as_bytes()));
        }
        // Whoever needs a job that is not there is an error of the file: it would be gone as well.
        loop {
            let names: Vec<_> = left.iter().map(|definition| definition.key.job.clone()).collect();
            let before = left.len();
            left.retain(|definition| definition.needs.iter().all(|need| names.contains(need)));
            if left.len() == before {
                break;
            }
        }
        let environments = left.iter().filter_map(|definition| definition.environment.clone());
        Pipeline {
            name: name.parse().unwrap(),
            file: format!("{name}.toml").into(),
            state: PipelineState::Ok,
            description: None,
            repo: repo.map(Box::new),
            order: left.iter().map(|definition| definition.key.job.clone()).collect(),
            environments: environments.map(|policy| (policy.name.clone(), *policy)).collect(),
            jobs: left.into_iter().map(|definition| (definition.key.job.clone(), job(definition))).collect(),
        }
    }
}

fn job(definition: Definition) -> Arc<Job> {
    let notify = Notify { email: vec!["dev@example.org".into(), COMMITTERS.into()], ..Notify::usual() };
    Arc::new(Job {
        hash: definition.hash(),
        definition: Arc::new(definition),
        description: None,
        notify,
        marks: Marks::Usual,
        pings: BTreeMap::new(),
        line: 1,
    })
}

fn cron(text: &str) -> ScheduleDef {
    ScheduleDef { text: text.into(), resolved: None, zone: "Europe/Berlin".into() }
}

fn policy(name: &str, approval: Option<Approval>) -> EnvironmentPolicy {
    EnvironmentPolicy { name: name.parse().unwrap(), approval, windows: Vec::new(), freezes: Vec::new(), url: None }
}

fn base(key: shipbell::model::name::JobKey, url: Option<&str>, branches: &[&str]) -> Definition {
    Definition {
        v: DEFINITION_FORMAT,
        repo: url.map(|url| RepoDef { url: url.into(), commits: Commits::Latest, history: false, signed_by: None }),
        refs: RefFilter { branches: Some(branches.iter().map(|b| (*b).to_owned()).collect()), tags: Vec::new() },
        pulls: false,
        schedule: Vec::new(),
        every: None,
        catch_up: CatchUp::Once,
        catch_up_window: Seconds::hours(24),
        overlap: Overlap::Queue,
        unchanged: Unchanged::Skip,
        needs: Vec::new(),
        manual: false,
        params: BTreeMap::new(),
        repo_paths: Vec::new(),
        paths: Vec::new(),
        pools: Vec::new(),
        init: None,
        steps: vec![StepDef {
            name: "1".into(),
            run: format!("make {}", key.job),
            timeout: None,
            always: false,
            env: BTreeMap::new(),
            dir: None,
        }],
        dir: None,
        shell: ["sh", "-eu", "-c"].map(String::from).into(),
        env: BTreeMap::new(),
        user: None,
        timeout: Seconds::hours(1),
        grace: Seconds(10),
        retry: Retry { attempts: 1, delay: Seconds(60) },
        artifacts: Vec::new(),
        environment: None,
        verify: None,
        on_interrupted: OnInterrupted::Retry,
        log_limit: 1 << 20,
        sandbox: Sandbox::Standard,
        secrets: vec![],
        on_leak: Default::default(),
        workspace: Default::default(),
        limits: Limits::default(),
        key,
    }
}
