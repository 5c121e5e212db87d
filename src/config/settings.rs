//! shipbell.toml: the host's settings, people, environments for all pipelines, defaults for all jobs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::environment;
use crate::config::job;
use crate::config::keys::{self, Place};
use crate::config::message::{Findings, Mistake, Source};
use crate::config::people;
use crate::config::retention;
use crate::config::tree::{self, Data, Entry, Table};
use crate::model::catalog::{Catalog, Mail, MailTls, Person, Settings, Transport};
use crate::model::forge::{Forge, ForgeSettings};
use crate::model::letter::COMMITTERS;
use crate::model::name::{JobKey, JobName, PersonName, PipelineName};

/// What every job file is read against.
#[derive(Debug, Clone)]
pub struct Shared {
    /// shipbell.toml.
    pub file: PathBuf,
    pub settings: Settings,
    pub people: BTreeMap<PersonName, Person>,
    pub environments: Vec<environment::Draft>,
    pub defaults: Option<Table>,
}

impl Shared {
    /// What holds where there is no shipbell.toml.
    #[must_use]
    pub fn without_file(file: &Path) -> Self {
        let settings = Settings { timezone: host_zone(), ..Settings::default() };
        Self { file: file.to_owned(), settings, people: BTreeMap::new(), environments: Vec::new(), defaults: None }
    }

    /// A catalog that knows the people and nothing else.
    #[must_use]
    pub fn catalog_of_people(&self) -> Catalog {
        Catalog { people: self.people.clone(), ..Catalog::default() }
    }
}

