-- ordering_variants: one row per variant and ordering from which its keep masks can be read
CREATE OR REPLACE TABLE ordering_variants (
    ordering_id VARCHAR,  -- -> orderings: the ordering
    variant_id VARCHAR,   -- -> variants: variant whose keep masks it contains
    level INTEGER,        -- index of the variant's sparsity in the ordering, from 0
    PRIMARY KEY (ordering_id, variant_id)
);
