-- schema_version: one row: the version of the tables in this catalog file
CREATE OR REPLACE TABLE schema_version (
    version INTEGER,  -- version of the schema; a catalog file of another version is filled again from the records
    PRIMARY KEY (version)
);
