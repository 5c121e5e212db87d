//! Whether a deployment that wants more than a word may start: its order names exactly what people said yes
//! to, and enough of those who hold the role now did, by a signature or with a code that was taken here. Judged
//! from root's files and what the executor keeps, with nothing of the daemon's believed. What only git knows (who
//! wrote a commit, what is taken back) is not judged here.

use std::collections::BTreeSet;

use super::codes::Codes;
use crate::model::catalog::{Catalog, Person};
use crate::model::job::{Approval, Definition, EnvironmentPolicy, Factor};
use crate::model::name::PersonName;
use crate::model::statement::{NAMESPACE, Receipt, Receipts, SIGNATURE_MAX, Statement, VERSION};
use crate::model::ticket::StartOrder;
use crate::model::time::{Seconds, Timestamp};
use crate::model::window;
use crate::signature;

/// More votes than any policy asks for; each costs a process.
const VOTES_MAX: usize = 64;
/// How far ahead of this clock an instant of the daemon's may lie.
const AHEAD: Seconds = Seconds(60);

/// The approval that a word does not prove, if that is what a definition wants.
#[must_use]
pub fn wanted(definition: &Definition) -> Option<(&EnvironmentPolicy, &Approval)> {
    let policy = definition.environment.as_deref()?;
    policy.approval.as_ref().filter(|approval| approval.factor > Factor::Word).map(|approval| (policy, approval))
}

/// `people`: a catalog that has those of shipbell.toml as root wrote them.
///
/// # Errors
/// A text for people: why it may not start.
pub fn judge(
    order: &StartOrder,
    definition: &Definition,
    people: &Catalog,
    codes: &Codes<'_>,
    host: &str,
    now: Timestamp,
) -> Result<(), String> {
    let Some((policy, approval)) = wanted(definition) else { return Ok(()) };
    let (run, name) = (&order.run, &policy.name);
    let refused = |why: String| format!("{run} may not go to {name}: {why}");
    let Some(receipts) = &order.receipts else { return Err(refused("nobody's vote came with it".into())) };
    let Receipts { statement, votes } = receipts.as_ref();
    if let Some(why) = difference(order, definition, policy, statement) {
        return Err(refused(why));
    }
    if let Some(why) = out_of_time(policy, approval, statement, now) {
        return Err(refused(why));
    }
    if votes.len() > VOTES_MAX {
        return Err(refused(format!("{} votes came with it", votes.len())));
    }
    let mut holders: Vec<(&PersonName, &Person)> = Vec::new();
    for vote in votes {
        // Each person once, however often they are named.
        let new = holders.iter().all(|(name, _)| **name != vote.person);
        holders.extend(people.people.get_key_value(&vote.person).filter(|_| new));
    }
    match approval.factor {
        Factor::Word => Ok(()),
        Factor::Sshsig => {
            let signed = signers(&statement.text(host), votes, people).map_err(refused)?;
            enough(approval, people, &signed, |count, votes, of| {
                format!("{count} of {votes} signatures by {of} are good for exactly this")
            })
            .map_err(refused)
        }
        Factor::Totp => {
            let (said, trouble) = codes.voters(&statement.hash(host), &holders, now);
            let trouble: String = trouble.iter().map(|(name, why)| format!("; of {name}: {why}")).collect();
            enough(approval, people, &said, |count, votes, of| {
                format!("{count} of {votes} votes by {of} were given with a code for exactly this{trouble}")
            })
            .map_err(refused)
        }
    }
}

/// Those whose signature of the text is good for a key that is theirs now.
fn signers<'v>(text: &str, votes: &'v [Receipt], people: &Catalog) -> Result<BTreeSet<&'v PersonName>, String> {
    let mut signed = BTreeSet::new();
    for vote in votes {
        let Some(person) = people.people.get(&vote.person) else { continue };
        let Some(given) = vote.signed.as_ref().filter(|given| given.signature.len() <= SIGNATURE_MAX) else { continue };
        if signed.contains(&vote.person) {
            continue;
        }
        let good = signature::key_of(&person.ssh_keys, NAMESPACE, text.as_bytes(), given.signature.as_bytes());
        if good.map_err(|error| format!("no signature can be checked: {error}"))?.is_some() {
            signed.insert(&vote.person);
        }
    }
    Ok(signed)
}

