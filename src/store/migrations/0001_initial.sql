-- The first schema. Append-only: a later change is a new file beside this one.
-- Times are milliseconds since 1970 in UTC: SELECT datetime(queued_at / 1000, 'unixepoch') FROM runs;
-- Booleans are 0 and 1. A run is named PIPELINE/JOB#NUMBER, as everywhere in Shipbell.

-- "Bell": the mark by which the file is known as Shipbell's.
PRAGMA application_id = 0x42656c6c;

-- Facts about this installation; `nonce` is random text made with the database.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The last number given: kind 'run' per PIPELINE/JOB, 'sighting' per pipeline, 'request' and 'letter'
-- (name ''). Kept when rows are pruned, so that no number ever names a second thing.
CREATE TABLE counters (
    kind TEXT    NOT NULL CHECK (kind IN ('run', 'sighting', 'request', 'letter')),
    name TEXT    NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Every pipeline that ever left a trace; what its repository was when it was last seen, and what is wrong with it.
CREATE TABLE pipelines (
    name       TEXT NOT NULL PRIMARY KEY,
    url        TEXT,
    head       TEXT,
    seen_at    INTEGER,
    problem    TEXT,
    problem_at INTEGER,
    CHECK ((url IS NULL) = (seen_at IS NULL)),
    CHECK ((problem IS NULL) = (problem_at IS NULL))
) STRICT, WITHOUT ROWID;

-- Every move of a branch or tag. `gone`: the ref was deleted since.
CREATE TABLE sightings (
    pipeline    TEXT    NOT NULL,
    git_ref     TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    commit_id   TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    author      TEXT    NOT NULL,
    author_mail TEXT    NOT NULL,
    authored_at INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    runs        INTEGER NOT NULL,
    begun       INTEGER NOT NULL,
    passed_over INTEGER NOT NULL,
    on_branch   INTEGER NOT NULL,
    gone        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (pipeline, git_ref, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX sightings_by_commit ON sightings (pipeline, commit_id);
CREATE INDEX sightings_by_number ON sightings (pipeline, number);
CREATE INDEX sightings_there ON sightings (pipeline, git_ref) WHERE gone = 0;

-- How a job stands for a commit: was it triggered, and how did its latest run for it end.
CREATE TABLE standings (
    pipeline        TEXT    NOT NULL,
    commit_id       TEXT    NOT NULL,
    job             TEXT    NOT NULL,
    fired           INTEGER NOT NULL,
    carries         TEXT,               -- the run whose outcome is carried over
    latest_outcome  TEXT,
    latest_at       INTEGER,
    latest_tries    INTEGER,
    latest_run      TEXT,               -- JSON: job, run, definition, outputs, artifacts
    PRIMARY KEY (pipeline, commit_id, job)
) STRICT, WITHOUT ROWID;

-- For which commit a job last ran on a branch or tag.
CREATE TABLE last_ran (
    pipeline  TEXT NOT NULL,
    job       TEXT NOT NULL,
    git_ref   TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    run       TEXT NOT NULL,
    PRIMARY KEY (pipeline, job, git_ref)
) STRICT, WITHOUT ROWID;

-- Jobs that fail now, per branch ('' = none); a job that recovered has count 0.
CREATE TABLE failing (
    pipeline TEXT    NOT NULL,
    job      TEXT    NOT NULL,
    git_ref  TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    run      TEXT    NOT NULL,
    PRIMARY KEY (pipeline, job, git_ref)
) STRICT, WITHOUT ROWID;

-- Runs, live and finished. `seq` is the order in which they were recorded.
CREATE TABLE runs (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline     TEXT    NOT NULL,
    job          TEXT    NOT NULL,
    number       INTEGER NOT NULL CHECK (number > 0),
    commit_id    TEXT,
    git_ref      TEXT,
    sighting     INTEGER NOT NULL,
    cause        TEXT    NOT NULL CHECK (cause IN
        ('schedule', 'commit', 'needs', 'manual', 'retry', 'rollback', 'backfill')),
    cause_due    INTEGER,               -- schedule, backfill
    cause_number INTEGER,               -- commit: the sighting
    cause_run    TEXT,                  -- needs, retry, rollback
    cause_by     TEXT,                  -- who started it
    definition   TEXT    NOT NULL,
    params       TEXT    NOT NULL,      -- JSON: name -> value
    upstream     TEXT    NOT NULL,      -- JSON: job, run, definition, outputs, artifacts
    queued_at    INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    tries        INTEGER NOT NULL,
    environment  TEXT,                  -- the one that it changes, as it was last started
    pools        TEXT    NOT NULL,      -- JSON: the places that it takes, as it was last started
    state        TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'finished')),
    not_before   INTEGER,               -- queued
    confirmed_by TEXT,                  -- queued
    launched_at  INTEGER,               -- running
    started_at   INTEGER,               -- running, finished
    step_index   INTEGER,               -- running, finished
    step_name    TEXT,
    touched      INTEGER,               -- running: a step after init has begun
    stopping     TEXT,                  -- running
    outcome      TEXT CHECK (outcome IN
        ('succeeded', 'failed', 'timed-out', 'cancelled', 'interrupted', 'skipped', 'unknown')),
    reason       TEXT,                  -- finished
    finished_at  INTEGER,
    outputs      TEXT    NOT NULL,      -- JSON: name -> value
    artifacts    TEXT    NOT NULL,      -- JSON: path, sha256, size
    UNIQUE (pipeline, job, number),
    CHECK ((state = 'finished') = (outcome IS NOT NULL AND finished_at IS NOT NULL)),
    CHECK ((state = 'running') = (launched_at IS NOT NULL))
) STRICT;
-- A due time starts at most one run.
CREATE UNIQUE INDEX runs_one_per_due ON runs (pipeline, job, cause_due) WHERE cause = 'schedule';
-- An environment runs one deployment at a time.
CREATE UNIQUE INDEX runs_one_per_environment ON runs (pipeline, environment) WHERE state = 'running';
CREATE INDEX runs_live ON runs (pipeline) WHERE state <> 'finished';
CREATE INDEX runs_by_commit ON runs (pipeline, commit_id);
CREATE INDEX runs_by_job ON runs (pipeline, job, seq);
CREATE INDEX runs_failed ON runs (seq) WHERE outcome NOT IN ('succeeded', 'skipped');

CREATE TRIGGER runs_count AFTER INSERT ON runs BEGIN
    INSERT INTO counters (kind, name, last) VALUES ('run', NEW.pipeline || '/' || NEW.job, NEW.number)
    ON CONFLICT (kind, name) DO UPDATE SET last = excluded.last;
END;
CREATE TRIGGER runs_numbers_are_never_reused BEFORE INSERT ON runs
WHEN NEW.number <= (SELECT last FROM counters WHERE kind = 'run' AND name = NEW.pipeline || '/' || NEW.job)
 AND NOT EXISTS (SELECT 1 FROM runs WHERE pipeline = NEW.pipeline AND job = NEW.job AND number = NEW.number)
BEGIN
    SELECT RAISE(ABORT, 'the number of a run is never used again');
END;
CREATE TRIGGER runs_finished_is_final BEFORE UPDATE ON runs
WHEN OLD.state = 'finished'
 AND (NEW.state IS NOT OLD.state OR NEW.outcome IS NOT OLD.outcome OR NEW.finished_at IS NOT OLD.finished_at
      OR NEW.reason IS NOT OLD.reason OR NEW.attempt IS NOT OLD.attempt)
BEGIN
    SELECT RAISE(ABORT, 'a finished run is final');
END;
CREATE TRIGGER runs_are_what_they_were_queued_as BEFORE UPDATE ON runs
WHEN NEW.commit_id IS NOT OLD.commit_id OR NEW.cause IS NOT OLD.cause OR NEW.cause_due IS NOT OLD.cause_due
  OR NEW.cause_run IS NOT OLD.cause_run OR NEW.attempt < OLD.attempt
BEGIN
    SELECT RAISE(ABORT, 'a run keeps its commit and cause, and its attempts count up');
END;

-- Every attempt of a run.
CREATE TABLE attempts (
    pipeline    TEXT    NOT NULL,
    job         TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    launched_at INTEGER NOT NULL,
    started_at  INTEGER,
    finished_at INTEGER,
    outcome     TEXT,
    reason      TEXT    NOT NULL,
    cpu_ms      INTEGER,
    memory_peak INTEGER,                -- bytes
    log_bytes   INTEGER,                -- printed, kept or not
    PRIMARY KEY (pipeline, job, number, attempt),
    FOREIGN KEY (pipeline, job, number) REFERENCES runs (pipeline, job, number)
        ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

-- Every step of an attempt.
CREATE TABLE steps (
    pipeline    TEXT    NOT NULL,
    job         TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    step        INTEGER NOT NULL,       -- 0 is init
    name        TEXT    NOT NULL,
    always      INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    ended       TEXT CHECK (ended IN ('exit', 'signal', 'timed-out', 'cancelled', 'refused')),
    code        INTEGER,                -- of exit and signal
    why         TEXT,                   -- of refused
    log_from    INTEGER NOT NULL,
    log_to      INTEGER,
    PRIMARY KEY (pipeline, job, number, attempt, step),
    FOREIGN KEY (pipeline, job, number) REFERENCES runs (pipeline, job, number)
        ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

-- What each environment is in, its last good deployment (live) and, while it is unclear, the one that left it so.
CREATE TABLE environments (
    pipeline              TEXT NOT NULL,
    name                  TEXT NOT NULL,
    state                 TEXT NOT NULL CHECK (state IN ('empty', 'clean', 'unclear')),
    unknown               INTEGER NOT NULL CHECK (unknown = 0 OR state = 'unclear'),
    live_run              TEXT,
    live_commit           TEXT,
    live_ref              TEXT,
    live_definition       TEXT,
    live_upstream         TEXT,         -- JSON
    live_at               INTEGER,
    live_approved_by      TEXT,         -- JSON: names
    attempted_run         TEXT,
    attempted_commit      TEXT,
    attempted_ref         TEXT,
    attempted_definition  TEXT,
    attempted_upstream    TEXT,         -- JSON
    attempted_at          INTEGER,
    attempted_approved_by TEXT,         -- JSON: names
    PRIMARY KEY (pipeline, name),
    CHECK ((state = 'unclear') = (attempted_run IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Requests for approval. Kept for ever: they say who let what go.
CREATE TABLE requests (
    id           INTEGER NOT NULL PRIMARY KEY,
    pipeline     TEXT    NOT NULL,
    job          TEXT    NOT NULL,
    number       INTEGER NOT NULL,
    environment  TEXT    NOT NULL,
    tuple        TEXT    NOT NULL,      -- JSON: what is approved
    tuple_hash   TEXT    NOT NULL,
    asked_at     INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    votes_needed INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN
        ('open', 'approved', 'rejected', 'expired', 'superseded', 'voided', 'used', 'closed')),
    state_at     INTEGER,               -- since when, all but open
    until        INTEGER,               -- approved: the approval's last instant
    by_whom      TEXT,                  -- rejected: the person; superseded: the run
    why          TEXT,                  -- rejected, voided, closed
    brief        TEXT    NOT NULL,      -- JSON: what the mail and the page show
    CHECK ((state = 'open') = (state_at IS NULL))
) STRICT;
CREATE INDEX requests_live ON requests (pipeline) WHERE state IN ('open', 'approved');
CREATE INDEX requests_by_run ON requests (pipeline, job, number);
CREATE INDEX requests_rejected ON requests (pipeline, tuple_hash) WHERE state = 'rejected';
-- A run has at most one live request.
CREATE UNIQUE INDEX requests_one_live ON requests (pipeline, job, number) WHERE state IN ('open', 'approved');

CREATE TRIGGER requests_count AFTER INSERT ON requests BEGIN
    INSERT INTO counters (kind, name, last) VALUES ('request', '', NEW.id)
    ON CONFLICT (kind, name) DO UPDATE SET last = max(last, excluded.last);
END;
CREATE TRIGGER requests_decided_is_final BEFORE UPDATE ON requests
WHEN (OLD.state NOT IN ('open', 'approved') AND NEW.state IS NOT OLD.state)
  OR (OLD.state = 'approved' AND NEW.state = 'open')
BEGIN
    SELECT RAISE(ABORT, 'a decided request is final');
END;
CREATE TRIGGER requests_keep_what_is_approved BEFORE UPDATE ON requests
WHEN NEW.tuple IS NOT OLD.tuple OR NEW.tuple_hash IS NOT OLD.tuple_hash OR NEW.number IS NOT OLD.number
  OR NEW.pipeline IS NOT OLD.pipeline OR NEW.job IS NOT OLD.job
BEGIN
    SELECT RAISE(ABORT, 'what a request asks never changes');
END;
CREATE TRIGGER requests_stay BEFORE DELETE ON requests BEGIN
    SELECT RAISE(ABORT, 'requests are kept');
END;

-- Votes: one per person and request, never altered.
CREATE TABLE votes (
    request INTEGER NOT NULL REFERENCES requests (id),
    person  TEXT    NOT NULL,
    place   INTEGER NOT NULL,           -- in the order of voting, from 0
    verdict TEXT    NOT NULL CHECK (verdict IN ('approve', 'reject')),
    at      INTEGER NOT NULL,
    reason  TEXT    NOT NULL,
    via     TEXT    NOT NULL,
    PRIMARY KEY (request, person),
    UNIQUE (request, place)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER votes_are_never_altered BEFORE UPDATE ON votes BEGIN
    SELECT RAISE(ABORT, 'a vote is never altered');
END;
CREATE TRIGGER votes_stay BEFORE DELETE ON votes BEGIN
    SELECT RAISE(ABORT, 'votes are kept');
END;

-- The places of a request: who was asked, and the random part of their link.
CREATE TABLE slots (
    id      TEXT    NOT NULL PRIMARY KEY,
    request INTEGER NOT NULL REFERENCES requests (id),
    place   INTEGER NOT NULL,
    person  TEXT    NOT NULL,
    email   TEXT    NOT NULL,
    UNIQUE (request, place)
) STRICT, WITHOUT ROWID;

-- Due times and what was decided of each. Equal neighbours share a row. The newest row of a job has
-- the highest `seq`.
CREATE TABLE ledger (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline  TEXT    NOT NULL,
    job       TEXT    NOT NULL,
    first_due INTEGER NOT NULL,
    last_due  INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    verdict   TEXT    NOT NULL CHECK (verdict IN ('run', 'coalesced', 'skipped')),
    run       TEXT,                     -- run, coalesced
    reason    TEXT,                     -- skipped
    UNIQUE (pipeline, job, first_due)
) STRICT;
CREATE INDEX ledger_by_job ON ledger (pipeline, job, seq);

-- How far each job's due times are decided.
CREATE TABLE cursors (
    pipeline TEXT    NOT NULL,
    job      TEXT    NOT NULL,
    schedule TEXT    NOT NULL,          -- hash of the schedule's text and zone
    since    INTEGER NOT NULL,
    decided  INTEGER NOT NULL,
    PRIMARY KEY (pipeline, job)
) STRICT, WITHOUT ROWID;

-- Mails. No text is kept: it is made anew whenever one is sent.
CREATE TABLE letters (
    id         INTEGER NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN
        ('approval', 'decided', 'failure', 'recovery', 'unknown', 'unsatisfiable')),
    request    INTEGER,                 -- approval, decided, unsatisfiable
    slot       TEXT,                    -- approval
    run        TEXT,                    -- failure, recovery, unknown
    recipient  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'dead')),
    not_before INTEGER,                 -- waiting
    problem    TEXT,                    -- waiting: the last error; dead: why it was given up
    state_at   INTEGER,                 -- sent, dead
    CHECK ((state = 'waiting') = (not_before IS NOT NULL)),
    CHECK ((state = 'waiting') = (state_at IS NULL))
) STRICT;
CREATE INDEX letters_waiting ON letters (id) WHERE state = 'waiting';
CREATE INDEX letters_dead ON letters (state_at) WHERE state = 'dead';
CREATE TRIGGER letters_count AFTER INSERT ON letters BEGIN
    INSERT INTO counters (kind, name, last) VALUES ('letter', '', NEW.id)
    ON CONFLICT (kind, name) DO UPDATE SET last = max(last, excluded.last);
END;

-- Every decision, as a person would tell it. Only ever added to.
CREATE TABLE journal (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    verb    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    detail  TEXT    NOT NULL
) STRICT;
CREATE INDEX journal_by_subject ON journal (subject, id);
CREATE TRIGGER journal_is_never_altered BEFORE UPDATE ON journal BEGIN
    SELECT RAISE(ABORT, 'the journal is never altered');
END;
CREATE TRIGGER journal_stays BEFORE DELETE ON journal BEGIN
    SELECT RAISE(ABORT, 'the journal is kept');
END;

CREATE TRIGGER sightings_count AFTER INSERT ON sightings BEGIN
    INSERT INTO counters (kind, name, last) VALUES ('sighting', NEW.pipeline, NEW.number)
    ON CONFLICT (kind, name) DO UPDATE SET last = max(last, excluded.last);
END;
