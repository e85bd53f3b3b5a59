CREATE TABLE users (
    id BIGINT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    verified BIGINT NOT NULL DEFAULT 0 CHECK (verified IN (0, 1))
);

-- The highest number that anybody ever had; one row. A sequence would not do: it knows nothing
-- of numbers that a caller asked for, and would give them a second time.
CREATE TABLE users_last_id (id BIGINT NOT NULL);
INSERT INTO users_last_id VALUES (0);

CREATE FUNCTION users_give_id() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    -- The row is held until the end of the transaction, so numbers are given one by one.
    UPDATE users_last_id SET id = GREATEST(id, COALESCE(NEW.id, id + 1))
        RETURNING COALESCE(NEW.id, id) INTO NEW.id;
    RETURN NEW;
END
$$;

CREATE TRIGGER users_give_id BEFORE INSERT ON users
    FOR EACH ROW EXECUTE FUNCTION users_give_id();
