-- What went by [retention], and what is about to.
INSERT INTO removals (pipeline, job, number, part, decided_at, done_at, bytes)
VALUES ('open-im', 'test', 1, 'log', 1800000000000, 1800000000100, 4096),
       ('open-im', 'test', 1, 'artifacts', 1800000000000, NULL, NULL);
