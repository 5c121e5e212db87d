//! `shipbell backfill`: a run for each due time of a past stretch, because a person asks for it.

use std::process::ExitCode;

use crate::clock;
use crate::model::moment::{Toward, stretch};
use crate::model::time::Timestamp;
use crate::model::view::{BackfillOrder, BackfillView};

use super::Context;
use super::args::BackfillArgs;
use super::exit::Failure;
use super::paint::{Screen, Table, count};

/// Due times that are printed one by one.
const SHOWN: usize = 40;

pub(super) async fn backfill(context: &Context, asked: &BackfillArgs) -> Result<ExitCode, Failure> {
    let (from, _) = read(context, &asked.from)?;
    // A day or minute named as the end belongs to the stretch.
    let (_, end) = read(context, &asked.to)?;
    let to = end.checked_sub(jiff::Span::new().milliseconds(1)).unwrap_or(end).min(clock::now());
    if to < from {
        return Err(Failure::usage("--to is before --from, or --from lies ahead"));
    }
    let only = asked.only.map(|only| only.to_string());
    let order = BackfillOrder { job: asked.job.0.clone(), from, to, only, dry_run: asked.dry_run };
    let view: BackfillView = context.client.post("/api/v1/backfill", &order).await?;
    if context.json {
        let text = serde_json::to_string(&view).map_err(|error| Failure::other(error.to_string()))?;
        context.screen.print(&format!("{text}\n"))?;
    } else {
        context.screen.print(&render(&view, &context.screen))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(context: &Context, text: &str) -> Result<(Timestamp, Timestamp), Failure> {
    stretch(text, clock::now(), &context.screen.zone, Toward::Past).map_err(|error| Failure::usage(error.to_string()))
}

pub(super) fn render(view: &BackfillView, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    let mut table = Table::new(0);
    table.head(&["DUE", "RUN"]);
    for (due, run) in view.rows.iter().take(SHOWN) {
        let elsewhere = view.zone.as_ref().and_then(|zone| reader.dated_elsewhere(*due, zone));
        let there = elsewhere.map(|there| format!(" = {there}")).unwrap_or_default();
        let run = run.as_ref().map_or_else(|| "would be queued".into(), ToString::to_string);
        table.row(vec![format!("{}{there}", reader.dated(*due)).into(), run.into()]);
    }
    let mut text = if view.rows.is_empty() { String::new() } else { table.render(screen) };
    if view.rows.len() > SHOWN {
        text.push_str(&format!("... and {} more\n", view.rows.len() - SHOWN));
    }
    let n = count(view.rows.len() as u64, "due time", "due times");
    let left_out = match view.left_out {
        0 => String::new(),
        left => format!(", {left} left out"),
    };
    let what = if view.dry_run { "would be queued; nothing was" } else { "queued" };
    text.push_str(&format!("{n} {what}{left_out}\n"));
    if !view.dry_run && !view.rows.is_empty() {
        text.push_str(&format!("  shipbell history {}\n", view.job));
    }
    text
}
