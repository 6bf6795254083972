-- variant_parents: one row per combined or derived variant and parent
CREATE OR REPLACE TABLE variant_parents (
    variant_id VARCHAR,         -- -> variants: the combination, or the variant that is derived
    parent_variant_id VARCHAR,  -- -> variants: the parent
    role VARCHAR,               -- parent 1, parent 2, ... of a combination; unreconstructed: the variant with the same masks whose weights were fitted; unrecovered: the one before its recovery; unquantised: the one with unrounded weights; all_tokens: that with the same weights and all tokens
    PRIMARY KEY (variant_id, parent_variant_id, role)
);
