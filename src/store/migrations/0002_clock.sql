-- The clock: pauses, how jobs have been going, and what a due time's run stands for.

-- The newest due time of which the schedule made a run; and the boot for which @reboot has been decided.
ALTER TABLE cursors ADD COLUMN ran INTEGER;
ALTER TABLE cursors ADD COLUMN boot TEXT;

-- schedule, backfill: the due time before it.
ALTER TABLE runs ADD COLUMN cause_previous INTEGER;
CREATE INDEX runs_by_due ON runs (pipeline, job, cause_due) WHERE cause_due IS NOT NULL;

-- Letters about a job's clock: kind says whether it is bad news (failure) or good (recovery), topic
-- what it is about, job of which job.
ALTER TABLE letters ADD COLUMN topic TEXT CHECK (topic IN ('stale', 'fresh', 'long'));
ALTER TABLE letters ADD COLUMN job TEXT;

-- What is paused now: scope is *, PIPELINE or PIPELINE/JOB. The journal knows of those that are over.
CREATE TABLE pauses (
    scope   TEXT    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    until   INTEGER,                    -- NULL: until somebody resumes
    note    TEXT    NOT NULL,
    by_whom TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- How each job has been going: its last success, what its successes took, what was told of it.
CREATE TABLE pulses (
    pipeline     TEXT    NOT NULL,
    job          TEXT    NOT NULL,
    since        INTEGER NOT NULL,
    last_success INTEGER,
    stale_told   INTEGER,
    long_told    TEXT,                  -- the run of which it was told that it takes too long
    took         TEXT    NOT NULL,      -- JSON: seconds, oldest first
    PRIMARY KEY (pipeline, job)
) STRICT, WITHOUT ROWID;
