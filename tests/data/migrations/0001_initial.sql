-- Rows as the first version writes them.
INSERT INTO meta VALUES ('nonce', '00112233445566778899aabbccddeeff');
INSERT INTO pipelines VALUES ('open-im', 'https://git.example.org/open-im.git', 'refs/heads/main', 1800000000000, 'timed out', 1800000060000);
INSERT INTO sightings (pipeline, git_ref, number, commit_id, subject, author, author_mail, authored_at, seen_at, runs, begun, passed_over, on_branch)
VALUES ('open-im', 'refs/heads/main', 1, '1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a', 'Say when', 'Ann', 'ann@example.org', 1799999999000, 1800000000000, 1, 1, 0, 1);
INSERT INTO standings VALUES ('open-im', '1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a', 'test', 1, NULL, 'succeeded', 1800000100000, 1,
    '{"job":"test","run":"open-im/test#1","definition":"d1","outputs":{},"artifacts":[]}');
INSERT INTO last_ran VALUES ('open-im', 'test', 'refs/heads/main', '1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a', 'open-im/test#1');
INSERT INTO failing VALUES ('open-im', 'lint', '', 2, 1800000100000, 'open-im/lint#7');
INSERT INTO runs (pipeline, job, number, commit_id, git_ref, sighting, cause, cause_number, definition, params, upstream, queued_at, attempt, tries, pools, state, started_at, outcome, reason, finished_at, outputs, artifacts)
VALUES ('open-im', 'test', 1, '1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a', 'refs/heads/main', 1, 'commit', 1, 'd1', '{}', '[]', 1800000000000, 1, 1, '[]',
    'finished', 1800000001000, 'succeeded', '', 1800000100000, '{"image":"a@sha256:b"}', '[]');
INSERT INTO runs (pipeline, job, number, commit_id, git_ref, sighting, cause, cause_run, definition, params, upstream, queued_at, attempt, tries, pools, state, outputs, artifacts)
VALUES ('open-im', 'production', 1, '1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a1f0e7d2a', 'refs/heads/main', 1, 'needs', 'open-im/test#1', 'd2', '{}', '[]', 1800000100000, 0, 0, '[]',
    'queued', '{}', '[]');
INSERT INTO attempts VALUES ('open-im', 'test', 1, 1, 1800000000500, 1800000001000, 1800000100000, 'succeeded', '', 51000, 104857600, 2048);
INSERT INTO steps VALUES ('open-im', 'test', 1, 1, 0, 'init', 0, 1800000001000, 1800000002000, 'exit', 0, NULL, 0, 100);
INSERT INTO environments (pipeline, name, state, unknown) VALUES ('open-im', 'production', 'empty', 0);
INSERT INTO requests VALUES (1, 'open-im', 'production', 1, 'production',
    '{"v":1,"repository":null,"commit":null,"definition":"d2","params":{},"upstream":[],"takes_back":[],"environment":"production","policy":"p","after":null}',
    't1', 1800000100000, 1800259300000, 1, 'open', NULL, NULL, NULL, NULL,
    '{"commit":null,"branch":"main","live":null,"adds":[],"adds_total":0,"takes_back":[],"files":0,"insertions":0,"deletions":0,"mind":[],"excluded":[]}');
INSERT INTO votes VALUES (1, 'ann', 0, 'approve', 1800000200000, '', 'mail');
INSERT INTO slots VALUES ('0123456789abcdef0123456789abcdef', 1, 0, 'ann', 'ann@example.org');
INSERT INTO ledger (pipeline, job, first_due, last_due, count, verdict, reason) VALUES ('open-im', 'staging', 1800000000000, 1800086400000, 2, 'skipped', 'unchanged');
INSERT INTO cursors VALUES ('open-im', 'staging', 's1', 1799990000000, 1800086400000);
INSERT INTO letters VALUES (1, 'approval', 1, '0123456789abcdef0123456789abcdef', NULL, 'ann@example.org', 1800000100000, 1, 'waiting', 1800000130000, 'connection refused', NULL);
INSERT INTO journal (at, actor, verb, subject, detail) VALUES (1800000000000, 'shipbell', 'queued', 'open-im/test#1', 'commit 1f0e7d2');
