-- A clock that stood more than a day ahead and was put right: how far it had been decided meanwhile.
ALTER TABLE cursors ADD COLUMN ahead INTEGER;
