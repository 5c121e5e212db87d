-- A vote that was given with a key: the key as it stood in shipbell.toml, and the armored signature of the
-- request's statement. Who holds the statement's text can check it with ssh-keygen.
ALTER TABLE votes ADD COLUMN key TEXT;
ALTER TABLE votes ADD COLUMN signature TEXT;
