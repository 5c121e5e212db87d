//! What `shipbell doctor` tells: facts of the host and of this process are gathered, and judged by one
//! function that has no other source. Nothing is changed (a control group is made and removed to see
//! whether it can be).

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use crate::model::catalog::{Catalog, Settings, Transport};
use crate::model::job::Factor;
use crate::model::time::Timestamp;
use crate::model::view::{CheckView, DoctorView, SCHEMA, Standing};
use crate::report::used::bytes;
use crate::signature;
use crate::store::Reader;
use crate::sys::cgroup::{Ending, Guarantees, Site};
use crate::sys::host;

use super::App;
use super::api::Answer;
use super::views::look;

/// What the judgement is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub systemd: bool,
    /// Every run is a unit.
    pub units: bool,
    pub uid: u32,
    pub user: String,
    /// Users that this host does not have and that jobs without `user` need.
    pub missing_users: Vec<&'static str>,
    pub holding: Guarantees,
    /// Of the version of control groups.
    pub groups: &'static str,
    pub disk_free: Option<u64>,
    pub zone_known: bool,
    pub host_zone: String,
    /// Signatures can be verified.
    pub keygen: bool,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/doctor", get(doctor))
}

async fn doctor(State(app): State<App>) -> Answer<DoctorView> {
    let (catalog, disk, now) =
        look(&app, |world, now| (world.scratch.catalog.clone(), world.scratch.disk_free, now)).await?;
    let (units, host, reader) = (app.site.units, app.site.host.clone(), app.reader.clone());
    let view = tokio::task::spawn_blocking(move || {
        let facts = gather(units, disk, &catalog.settings);
        let mut view = view(&facts, &catalog, host, true, now);
        view.checks.extend(hooks(&reader, &catalog, now));
        view
    });
    let view = view.await.map_err(|_| super::api::No::internal("the answer could not be made"))?;
    Ok(Json(view))
}

/// Asks the host, as the process that asks: this is for the daemon, or for whoever would start it.
#[must_use]
pub fn gather(units: bool, disk_free: Option<u64>, settings: &Settings) -> Facts {
    let uid = host::effective_uid();
    let users = ["shipbell-job", "shipbell-deploy"];
    let site = Site::find();
    Facts {
        systemd: host::is_run_by_systemd(),
        units,
        uid,
        user: host::user_name_of(uid),
        missing_users: users.into_iter().filter(|name| host::account_named(name).is_none()).collect(),
        holding: if units { Site::of_units() } else { site.guarantees() },
        groups: site.version(),
        disk_free,
        zone_known: jiff::tz::TimeZone::get(&settings.timezone).is_ok(),
        host_zone: jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned(),
        keygen: signature::program("ssh-keygen").is_some(),
    }
}

#[must_use]
pub fn view(facts: &Facts, catalog: &Catalog, host: String, daemon: bool, now: Timestamp) -> DoctorView {
    let checks = vec![
        launcher(facts),
        privilege(facts),
        identity(facts),
        ending(facts),
        limits(facts),
        approval(facts, catalog),
        mail(catalog),
        zone(facts, &catalog.settings),
        disk(facts, &catalog.settings),
    ];
    let checks = checks.into_iter().chain(pulls(facts, catalog)).collect();
    DoctorView { schema: SCHEMA, now, host, daemon, checks }
}

fn check(topic: &str, standing: Standing, text: impl Into<String>, todo: Option<&str>) -> CheckView {
    CheckView { topic: topic.into(), standing, text: text.into(), todo: todo.map(str::to_owned) }
}

fn launcher(facts: &Facts) -> CheckView {
    match (facts.units, facts.systemd) {
        (true, _) => {
            let text = "every run is a unit of systemd, with a sandbox and a control group of its own";
            check("launcher", Standing::Holds, text, None)
        }
        (false, true) => {
            let text = "systemd runs this host, but not this Shipbell's runs: they have no sandbox";
            check("launcher", Standing::Weaker, text, Some("run it as root, without --root: shipbell.service"))
        }
        (false, false) => {
            let text =
                "no systemd: runs are processes of their own and have no sandbox; sandbox = \"offline\" is refused";
            check("launcher", Standing::Weaker, text, None)
        }
    }
}

