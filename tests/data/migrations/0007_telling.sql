INSERT INTO letters (id, kind, message, run, recipient, created_at, attempts, state, not_before)
VALUES (3, 'failure', 'mark', 'open-im/test#1', 'github', 1800000100000, 0, 'waiting', 1800000100000),
       (4, 'failure', 'ping-success', 'open-im/test#1', 'the ping-url of open-im/test', 1800000100000, 0, 'waiting', 1800000100000);
