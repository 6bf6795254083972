-- compositions: one row per variant whose layers have masks of several sparsities of one stored ordering
CREATE OR REPLACE TABLE compositions (
    composition_id VARCHAR,  -- id of the composition
    variant_id VARCHAR,      -- -> variants: the variant
    ordering_id VARCHAR,     -- -> orderings: ordering whose masks it has
    PRIMARY KEY (composition_id)
);
