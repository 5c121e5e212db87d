//! `[environment.NAME]`, in shipbell.toml and in a job file, and what the two come to together: a job
//! file may make it stricter, never laxer.

use std::collections::BTreeSet;

use crate::config::job;
use crate::config::keys::{self, Place};
use crate::config::message::{Findings, Mistake, Spot};
use crate::config::settings::Shared;
use crate::config::tree::{Data, Entry, Table};
use crate::model::catalog::Catalog;
use crate::model::job::{Approval, EnvironmentPolicy, Factor, FreezeDef, WindowDef};
use crate::model::name::{EnvironmentName, PersonName};
use crate::model::time::Seconds;
use crate::model::window::Windows;

/// One table as it is written.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: EnvironmentName,
    pub header: Spot,
    pub approval: Said,
    pub window: Option<(WindowDef, Spot)>,
    pub freezes: Vec<FreezeDef>,
    pub url: Option<String>,
    pub pools: Vec<String>,
}

/// What a table says of approval.
#[derive(Debug, Clone)]
pub enum Said {
    Nothing,
    /// The word "none".
    Free(Spot),
    Wanted {
        approval: Approval,
        /// Where `by` stands.
        by: Spot,
    },
    /// It was wrong, and has been told.
    Wrong,
}

/// The `[environment]` tables of a file.
pub fn read_all(table: Option<&Entry>, zone: &str, findings: &Findings) -> Vec<Draft> {
    let Some(entry) = table else { return Vec::new() };
    let Some(table) = entry.table("[environment.production]", findings) else { return Vec::new() };
    let read = |entry: &Entry| {
        let Data::Table(table) = &entry.data else {
            let mistake = Mistake::new(&entry.key_spot, format!("`{}` is no environment's table", entry.key));
            findings.add(&mistake.label("write [environment.production], and its keys below that line"));
            return None;
        };
        match entry.key.parse::<EnvironmentName>() {
            Ok(name) => Some(read(name, table, zone, findings)),
            Err(error) => {
                let mistake = Mistake::new(&entry.key_spot, format!("`{}` is no name of an environment", entry.key));
                findings.add(&mistake.label(error.to_string()));
                None
            }
        }
    };
    table.entries.iter().filter_map(read).collect()
}

fn read(name: EnvironmentName, table: &Table, zone: &str, f: &Findings) -> Draft {
    keys::check(table, Place::Environment, None, f);
    let own_zone = table.get("timezone").and_then(|entry| job::zone(entry, f));
    let zone = own_zone.unwrap_or_else(|| zone.to_owned());
    let approval = match table.get("approval") {
        None => Said::Nothing,
        Some(entry) => approval(entry, f),
    };
    let window = table.get("window").and_then(|entry| {
        let any_of = entry.texts(f)?.into_iter().map(|(text, _)| text).collect();
        let window = WindowDef { any_of, zone: zone.clone() };
        match Windows::parse(std::slice::from_ref(&window), &[]) {
            Ok(_) => Some((window, entry.spot.clone())),
            Err(error) => {
                entry.refuse("this is no window", error.0, f);
                None
            }
        }
    });
    let mut freezes = Vec::new();
    for (text, item) in table.get("freeze").and_then(|entry| entry.texts(f)).unwrap_or_default() {
        let freeze = FreezeDef { text, zone: zone.clone() };
        match Windows::parse(&[], std::slice::from_ref(&freeze)) {
            Ok(_) => freezes.push(freeze),
            Err(error) => item.refuse("this is no freeze", error.0, f),
        }
    }
    Draft {
        name,
        header: table.spot.clone(),
        approval,
        window,
        freezes,
        url: table.get("url").and_then(|entry| page(entry, f)),
        pools: table.get("pool").map(|entry| job::pools(entry, f)).unwrap_or_default(),
    }
}

/// An address that may stand in a mail as a link.
pub fn page(entry: &Entry, findings: &Findings) -> Option<String> {
    let text = entry.text(findings)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let legal = |rest: &str| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(|c| c.is_ascii_graphic());
    if !rest.is_some_and(legal) || text.contains(['<', '>', '"']) {
        entry.refuse(format!("`{}` is no address of a page", entry.key), "write it like https://HOST/PATH", findings);
        return None;
    }
    Some(text)
}

