//! The command line, word for word. Help texts are written to be read one after the other.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::model::name::{EnvironmentName, JobKey, PipelineName};

use super::demo::DemoArgs;
use super::target::{Job, Scope, Target};

/// A CI/CD robot for one Linux host: it polls repositories, runs `make init`, the tests and staging by
/// itself, and deploys to production after a person approved exactly that commit.
#[derive(Debug, Parser)]
#[command(name = "shipbell", version, max_term_width = 80, after_help = AFTER, subcommand_required = true)]
#[command(disable_help_subcommand = true)]
pub(super) struct Args {
    /// Everything below this directory instead of /etc, /var and /run
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print JSON (schema 1, times in UTC); for commands that read
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
A run is named PIPELINE/JOB#NUMBER (open-im/test#42, or open-im.test.42);
PIPELINE/JOB alone means its last run.

Exit status: 0 done; 1 failed, or something needs a person; 2 usage; 4 no such
job or run; 69 the daemon does not answer; 75 try again later; 77 not allowed;
78 database unusable.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Ask(Ask),
    /// Are shipbell.toml and the job files good? Needs neither root nor a daemon
    Check {
        /// Only these
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// The whole story in a temporary directory: a commit on its way to production
    Demo(DemoArgs),
    /// The daemon itself; systemd starts it
    Daemon,
    /// Carry out one attempt; the daemon starts it
    #[command(hide = true)]
    Supervise { dir: PathBuf },
}

/// What the daemon is asked.
#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// What needs a person, how every pipeline stands, what runs and what comes
    Status,
    /// Runs, newest first
    History(HistoryArgs),
    /// All about one run: why, what, how long, how it ended
    Show {
        #[arg(value_name = "RUN")]
        run: Target,
    },
    /// What a run printed
    Logs(LogsArgs),
    /// What comes by itself, soonest first
    Next {
        /// How many
        #[arg(short, default_value_t = 10, value_name = "N")]
        n: usize,
        /// Only this one
        #[arg(value_name = "PIPELINE/JOB")]
        job: Option<JobKey>,
    },
    /// Start a job now, under the conditions it always has
    Run(RunArgs),
    /// End a run: TERM, its grace, then KILL; steps marked `always` still run
    Cancel {
        #[arg(value_name = "RUN")]
        run: Target,
    },
    /// The same once more, as a new run
    Retry {
        #[arg(value_name = "RUN")]
        run: Target,
        /// Print its log until it ends
        #[arg(long, short)]
        follow: bool,
    },
    /// Requests for approval: open ones, and those decided lately
    Approvals,
    /// Vote for a run that waits for approval
    Approve {
        #[arg(value_name = "RUN")]
        run: Target,
        /// Why; recorded with the vote, and nothing more is asked
        #[arg(short, value_name = "TEXT")]
        message: Option<String>,
    },
    /// Vote against it: the run ends as skipped and is not offered again by itself
    Reject {
        #[arg(value_name = "RUN")]
        run: Target,
        /// Why; everyone who was asked reads it
        #[arg(short, value_name = "REASON")]
        message: String,
    },
    /// Say what became of an environment that nobody can judge
    Resolve {
        pipeline: PipelineName,
        environment: EnvironmentName,
        /// What is true: the deployment is live, or it is not
        #[arg(long = "as", value_name = "STATE")]
        state: Resolution,
    },
    /// Read shipbell.toml and jobs.d again
    Reload,
    /// Ask a repository now instead of at its next poll
    Poll { pipeline: PipelineName },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Resolution {
    Deployed,
    Failed,
}

#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    /// Only this pipeline or job
    #[arg(value_name = "PIPELINE[/JOB]")]
    pub scope: Option<Scope>,
    /// How many
    #[arg(short, default_value_t = 20, value_name = "N")]
    pub n: usize,
    /// Only those that ended badly
    #[arg(long)]
    pub failed: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct LogsArgs {
    #[arg(value_name = "RUN")]
    pub run: Target,
    /// Go on until the run ends; exit status 1 if it failed
    #[arg(short, long)]
    pub follow: bool,
    /// Another attempt than the last
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
    /// The bytes as they are, with escape codes: only for logs that you trust
    #[arg(long)]
    pub raw: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[arg(value_name = "PIPELINE/JOB")]
    pub job: Job,
    /// Print its log until it ends; exit status 1 if it failed
    #[arg(long, short)]
    pub follow: bool,
    /// Branch or tag, where the job follows several
    #[arg(long, value_name = "REF")]
    pub branch: Option<String>,
    /// Parameters of the job
    #[arg(value_name = "PARAM=VALUE")]
    pub params: Vec<String>,
}
