-- schema_migrations: one row per schema file that was applied
CREATE TABLE schema_migrations (
    version INTEGER,  -- number the file's name starts with
    name VARCHAR,     -- the file's name without its number
    PRIMARY KEY (version)
);