fn privilege(facts: &Facts) -> CheckView {
    match (facts.uid, facts.units) {
        (0, _) => {
            let text = "one process: what faces the network is root as well, and reads job files, secrets and votes";
            check("privilege", Standing::Weaker, text, None)
        }
        (_, true) => {
            let text = format!("the daemon is {} without rights; a process of root's own starts runs", facts.user);
            check("privilege", Standing::Holds, text, None)
        }
        (_, false) => {
            let text =
                format!("all of it is {}: steps can read the database and the key of approval links", facts.user);
            let todo = "run what others may push to under shipbell.service";
            check("privilege", Standing::Weaker, text, Some(todo))
        }
    }
}

fn identity(facts: &Facts) -> CheckView {
    if facts.uid != 0 && !facts.units {
        let text = format!("steps run as {}, as everything does; `user` of another is refused", facts.user);
        return check("identity", Standing::Weaker, text, None);
    }
    if facts.missing_users.is_empty() {
        let text = "steps run as shipbell-job or shipbell-deploy, or as the job's `user`, and cannot go back";
        return check("identity", Standing::Holds, text, None);
    }
    let missing = facts.missing_users.join(" and ");
    let text = format!("this host has no user {missing}: steps that would be theirs run as root");
    let todo = "systemd-sysusers, or: useradd --system --no-create-home --shell /usr/sbin/nologin NAME";
    check("identity", Standing::Wrong, text, Some(todo))
}

fn ending(facts: &Facts) -> CheckView {
    let groups = facts.groups;
    match facts.holding.ending {
        Ending::Kill => {
            let text =
                format!("the kernel ends a run as a whole and proves that nothing is left (control groups, {groups})");
            check("ending", Standing::Holds, text, None)
        }
        Ending::Freeze => {
            let text =
                format!("a run is frozen and ended, and it is proved that nothing is left (control groups, {groups})");
            check("ending", Standing::Holds, text, None)
        }
        Ending::Search => {
            let text = "no control group can be made here: a supervisor ends all that descends from it, but when it is \
                        killed itself nobody can prove that nothing is left; a deployment is then unknown";
            let todo = "run it as root, or in a unit with Delegate=yes";
            check("ending", Standing::Weaker, text, Some(todo))
        }
    }
}

fn limits(facts: &Facts) -> CheckView {
    let of = [("memory", facts.holding.memory), ("tasks", facts.holding.tasks), ("cpus", facts.holding.cpus)];
    let not: Vec<&str> = of.iter().filter(|(_, held)| !held).map(|(name, _)| *name).collect();
    if not.is_empty() {
        return check("limits", Standing::Holds, "memory, tasks, cpus and files are held for each run", None);
    }
    let text = format!("nothing here holds limits of {}; a run that asks for it says so in its log", not.join(", "));
    check("limits", Standing::Weaker, text, Some("control groups of version 2 with these controllers"))
}