/// The host's own zone, by its name.
fn host_zone() -> String {
    jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

/// Reads shipbell.toml. What is wrong is in `findings`; then the result is not to be used.
pub fn read(source: &Arc<Source>, findings: &Findings) -> Shared {
    let mut shared = Shared::without_file(&source.path);
    let told = Findings::default();
    let Some((table, broken_lines)) = tree::parse(source, &told) else {
        told.into_problems().into_iter().for_each(|problem| findings.push(problem));
        return shared;
    };
    read_table(&table, &mut shared, &told);
    crate::config::load::take_over(told, &broken_lines, findings);
    shared
}

fn read_table(table: &Table, shared: &mut Shared, f: &Findings) {
    let first_header = first_header(table);
    keys::check(table, Place::Settings, first_header, f);
    let get = |name: &str| table.get(name);
    if let Some(zone) = get("timezone").and_then(|entry| job::zone(entry, f)) {
        shared.settings.timezone = zone;
    }
    shared.settings.public_url = get("public-url").and_then(|entry| public_url(entry, f));
    if let Some(listen) = get("listen").and_then(|entry| listen(entry, f)) {
        shared.settings.listen = listen;
    }
    if let Some(table) = get("mail").and_then(|entry| entry.table("[mail]", f)) {
        shared.settings.mail = mail(table, first_header, f);
    }
    for forge in Forge::ALL {
        let like = format!("[{forge}]");
        if let Some(table) = get(forge.word()).and_then(|entry| entry.table(&like, f))
            && let Some(settings) = forge_settings(*forge, table, first_header, f)
        {
            shared.settings.forges.insert(*forge, settings);
        }
    }
    if let Some(table) = get("limits").and_then(|entry| entry.table("[limits]", f)) {
        keys::check(table, Place::HostLimits, first_header, f);
        if let Some(slots) = table.get("slots").and_then(|entry| entry.count(1..=10_000, f)) {
            shared.settings.slots = slots;
        }
        if let Some(floor) = table.get("disk-floor").and_then(|entry| entry.size(f)) {
            shared.settings.disk_floor = floor;
        }
        if let Some(allowed) = table.get("allow-root").and_then(|entry| entry.flag(f)) {
            shared.settings.allow_root = allowed;
        }
    }
    if let Some(kept) = get("retention").and_then(|entry| retention::read(entry, first_header, f)) {
        shared.settings.retention = kept;
    }
    if let Some(table) = get("pools").and_then(|entry| entry.table("[pools]", f)) {
        for pool in &table.entries {
            // A pool is named by the same rule as a job.
            if let Err(error) = pool.key.parse::<JobName>() {
                let mistake = Mistake::new(&pool.key_spot, format!("`{}` is no name of a pool", pool.key));
                f.add(&mistake.label(error.to_string()));
            } else if let Some(places) = pool.count(1..=10_000, f) {
                shared.settings.pools.insert(pool.key.clone(), places);
            }
        }
    }
    if let Some(table) = get("person").and_then(|entry| entry.table("[person.anna]", f)) {
        shared.people = people::read(table, first_header, f);
    }
    shared.environments = environment::read_all(get("environment"), &shared.settings.timezone, f);
    for draft in &shared.environments {
        if matches!(draft.approval, environment::Said::Nothing) {
            f.add(&missing_approval(draft));
        }
        environment::check_people(draft, shared, f);
    }
    shared.defaults = get("defaults").and_then(|entry| entry.table("[defaults]", f)).cloned();
    if let Some(defaults) = &shared.defaults {
        check_defaults(defaults, &shared.settings.timezone, f);
    }
}

/// The first `[table]` of a file: keys of the file itself stand above it.
#[must_use]
pub fn first_header(file: &Table) -> Option<&Table> {
    fn headers(table: &Table) -> Vec<&Table> {
        let inner = table.entries.iter().filter_map(|entry| match &entry.data {
            Data::Table(table) => Some(table),
            _ => None,
        });
        inner.flat_map(|table| table.has_header().then_some(table).into_iter().chain(headers(table))).collect()
    }
    headers(file).into_iter().min_by_key(|table| table.spot.span.start)
}

/// The message for an environment without a word on approval.
#[must_use]
pub fn missing_approval(draft: &environment::Draft) -> Mistake {
    Mistake::new(&draft.header, format!("environment `{}` does not say who approves", draft.name))
        .label("add approval = { by = \"@release\" } or approval = \"none\"")
        .note("it is never guessed: without a person's yes a deployment starts by itself")
}

/// Defaults are keys of a job: read as one, but for the steps that it need not have.
pub fn check_defaults(defaults: &Table, zone: &str, findings: &Findings) {
    keys::check(defaults, Place::Job, None, findings);
    let names = (PipelineName::new("defaults"), JobName::new("defaults"));
    let (Ok(pipeline), Ok(job)) = names else { return };
    let mut whole = defaults.clone();
    if whole.get("steps").is_none() {
        let data = Data::Text("true".into());
        let (key_spot, spot) = (whole.spot.clone(), whole.spot.clone());
        whole.entries.push(Entry { key: "steps".into(), key_spot, spot, data });
    }
    job::read(JobKey { pipeline, job }, &whole, zone, findings);
}

fn listen(entry: &Entry, findings: &Findings) -> Option<String> {
    let text = entry.text(findings)?;
    if text.parse::<std::net::SocketAddr>().is_err() {
        entry.refuse("`listen` is an address and a port", "write it like \"127.0.0.1:8787\"", findings);
        return None;
    }
    Some(text)
}

fn public_url(entry: &Entry, findings: &Findings) -> Option<String> {
    environment::page(entry, findings).map(|url| url.trim_end_matches('/').to_owned())
}

/// One address as it stands in a header: with a name before it or not.
pub fn address(entry: &Entry, findings: &Findings) -> Option<String> {
    let text = entry.text(findings)?;
    let bare = match text.split_once('<') {
        Some((name, rest)) if !name.contains(['"', '@', '>']) => rest.strip_suffix('>').unwrap_or_default(),
        Some(_) => "",
        None => &text,
    };
    let whole = |(local, host): (&str, &str)| !local.is_empty() && !host.is_empty() && !host.contains('@');
    let legal = bare.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"<>,;:\"()[]".contains(c));
    if !bare.split_once('@').is_some_and(whole) || !legal || text.chars().any(char::is_control) {
        entry.refuse(format!("`{text}` is no mail address"), "write it like anna@example.org", findings);
        return None;
    }
    Some(text)
}

