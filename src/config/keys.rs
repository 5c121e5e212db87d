//! Every key there is, by the place where it may stand: those that work, those that do not yet, and
//! those that never will. A key that is not in this table is an error that says what was meant.

use crate::config::message::{Findings, Mistake, closest};
use crate::config::tree::{Entry, Table};

/// Where a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    File,
    Repo,
    Init,
    Job,
    Step,
    Environment,
    Approval,
    Notify,
    Retry,
    Limits,
    Verify,
    Param,
    Settings,
    Mail,
    Person,
    HostLimits,
    Forge,
    Ping,
    Retention,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Works,
    /// And what to do until then.
    NotYet(&'static str),
    /// And what there is in its place.
    Never(&'static str),
}

use Standing::{Never, NotYet, Works};

type Key = (&'static str, Standing);

const RESERVED: Standing = NotYet("");

fn keys(place: Place) -> &'static [Key] {
    match place {
        Place::File => FILE,
        Place::Repo => REPO,
        Place::Init => &[("run", Works), ("config", Works), ("source", Works), ("secret", Works)],
        Place::Job => JOB,
        Place::Step => &[
            ("name", Works),
            ("run", Works),
            ("timeout", Works),
            ("always", Works),
            ("env", Works),
            ("dir", Works),
            IF,
        ],
        Place::Environment => &[
            ("approval", Works),
            ("url", Works),
            ("window", Works),
            ("freeze", Works),
            ("timezone", Works),
            ("pool", Works),
        ],
        Place::Approval => &[("by", Works), ("votes", Works), ("expires", Works), ("forbid", Works), ("factor", Works)],
        Place::Notify => &[("email", Works), ("on", Works), ("after-failures", Works), ("stale-after", Works)],
        Place::Retry => &[("attempts", Works), ("delay", Works)],
        Place::Limits => LIMITS,
        Place::Verify => &[("run", Works), ("within", Works)],
        Place::Param => &[("match", Works), ("default", Works)],
        Place::Settings => SETTINGS,
        Place::Mail => &[
            ("from", Works),
            ("to", Works),
            ("transport", Works),
            ("host", Works),
            ("port", Works),
            ("tls", Works),
            ("username", Works),
            ("credential", Works),
            ("dir", Works),
        ],
        Place::Person => {
            &[("email", Works), ("git", Works), ("login", Works), ("roles", Works), ("ssh-key", Works), ("totp", Works)]
        }
        Place::HostLimits => &[("slots", Works), ("disk-floor", Works), ("allow-root", Works)],
        Place::Retention => {
            &[("runs", Works), ("logs", Works), ("artifacts", Works), ("mirrors", Works), ("keep", Works)]
        }
        Place::Ping => &[("start", Works), ("success", Works), ("failure", Works)],
        Place::Forge => &[("url", Works), ("webhook-credential", Works), ("credential", Works)],
    }
}

const IF: Key = ("if", Never("a step is shell: its condition stands in its text"));

const FILE: &[Key] = &[
    ("description", Works),
    ("repo", Works),
    ("init", Works),
    ("job", Works),
    ("environment", Works),
    ("defaults", Works),
    ("include", Never("a job file stands alone")),
    ("stages", Never("the order of jobs follows from `needs`")),
    ("services", Never("start what a test needs in a step; it ends with the run")),
    ("plugins", Never("a step is a shell command: anything installed here can be called")),
];

const REPO: &[Key] = &[
    ("url", Works),
    ("branches", Works),
    ("poll", Works),
    ("paths", Works),
    ("quiet", Works),
    ("commits", Works),
    ("history", Works),
    ("credential", Works),
    ("pulls", Works),
    ("signed-by", Works),
];

const SETTINGS: &[Key] = &[
    ("public-url", Works),
    ("listen", Works),
    ("timezone", Works),
    ("mail", Works),
    ("person", Works),
    ("environment", Works),
    ("pools", Works),
    ("limits", Works),
    ("defaults", Works),
    ("retention", Works),
    ("github", Works),
    ("gitlab", Works),
    ("gitea", Works),
];

const LIMITS: &[Key] = &[("memory", Works), ("cpus", Works), ("tasks", Works), ("files", Works), ("log", Works)];

const JOB: &[Key] = &[
    ("description", Works),
    ("schedule", Works),
    ("every", Works),
    ("timezone", Works),
    ("catch-up", Works),
    ("catch-up-window", Works),
    ("overlap", Works),
    ("unchanged", Works),
    ("branches", Works),
    ("tags", Works),
    ("paths", Works),
    ("needs", Works),
    ("manual", Works),
    ("params", Works),
    ("pool", Works),
    ("steps", Works),
    ("dir", Works),
    ("shell", Works),
    ("env", Works),
    ("user", Works),
    ("timeout", Works),
    ("grace", Works),
    ("retry", Works),
    ("limits", Works),
    ("artifacts", Works),
    ("init", Works),
    ("environment", Works),
    ("verify", Works),
    ("on-interrupted", Works),
    ("notify", Works),
    ("secrets", Works),
    ("on-leak", Works),
    ("sandbox", Works),
    ("workspace", Works),
    ("rollback", NotYet("start the job for an older commit with `shipbell run`")),
    ("ping-url", Works),
    ("commit-status", Works),
    ("matrix", RESERVED),
    ("soak", RESERVED),
    ("follows", RESERVED),
    ("covers", RESERVED),
    ("container", NotYet("call docker or podman in a step")),
    ("launcher", RESERVED),
    IF,
    ("when", Never("use schedule, branches, tags, paths or needs")),
    ("template", Never("what jobs share stands in [defaults]")),
    ("cache", Never("HOME is kept per pipeline and user, so go, cargo, npm and pip cache by themselves")),
    ("services", Never("start what a test needs in a step; it ends with the run")),
    ("stage", Never("the order of jobs follows from `needs`")),
];

/// What other programs call it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("script", "steps"),
    ("scripts", "steps"),
    ("run", "steps"),
    ("command", "steps"),
    ("commands", "steps"),
    ("cron", "schedule"),
    ("interval", "every"),
    ("depends", "needs"),
    ("depends-on", "needs"),
    ("depends_on", "needs"),
    ("deploy", "environment"),
    ("env-vars", "env"),
    ("variables", "env"),
    ("parameters", "params"),
    ("mutex", "pool"),
    ("lock", "pool"),
    ("working-directory", "dir"),
    ("cwd", "dir"),
    ("approvers", "by"),
    ("tz", "timezone"),
    ("jobs", "job"),
    ("environments", "environment"),
    ("repository", "repo"),
    ("people", "person"),
    ("smtp", "mail"),
];

