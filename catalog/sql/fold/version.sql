-- version: one row: the version of the catalog file
SELECT version FROM schema_version;
