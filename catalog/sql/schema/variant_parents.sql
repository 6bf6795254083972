-- variant_parents: one row per combined or quantised variant and parent
CREATE OR REPLACE TABLE variant_parents (
    variant_id VARCHAR,         -- -> variants: the combination or quantised variant
    parent_variant_id VARCHAR,  -- -> variants: the parent
    role VARCHAR,               -- parent 1, parent 2, ... of a combination; unquantised: the variant with the same masks and unrounded weights; all_tokens: that with the same weights and all tokens
    PRIMARY KEY (variant_id, parent_variant_id, role)
);