/// Whether a variable of this name was probably meant to be a key of the job.
#[must_use]
pub fn is_job_key(name: &str) -> bool {
    JOB.iter().any(|(key, standing)| *key == name && !matches!(standing, Never(_)))
}

fn works_in(place: Place) -> impl Iterator<Item = &'static str> {
    keys(place).iter().filter(|(_, standing)| !matches!(standing, Never(_))).map(|(key, _)| *key)
}

/// Tells every key of `table` that may not stand there. `first_header`: the first `[table]` of the file.
pub fn check(table: &Table, place: Place, first_header: Option<&Table>, findings: &Findings) {
    for entry in &table.entries {
        let name = &entry.key;
        match keys(place).iter().find(|(key, _)| key == name).map(|(_, standing)| *standing) {
            Some(Works) => {}
            // The written default is no wish for more.
            Some(NotYet(_)) if matches!(&entry.data, crate::config::tree::Data::Text(text) if is_default(name, text)) =>
                {}
            Some(NotYet(instead)) => {
                let headline = format!("`{name}` does not work yet in this version");
                let mistake = Mistake::new(&entry.key_spot, headline);
                let until = if instead.is_empty() { "the name is reserved: remove it" } else { instead };
                findings.add(&mistake.label(until));
            }
            Some(Never(instead)) => {
                findings.add(&Mistake::new(&entry.key_spot, format!("there is no `{name}`")).label(instead));
            }
            None => unknown(entry, table, place, first_header, findings),
        }
    }
}

