-- objects: one row per table, view and macro that mlprune created, with the hash of its file
SELECT kind, name, sha256 FROM schema_objects;