/// What a vote is worth should the daemon itself be taken over.
fn approval(facts: &Facts, catalog: &Catalog) -> CheckView {
    let environments = catalog.pipelines.values().flat_map(|pipeline| pipeline.environments.values());
    let weakest = environments.filter_map(|policy| policy.approval.as_ref()).map(|approval| approval.factor).min();
    match weakest {
        None => check("approval", Standing::Holds, "no environment asks for approval", None),
        Some(Factor::Word) => {
            let text =
                "the factor is a typed word: it keeps out programs that follow links, not a daemon that was taken over";
            check("approval", Standing::Weaker, text, None)
        }
        Some(Factor::Totp) if facts.units && facts.uid != 0 => {
            let text = "each vote needs a code that the executor checks: a daemon that was taken over can give none, but \
                        spend one that somebody types on another request";
            check("approval", Standing::Weaker, text, Some("factor = \"sshsig\", where that must not be"))
        }
        Some(Factor::Totp) => {
            let text = "each vote needs a code, but the process that checks them faces the network";
            check("approval", Standing::Weaker, text, None)
        }
        Some(Factor::Sshsig) if !facts.keygen => {
            let text = "votes are signatures, and nothing here can verify them: no such deployment starts";
            check("approval", Standing::Wrong, text, Some("install ssh-keygen (openssh-client)"))
        }
        Some(Factor::Sshsig) if facts.units && facts.uid != 0 => {
            let text = "votes are signatures that the executor verifies: no deployment without them";
            check("approval", Standing::Holds, text, None)
        }
        Some(Factor::Sshsig) => {
            let text = "votes are signatures, but the process that verifies them faces the network";
            check("approval", Standing::Weaker, text, None)
        }
    }
}

fn mail(catalog: &Catalog) -> CheckView {
    let (settings, people) = (&catalog.settings, &catalog.people);
    let asked = !people.is_empty();
    let url = settings.public_url();
    let here = ["//127.", "//localhost", "//[::1]"].iter().any(|part| url.contains(part));
    match settings.mail.transport {
        Transport::File if asked => {
            let text = "mail is written into files: nobody is told of anything, and approvals wait on the host";
            check("mail", Standing::Wrong, text, Some("[mail] transport = \"smtp\" in shipbell.toml"))
        }
        Transport::File => {
            check("mail", Standing::Weaker, "mail is written into files; nobody is told of failures", None)
        }
        _ if asked && here => {
            let text = format!("links in mails begin with {url}: they open on this host only");
            check("mail", Standing::Weaker, text, Some("public-url = \"https://...\" in shipbell.toml"))
        }
        _ if asked && url.starts_with("http://") => {
            let text = format!("links in mails begin with {url}: who listens on the way can vote");
            check("mail", Standing::Weaker, text, Some("public-url = \"https://...\", behind a server with TLS"))
        }
        _ if settings.mail.to.is_empty() => {
            let text = "failures of jobs without `notify` are told to nobody";
            check("mail", Standing::Weaker, text, Some("[mail] to = \"...\" in shipbell.toml"))
        }
        _ => check("mail", Standing::Holds, format!("goes out through {}", settings.mail.host), None),
    }
}

/// Whether pushes are announced as they should be, by what came in the last two weeks.
fn hooks(reader: &Reader, catalog: &Catalog, now: Timestamp) -> Option<CheckView> {
    let asked = catalog.pipelines.values().filter(|pipeline| pipeline.repo.is_some());
    let counts: Vec<_> =
        asked.filter_map(|pipeline| Some((&pipeline.name, reader.hook_count(&pipeline.name, now).ok()?))).collect();
    if !counts.iter().any(|(_, count)| count.last_delivery.is_some()) {
        let set_up = catalog.settings.forges.values().any(|forge| forge.webhook_credential.is_some());
        let text = "no web hook has come in two weeks: pushes are seen by polling only";
        let todo = "at the host, add one to PUBLIC-URL/hooks/HOST/PIPELINE (docs/hooks.md)";
        return set_up.then(|| check("web hooks", Standing::Weaker, text, Some(todo)));
    }
    let missed = counts.iter().filter_map(|(name, count)| Some(format!("{name}: {}", count.told()?)));
    let missed: Vec<String> = missed.collect();
    if missed.is_empty() {
        return Some(check("web hooks", Standing::Holds, "every push was announced", None));
    }
    let todo = "look at the deliveries that failed, at the host; polling made up for them";
    Some(check("web hooks", Standing::Weaker, missed.join("; "), Some(todo)))
}

