-- schema_objects: one row per table, view and macro that mlprune created in this catalog file
CREATE OR REPLACE TABLE schema_objects (
    kind VARCHAR,    -- TABLE, VIEW or MACRO TABLE
    name VARCHAR,    -- its name
    sha256 VARCHAR,  -- SHA-256 of its .sql file, in hex; if it differs, views and comments are written again
    PRIMARY KEY (kind, name)
);
