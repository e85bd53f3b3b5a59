-- Lists are in the order of their creation, which is that of their ids.
CREATE TABLE lists (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (username, name)
);

CREATE TABLE items (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    list_id BIGINT NOT NULL REFERENCES lists (id) ON DELETE CASCADE,
    title TEXT NOT NULL,
    completed BIGINT NOT NULL DEFAULT 0 CHECK (completed IN (0, 1)),
    position BIGINT NOT NULL
);

CREATE INDEX items_by_list ON items (list_id, position, id);