/// Whether pull requests can be run as `pulls` promises.
fn pulls(facts: &Facts, catalog: &Catalog) -> Option<CheckView> {
    catalog.pipelines.values().find(|pipeline| pipeline.takes_pulls())?;
    if facts.units {
        let text = "they run without secrets, network and all that is kept";
        return Some(check("pull requests", Standing::Holds, text, None));
    }
    let text = "there is no sandbox for them here: their runs fail";
    let todo = "run Shipbell under shipbell.service, or remove pulls from [repo]";
    Some(check("pull requests", Standing::Wrong, text, Some(todo)))
}

fn zone(facts: &Facts, settings: &Settings) -> CheckView {
    let zone = &settings.timezone;
    if !facts.zone_known {
        let text = format!("this host's tzdata does not know {zone}");
        return check("time zone", Standing::Wrong, text, Some("install the package tzdata"));
    }
    let text = format!("{zone} where nothing else is said; the host's own is {}", facts.host_zone);
    check("time zone", Standing::Holds, text, None)
}

fn disk(facts: &Facts, settings: &Settings) -> CheckView {
    let floor = bytes(settings.disk_floor);
    match facts.disk_free {
        Some(free) if free < settings.disk_floor => {
            let text = format!("{} are free, less than the floor of {floor}: no run starts", bytes(free));
            check("disk", Standing::Wrong, text, Some("make room; it goes on by itself"))
        }
        Some(free) => {
            check("disk", Standing::Holds, format!("{} free; below {floor} no run starts", bytes(free)), None)
        }
        None => check("disk", Standing::Weaker, "how much is free is not known", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            systemd: true,
            units: true,
            uid: 990,
            user: "shipbell".into(),
            missing_users: vec![],
            holding: Guarantees { ending: Ending::Kill, memory: true, tasks: true, cpus: true },
            groups: "version 2",
            disk_free: Some(1 << 40),
            zone_known: true,
            host_zone: "UTC".into(),
            keygen: true,
        }
    }

    fn standing(facts: &Facts, topic: &str) -> (Standing, String) {
        let catalog = Catalog::default();
        let view = view(facts, &catalog, "ci".into(), true, Timestamp::UNIX_EPOCH);
        let check = view.checks.into_iter().find(|check| check.topic == topic).unwrap();
        (check.standing, check.text)
    }

    #[test]
    fn the_packaged_mode_holds_all_that_it_can() {
        let catalog = Catalog::default();
        let view = view(&facts(), &catalog, "ci".into(), true, Timestamp::UNIX_EPOCH);
        let weak: Vec<&str> =
            view.checks.iter().filter(|check| check.standing != Standing::Holds).map(|c| c.topic.as_str()).collect();
        assert_eq!(weak, ["mail"], "without [mail] nobody is told");
    }

    #[test]
    fn each_loss_is_said() {
        let plain = Facts { units: false, uid: 1000, user: "anna".into(), systemd: false, ..facts() };
        for topic in ["launcher", "privilege", "identity"] {
            assert_eq!(standing(&plain, topic).0, Standing::Weaker, "{topic}");
        }
        let root = Facts { uid: 0, missing_users: vec!["shipbell-job"], ..facts() };
        assert_eq!(standing(&root, "identity").0, Standing::Wrong);
        assert_eq!(standing(&root, "privilege").0, Standing::Weaker);
        let none = Guarantees { ending: Ending::Search, memory: false, tasks: true, cpus: false };
        let bare = Facts { holding: none, ..facts() };
        assert_eq!(standing(&bare, "ending").0, Standing::Weaker);
        assert!(standing(&bare, "limits").1.contains("limits of memory, cpus;"));
        let full = Facts { disk_free: Some(1), ..facts() };
        assert_eq!(
            standing(&full, "disk"),
            (Standing::Wrong, "1 B are free, less than the floor of 256 M: no run starts".into())
        );
        let lost = Facts { zone_known: false, ..facts() };
        assert_eq!(standing(&lost, "time zone").0, Standing::Wrong);
    }
}
