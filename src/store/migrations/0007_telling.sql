-- Letters that are no mail: what the host of a repository is told of a run, and addresses that are pinged.
-- Where it is set, it and not `kind` says what the letter is.
ALTER TABLE letters ADD COLUMN message TEXT CHECK (message IN ('mark', 'ping-start', 'ping-success', 'ping-failure'));