/// Each list by itself, by those who are on it now.
fn enough(
    approval: &Approval,
    people: &Catalog,
    said: &BTreeSet<&PersonName>,
    missing: impl Fn(usize, u32, &str) -> String,
) -> Result<(), String> {
    for list in &approval.by {
        let holders: BTreeSet<PersonName> = list.iter().flat_map(|entry| people.people_of(entry)).collect();
        let count = holders.iter().filter(|person| said.contains(person)).count();
        if count < approval.votes as usize {
            return Err(missing(count, approval.votes, &list.join(", ")));
        }
    }
    Ok(())
}

/// Until when something could start by a yes that a person gives to this statement now, with a code.
///
/// # Errors
/// A text for people: why no code is taken for it.
pub fn may_be_coded(
    statement: &Statement,
    definition: &Definition,
    people: &Catalog,
    person: &PersonName,
    now: Timestamp,
) -> Result<Timestamp, String> {
    let (run, tuple) = (&statement.run, &statement.tuple);
    let wanted = wanted(definition).filter(|(_, approval)| approval.factor == Factor::Totp);
    let Some((policy, approval)) = wanted else { return Err(format!("{run} wants no code")) };
    let same = statement.v == VERSION && tuple.v == 1 && run.job == definition.key && tuple.environment == policy.name;
    if !same || tuple.policy != policy.policy_hash() {
        return Err(format!("{run} is no longer asked for like that: shipbell reload, and open it again"));
    }
    if let Some(why) = out_of_time(policy, approval, statement, now) {
        return Err(format!("{run}: {why}"));
    }
    let mut entries = approval.by.iter().flatten();
    if !entries.any(|entry| people.people_of(entry).contains(person)) {
        return Err(format!("{person} is not among the approvers of {}", policy.name));
    }
    Ok(window::approved_until(policy, statement.expires_at))
}

/// What was signed is not what would be done.
fn difference(
    order: &StartOrder,
    definition: &Definition,
    policy: &EnvironmentPolicy,
    statement: &Statement,
) -> Option<String> {
    let tuple = &statement.tuple;
    let repository = definition.repo.as_ref().map(|repo| &repo.url);
    let parts = [
        (statement.v == VERSION && tuple.v == 1, "text of another version"),
        (statement.run == order.run, "run"),
        (tuple.definition == order.definition, "definition"),
        (tuple.repository.as_ref() == repository, "repository"),
        (tuple.commit == order.commit, "commit"),
        (statement.git_ref == order.git_ref, "branch or tag"),
        (tuple.params == order.params, "parameter"),
        (tuple.upstream == order.needs, "run, output or artifact that it is built from"),
        (tuple.environment == policy.name, "environment"),
        (tuple.policy == policy.policy_hash(), "approval rule"),
    ];
    let (_, what) = parts.into_iter().find(|(same, _)| !same)?;
    Some(format!("what was approved names another {what}"))
}

/// Votes are taken for as long as the policy says, and an approval lives as long after the last instant at
/// which it can have been given.
fn out_of_time(
    policy: &EnvironmentPolicy,
    approval: &Approval,
    statement: &Statement,
    now: Timestamp,
) -> Option<String> {
    let (asked, until) = (statement.asked_at, statement.expires_at);
    if asked > AHEAD.after(now) {
        return Some(format!("it was asked for at {asked}, which is to come"));
    }
    if until > approval.expires.after(asked) {
        return Some(format!("it could be answered until {until}, longer than `expires` says"));
    }
    let last = window::approved_until(policy, until);
    (now >= last).then(|| format!("its approval expired at {last} at the latest"))
}
