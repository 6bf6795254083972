-- create_schema: creates a schema of the catalog file
CREATE SCHEMA IF NOT EXISTS {name};
