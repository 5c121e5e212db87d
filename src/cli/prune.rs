//! `shipbell prune`: takes away what has outlived its time, or shows what would go and why the rest stays.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use crate::model::retention::Tally;
use crate::model::view::{PruneOrder, PruneView};
use crate::report::used::bytes;

use super::Context;
use super::exit::{FAILED, Failure};
use super::paint::{Screen, Table, WIDTH, count, cut, safe_line, wrap};
use super::when::Reader;

/// A pass over an old history is awaited so long; it goes on without us.
const PATIENCE: Duration = Duration::from_secs(3600);
/// What would go is shown one by one up to here.
const SHOWN: usize = 40;
/// Runs that stay for one reason are shown one by one up to here.
const ALIKE: usize = 5;

pub(super) async fn prune(context: &Context, dry_run: bool) -> Result<ExitCode, Failure> {
    let view: PruneView = context.client.post_patiently("/api/v1/prune", &PruneOrder { dry_run }, PATIENCE).await?;
    if context.json {
        let text = serde_json::to_string(&view).map_err(|error| Failure::other(error.to_string()))?;
        context.screen.print(&format!("{text}\n"))?;
    } else {
        context.screen.print(&render(&view, &context.screen))?;
    }
    Ok(if view.tally.failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

pub(super) fn render(view: &PruneView, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    if !view.dry_run {
        return format!("{}\n", done(&view.tally));
    }
    let mut text = goes(view, &reader, screen);
    text.push_str(&format!("{}\n", would(&view.tally)));
    text.push_str(&stays(view, &reader, screen));
    text.push_str(&mirrors(view, &reader));
    text
}

fn what(tally: &Tally) -> String {
    let parts = [
        (tally.runs, "run", "runs"),
        (tally.logs, "log", "logs"),
        (tally.artifacts, "set of artifacts", "sets of artifacts"),
        (tally.mirrors, "mirror", "mirrors"),
    ];
    let said: Vec<String> =
        parts.iter().filter(|(n, _, _)| *n > 0).map(|(n, one, many)| count(*n, one, many)).collect();
    if said.is_empty() { "nothing".into() } else { said.join(", ") }
}

fn done(tally: &Tally) -> String {
    let failed = match tally.failed {
        0 => String::new(),
        n => format!("\n{} could not be removed: journalctl -u shipbell", count(n, "thing", "things")),
    };
    format!("{} removed, {} freed{failed}", what(tally), bytes(tally.bytes))
}

fn would(tally: &Tally) -> String {
    format!("{} would go, {}; nothing was removed", what(tally), bytes(tally.bytes))
}

fn goes(view: &PruneView, reader: &Reader, screen: &Screen) -> String {
    if view.goes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(0);
    table.head(&["RUN", "ENDED", "GOES", "FREES"]);
    for row in view.goes.iter().take(SHOWN) {
        table.row(vec![
            row.run.to_string().into(),
            reader.dated(row.at).into(),
            row.part.word().into(),
            row.bytes.map_or_else(|| "?".into(), bytes).into(),
        ]);
    }
    let all = view.tally.runs + view.tally.logs + view.tally.artifacts;
    let more = all.saturating_sub(view.goes.len().min(SHOWN) as u64);
    let more = if more == 0 { String::new() } else { format!("... and {more} more\n") };
    format!("{}{more}", table.render(screen))
}

/// By reason: where many stay for one, they are counted.
fn stays(view: &PruneView, reader: &Reader, screen: &Screen) -> String {
    if view.stays.is_empty() {
        return String::new();
    }
    let mut by_reason: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, row) in view.stays.iter().enumerate() {
        by_reason.entry(row.why.as_str()).or_default().push(place);
    }
    let mut table = Table::new(2);
    let mut many = Vec::new();
    for (why, places) in &by_reason {
        if places.len() > ALIKE {
            many.push(format!("each {why}: {}", count(places.len() as u64, "run", "runs")));
            continue;
        }
        for row in places.iter().filter_map(|place| view.stays.get(*place)) {
            let why = cut(&safe_line(why), WIDTH / 2);
            table.row(vec![row.run.to_string().into(), reader.dated(row.at).into(), why.into()]);
        }
    }
    let mut text = format!("\nSTAYS, although its time is over\n{}", table.render(screen));
    for line in many.iter().flat_map(|line| wrap(&safe_line(line), WIDTH - 2)) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

fn mirrors(view: &PruneView, reader: &Reader) -> String {
    if view.mirrors.is_empty() {
        return String::new();
    }
    let mut text = "\nMIRRORS of repositories that no job file names\n".to_owned();
    for row in &view.mirrors {
        let since =
            row.since.map_or_else(|| "seen so for the first time".into(), |at| format!("since {}", reader.dated(at)));
        let fate = match (row.goes, row.borrowed) {
            (true, _) => "would go",
            (false, true) => "stays: a run borrows its objects",
            (false, false) => "stays until its time is over",
        };
        text.push_str(&format!("  {}  {since}; {fate}\n", safe_line(&row.name)));
    }
    text
}
