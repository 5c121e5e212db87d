-- Messages of web hooks whose sender proved to know the secret. Kept for two weeks: a host that sends one
-- again says its id again, and a push of which none speaks came only by polling.
CREATE TABLE deliveries (
    pipeline  TEXT    NOT NULL,
    forge     TEXT    NOT NULL CHECK (forge IN ('github', 'gitlab', 'gitea')),
    id        TEXT    NOT NULL,
    event     TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    git_ref   TEXT,
    commit_id TEXT,
    PRIMARY KEY (pipeline, forge, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_by_time ON deliveries (at);
CREATE INDEX deliveries_by_commit ON deliveries (pipeline, commit_id);
