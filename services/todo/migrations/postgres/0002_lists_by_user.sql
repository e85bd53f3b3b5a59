-- The lists of a user are read in pages, in the order of their ids.
CREATE INDEX lists_by_user ON lists (username, id);
