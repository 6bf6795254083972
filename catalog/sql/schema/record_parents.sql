-- record_parents: one row per piece of work that a record read
CREATE OR REPLACE TABLE record_parents (
    kind VARCHAR,       -- kind of the record that read
    id VARCHAR,         -- id of the record that read
    role VARCHAR,       -- what the parent was to it: base_model, statistics, variant, ...
    parent_id VARCHAR,  -- -> records.id: id of the record that was read
    PRIMARY KEY (kind, id, role, parent_id)
);
