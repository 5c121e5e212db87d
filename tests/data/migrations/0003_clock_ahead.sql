-- Rows as the third version writes them.
UPDATE cursors SET ahead = 1800172800000;
