-- SQLite compares texts by their bytes.
SELECT 1;
