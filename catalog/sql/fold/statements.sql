-- statements: one row: the hash of the statements that made the tables
SELECT statements FROM schema_version;
