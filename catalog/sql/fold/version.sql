-- version: one row: the version of the catalog file's tables
SELECT version FROM schema_version;
