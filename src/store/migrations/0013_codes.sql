-- A vote that was given with a code. The code itself is nowhere: the executor keeps what it was good for.
ALTER TABLE votes ADD COLUMN coded INTEGER NOT NULL DEFAULT 0 CHECK (coded IN (0, 1));
-- Of the mail that too many wrong answers were given as somebody's vote: when one is taken again. Where it is
-- set, it and not `kind` says what the letter is.
ALTER TABLE letters ADD COLUMN rests_until INTEGER;
