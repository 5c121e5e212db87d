//! `shipbell repos` and `shipbell repos test`: how each repository is asked, and what fails on the way to
//! one. The daemon asks; here its answer is printed.

use std::process::ExitCode;

use crate::model::view::{HookRow, RepoRow, RepoTestOrder, RepoTestView, ReposView, TrialState};

use super::Context;
use super::args::{ReposArgs, ReposCommand};
use super::exit::{FAILED, Failure};
use super::paint::{Cell, Screen, Table, Tone, WIDTH, count, cut, safe_line, wrap};
use super::when::Reader;

pub(super) async fn repos(context: &Context, asked: &ReposArgs) -> Result<ExitCode, Failure> {
    if let Some(ReposCommand::Test { url, credential, branch }) = &asked.command {
        let order = RepoTestOrder { url: url.clone(), credential: credential.clone(), branch: branch.clone() };
        return test(context, &order).await;
    }
    let text = context.client.get_text("/api/v1/repos").await?;
    let view: ReposView = super::client::read(&text)?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
    } else {
        context.screen.print(&render(&view, &context.screen))?;
    }
    let good = view.rows.iter().all(|row| row.error.is_none());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

pub(super) fn render(view: &ReposView, screen: &Screen) -> String {
    if view.rows.is_empty() {
        return "No job file has a [repo]: nothing is asked.\n".into();
    }
    let reader = screen.reader(view.now);
    let mut text: String = view.rows.iter().map(|row| block(row, &reader, screen)).collect();
    let failed = view.rows.iter().filter(|row| row.error.is_some()).count();
    let failed = if failed == 0 { String::new() } else { format!(", {failed} of them in vain") };
    text.push_str(&format!("{} asked{failed}\n", count(view.rows.len() as u64, "repository", "repositories")));
    text
}

/// An address has no length that fits a column: it stands alone, what is known of it below.
fn block(row: &RepoRow, reader: &Reader, screen: &Screen) -> String {
    let with = row.credential.as_ref().map_or_else(String::new, |name| format!(" (credential {name})"));
    let mut text = format!("{}\n", cut(&format!("{}{with}", safe_line(&row.url)), WIDTH));
    let head = match (&row.head, &row.commit) {
        (Some(head), Some(commit)) => format!("{} {}, ", cut(&safe_line(head), 40), commit.short()),
        _ => String::new(),
    };
    let asked = match (row.last, row.took_ms) {
        (Some(last), Some(took)) => format!("asked {} in {}", reader.exact(last), seconds(took)),
        _ => "not asked yet".into(),
    };
    let next = match row.next {
        _ if row.asking => ", being asked now".into(),
        Some(next) => format!(", next {}", reader.soon(next)),
        None => String::new(),
    };
    let names: Vec<String> = row.pipelines.iter().map(ToString::to_string).collect();
    for line in wrap(&format!("{head}{asked}{next}: {}", names.join(", ")), WIDTH - 2) {
        text.push_str(&format!("  {line}\n"));
    }
    for hook in &row.hooks {
        for line in wrap(&hooked(hook, reader), WIDTH - 2) {
            let tone = if hook.count.told().is_some() { Tone::Waits } else { Tone::Faint };
            text.push_str(&format!("  {}\n", screen.paint(tone, &line)));
        }
    }
    if let Some(error) = &row.error {
        let times = if row.failures > 1 { format!(" {} times", row.failures) } else { String::new() };
        for line in wrap(&format!("FAILED{times}: {}", safe_line(error)), WIDTH - 2) {
            text.push_str(&format!("  {}\n", screen.paint(Tone::Bad, &line)));
        }
        let with = row.credential.as_ref().map_or_else(String::new, |name| format!(" --credential {name}"));
        text.push_str(&format!("  shipbell repos test {}{with}\n", safe_line(&row.url)));
    }
    text
}

/// How pushes came to be known, over the last two weeks.
fn hooked(hook: &HookRow, reader: &Reader) -> String {
    let told = match (hook.count.told(), hook.count.pushes) {
        (Some(missed), _) => format!("{missed}, "),
        (None, 0) => String::new(),
        (None, 1) => "the one push was announced, ".into(),
        (None, all) => format!("all {all} pushes were announced, "),
    };
    let last = hook.count.last_delivery.map_or_else(String::new, |at| format!("last message {}", reader.when(at)));
    format!("web hook of {}: {told}{last}", hook.pipeline)
}

fn seconds(millis: u64) -> String {
    format!("{}.{:02} s", millis / 1000, millis % 1000 / 10)
}

async fn test(context: &Context, order: &RepoTestOrder) -> Result<ExitCode, Failure> {
    let view: RepoTestView = context.client.post("/api/v1/repos/test", order).await?;
    if context.json {
        let text = serde_json::to_string(&view).map_err(|error| Failure::other(error.to_string()))?;
        context.screen.print(&format!("{text}\n"))?;
    } else {
        context.screen.print(&render_test(&view, &context.screen))?;
    }
    Ok(if view.ok { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

pub(super) fn render_test(view: &RepoTestView, screen: &Screen) -> String {
    let mut table = Table::new(0);
    for step in &view.steps {
        let state = match step.state {
            TrialState::Ok => Cell::new(Tone::Good, "ok"),
            TrialState::Failed => Cell::new(Tone::Bad, "FAILED"),
            TrialState::NotReached => Cell::new(Tone::Faint, "-"),
        };
        table.row(vec![step.name.as_str().into(), state, safe_line(&step.text).into()]);
    }
    let took = seconds(view.took_ms);
    let end = if view.ok { format!("answered in {took}") } else { format!("no use of it ({took})") };
    format!("{}\n{}{end}\n", safe_line(&view.url), table.render(screen))
}