const FORM: &str = "approval = { by = \"@release\", votes = 1, expires = \"72h\" }, or \"none\"";

fn approval(entry: &Entry, f: &Findings) -> Said {
    let table = match &entry.data {
        Data::Text(word) if word == "none" => return Said::Free(entry.spot.clone()),
        Data::Table(table) => table,
        _ => {
            entry.refuse("`approval` is \"none\" or says who approves", format!("write {FORM}"), f);
            return Said::Wrong;
        }
    };
    keys::check(table, Place::Approval, None, f);
    let Some(by) = table.get("by") else {
        let mistake = Mistake::new(&table.spot, "`approval` does not say who approves");
        f.add(&mistake.label("add by = \"NAME\" or by = \"@ROLE\""));
        return Said::Wrong;
    };
    let said = wanted(table, by, f);
    said.map_or(Said::Wrong, |approval| Said::Wanted { approval, by: by.spot.clone() })
}

/// `forbid = "author"`, alone or in a list.
fn forbids_author(entry: &Entry, f: &Findings) -> Option<bool> {
    let mut author = false;
    for (word, item) in entry.texts(f)? {
        match word.as_str() {
            "author" => author = true,
            "none" => {}
            _ => {
                item.refuse("`forbid` takes \"author\"", "who wrote one of the commits may then not vote", f);
                return None;
            }
        }
    }
    Some(author)
}

fn wanted(table: &Table, by: &Entry, f: &Findings) -> Option<Approval> {
    let get = |name: &str| table.get(name);
    let votes = get("votes").map_or(Some(1), |entry| entry.count(1..=20, f));
    let expires = get("expires").map_or(Some(Seconds::hours(72)), |entry| job::above_zero(entry, f));
    let forbid_author = get("forbid").map_or(Some(false), |entry| forbids_author(entry, f));
    let factor = match get("factor") {
        None => Some(Factor::Word),
        Some(entry) => entry.word::<Factor>(f),
    };
    let names: Vec<String> = by.texts(f)?.into_iter().map(|(text, _)| text).collect();
    if names.is_empty() {
        by.refuse("`by` names nobody", "write by = \"NAME\" or by = \"@ROLE\"", f);
        return None;
    }
    Some(Approval { by: vec![names], votes: votes?, expires: expires?, forbid_author: forbid_author?, factor: factor? })
}

/// Tells whether enough people can approve what this table wants.
pub fn check_people(draft: &Draft, shared: &Shared, f: &Findings) {
    let Said::Wanted { approval, by } = &draft.approval else { return };
    let catalog = shared.catalog_of_people();
    let name = &draft.name;
    let file = crate::config::message::plain(&shared.file.display().to_string());
    for entry in approval.by.iter().flatten() {
        if !catalog.people_of(entry).is_empty() {
            continue;
        }
        let mistake = match entry.strip_prefix('@') {
            Some(role) => Mistake::new(by, format!("nobody holds the role `{role}` that approves `{name}`"))
                .note(format!("add roles = [\"{role}\"] to a [person.NAME] in {file}")),
            None => {
                let known = catalog.people.keys().map(PersonName::as_str);
                let meant = crate::config::message::closest(entry, known);
                let mistake = Mistake::new(by, format!("`{entry}`, who approves `{name}`, is no person"))
                    .note(format!("add [person.{entry}] with an email to {file}; a role is written @{entry}"));
                match meant {
                    Some(meant) => mistake.label(format!("did you mean `{meant}`?")),
                    None => mistake,
                }
            }
        };
        f.add(&mistake);
        return;
    }
    for list in &approval.by {
        let people: BTreeSet<_> = list.iter().flat_map(|entry| catalog.people_of(entry)).collect();
        let votes = usize::try_from(approval.votes).unwrap_or(usize::MAX);
        if people.len() < votes {
            let names = people.iter().map(PersonName::as_str).collect::<Vec<_>>().join(", ");
            let can = if people.len() == 1 { "only one person can" } else { "not so many people can" };
            let headline = format!("`{name}` wants {votes} votes, but {can} vote: {names}");
            f.add(&Mistake::new(by, headline).label("lower `votes`, or name more people or roles"));
        } else if able(&people, &catalog, approval.factor) < votes {
            let names = people.iter().map(PersonName::as_str).collect::<Vec<_>>().join(", ");
            let (what, lack, todo) = match approval.factor {
                Factor::Totp => ("a code with each vote", "a totp", "totp = \"totp-NAME\""),
                Factor::Word | Factor::Sshsig => ("signed votes", "an ssh-key", "ssh-key = \"ssh-ed25519 AAAA...\""),
            };
            let headline = format!("`{name}` wants {what}, and too few of {names} have {lack}");
            let note = format!("add {todo} to their [person.NAME] in {file}");
            let mistake = Mistake::new(by, headline).note(note);
            f.add(&match approval.factor {
                Factor::Totp => mistake.note("and make their seeds: shipbell totp NAME"),
                Factor::Word | Factor::Sshsig => mistake,
            });
        }
    }
}

