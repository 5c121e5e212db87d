//! Whether a deployment that wants signed votes may start: its order names exactly what was signed, and
//! enough of the people who hold the role now signed it. Judged from root's files and from signatures, with
//! nothing of the daemon's believed. What only git knows (who wrote a commit, what is taken back) is not
//! judged here, nor whether somebody said no: that no is the daemon's to tell.

use std::collections::BTreeSet;

use crate::model::catalog::Catalog;
use crate::model::job::{Approval, Definition, EnvironmentPolicy, Factor};
use crate::model::name::PersonName;
use crate::model::statement::{NAMESPACE, Receipts, SIGNATURE_MAX, Statement, VERSION};
use crate::model::ticket::StartOrder;
use crate::model::time::{Seconds, Timestamp};
use crate::model::window;
use crate::signature;

/// More votes than any policy asks for; each costs a process.
const VOTES_MAX: usize = 64;
/// How far ahead of this clock an instant of the daemon's may lie.
const AHEAD: Seconds = Seconds(60);

/// The approval that only signatures can prove, if that is what a definition wants.
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
    let text = statement.text(host);
    let mut signed: BTreeSet<&PersonName> = BTreeSet::new();
    for vote in votes {
        let Some(person) = people.people.get(&vote.person) else { continue };
        let Some(given) = vote.signed.as_ref().filter(|given| given.signature.len() <= SIGNATURE_MAX) else { continue };
        // Each person once, however often they are named.
        if signed.contains(&vote.person) {
            continue;
        }
        let good = signature::key_of(&person.ssh_keys, NAMESPACE, text.as_bytes(), given.signature.as_bytes());
        if good.map_err(|error| refused(format!("no signature can be checked: {error}")))?.is_some() {
            signed.insert(&vote.person);
        }
    }
    enough(approval, people, &signed).map_err(refused)
}

/// Each list by itself, by those who are on it now.
fn enough(approval: &Approval, people: &Catalog, signed: &BTreeSet<&PersonName>) -> Result<(), String> {
    for list in &approval.by {
        let holders: BTreeSet<PersonName> = list.iter().flat_map(|entry| people.people_of(entry)).collect();
        let count = holders.iter().filter(|person| signed.contains(person)).count();
        if count < approval.votes as usize {
            let of = list.join(", ");
            return Err(format!("{count} of {} signatures by {of} are good for exactly this", approval.votes));
        }
    }
    Ok(())
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
