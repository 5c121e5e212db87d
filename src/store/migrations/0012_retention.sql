-- What [retention] takes away of runs: written down before anything is removed, and kept.
CREATE TABLE removals (
    pipeline   TEXT    NOT NULL,
    job        TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    part       TEXT    NOT NULL CHECK (part IN ('artifacts', 'log', 'run')),
    decided_at INTEGER NOT NULL,
    done_at    INTEGER,                 -- NULL: it is about to go
    bytes      INTEGER,                 -- what the disk got back
    PRIMARY KEY (pipeline, job, number, part),
    CHECK ((done_at IS NULL) = (bytes IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX removals_open ON removals (decided_at) WHERE done_at IS NULL;
CREATE INDEX removals_done ON removals (done_at) WHERE done_at IS NOT NULL;
CREATE TRIGGER removals_stay BEFORE DELETE ON removals BEGIN
    SELECT RAISE(ABORT, 'what was removed stays written down');
END;
CREATE TRIGGER removals_are_done_once BEFORE UPDATE ON removals
WHEN OLD.done_at IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'what was removed is not removed again');
END;

-- The row of a run goes only when that was written down, and never of one that says who let what go.
CREATE TRIGGER runs_go_when_written_down BEFORE DELETE ON runs
WHEN OLD.state <> 'finished' OR OLD.environment IS NOT NULL
  OR EXISTS (SELECT 1 FROM requests r
             WHERE r.pipeline = OLD.pipeline AND r.job = OLD.job AND r.number = OLD.number)
  OR NOT EXISTS (SELECT 1 FROM removals r
                 WHERE r.pipeline = OLD.pipeline AND r.job = OLD.job AND r.number = OLD.number AND r.part = 'run')
BEGIN
    SELECT RAISE(ABORT, 'this run stays in the history');
END;

CREATE INDEX runs_finished ON runs (finished_at) WHERE state = 'finished';
CREATE INDEX runs_deployed ON runs (seq) WHERE environment IS NOT NULL AND outcome = 'succeeded';