/// How many of them have what the factor is given by.
fn able(people: &BTreeSet<PersonName>, catalog: &Catalog, factor: Factor) -> usize {
    let has = |name: &&PersonName| {
        catalog.people.get(*name).is_some_and(|person| match factor {
            Factor::Word => true,
            Factor::Totp => person.totp.is_some(),
            Factor::Sshsig => !person.ssh_keys.is_empty(),
        })
    };
    people.iter().filter(has).count()
}

/// The policy of a job's environment: shipbell.toml's and the job file's together. `None`: neither is
/// whole (which has been told).
pub fn combine(shared: Option<&Draft>, own: Option<&Draft>, f: &Findings) -> Option<(EnvironmentPolicy, Vec<String>)> {
    let name = own.or(shared)?.name.clone();
    // What is wrong has been told; a policy that is half read must not be mistaken for a laxer one.
    if [shared, own].into_iter().flatten().any(|draft| matches!(draft.approval, Said::Wrong)) {
        return None;
    }
    if let (Some(Said::Wanted { .. }), Some(Said::Free(spot))) =
        (shared.map(|draft| &draft.approval), own.map(|draft| &draft.approval))
    {
        let mistake = Mistake::new(spot, format!("shipbell.toml wants approval for `{name}`"));
        f.add(&mistake.label("a job file may only be stricter: remove this line"));
        return None;
    }
    if let (Some((outer, _)), Some((inner, spot))) =
        (shared.and_then(|draft| draft.window.as_ref()), own.and_then(|draft| draft.window.as_ref()))
        && Windows::wider(inner, outer)
    {
        let said = outer.any_of.join(", ");
        let mistake = Mistake::new(spot, format!("window here is wider than shipbell.toml's ({said})"));
        f.add(&mistake.label("a job file may only narrow it"));
    }
    let drafts = || shared.into_iter().chain(own);
    let approval = match (approval_of(shared), approval_of(own)) {
        (Some(outer), Some(inner)) => Some(both(outer, inner)),
        (one, other) => one.or(other).cloned(),
    };
    let mut freezes: Vec<FreezeDef> = drafts().flat_map(|draft| draft.freezes.iter().cloned()).collect();
    freezes.sort_by(|a, b| (&a.text, &a.zone).cmp(&(&b.text, &b.zone)));
    freezes.dedup();
    let mut windows: Vec<WindowDef> =
        drafts().filter_map(|draft| draft.window.as_ref().map(|(window, _)| window.clone())).collect();
    windows.dedup();
    let url = drafts().filter_map(|draft| draft.url.clone()).next_back();
    let pools = drafts().flat_map(|draft| draft.pools.iter().cloned()).collect();
    Some((EnvironmentPolicy { name, approval, windows, freezes, url }, pools))
}

fn approval_of(draft: Option<&Draft>) -> Option<&Approval> {
    match &draft?.approval {
        Said::Wanted { approval, .. } => Some(approval),
        Said::Nothing | Said::Free(_) | Said::Wrong => None,
    }
}

/// Both lists must be satisfied; of the rest the stricter holds.
fn both(outer: &Approval, inner: &Approval) -> Approval {
    let mut by: Vec<Vec<String>> = outer.by.iter().chain(&inner.by).cloned().collect();
    by.dedup();
    Approval {
        by,
        votes: outer.votes.max(inner.votes),
        expires: outer.expires.min(inner.expires),
        forbid_author: outer.forbid_author || inner.forbid_author,
        factor: outer.factor.max(inner.factor),
    }
}
