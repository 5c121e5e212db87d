UPDATE attempts SET written = 1048576, oom_kills = 0;
INSERT INTO attempts (pipeline, job, number, attempt, launched_at, started_at, finished_at, outcome, reason, cpu_ms, memory_peak, log_bytes, written, oom_kills)
VALUES ('open-im', 'test', 1, 2, 1800000200500, 1800000201000, 1800000300000, 'failed', 'out of memory in step 1 "unit"', 51000, 104857600, 2048, 4096, 1);
INSERT INTO steps VALUES ('open-im', 'test', 1, 2, 1, 'unit', 0, 1800000201000, 1800000300000, 'signal', 9, 'out of memory', 0, 2048);
