-- variant_parents: one row per variant that another variant is made from
CREATE OR REPLACE TABLE variant_parents (
    variant_id VARCHAR,         -- -> variants: the variant that was made
    parent_variant_id VARCHAR,  -- -> variants: the variant it was made from
    role VARCHAR,               -- what the parent gave
    PRIMARY KEY (variant_id, parent_variant_id, role)
);
