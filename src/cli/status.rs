//! `shipbell status`: what needs a person first (and as the exit status), one row a pipeline, one
//! column a job in order of needs.

use std::process::ExitCode;

use crate::model::time::{Seconds, seconds_between};
use crate::model::view::{
    AttentionKind, AttentionView, CellState, CellView, CommitRow, FileState, PipelineView, RunRow, StatusView,
};
use crate::report::used::bytes;

use super::Context;
use super::exit::{FAILED, Failure};
use super::paint::{Cell, Screen, Table, Tone, WIDTH, count, cut, safe, safe_line, wrap};
use super::when::{Reader, rough};

pub(super) async fn status(context: &Context) -> Result<ExitCode, Failure> {
    let text = context.client.get_text("/api/v1/status").await?;
    let view: StatusView = super::client::read(&text)?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
    } else {
        context.screen.print(&render(&view, &context.screen))?;
    }
    Ok(if view.attention.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The whole page.
pub(super) fn render(view: &StatusView, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    let mut parts = vec![headline(view, screen)];
    parts.extend(attention(view, &reader, screen));
    parts.extend(paused(view, &reader));
    parts.extend(pipelines(view, &reader, screen));
    parts.extend(running(view, screen));
    parts.extend(waiting(view, screen));
    parts.extend(next(view, &reader, screen));
    if view.pipelines.is_empty() {
        parts.push("No pipeline yet: put a file into jobs.d, then: shipbell check && shipbell reload\n".into());
    }
    parts.join("\n")
}

fn headline(view: &StatusView, screen: &Screen) -> String {
    let site = &view.site;
    let up = rough(seconds_between(site.started_at, view.now));
    let broken = match view.files_broken {
        0 => String::new(),
        n => format!(", {}", screen.paint(Tone::Bad, &format!("{n} broken"))),
    };
    let mail = match view.undelivered {
        0 => "mail ok".to_owned(),
        n => screen.paint(Tone::Bad, &format!("{} undelivered", count(n as u64, "mail", "mails"))),
    };
    let free = view.disk_free.map(|free| format!(" - {} free", bytes(free))).unwrap_or_default();
    let mut text = format!(
        "{}, shipbell {}, up {up} - files {} ok{broken} - {mail}{free}\n",
        site.host, site.version, view.files_ok
    );
    for (file, why) in &view.skipped {
        for line in wrap(&format!("{}: skipped, {}", safe_line(file), safe_line(why)), WIDTH) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

fn attention(view: &StatusView, reader: &Reader, screen: &Screen) -> Option<String> {
    let first = view.attention.iter().map(|item| item.subject.len()).max()?;
    let mut text = format!("{}\n", screen.paint(Tone::Strong, "NEEDS A PERSON"));
    for item in &view.attention {
        let subject = format!("  {:<first$}  ", safe_line(&item.subject));
        let room = WIDTH.saturating_sub(first + 4).max(24);
        let indent = " ".repeat(first + 4);
        let tone = match item.kind {
            AttentionKind::Request | AttentionKind::Held | AttentionKind::Paused => Tone::Waits,
            _ => Tone::Bad,
        };
        let lines = matter(item, reader, room);
        for (number, line) in lines.iter().enumerate() {
            let before = if number == 0 { subject.as_str() } else { indent.as_str() };
            text.push_str(&format!("{before}{}\n", screen.paint(tone, line)));
        }
        for more in &item.more {
            for line in wrap(&safe(more), room) {
                text.push_str(&format!("{indent}{line}\n"));
            }
        }
        if let Some(command) = &item.command {
            text.push_str(&format!("{indent}{}\n", screen.paint(Tone::Faint, command)));
        }
    }
    Some(text)
}

/// Pauses that end by themselves; the others need a person.
fn paused(view: &StatusView, reader: &Reader) -> Option<String> {
    let mut lines = Vec::new();
    for pause in &view.paused {
        let Some(until) = pause.until else { continue };
        let scope = if pause.scope == "*" { "everything" } else { pause.scope.as_str() };
        let note = if pause.note.is_empty() { String::new() } else { format!(": {}", safe_line(&pause.note)) };
        let text = format!("PAUSED  {scope} until {} by {}{note}", reader.when(until), safe_line(&pause.by));
        lines.push(format!("{}\n", wrap(&text, WIDTH - 8).join("\n        ")));
    }
    (!lines.is_empty()).then(|| lines.concat())
}

/// What is the matter, since or until when.
fn matter(item: &AttentionView, reader: &Reader, room: usize) -> Vec<String> {
    let time = match (item.until, item.since) {
        (Some(until), _) => format!("until {}", reader.when(until)),
        (None, Some(since)) => format!("since {}", reader.when(since)),
        (None, None) => String::new(),
    };
    // A problem of a job file has several lines; here its first says enough.
    let text = safe(&item.text);
    let text = text.lines().next().unwrap_or_default();
    wrap(format!("{text}   {time}").trim_end(), room)
}

/// Pipelines with the same columns share a table.
fn pipelines(view: &StatusView, reader: &Reader, screen: &Screen) -> Vec<String> {
    let mut groups: Vec<(Vec<String>, Vec<&PipelineView>)> = Vec::new();
    for pipeline in view.pipelines.iter().filter(|pipeline| !pipeline.jobs.is_empty()) {
        let jobs: Vec<String> = pipeline.jobs.iter().map(ToString::to_string).collect();
        let fits = |columns: &Vec<String>| subsequence(&jobs, columns) || subsequence(columns, &jobs);
        match groups.iter_mut().find(|(columns, _)| fits(columns)) {
            Some((columns, members)) => {
                if jobs.len() > columns.len() {
                    *columns = jobs;
                }
                members.push(pipeline);
            }
            None => groups.push((jobs, vec![pipeline])),
        }
    }
    groups.iter().map(|(columns, members)| group(columns, members, reader, screen)).collect()
}

/// Whether `few` stand in `many` in that order.
fn subsequence(few: &[String], many: &[String]) -> bool {
    let mut many = many.iter();
    few.iter().all(|name| many.any(|other| other == name))
}

fn group(columns: &[String], members: &[&PipelineView], reader: &Reader, screen: &Screen) -> String {
    let commits = members.iter().any(|pipeline| pipeline.repo.is_some());
    let mut table = Table::new(0);
    let mut head = vec!["PIPELINE".to_owned()];
    if commits {
        head.extend(["COMMIT".into(), "SEEN".into()]);
    }
    head.extend(columns.iter().map(|name| name.to_uppercase()));
    table.head(&head.iter().map(String::as_str).collect::<Vec<_>>());
    for pipeline in members {
        for (number, row) in rows_of(pipeline).iter().enumerate() {
            let mut cells = vec![name_cell(pipeline, row, number)];
            if commits {
                cells.extend(commit_cells(row, reader));
            }
            for column in columns {
                let place = pipeline.jobs.iter().position(|job| job.as_str() == column);
                let cell = place.and_then(|place| row.cells.get(place));
                cells.push(cell.map_or_else(|| Cell::new(Tone::Faint, "-"), |cell| job_cell(cell, reader)));
            }
            table.row(cells);
        }
    }
    if table.natural_width() <= WIDTH {
        return table.render(screen);
    }
    members.iter().map(|pipeline| upright(pipeline, reader, screen)).collect()
}

/// A pipeline whose repository was not seen yet still has its line.
fn rows_of(pipeline: &PipelineView) -> Vec<CommitRow> {
    if pipeline.rows.is_empty() {
        return vec![CommitRow { commit: None, branch: None, seen_at: None, was: false, cells: Vec::new() }];
    }
    pipeline.rows.clone()
}

fn name_cell(pipeline: &PipelineView, row: &CommitRow, number: usize) -> Cell {
    let off = pipeline.state == FileState::Off;
    match number {
        0 if off => Cell::new(Tone::Bad, format!("{} OFF", pipeline.name)),
        0 => Cell::new(Tone::Strong, pipeline.name.as_str()),
        _ if row.was => Cell::new(Tone::Faint, "  was"),
        _ => Cell::new(Tone::Faint, format!("  {}", cut(&safe_line(row.branch.as_deref().unwrap_or_default()), 20))),
    }
}

fn commit_cells(row: &CommitRow, reader: &Reader) -> [Cell; 2] {
    let commit = row.commit.as_ref().map_or("-", |commit| commit.id.short());
    [commit.into(), row.seen_at.map_or_else(|| "-".into(), |at| reader.when(at).into())]
}

fn job_cell(cell: &CellView, reader: &Reader) -> Cell {
    let at = cell.at.map(|at| reader.when(at));
    let took = cell.took.map(rough);
    let deploys = cell.environment.is_some();
    let word = cell.state.word();
    // A deployment is told by when, a test by how long.
    let detail = if deploys { at.clone().or(took) } else { took.or(at.clone()) }.unwrap_or_default();
    let (tone, text) = match cell.state {
        CellState::Ok => (Tone::Good, format!("{word} {detail}")),
        CellState::Failed => (Tone::Bad, word.to_owned()),
        CellState::Unknown => (Tone::Bad, word.to_owned()),
        CellState::Live => (Tone::Good, format!("{word} since {}", at.unwrap_or_default())),
        CellState::Running => (Tone::Plain, format!("{word} {}", safe_line(&cell.text))),
        CellState::Waits => {
            let reason = safe_line(&cell.text);
            let reason = reason.split(',').next().unwrap_or_default();
            (Tone::Waits, format!("{word} ({})", cut(reason, 24)))
        }
        CellState::Ended => (Tone::Faint, cut(&safe_line(&cell.text), 20)),
        CellState::Blocked | CellState::Never => (Tone::Faint, word.to_owned()),
    };
    Cell::new(tone, text.trim_end())
}

/// Too many jobs for a row: one line a job.
fn upright(pipeline: &PipelineView, reader: &Reader, screen: &Screen) -> String {
    let mut text = String::new();
    for (number, row) in rows_of(pipeline).iter().enumerate() {
        let [commit, seen] = commit_cells(row, reader);
        let name = name_cell(pipeline, row, number);
        let commit = if pipeline.repo.is_some() { format!("  {}  {}", commit.text, seen.text) } else { String::new() };
        text.push_str(&format!("{}{commit}\n", screen.paint(name.tone, &name.text)));
        let mut table = Table::new(2);
        for (job, cell) in pipeline.jobs.iter().zip(&row.cells) {
            table.row(vec![job.as_str().into(), job_cell(cell, reader)]);
        }
        text.push_str(&table.render(screen));
    }
    text
}

fn running(view: &StatusView, screen: &Screen) -> Option<String> {
    let mut table = Table::new(0);
    for row in &view.running {
        if table.is_empty() {
            table.head(&["RUNNING", "STEP", "FOR", "USUALLY"]);
        }
        let usual = row.usual.map_or_else(|| "-".into(), rough);
        let ending = if row.reason.is_empty() { usual } else { safe_line(&row.reason) };
        table.row(vec![
            row.run.to_string().into(),
            step(row).into(),
            row.took.unwrap_or(Seconds(0)).to_string().into(),
            ending.into(),
        ]);
    }
    (!table.is_empty()).then(|| table.render(screen))
}

/// `1/3 unit`; `0/3 init`.
fn step(row: &RunRow) -> String {
    match &row.step {
        Some((index, name)) if row.steps > 0 => format!("{index}/{} {}", row.steps, cut(&safe_line(name), 24)),
        Some((_, name)) => cut(&safe_line(name), 24),
        None => "begins".into(),
    }
}

fn waiting(view: &StatusView, screen: &Screen) -> Option<String> {
    let mut table = Table::new(0);
    let told = |row: &&RunRow| !view.attention.iter().any(|item| item.run.as_ref() == Some(&row.run));
    for row in view.waiting.iter().filter(told) {
        if table.is_empty() {
            table.head(&["WAITING", "FOR"]);
        }
        let reason = row.waits.as_deref().unwrap_or("its turn");
        table.row(vec![row.run.to_string().into(), Cell::new(Tone::Waits, safe_line(reason))]);
    }
    (!table.is_empty()).then(|| table.render(screen))
}

fn next(view: &StatusView, reader: &Reader, screen: &Screen) -> Option<String> {
    let name = |row: &crate::model::view::NextRow| {
        let name = row.run.as_ref().map_or_else(|| row.job.to_string(), ToString::to_string);
        format!("{name} {}", reader.soon(row.at))
    };
    let all: Vec<String> = view.next.iter().map(name).collect();
    if all.is_empty() {
        return None;
    }
    let lines = wrap(&all.join(", "), WIDTH - 6);
    Some(format!("{}  {}\n", screen.paint(Tone::Faint, "NEXT"), lines.join("\n      ")))
}
