-- People are read in pages, in the byte order of their usernames, whatever the database's collation.
ALTER TABLE users ALTER COLUMN username TYPE TEXT COLLATE "C";
