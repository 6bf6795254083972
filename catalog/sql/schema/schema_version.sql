-- schema_version: one row: the version of the tables in this catalog file
CREATE OR REPLACE TABLE schema_version (
    version INTEGER,  -- version of the catalog file; a file of a later version is left alone
    statements VARCHAR,  -- SHA-256 of the statements of all tables; a file with another one is filled again from the records
    PRIMARY KEY (version)
);
