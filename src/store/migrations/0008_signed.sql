-- Why a head is not run although its branch is followed: it is not signed by anybody who may.
ALTER TABLE sightings ADD COLUMN refused TEXT;
