//! Names of secrets, and where a job asks for them. A secret's content is never part of these types:
//! the executor reads it when a run starts and hands it to the run's supervisor, and nobody else.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::job::Definition;
use crate::model::name::NAME_MAX;

/// The name of a file in `/etc/shipbell/secrets`, as a job says it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(Arc<str>);

/// Why a text cannot be the name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret's name is a file name: a-z A-Z 0-9 and \"._-\", begins with a letter or digit, at most {NAME_MAX}")]
pub struct BadSecretName;

impl SecretName {
    /// # Errors
    /// If no file of that name could lie in the directory of secrets.
    pub fn new(text: &str) -> Result<Self, BadSecretName> {
        let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let legal = text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
        if first && legal && text.len() <= NAME_MAX { Ok(Self(text.into())) } else { Err(BadSecretName) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for SecretName {
    type Err = BadSecretName;
    fn from_str(text: &str) -> Result<Self, BadSecretName> {
        Self::new(text)
    }
}

impl TryFrom<String> for SecretName {
    type Error = BadSecretName;
    fn try_from(text: String) -> Result<Self, BadSecretName> {
        Self::new(&text)
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> String {
        name.0.to_string()
    }
}

/// The value of a variable of a job or a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnvValue {
    Plain(String),
    /// The content of a secret.
    Secret {
        secret: SecretName,
    },
    /// The path of a secret's file.
    File {
        file: SecretName,
    },
}

impl From<&str> for EnvValue {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

impl From<String> for EnvValue {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

crate::words! {
    /// What it means that a step printed a secret.
    #[derive(Default)]
    pub enum OnLeak { #[default] Report => "report", Fail => "fail" }
}

impl OnLeak {
    /// The default is not written down: definitions from before it was known keep their hash.
    #[must_use]
    pub fn is_report(&self) -> bool {
        *self == Self::Report
    }
}

impl Definition {
    fn variables(&self) -> impl Iterator<Item = &EnvValue> {
        self.env.values().chain(self.steps.iter().flat_map(|step| step.env.values()))
    }

    /// The secrets that lie as files in `$CREDENTIALS_DIRECTORY`.
    #[must_use]
    pub fn secret_files(&self) -> BTreeSet<SecretName> {
        let file = |value: &EnvValue| if let EnvValue::File { file } = value { Some(file.clone()) } else { None };
        self.secrets.iter().cloned().chain(self.variables().filter_map(file)).collect()
    }

    /// All secrets that a run of it gets, the one of `[init]` too.
    #[must_use]
    pub fn secret_names(&self) -> BTreeSet<SecretName> {
        let value = |value: &EnvValue| match value {
            EnvValue::Secret { secret } => Some(secret.clone()),
            EnvValue::Plain(_) | EnvValue::File { .. } => None,
        };
        let mut names = self.secret_files();
        names.extend(self.variables().filter_map(value));
        names.extend(self.init.iter().filter_map(|init| init.secret.clone()));
        names
    }

    /// Whether steps see secrets that `init` does not.
    #[must_use]
    pub fn hides_secrets_from_init(&self) -> bool {
        !self.secret_files().is_empty() || self.variables().any(|value| matches!(value, EnvValue::Secret { .. }))
    }
}
