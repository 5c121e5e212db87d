//! The story itself, act by act. Each act waits for what must come true and fails if it does not: told
//! is only what the daemon, the mail directory and the deployed pages say.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::clock;
use crate::model::commit::CommitId;
use crate::model::name::RunRef;
use crate::model::run::Outcome;
use crate::model::time::Timestamp;
use crate::model::view::{HistoryView, RunRow, RunView, StatusView};

use super::super::exit::Failure;
use super::super::paint::{Tone, safe, safe_line};
use super::DemoArgs;
use super::answer::{self, Letter};
use super::stage::{BROKEN, GOOD, Stage};
use super::tell::{Teller, seconds};

/// What comes by itself comes within this.
const LIMIT: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// The whole of it.
pub(super) async fn story(stage: &mut Stage, teller: &Teller, args: &DemoArgs) -> Result<(), Failure> {
    prologue(stage, teller, args).await?;
    let good = stage.push_good()?;
    push_is_seen(stage, teller, &good, GOOD).await?;
    by_itself(stage, teller, &good).await?;
    with_a_yes(stage, teller, &good, args).await?;
    let broken = stage.push_broken()?;
    push_is_seen(stage, teller, &broken, BROKEN).await?;
    stopped(stage, teller, &good, &broken).await?;
    teller.table()?;
    where_to_look(stage, teller, args)
}

async fn prologue(stage: &mut Stage, teller: &Teller, args: &DemoArgs) -> Result<(), Failure> {
    let root = stage.root.display();
    teller.plain(&format!(
        "One commit on its way to production, and one that the tests stop. Real parts, no\nnetwork, all of it below {root}\n\n"
    ))?;
    teller.happened(Tone::Plain, "shop.git", "an empty repository, polled every second", "")?;
    teller.happened(Tone::Plain, "jobs.d/shop.toml", "test; staging by itself; production after a yes", "")?;
    let began = Instant::now();
    stage.start()?;
    let ready = until(stage, "the daemon to answer", async |stage: &mut Stage| {
        Ok(stage.client.get::<StatusView>("/api/v1/status").await.ok().filter(|view| view.files_ok == 1))
    });
    ready.await?;
    let page = stage.page.clone();
    teller.happened(Tone::Plain, "shipbell daemon", &format!("serves {page}/"), &seconds(began.elapsed()))?;
    if args.keep {
        teller.detail("open it now, if you like: it follows along")?;
    }
    Ok(())
}

