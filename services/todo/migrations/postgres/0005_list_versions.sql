-- Counts the changes of a list and its items, for callers that follow them.
ALTER TABLE lists ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