/// One address or a list of them; `of_job`: whoever wrote the commits may be among them.
pub fn addresses(entry: &Entry, of_job: bool, findings: &Findings) -> Option<Vec<String>> {
    let one = |item: &Entry| match &item.data {
        Data::Text(text) if text == COMMITTERS && of_job => Some(text.clone()),
        Data::Text(text) if text == COMMITTERS => {
            let headline = format!("{COMMITTERS} cannot stand in `{}` of [mail]", entry.key);
            let label = "name somebody; a job has notify = { email = \"@committers\" }";
            item.refuse(headline, label, findings);
            None
        }
        Data::Text(text) if text.starts_with('@') && of_job => {
            let headline = format!("`{text}` is no mail address");
            item.refuse(headline, "the only name for several people is \"@committers\"", findings);
            None
        }
        _ => address(item, findings),
    };
    let read: Vec<Option<String>> = entry.items().iter().map(one).collect();
    read.into_iter().collect()
}

fn mail(table: &Table, first_header: Option<&Table>, f: &Findings) -> Mail {
    keys::check(table, Place::Mail, first_header, f);
    let get = |name: &str| table.get(name);
    let mut mail = Mail::default();
    if let Some(from) = get("from").and_then(|entry| address(entry, f)) {
        mail.from = from;
    }
    mail.to = get("to").and_then(|entry| addresses(entry, false, f)).unwrap_or_default();
    // A host to send to is there to be used; without one mail is written to files.
    mail.transport = if get("host").is_some() { Transport::Smtp } else { Transport::File };
    if let Some(entry) = get("transport")
        && let Some(transport) = entry.word::<Transport>(f)
    {
        mail.transport = transport;
        if transport == Transport::Sendmail {
            let headline = "transport = \"sendmail\" does not work yet in this version";
            entry.refuse(headline, "\"smtp\" with host = \"localhost\" reaches a local mail server", f);
        }
        if transport == Transport::Smtp && get("host").is_none() {
            entry.refuse("transport = \"smtp\" needs a `host`", "add host = \"mail.example.org\"", f);
        }
    }
    if let Some(entry) = get("host")
        && let Some(host) = entry.text(f)
    {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
        if host.is_empty() || !host.chars().all(legal) {
            entry.refuse(format!("`{host}` is no name of a host"), "the port stands in `port`", f);
        }
        mail.host = host;
    }
    if let Some(port) = get("port").and_then(|entry| entry.count(1..=65_535, f)) {
        mail.port = u16::try_from(port).unwrap_or_default();
    }
    if let Some(tls) = get("tls").and_then(|entry| entry.word::<MailTls>(f)) {
        mail.tls = tls;
    }
    mail.username = get("username").and_then(|entry| entry.text(f));
    mail.credential = get("credential").and_then(|entry| credential(entry, f));
    if let (Some(entry), None) = (get("username"), get("credential")) {
        let headline = "`username` without a `credential`";
        entry.refuse(headline, "add credential = \"NAME\", a file in credentials/ that holds the password", f);
    }
    mail.dir = get("dir").and_then(|entry| {
        let path = PathBuf::from(entry.text(f)?);
        if !path.is_absolute() {
            entry.refuse("`dir` is an absolute path", "", f);
            return None;
        }
        Some(path)
    });
    mail
}

/// `[github]`, `[gitlab]`, `[gitea]`.
fn forge_settings(forge: Forge, table: &Table, first_header: Option<&Table>, f: &Findings) -> Option<ForgeSettings> {
    keys::check(table, Place::Forge, first_header, f);
    let get = |name: &str| table.get(name);
    let url = match get("url") {
        Some(entry) => public_url(entry, f)?,
        None => match forge.usual_url() {
            Some(url) => url.to_owned(),
            None => {
                let mistake = Mistake::new(&table.spot, format!("[{forge}] has no `url`"));
                f.add(&mistake.label("add url = \"https://HOST\": every installation has its own"));
                return None;
            }
        },
    };
    Some(ForgeSettings {
        url,
        credential: get("credential").and_then(|entry| credential(entry, f)),
        webhook_credential: get("webhook-credential").and_then(|entry| credential(entry, f)),
    })
}

/// The name of a file in credentials/.
pub fn credential(entry: &Entry, findings: &Findings) -> Option<String> {
    let name = entry.text(findings)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(legal) {
        let headline = format!("`{}` is the name of a file in credentials/", entry.key);
        entry.refuse(headline, "write the file's name, not the password", findings);
        return None;
    }
    Some(name)
}