/// Looks until something is there; fails when it takes too long or the daemon has ended.
async fn until<T>(
    stage: &mut Stage,
    what: &str,
    mut look: impl AsyncFnMut(&mut Stage) -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look(stage).await? {
            return Ok(found);
        }
        if stage.daemon_is_gone() {
            return Err(Failure::other(format!("the daemon ended while the demo waited for {what}")));
        }
        if Instant::now() > end {
            return Err(Failure::other(format!("the demo waited {} s for {what}, in vain", LIMIT.as_secs())));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn between(from: Timestamp, to: Timestamp) -> String {
    seconds(to.duration_since(from).try_into().unwrap_or_default())
}

async fn push_is_seen(stage: &mut Stage, teller: &Teller, commit: &CommitId, message: &str) -> Result<(), Failure> {
    let pushed = clock::now();
    teller.happened(Tone::Strong, "you", &format!("push {} \"{message}\" to main", commit.short()), "")?;
    let wanted = commit.clone();
    let seen = until(stage, "the poll to see the commit", async |stage: &mut Stage| {
        let view: StatusView = stage.client.get("/api/v1/status").await?;
        let rows = view.pipelines.iter().flat_map(|pipeline| &pipeline.rows);
        let mut ours = rows.filter(|row| row.commit.as_ref().is_some_and(|commit| commit.id == wanted));
        Ok(ours.next().and_then(|row| row.seen_at))
    });
    let seen = seen.await?;
    teller.happened(Tone::Plain, "poll", &format!("sees {}", commit.short()), &between(pushed, seen))
}

/// The run of a job for a commit, once it has ended.
async fn ended(stage: &mut Stage, job: &str, commit: &CommitId) -> Result<RunRow, Failure> {
    let wanted = commit.clone();
    let what = format!("shop/{job} to end");
    let row = until(stage, &what, async |stage: &mut Stage| {
        let rows = runs(stage).await?.into_iter();
        Ok(rows.filter(|row| is_of(row, job, &wanted)).find(|row| row.outcome.is_some()))
    });
    row.await
}

fn is_of(row: &RunRow, job: &str, commit: &CommitId) -> bool {
    row.run.job.job.as_str() == job && row.commit.as_ref() == Some(commit)
}

async fn runs(stage: &Stage) -> Result<Vec<RunRow>, Failure> {
    let view: HistoryView = stage.client.get("/api/v1/history?pipeline=shop&n=100").await?;
    Ok(view.runs)
}

/// Tells how a run that must succeed went.
async fn succeeds(stage: &mut Stage, teller: &Teller, job: &str, commit: &CommitId) -> Result<(), Failure> {
    let row = ended(stage, job, commit).await?;
    let took = row.started_at.zip(row.finished_at).map(|(from, to)| between(from, to)).unwrap_or_default();
    if row.outcome != Some(Outcome::Succeeded) {
        let view: RunView = stage.client.get(&format!("/api/v1/runs/{}", row.run.id())).await?;
        let tail: String = view.tail.iter().map(|line| format!("\n    {}", safe(line))).collect();
        return Err(Failure::other(format!("{} {}: {}{tail}", row.run, row.state, safe(&row.reason))));
    }
    let view: RunView = stage.client.get(&format!("/api/v1/runs/{}", row.run.id())).await?;
    let steps: Vec<String> = view.steps.iter().map(|step| safe_line(&step.name)).collect();
    teller.happened(Tone::Good, &row.run.to_string(), &format!("ok: {}", steps.join(", ")), &took)
}

/// Whether what an environment serves is this commit's page.
fn serves(stage: &Stage, environment: &str, commit: &CommitId) -> Result<String, Failure> {
    let page = stage.served(environment);
    if page.contains(commit.as_str()) {
        return Ok(safe_line(page.lines().next().unwrap_or_default()));
    }
    Err(Failure::other(format!("{environment} does not serve {}, but:\n{}", commit.short(), safe(&page))))
}

async fn by_itself(stage: &mut Stage, teller: &Teller, good: &CommitId) -> Result<(), Failure> {
    succeeds(stage, teller, "test", good).await?;
    succeeds(stage, teller, "staging", good).await?;
    let page = serves(stage, "staging", good)?;
    teller.detail(&format!("staging/index.html: {page}"))
}

async fn with_a_yes(stage: &mut Stage, teller: &Teller, good: &CommitId, args: &DemoArgs) -> Result<(), Failure> {
    let letter = until(stage, "the approval mail", async |stage: &mut Stage| {
        let page = stage.page.clone();
        Ok(Letter::all(stage).into_iter().find(|letter| letter.link(&page).is_some()))
    });
    let letter = letter.await?;
    let row = runs(stage).await?.into_iter().find(|row| is_of(row, "production", good));
    let run = row.ok_or_else(|| Failure::other("a mail asks for approval, but no run waits for it"))?.run;
    teller.happened(Tone::Waits, &run.to_string(), &format!("waits; a mail asks {}", safe_line(&letter.to)), "")?;
    show(teller, &letter)?;
    let asked = Instant::now();
    if args.yes || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        answer::by_the_mail(stage, &letter, "production").await?;
    } else {
        choices(stage, teller, &run)?;
        answer::by_the_reader(stage, teller, &run).await?;
    }
    let how = decided(stage, &run).await?;
    teller.happened(Tone::Strong, "you", &how, &seconds(asked.elapsed()))?;
    succeeds(stage, teller, "production", good).await?;
    let page = serves(stage, "production", good)?;
    teller.detail(&format!("production/index.html: {page}"))
}

fn show(teller: &Teller, letter: &Letter) -> Result<(), Failure> {
    let mut text = format!("\n  | Subject: {}\n  |\n", safe_line(&letter.subject));
    for line in letter.text.trim_end().lines() {
        text.push_str(format!("  | {}", safe(line)).trim_end());
        text.push('\n');
    }
    teller.plain(&format!("{text}\n"))
}

fn choices(stage: &Stage, teller: &Teller, run: &RunRef) -> Result<(), Failure> {
    let binary = std::env::current_exe().map_or_else(|_| "shipbell".into(), |path| path.display().to_string());
    teller.plain(&format!(
        "Your turn, in one of three ways:\n  open the link in the mail above and type the word production\n  \
         in another terminal:  {binary} --root {} approve {run}\n  here: a and Enter (q and Enter leaves)\n\n",
        stage.root.display()
    ))
}

/// What became of the request, in words. Anything but a yes ends the story.
async fn decided(stage: &mut Stage, run: &RunRef) -> Result<String, Failure> {
    let row = answer::request(&stage.client, run).await?;
    let row = row.ok_or_else(|| Failure::other(format!("the request of {run} is gone")))?;
    let vote = row.votes.last();
    match (row.state.as_str(), vote) {
        ("approved" | "used", Some(vote)) if vote.via == "mail" => Ok("approved it, by the link in the mail".into()),
        ("approved" | "used", Some(_)) => Ok("approved it, over the control socket".into()),
        (state, _) => {
            stage.nothing_went_wrong();
            let why = safe_line(&row.reason);
            Err(Failure::other(format!("{run} was {state} ({why}); the story ends here")))
        }
    }
}

async fn stopped(stage: &mut Stage, teller: &Teller, good: &CommitId, broken: &CommitId) -> Result<(), Failure> {
    let row = ended(stage, "test", broken).await?;
    let took = row.started_at.zip(row.finished_at).map(|(from, to)| between(from, to)).unwrap_or_default();
    if row.outcome != Some(Outcome::Failed) {
        return Err(Failure::other(format!("{} should have failed, and it {}", row.run, row.state)));
    }
    teller.happened(Tone::Bad, &row.run.to_string(), &format!("FAILED: {}", safe_line(&row.reason)), &took)?;
    let view: RunView = stage.client.get(&format!("/api/v1/runs/{}", row.run.id())).await?;
    for line in &view.tail {
        teller.detail(&safe(line))?;
    }
    let letter = until(stage, "the mail about the failure", async |stage: &mut Stage| {
        Ok(Letter::all(stage).into_iter().find(|letter| letter.subject.contains("shop/test#2")))
    });
    let letter = letter.await?;
    let mailed = format!("to {}: {}", safe_line(&letter.to), safe_line(&letter.subject));
    teller.happened(Tone::Plain, "mail", &mailed, "")?;
    let went_on = |row: &&RunRow| row.commit.as_ref() == Some(broken) && row.run.job.job.as_str() != "test";
    if let Some(row) = runs(stage).await?.iter().find(went_on) {
        return Err(Failure::other(format!("{} was queued although the test failed", row.run)));
    }
    serves(stage, "staging", good)?;
    serves(stage, "production", good)?;
    let still = format!("staging and production still have {}", good.short());
    teller.happened(Tone::Good, "the gate", &still, "")
}

fn where_to_look(stage: &Stage, teller: &Teller, args: &DemoArgs) -> Result<(), Failure> {
    let layout = &stage.layout;
    let binary = std::env::current_exe().map_or_else(|_| "shipbell".into(), |path| path.display().to_string());
    let root = stage.root.display();
    let below = |path: &std::path::Path| path.strip_prefix(&stage.root).unwrap_or(path).display().to_string();
    let kept = if stage.is_kept(args.keep) { "" } else { " (with --keep)" };
    let mut text = format!("\nWHERE TO LOOK{kept}, below {root}\n");
    for (name, path) in [
        ("job file", below(&layout.config_dir.join("jobs.d/shop.toml"))),
        ("database", below(&layout.database())),
        ("runs, logs", below(&layout.runs_dir)),
        ("mail", below(&layout.mail_dir())),
        ("pages", format!("{}/", stage.page)),
    ] {
        text.push_str(&format!("  {name:<10}  {path}\n"));
    }
    if args.keep {
        text.push_str(&format!("  type        {binary} --root {root} status\n              (or history, show shop/test#2, logs shop/test#2)\n"));
    }
    teller.plain(&text)
}
