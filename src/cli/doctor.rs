//! `shipbell doctor`: which promises hold here, and what to do about those that do not. A daemon says it
//! of itself; without one it is what would hold if whoever asks started it.

use std::process::ExitCode;

use crate::config::layout::Layout;
use crate::config::{self, Trust};
use crate::http::doctor;
use crate::model::view::{DoctorView, Standing};
use crate::sys::host;

use super::Context;
use super::exit::{FAILED, Failure, UNAVAILABLE};
use super::paint::{Screen, Tone, WIDTH, safe_line, wrap};

/// 0: nothing is wrong; 1: something is (with `strict` also where a promise holds for less).
pub(super) async fn doctor(context: &Context, layout: &Layout, strict: bool) -> Result<ExitCode, Failure> {
    let view = match context.client.get::<DoctorView>("/api/v1/doctor").await {
        Ok(view) => view,
        Err(failure) if failure.code == UNAVAILABLE => alone(layout),
        Err(failure) => return Err(failure),
    };
    let text = if context.json {
        let json = serde_json::to_string_pretty(&view).map_err(|error| Failure::other(error.to_string()))?;
        format!("{json}\n")
    } else {
        render(&view, &context.screen)
    };
    context.screen.print(&text)?;
    let bad = |standing: Standing| standing == Standing::Wrong || (strict && standing == Standing::Weaker);
    let any = view.checks.iter().any(|check| bad(check.standing));
    Ok(if any { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn alone(layout: &Layout) -> DoctorView {
    let catalog = config::load(layout, &Trust::root_and_self(), &config::last_good::read(&layout.last_good())).catalog;
    // The directory may not be there yet; then what is above it will hold it.
    let disk = layout.state_dir.ancestors().find_map(|dir| host::free_bytes(dir).ok());
    let facts = doctor::gather(crate::daemon::uses_units(layout), disk, &catalog.settings);
    doctor::view(&facts, &catalog, host::hostname(), false, crate::clock::now())
}

pub(super) fn render(view: &DoctorView, screen: &Screen) -> String {
    let mut text = if view.daemon {
        format!("{}\n", safe_line(&view.host))
    } else {
        format!("{}: no daemon answers; this would hold if you started one\n", safe_line(&view.host))
    };
    let indent = " ".repeat(20);
    for check in &view.checks {
        let tone = match check.standing {
            Standing::Holds => Tone::Good,
            Standing::Weaker => Tone::Waits,
            Standing::Wrong => Tone::Bad,
        };
        let word = screen.paint(tone, &format!("{:<6}", check.standing));
        let mut head = format!("{word}  {:<10}  ", safe_line(&check.topic));
        let todo = check.todo.iter().map(|todo| format!("-> {todo}"));
        for part in std::iter::once(check.text.clone()).chain(todo) {
            for line in wrap(&safe_line(&part), WIDTH - indent.len()) {
                text.push_str(&format!("{head}{line}\n"));
                head = indent.clone();
            }
        }
    }
    text
}
