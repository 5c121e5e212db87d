-- Rows as the second version writes them.
UPDATE cursors SET ran = 1800000000000, boot = '5c8e2a52-5a3b-4b44-9a32-0f6a2f1d9c11';
INSERT INTO pauses VALUES ('*', 1800000000000, NULL, 'the disk is being replaced', 'ann');
INSERT INTO pauses VALUES ('open-im/staging', 1800000000000, 1800086400000, '', 'root');
INSERT INTO pulses VALUES ('open-im', 'test', 1800000000000, 1800000100000, NULL, NULL, '[99,101]');
INSERT INTO letters (id, kind, topic, job, recipient, created_at, attempts, state, not_before)
VALUES (2, 'failure', 'stale', 'open-im/staging', 'ann@example.org', 1800000100000, 0, 'waiting', 1800000100000);
