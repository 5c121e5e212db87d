-- The newest head of a pull request that a job was started for.
CREATE TABLE pulled (
    pipeline TEXT    NOT NULL,
    job      TEXT    NOT NULL,
    git_ref  TEXT    NOT NULL,
    sighting INTEGER NOT NULL,
    PRIMARY KEY (pipeline, job, git_ref)
) STRICT, WITHOUT ROWID;
