//! As whom the steps of a job run. The executor looks it up, for the name that a kept HOME belongs to and
//! for the ticket; a supervisor whose ticket says nothing of it looks itself. Both must come to the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::job::Definition;
use crate::model::ticket::{RunsAs, Ticket};
use crate::sys::host::{self, Account};
use crate::sys::process::Identity;

/// Who carries the steps out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doer {
    pub name: String,
    /// `None`: the supervisor's own user, no change.
    pub identity: Option<Identity>,
    /// What the log must say loudly.
    pub warning: Option<String>,
}

impl Doer {
    /// What the ticket says of it.
    #[must_use]
    pub fn runs_as(&self) -> Option<RunsAs> {
        let Identity { uid, gid, groups } = self.identity.clone()?;
        Some(RunsAs { name: self.name.clone(), uid, gid, groups })
    }

    /// Owner of what the steps may write.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.identity.as_ref().map(|identity| (identity.uid, identity.gid))
    }
}

/// Carries out jobs that say nothing else.
pub const OF_JOBS: &str = "shipbell-job";
/// The same, of those that deploy.
const OF_DEPLOYMENTS: &str = "shipbell-deploy";

/// How long an answer of the host holds. Groups may come from anywhere, and where systemd runs the host it
/// is PID 1 that is asked for them.
const FRESH: Duration = Duration::from_secs(3);

/// Answers of the host, for a moment.
#[derive(Debug, Default)]
pub struct Users(Mutex<BTreeMap<Wanted, (Instant, Doer)>>);

/// The user that a job names, and whether it deploys.
type Wanted = (Option<String>, bool);

impl Users {
    /// As [`choose`].
    ///
    /// # Errors
    /// As [`choose`]; what is wrong is looked at anew each time.
    pub fn choose(&self, definition: &Definition) -> Result<Doer, String> {
        let key = (definition.user.clone(), definition.deploys());
        // A map is whole after a panic as well.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, _)| since.elapsed() < FRESH);
        if let Some((_, doer)) = known.get(&key) {
            return Ok(doer.clone());
        }
        let doer = choose(definition)?;
        known.insert(key, (Instant::now(), doer.clone()));
        Ok(doer)
    }
}

/// The user that the ticket names, else the one that the host does.
///
/// # Errors
/// As [`choose`].
pub fn of_ticket(ticket: &Ticket) -> Result<Doer, String> {
    match ticket.runs_as.clone() {
        // Only root can change to another user, and the executor is the same user as its supervisors.
        Some(RunsAs { name, uid, gid, groups }) if host::effective_uid() == 0 => {
            Ok(Doer { name, identity: Some(Identity { uid, gid, groups }), warning: None })
        }
        _ => choose(&ticket.definition),
    }
}

/// The default of a job without `user`.
#[must_use]
pub fn default_name(definition: &Definition) -> &'static str {
    if definition.deploys() { OF_DEPLOYMENTS } else { OF_JOBS }
}

/// The user of this job's steps on this host, for this process.
///
/// # Errors
/// A text for people: there is no such user, or this process may not change to it.
pub fn choose(definition: &Definition) -> Result<Doer, String> {
    let own = host::effective_uid();
    match &definition.user {
        None if own != 0 => Ok(stay(own, None)),
        None => {
            let wanted = default_name(definition);
            match host::account_named(wanted) {
                Some(account) => change_to(&account),
                None => Ok(stay(own, Some(format!("runs as root: this host has no user {wanted}")))),
            }
        }
        Some(name) => named(name, own),
    }
}

fn named(name: &str, own: u32) -> Result<Doer, String> {
    let Some(account) = host::account_named(name) else {
        return Err(format!(
            "user = \"{name}\": this host has no such user\n\
             Make it:  useradd --system --no-create-home --shell /usr/sbin/nologin {name}\n\
             or name another one in `user`"
        ));
    };
    if account.uid == own {
        let warning = (own == 0).then(|| format!("runs as root: user = \"{name}\""));
        return Ok(stay(own, warning));
    }
    if own != 0 {
        return Err(format!(
            "user = \"{name}\": Shipbell runs as {} and only root can change to another user\n\
             Remove `user`, or run Shipbell from its systemd units",
            host::user_name_of(own)
        ));
    }
    change_to(&account)
}

fn stay(uid: u32, warning: Option<String>) -> Doer {
    Doer { name: host::user_name_of(uid), identity: None, warning }
}

fn change_to(account: &Account) -> Result<Doer, String> {
    let identity = Identity::of(account)
        .map_err(|error| format!("the groups of user {} could not be read: {error}", account.name))?;
    Ok(Doer { name: account.name.clone(), identity: Some(identity), warning: None })
}
