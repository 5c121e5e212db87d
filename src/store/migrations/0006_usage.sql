-- What an attempt wrote to disks, in bytes, and how many of its processes were ended for want of memory.
-- NULL: it was not counted.
ALTER TABLE attempts ADD COLUMN written INTEGER;
ALTER TABLE attempts ADD COLUMN oom_kills INTEGER;
-- A step that was ended for want of memory has ended = signal, code = 9 and why.
