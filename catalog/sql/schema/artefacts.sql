-- artefacts: one row per file of a record
CREATE OR REPLACE TABLE artefacts (
    path VARCHAR,    -- relative to the store, with forward slashes
    kind VARCHAR,    -- kind of the record the file belongs to
    id VARCHAR,      -- -> records.id: record the file belongs to
    n_bytes BIGINT,  -- size of the file
    n_rows BIGINT,   -- number of rows of a Parquet file; NULL for other files
    sha256 VARCHAR,  -- SHA-256 of the file, in hex
    PRIMARY KEY (kind, id, path)
);
