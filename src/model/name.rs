//! Names: of pipelines, jobs, environments and people, and of the run that is made of them.
//! A value of these types has been checked; a path, a unit or a URL can be built from it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name: it becomes part of file, unit and host-label names.
pub const NAME_MAX: usize = 63;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("a name is not empty")]
    Empty,
    #[error("a name has at most {NAME_MAX} characters")]
    TooLong,
    #[error("names are a-z 0-9 and \"-\", and begin with a letter or digit")]
    Character,
    #[error("a run is named PIPELINE/JOB#NUMBER")]
    NotARun,
    #[error("a job is named PIPELINE/JOB")]
    NotAJob,
}

fn check(text: &str) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if text.len() > NAME_MAX {
        return Err(BadName::TooLong);
    }
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(|&c| legal(c)) || !bytes.iter().all(|&c| legal(c) || c == b'-') {
        return Err(BadName::Character);
    }
    Ok(())
}

macro_rules! name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// # Errors
            /// If the text is not `[a-z0-9][a-z0-9-]*` of at most [`NAME_MAX`] characters.
            pub fn new(text: &str) -> Result<Self, BadName> {
                check(text).map(|()| Self(text.into()))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }
    };
}

name!(
    /// A pipeline: the stem of its job file.
    PipelineName
);
name!(
    /// A job within its pipeline.
    JobName
);
name!(
    /// An environment within its pipeline.
    EnvironmentName
);
name!(
    /// A person of shipbell.toml.
    PersonName
);

/// `PIPELINE/JOB`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobKey {
    pub pipeline: PipelineName,
    pub job: JobName,
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.pipeline, self.job))
    }
}

impl FromStr for JobKey {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let (pipeline, job) = text.split_once('/').ok_or(BadName::NotAJob)?;
        Ok(Self { pipeline: pipeline.parse()?, job: job.parse()? })
    }
}

/// One numbered execution of a job. Shown as `open-im/test#42`; in file, unit and container
/// names as `open-im.test.42`. Numbers begin at 1 and are never reused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunRef {
    pub job: JobKey,
    pub number: u64,
}

impl RunRef {
    /// `open-im.test.42`: safe in file, unit and container names.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}.{}", self.job.pipeline, self.job.job, self.number)
    }

    /// The reverse of [`RunRef::id`].
    ///
    /// # Errors
    /// If the text is no id of a run.
    pub fn from_id(text: &str) -> Result<Self, BadName> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(BadName::NotARun);
        let (pipeline, job, number) = (next()?.parse()?, next()?.parse()?, next()?);
        Ok(Self { job: JobKey { pipeline, job }, number: number_of(number)? })
    }
}

fn number_of(text: &str) -> Result<u64, BadName> {
    match text.parse::<u64>() {
        Ok(number) if number > 0 && number.to_string() == text => Ok(number),
        _ => Err(BadName::NotARun),
    }
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}#{}", self.job, self.number))
    }
}

impl FromStr for RunRef {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let (job, number) = text.split_once('#').ok_or(BadName::NotARun)?;
        Ok(Self { job: job.parse()?, number: number_of(number)? })
    }
}

macro_rules! by_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}
by_text!(JobKey);
by_text!(RunRef);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "open-im", "0x", "a-", &"x".repeat(63)] {
            assert!(PipelineName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "a/b", "é", &"x".repeat(64)] {
            assert!(PipelineName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_is_read_back_from_both_forms() {
        let run: RunRef = "open-im/test#42".parse().unwrap();
        assert_eq!(run.to_string(), "open-im/test#42");
        assert_eq!(run.id(), "open-im.test.42");
        assert_eq!(RunRef::from_id(&run.id()).unwrap(), run);
        for bad in ["open-im/test", "open-im/test#0", "open-im/test#042", "a#1", "a/b#-1", "a/b#x"] {
            assert!(bad.parse::<RunRef>().is_err(), "{bad}");
        }
    }
}
