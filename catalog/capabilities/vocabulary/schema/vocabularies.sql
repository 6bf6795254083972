-- vocabularies: one row per variant with a smaller vocabulary: its sizes
CREATE OR REPLACE TABLE vocabularies (
    variant_id VARCHAR,        -- -> variants: the variant
    n_tokens BIGINT,           -- tokens of the base model: rows of its embedding
    n_kept BIGINT,             -- tokens of the variant
    n_required BIGINT,         -- of these, special, byte and other tokens that are always kept
    n_counted BIGINT,          -- tokens that occur in the texts in which tokens were counted
    n_weights BIGINT,          -- weights of the base model: values in its files
    n_removed_weights BIGINT,  -- of these, weights of removed tokens
    PRIMARY KEY (variant_id)
);
