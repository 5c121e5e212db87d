INSERT INTO votes (request, person, place, verdict, at, reason, via, coded)
VALUES (1, 'chen', 2, 'approve', 1800000220000, '', 'mail', 1);
INSERT INTO letters (id, kind, request, rests_until, recipient, created_at, attempts, state, not_before)
VALUES (7, 'decided', 1, 1800001200000, 'ann@example.org', 1800000300000, 0, 'waiting', 1800000300000);
