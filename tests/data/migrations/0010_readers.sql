INSERT INTO letters (id, kind, run, recipient, note, created_at, attempts, state, not_before)
VALUES (5, 'failure', 'open-im/test#1', 'chen@example.org', 'You get this because it has commits of yours that the last success did not have.', 1800000100000, 0, 'waiting', 1800000100000);
INSERT INTO letters (id, kind, run, carried, recipient, created_at, attempts, state, not_before)
VALUES (6, 'failure', 'open-im/test#1', '7848d7c7354945fe7b40f6b990db8b6013a9037c', 'github', 1800000100000, 0, 'waiting', 1800000100000);
