//! How runs and jobs are named on the command line, and which run is meant when only a job is named.

use std::str::FromStr;

use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::view::{ApprovalsView, HistoryView, RunRow};

use super::client::Client;
use super::exit::Failure;

/// `open-im/test#42`, `open-im.test.42`, or `open-im/test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Run(RunRef),
    Job(JobKey),
    /// `r-31`: the run that asks by it.
    Request(u64),
}

/// `open-im/test`, told well when something else is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job(pub JobKey);

/// `open-im` or `open-im/test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    Pipeline(PipelineName),
    Job(JobKey),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(run) = text.parse().or_else(|_| RunRef::from_id(text)) {
            return Ok(Self::Run(run));
        }
        if let Ok(job) = text.parse() {
            return Ok(Self::Job(job));
        }
        if let Some(id) = text.strip_prefix("r-").and_then(|id| id.parse().ok()) {
            return Ok(Self::Request(id));
        }
        Err("a run is named PIPELINE/JOB#NUMBER, its job PIPELINE/JOB; `shipbell history` lists them".into())
    }
}

impl FromStr for Job {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| format!("{error}; `shipbell status` lists them"))
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return text.parse().map(Self::Job).map_err(|error| error.to_string());
        }
        text.parse().map(Self::Pipeline).map_err(|error: crate::model::name::BadName| error.to_string())
    }
}

impl Target {
    /// The run that is meant: of a job its last one.
    pub async fn last(&self, client: &Client) -> Result<RunRef, Failure> {
        match self {
            Self::Run(run) => Ok(run.clone()),
            Self::Request(id) => of_request(client, *id).await,
            Self::Job(job) => {
                let runs = runs_of(client, job, 1).await?;
                let last = runs.into_iter().next().map(|row| row.run);
                last.ok_or_else(|| Failure::not_found(format!("{job} has never run\n  start it: shipbell run {job}")))
            }
        }
    }

    /// Of a job: the one of its runs that is not over.
    pub async fn live(&self, client: &Client) -> Result<RunRef, Failure> {
        let job = match self {
            Self::Run(run) => return Ok(run.clone()),
            Self::Request(id) => return of_request(client, *id).await,
            Self::Job(job) => job,
        };
        let runs = runs_of(client, job, 50).await?;
        let live: Vec<RunRef> = runs.into_iter().filter(|row| row.outcome.is_none()).map(|row| row.run).collect();
        one_of(live, || format!("no run of {job} is queued or running\n  its last ones: shipbell history {job}"))
    }

    /// Of a job: the one of its runs that waits for votes.
    pub async fn asked(&self, client: &Client) -> Result<RunRef, Failure> {
        let job = match self {
            Self::Run(run) => return Ok(run.clone()),
            Self::Request(id) => return of_request(client, *id).await,
            Self::Job(job) => job,
        };
        let view: ApprovalsView = client.get("/api/v1/approvals").await?;
        let open = view.open.into_iter().filter(|row| row.run.job == *job && row.state == "open");
        let open = open.map(|row| row.run).collect();
        one_of(open, || format!("no run of {job} waits for votes\n  all requests: shipbell approvals"))
    }
}

async fn of_request(client: &Client, id: u64) -> Result<RunRef, Failure> {
    let view: ApprovalsView = client.get("/api/v1/approvals").await?;
    let found = view.open.into_iter().chain(view.decided).find(|row| row.request == id).map(|row| row.run);
    found.ok_or_else(|| {
        Failure::not_found(format!("no request r-{id} is open or was decided lately: shipbell approvals"))
    })
}

async fn runs_of(client: &Client, job: &JobKey, n: usize) -> Result<Vec<RunRow>, Failure> {
    let view: HistoryView = client.get(&format!("/api/v1/history?job={job}&n={n}")).await?;
    Ok(view.runs)
}

fn one_of(mut runs: Vec<RunRef>, none: impl Fn() -> String) -> Result<RunRef, Failure> {
    match (runs.pop(), runs.as_slice()) {
        (Some(run), []) => Ok(run),
        (None, _) => Err(Failure::not_found(none())),
        (Some(run), others) => {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            Err(Failure::usage(format!("several are meant by it, name one: {run}, {}", others.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_in_three_ways() {
        let run: RunRef = "open-im/test#42".parse().unwrap();
        for text in ["open-im/test#42", "open-im.test.42"] {
            assert_eq!(text.parse::<Target>(), Ok(Target::Run(run.clone())), "{text}");
        }
        assert_eq!("r-31".parse::<Target>(), Ok(Target::Request(31)));
        assert_eq!("open-im/test".parse::<Target>(), Ok(Target::Job(run.job.clone())));
        assert_eq!("open-im/test".parse::<Scope>(), Ok(Scope::Job(run.job.clone())));
        assert_eq!("open-im".parse::<Scope>(), Ok(Scope::Pipeline(run.job.pipeline)));
        for bad in ["", "open-im", "open-im/test#", "open-im/test#0", "../etc", "a/b/c", "A/b"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
