-- Counts the changes of a list and its items, for callers that follow them.
ALTER TABLE lists ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
