//! The command line, word for word. Help texts are written to be read one after the other.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::model::backfill::BackfillOnly;
use crate::model::name::{EnvironmentName, JobKey, PersonName, PipelineName};
use crate::model::time::{Seconds, Timestamp};

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
    /// Which promises hold on this host, and what to do about those that do not
    Doctor {
        /// Exit status 1 also where a promise holds for less than it could
        #[arg(long)]
        strict: bool,
    },
    /// Give a person codes for their votes: a new seed, shown once as a picture for their phone
    Totp(TotpArgs),
    /// Due times of jobs or job files, in UTC and local; nothing is run
    Simulate(SimulateArgs),
    /// The whole story in a temporary directory: a commit on its way to production
    Demo(DemoArgs),
    /// Bring jobs over: write job files and say what does not carry over
    Import {
        #[command(subcommand)]
        from: ImportFrom,
    },
    /// The daemon itself; systemd starts it
    Daemon,
    /// The privileged half in a process of its own; systemd starts it
    #[command(hide = true)]
    Executor,
    /// Carry out one attempt; the daemon starts it
    #[command(hide = true)]
    Supervise { dir: PathBuf },
}

#[derive(Debug, clap::Args)]
pub(super) struct TotpArgs {
    /// A [person.NAME] of shipbell.toml
    #[arg(value_name = "NAME")]
    pub person: PersonName,
    /// In place of the seed they have: codes and votes by the old one count no more
    #[arg(long)]
    pub replace: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImportFrom {
    /// Prow's periodics and postsubmits
    Prow(ProwArgs),
    /// Debian's and cronie's crontabs, of users and of the system
    Crontab(CrontabArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ProwArgs {
    /// A file of YAML, or a directory of them
    #[arg(value_name = "FILE|DIR")]
    pub path: PathBuf,
    #[command(flatten)]
    pub how: ImportHow,
}

#[derive(Debug, clap::Args)]
pub(super) struct CrontabArgs {
    /// The crontab; `-` is standard input: crontab -l | shipbell import crontab -
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// It is this user's
    #[arg(long, value_name = "NAME", conflicts_with = "system")]
    pub user: Option<String>,
    /// A user stands before each command (so in /etc/crontab and /etc/cron.d)
    #[arg(long)]
    pub system: bool,
    #[command(flatten)]
    pub how: ImportHow,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportHow {
    /// Write the files there; without it they are printed. None is overwritten
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Compare 90 days of fire times from here on, not from now
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
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
    /// Why a job ran, or did not: at a time, or last
    Why(WhyArgs),
    /// The next days as a picture: due times, load, clock changes, collisions
    Forecast {
        /// How far
        #[arg(default_value = "30d", value_name = "SPAN")]
        span: Seconds,
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
    /// Let nothing of a job, a pipeline or all start; what runs goes on
    Pause(PauseArgs),
    /// End a pause; nothing is caught up in a burst
    Resume(PausedArgs),
    /// Queue runs for due times that have passed
    Backfill(BackfillArgs),
    /// Requests for approval: open ones, and those decided lately
    Approvals,
    /// Vote for a run that waits for approval
    Approve {
        #[arg(value_name = "RUN")]
        run: Target,
        /// Why; recorded with the vote, and nothing more is asked
        #[arg(short, value_name = "TEXT")]
        message: Option<String>,
        /// Sign the vote with your key, as factor = "sshsig" wants it
        #[arg(long)]
        sign: bool,
        /// The key's file; without it, a key of yours that the ssh agent has
        #[arg(short, value_name = "KEY", requires = "sign")]
        identity: Option<PathBuf>,
    },
    /// Root lets a run go that waits for approval, without any vote; all who were asked are told
    BreakGlass {
        #[arg(value_name = "RUN")]
        run: Target,
        /// Why; everyone who was asked reads it
        #[arg(short, value_name = "REASON")]
        message: String,
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
    /// Take away now what has outlived its time by [retention]
    Prune {
        /// Only show what would go, and why the rest stays
        #[arg(long)]
        dry_run: bool,
    },
    /// Read shipbell.toml and jobs.d again
    Reload,
    /// How each repository is asked: head, last poll, next, error
    Repos(ReposArgs),
    /// Ask a repository now instead of at its next poll
    Poll { pipeline: PipelineName },
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ReposArgs {
    #[command(subcommand)]
    pub command: Option<ReposCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ReposCommand {
    /// Try one and say exactly what fails: name, TLS, login, host key, branch
    Test {
        url: String,
        /// A file of /etc/shipbell/credentials
        #[arg(long, value_name = "NAME")]
        credential: Option<String>,
        /// Look for this one
        #[arg(long, value_name = "NAME")]
        branch: Option<String>,
    },
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
    /// Put before each line when it came, to about a second
    #[arg(long, conflicts_with = "raw")]
    pub times: bool,
    /// Only what came since then: -10m, 17:30, "thu 17:30", RFC 3339
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only what this step printed
    #[arg(long, value_name = "N|NAME", conflicts_with_all = ["follow", "since"])]
    pub step: Option<String>,
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

#[derive(Debug, clap::Args)]
pub(super) struct WhyArgs {
    #[arg(value_name = "PIPELINE/JOB")]
    pub job: Job,
    /// 02:30, thu, "thu 02:30", 2026-11-26, "2026-11-26 02:00", in the job's zone, or RFC 3339
    #[arg(value_name = "TIME")]
    pub time: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// From when; default: now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Until when; default: a week later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Only these jobs, or these files instead of the installed ones
    #[arg(value_name = "PIPELINE/JOB|FILE")]
    pub what: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct PausedArgs {
    /// Which
    #[arg(value_name = "PIPELINE[/JOB]", required_unless_present = "all")]
    pub scope: Option<Scope>,
    /// Everything
    #[arg(long, conflicts_with = "scope")]
    pub all: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    pub what: PausedArgs,
    /// When it ends by itself: 2h, "mon 08:00", 2026-12-24
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Why; whoever asks what is paused reads it
    #[arg(short, value_name = "NOTE")]
    pub message: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct BackfillArgs {
    #[arg(value_name = "PIPELINE/JOB")]
    pub job: Job,
    /// The first due time, or before it
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: String,
    /// The last due time, or after it; a day counts whole
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: String,
    /// Which due times: missing (default), failed, all
    #[arg(long, value_name = "WHICH")]
    pub only: Option<BackfillOnly>,
    /// Only list them
    #[arg(long)]
    pub dry_run: bool,
}
