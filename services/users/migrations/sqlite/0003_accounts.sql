-- People who can sign in. `password` is a PHC string.
CREATE TABLE accounts (
    username TEXT PRIMARY KEY REFERENCES users (username) ON DELETE CASCADE,
    password TEXT NOT NULL
);

-- `id` is the digest of the secret that the person holds; times are seconds since 1970.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    username TEXT NOT NULL REFERENCES accounts (username) ON DELETE CASCADE,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires);

-- Attempts to sign in since `since`, also for names without an account.
CREATE TABLE attempts (
    username TEXT PRIMARY KEY,
    count BIGINT NOT NULL,
    since BIGINT NOT NULL
);
CREATE INDEX attempts_by_time ON attempts (since);
