//! The World from its rows. What is kept live is what `World::absorb` keeps: a simulation holds the
//! two against each other after every turn.

use rusqlite::Connection;

use crate::model::name::{JobKey, PipelineName};
use crate::pipeline::world::{Live, SIGHTINGS_MAX, World};
use crate::store::sql::{Count, rows};
use crate::store::{environments, letters, removals, requests, runs, schedules, sources};

/// All that is live, without the catalog.
pub fn world(db: &Connection, nonce: String) -> rusqlite::Result<World> {
    let mut world = World { nonce, ..World::default() };
    for row in sources::pipelines(db)? {
        let live = Live { seen: row.seen, problem: row.problem, ..Live::default() };
        world.live.insert(row.name, live);
    }
    counters(db, &mut world)?;
    pipelines(db, &mut world)?;
    let names: Vec<PipelineName> = world.live.keys().cloned().collect();
    for name in names {
        source(db, &name, world.live.entry(name.clone()).or_default())?;
    }
    world.letters = letters::waiting(db)?.into_iter().map(|letter| (letter.id, letter)).collect();
    world.ledger = schedules::newest(db)?.into_iter().map(|row| (row.job.clone(), row)).collect();
    world.cursors = schedules::cursors(db)?.into_iter().map(|cursor| (cursor.job.clone(), cursor)).collect();
    world.pulses = schedules::pulses(db)?.into_iter().map(|pulse| (pulse.job.clone(), pulse)).collect();
    world.pauses = schedules::pauses(db)?.into_iter().map(|pause| (pause.scope.clone(), pause)).collect();
    world.removals = removals::open(db)?.into_iter().map(|one| ((one.run.clone(), one.part), one)).collect();
    Ok(world)
}

fn counters(db: &Connection, world: &mut World) -> rusqlite::Result<()> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>("kind")?, row.get::<_, String>("name")?, row.get::<_, Count>("last")?.0))
    };
    for (kind, name, last) in rows(db, "SELECT * FROM counters", [], read)? {
        match kind.as_str() {
            "run" => {
                if let Ok(job) = name.parse::<JobKey>() {
                    world.numbers.insert(job, last);
                }
            }
            "sighting" => {
                if let Ok(pipeline) = PipelineName::new(&name) {
                    world.live.entry(pipeline).or_default().last_sighting = last;
                }
            }
            "request" => world.last_request = last,
            // The table's CHECK leaves only `letter`.
            _ => world.last_letter = last,
        }
    }
    Ok(())
}

/// What lies in tables that are read whole.
fn pipelines(db: &Connection, world: &mut World) -> rusqlite::Result<()> {
    for run in runs::live(db)? {
        let live = world.live.entry(run.run.job.pipeline.clone()).or_default();
        live.runs.insert(run.run.clone(), run);
    }
    for request in requests::live(db)? {
        let live = world.live.entry(request.run.job.pipeline.clone()).or_default();
        live.requests.insert(request.id, request);
    }
    for (pipeline, tuple) in requests::rejected(db)? {
        world.live.entry(pipeline).or_default().rejected.insert(tuple);
    }
    for environment in environments::all(db)? {
        let live = world.live.entry(environment.pipeline.clone()).or_default();
        live.environments.insert(environment.name.clone(), environment);
    }
    for last in sources::last_ran(db)? {
        let live = world.live.entry(last.pipeline.clone()).or_default();
        live.last_ran.insert((last.job.clone(), last.git_ref.clone()), last);
    }
    for pulled in sources::pulled(db)? {
        let live = world.live.entry(pulled.pipeline).or_default();
        live.pulled.insert((pulled.job, pulled.git_ref), pulled.sighting);
    }
    for failing in sources::failing(db)? {
        let live = world.live.entry(failing.job.pipeline.clone()).or_default();
        live.failing.insert((failing.job.job.clone(), failing.git_ref.clone()), failing);
    }
    Ok(())
}

/// Sightings of a pipeline, and how its jobs stand for the commits that are in view.
fn source(db: &Connection, name: &PipelineName, live: &mut Live) -> rusqlite::Result<()> {
    live.sightings = sources::sightings_there(db, name, SIGHTINGS_MAX)?;
    for standing in sources::standings(db, name, &live.commits_in_view())? {
        live.standings.insert((standing.job.job.clone(), standing.commit.clone()), standing);
    }
    Ok(())
}
