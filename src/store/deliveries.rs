//! Messages of web hooks, for as long as a host may send one again; and how many pushes they announced.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::model::forge::{Delivery, Forge, HookCount};
use crate::model::name::PipelineName;
use crate::model::time::{Seconds, Timestamp};
use crate::store::sql::{Count, Millis, Text, execute, first, rows, upsert};

/// Kept and counted over so long.
const KEPT: Seconds = Seconds(14 * 86_400);
/// A push seen more recently may still be announced.
const GRACE: Seconds = Seconds(60);

pub fn put(db: &Connection, delivery: &Delivery) -> rusqlite::Result<()> {
    execute(db, "DELETE FROM deliveries WHERE at < ?", [Millis(KEPT.before(delivery.at))])?;
    upsert(
        db,
        "deliveries",
        &[("pipeline", &delivery.pipeline.as_str()), ("forge", &delivery.forge.word()), ("id", &delivery.id)],
        &[
            ("event", &delivery.event),
            ("at", &Millis(delivery.at)),
            ("git_ref", &delivery.git_ref.as_ref().map(Text)),
            ("commit_id", &delivery.commit.as_ref().map(Text)),
        ],
    )
}

pub fn known(db: &Connection, pipeline: &PipelineName, forge: Forge, id: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM deliveries WHERE pipeline = ? AND forge = ? AND id = ?";
    Ok(first(db, sql, params![pipeline.as_str(), forge.word(), id], |_| Ok(()))?.is_some())
}

/// The same for every pipeline for which a hook spoke.
pub fn all_counted(db: &Connection, now: Timestamp) -> rusqlite::Result<BTreeMap<PipelineName, HookCount>> {
    let sql = "SELECT DISTINCT pipeline FROM deliveries WHERE at >= ?";
    let names = rows(db, sql, [Millis(KEPT.before(now))], |row| row.get::<_, Text<PipelineName>>(0))?;
    names.into_iter().map(|Text(name)| Ok((name.clone(), counted(db, &name, now)?))).collect()
}

/// Pushes since the hook first spoke, and those of which no message named the commit. Of several commits
/// of one ref that were seen together only the last was a head.
pub fn counted(db: &Connection, pipeline: &PipelineName, now: Timestamp) -> rusqlite::Result<HookCount> {
    let spoke = "SELECT min(at), max(at) FROM deliveries WHERE pipeline = ? AND at >= ?";
    let from = Millis(KEPT.before(now));
    let spoke = first(db, spoke, params![pipeline.as_str(), from], |row| {
        Ok((row.get::<_, Option<Millis>>(0)?, row.get::<_, Option<Millis>>(1)?))
    })?;
    let Some((Some(begun), last)) = spoke else { return Ok(HookCount::default()) };
    let sql = "SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM deliveries d \
                 WHERE d.pipeline = s.pipeline AND d.commit_id = s.commit_id)) \
               FROM sightings s WHERE s.pipeline = ?1 AND s.seen_at >= ?2 AND s.seen_at <= ?3 AND s.runs = 1 \
               AND NOT EXISTS (SELECT 1 FROM sightings t WHERE t.pipeline = s.pipeline AND t.git_ref = s.git_ref \
                 AND t.seen_at = s.seen_at AND t.number > s.number)";
    let counted = first(db, sql, params![pipeline.as_str(), begun, Millis(GRACE.before(now))], |row| {
        Ok((row.get::<_, Count>(0)?.0, row.get::<_, Count>(1)?.0))
    })?;
    let (pushes, only_by_polling) = counted.unwrap_or_default();
    Ok(HookCount { pushes, only_by_polling, last_delivery: last.map(|last| last.0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::commit::{CommitId, CommitInfo, RefName, Sighting};
    use crate::model::event::Change;
    use crate::store::Store;

    fn at(second: u64) -> Timestamp {
        Seconds(second).after(Timestamp::UNIX_EPOCH)
    }

    fn seen(number: u64, second: u64, runs: bool) -> Change {
        Change::SightingPut(Sighting {
            pipeline: "shop".parse().unwrap(),
            git_ref: RefName::branch("main").unwrap(),
            number,
            commit: CommitInfo {
                id: commit(number),
                subject: String::new(),
                author: String::new(),
                author_mail: String::new(),
                authored_at: at(0),
            },
            seen_at: at(second),
            runs,
            begun: false,
            passed_over: false,
            on_branch: true,
            refused: None,
        })
    }

    fn commit(number: u64) -> CommitId {
        CommitId::new(&format!("{number:040x}")).unwrap()
    }

    fn told(number: u64, second: u64) -> Change {
        let (pipeline, git_ref) = ("shop".parse().unwrap(), RefName::branch("main").ok());
        let (forge, id, event) = (Forge::Github, number.to_string(), "push".into());
        Change::DeliveryPut(Delivery {
            pipeline,
            forge,
            id,
            event,
            at: at(second),
            git_ref,
            commit: Some(commit(number)),
        })
    }

    #[test]
    fn pushes_that_no_hook_announced_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("shipbell.db")).unwrap();
        let reader = store.reader().unwrap();
        let shop: PipelineName = "shop".parse().unwrap();
        store.commit(&[seen(1, 100, false), seen(2, 200, true)]).unwrap();
        assert_eq!(reader.hook_count(&shop, at(1000)).unwrap(), HookCount::default(), "no hook ever spoke");
        // Announced before and after it was seen; not at all; two commits of one push; seen just now.
        store.commit(&[told(3, 299), seen(3, 300, true), seen(4, 400, true), told(4, 401)]).unwrap();
        store.commit(&[seen(5, 500, true), seen(6, 600, true), seen(7, 600, true), told(7, 600)]).unwrap();
        store.commit(&[seen(8, 990, true)]).unwrap();
        let count = reader.hook_count(&shop, at(1000)).unwrap();
        assert_eq!((count.pushes, count.only_by_polling, count.last_delivery), (4, 1, Some(at(600))));
        assert_eq!(count.told().as_deref(), Some("1 of 4 pushes came only by polling"));
        assert_eq!(reader.hook_counts(at(1000)).unwrap(), BTreeMap::from([(shop.clone(), count)]));
        assert!(reader.delivery_known(&shop, Forge::Github, "3").unwrap());
        assert!(!reader.delivery_known(&shop, Forge::Gitlab, "3").unwrap());
        // Two weeks later the old messages are gone, with the next one that comes.
        let later = 15 * 86_400;
        store.commit(&[told(9, later)]).unwrap();
        assert!(!reader.delivery_known(&shop, Forge::Github, "3").unwrap());
        assert_eq!(reader.hook_count(&shop, at(later)).unwrap().pushes, 0);
    }
}
