CREATE TABLE entries (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX entries_by_owner ON entries (owner, id);
