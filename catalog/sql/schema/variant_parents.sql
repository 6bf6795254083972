-- variant_parents: one row per combined variant and parent
CREATE OR REPLACE TABLE variant_parents (
    variant_id VARCHAR,         -- -> variants: the combination
    parent_variant_id VARCHAR,  -- -> variants: the parent
    role VARCHAR,               -- parent 1, parent 2, ...
    PRIMARY KEY (variant_id, parent_variant_id, role)
);
