-- schema_version: one row: the schema that the tables of this catalog file have
CREATE OR REPLACE TABLE schema_version (
    version INTEGER,  -- the schema's version: a catalog file of another version is filled again from the records
    PRIMARY KEY (version)
);