fn is_default(key: &str, text: &str) -> bool {
    matches!((key, text), ("pulls", "none"))
}

fn unknown(entry: &Entry, table: &Table, place: Place, first_header: Option<&Table>, findings: &Findings) {
    let name = entry.key.as_str();
    let within = match table.title.as_str() {
        "" => String::new(),
        title => format!(" in {title}"),
    };
    let mut mistake = Mistake::new(&entry.key_spot, format!("unknown key `{name}`{within}"));
    let elsewhere = ELSEWHERE.iter().find(|(word, _)| *word == name).map(|(_, meant)| *meant);
    if let Some(meant) = elsewhere.filter(|meant| works_in(place).any(|key| key == *meant)) {
        mistake = mistake.label(format!("here it is called `{meant}`"));
    } else if let Some(home) = home_of(name, place, first_header) {
        mistake = mistake.label(home);
        if table.has_header() {
            mistake = mistake.note("in TOML everything below a [table] line is part of that table");
        }
    } else if let Some(meant) = closest(name, works_in(place)) {
        mistake = mistake.label(format!("did you mean `{meant}`?"));
    } else {
        mistake = mistake.note(format!("keys here: {}", works_in(place).collect::<Vec<_>>().join(", ")));
    }
    findings.add(&mistake);
}

/// Where a key that is right elsewhere belongs.
fn home_of(name: &str, here: Place, first_header: Option<&Table>) -> Option<String> {
    let has = |place: Place| place != here && works_in(place).any(|key| key == name);
    let in_settings = matches!(
        here,
        Place::Settings | Place::Mail | Place::Person | Place::HostLimits | Place::Forge | Place::Retention
    );
    if in_settings {
        return match name {
            _ if has(Place::Settings) && here != Place::Settings => Some(match first_header {
                Some(table) => {
                    format!("this is a key of the file: move it above line {}, {}", table.spot.line(), table.title)
                }
                None => "this is a key of the file".into(),
            }),
            _ if has(Place::Mail) => Some("this is a key of [mail]".into()),
            _ if has(Place::HostLimits) => Some("this is a key of [limits]".into()),
            _ if has(Place::Retention) => Some("this is a key of [retention]".into()),
            _ if has(Place::Person) => Some("this is a key of [person.NAME]".into()),
            _ if has(Place::Forge) => Some("this is a key of [github], [gitlab] or [gitea]".into()),
            "job" | "repo" | "init" => Some("this belongs in a job file, jobs.d/NAME.toml".into()),
            _ => None,
        };
    }
    if name == "description" && here != Place::Job {
        let header = first_header?;
        return Some(format!("this is a key of the file: move it above line {}, {}", header.spot.line(), header.title));
    }
    let homes = [
        (Place::Job, "this is a key of a job: move it below [job.NAME]"),
        (Place::Repo, "this is a key of [repo]: move it below that line"),
        (Place::Environment, "this is a key of [environment.NAME]: move it below that line"),
        (Place::Approval, "this belongs in the braces: approval = { by = \"NAME\" }"),
        (Place::Step, "this is a key of a step: steps = [{ run = \"...\" }]"),
        (Place::Verify, "this belongs in the braces: verify = { run = \"...\", within = \"2m\" }"),
        (Place::Retry, "this belongs in the braces: retry = { attempts = 2 }"),
        (Place::Notify, "this belongs in the braces: notify = { email = \"...\" }"),
        (Place::Limits, "this belongs in the braces: limits = { memory = \"2G\" }"),
        (Place::Settings, "this is a key of shipbell.toml, not of a job file"),
    ];
    let tables = ["repo", "init", "job", "environment", "defaults"];
    if tables.contains(&name) && here != Place::Job && here != Place::File {
        return Some(format!("this is a table of the file: write [{name}]"));
    }
    homes.iter().find(|(place, _)| has(*place)).map(|(_, said)| (*said).to_owned())
}
