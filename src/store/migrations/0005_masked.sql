-- How often a secret was taken out of what an attempt's steps printed.
ALTER TABLE attempts ADD COLUMN masked INTEGER NOT NULL DEFAULT 0;
