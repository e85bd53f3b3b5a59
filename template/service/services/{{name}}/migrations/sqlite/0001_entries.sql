CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX entries_by_owner ON entries (owner, id);
