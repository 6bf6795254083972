-- record_parents: one row per record and parent, a record that it was made from
CREATE OR REPLACE TABLE record_parents (
    kind VARCHAR,       -- kind of the record
    id VARCHAR,         -- id of the record
    role VARCHAR,       -- role of the parent: base_model, statistics, variant, ...
    parent_id VARCHAR,  -- -> records.id: id of the parent record
    PRIMARY KEY (kind, id, role, parent_id)
);
