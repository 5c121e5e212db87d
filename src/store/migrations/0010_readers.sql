-- Why a reader gets a letter whom `notify` does not name: a sentence of the letter itself.
ALTER TABLE letters ADD COLUMN note TEXT;
-- What the host of a repository is told of a commit for which a job need not run: which commit (`run` says
-- which run stands for it). Where it is set, it and not `kind` says what the letter is.
ALTER TABLE letters ADD COLUMN carried TEXT;
